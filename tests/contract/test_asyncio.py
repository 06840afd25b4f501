"""Futures in asyncio: awaited without a thread each, cancelled for real, the loop never held up."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from ezflow import Future, ProcessPoolExecutor
from tests import work
from tests.contract.gates import KEPT, LIMIT, Gate, wait_gone, wait_until, wait_written, warm, workers

MakePool = Callable[..., ProcessPoolExecutor]


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine, not for ever."""

    async def limited() -> Any:
        return await asyncio.wait_for(coroutine, LIMIT)

    return asyncio.run(limited())


async def arrived(gate: Gate, n: int = 1) -> list[int]:
    """Wait in a loop until calls are at a gate."""
    while len(gate.arrived()) < n:
        await asyncio.sleep(0.002)
    return gate.arrived()


def test_future_can_be_awaited(pool: ProcessPoolExecutor) -> None:
    async def main() -> int:
        return await pool.submit(work.square, 3)

    assert run(main()) == 9


def test_finished_future_can_be_awaited(pool: ProcessPoolExecutor) -> None:
    future = pool.submit(work.square, 3)
    future.result(LIMIT)

    async def main() -> list[int]:
        return [await future, await future]

    assert run(main()) == [9, 9]


def test_awaited_error_is_the_call_s_own(pool: ProcessPoolExecutor) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="odd: 3"):
            await pool.submit(work.fail_on_odd, 3)

    run(main())


def test_awaited_stop_iteration_ends_the_wait(pool: ProcessPoolExecutor) -> None:
    # asyncio refuses that error, and before 3.12.2 in a way that leaves the task waiting.
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for wait in (
            pool.submit(work.fail, StopIteration(3)),
            loop.run_in_executor(pool, work.fail, StopIteration(3)),
        ):
            with pytest.raises(RuntimeError) as caught:
                await wait
            assert isinstance(caught.value.__cause__, StopIteration)
            assert caught.value.__cause__.value == 3

    run(main())
    with pytest.raises(StopIteration):
        pool.submit(work.fail, StopIteration(3)).result(LIMIT)


def test_gather_and_as_completed(pool: ProcessPoolExecutor) -> None:
    async def main() -> None:
        assert await asyncio.gather(*(pool.submit(work.square, i) for i in range(50))) == [
            i * i for i in range(50)
        ]
        results = await asyncio.gather(
            *(pool.submit(work.fail_on_odd, i) for i in range(6)), return_exceptions=True
        )
        assert [isinstance(result, ValueError) for result in results] == [False, True] * 3
        wrapped = [asyncio.wrap_future(pool.submit(work.square, i)) for i in range(20)]
        assert sorted([await each for each in asyncio.as_completed(wrapped)]) == [i * i for i in range(20)]

    run(main())


def test_task_group_of_awaits(pool: ProcessPoolExecutor) -> None:
    async def call(i: int) -> int:
        return await pool.submit(work.square, i)

    async def main() -> list[int]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call(i)) for i in range(50)]
        return [task.result() for task in tasks]

    assert run(main()) == [i * i for i in range(50)]


@pytest.mark.parametrize("how", ["cancel the task", "wait_for", "timeout", "run_in_executor"])
def test_cancelling_the_await_stops_the_work(pool: ProcessPoolExecutor, tmp_path: Path, how: str) -> None:
    pids = warm(pool, 2, tmp_path)
    started, cleaned = tmp_path / "started", tmp_path / "cleaned"
    args = (str(started), str(cleaned), 300.0)

    async def call() -> None:
        await pool.submit(work.mark_start_and_cleanup, *args)

    async def main() -> None:
        if how == "cancel the task":
            task = asyncio.create_task(call())
            while not started.exists():
                await asyncio.sleep(0.002)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        elif how == "wait_for":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(call(), KEPT)
        elif how == "timeout":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(KEPT):
                    await call()
        else:
            loop = asyncio.get_running_loop()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(KEPT):
                    await loop.run_in_executor(pool, work.mark_start_and_cleanup, *args)

    run(main())

    victim = int(wait_written(started))
    wait_gone(victim)
    assert wait_written(cleaned) == "cleaned"
    assert warm(pool, 2, tmp_path, "after") & pids == pids - {victim}


