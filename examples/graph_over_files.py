"""Measure every Python file of a folder: one graph, mapped over the files.

    python examples/graph_over_files.py [FOLDER]

Without FOLDER it makes one, with a file that cannot be parsed among the good ones.
"""

from __future__ import annotations

import ast
import sys
import tempfile
from pathlib import Path

from ezflow import EZ, ProcessPoolExecutor


def read(path: Path) -> str:
    """Read one file."""
    return path.read_text()


def lines(source: str) -> int:
    """Count the lines that are not empty."""
    return sum(1 for line in source.splitlines() if line.strip())


def functions(source: str) -> list[ast.FunctionDef]:
    """Parse, and find the functions."""
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]


def longest(found: list[ast.FunctionDef]) -> str:
    """Name the longest function."""
    return max(found, key=lambda one: (one.end_lineno or 0) - one.lineno).name if found else "-"


def row(lines: int, functions: str) -> str:
    """Write one row of the report."""
    return f"{lines} lines, {functions}"


def summary(n: int, longest: str) -> str:
    """Say how many functions there are, and which is the longest."""
    return f"{n} functions, longest {longest}"


measure = EZ(read, {"lines": lines, "functions": [functions, {"n": len, "longest": longest}, summary]}, row)


def make_samples(folder: Path) -> None:
    """Write two good files and a wrong one."""
    (folder / "first.py").write_text(
        "def one():\n    return 1\n\n\ndef two():\n    x = 1\n    return x + 1\n"
    )
    (folder / "second.py").write_text("print('no function')\n")
    (folder / "wrong.py").write_text("def (:\n")


def main(folder: Path) -> None:
    """Print the picture and one line for each file."""
    print(measure.picture())
    paths = sorted(folder.rglob("*.py"))
    with ProcessPoolExecutor() as pool:
        for path, result in zip(paths, measure.on(pool).results().map(paths, buffersize=64), strict=True):
            shown = result.ok if result else f"{type(result.err).__name__}: {result.err.__notes__[0]}"
            print(f"{path.name:10} {shown}")


if len(sys.argv) > 1:
    main(Path(sys.argv[1]))
else:
    with tempfile.TemporaryDirectory() as name:
        make_samples(Path(name))
        main(Path(name))
