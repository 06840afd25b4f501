"""Both ends that a process has of the memory it shares with the process at the other end of a socket.

What is needed for that is imported with the first large value, for which a descriptor is held: most pools never see one.
"""

from __future__ import annotations

from .._memory.reserve import Reserve
from .._wire.messages import FORGET, HEADER, LOAN, RETURN

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from .._memory.borrowing import Borrowing
    from .._memory.cargo import Part
    from .._memory.lending import Lending


class Exchange:
    """What a process has lent to another one, and what it has borrowed from it.

    Parameters
    ----------
    desk : socket
        Over which descriptors come and go.
    """

    def __init__(self, desk: socket.socket) -> None:
        self._desk = desk
        self.reserve = Reserve()  # now: later a call, or the program, may have used up all descriptors
        self._borrowing: Borrowing | None = None
        self._lending: Lending | None = None

    def borrowing(self) -> Borrowing:
        """Give the end that borrows."""
        if self._borrowing is None:
            with self.reserve:
                from .._memory import raw  # noqa: F401  # borrowing imports it when it maps something
                from .._memory.borrowing import Borrowing
            self._borrowing = Borrowing(self._desk, self._listener(), self.reserve)
        return self._borrowing

    def _listener(self) -> Callable[[int], None] | None:
        """Give what finalisers call with the size of what the other process gets back."""
        return None

    def hear(self, kind: int, payload: bytes | bytearray) -> None:
        """Take what the other process says about loans: what it returns, and what is to be forgotten."""
        if kind == RETURN and self._lending is not None:
            self._lending.returned(payload)
        elif kind == FORGET and self._borrowing is not None:
            self._borrowing.forget(payload)

    @property
    def has_word(self) -> bool:
        """Whether the other process is to be told something with the next message."""
        return self._borrowing is not None and bool(self._borrowing.returned)

    def word(self) -> bytes:
        """Give the frame that tells it what it gets back; empty if there is nothing."""
        return (
            _frame(0, RETURN, self._borrowing.notices())
            if self._borrowing is not None and self.has_word
            else b""
        )

    def lend(self, number: int, parts: Sequence[Part], *, private: bool = False) -> bytes:
        """Lend what goes beside a message; give the frames that tell of it, and of what is to be forgotten for it."""
        if self._lending is None:
            with self.reserve:
                from .._memory.lending import Lending
            self._lending = Lending(self._desk)
        table = self._lending.offer(parts, private=private)
        gone = self._lending.outgrown()
        frame = _frame(number, LOAN, table)
        return frame + _frame(0, FORGET, gone) if gone else frame

    @property
    def has_lent(self) -> bool:
        """Whether something was lent since the beginning."""
        return self._lending is not None

    def spare(self) -> bytes:
        """Give the frame that tells what else is to be forgotten because nobody uses it; empty if there is nothing."""
        gone = self._lending.spare() if self._lending is not None else b""
        return _frame(0, FORGET, gone) if gone else b""

    @property
    def n_lent(self) -> int:
        """Bytes that were lent so far."""
        return 0 if self._lending is None else self._lending.nbytes

    @property
    def n_borrowed(self) -> int:
        """Bytes that were borrowed so far."""
        return 0 if self._borrowing is None else self._borrowing.nbytes

    def end(self) -> None:
        """The other process is gone."""
        if self._lending is not None:
            self._lending.end()
        if self._borrowing is not None:
            self._borrowing.close()
        self.reserve.use()


def _frame(number: int, kind: int, payload: bytes) -> bytes:
    return HEADER.pack(len(payload), number, kind, 0, 0) + payload
