"""What the parent has lent to one worker, and what it has borrowed from it: the large values beside messages.

The dispatcher owns it; nothing of it is imported before the first large value.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from .._memory.reserve import Reserve
from .._memory.segments import arena_now
from .._wire.messages import FORGET, HEADER, LOAN, RETURN

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from .._call import Call
    from .._memory.borrowing import Borrowing, Shipment
    from .._memory.lending import Lending

SPARE_SECONDS: Final = 5.0
"""Seconds without use after which memory is given back to the system."""

TELL_FROM: Final = 1 << 20
"""Bytes, in all, from which on a worker is told at once that its memory is free again; of less it hears with its next
call."""


class Spare:
    """When memory is given back that was lent by this process and is in use no more.

    Parameters
    ----------
    tell : callable
        Called by finalisers when large memory has come back.
    """

    def __init__(self, tell: Callable[[], object]) -> None:
        self._tell = tell
        self._is_listening = False
        self.at: float | None = None

    def begin(self) -> None:
        """Something is about to be lent."""
        if not self._is_listening:
            self._is_listening = True
            arena_now().listen(self._hear)

    def _hear(self) -> None:
        if self.at is None:
            self._tell()

    def note(self) -> None:
        """Something has come back."""
        if self.at is None:
            self.at = monotonic() + SPARE_SECONDS

    def is_due(self) -> bool:
        """Tell whether it is time; something may have been lent meanwhile, and then it is later."""
        now = monotonic()
        if self.at is None or now < self.at:
            return False
        later = arena_now().used + SPARE_SECONDS
        if later > now:
            self.at = later
            return False
        return True

    def give_up(self) -> None:
        """Give back what is not in use."""
        self.at = None
        arena_now().trim()

    def end(self) -> None:
        """Listen no more, and hold nobody: what a pool was made with goes with it, and not at some later collection."""
        self._tell = _say_nothing
        if self._is_listening:
            arena_now().forget(self._hear)
            self.give_up()


def _say_nothing() -> None:
    """Stand in for whoever was told."""


class Holdings:
    """Both ends that the parent has of the memory it shares with one worker.

    Parameters
    ----------
    desk : socket
        Over which descriptors come and go.
    spare : Spare
        Is told of what comes back.
    ring : callable
        Called by finalisers when the worker is to be told something.
    """

    def __init__(self, desk: socket.socket, spare: Spare, ring: Callable[[], object]) -> None:
        self._desk = desk
        self._reserve = Reserve()
        self._spare = spare
        self._ring = ring
        self._n_owed = 0  # bytes that came back since the worker was told
        self._shipments: dict[int, Shipment | OSError] = {}
        self._borrowing: Borrowing | None = None
        self._lending: Lending | None = None

    def take(self, call: int, kind: int, payload: bytes | bytearray) -> None:
        """Take a frame from the worker."""
        if kind == LOAN:
            if self._borrowing is None:
                from .._memory.borrowing import Borrowing

                self._borrowing = Borrowing(self._desk, self._on_return, self._reserve)
            try:
                self._shipments[call] = self._borrowing.accept(payload)
            except OSError as error:
                self._shipments[call] = error
        elif kind == RETURN and self._lending is not None:
            self._lending.returned(payload)
            self._spare.note()
        elif kind == FORGET and self._borrowing is not None:
            self._borrowing.forget(payload)

    def _on_return(self, nbytes: int) -> None:
        self._n_owed += nbytes
        if self._n_owed >= TELL_FROM:
            self._n_owed = 0
            self._ring()

    def shipment(self, call: int) -> Shipment | OSError | None:
        """Give what came beside the message with this number."""
        return self._shipments.pop(call, None) if self._shipments else None

    def lend(self, call: Call) -> bytes:
        """Lend what goes beside a call; give the frames that tell of it, and of what is to be forgotten for it."""
        if self._lending is None:
            from .._memory.lending import Lending

            self._lending = Lending(self._desk)
            self._spare.begin()
        table = self._lending.offer(call.beside, private=call.retry is not None)
        gone = self._lending.outgrown()
        frame = _frame(call.id, LOAN, table)
        return frame + _frame(0, FORGET, gone) if gone else frame

    @property
    def has_word(self) -> bool:
        """Whether the worker is to be told something with the next message."""
        return self._borrowing is not None and bool(self._borrowing.returned)

    def words(self, *, spare: bool = False) -> bytes:
        """Give the frames that tell the worker what it gets back and what it is to forget; `spare`: all that is idle."""
        words = b""
        if self.has_word:
            assert self._borrowing is not None
            words += _frame(0, RETURN, self._borrowing.notices())
        if spare and self._lending is not None:
            gone = self._lending.spare()
            if gone:
                words += _frame(0, FORGET, gone)
        return words

    @property
    def n_lent(self) -> int:
        """Bytes that the worker was lent so far."""
        return 0 if self._lending is None else self._lending.nbytes

    @property
    def n_borrowed(self) -> int:
        """Bytes that the worker has lent so far."""
        return 0 if self._borrowing is None else self._borrowing.nbytes

    def end(self) -> None:
        """The worker is gone."""
        if self._lending is not None:
            self._lending.end()
        if self._borrowing is not None:
            self._borrowing.close()
        self._shipments.clear()
        self._reserve.use()


def _frame(number: int, kind: int, payload: bytes) -> bytes:
    return HEADER.pack(len(payload), number, kind, 0, 0) + payload
