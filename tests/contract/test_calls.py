"""Calls and their futures: what every start method must do."""

from __future__ import annotations

import concurrent.futures
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from ezflow import EZ, Filter, Flow, Future, PicklingError, ProcessPoolExecutor, task
from tests import work
from tests.contract.gates import LIMIT, Gate, lines, wait_until, warm, workers

MakePool = Callable[..., ProcessPoolExecutor]


def test_value_of_a_call_comes_back(pool: ProcessPoolExecutor) -> None:
    future = pool.submit(pow, 2, 10)

    assert isinstance(future, Future)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(LIMIT) == 1024
    assert future.exception(0) is None
    assert future.done()
    assert not future.running()
    assert not future.cancelled()


@pytest.mark.parametrize("value", [None, False, (), ValueError("a value"), b"", float("inf")])
def test_any_value_is_a_value(pool: ProcessPoolExecutor, value: object) -> None:
    ((got,), _) = pool.submit(work.echo, value).result(LIMIT)

    assert type(got) is type(value)
    assert repr(got) == repr(value)


def test_every_keyword_reaches_the_function(pool: ProcessPoolExecutor) -> None:
    names = ["fn", "self", "timeout", "limit", "priority", "args", "kwargs", "future", "chunksize", "retry"]
    keywords = dict.fromkeys(names, 1)

    assert pool.submit(work.echo, 1, **keywords).result(LIMIT) == ((1,), keywords)


