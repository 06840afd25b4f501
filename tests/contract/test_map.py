"""`map`: lazy where asked, ordered, and every end of it cancels what has not started."""

from __future__ import annotations

import concurrent.futures
import functools
import gc
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ezflow import ProcessPoolExecutor
from tests import work
from tests.contract.gates import LIMIT, Gate, lines, wait_until, warm, workers

MakePool = Callable[..., ProcessPoolExecutor]


class Counted:
    """An iterator that counts what was taken from it."""

    def __init__(self, items: Any) -> None:
        self.items = iter(items)
        self.n_taken = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        item = next(self.items)
        self.n_taken += 1
        return item


@pytest.mark.parametrize("n", [0, 1, 2, 7, 1000])
@pytest.mark.parametrize("chunksize", [1, 3])
@pytest.mark.parametrize("buffersize", [None, 1, 4])
def test_results_come_in_the_order_of_the_inputs(
    pool: ProcessPoolExecutor, n: int, chunksize: int, buffersize: int | None
) -> None:
    results = pool.map(work.square, range(n), chunksize=chunksize, buffersize=buffersize)

    assert list(results) == [i * i for i in range(n)]
    assert list(results) == []


def test_order_holds_when_the_first_is_the_slowest(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    first = work.Act(work.pass_gate, *gate.args())

    results = pool.map(work.call_or_give, [first, *range(200)])
    (pid,) = gate.wait_arrived()
    behind = pool.submit(work.square, 3)
    assert behind.result(LIMIT) == 9  # everything else has run by now, on the other worker
    gate.open()

    assert list(results) == [pid, *range(200)]


def test_shortest_iterable_ends_it(pool: ProcessPoolExecutor) -> None:
    assert list(pool.map(pow, [2, 3, 4], [5, 2])) == [32, 9]
    assert list(pool.map(pow, itertools.count(1), [5, 2], chunksize=2)) == [1, 4]


def test_no_input_needs_no_worker(pool: ProcessPoolExecutor) -> None:
    assert list(pool.map(work.square, [])) == []
    assert workers(pool) == set()


def test_without_a_buffersize_all_inputs_are_taken_at_once(pool: ProcessPoolExecutor) -> None:
    inputs = Counted(range(100))

    results = pool.map(work.square, inputs)

    assert inputs.n_taken == 100
    assert list(results) == [i * i for i in range(100)]


@pytest.mark.parametrize(("chunksize", "buffersize"), [(1, 1), (1, 5), (4, 3)])
def test_inputs_are_taken_as_far_ahead_as_asked(
    pool: ProcessPoolExecutor, chunksize: int, buffersize: int
) -> None:
    inputs = Counted(itertools.count())

    results = pool.map(work.square, inputs, chunksize=chunksize, buffersize=buffersize)

    assert inputs.n_taken == chunksize * buffersize
    for i in range(50):
        assert next(results) == i * i
        n_chunks_begun = i // chunksize + 1
        assert inputs.n_taken == chunksize * (buffersize + n_chunks_begun)


def test_infinite_inputs_of_many_results(pool: ProcessPoolExecutor) -> None:
    results = pool.map(work.square, itertools.count(), buffersize=64)

    assert list(itertools.islice(results, 20_000)) == [i * i for i in range(20_000)]


@pytest.mark.parametrize("buffersize", [None, 3])
def test_error_stands_at_its_position_and_ends_the_map(
    pool: ProcessPoolExecutor, buffersize: int | None
) -> None:
    results = pool.map(work.fail_on_odd, [0, 2, 4, 5, 6, 7, 8], buffersize=buffersize)

    assert [next(results) for _ in range(3)] == [0, 2, 4]
    with pytest.raises(ValueError, match="odd: 5"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)
    assert list(pool.map(work.square, [3])) == [9]


def test_error_of_a_later_item_waits_for_its_turn(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    items = [work.Act(work.pass_gate, *gate.args()), work.Act(work.raise_value_error)]
    results = pool.map(work.call_or_give, items)
    (pid,) = gate.wait_arrived()
    gate.open()

    assert next(results) == pid
    with pytest.raises(ValueError, match="boom"):
        next(results)


def stream_with_markers(
    make_pool: MakePool, folder: Path, buffersize: int | None
) -> tuple[Iterator[Any], Gate, ProcessPoolExecutor]:
    """Give a map whose first item holds the only worker; the others leave traces."""
    pool = make_pool(1)
    gate = Gate(folder)
    runs = str(folder / "runs")
    items = [work.Act(work.pass_gate, *gate.args())]
    items += [work.Act(work.append_and_give, runs, i) for i in range(200)]
    results = pool.map(work.call_or_give, items, buffersize=buffersize)
    gate.wait_arrived()
    return iter(results), gate, pool


@pytest.mark.parametrize("how", ["close", "drop", "drop in a cycle"])
@pytest.mark.parametrize("buffersize", [None, 50])
def test_iterator_that_is_given_up_cancels_what_has_not_started(
    make_pool: MakePool, tmp_path: Path, how: str, buffersize: int | None
) -> None:
    results, gate, pool = stream_with_markers(make_pool, tmp_path, buffersize)

    if how == "close":
        results.close()  # type: ignore[attr-defined]
    elif how == "drop in a cycle":
        cycle: list[Any] = [results]
        cycle.append(cycle)
        del cycle
    del results
    gc.collect()
    wait_until(lambda: " 1 pending" in repr(pool), "the cancels")
    last = pool.submit(work.square, 3)
    gate.open()

    assert last.result(LIMIT) == 9
    assert lines(tmp_path / "runs") == []


def test_timeout_limits_the_waiting_and_cancels_what_has_not_started(
    make_pool: MakePool, tmp_path: Path
) -> None:
    pool = make_pool(1)
    gate = Gate(tmp_path)
    runs = str(tmp_path / "runs")
    items = [work.Act(work.square, 3), work.Act(work.pass_gate, *gate.args())]
    items += [work.Act(work.append_and_give, runs, i) for i in range(200)]
    warm(pool, 1, tmp_path)
    results = pool.map(work.call_or_give, items, timeout=1.0)
    assert next(results) == 9
    (pid,) = gate.wait_arrived()

    with pytest.raises(TimeoutError):
        next(results)

    with pytest.raises(StopIteration):
        next(results)
    wait_until(lambda: " 1 pending" in repr(pool), "the cancels")
    last = pool.submit(work.pid)
    gate.open()
    assert last.result(LIMIT) == pid  # what ran was not stopped
    assert lines(tmp_path / "runs") == []


def test_timeout_counts_from_the_call_of_map(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    results = pool.map(work.call_or_give, [work.Act(work.pass_gate, *gate.args())], timeout=0.0)
    gate.wait_arrived()

    with pytest.raises(TimeoutError):
        next(results)
    gate.open()


@pytest.mark.parametrize("chunksize", [1, 2])
def test_inputs_that_raise_at_once_raise_in_map_and_cancel(
    make_pool: MakePool, tmp_path: Path, chunksize: int
) -> None:
    pool = make_pool(1)
    gate = Gate(tmp_path)
    blocker = pool.submit(work.pass_gate, *gate.args())
    gate.wait_arrived()

    def inputs() -> Iterator[work.Act]:
        for i in range(10):
            yield work.Act(work.append_and_give, str(tmp_path / "runs"), i)
        raise LookupError("inputs")

    with pytest.raises(LookupError, match="inputs"):
        pool.map(work.call_or_give, inputs(), chunksize=chunksize)

    wait_until(lambda: " 1 pending" in repr(pool), "the cancels")
    gate.open()
    blocker.result(LIMIT)
    assert pool.submit(work.square, 3).result(LIMIT) == 9
    assert lines(tmp_path / "runs") == []


def test_inputs_that_raise_later_raise_while_iterating(pool: ProcessPoolExecutor) -> None:
    def inputs() -> Iterator[int]:
        yield from range(10)
        raise LookupError("inputs")

    results = pool.map(work.square, inputs(), buffersize=4)
    got: list[int] = []

    with pytest.raises(LookupError, match="inputs"):
        got.extend(results)  # what came before the error is kept

    assert got == [i * i for i in range(len(got))]
    assert len(got) in (6, 7)  # all that was not in the buffer when the inputs failed
    assert pool.submit(work.square, 3).result(LIMIT) == 9


def test_unpicklable_item_fails_at_its_position(pool: ProcessPoolExecutor) -> None:
    results = pool.map(work.call_or_give, [0, 1, work.Unpicklable(), 3])

    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(TypeError, match="refuses to travel"):
        next(results)


@pytest.mark.parametrize("wrong", [{"chunksize": 0}, {"chunksize": -1}, {"buffersize": 0}])
def test_sizes_below_one_are_refused_at_once(pool: ProcessPoolExecutor, wrong: dict[str, Any]) -> None:
    inputs = Counted(range(3))

    with pytest.raises(ValueError, match=next(iter(wrong))):
        pool.map(work.square, inputs, **wrong)

    assert inputs.n_taken == 0


def test_buffersize_is_an_integer(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(TypeError, match="buffersize"):
        pool.map(work.square, [1], buffersize=2.5)  # type: ignore[arg-type]


def test_shutdown_with_cancel_ends_a_map(make_pool: MakePool, tmp_path: Path) -> None:
    results, gate, pool = stream_with_markers(make_pool, tmp_path, None)

    pool.shutdown(wait=False, cancel_futures=True)
    gate.open()

    next(results)
    with pytest.raises(concurrent.futures.CancelledError):
        next(results)
    assert lines(tmp_path / "runs") == []


def test_map_goes_on_after_shutdown_has_begun(pool: ProcessPoolExecutor) -> None:
    results = pool.map(work.square, range(100))

    pool.shutdown(wait=True)

    assert list(results) == [i * i for i in range(100)]


def test_lazy_map_meets_the_shutdown_where_it_needs_more(pool: ProcessPoolExecutor) -> None:
    results = pool.map(work.square, range(100), buffersize=5)
    pool.shutdown(wait=True)

    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        list(results)


@pytest.mark.parametrize("chunksize", [1, 4])
def test_memory_stays_flat_over_many_large_items(pool: ProcessPoolExecutor, chunksize: int) -> None:
    size = 1 << 20
    results = pool.map(
        work.same, (bytes(size) for _ in range(500)), buffersize=8 // chunksize, chunksize=chunksize
    )
    process = psutil.Process()
    for _ in range(50):
        assert len(next(results)) == size
    before = process.memory_info().rss

    for result in results:
        assert len(result) == size

    assert process.memory_info().rss - before < 64 * size  # of 450 that came by


def test_yielded_result_is_held_by_nobody_else(pool: ProcessPoolExecutor) -> None:
    for chunksize in (1, 3):
        results = pool.map(work.make_value, range(10), chunksize=chunksize)
        for _ in range(5):
            value = next(results)
            reference = weakref.ref(value)
            del value
            assert reference() is None


def test_taken_input_is_held_by_nobody_else(pool: ProcessPoolExecutor) -> None:
    alive: list[weakref.ref[Any]] = []

    def inputs() -> Iterator[work.Value]:
        for i in range(200):
            value = work.Value(i)
            alive.append(weakref.ref(value))
            yield value
            del value

    for _ in pool.map(work.nothing, inputs(), buffersize=4):
        assert sum(reference() is not None for reference in alive) <= 2  # it travels as bytes


def test_every_item_goes_through_a_replaced_submit(pool: ProcessPoolExecutor) -> None:
    seen: list[Any] = []
    original = pool.submit

    def submit(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:  # as tqdm's process_map does
        future = original(fn, *args, **kwargs)
        seen.append(args)
        return future

    pool.submit = submit  # type: ignore[method-assign]

    assert list(pool.map(work.square, range(10))) == [i * i for i in range(10)]
    assert seen == [(i,) for i in range(10)]
    seen.clear()
    assert list(pool.map(work.square, range(10), chunksize=3, buffersize=2)) == [i * i for i in range(10)]
    assert len(seen) == 4


def test_every_item_goes_through_an_overridden_submit(context: Any) -> None:
    class Doubling(ProcessPoolExecutor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            return super().submit(fn, *(arg * 2 for arg in args), **kwargs)

    with Doubling(1, context) as pool:
        assert list(pool.map(work.square, range(5))) == [(2 * i) ** 2 for i in range(5)]


def test_map_through_a_replaced_submit_ends_as_the_other_does(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    original = pool.submit
    pool.submit = functools.partial(original)  # type: ignore[method-assign]
    gate = Gate(tmp_path)
    runs = str(tmp_path / "runs")
    items = [work.Act(work.pass_gate, *gate.args())]
    items += [work.Act(work.append_and_give, runs, i) for i in range(50)]
    results = pool.map(work.call_or_give, items, timeout=0.0)
    gate.wait_arrived()

    with pytest.raises(TimeoutError):
        next(results)
    wait_until(lambda: " 1 pending" in repr(pool), "the cancels")
    last = original(work.square, 3)
    gate.open()

    assert last.result(LIMIT) == 9
    assert lines(tmp_path / "runs") == []


def test_maps_of_many_threads_share_a_pool(pool: ProcessPoolExecutor) -> None:
    got: list[list[int]] = []

    def use(k: int) -> None:
        got.append([k, *pool.map(work.square, range(k, k + 500), buffersize=20 if k % 2 else None)])

    threads = [threading.Thread(target=use, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)

    assert sorted(got) == [[k, *(i * i for i in range(k, k + 500))] for k in range(6)]


def test_two_maps_at_once_in_one_thread(pool: ProcessPoolExecutor) -> None:
    first = pool.map(work.square, range(300))
    second = pool.map(work.square, range(300, 600), buffersize=3)

    assert [b - a for a, b in zip(first, second, strict=True)] == [(i + 300) ** 2 - i * i for i in range(300)]


def test_map_inside_a_map_s_inputs(pool: ProcessPoolExecutor) -> None:
    inner = pool.map(work.square, range(50), buffersize=2)

    assert list(pool.map(work.square, inner, buffersize=2)) == [i**4 for i in range(50)]


def test_worker_that_dies_under_a_map_is_replaced(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    pids = warm(pool, 2, tmp_path)
    items = [*range(50), work.Act(os._exit, 3), *range(50)]
    results = pool.map(work.call_or_give, items)

    assert [next(results) for _ in range(50)] == list(range(50))
    with pytest.raises(concurrent.futures.process.BrokenProcessPool):
        next(results)
    assert list(pool.map(work.square, range(200))) == [i * i for i in range(200)]
    wait_until(lambda: len(workers(pool) & pids) == 1, "the dead worker to go")
