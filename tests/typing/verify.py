"""Run `pyright --verifytypes` and compare its complaints about public names with the accepted list beside this file.

Fails on a new complaint, and on an accepted one that is gone, so that the list can only shrink by being edited.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

ACCEPTED = Path(__file__).with_name("accepted.txt")


def public_names(package: str) -> list[str]:
    """Give the full names of what the package exports, where it is defined."""
    exported = [
        getattr(importlib.import_module(package), name) for name in importlib.import_module(package).__all__
    ]
    return [f"{value.__module__}.{value.__qualname__}" for value in exported]


def main(package: str) -> int:
    """Print the differences; give the exit code."""
    command = ["pyright", "--verifytypes", package, "--ignoreexternal", "--outputjson"]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    report = answer["typeCompleteness"]
    public = public_names(package)
    found = {
        f"{symbol['name']}: {' '.join(diagnostic['message'].split())}"
        for symbol in report["symbols"]
        if symbol["isExported"] and any(f"{symbol['name']}.".startswith(f"{name}.") for name in public)
        for diagnostic in symbol["diagnostics"]
    }
    found |= {f"{package}: {one['message']}" for one in answer["generalDiagnostics"]}
    lines = (line.strip() for line in ACCEPTED.read_text().splitlines())
    accepted = {line for line in lines if line and not line.startswith("#")}
    for line in sorted(found - accepted):
        print(f"new      {line}")
    for line in sorted(accepted - found):
        print(f"gone     {line}")
    counts = report["exportedSymbolCounts"]
    print(f"exported symbols: {counts['withKnownType']} known, {counts['withUnknownType']} unknown, ", end="")
    print(f"{counts['withAmbiguousType']} ambiguous; accepted gaps: {len(accepted)}")
    return 1 if found != accepted else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
