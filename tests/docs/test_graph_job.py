"""The main job as a graph finds what the main job finds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import ezflow

ROOT = Path(__file__).parents[2]
LIMIT = 100  # s


def numbers(*arguments: str) -> dict[str, str]:
    """Run a program, and give the counts that it prints."""
    command = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
    found = re.findall(r"^(files|lines|functions|classes|branches) +([\d,]+)$", done.stdout, re.MULTILINE)
    return dict(found)


@pytest.mark.slow
@pytest.mark.dealt
def test_graph_over_files_counts_what_the_command_counts() -> None:
    folder = str(Path(ezflow.__file__).parent / "graph")

    found = numbers(str(ROOT / "examples" / "source_report.py"), folder)

    assert len(found) == 5
    assert found == numbers("-m", "ezflow", folder, "--no-serial")
