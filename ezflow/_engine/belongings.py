"""What a worker has borrowed from the parent, and what it has lent to it: the large values beside messages."""

from __future__ import annotations

from .._memory.cargo import STREAM_FROM, stow
from .._wire.messages import LOAN
from .exchange import Exchange

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from .._memory.cargo import Part


class Belongings(Exchange):
    """Both ends that a worker has of the shared memory.

    Parameters
    ----------
    desk : socket
        Over which descriptors come and go.
    tell : callable
        Sends bytes at once.
    """

    def __init__(self, desk: socket.socket, tell: Callable[[bytes], None]) -> None:
        super().__init__(desk)
        self._tell = tell
        # By call, the oldest first: one that was taken back and sent once more before this worker met it has two.
        self._tables: dict[int, list[bytes]] = {}

    def take(self, call: int, kind: int, payload: bytes) -> None:
        """Take a frame from the parent."""
        if kind == LOAN:
            self.borrowing()  # what that imports, no interrupt can tear here
            self._tables.setdefault(call, []).append(payload)
        else:
            self.hear(kind, payload)

    def open(self, call: int) -> list[memoryview] | None:
        """Give the large buffers of a call; None if it has none."""
        table = self._table(call)
        return None if table is None else self.borrowing().accept(table).open()

    def skip(self, call: int) -> None:
        """Drop the buffers of a call that was taken back."""
        table = self._table(call)
        if table is not None:
            try:
                self.borrowing().accept(table)
            except OSError:
                pass  # no descriptor was left to receive what nobody wants

    def _table(self, call: int) -> bytes | None:
        """Give what came with the first copy of a call that has not been met: each frame of it has its own."""
        tables = self._tables.get(call)
        if tables is None:
            return None
        table = tables.pop(0)
        if not tables:
            del self._tables[call]
        return table

    def words(self, call: int, beside: Sequence[Part]) -> bytes:
        """Give what goes before a message: what is returned, and what is lent with it."""
        word = self.word()
        if not beside:
            return word
        if not self.has_lent:
            from .._memory.segments import arena_now

            arena_now().listen(_wait_for_idleness)  # somebody does: what comes back is used again
        return word + self.lend(call, beside)

    @property
    def has_spare(self) -> bool:
        """Whether memory is kept that no result is in."""
        if not self.has_lent:
            return False
        from .._memory.segments import arena_now

        return arena_now().has_spare()

    def give_up_spare(self) -> None:
        """Give that memory back to the system."""
        from .._memory.segments import arena_now

        gone = self.spare()
        arena_now().trim()
        if gone:
            self._tell(gone)


def put_aside(payload: bytes, beside: list[Part]) -> bytes:
    """Put bytes beside their message if they are many; give what stays in it."""
    if len(payload) < STREAM_FROM:
        return payload
    beside += stow((), [payload])
    return b""


def _wait_for_idleness() -> None:
    """Take note of memory that came back: the loop gives it up when it has had nothing to do for a while."""
