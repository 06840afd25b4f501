"""Read many JSON files on a pool; report the bad ones and keep the good ones.

    python examples/map_over_files.py [FOLDER]

Without FOLDER it makes one, with a broken and an empty file among the good ones.
"""

from __future__ import annotations

import json
import sys
import tempfile
from concurrent.futures import as_completed
from pathlib import Path

from ezflow import ProcessPoolExecutor


def total(path: Path) -> float:
    """Add up the prices in one file."""
    return sum(item["price"] for item in json.loads(path.read_text()))


def make_samples(folder: Path) -> None:
    """Write five good files, a broken one and an empty one."""
    for day in range(1, 6):
        (folder / f"day{day}.json").write_text(json.dumps([{"price": 10 * day}, {"price": 0.5}]))
    (folder / "broken.json").write_text('[{"prize": 3}]')
    (folder / "empty.json").write_text("")


def report(folder: Path) -> None:
    """Sum all files; print each failure once."""
    with ProcessPoolExecutor() as pool:
        futures = {pool.submit(total, path): path for path in folder.glob("*.json")}
        totals, failures = {}, {}
        for future in as_completed(futures):
            name = futures[future].name
            error = future.exception()
            if error is None:
                totals[name] = future.result()
            else:
                failures[name] = error
    for name in sorted(totals):
        print(f"{name:<12} {totals[name]:6.2f}")
    for name in sorted(failures):
        print(f"{name:<12} failed: {failures[name]!r}")


if len(sys.argv) > 1:
    report(Path(sys.argv[1]))
else:
    with tempfile.TemporaryDirectory() as name:
        make_samples(Path(name))
        report(Path(name))
