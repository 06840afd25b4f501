"""What every test gets: a start method, a pool maker, and the proof that nothing is left behind."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ezflow import ProcessPoolExecutor

START_METHODS = [
    name for name in ("fork", "forkserver", "spawn") if name in multiprocessing.get_all_start_methods()
]

LEAK_PATIENCE = 10.0
"""Seconds that what ends on its own (a reaped child, a closing pipe) may take under load."""


@pytest.fixture(params=START_METHODS)
def start_method(request: pytest.FixtureRequest) -> str:
    """Each start method in turn."""
    return request.param


@pytest.fixture
def context(start_method: str) -> Any:
    """The multiprocessing context of the start method."""
    return multiprocessing.get_context(start_method)


@pytest.fixture
def make_pool(context: Any) -> Iterator[Callable[..., ProcessPoolExecutor]]:
    """A maker of pools that are ended after the test."""
    pools: list[ProcessPoolExecutor] = []

    def make(max_workers: int = 2, **options: Any) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(max_workers, context, **options)
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        pool.shutdown(wait=False, cancel_futures=True)
    for pool in pools:
        pool.kill_workers()
        pool.shutdown(wait=True)


@pytest.fixture
def pool(make_pool: Callable[..., ProcessPoolExecutor]) -> ProcessPoolExecutor:
    """A pool of two workers."""
    return make_pool(2)


def _descriptors() -> dict[int, str]:
    """Give this process's open descriptors and what they are."""
    found: dict[int, str] = {}
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            pass
    return found


def _children() -> set[int]:
    """Give the processes that descend from this one, except the helpers that live as long as it does."""
    psutil = pytest.importorskip("psutil")
    lasting = ("resource_tracker", "forkserver", "ezflow-template", "_engine.template")
    found = set()
    for child in psutil.Process().children(recursive=True):
        try:
            if child.status() == "zombie" or not any(word in " ".join(child.cmdline()) for word in lasting):
                found.add(child.pid)
        except psutil.Error:
            pass
    return found


def _segments() -> set[str]:
    """Give the shared-memory entries that exist."""
    try:
        return {name for name in os.listdir("/dev/shm") if name.startswith(("psm_", "ezflow"))}
    except OSError:
        return set()


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compare children, threads, descriptors and shared segments before and after the test."""
    if request.node.get_closest_marker("leaks") is not None:
        yield
        return
    gc.collect()
    threads = set(threading.enumerate())
    descriptors = _descriptors()
    children = _children()
    segments = _segments()
    yield
    end = time.monotonic() + LEAK_PATIENCE
    while True:
        gc.collect()
        left: dict[str, Any] = {
            "threads": [t.name for t in set(threading.enumerate()) - threads],
            "children": sorted(_children() - children),
            # other workers of a test run share /dev/shm, so only what is ours by name counts
            "segments": sorted(s for s in _segments() - segments if str(os.getpid()) in s),
            "descriptors": [
                f"{fd}: {what}"
                for fd, what in _descriptors().items()
                if fd not in descriptors and not _is_lasting(what)
            ],
        }
        if not any(left.values()):
            return
        if time.monotonic() > end:
            pytest.fail(f"left behind: { {k: v for k, v in left.items() if v} }")
        time.sleep(0.02)


_lasting: set[str] = set()


def _is_lasting(what: str) -> bool:
    """Tell whether a descriptor belongs to a helper that is started once and lives on."""
    return what in _lasting or what.startswith("/dev/") or what.endswith("/fd")