class Counter:
    """A callable object with methods of every kind."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __call__(self, x: int) -> int:
        return self.start + x

    def method(self, x: int) -> int:
        return self.start * x

    @classmethod
    def of_class(cls, x: int) -> str:
        return f"{cls.__name__} {x}"

    @staticmethod
    def static(x: int) -> int:
        return -x


def with_closure(n: int) -> Callable[[int], int]:
    return lambda x: x + n


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (abs, 3),
        (lambda x: x * 2, -6),
        (with_closure(10), 7),
        (functools.partial(pow, 2), 0.125),
        (Counter(1), -2),
        (Counter(2).method, -6),
        (Counter.of_class, "Counter -3"),
        (Counter.static, 3),
        ("abc".__contains__, None),
    ],
    ids=["builtin", "lambda", "closure", "partial", "object", "method", "classmethod", "static", "bound"],
)
def test_callables_of_every_kind(
    pool: ProcessPoolExecutor, fn: Callable[[Any], object], expected: object
) -> None:
    if expected is None:
        assert pool.submit(fn, "b").result(LIMIT) is True
    else:
        assert pool.submit(fn, -3).result(LIMIT) == expected


def test_argument_is_taken_as_it_is_at_submit(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    blockers = [pool.submit(work.pass_gate, *gate.args()) for _ in range(2)]
    data = [1, 2, 3]

    future = pool.submit(work.echo, data)
    data.append(4)
    gate.open()

    assert future.result(LIMIT) == (([1, 2, 3],), {})
    concurrent.futures.wait(blockers, LIMIT)


def test_changed_closure_and_default_are_seen_by_the_next_submit(pool: ProcessPoolExecutor) -> None:
    box = [1]

    def read(extra: int = 0) -> int:
        return box[0] + extra

    assert pool.submit(read).result(LIMIT) == 1
    box[0] = 5
    assert pool.submit(read).result(LIMIT) == 5
    read.__defaults__ = (10,)
    assert pool.submit(read).result(LIMIT) == 15


def test_ten_thousand_calls_keep_their_answers_apart(pool: ProcessPoolExecutor) -> None:
    futures = [pool.submit(work.square, i) for i in range(10_000)]

    assert [future.result(LIMIT) for future in futures] == [i * i for i in range(10_000)]


def test_errors_and_values_keep_apart(pool: ProcessPoolExecutor) -> None:
    futures = [pool.submit(work.fail_on_odd, i) for i in range(1000)]

    for i, future in enumerate(futures):
        if i % 2:
            with pytest.raises(ValueError, match=f"odd: {i}$"):
                future.result(LIMIT)
        else:
            assert future.result(LIMIT) == i


def test_many_threads_submit_to_one_pool(pool: ProcessPoolExecutor) -> None:
    sums: list[int] = []
    start = threading.Barrier(8)

    def use() -> None:
        start.wait(LIMIT)
        sums.append(sum(f.result(LIMIT) for f in [pool.submit(work.square, i) for i in range(500)]))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)

    assert sums == [sum(i * i for i in range(500))] * 8


def test_many_threads_ask_one_future(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    future = pool.submit(work.then, work.echo, ("value",), *gate.args())
    got: list[object] = []
    threads = [threading.Thread(target=lambda: got.append(future.result(LIMIT))) for _ in range(8)]
    for thread in threads:
        thread.start()

    gate.open()

    for thread in threads:
        thread.join(LIMIT)
    assert len(got) == 8
    assert all(each is got[0] for each in got)  # rebuilt once


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless_threads")
def test_first_threads_to_submit_make_one_engine(make_pool: MakePool) -> None:
    for _ in range(10):
        pool = make_pool(1)
        start = threading.Barrier(6)
        pids: list[int] = []

        def use(pool: ProcessPoolExecutor = pool, start: Any = start, pids: list[int] = pids) -> None:
            start.wait(LIMIT)
            pids.append(pool.submit(work.pid).result(LIMIT))

        threads = [threading.Thread(target=use) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)

        assert len(pids) == 6
        assert len(set(pids)) == 1
        pool.shutdown()


def test_waiting_has_a_limit_and_stops_nothing(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    future = pool.submit(work.pass_gate, *gate.args())
    (pid,) = gate.wait_arrived()

    with pytest.raises(TimeoutError):
        future.result(0.01)
    with pytest.raises(TimeoutError):
        future.exception(0)
    assert future.running()
    gate.open()

    assert future.result(LIMIT) == pid


def test_wait_and_as_completed_see_these_futures_beside_others(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    slow = pool.submit(work.pass_gate, *gate.args())
    quick = pool.submit(work.square, 3)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        other = threads.submit(pow, 2, 5)

        done, pending = concurrent.futures.wait([slow, quick, other], LIMIT, "FIRST_COMPLETED")
        assert slow in pending
        assert done <= {quick, other}
        completed = concurrent.futures.as_completed([slow, quick, other], LIMIT)
        assert {next(completed).result(), next(completed).result()} == {9, 32}
        gate.open()
        assert next(completed) is slow


def test_calls_run_at_the_same_time_on_so_many_workers(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(4)

    pids = warm(pool, 4, tmp_path)

    assert len(pids) == 4
    assert os.getpid() not in pids
    assert {f.result(LIMIT) for f in [pool.submit(work.pid) for _ in range(200)]} <= pids
    assert workers(pool) == pids


def test_workers_start_on_demand(make_pool: MakePool) -> None:
    pool = make_pool(4)
    assert workers(pool) == set()

    for _ in range(5):
        pid = pool.submit(work.pid).result(LIMIT)

    assert workers(pool) == {pid}


def test_slow_call_holds_no_other_hostage(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    warm(pool, 2, tmp_path)
    gate = Gate(tmp_path)
    # The calls are spread over both workers before it is known that some are slow.
    others = [pool.submit(work.square, i) for i in range(100)]
    slow = pool.submit(work.pass_gate, *gate.args())
    others += [pool.submit(work.square, i) for i in range(100, 500)]

    assert [f.result(LIMIT) for f in others] == [i * i for i in range(500)]
    assert not slow.done()

    gate.open()
    slow.result(LIMIT)


def test_no_call_runs_twice_or_never(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    runs = tmp_path / "runs"

    futures = [pool.submit(work.append_and_give, str(runs), i) for i in range(2000)]
    concurrent.futures.wait(futures, LIMIT)

    assert sorted(map(int, lines(runs))) == list(range(2000))


def test_discarded_future_does_not_stop_the_call(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    pool.submit(work.mark, str(tmp_path / "mark"))

    wait_until((tmp_path / "mark").exists, "the call")


def test_callbacks_of_a_cancelled_call_have_run_when_cancel_returns(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    running = pool.submit(work.pass_gate, *gate.args())
    gate.wait_arrived()
    seen: list[tuple[Any, int]] = []
    running.add_done_callback(lambda future: seen.append((future, threading.get_ident())))

    assert running.cancel()

    assert seen == [(running, threading.get_ident())]


def test_number_of_pending_calls_is_where_programs_look_for_it(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    assert len(pool._pending_work_items) == 0
    gate = Gate(tmp_path)
    futures = [pool.submit(work.pass_gate, *gate.args()) for _ in range(5)]
    wait_until(lambda: len(pool._pending_work_items) == 5, "a number that is not torn")

    gate.open()
    concurrent.futures.wait(futures, LIMIT)
    wait_until(lambda: not len(pool._pending_work_items), "the end of all calls")


def test_callbacks_run_in_order_with_the_finished_future(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    seen: list[tuple[int, object]] = []
    future = pool.submit(work.pass_gate, *gate.args())
    for i in range(5):
        future.add_done_callback(lambda f, i=i: seen.append((i, f.result(0))))
    gate.open()

    wait_until(lambda: len(seen) == 5, "the callbacks")

    assert [i for i, _ in seen] == list(range(5))
    future.add_done_callback(lambda f: seen.append((5, f.result(0))))  # late: at once, here
    assert len(seen) == 6


def test_with_waits_for_all_calls(context: Any, tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, context) as pool:
        futures = [pool.submit(work.append_and_give, str(tmp_path / "runs"), i) for i in range(100)]
        pids = workers(pool)

    assert all(future.done() for future in futures)
    assert len(lines(tmp_path / "runs")) == 100
    assert workers(pool) == set()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_shutdown_without_waiting_finishes_what_was_accepted(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(2)
    gate = Gate(tmp_path)
    futures = [pool.submit(work.pass_gate, *gate.args()) for _ in range(6)]

    pool.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(work.pid)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        list(pool.map(work.square, [1]))
    gate.open()

    assert len({f.result(LIMIT) for f in futures}) <= 2
    pool.shutdown()
    pool.shutdown()  # repeating it is harmless


def test_shutdown_with_cancel_keeps_what_runs(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    gate = Gate(tmp_path)
    running = pool.submit(work.pass_gate, *gate.args())
    (pid,) = gate.wait_arrived()
    waiting = [pool.submit(work.append_and_give, str(tmp_path / "runs"), i) for i in range(100)]

    pool.shutdown(wait=False, cancel_futures=True)
    gate.open()

    assert running.result(LIMIT) == pid
    for future in waiting:
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(LIMIT)
    pool.shutdown()
    assert lines(tmp_path / "runs") == []


def test_pool_that_was_never_used_costs_nothing(make_pool: MakePool) -> None:
    before = threading.active_count()
    pool = make_pool(2)

    assert threading.active_count() == before
    pool.shutdown()


def test_repr_says_what_goes_on(pool: ProcessPoolExecutor, tmp_path: Path, start_method: str) -> None:
    gate = Gate(tmp_path)
    future = pool.submit(work.pass_gate, *gate.args())
    gate.wait_arrived()
    wait_until(future.running)

    assert start_method in repr(pool)
    assert "open" in repr(pool)
    assert "running" in repr(future)
    gate.open()
    future.result(LIMIT)
    assert "finished" in repr(future)


@pytest.mark.dealt
def test_mock_may_be_called(pool: ProcessPoolExecutor) -> None:
    """It has every attribute that it is asked for."""
    mock = Mock(return_value=1)

    assert pool.submit(mock, 2).result(LIMIT) == 1
    assert EZ(mock, {"a": mock, "b": task(mock)}).on(pool)(2) == {"a": 1, "b": 1}
    assert list(Flow(mock, Filter(mock)).on(pool).stream([1, 2])) == [1, 1]
    with pytest.raises(PicklingError, match="Mock was not sent"):
        pool.submit(mock, threading.Lock()).result(LIMIT)
