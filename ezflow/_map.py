"""`map` without a future per item.

A stream owns its slots, oldest first.  The dispatcher fills a slot and wakes
the consumer if it waits for just that one; the consumer says which it waits for
before it looks at the slot again, so neither can miss the other.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections import deque
from concurrent.futures import CancelledError
from time import monotonic

from ._hints import Generic, Protocol, TypeVar, cast
from ._rest import rest

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from ._call import Call, Sealed
    from ._progress import Meter

T = TypeVar("T")


class Slot:
    """The place of one result."""

    __slots__ = ("call", "cancelled", "done", "index", "meter", "sealed", "stream")

    def __init__(self, stream: Listener, index: int = 0) -> None:
        self.stream = stream
        self.index = index
        self.call: Call | None = None
        self.meter: Meter | None = None
        self.sealed: Sealed | None = None
        self.cancelled = False
        self.done = False

    def _deliver(self, sealed: Sealed) -> None:
        """Take the answer: on the dispatcher's thread, or, if the call could not be sent, where it was submitted."""
        if not self.done:
            self.sealed = sealed
            self._finish()

    def _drop(self) -> None:
        """Learn that the call was cancelled (on the dispatcher's thread)."""
        if not self.done:
            self.cancelled = True
            self._finish()

    def _hear(self, sealed: Sealed) -> None:
        """Take word of the call's progress: nobody listens (dispatcher only)."""

    def _finish(self) -> None:
        self.call = None
        self.done = True
        if self.meter is not None:
            self.meter.tick(failed=self.failed)
        self.stream.finished(self)

    @property
    def failed(self) -> bool:
        """Whether it is filled, and not with a value."""
        return self.cancelled or (self.sealed is not None and self.sealed.failed)

    def open(self, *, enveloped: bool) -> Any:
        """Give the value or its envelope; raise the error, and always a cancellation."""
        if self.cancelled:
            raise CancelledError
        sealed, self.sealed = self.sealed, None
        assert sealed is not None
        value, error = sealed.open()
        try:
            if enveloped:
                from .result import envelope

                pid, micros, attempts = sealed.pid, sealed.micros, sealed.attempts
                return envelope(value, error, self.index, pid=pid, micros=micros, attempts=attempts)
            if error is not None:
                raise error
            return value
        finally:
            error = None


class Listener(Protocol):
    """Whoever has slots."""

    def finished(self, slot: Slot) -> None:
        """Learn that a slot was filled (dispatcher only)."""


class Stream(Generic[T]):
    """An ordered iterator over the results of a `map`.

    Parameters
    ----------
    submit : callable
        Given a slot, submits the next item for it; False when there is none.
    cancel : callable
        Given calls, cancels those that have not started; never waits.
    buffersize : int or None
        Items submitted and not yet yielded; None takes all inputs at once.
    end : float or None
        Monotonic time after which waiting raises `TimeoutError`.
    enveloped : bool
        Whether to give `Result` envelopes.
    unordered : bool
        Whether to give them as they finish.
    check_waiting : callable
        Raises where nobody would ever answer.
    """

    def __init__(
        self,
        submit: Callable[[Slot], bool],
        cancel: Callable[[list[Call]], None],
        buffersize: int | None,
        end: float | None,
        check_waiting: Callable[[], None],
        *,
        enveloped: bool = False,
        unordered: bool = False,
    ) -> None:
        self._enveloped = enveloped
        self._finished: deque[Slot] | None = deque() if unordered else None
        self._n_added = 0
        self._submit = submit
        self._cancel = cancel
        self._end = end
        self._check_waiting = check_waiting
        # What is not yielded yet: a queue, and by index where the order is not known.  (To find the first key of a dict
        # that loses its first keys takes longer and longer.)
        self._queue: deque[Slot] = deque()
        self._slots: dict[int, Slot] = {}
        self._bell = allocate_lock()
        self._bell.acquire()
        self.awaited: Slot | None = None
        self._lazy = buffersize is not None
        try:
            while (buffersize is None or self._n_added < buffersize) and self._add():
                pass
        except BaseException:
            self.close()  # the inputs raised: what was submitted is not wanted any more
            raise

    def _add(self) -> bool:
        slot = Slot(self, self._n_added)
        if not self._submit(slot):
            self._submit = _nothing  # a stream without inputs keeps no pool alive
            return False
        if self._finished is None:
            self._queue.append(slot)
        else:
            self._slots[slot.index] = slot
        self._n_added += 1
        return True

    def finished(self, slot: Slot) -> None:
        """Wake the consumer if that is what it waits for (dispatcher only)."""
        if self._finished is not None:
            self._finished.append(slot)
            self.wake()
        elif self.awaited is slot:
            self.wake()

    def wake(self) -> None:
        """End the consumer's wait; whoever delivers a result calls it."""
        try:
            self._bell.release()
        except RuntimeError:
            pass  # rung already

    def results(self) -> Generator[T, None, None]:
        """Yield nothing once, then the results in order; closing the generator cancels what has not started."""
        queue, slots, is_lazy, enveloped = self._queue, self._slots, self._lazy, self._enveloped
        try:
            yield cast("T", None)
            while queue or slots:
                slot = self._next()
                if is_lazy:
                    self._add()
                out = [slot.open(enveloped=enveloped)]
                del slot  # hold nothing while the consumer works
                yield out.pop()
        finally:
            self.close()

    def _next(self) -> Slot:
        """Wait for the slot whose turn it is, and take it."""
        finished = self._finished
        if finished is None:
            slot = self._queue[0]
            if not slot.done:
                self.awaited = slot
                try:
                    self._wait(lambda: slot.done)
                finally:
                    self.awaited = None
            return self._queue.popleft()
        if not finished:
            self._wait(lambda: bool(finished))
        slot = finished.popleft()
        del self._slots[slot.index]
        return slot

    def _wait(self, is_there: Callable[[], bool]) -> None:
        self._check_waiting()
        while not is_there():
            left = None if self._end is None else self._end - monotonic()
            if not rest(self._bell, left) and not is_there():
                raise TimeoutError

    def close(self) -> None:
        """Cancel what has not started."""
        calls = [slot.call for slot in (*self._queue, *self._slots.values()) if slot.call is not None]
        self._queue.clear()
        self._slots.clear()
        if calls:
            self._cancel(calls)


def _nothing(_: Slot) -> bool:
    """Stand for the submission of inputs that are used up."""
    return False
