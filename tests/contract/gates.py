"""How tests force an order and wait: gates are files, every wait has a limit, nothing sleeps to be lucky."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

import ezflow
from ezflow import ProcessPoolExecutor
from tests import work

LIMIT = 60.0
"""Seconds that any wait may take.  Only a hang or a very busy machine comes near."""


KEPT = 2.0
"""Seconds of a limit that calls which end at once also keep on a very busy machine, and one that hangs does not."""


class Gate:
    """A place where calls wait until the test lets them pass; says who has arrived."""

    def __init__(self, folder: Path, name: str = "gate") -> None:
        self.folder = folder / f"{name}-arrived"
        self.folder.mkdir()
        self.path = folder / f"{name}-open"

    def args(self) -> tuple[str, str]:
        """Give what `tests.work.pass_gate` takes."""
        return str(self.folder), str(self.path)

    def arrived(self) -> list[int]:
        """Give the pids of the calls that have arrived, one for each."""
        return [int(path.name.split("-")[0]) for path in self.folder.iterdir()]

    def wait_arrived(self, n: int = 1) -> list[int]:
        """Wait until n calls have arrived; give their pids."""
        wait_until(lambda: len(self.arrived()) >= n, f"{n} calls at {self.path.name}")
        return self.arrived()

    def open(self) -> None:
        """Let everybody pass; needs no descriptor."""
        self.path.mkdir()


def wait_until(condition: Callable[[], object], what: str = "the condition", seconds: float = LIMIT) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.002)


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, whether or not somebody has collected its exit code."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_gone(*pids: int) -> None:
    """Wait until processes have ended."""
    wait_until(lambda: all(map(is_gone, pids)), f"the end of {pids}")


def wait_written(path: Path) -> str:
    """Wait until a file holds something; give it."""
    wait_until(lambda: path.exists() and path.read_text(), f"{path}")
    return path.read_text()


def lines(path: Path) -> list[str]:
    """Give the lines of a file, none if it does not exist."""
    return path.read_text().split() if path.exists() else []


def warm(pool: ProcessPoolExecutor, n: int, folder: Path, name: str = "warm") -> set[int]:
    """Start n workers and give their pids: as many calls have to be at a gate at the same time."""
    gate = Gate(folder, name)
    futures = [pool.submit(work.pass_gate, *gate.args()) for _ in range(n)]
    pids = set(gate.wait_arrived(n))
    gate.open()
    assert {future.result(LIMIT) for future in futures} == pids
    assert len(pids) == n
    return pids


def workers(pool: ProcessPoolExecutor) -> set[int]:
    """Give the pids of a pool's workers."""
    return set(pool._processes)


def post(
    pool: ProcessPoolExecutor, fn: Callable[..., Any], *args: Any, limit: float | None = None, **kwargs: Any
) -> ezflow.Future[Any]:
    """Submit a call that may run for `limit` seconds."""
    future: ezflow.Future[Any] = pool.submit.timeout(limit)(fn, *args, **kwargs)
    return future
