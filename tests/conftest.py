"""What every test gets: a start method, a pool maker, and the proof that nothing is left behind."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import forkserver, resource_tracker
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, Phase, settings

from ezflow import ProcessPoolExecutor
from ezflow._engine import template
from ezflow.graph.conductor import conductor
from ezflow.graph.lanes import close_defaults

START_METHODS = [
    name for name in ("fork", "forkserver", "spawn") if name in multiprocessing.get_all_start_methods()
]

SHORT = (Phase.explicit, Phase.reuse, Phase.generate)  # to make a failing example small can take minutes
NO_CLOCK = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # a busy machine is no mistake
settings.register_profile("short", NO_CLOCK, max_examples=40, phases=SHORT)
settings.register_profile("stress", NO_CLOCK, max_examples=2000)  # nox -s stress
settings.load_profile("short")

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
    pools.clear()  # pytest holds the maker for longer, and `no_leaks` looks for what pools hold


@pytest.fixture
def pool(make_pool: Callable[..., ProcessPoolExecutor]) -> ProcessPoolExecutor:
    """A pool of two workers."""
    return make_pool(2)


def _helpers() -> tuple[set[int], set[int]]:
    """Give pids and descriptors of the helpers that are started once and live as long as this process."""
    pids: set[int | None] = set()
    fds: set[int | None] = set()
    tracker = resource_tracker._resource_tracker
    pids.add(tracker._pid)
    fds.add(tracker._fd)
    standard = forkserver._forkserver
    pids.add(standard._forkserver_pid)
    fds.add(standard._forkserver_alive_fd)
    shared = template._shared
    if shared is not None:
        pids.add(shared.pid)
        fds.add(shared._requests.fileno())
        popen = shared._popen
        fds.update(end.fd for end in (popen.lifeline, popen.status, popen.pidfd) if end is not None)
    return {pid for pid in pids if pid is not None}, {fd for fd in fds if fd is not None}


def _descriptors() -> set[tuple[int, str]]:
    """Give this process's open descriptors and what they are, without those of helpers."""
    _, helpers = _helpers()
    found = set()
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            what = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the one that lists
        if int(name) not in helpers and not what.startswith("/dev/"):
            found.add((int(name), what))
    return found


def _children() -> set[int]:
    """Give the processes that descend from this one, dead ones that nobody reaped included, without helpers."""
    helpers, _ = _helpers()
    try:
        found = _descendants(os.getpid())
    except FileNotFoundError:  # a kernel without these lists, or none that has /proc
        found = {child.pid for child in psutil.Process().children(recursive=True)}
    return found - helpers


def _descendants(pid: int) -> set[int]:
    """Ask the kernel itself who descends from a process: psutil looks at every process of the machine."""
    found = set()
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
            for child in map(int, file.read().split()):
                found.add(child)
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                    found |= _descendants(child)
    return found


def _segments() -> set[str]:
    """Give the shared-memory entries that exist."""
    try:
        return {name for name in os.listdir("/dev/shm") if name.startswith(("psm_", "ezflow"))}
    except OSError:
        return set()


@pytest.fixture(scope="session", autouse=True)
def quick_collections() -> Iterator[None]:
    """Keep what pytest and its plugins hold out of every later collection: two of them surround each test."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def threads_of_graphs() -> None:
    """Start the threads that graphs start once for the whole process."""
    conductor().prepare_callbacks()


@pytest.fixture
def default_executors() -> Iterator[None]:
    """End the executors of graphs without one after the test."""
    yield
    close_defaults()


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
            "descriptors": [f"{fd}: {what}" for fd, what in _descriptors() - descriptors],
        }
        if not any(left.values()):
            return
        if time.monotonic() > end:
            pytest.fail(f"left behind: { {k: v for k, v in left.items() if v} }")
        time.sleep(0.02)
