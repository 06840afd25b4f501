"""What a worker has borrowed from the parent, and what it has lent to it: the large values beside messages.

All that is needed is imported at once: a call may use up all descriptors, and then nothing can be imported.
"""

from __future__ import annotations

from .._memory.borrowing import Borrowing
from .._memory.cargo import STREAM_FROM
from .._memory.lending import Lending
from .._memory.reserve import Reserve
from .._memory.segments import arena_now
from .._wire.messages import FORGET, HEADER, LOAN, RETURN

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from .._memory.cargo import Part


class Belongings:
    """Both ends that a worker has of the shared memory.

    Parameters
    ----------
    desk : socket
        Over which descriptors come and go.
    tell : callable
        Sends frames at once.
    """

    def __init__(self, desk: socket.socket, tell: Callable[[Sequence[bytes]], None]) -> None:
        self._desk = desk
        self._reserve = Reserve()  # now, before a call can have used up all descriptors
        self._tell = tell
        self._tables: dict[int, bytes] = {}
        self._borrowing: Borrowing | None = None
        self._lending: Lending | None = None

    def take(self, call: int, kind: int, payload: bytes) -> None:
        """Take a frame from the parent."""
        if kind == LOAN:
            self._tables[call] = payload
        elif kind == RETURN and self._lending is not None:
            self._lending.returned(payload)
        elif kind == FORGET and self._borrowing is not None:
            self._borrowing.forget(payload)

    def open(self, call: int) -> list[memoryview] | None:
        """Give the large buffers of a call; None if it has none."""
        table = self._tables.pop(call, None) if self._tables else None
        return None if table is None else self._here().accept(table).open()

    def skip(self, call: int) -> None:
        """Drop the buffers of a call that was taken back."""
        table = self._tables.pop(call, None) if self._tables else None
        if table is not None:
            try:
                self._here().accept(table)
            except OSError:
                pass  # no descriptor was left to receive what nobody wants

    def _here(self) -> Borrowing:
        if self._borrowing is None:
            self._borrowing = Borrowing(self._desk, reserve=self._reserve)
        return self._borrowing

    @property
    def has_word(self) -> bool:
        """Whether the parent is to be told something with the next message."""
        return self._borrowing is not None and bool(self._borrowing.returned)

    def frames(self, call: int, beside: Sequence[Part]) -> list[bytes]:
        """Give what goes before a message: what is lent with it, and what is returned or given up."""
        frames: list[bytes] = []
        if self._borrowing is not None:
            frames.append(_frame(0, RETURN, self._borrowing.notices()))
        if beside:
            if self._lending is None:
                self._lending = Lending(self._desk)
            table = self._lending.offer(beside)
            frames.append(_frame(call, LOAN, table))
            gone = self._lending.outgrown()
            if gone:
                frames.append(_frame(0, FORGET, gone))
        return frames

    @property
    def has_spare(self) -> bool:
        """Whether memory is kept that no result is in."""
        if self._lending is None:
            return False
        return arena_now().has_spare()

    def give_up_spare(self) -> None:
        """Give that memory back to the system."""
        assert self._lending is not None
        gone = self._lending.spare()
        arena_now().trim()
        if gone:
            self._tell([_frame(0, FORGET, gone)])


def put_aside(payload: bytes, beside: list[Part]) -> bytes:
    """Put bytes beside their message if they are many; give what stays in it."""
    if len(payload) < STREAM_FROM:
        return payload
    from .._memory.cargo import stow

    beside += stow((), [payload])
    return b""


def _frame(number: int, kind: int, payload: bytes) -> bytes:
    return HEADER.pack(len(payload), number, kind, 0, 0) + payload
