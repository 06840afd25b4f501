"""The future of one call: the standard one, awaitable, opened by whoever asks first.

Who owns what
-------------
* The dispatcher calls `_deliver` or `_drop`, once, and never waits for anything
  a user's thread may hold for long (see `_gate`).
* `_sealed` holds the answer as bytes.  The first thread that asks opens it, so
  user code (unpickling) never runs on the dispatcher and a value nobody asks
  for is never rebuilt.
* `_call` and `_desk` lead back to the engine while the call is unfinished; both
  are dropped at its end, so a kept future keeps no function and no arguments.
"""

from __future__ import annotations

import concurrent.futures
import sys
from _thread import RLock, allocate_lock
from concurrent.futures._base import (
    CANCELLED,
    CANCELLED_AND_NOTIFIED,
    FINISHED,
    LOGGER,
    PENDING,
    RUNNING,
)
from time import monotonic

from ._gate import Gate, Waiters, is_anybody_inside
from ._hints import Protocol, TypeVar, cast
from ._loop import call_in_loop
from ._rest import rest

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Generator
    from types import TracebackType
    from typing import Any, Final

    from ._call import Call, Sealed
    from ._progress import Meter
    from .result import Result

T = TypeVar("T")

_DONE: Final = frozenset({CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED})


class Desk(Protocol):
    """What a future needs from its engine."""

    def cancel(self, call: Call, future: Future[Any]) -> bool:
        """Cancel a call as `concurrent.futures.Future.cancel` promises."""
        raise NotImplementedError

    def is_running(self, call: Call) -> bool:
        """Tell whether a worker is busy with the call, as far as is known."""
        raise NotImplementedError

    def check_waiting(self) -> None:
        """Raise if nobody would ever answer here."""

    def call_back(self, fn: Callable[[Any], object], future: Future[Any]) -> None:
        """Run a user's callback where it can hold up nobody."""

    def prepare_callbacks(self) -> None:
        """Make sure that callbacks can run later."""


