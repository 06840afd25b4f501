"""The job of `python -m ezflow` as one graph: find the files, measure each, put the report together.

    python examples/source_report.py [FOLDER]

Without FOLDER it makes one, with a file that cannot be parsed among the good ones.
"""

from __future__ import annotations

import ast
import sys
import tempfile
import tokenize
import warnings
from collections import Counter
from pathlib import Path

from ezflow import EZ, ProcessPoolExecutor, Result, each, same

FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
BRANCH = ast.If | ast.IfExp | ast.For | ast.AsyncFor | ast.While | ast.ExceptHandler | ast.match_case


def find(folder: Path) -> list[Path]:
    """List the files, largest first, so that no worker begins the longest one last."""
    return sorted(folder.rglob("*.py"), key=lambda path: (-path.stat().st_size, path))


def read(path: Path) -> str:
    """Read a file as its coding line says."""
    with tokenize.open(path) as file:
        return file.read()


def count_lines(source: str) -> int:
    """Count lines."""
    return len(source.splitlines())


def parse(source: str) -> ast.Module:
    """Parse, without the file's own warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def count_nodes(tree: ast.Module) -> Counter[str]:
    """Count what a file is made of."""
    counts: Counter[str] = Counter()
    for node in ast.walk(tree):
        counts["functions"] += isinstance(node, FUNCTION)
        counts["classes"] += isinstance(node, ast.ClassDef)
        counts["branches"] += isinstance(node, BRANCH)
        if isinstance(node, ast.BoolOp):
            counts["branches"] += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            counts["branches"] += 1 + len(node.ifs)
    return counts


def together(lines: int, nodes: Counter[str]) -> Counter[str]:
    """Put the counts of one file together."""
    return nodes + Counter(files=1, lines=lines)


def named(path: Path, counts: Counter[str]) -> tuple[str, Counter[str]]:
    """Say which file it was."""
    return path.name, counts


def totals(files: list[Result[tuple[str, Counter[str]]]]) -> Counter[str]:
    """Add the counts of the good files up."""
    return sum((file.ok[1] for file in files if file), Counter())


def largest(files: list[Result[tuple[str, Counter[str]]]]) -> list[str]:
    """Name the files with most lines."""
    good = sorted((-file.ok[1]["lines"], file.ok[0]) for file in files if file)
    return [f"{-lines:6}  {name}" for lines, name in good[:3]]


def failed(files: list[Result[tuple[str, Counter[str]]]]) -> list[str]:
    """Say which stage raised what."""
    return [
        f"{type(file.err).__name__} {file.err.__notes__[0].removeprefix('ezflow: ')}"
        for file in files
        if not file
    ]


def page(totals: Counter[str], largest: list[str], failed: list[str]) -> str:
    """Write the report."""
    counts = [
        f"{name:10}{totals[name]:8,}" for name in ("files", "lines", "functions", "classes", "branches")
    ]
    return "\n".join([*counts, "largest files, lines", *largest, f"not measured: {len(failed)}", *failed])


measure = EZ(
    {"path": same, "counts": [read, {"lines": count_lines, "nodes": [parse, count_nodes]}, together]}, named
)
report = EZ(find, each(measure.results()), {totals, largest, failed}, page)


def make_samples(folder: Path) -> None:
    """Write two good files, one that is wrong, and one that is no text."""
    (folder / "first.py").write_text("def one(x):\n    return 1 if x else 2\n\n\nclass Two:\n    pass\n")
    (folder / "second.py").write_text("print([x for x in range(3) if x])\n")
    (folder / "wrong.py").write_text("def (:\n")
    (folder / "latin.py").write_bytes(b"x = 'caf\xe9'\n")


def main(folder: Path) -> None:
    """Print the picture of what is done to each file, and the report."""
    print(measure.picture())
    with ProcessPoolExecutor() as pool:
        print(report.on(pool)(folder))


if len(sys.argv) > 1:
    main(Path(sys.argv[1]))
else:
    with tempfile.TemporaryDirectory() as name:
        make_samples(Path(name))
        main(Path(name))
