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
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ._call import Call, Sealed

T = TypeVar("T")


class Slot:
    """The place of one result."""

    __slots__ = ("call", "cancelled", "done", "sealed", "stream")

    def __init__(self, stream: Stream[Any]) -> None:
        self.stream = stream
        self.call: Call | None = None
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

    def _finish(self) -> None:
        self.call = None
        self.done = True
        if self.stream.awaited is self:
            self.stream.wake()


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
    ) -> None:
        self._submit = submit
        self._cancel = cancel
        self._end = end
        self._check_waiting = check_waiting
        self._slots: deque[Slot] = deque()
        self._bell = allocate_lock()
        self._bell.acquire()
        self.awaited: Slot | None = None
        self._lazy = buffersize is not None
        try:
            while (buffersize is None or len(self._slots) < buffersize) and self._add():
                pass
        except BaseException:
            self.close()  # the inputs raised: what was submitted is not wanted any more
            raise

    def _add(self) -> bool:
        slot = Slot(self)
        if not self._submit(slot):
            self._submit = _nothing  # a stream without inputs keeps no pool alive
            return False
        self._slots.append(slot)
        return True

    def wake(self) -> None:
        """End the consumer's wait; whoever delivers a result calls it."""
        try:
            self._bell.release()
        except RuntimeError:
            pass  # rung already

    def results(self) -> Generator[T, None, None]:
        """Yield nothing once, then the results in order; closing the generator cancels what has not started."""
        slots = self._slots
        try:
            yield cast("T", None)
            while slots:
                slot = slots[0]
                if not slot.done:
                    self._wait(slot)
                slots.popleft()
                if self._lazy:
                    self._add()
                if slot.cancelled:
                    raise CancelledError
                sealed, slot.sealed = slot.sealed, None
                assert sealed is not None
                value, error = sealed.open()
                if error is not None:
                    raise error
                del slot, sealed  # hold nothing while the consumer works
                out = [cast("T", value)]
                del value
                yield out.pop()
        finally:
            error = None
            self.close()

    def _wait(self, slot: Slot) -> None:
        self._check_waiting()
        self.awaited = slot
        try:
            while not slot.done:
                if self._end is None:
                    self._bell.acquire()
                else:
                    left = self._end - monotonic()
                    if left <= 0 or not self._bell.acquire(timeout=left):
                        if slot.done:
                            break  # type: ignore[unreachable]  # set by the dispatcher meanwhile
                        raise TimeoutError
        finally:
            self.awaited = None

    def close(self) -> None:
        """Cancel what has not started."""
        calls = [slot.call for slot in self._slots if slot.call is not None]
        self._slots.clear()
        if calls:
            self._cancel(calls)


def _nothing(_: Slot) -> bool:
    """Stand for the submission of inputs that are used up."""
    return False
