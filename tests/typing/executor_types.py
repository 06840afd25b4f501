"""What type checkers see. Read by mypy and pyright in `nox -s types`, never run."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Iterator
from typing import assert_type

from ezflow import Future, ProcessPoolExecutor, WorkerDied


def join(text: str, times: int, *, upper: bool = False) -> str:
    """Have a signature that is worth keeping."""
    return (text.upper() if upper else text) * times


def submit_keeps_arguments_and_result(pool: ProcessPoolExecutor) -> None:
    """A wrong argument is an error, and the future knows its value."""
    assert_type(pool.submit(join, "a", 2), Future[str])
    assert_type(pool.submit(join, "a", times=2, upper=True).result(), str)
    pool.submit(join, "a", "b")  # type: ignore[call-overload]
    pool.submit(join, "a", 2, lower=True)  # type: ignore[arg-type, call-arg]
    pool.submit(join)  # type: ignore[call-overload]


def map_gives_an_iterator_of_results(pool: ProcessPoolExecutor) -> None:
    """As in the standard library's stubs."""
    assert_type(pool.map(join, ["a"], [1]), Iterator[str])
    assert_type(pool.map(len, ["a"], buffersize=3, timeout=1.0), Iterator[int])


async def futures_can_be_awaited(pool: ProcessPoolExecutor) -> None:
    """And work where the standard one does."""
    assert_type(await pool.submit(len, "abc"), int)
    assert_type(await asyncio.wrap_future(pool.submit(len, "abc")), int)
    loop = asyncio.get_running_loop()
    assert_type(await loop.run_in_executor(pool, len, "abc"), int)


def standard_annotations_accept_ours(pool: ProcessPoolExecutor) -> concurrent.futures.Executor:
    """The class is a subclass, and so is the future."""
    standard: concurrent.futures.Future[int] = pool.submit(len, "abc")
    concurrent.futures.wait([standard])
    with ProcessPoolExecutor(2, max_tasks_per_child=3, cancel_running=False, idle_timeout=1.5) as inner:
        assert_type(inner, ProcessPoolExecutor)
    return pool


def errors_have_their_facts(error: WorkerDied) -> None:
    """Attributes that programs read."""
    assert_type(error.pid, int | None)
    assert_type(error.exitcode, int | None)
    assert_type(error.signal, str | None)
    assert_type(error.call, str | None)
