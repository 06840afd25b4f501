"""Both sides of every row of the page on migration give the same."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "howto" / "migrate.md").read_text()
LIMIT = 100  # s for all rows of one library
ROW = re.compile(r"^\| `(.+)` \| `(.+)` \|$", re.MULTILINE)

# How the pool of the left side is made, and what must be installed for it.
LIBRARIES = {
    "`concurrent.futures`": ("concurrent", "from concurrent.futures import *; pool = ProcessPoolExecutor(2)"),
    "`multiprocessing.Pool`": ("multiprocessing", "import multiprocessing; pool = multiprocessing.Pool(2)"),
    "joblib": ("joblib", "from joblib import Parallel, delayed; pool = contextlib.nullcontext()"),
    "pebble": ("pebble", "import pebble; pool = pebble.ProcessPool(max_workers=2)"),
}

PROGRAM = """
import contextlib

def f(a):
    return a * a

def g(a, b):
    return a - b

xs, pairs = [1, 2, 3], [(1, 2), (3, 4)]

def values(made, rows):
    exec(made, globals())
    with pool:
        return [
            sorted(value, key=str) if isinstance(value, list) else value
            for value in (eval(row) for row in rows)
        ]

if __name__ == "__main__":
    import sys
    print(values(sys.argv[1], sys.argv[2:]))
"""

OURS = "from ezflow import Pool, ProcessPoolExecutor; pool = ProcessPoolExecutor(2)"


def rows(library: str) -> list[tuple[str, str]]:
    """Give the rows of one section."""
    section = PAGE.split(f"## From {library}\n")[1].split("\n## ")[0]
    return ROW.findall(section)


def run(made: str, expressions: list[str], folder: Path) -> str:
    """Evaluate expressions on a pool, in a program of their own."""
    program = folder / "program.py"
    program.write_text(dedent(PROGRAM))
    done = subprocess.run(
        [sys.executable, str(program), made, *expressions],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.dealt
@pytest.mark.parametrize("library", LIBRARIES)
def test_both_sides_give_the_same(library: str, tmp_path: Path) -> None:
    module, made = LIBRARIES[library]
    table = rows(library)
    assert len(table) > 3

    ours = run(OURS, [right for _, right in table], tmp_path)

    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed; our side ran")
    assert ours == run(made, [left for left, _ in table], tmp_path)


@pytest.mark.slow
@pytest.mark.dealt
def test_rows_for_people_from_suitkaise_run(tmp_path: Path) -> None:
    table = [right for _, right in rows("suitkaise")[1:]]
    awaited = [right for right in table if right.startswith("await ")]
    assert len(awaited) == 1
    table = [right.replace("await ", "asyncio.run(") + ")" if right in awaited else right for right in table]

    ours = run("import asyncio; from ezflow import Pool; pool = Pool(2)", table, tmp_path)

    expected = [[-1, -1] if "pairs" in right else [1, 4, 9] for right in table]
    assert ours == f"{expected}\n"


def test_every_library_has_its_rows() -> None:
    named = re.findall(r"^## From (.+)$", PAGE, re.MULTILINE)

    assert named == [*LIBRARIES, "suitkaise"]
