"""`submit.stream()`: items of a generator as they come, bounded, closed at both ends."""

from __future__ import annotations

import asyncio
import gc
import os
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from ezflow import CallTimeout, PicklingError, ProcessPoolExecutor, WorkerDied, task
from tests import work
from tests.contract.gates import KEPT, LIMIT, Gate, lines, wait_until


def test_items_arrive_in_order_and_the_iterator_ends(pool: ProcessPoolExecutor) -> None:
    stream = pool.submit.stream()(range, 1000)

    assert list(stream) == list(range(1000))
    assert list(stream) == []


def test_items_are_there_before_the_generator_ends(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    stream = pool.submit.stream()(work.yield_around_gate, *gate.args())

    assert next(stream) == "before"
    gate.wait_arrived()
    gate.open()
    assert list(stream) == ["after"]


@pytest.mark.parametrize("buffersize", [1, 2, 16])
def test_generator_runs_no_further_ahead_than_the_buffer(
    pool: ProcessPoolExecutor, tmp_path: Path, buffersize: int
) -> None:
    trace = tmp_path / "trace"
    stream = pool.submit.stream(buffersize)(work.yield_and_trace, str(trace), 10_000)

    for n in range(1, 100):
        assert next(stream) == n - 1
        # one more than is on its way: it is made before the generator waits for credit
        assert len(lines(trace)) <= n + buffersize + 1
    wait_until(lambda: len(lines(trace)) >= 99 + buffersize // 2, "the buffer to fill")
    stream.close()


@pytest.mark.parametrize("how", ["close", "drop", "with", "finished with an error"])
def test_closing_the_iterator_closes_the_generator(
    pool: ProcessPoolExecutor, tmp_path: Path, how: str
) -> None:
    trace, closed = tmp_path / "trace", tmp_path / "closed"
    stream: Any = pool.submit.stream(4)(work.yield_and_trace, str(trace), 10**9, str(closed))
    assert next(stream) == 0

    if how == "close":
        stream.close()
        assert list(stream) == []
    elif how == "drop":
        del stream
        gc.collect()
    elif how == "with":
        with stream:
            next(stream)
    else:
        with pytest.raises(ZeroDivisionError), stream:
            1 / 0  # noqa: B018
    wait_until(closed.exists, "the generator's finally")

    assert pool.submit(work.square, 3).result(LIMIT) == 9


def test_generator_that_is_stuck_is_interrupted_when_it_is_closed(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    started, closed = tmp_path / "started", tmp_path / "closed"
    stream = pool.submit.stream()(work.yield_then_hang, str(started), str(closed))
    assert next(stream) == 1
    wait_until(started.exists, "the hang")

    stream.close()

    wait_until(closed.exists, "the generator's finally")
    assert pool.submit(work.square, 3).result(LIMIT) == 9


def test_stream_that_has_not_started_leaves_no_trace(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    busy = [pool.submit(work.pass_gate, *gate.args()) for _ in range(pool._max_workers)]
    gate.wait_arrived(pool._max_workers)
    trace = tmp_path / "trace"

    pool.submit.stream()(work.yield_and_trace, str(trace), 3).close()
    gate.open()
    for future in busy:
        future.result(LIMIT)
    assert pool.submit(work.square, 3).result(LIMIT) == 9

    assert not trace.exists()


def test_error_comes_after_the_items(pool: ProcessPoolExecutor) -> None:
    stream = pool.submit.stream()(work.yield_then_fail, 3)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]

    with pytest.raises(ValueError, match="after 3") as caught:
        next(stream)
    assert "yield_then_fail" in [entry.name for entry in caught.traceback]
    assert list(stream) == []


def test_item_that_cannot_be_pickled_ends_the_stream_only(pool: ProcessPoolExecutor) -> None:
    stream = pool.submit.stream()(work.yield_a_lock)

    assert next(stream) == 1
    with pytest.raises(TypeError, match="lock") as caught:
        next(stream)
    assert isinstance(caught.value, PicklingError)
    assert "yield_a_lock ran, but its result was not sent back" in str(caught.value)
    assert pool.submit(work.square, 3).result(LIMIT) == 9


def test_worker_that_dies_ends_the_stream(pool: ProcessPoolExecutor) -> None:
    stream = pool.submit.stream()(work.yield_then_exit)

    assert next(stream) == 1
    with pytest.raises(WorkerDied):
        list(stream)
    assert pool.submit(work.square, 3).result(LIMIT) == 9


def test_forked_child_of_a_generator_takes_nothing_from_the_worker(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    gate, closed = tmp_path / "gate", tmp_path / "closed"
    stream = pool.submit.stream(1).timeout(LIMIT)(work.yield_around_fork, str(gate), str(closed))
    assert next(stream) == "first"
    assert pool.submit(work.square, 3).result(LIMIT) == 9  # so the word that more is wanted has been sent
    gate.touch()

    assert list(stream) == ["second"]

    wait_until(lambda: lines(closed), "the generator's finally")
    assert len(lines(closed)) == 1


def test_limit_counts_for_the_whole_stream(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    stream = pool.submit.stream().timeout(KEPT)(
        work.yield_then_hang, str(tmp_path / "a"), str(tmp_path / "b")
    )

    assert next(stream) == 1
    with pytest.raises(CallTimeout):
        next(stream)


def test_stream_of_what_is_no_generator(pool: ProcessPoolExecutor) -> None:
    assert list(pool.submit.stream()(sorted, [3, 1, 2])) == [1, 2, 3]
    with pytest.raises(TypeError, match="not iterable"):
        list(pool.submit.stream()(work.square, 3))


def test_cancelled_stream_says_so(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    busy = [pool.submit(work.pass_gate, *gate.args()) for _ in range(pool._max_workers)]
    gate.wait_arrived(pool._max_workers)
    stream = pool.submit.stream()(range, 3)

    pool.shutdown(wait=False, cancel_futures=True)
    gate.open()

    with pytest.raises(CancelledError):
        next(stream)
    assert [future.result(LIMIT) for future in busy]


def test_async_generators_and_async_consumers(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    closed = tmp_path / "closed"

    async def main() -> None:
        assert [item async for item in pool.submit.stream(2)(range, 100)] == list(range(100))
        assert [item async for item in pool.submit.stream(2)(work.yield_async, 100)] == list(range(100))
        async with pool.submit.stream(2)(work.yield_async, 10**9, str(closed)) as stream:
            async for item in stream:
                if item == 5:
                    break
        async with asyncio.TaskGroup() as group:
            sums = [group.create_task(total(pool.submit.stream(3)(range, 50))) for _ in range(20)]
        assert {each.result() for each in sums} == {sum(range(50))}

    async def total(stream: Any) -> int:
        return sum([item async for item in stream])

    asyncio.run(main())
    assert list(pool.submit.stream(2)(work.yield_async, 100)) == list(range(100))
    wait_until(closed.exists, "the generator's finally")


def test_streams_keep_their_words(pool: ProcessPoolExecutor) -> None:
    streamed = task(range).stream(2)

    assert list(pool.submit(streamed, 5)) == list(range(5))  # type: ignore[call-overload]
    assert list(pool.submit.star().stream()(range, (2, 5))) == [2, 3, 4]
    assert list(pool.timeout(30).submit.stream()(range, 3)) == [0, 1, 2]
    for both in (
        pool.submit.stream().results(),
        pool.submit.stream().background(),
        pool.asynced().submit.stream(),
    ):
        with pytest.raises(TypeError, match="exclude"):
            both(range, 3)
    with pytest.raises(TypeError, match="exclude"):
        pool.submit.stream().retry(1)(range, 3)
    with pytest.raises(TypeError, match="map"):
        pool.map.stream()
    with pytest.raises(ValueError, match="1 or more"):
        pool.submit.stream(0)


def test_many_streams_at_once_closed_at_odd_moments(pool: ProcessPoolExecutor) -> None:
    for n in range(60):
        # as many as there are workers: each keeps its worker until it is closed
        streams = [pool.submit.stream(3)(range, 10**6) for _ in range(pool._max_workers)]
        for stream in streams:
            for _ in range(n % 7):
                next(stream)
        for stream in streams:
            stream.close()
    assert pool.submit(os.getpid).result(LIMIT) > 0
    wait_until(lambda: pool._engine.counts()["pending"] == 0, "the end of all streams")  # type: ignore[union-attr]
