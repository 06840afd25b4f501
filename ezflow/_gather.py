"""A future of a whole `map`: the list of its results, or its first error."""

from __future__ import annotations

from _thread import allocate_lock

from ._hints import Any
from ._map import Slot
from .future import Future

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable

    from ._call import Call
    from .future import Desk


class ListFuture(Future[list[Any]]):
    """The future of the list of a `map`'s results; cancelling it cancels every call.

    With envelopes it waits for all; without, the first call that fails ends it and cancels what has not started.
    """

    def __init__(
        self,
        cancel_waiting: Callable[[list[Call]], None],
        stop: Callable[[Call], None],
        desk: Desk | None,
        *,
        enveloped: bool,
        unordered: bool,
    ) -> None:
        super().__init__()
        self._desk = desk
        self._cancel_waiting = cancel_waiting
        self._stop = stop
        self._list_enveloped = enveloped
        self._unordered = unordered
        self._slots: list[Slot] = []
        self._order: list[Slot] = []  # as they finished
        self._n_left = 1  # and one for the submitting itself
        self._count = allocate_lock()

    def submit_all(self, submit: Callable[[Slot], bool]) -> None:
        """Submit every item."""
        try:
            while not self.done():  # the first error ends it, maybe before all is submitted
                slot = Slot(self, len(self._slots))
                with self._count:
                    self._n_left += 1
                if not submit(slot):
                    self._count_down()  # there was no item for it
                    break
                self._slots.append(slot)
        except BaseException:
            self._cancel_rest()
            raise
        if self.done():
            self._cancel_rest()
        self._count_down()  # for the submitting

    def finished(self, slot: Slot) -> None:
        """Take a slot that was filled (dispatcher, or the submitting thread)."""
        self._order.append(slot)
        if slot.failed and not self._list_enveloped and not self.done():
            self._deliver(_First(slot))
            self._cancel_rest()
        self._count_down()

    def _cancel_rest(self) -> None:
        """Cancel what has not started."""
        self._cancel_waiting([slot.call for slot in self._slots if slot.call is not None])

    def _count_down(self) -> None:
        with self._count:
            self._n_left -= 1
            is_last = not self._n_left
        if is_last and not self.done():
            slots = self._order if self._unordered else self._slots
            self._deliver(_All(slots, self._list_enveloped))

    def running(self) -> bool:
        """Tell whether a call has ended or runs, and not all have ended."""
        return not self.done() and (bool(self._order) or any(_is_with_worker(slot) for slot in self._slots))

    def cancel(self) -> bool:
        """Cancel every call; stop those that run.

        Returns
        -------
        bool
            Whether the future is now cancelled.
        """
        if self.done():
            return self.cancelled()
        self._drop_here()
        for slot in self._slots:
            call = slot.call
            if call is not None:
                self._stop(call)
        return self.cancelled()


def _is_with_worker(slot: Slot) -> bool:
    call = slot.call
    return call is not None and isinstance(call.place, int)


class _All:
    """All results, still sealed."""

    failed = False
    pid: int | None = None
    micros: int | None = None
    attempts = 1

    def __init__(self, slots: list[Slot], enveloped: bool) -> None:
        self._slots = slots
        self._enveloped = enveloped

    def open(self) -> tuple[object, BaseException | None]:
        """Open each."""
        try:
            return [slot.open(enveloped=self._enveloped) for slot in self._slots], None
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return None, error


class _First(_All):
    """The first error."""

    failed = True

    def __init__(self, slot: Slot) -> None:
        super().__init__([slot], enveloped=False)
