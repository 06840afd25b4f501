"""What threads wait with when a Ctrl-C has left a lock behind, or when they are not allowed to wait at all."""

from __future__ import annotations

import concurrent.futures
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures._base import _AcquireFutures  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any

import pytest

from ezflow import Flow, Future, ProcessPoolExecutor, _gate, _rest
from ezflow._gate import Event, Gate, Waiters
from tests import work
from tests.contract.gates import LIMIT, wait_until
from tests.contract.gates import Gate as Wait


@pytest.fixture
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1) as pool:
        yield pool


def lose_locks(futures: list[Future[Any]]) -> None:
    """Leave the futures as a KeyboardInterrupt in `wait` does, by a thread that then ends."""
    thread = threading.Thread(target=lambda: _AcquireFutures(futures).__enter__())
    thread.start()
    thread.join(LIMIT)


def test_futures_whose_locks_are_lost_are_settled_all_the_same(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    wait = Wait(tmp_path)
    futures = [pool.submit(work.pass_gate, *wait.args()), *(pool.submit(work.square, i) for i in range(200))]
    lose_locks(futures)  # none of them has ended: a lock that is lost behind the end is nobody's to give up
    wait.open()

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


class Sleeper:
    """A lock that is never released; remembers how long it was waited for."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def acquire(self, blocking: bool, timeout: float) -> bool:
        assert blocking
        self.waits.append(timeout)
        return False


def test_main_thread_waits_in_growing_pieces_and_others_in_one() -> None:
    here, elsewhere = Sleeper(), Sleeper()
    thread = threading.Thread(target=_rest.rest, args=(elsewhere, 100.0))

    assert not _rest.rest(here, 100.0)
    thread.start()
    thread.join(LIMIT)

    assert elsewhere.waits == [100.0]
    assert here.waits[:3] == [0.05, 0.1, 0.2]
    assert sum(here.waits) == pytest.approx(100.0)
    assert len(here.waits) == 11


class SaidToHaveEnded:
    """A thread that Python counts as ended, while the system does not yet."""

    def __init__(self, thread: threading.Thread) -> None:
        self.native_id = thread.native_id
        self.looks = 0

    def join(self, timeout: float) -> None:
        pass

    def is_alive(self) -> bool:
        self.looks += 1
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_joined_thread_is_no_thread_of_the_process_any_more() -> None:
    """Python says that a thread has ended a little before it has; `os.fork` warned of it."""
    let_go = threading.Event()
    lingering = threading.Thread(target=let_go.wait)
    lingering.start()
    ended = SaidToHaveEnded(lingering)
    joining = threading.Thread(target=_rest.join, args=(ended, None))
    joining.start()
    wait_until(lambda: ended.looks, "the join")

    joining.join(0.05)
    waited = joining.is_alive()
    let_go.set()
    joining.join(LIMIT)
    lingering.join(LIMIT)

    assert waited
    assert not joining.is_alive()


def interrupt_when_main_thread_sleeps() -> None:
    """Send a Ctrl-C that this thread takes, so that it does not wake the main thread."""

    def is_asleep() -> bool:
        frame: Any = sys._current_frames()[threading.main_thread().ident or 0]
        while frame is not None and frame.f_code not in (_rest.rest.__code__, _rest.join.__code__):
            frame = frame.f_back
        return frame is not None

    wait_until(is_asleep, "the main thread's sleep")
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Raise at Ctrl-C, also where the test run was started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
@pytest.mark.parametrize("way", ["result", "map", "stream", "wait", "shutdown", "flow"])
def test_interrupt_that_another_thread_took_is_seen(
    pool: ProcessPoolExecutor, tmp_path: Path, way: str
) -> None:
    """So is one that came between the last look of the main thread and its sleep."""
    wait = Wait(tmp_path)
    future = pool.submit(work.pass_gate, *wait.args())
    wait.wait_arrived()
    waits: dict[str, Callable[[], object]] = {
        "result": future.result,
        "map": lambda: list(pool.map(work.square, range(3))),
        "stream": lambda: list(pool.submit.stream()(range, 3)),
        "wait": lambda: concurrent.futures.wait([future]),
        "shutdown": pool.shutdown,
        "flow": lambda: list(Flow(work.square).on(pool).stream(range(3))),
    }
    thread = threading.Thread(target=interrupt_when_main_thread_sleeps)
    thread.start()

    try:
        with pytest.raises(KeyboardInterrupt):
            waits[way]()
    finally:
        wait.open()
        thread.join()
