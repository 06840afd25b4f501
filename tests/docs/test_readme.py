"""README's programs print what README says; its commands are the ones that CI and the code know."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS: list[tuple[str, str]] = FENCE.findall(README)
PROGRAMS = [
    (text, BLOCKS[index + 1][1])
    for index, (kind, text) in enumerate(BLOCKS[:-1])
    if kind == "python" and BLOCKS[index + 1][0] == "text"
]


@pytest.mark.slow
@pytest.mark.dealt
@pytest.mark.parametrize(("program", "output"), PROGRAMS)
def test_program_prints_what_the_readme_says(program: str, output: str, tmp_path: Path) -> None:
    script = tmp_path / "pasted.py"
    script.write_text(program)

    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert done.stderr == ""
    assert done.stdout == output


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "python"])
def test_every_python_block_compiles(text: str) -> None:
    compile(text, "README.md", "exec")


def test_readme_has_programs_with_output() -> None:
    assert len(PROGRAMS) >= 2


def test_there_are_two_commands_and_ci_runs_the_second() -> None:
    commands = [text.strip() for kind, text in BLOCKS if kind == "sh" and "venv" in text]

    assert len(commands) == 2
    assert commands[0].endswith("-m ezflow")
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == commands[1]


def test_linked_files_exist() -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", README)

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
