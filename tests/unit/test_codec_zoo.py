"""A whole program of top-level things, in a worker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.codec_harness import environment


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_whatever_stands_at_the_top_level_works_in_a_worker(method: str) -> None:
    program = Path(__file__).with_name("codec_zoo.py")

    done = subprocess.run(
        [sys.executable, str(program), method],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stderr
