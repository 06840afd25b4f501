"""Calls that return something unfinished: coroutines are awaited in the worker, generators collected."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import gc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ezflow import EZ, CallInterrupted, CallTimeout, ProcessPoolExecutor
from tests import work
from tests.contract import called
from tests.contract.gates import LIMIT, wait_gone, wait_written

MakePool = Callable[..., ProcessPoolExecutor]


def test_whatever_returns_a_coroutine_is_a_call(pool: ProcessPoolExecutor) -> None:
    for fn in (
        called.double,
        functools.partial(called.double),
        lambda x: called.double(x),  # noqa: PLW0108 - what is tested
        called.decorated,
        called.Async().method,
        called.Async.of_class,
        called.Async(),
        functools.partial(functools.partial(called.Async().method)),
    ):
        assert pool.submit(fn, 4).result(LIMIT) == 8
        assert list(pool.map(fn, [1, 2])) == [2, 4]
    assert pool.submit.star()(called.double, (4,)).result(LIMIT) == 8

    async def main() -> None:
        assert await pool.submit(called.double, 4) == 8
        assert await pool.map.asynced()(called.double, [1, 2]) == [2, 4]

    asyncio.run(main())


def test_local_coroutine_function(pool: ProcessPoolExecutor) -> None:
    async def local(x: int) -> int:
        await asyncio.sleep(0)
        return 3 * x

    assert pool.submit(local, 4).result(LIMIT) == 12


def test_error_of_a_coroutine_is_the_call_s(pool: ProcessPoolExecutor) -> None:
    error = pool.submit(called.fail_later, "late").exception(LIMIT)

    assert isinstance(error, ValueError)
    assert str(error) == "late"
    frames = []
    step = error.__traceback__
    while step is not None:
        frames.append(step.tb_frame.f_code.co_name)
        step = step.tb_next
    assert frames[-1] == "fail_later"


def test_one_loop_per_worker_is_used_again(make_pool: MakePool) -> None:
    pool = make_pool(1)
    found = {pool.submit(called.loop_id).result(LIMIT) for _ in range(5)}
    assert pool.submit(work.square, 3).result(LIMIT) == 9
    assert found == {pool.submit(called.loop_id).result(LIMIT)}


def test_context_of_the_caller_is_visible_and_does_not_leak(make_pool: MakePool) -> None:
    pool = make_pool(1)
    assert pool.submit(called.get_variable_later).result(LIMIT) == "default"
    token = called.VARIABLE.set("mine")
    try:
        assert pool.submit(called.get_variable_later).result(LIMIT) == "mine"
        assert pool.submit(called.set_variable_later, "theirs").result(LIMIT) == "theirs"
        assert pool.submit(called.get_variable_later).result(LIMIT) == "mine"
    finally:
        called.VARIABLE.reset(token)
    assert pool.submit(called.get_variable_later).result(LIMIT) == "default"


def test_cancelling_raises_cancelled_error_inside_first(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    started, told = tmp_path / "started", tmp_path / "told"
    future = pool.submit(called.tell_cancelled, str(started), str(told))
    pid = int(wait_written(started))

    assert future.cancel()

    assert wait_written(told) == "CancelledError"
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(LIMIT)
    wait_gone(pid)
    assert pool.submit(called.double, 4).result(LIMIT) == 8


def test_limit_raises_cancelled_error_inside_and_tells_where(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    started, told = tmp_path / "started", tmp_path / "told"

    error = pool.submit.timeout(1.0)(called.tell_cancelled, str(started), str(told)).exception(LIMIT)

    assert isinstance(error, CallTimeout)
    if started.exists():
        assert wait_written(told) == "CancelledError"
        assert error.__cause__ is not None
        step, names = error.__cause__.__traceback__, []
        while step is not None:
            names.append(step.tb_frame.f_code.co_name)
            step = step.tb_next
        assert "tell_cancelled" in names


@pytest.mark.parametrize("stubborn", [called.block_loop, called.refuse_to_end], ids=lambda fn: fn.__name__)
def test_coroutine_that_does_not_end_is_killed_after_the_grace(
    pool: ProcessPoolExecutor, tmp_path: Path, stubborn: Callable[..., Any]
) -> None:
    started = tmp_path / "started"
    future = pool.submit(stubborn, str(started))
    pid = int(wait_written(started))

    assert future.cancel()
    wait_gone(pid)
    error = pool.submit.timeout(0.5)(stubborn, str(tmp_path / "again")).exception(LIMIT)

    assert isinstance(error, CallTimeout)
    assert pool.submit(called.double, 4).result(LIMIT) == 8


def test_what_a_coroutine_leaves_behind_is_cancelled_with_it(make_pool: MakePool, tmp_path: Path) -> None:
    pool, told = make_pool(1), tmp_path / "told"

    assert pool.submit(called.leave_task_behind, str(told)).result(LIMIT) == 2

    assert wait_written(told) == "CancelledError"
    assert pool.submit(called.n_tasks).result(LIMIT) == 1


def test_coroutine_object_is_refused_at_once_and_closed(pool: ProcessPoolExecutor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # never awaited
        for submit in (pool.submit, pool.submit.timeout(3), pool.timeout(3).submit, pool.submit.star()):
            coroutine = called.double(4)
            with pytest.raises(TypeError, match="coroutine"):
                submit(coroutine)  # type: ignore[arg-type]
            assert coroutine.cr_frame is None
        coroutine = called.double(4)
        with pytest.raises(TypeError, match="coroutine"):
            list(pool.map(coroutine, [1]))  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            asyncio.run(pool.submit.asynced()(called.double(4)))
        del coroutine
        gc.collect()


def test_async_generator_gives_a_list(pool: ProcessPoolExecutor) -> None:
    assert pool.submit(called.count_up, 3).result(LIMIT) == [0, 1, 2]
    assert list(pool.map(called.count_up, [0, 1])) == [[], [0]]


def test_generator_gives_a_list(pool: ProcessPoolExecutor) -> None:
    assert pool.submit(called.count, 3).result(LIMIT) == [0, 1, 2]
    assert list(pool.map(called.count, [0, 1])) == [[], [0]]
    assert pool.submit(lambda: (x for x in "ab")).result(LIMIT) == ["a", "b"]
    with pytest.raises(ValueError, match="after the last"):
        pool.submit(called.count_and_fail, 3).result(LIMIT)


def test_limit_counts_in_a_generator(pool: ProcessPoolExecutor) -> None:
    def never_ends() -> Any:
        while True:
            yield

    def drops() -> Any:
        import time

        yield 1
        time.sleep(300)

    assert isinstance(pool.submit.timeout(0.3)(drops).exception(LIMIT), CallTimeout)


def test_retry_runs_a_coroutine_again(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    path = tmp_path / "runs"

    async def flaky() -> int:
        await asyncio.sleep(0)
        return called.flaky(str(path), 2)

    assert pool.submit.retry(3)(flaky).result(LIMIT) == 3


def test_coroutine_that_is_interrupted_before_it_begins_is_no_complaint(make_pool: MakePool) -> None:
    pool = make_pool(1, initializer=work.note_complaints)
    stages = EZ(work.interrupt_before_it_is_awaited, work.wait_a_little).on(pool)

    for future in (pool.submit(work.interrupt_before_it_is_awaited), stages.submit()):
        assert isinstance(future.exception(LIMIT), CallInterrupted)

    assert pool.submit(work.wait_a_little).result(LIMIT) == "waited"
    assert pool.submit(work.give_complaints).result(LIMIT) == []
