"""`.asynced()`, `async with` and `drain`: real coroutines, no helper threads, and work that stops when it is not wanted."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from ezflow import CallTimeout, ProcessPoolExecutor, Result
from tests import work
from tests.contract import called
from tests.contract.gates import LIMIT, Gate, is_gone, workers

MakePool = Callable[..., ProcessPoolExecutor]
Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine in each kind of loop, not for ever."""
    factory = None
    if request.param == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        async def limited() -> Any:
            return await asyncio.wait_for(coroutine, LIMIT)

        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(limited())

    return run


@pytest.fixture(scope="module", autouse=True)
def used_uvloop() -> None:
    """Use it once: it keeps a pipe for as long as the process lives."""
    try:
        import uvloop
    except ImportError:
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.sleep(0))


async def arrived(gate: Gate, n: int = 1) -> list[int]:
    """Wait in a loop until calls are at a gate."""
    while len(gate.arrived()) < n:
        await asyncio.sleep(0.002)
    return gate.arrived()


async def gone(*pids: int) -> None:
    """Wait in a loop until processes have ended."""
    while not all(map(is_gone, pids)):
        await asyncio.sleep(0.002)


async def numbers(n: int) -> AsyncIterator[int]:
    for i in range(n):
        await asyncio.sleep(0)
        yield i


# ---------------------------------------------------------------- coroutines


def test_asynced_submit_is_a_coroutine(pool: ProcessPoolExecutor, run: Run) -> None:
    async def main() -> None:
        coroutine = pool.submit.asynced()(work.square, 3)
        assert inspect.iscoroutine(coroutine)
        assert await coroutine == 9
        async with asyncio.TaskGroup() as group:
            one = group.create_task(pool.submit.asynced()(work.square, 4))
            many = group.create_task(pool.map.asynced()(work.square, range(3)))
        assert (one.result(), many.result()) == (16, [0, 1, 4])
        with pytest.raises(ZeroDivisionError):
            await pool.submit.asynced()(called.invert, 0)
        result = await pool.submit.asynced().results()(called.invert, 0)
        assert isinstance(result.err, ZeroDivisionError)
        assert await pool.submit.asynced().star().timeout(30)(called.add, (1, 2)) == 3

    run(main())


def test_asyncio_run_takes_both(pool: ProcessPoolExecutor) -> None:
    assert asyncio.run(pool.submit.asynced()(work.square, 3)) == 9
    assert asyncio.run(pool.map.asynced()(work.square, [1, 2])) == [1, 4]
    assert asyncio.run(pool.asynced().map(work.square, [1, 2])) == [1, 4]


def test_gather_shield_and_wait(pool: ProcessPoolExecutor, run: Run) -> None:
    async def main() -> None:
        call = pool.submit.asynced()
        assert await asyncio.gather(*(call(work.square, i) for i in range(20))) == [i * i for i in range(20)]
        assert await asyncio.shield(call(work.square, 3)) == 9
        assert await asyncio.wait_for(call(work.square, 3), LIMIT) == 9
        done, pending = await asyncio.wait([asyncio.create_task(call(work.square, i)) for i in range(5)])
        assert sorted(task.result() for task in done) == [0, 1, 4, 9, 16]
        assert not pending

    run(main())


# ---------------------------------------------------------------- async iteration


def test_map_takes_inputs_of_either_kind(pool: ProcessPoolExecutor, run: Run) -> None:
    async def main() -> None:
        over = pool.map.asynced()
        assert [x async for x in over(work.square, range(4))] == [0, 1, 4, 9]
        assert [x async for x in over(work.square, numbers(4))] == [0, 1, 4, 9]
        assert [x async for x in over(called.add, numbers(4), range(10, 20))] == [10, 12, 14, 16]
        assert await over(called.add, range(2), numbers(10)) == [0, 2]
        assert await over(work.square, []) == []
        assert await over(work.square, numbers(0)) == []
        assert [x async for x in pool.map.asynced().star()(called.add, [(1, 2), {"a": 3}])] == [3, 3]
        results = [x async for x in pool.map.asynced().results()(called.invert, numbers(2))]
        assert [type(result.err) for result in results] == [ZeroDivisionError, type(None)]
        assert results[1] == Result(1.0)
        assert sorted([x async for x in pool.map.asynced().unordered()(work.square, numbers(200))]) == [
            i * i for i in range(200)
        ]

    run(main())


def test_error_is_raised_at_its_place(pool: ProcessPoolExecutor, run: Run) -> None:
    async def main() -> None:
        seen = []
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async for x in pool.map.asynced()(called.invert, [1, 2, 0, 4]):
                seen.append(x)  # noqa: PERF401 - it is to end in the middle
        assert seen == [1.0, 0.5]

    run(main())


