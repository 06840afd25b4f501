"""Pools inside workers work; a call that uses the pool it runs on is told so at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ezflow import ProcessPoolExecutor, WrongProcess
from tests import work
from tests.conftest import START_METHODS
from tests.contract.gates import LIMIT, lines, wait_gone, wait_until

MakePool = Callable[..., ProcessPoolExecutor]


@pytest.mark.parametrize("inner", START_METHODS)
def test_pool_in_a_worker_works(pool: ProcessPoolExecutor, inner: str) -> None:
    futures = [pool.submit(work.nested_with, inner, i) for i in range(4)]

    assert [future.result(LIMIT) for future in futures] == [i * i for i in range(4)]


def test_pools_nest_three_deep(pool: ProcessPoolExecutor, start_method: str) -> None:
    assert pool.submit(work.nested_deep, start_method, 3).result(LIMIT) == 3


def test_pool_that_a_worker_keeps_serves_its_later_calls(make_pool: MakePool, start_method: str) -> None:
    pool = make_pool(1)

    pids = [pool.submit(work.nested_kept, start_method).result(LIMIT) for _ in range(5)]

    assert len(set(pids)) == 1
    pool.shutdown()
    wait_gone(*set(pids))  # with its owner


@pytest.mark.parametrize("end", ["cancel", "kill_workers", "SIGKILL", "os._exit"])
def test_inner_workers_end_with_the_outer_one(
    make_pool: MakePool, start_method: str, tmp_path: Path, end: str
) -> None:
    pool = make_pool(1)
    path = tmp_path / "pids"
    future = pool.submit(
        work.nested_and_hang, start_method, str(path), work.exit_at_once if end == "os._exit" else None
    )
    wait_until(lambda: len(lines(path)) == 3, "the inner workers")
    outer, *inner = map(int, lines(path))

    if end == "cancel":
        assert future.cancel()
    elif end == "kill_workers":
        pool.kill_workers()
    elif end == "SIGKILL":
        os.kill(outer, signal.SIGKILL)

    wait_gone(outer, *inner)


def test_pool_in_a_child_of_multiprocessing_works(context: Any) -> None:
    for daemon in (False, True):
        queue = context.SimpleQueue()
        child = context.Process(target=work.nested_into_queue, args=(queue, 5), daemon=daemon)
        child.start()

        assert queue.get() == 25
        child.join(LIMIT)
        assert child.exitcode == 0
        child.close()
        queue.close()


def test_pool_as_an_argument_is_refused_at_once(pool: ProcessPoolExecutor) -> None:
    error = pool.submit(work.use_pool, pool).exception(LIMIT)

    assert isinstance(error, TypeError | WrongProcess)
    assert pool.submit(work.square, 3).result(LIMIT) == 9


def test_pool_in_a_closure_is_refused_at_once(pool: ProcessPoolExecutor) -> None:
    error = pool.submit(lambda: pool.submit(work.square, 3).result()).exception(LIMIT)

    assert isinstance(error, TypeError | WrongProcess)
    assert pool.submit(work.square, 3).result(LIMIT) == 9


def test_pool_in_a_module_is_refused_at_once(pool: ProcessPoolExecutor, start_method: str) -> None:
    work.state["pool"] = pool  # a forked worker inherits it, others have an empty module
    try:
        error = pool.submit(work.use_pool_of_module).exception(LIMIT)
    finally:
        del work.state["pool"]

    assert isinstance(error, WrongProcess if start_method == "fork" else KeyError)


OWN_POOL = """
import multiprocessing, sys
from ezflow import ProcessPoolExecutor, WrongProcess

def use(way):
    if way == "submit":
        return pool.submit(pow, 2, 3).result()
    if way == "map":
        return list(pool.map(abs, [1]))
    return pool.shutdown()

pool = ProcessPoolExecutor(1, multiprocessing.get_context(sys.argv[1]))
for way in ("submit", "map"):
    error = pool.submit(use, way).exception(50)
    print(way, isinstance(error, (TypeError, WrongProcess)), repr(error), file=sys.stderr)
    assert isinstance(error, (TypeError, WrongProcess))
pool.submit(use, "shutdown").exception(50)
print(pool.submit(pow, 2, 3).result(50))
pool.shutdown()
"""


@pytest.mark.parametrize("start_method", START_METHODS)
def test_own_pool_as_a_global_of_the_program_is_refused_at_once(start_method: str) -> None:
    program = subprocess.run(
        [sys.executable, "-c", OWN_POOL, start_method],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert program.stdout == "8\n", program.stderr
    assert program.returncode == 0


def test_call_may_use_another_pool_of_its_own(pool: ProcessPoolExecutor) -> None:
    def outer(n: int) -> list[int]:
        with ProcessPoolExecutor(2, multiprocessing.get_context("forkserver")) as inner:
            return list(inner.map(lambda x: x + n, range(3)))

    assert pool.submit(outer, 10).result(LIMIT) == [10, 11, 12]