class Future(concurrent.futures.Future[T]):
    """The pending result of a call.

    A `concurrent.futures.Future` that can be awaited: ``await pool.submit(f, x)``
    works in any running asyncio loop, and cancelling the awaiting task cancels
    the call.

    Notes
    -----
    `cancel` also stops a call that is already running, unless the pool was made
    with ``cancel_running=False``; its ``finally`` blocks run, then its worker is
    replaced.  The value is unpickled by the first thread that asks for it.
    Callbacks run on a thread of the pool that does nothing else.

    Examples
    --------
    >>> from ezflow import ProcessPoolExecutor
    >>> with ProcessPoolExecutor(1) as pool:
    ...     pool.submit(pow, 2, 10).result()
    1024
    """

    _condition: Gate  # type: ignore[assignment]  # used as the standard Condition is
    _sealed: Sealed | None = None
    _call: Call | None = None
    _desk: Desk | None = None
    _is_enveloped = False
    """Whether it gives a `Result`, in place of a value or an error."""
    _index: int | None = None
    """Position in the input of a `map`, for that `Result`."""
    _heard: Sealed | None = None
    _meter: Meter | None = None
    """What counts its end."""
    _facts: tuple[int | None, int | None, int] | None = None
    """Of an opened answer that is put into an envelope: pid, microseconds, attempts."""
    _frames: TracebackType | None = None
    _result: T | None = None
    _exception: BaseException | None = None
    _state: str = PENDING

    def __init__(self) -> None:
        # The standard initialiser makes a Condition, the costliest part of a
        # submit; everything else it sets is a class attribute here.
        self._condition = Gate()
        self._waiters: list[Any] = Waiters()
        self._done_callbacks: list[Callable[[Any], object]] = []

    # ------------------------------------------------------------ the user's side

    def result(self, timeout: float | None = None) -> T:
        """Give the value of the call, or raise its error.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait.  Stops the waiting only, never the work.

        Returns
        -------
        object
            What the call returned.

        Raises
        ------
        TimeoutError
            If the call has not ended within `timeout`.
        concurrent.futures.CancelledError
            If the call was cancelled.
        BaseException
            Whatever the call raised, with the worker's own frames in its
            traceback; `WorkerDied` if its worker died; `UnpicklingError` if the
            value could not be rebuilt here.
        """
        try:
            if self._state is not FINISHED:
                self._wait_done(timeout)
            if self._sealed is not None:
                self._open()
            error = self._exception
            if self._is_enveloped:
                return cast("T", self._enveloped())
            if error is not None:
                raise error.with_traceback(self._frames)
            return cast("T", self._result)
        finally:
            error = None
            self = cast("Any", None)  # noqa: PLW0642  # break the cycle of exception, frame and future

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Give the error of the call, or None if it returned a value.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait.

        Returns
        -------
        BaseException or None
            The error.

        Raises
        ------
        TimeoutError
            If the call has not ended within `timeout`.
        concurrent.futures.CancelledError
            If the call was cancelled.
        """
        if self._state is not FINISHED:
            self._wait_done(timeout)
        if self._sealed is not None:
            self._open()
        return None if self._is_enveloped else self._exception

    def cancel(self) -> bool:
        """Cancel the call; stop it if it is running.

        Returns
        -------
        bool
            Whether the future is now cancelled.  False if the call has ended
            already, or runs in a pool made with ``cancel_running=False``.

        Notes
        -----
        A call that had not started leaves no trace.  A running one is
        interrupted (`CallInterrupted`, so ``finally`` runs) and its worker is
        killed and replaced; other calls are untouched.
        """
        call, desk = self._call, self._desk
        if call is None or desk is None:
            return super().cancel()
        return desk.cancel(call, self)

    def running(self) -> bool:
        """Tell whether a worker is busy with the call.

        Returns
        -------
        bool
            Whether it has started and not ended, as far as is known here.
        """
        call, desk = self._call, self._desk
        if self._state is PENDING and call is not None and desk is not None:
            return desk.is_running(call)
        return self._state is RUNNING

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Call `fn` with this future as soon as it is done.

        Parameters
        ----------
        fn : callable
            Takes the future.  Runs on the pool's callback thread, in the order
            of adding; at once, in the calling thread, if the future is done.
            An exception it raises is logged and ignored.
        """
        desk = self._desk
        if _is_asyncio(fn):
            fn = _for_loop(fn, self)
        elif desk is not None:
            desk.prepare_callbacks()
        with self._condition:
            if self._state not in _DONE:
                self._done_callbacks.append(fn)
                return
        run_callback(fn, self)

    def remove_done_callback(self, fn: Callable[[Any], object]) -> int:
        """Take a callback back, as `asyncio.wait` does at its end.

        Parameters
        ----------
        fn : callable
            What was given to `add_done_callback`.

        Returns
        -------
        int
            How often it was found.
        """
        with self._condition:
            left = [added for added in self._done_callbacks if added != fn]
            n = len(self._done_callbacks) - len(left)
            self._done_callbacks = left
        return n

    def progress(self) -> Any:
        """Give the latest word that the call has sent by `CurrentCall.report`.

        Returns
        -------
        object
            What it reported last, None if nothing.
        """
        heard = self._heard
        if heard is None:
            return None
        value, error = heard.open()
        if error is not None:
            raise error
        return value

    def __await__(self) -> Generator[Any, None, T]:
        """Wait in a task of asyncio or trio; cancelling the task cancels the call."""
        if "trio" in sys.modules:
            from . import _trio

            if _trio.is_running():
                return _trio.wait(self).__await__()
        from asyncio import wrap_future

        return wrap_future(self).__await__()

    def __repr__(self) -> str:
        """Show the state, and the type of what came back."""
        if self._state is PENDING and self.running():
            return f"<{type(self).__name__} at {id(self):#x} state=running>"
        if self._state is FINISHED and self._sealed is not None:
            kind = "raised" if self._sealed.failed else "returned"
            return f"<{type(self).__name__} at {id(self):#x} state=finished {kind} (not opened)>"
        return super().__repr__()

    def _get_snapshot(self) -> tuple[bool, bool, object, BaseException | None]:
        """Give asyncio (3.14 and later) the end of the call in one look."""
        if self._state is FINISHED:
            if self._sealed is not None:
                self._open()
            if self._is_enveloped:
                return True, False, self._enveloped(), None
            return True, False, self._result, self._exception
        return self.done(), self.cancelled(), None, None

    # ------------------------------------------------------------ waiting and opening

    def _wait_done(self, timeout: float | None) -> None:
        """Wait for the end; raise if there is none in time or it is a cancellation."""
        state = self._state
        if state not in _DONE:
            if self._desk is not None:
                self._desk.check_waiting()
            end = None if timeout is None else monotonic() + timeout
            while self._state not in _DONE:
                left = None if end is None else end - monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError
                self._sleep(left)
            state = self._state
        if state is not FINISHED:
            raise concurrent.futures.CancelledError

    def _sleep(self, seconds: float | None) -> None:
        """Wait until the end, or for so long."""
        gate = self._condition
        sleeper = allocate_lock()
        sleeper.acquire()
        with gate:
            if self._state in _DONE:
                return
            gate.let_sleep(sleeper)
        try:
            if self._state in _DONE:  # settled without the gate, which somebody had lost
                return
            rest(sleeper, seconds)
        finally:
            with gate:
                gate.forget(sleeper)

    def _open(self) -> None:
        """Rebuild the answer, once; whoever comes second waits for the first."""
        # Reentrant: see `_gate` about a Ctrl-C under 3.14.
        lock = self.__dict__.setdefault("_opening", RLock())
        with lock:
            sealed = self._sealed
            if sealed is None:
                return
            value, error = sealed.open()
            if self._is_enveloped:
                self._facts = sealed.pid, sealed.micros, sealed.attempts
            if error is None:
                self._result = cast("T", value)
            else:
                self._frames = error.__traceback__
                self._exception = error
            self._sealed = None

    def _enveloped(self) -> Result[Any]:
        """Give the end in an envelope."""
        from .result import envelope

        assert self._facts is not None
        error = self._exception
        try:
            if error is not None:
                error = error.with_traceback(self._frames)
            pid, micros, attempts = self._facts
            return envelope(self._result, error, self._index, pid=pid, micros=micros, attempts=attempts)
        finally:
            error = None

    # ------------------------------------------------------------ the engine's side

    def _bind(self, call: Call, desk: Desk) -> None:
        """Say which call this is the future of."""
        self._call = call
        self._desk = desk

    def _deliver(self, sealed: Sealed) -> None:
        """Take the answer: on the dispatcher's thread, or, if the call could not be sent, where it was submitted."""
        gate = self._condition
        owned = gate.acquire_or_give_up()
        try:
            if self._state in _DONE:
                return
            self._sealed = sealed
            self._state = FINISHED
            self._call = None
            if self._meter is not None:
                self._meter.tick(failed=sealed.failed)
            if self._waiters:
                for waiter in self._waiters:
                    if sealed.failed:
                        waiter.add_exception(self)
                    else:
                        waiter.add_result(self)
            gate.notify_all()
        finally:
            self._leave(gate, owned)
        if self._done_callbacks:
            self._invoke_callbacks()
        self._desk = None

    def _hear(self, sealed: Sealed) -> None:
        """Take word of the call's progress (the threads that call `_deliver`)."""
        self._heard = sealed

    def _drop(self) -> None:
        """Learn that the call was cancelled (on the dispatcher's thread)."""
        gate = self._condition
        owned = gate.acquire_or_give_up()
        try:
            is_new = self._become_cancelled()
        finally:
            self._leave(gate, owned)
        if is_new:
            self._invoke_callbacks()
            self._desk = None

    def _drop_here(self) -> None:
        """Become cancelled at once, in the thread that cancels: no KeyboardInterrupt may leave the gate locked."""
        with self._condition:
            is_new = self._become_cancelled()
        if is_new:
            self._desk = None
            self._invoke_callbacks()  # in this thread, before `cancel` returns, as the standard future does

    def _leave(self, gate: Gate, owned: bool) -> None:
        """Unlock the gate, or give the future another one if nobody is left who could unlock the first."""
        if owned:
            gate.release()
        elif not is_anybody_inside():
            self._condition = Gate()

    def _become_cancelled(self) -> bool:
        """Take the state, tell who waits; False if it is done already.  The gate is held."""
        if self._state in _DONE:
            return False
        # Straight to the second of the two standard states, because `wait`
        # and `as_completed` only see that one.
        self._state = CANCELLED_AND_NOTIFIED
        self._call = None
        if self._meter is not None:
            self._meter.tick(failed=True)
        for waiter in self._waiters:
            waiter.add_cancelled(self)
        self._condition.notify_all()
        return True

    def _invoke_callbacks(self) -> None:
        """Run asyncio's callbacks here (they only wake a loop), a user's elsewhere."""
        desk = self._desk
        for fn in self._done_callbacks:
            if desk is None or _is_asyncio(fn):
                run_callback(fn, self)
            else:
                desk.call_back(fn, self)


