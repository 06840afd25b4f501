"""`python -m ezflow` on a pool: the report, errors, Ctrl-C, a closed pipe; and the doctor."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT = 100  # s; generous, a run takes about 2 s


def run_main(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-W", "error", "-m", "ezflow", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty good files, one with a syntax error, one undecodable."""
    for number in range(30):
        (tmp_path / f"good{number}.py").write_text(
            f'"""Doc."""\ndef f{number}(x):\n    return x if x else {number}\n'
        )
    (tmp_path / "wrong.py").write_text("def (:\n")
    (tmp_path / "latin.py").write_bytes(b"x = 'caf\xe9'\n")
    return tmp_path


def test_report_of_a_folder(folder: Path, start_method: str) -> None:
    done = run_main(str(folder), "--workers", "2", "--start-method", start_method)

    assert done.returncode == 0, done.stderr
    assert re.search(r"^files +32$", done.stdout, re.MULTILINE)
    assert re.search(r"^not measured +2$", done.stdout, re.MULTILINE)
    assert re.search(r"^functions +30$", done.stdout, re.MULTILINE)
    assert re.search(r"^docstrings +50%", done.stdout, re.MULTILINE)
    assert re.search(r"^  wrong\.py\n    SyntaxError: ", done.stdout, re.MULTILINE)
    assert re.search(r"^  latin\.py\n    (SyntaxError|UnicodeDecodeError): ", done.stdout, re.MULTILINE)
    assert re.search(
        r"broken on purpose.*\n(?:  File .*\n)+  SyntaxError: .*broken_on_purpose\.py", done.stdout
    )
    assert re.search(r"^speed-up +[\d.]+ x", done.stdout, re.MULTILINE)
    assert "pool: 33 of 33, 3 failed" in done.stderr


@pytest.mark.dealt
def test_serial_run_can_be_left_out(folder: Path) -> None:
    done = run_main(str(folder), "--workers", "1", "--no-serial")

    assert done.returncode == 0, done.stderr
    assert "speed-up" not in done.stdout
    assert "serial" not in done.stderr


@pytest.mark.dealt
def test_wrong_path_is_a_sentence_and_exit_code_2(tmp_path: Path) -> None:
    done = run_main(str(tmp_path / "nowhere"))

    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.dealt
def test_ctrl_c_ends_the_whole_group_with_130() -> None:
    command = [sys.executable, "-m", "ezflow"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as running:
        assert running.stderr is not None
        assert running.stderr.readline().startswith(b"pool: 0 of")  # it has begun; anywhere from here will do
        os.killpg(running.pid, signal.SIGINT)
        _, log = running.communicate(timeout=LIMIT)

    assert running.returncode == 130
    assert log.decode().rstrip().endswith("interrupted")
    assert "Traceback" not in log.decode()


@pytest.mark.dealt
def test_closed_pipe_is_no_traceback(folder: Path) -> None:
    command = f"'{sys.executable}' -m ezflow '{folder}' --no-serial --workers 1 | true"

    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=LIMIT, check=False)

    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.dealt
def test_doctor_prints_facts_and_tries_every_start_method() -> None:
    done = run_main("doctor")

    assert done.returncode == 0, done.stdout + done.stderr
    for label in (
        "cloudpickle",
        "affinity",
        "cgroup quota",
        "shared memory",
        "open files",
        "lifeline",
        "pidfd",
    ):
        assert re.search(rf"^  {label} +\S", done.stdout, re.MULTILINE), label
    assert len(re.findall(r"^  (?:fork|forkserver|spawn) +\d+\.\d+ s$", done.stdout, re.MULTILINE)) == 3
