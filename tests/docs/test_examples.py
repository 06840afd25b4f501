"""Every example runs, ends within its limit, and prints what the documentation says it prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.dealt

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted([*ROOT.glob("examples/*.py"), *ROOT.glob("docs/examples/*.py")])
LIMIT = 100  # s for one program; the slowest takes about 6 s on an idle machine

# What these print depends on the machine or is up to the standard library.
WITHOUT_OUTPUT = {"flow_seen.py", "progress.py", "standard.py", "word_count.py"}

# What these need is not among the tests' own requirements; `nox -s clients` installs it.
NEEDS = {"view_dask.py": "dask", "view_scipy.py": "scipy"}

# As the standard pool does, a worker logs why its initializer failed.
LOGS = {"initializer_fails.py": "Exception in initializer:\n"}


def run_program(path: Path, folder: Path) -> str:
    """Run a program from an empty folder, warnings as errors; give what it prints."""
    command = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    log = LOGS.get(path.name, "")
    assert done.stderr.startswith(log) if log else done.stderr == ""
    return done.stdout


@pytest.mark.slow
@pytest.mark.dealt
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_prints_what_is_written_beside_it(path: Path, tmp_path: Path) -> None:
    written = path.with_suffix(".out")
    if path.name in NEEDS:
        pytest.importorskip(NEEDS[path.name], reason=f"{NEEDS[path.name]} is not installed")

    printed = run_program(path, tmp_path)

    if path.name in WITHOUT_OUTPUT:
        assert printed
        assert not written.exists()
    else:
        assert printed == written.read_text()


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 10


def test_every_example_of_the_documentation_is_shown_on_a_page() -> None:
    pages = "".join(page.read_text() for page in ROOT.glob("docs/**/*.md"))

    missing = [path.name for path in EXAMPLES if f"examples/{path.name}" not in pages]

    assert missing == []


def test_every_output_of_the_documentation_is_shown_on_a_page() -> None:
    pages = "".join(page.read_text() for page in ROOT.glob("docs/**/*.md"))

    missing = [path.name for path in ROOT.glob("docs/examples/*.out") if f"examples/{path.name}" not in pages]

    assert missing == []