def _is_asyncio(fn: object) -> bool:
    """Recognise callbacks that asyncio's own functions add: they only wake a loop and never block."""
    return getattr(fn, "__module__", None) in _ASYNCIO


_ASYNCIO: Final = frozenset({"asyncio.futures", "asyncio.tasks", __name__})


class _InLoop:
    """A callback of `asyncio.wait`, which expects to be called in its loop's thread."""

    def __init__(self, fn: Callable[[Any], object], loop: AbstractEventLoop) -> None:
        self._fn = fn
        self._loop = loop

    def __call__(self, future: Future[Any]) -> None:
        call_in_loop(self._loop, self._fn, future)

    def __eq__(self, other: object) -> bool:
        return self._fn == other

    __hash__ = None  # type: ignore[assignment]


class _WithoutStopIteration:
    """A future as asyncio reads it, where an error that it refuses is a RuntimeError, as in a generator.

    Before 3.12.2 asyncio fails over a StopIteration in a way that lets the awaiting task wait for ever
    (https://github.com/python/cpython/issues/112182).
    """

    def __init__(self, fn: Callable[[Any], object], future: Future[Any]) -> None:
        self._fn = fn
        self._future = future

    def __call__(self, _: Future[Any]) -> None:
        self._fn(self)

    def __eq__(self, other: object) -> bool:
        return self._fn == other

    __hash__ = None  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._future, name)

    def exception(self) -> BaseException | None:
        """Give the error in a form that asyncio takes."""
        error = self._future.exception()
        if isinstance(error, StopIteration):
            replaced = RuntimeError("the call raised StopIteration")
            replaced.__cause__ = error
            return replaced
        return error


def _for_loop(fn: Callable[[Any], object], future: Future[Any]) -> Callable[[Any], object]:
    """Give what to call in place of an asyncio callback; `wrap_future` has crossed the threads itself."""
    if getattr(fn, "__module__", None) == "asyncio.futures":
        return _WithoutStopIteration(fn, future) if sys.version_info < (3, 12, 2) else fn
    from asyncio import get_running_loop

    return _InLoop(fn, get_running_loop())


def run_callback(fn: Callable[[Any], object], future: Future[Any]) -> None:
    """Call a callback; log what it raises, as the standard future does."""
    try:
        fn(future)
    except Exception:
        LOGGER.exception("exception calling callback for %r", future)