def test_error_of_the_inputs_stops_the_work(pool: ProcessPoolExecutor, run: Run, tmp_path: Path) -> None:
    gate = Gate(tmp_path)

    async def inputs() -> AsyncIterator[tuple[str, str]]:
        yield gate.args()
        await arrived(gate)
        raise KeyError("inputs")

    async def main() -> None:
        with pytest.raises(KeyError, match="inputs"):
            await pool.map.asynced().star()(work.pass_gate, inputs())
        await gone(*gate.arrived())

    run(main())


@pytest.mark.parametrize("unordered", [False, True])
def test_breaking_out_stops_the_work(
    pool: ProcessPoolExecutor, run: Run, tmp_path: Path, unordered: bool
) -> None:
    gate = Gate(tmp_path)
    items = [("/", "/"), *[gate.args()] * 50]

    def first_at_once(folder: str, path: str) -> int:
        return 0 if path == "/" else work.pass_gate(folder, path)

    async def main() -> None:
        method = pool.map.asynced().star()
        if unordered:
            method = method.unordered()
        async for _ in method(first_at_once, items):
            await arrived(gate, 2)
            break
        await gone(*gate.arrived())
        assert await pool.submit(work.square, 3) == 9
        assert len(gate.arrived()) == 2

    run(main())


@pytest.mark.parametrize("way", ["timeout", "cancel", "task group"])
@pytest.mark.parametrize("what", ["submit", "map", "iterate"])
def test_cancellation_stops_the_work(
    pool: ProcessPoolExecutor, run: Run, tmp_path: Path, way: str, what: str
) -> None:
    gate = Gate(tmp_path)

    async def work_on() -> None:
        if what == "submit":
            await pool.submit.asynced()(work.pass_gate, *gate.args())
        elif what == "map":
            await pool.map.asynced().star()(work.pass_gate, [gate.args()] * 9)
        else:
            async for _ in pool.map.asynced().star()(work.pass_gate, [gate.args()] * 9):
                pass

    async def main() -> None:
        n = 1 if what == "submit" else 2
        if way == "timeout":
            with pytest.raises(TimeoutError):  # noqa: PT012
                async with asyncio.timeout(None) as limit:
                    watch = asyncio.create_task(arrived(gate, n))
                    watch.add_done_callback(lambda _: limit.reschedule(0))
                    await work_on()
        elif way == "cancel":
            task = asyncio.create_task(work_on())
            await arrived(gate, n)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            with pytest.raises(ExceptionGroup):  # noqa: PT012
                async with asyncio.TaskGroup() as group:
                    group.create_task(work_on())
                    await arrived(gate, n)
                    raise ValueError
        await gone(*gate.arrived())
        assert await pool.submit(work.square, 3) == 9
        assert len(gate.arrived()) == n

    run(main())


def test_source_without_end_is_read_as_far_as_needed(pool: ProcessPoolExecutor, run: Run) -> None:
    n_read = 0

    async def endless() -> AsyncIterator[int]:
        nonlocal n_read
        while True:
            n_read += 1
            yield n_read

    async def main() -> None:
        async for x in pool.map.asynced()(work.square, endless()):
            if x == 100:
                break
        assert n_read <= 10 + 8 + 1

    run(main())


def test_faults_reach_the_one_who_awaits(pool: ProcessPoolExecutor, run: Run) -> None:
    from ezflow import WorkerDied

    async def main() -> None:
        with pytest.raises(WorkerDied):
            await pool.submit.asynced()(work.exit_at_once, 3)
        with pytest.raises(CallTimeout):
            await pool.submit.asynced().timeout(0.1)(work.wait_for_file, "/nowhere")
        with pytest.raises(TypeError, match="travel"):
            await pool.submit.asynced()(work.square, work.Unpicklable())
        results = await pool.map.asynced().results()(work.exit_at_once, [1, 2])
        assert [type(result.err) for result in results] == [WorkerDied] * 2

    run(main())


def test_two_hundred_awaits_need_no_threads(pool: ProcessPoolExecutor, run: Run, tmp_path: Path) -> None:
    gate = Gate(tmp_path)

    async def main() -> None:
        await pool.submit(work.square, 3)
        before = threading.active_count()
        held = [asyncio.create_task(pool.submit.asynced()(work.pass_gate, *gate.args())) for _ in range(2)]
        await arrived(gate, 2)
        tasks = [asyncio.create_task(pool.submit.asynced()(work.square, i)) for i in range(200)]
        await asyncio.sleep(0.01)
        assert threading.active_count() == before
        gate.open()
        assert await asyncio.gather(*tasks) == [i * i for i in range(200)]
        await asyncio.gather(*held)
        assert threading.active_count() == before

    run(main())


# ---------------------------------------------------------------- the end


def test_async_with_ends_the_pool(make_pool: MakePool, run: Run) -> None:
    async def main() -> None:
        async with make_pool(2) as pool:
            future = pool.submit(work.square, 3)
        assert future.result(0) == 9
        assert not workers(pool)
        with pytest.raises(RuntimeError, match="shutdown"):
            pool.submit(work.square, 3)
        async with make_pool(1):
            pass  # never used

    threads = threading.active_count()
    run(main())
    assert threading.active_count() == threads


