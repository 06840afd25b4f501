"""What threads wait with when a Ctrl-C has left a lock behind, or when they are not allowed to wait at all."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Iterator
from concurrent.futures._base import _AcquireFutures  # type: ignore[attr-defined]
from typing import Any

import pytest

from ezflow import Future, ProcessPoolExecutor, _gate
from ezflow._gate import Event, Gate, Waiters
from tests import work
from tests.contract.gates import LIMIT


@pytest.fixture
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1) as pool:
        yield pool


def lose_locks(futures: list[Future[Any]]) -> None:
    """Leave the futures as a KeyboardInterrupt in `wait` does, by a thread that then ends."""
    thread = threading.Thread(target=lambda: _AcquireFutures(futures).__enter__())
    thread.start()
    thread.join(LIMIT)


def test_futures_whose_locks_are_lost_are_settled_all_the_same(pool: ProcessPoolExecutor) -> None:
    futures = [pool.submit(time.sleep, 0.2), *(pool.submit(work.square, i) for i in range(200))]
    lose_locks(futures)

    # More than one a second would not do, but how many a second is not for a test.
    assert concurrent.futures.wait([pool.submit(work.square, 3)], LIMIT).done
    assert [future.result(LIMIT) for future in futures[1:]] == [i * i for i in range(200)]
    done, pending = concurrent.futures.wait(futures, LIMIT)  # takes the locks itself
    assert (len(done), len(pending)) == (201, 0)


def test_future_whose_lock_is_lost_can_be_cancelled_by_the_pool(pool: ProcessPoolExecutor) -> None:
    busy, waiting = pool.submit(time.sleep, 0.2), pool.submit(work.square, 3)
    lose_locks([waiting])

    pool.shutdown(cancel_futures=True)

    assert busy.done()
    assert waiting.done()


def test_gate_that_is_in_use_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, taken, go_on = Gate(), threading.Event(), threading.Event()
    seen: list[bool] = []
    look = _gate.is_anybody_inside

    def look_and_go_on() -> bool:
        seen.append(look())
        go_on.set()
        return seen[-1]

    def use() -> None:
        with gate:
            taken.set()
            go_on.wait(LIMIT)

    monkeypatch.setattr(_gate, "_INSIDE", _gate._INSIDE | {__file__})
    monkeypatch.setattr(_gate, "_PATIENCE", LIMIT)
    monkeypatch.setattr(_gate, "is_anybody_inside", look_and_go_on)
    thread = threading.Thread(target=use)
    thread.start()
    taken.wait(LIMIT)

    assert gate.acquire_or_give_up()
    assert seen[0]
    thread.join(LIMIT)


def test_gate_that_a_thread_left_locked_is_given_up() -> None:
    gate = Gate()
    thread = threading.Thread(target=gate.acquire)
    thread.start()
    thread.join(LIMIT)

    assert not gate.acquire_or_give_up()


def test_waiters_bring_no_lock_that_an_interrupt_can_tear() -> None:
    waiter = concurrent.futures._base._AsCompletedWaiter()  # type: ignore[attr-defined]
    waiter.event.set()

    waiters = Waiters()
    waiters.append(waiter)
    waiters.append("of another kind")

    assert type(waiter.event) is Event
    assert waiter.event.is_set()


def test_event_wakes_all_who_wait_and_can_be_used_again() -> None:
    event = Event()
    assert event.wait(0) is False
    assert event.wait(-1) is False
    woken: list[bool] = []
    threads = [threading.Thread(target=lambda: woken.append(event.wait(LIMIT))) for _ in range(5)]
    for thread in threads:
        thread.start()
    event.set()
    for thread in threads:
        thread.join(LIMIT)
    assert woken == [True] * 5
    assert event.wait()

    event.clear()
    assert not event.is_set()
    assert event.wait(0.001) is False


def test_waiting_on_the_thread_that_brings_the_results_is_an_error(
    pool: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a finaliser does that the garbage collector runs there; forced here.
    errors: list[BaseException] = []
    deliver = Future._deliver

    def wait_inside(self: Future[Any], sealed: Any) -> None:
        monkeypatch.setattr(Future, "_deliver", deliver)
        for wait in (lambda: pool.submit(work.square, 3).result(), lambda: next(pool.map(work.square, [3]))):
            try:
                wait()
            except RuntimeError as error:
                errors.append(error)
        deliver(self, sealed)

    monkeypatch.setattr(Future, "_deliver", wait_inside)

    assert pool.submit(work.square, 2).result(LIMIT) == 4
    assert ["finaliser" in str(error) for error in errors] == [True, True]
    assert pool.submit(work.square, 4).result(LIMIT) == 16