def test_cancelled_await_of_a_waiting_call_means_that_it_never_starts(
    make_pool: MakePool, tmp_path: Path
) -> None:
    pool = make_pool(1)
    gate = Gate(tmp_path)
    mark = tmp_path / "mark"

    async def call() -> None:
        await pool.submit(work.mark, str(mark))

    async def main() -> None:
        blocker = pool.submit(work.pass_gate, *gate.args())
        await arrived(gate)
        tasks = [asyncio.create_task(call()) for _ in range(20)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        gate.open()
        await blocker
        assert await pool.submit(work.square, 3) == 9

    run(main())

    assert not mark.exists()


def test_shielded_call_goes_on(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)

    async def main() -> None:
        future = pool.submit(work.pass_gate, *gate.args())
        wrapped = asyncio.wrap_future(future)

        async def wait() -> None:
            await asyncio.shield(wrapped)

        task = asyncio.create_task(wait())
        (pid,) = await arrived(gate)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open()
        assert await wrapped == pid
        assert future.result(0) == pid

    run(main())


def test_first_error_of_a_task_group_stops_the_others(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)

    async def hang() -> None:
        await pool.submit(work.pass_gate, *gate.args())

    async def fail() -> None:
        await arrived(gate)
        await pool.submit(work.raise_value_error)

    async def main() -> list[int]:
        async def both() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(hang())
                group.create_task(fail())

        with pytest.raises(ExceptionGroup) as caught:
            await both()
        assert [type(error) for error in caught.value.exceptions] == [ValueError]
        return gate.arrived()

    wait_gone(*run(main()))


def test_wait_raises_or_works_and_never_hangs(pool: ProcessPoolExecutor) -> None:
    async def main() -> None:
        futures = [pool.submit(work.square, i) for i in range(3)]
        try:
            done, pending = await asyncio.wait(futures, timeout=10)  # type: ignore[type-var]
        except TypeError:
            pass  # says that it wants tasks or asyncio's futures
        else:
            assert {future.result() for future in done} == {0, 1, 4}
            assert not pending
        wrapped = [asyncio.wrap_future(future) for future in futures]
        done, pending = await asyncio.wait(wrapped)
        assert {future.result() for future in done} == {0, 1, 4}

    run(main())


def test_two_hundred_awaits_need_no_thread_each(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    warm(pool, 2, tmp_path)
    gate = Gate(tmp_path)

    async def call(i: int) -> int:
        if i == 0:
            await pool.submit(work.pass_gate, *gate.args())
        return await pool.submit(work.square, i)

    async def main() -> None:
        before = threading.active_count()
        tasks = [asyncio.create_task(call(i)) for i in range(200)]
        await arrived(gate)
        await asyncio.sleep(0.05)
        assert threading.active_count() - before <= 1  # the callbacks' thread, if any
        gate.open()
        assert await asyncio.gather(*tasks) == [i * i for i in range(200)]
        assert threading.active_count() - before <= 1

    run(main())


def test_same_future_awaited_by_many_tasks(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)

    async def main() -> None:
        future = pool.submit(work.pass_gate, *gate.args())

        async def wait() -> int:
            return await future

        tasks = [asyncio.create_task(wait()) for _ in range(20)]
        (pid,) = await arrived(gate)
        gate.open()
        assert await asyncio.gather(*tasks) == [pid] * 20

    run(main())


def test_loops_of_several_threads_share_a_pool(pool: ProcessPoolExecutor) -> None:
    sums: list[int] = []

    async def main() -> int:
        return sum(await asyncio.gather(*(pool.submit(work.square, i) for i in range(200))))

    threads = [threading.Thread(target=lambda: sums.append(run(main()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)

    assert sums == [sum(i * i for i in range(200))] * 4


def test_loop_that_is_closed_with_calls_under_way_hurts_nobody(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    loop = asyncio.new_event_loop()
    futures: list[Future[int]] = []

    async def start() -> None:
        futures.append(pool.submit(work.pass_gate, *gate.args()))
        asyncio.wrap_future(futures[0])

    loop.run_until_complete(start())
    loop.close()
    gate.open()

    assert futures[0].result(LIMIT) in workers(pool)
    assert pool.submit(work.square, 3).result(LIMIT) == 9


def test_worker_that_dies_under_an_await(pool: ProcessPoolExecutor) -> None:
    async def main() -> None:
        results = await asyncio.gather(
            *(
                pool.submit(work.exit_at_once, 3) if i == 7 else pool.submit(work.square, i)
                for i in range(20)
            ),
            return_exceptions=True,
        )
        assert [type(result).__name__ for result in results].count("WorkerDied") == 1
        assert isinstance(results[7], concurrent.futures.process.BrokenProcessPool)

    run(main())


def test_loop_beats_on_while_calls_come_and_go(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0)
            beats += 1

    async def client(i: int) -> None:
        assert await pool.submit(work.length, b"x" * 100_000) == 100_000
        assert await pool.submit(work.square, i) == i * i

    async def main() -> None:
        heart = asyncio.create_task(beat())
        blockers = [pool.submit(work.pass_gate, *gate.args()) for _ in range(2)]
        await arrived(gate, 2)
        clients = asyncio.gather(*(client(i) for i in range(64)))
        so_far = beats
        while beats < so_far + 100:  # no worker takes anything, and more waits than pipes can hold
            await asyncio.sleep(0)
        assert not clients.done()
        gate.open()
        await clients
        await asyncio.gather(*blockers)
        heart.cancel()

    run(main())  # how long a beat takes is watched by `nox -s bench`


def test_submit_in_the_loop_never_waits_for_a_start(make_pool: MakePool, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    pool = make_pool(2, initializer=work.pass_gate, initargs=gate.args())

    async def main() -> int:
        future = pool.submit(work.square, 3)  # returns although no worker is ready
        await arrived(gate)
        gate.open()
        return await future

    assert run(main()) == 9


def test_run_in_executor_is_the_standard_one(pool: ProcessPoolExecutor) -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(pool, work.square, i) for i in range(20)))

    assert run(main()) == [i * i for i in range(20)]


def test_many_rounds_of_cancelled_awaits_leave_a_working_pool(pool: ProcessPoolExecutor) -> None:
    async def main() -> None:
        for nth in range(60):
            task = asyncio.ensure_future(asyncio.wrap_future(pool.submit(work.add_up, 3_000 * (nth % 10))))
            innocent = [pool.submit(work.square, i) for i in range(5)]
            for _ in range(nth % 7):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await asyncio.gather(*innocent) == [0, 1, 4, 9, 16]

    run(main())
    wait_until(lambda: len(workers(pool)) <= 2, "the end of stopped workers")