def test_async_with_waits_without_holding_up_the_loop(make_pool: MakePool, run: Run, tmp_path: Path) -> None:
    gate = Gate(tmp_path)

    async def main() -> None:
        async def open_gate() -> None:
            await arrived(gate)
            gate.open()

        threads = threading.active_count()
        async with make_pool(1) as pool:
            future = pool.submit(work.pass_gate, *gate.args())
            opener = asyncio.create_task(open_gate())
        await opener
        assert future.done()
        assert threading.active_count() == threads

    run(main())


def test_cancelled_body_stops_the_work(make_pool: MakePool, run: Run, tmp_path: Path) -> None:
    gate = Gate(tmp_path)

    async def body() -> None:
        async with make_pool(2) as pool:
            for _ in range(9):
                pool.submit(work.pass_gate, *gate.args())
            await asyncio.sleep(300)

    async def main() -> None:
        task = asyncio.create_task(body())
        pids = await arrived(gate, 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert all(map(is_gone, pids))
        assert len(gate.arrived()) == 2

    run(main())


def test_cancelled_waiting_stops_the_work(make_pool: MakePool, run: Run, tmp_path: Path) -> None:
    gate = Gate(tmp_path)

    async def body() -> None:
        async with make_pool(2) as pool:
            for _ in range(9):
                pool.submit(work.pass_gate, *gate.args())

    async def main() -> None:
        task = asyncio.create_task(body())
        pids = await arrived(gate, 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert all(map(is_gone, pids))

    run(main())


def test_drain_waits_for_what_was_accepted(make_pool: MakePool, run: Run) -> None:
    async def main() -> None:
        pool = make_pool(2)
        futures = [pool.submit(work.square, i) for i in range(50)]
        assert await pool.drain(LIMIT) is True
        assert [future.result(0) for future in futures] == [i * i for i in range(50)]
        with pytest.raises(RuntimeError, match="shutdown"):
            pool.submit(work.square, 3)
        assert await pool.drain(LIMIT) is True
        assert await make_pool(1).drain(1) is True

    run(main())


def test_drain_cancels_what_takes_too_long(make_pool: MakePool, run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        pool, gate = make_pool(2), Gate(tmp_path)
        started, cleaned = tmp_path / "started", tmp_path / "cleaned"
        running = [
            pool.submit(work.pass_gate, *gate.args()),
            pool.submit(work.mark_start_and_cleanup, str(started), str(cleaned), 300.0),
        ]
        pids = await arrived(gate)
        while not started.exists():
            await asyncio.sleep(0.002)
        waiting = [pool.submit(work.mark, str(tmp_path / f"never{i}")) for i in range(300)]
        delayed = pool.submit.retry(9, delay=1e6)(called.flaky, str(tmp_path / "x"), 9)

        assert await pool.drain(0.1) is False

        assert all(future.cancelled() for future in [*running, *waiting, delayed])
        assert cleaned.read_text() == "cleaned"
        assert all(map(is_gone, pids))
        assert not list(tmp_path.glob("never*"))

    run(main())


def test_drain_of_a_view_drains_the_pool(make_pool: MakePool, run: Run) -> None:
    async def main() -> None:
        pool = make_pool(1)
        future = pool.submit(work.square, 3)
        async with pool.timeout(30) as view:
            assert await view.submit(work.square, 4) == 16
        assert future.result(0) == 9

    run(main())


def test_drain_waits_for_callbacks(make_pool: MakePool, run: Run) -> None:
    async def main() -> None:
        pool, called_back = make_pool(1), []
        future = pool.submit(work.square, 3)
        future.add_done_callback(lambda done: (time.sleep(0.05), called_back.append(done.result())))
        assert await pool.drain() is True
        assert called_back == [9]

    run(main())


def test_loop_beats_on_while_maps_run(pool: ProcessPoolExecutor, run: Run) -> None:
    """Nothing that waits for a worker is done in the loop's thread: gaps stay far below what a call takes."""

    async def main() -> None:
        await pool.submit(work.square, 3)
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                beats += 1
                await asyncio.sleep(0)

        heart = asyncio.create_task(beat())
        n = 0
        async for _ in pool.map.asynced()(work.square, numbers(500)):
            n += 1
        heart.cancel()
        assert n == 500
        assert beats >= 100

    run(main())


def test_map_that_is_neither_awaited_nor_iterated_says_so(pool: ProcessPoolExecutor) -> None:
    with pytest.warns(RuntimeWarning, match="neither awaited nor iterated"):
        del [pool.map.asynced()(work.square, [1, 2])][0]

    pool.map.asynced()(work.square, [1, 2]).close()
