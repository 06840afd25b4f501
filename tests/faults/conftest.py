"""The stage of tests of faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from ezflow import ProcessPoolExecutor
from tests.faults.stage import Stage, set_stage


@pytest.fixture
def stage(pool: ProcessPoolExecutor, tmp_path: Path) -> Stage:
    """A pool of two workers, one of them busy with an innocent call."""
    return set_stage(pool, tmp_path)
