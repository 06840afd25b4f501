"""A pool that nobody holds any more and that was never shut down: its calls end, then its processes and threads."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.life.program import run

HEAD = """
import gc
import multiprocessing
import os
import threading
import time
import weakref
from concurrent.futures import wait

from ezflow import ProcessPoolExecutor

folder = os.environ["FOLDER"]
context = multiprocessing.get_context(os.environ["METHOD"])

def gate(name):
    while not os.path.exists(os.path.join(folder, name)):
        time.sleep(0.002)

def mark(name):
    open(os.path.join(folder, name), "w").close()

def mark_and_wait(name, other):
    mark(name)
    gate(other)
    return name

def exists(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:  # a zombie of somebody else's is gone as well
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

def descriptors():
    return len(os.listdir("/proc/self/fd"))

def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, (condition, threading.enumerate(), pids)
        time.sleep(0.002)

with ProcessPoolExecutor(1, context) as pool:  # what lives as long as the program is there after this
    pool.submit(pow, 2, 3).result()
del pool
before = threading.active_count(), descriptors()

def check_nothing_is_left():
    until(lambda: not any(exists(pid) for pid in pids))
    until(lambda: (threading.active_count(), descriptors()) <= before)
    print("nothing is left", flush=True)
    os._exit(0)  # so that no exit hook cleans up what this test is about

"""


@pytest.fixture
def env(start_method: str, tmp_path: Path) -> dict[str, str]:
    """What the programs are told."""
    return {"METHOD": start_method, "FOLDER": str(tmp_path)}


def check(text: str, env: dict[str, str], folder: Path) -> None:
    """Run a program that says at its end that nothing is left."""
    outcome = run(HEAD + dedent(text), folder, env=env).check()
    assert outcome.lines == ["nothing is left"]


def test_idle_pool_vanishes(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    list(pool.map(pow, range(10), range(10)))
    pids = list(pool._processes)
    assert pids
    seen = weakref.ref(pool)
    del pool
    gc.collect()
    assert seen() is None
    check_nothing_is_left()
    """
    check(text, env, tmp_path)


def test_pool_is_freed_without_the_cycle_collector(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    gc.disable()
    pool = ProcessPoolExecutor(1, context)
    future = pool.submit(pow, 2, 3)
    future.result()
    results = pool.map(pow, range(10), range(10))
    next(results)
    pids = list(pool._processes)
    seen = weakref.ref(pool)
    del pool, future, results
    until(lambda: seen() is None)  # not at once: the dispatcher is told that the rest of the map is not wanted
    check_nothing_is_left()
    """
    check(text, env, tmp_path)


def test_calls_of_a_dropped_pool_end(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    futures = [pool.submit(mark_and_wait, f"started{n}", "go") for n in range(2)]
    futures += [pool.submit(pow, 2, n) for n in range(20)]
    gate("started0"), gate("started1")
    pids = list(pool._processes)
    del pool
    gc.collect()
    mark("go")
    assert [f.result(20) for f in futures] == ["started0", "started1"] + [2**n for n in range(20)]
    check_nothing_is_left()
    """
    check(text, env, tmp_path)


def test_map_of_a_dropped_pool_goes_on(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pids = []
    results = ProcessPoolExecutor(2, context).map(pow, range(100), [2] * 100)
    gc.collect()
    assert list(results) == [n * n for n in range(100)]
    del results
    check_nothing_is_left()
    """
    check(text, env, tmp_path)


def test_pool_dropped_while_its_workers_start_finishes_its_calls(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pids = []
    futures = [ProcessPoolExecutor(4, context).submit(pow, 2, n) for n in range(8)]
    gc.collect()
    assert [f.result(20) for f in futures] == [2**n for n in range(8)]
    del futures
    check_nothing_is_left()
    """
    check(text, env, tmp_path)


def test_worker_that_dies_in_a_dropped_pool_is_replaced_for_the_rest(
    env: dict[str, str], tmp_path: Path
) -> None:
    text = """
    pool = ProcessPoolExecutor(1, context)
    first = pool.submit(mark_and_wait, "started", "never")
    rest = [pool.submit(pow, 2, n) for n in range(5)]
    gate("started")
    pids = list(pool._processes)
    del pool
    gc.collect()
    os.kill(pids[0], 9)
    assert type(first.exception(20)).__name__ == "WorkerDied"
    assert [f.result(20) for f in rest] == [2**n for n in range(5)]
    check_nothing_is_left()
    """
    check(text, env, tmp_path)


def test_pool_in_a_reference_cycle_vanishes(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    class Service:
        def __init__(self):
            self.pool = ProcessPoolExecutor(2, context)
            self.pool.service = self
            self.future = self.pool.submit(pow, 2, 3)
            self.future.add_done_callback(self.done)
        def done(self, future):
            self.last = future
    service = Service()
    service.future.result()
    until_seen = lambda: hasattr(service, "last")
    pids = list(service.pool._processes)
    until(until_seen)
    seen = weakref.ref(service.pool)
    del service, until_seen
    gc.collect()
    assert seen() is None
    check_nothing_is_left()
    """
    check(text, env, tmp_path)


def test_pool_dropped_in_another_thread_vanishes(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    box = [ProcessPoolExecutor(2, context)]
    futures = [box[0].submit(pow, 2, n) for n in range(20)]
    pids = list(box[0]._processes)
    def drop():
        box.clear()
        gc.collect()
    thread = threading.Thread(target=drop)
    thread.start()
    thread.join()
    assert [f.result(20) for f in futures] == [2**n for n in range(20)]
    check_nothing_is_left()
    """
    check(text, env, tmp_path)


def test_pool_dropped_by_its_own_callback_vanishes(env: dict[str, str], tmp_path: Path) -> None:
    # The last reference goes on the pool's own thread, which must not wait for itself.
    text = """
    pool = ProcessPoolExecutor(1, context)
    box = [pool]
    future = pool.submit(mark_and_wait, "started", "go")
    future.add_done_callback(lambda f: (box.clear(), gc.collect()))
    gate("started")
    pids = list(pool._processes)
    del pool, future
    mark("go")
    until(lambda: not box)
    check_nothing_is_left()
    """
    check(text, env, tmp_path)


def test_pool_shut_down_by_its_own_callback_ends(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pool = ProcessPoolExecutor(1, context)
    future = pool.submit(mark_and_wait, "started", "go")
    future.add_done_callback(lambda f: (pool.shutdown(wait=True), mark("ended")))
    gate("started")
    pids = list(pool._processes)
    mark("go")
    gate("ended")
    del future
    check_nothing_is_left()
    """
    check(text, env, tmp_path)


def test_submit_in_a_finaliser_that_runs_anywhere_harms_nothing(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    late = []
    class Tidy:
        def __init__(self):
            self.me = self  # so only the collector frees it, at any allocation, also inside submit
        def __del__(self):
            late.append(pool.submit(pow, 2, 5))
    gc.set_threshold(50, 2, 2)
    futures = []
    for n in range(3000):
        Tidy()
        futures.append(pool.submit(pow, n, 2))
    gc.collect()
    assert [f.result(60) for f in futures] == [n * n for n in range(3000)]
    assert len(late) == 3000 and all(f.result(60) == 32 for f in late)
    pids = list(pool._processes)
    del pool, futures
    late.clear()
    Tidy.__del__ = lambda self: None
    gc.collect()
    check_nothing_is_left()
    """
    check(text, env, tmp_path)
