"""What the parent has lent to one worker, and what it has borrowed from it: the large values beside messages.

The dispatcher owns it.
"""

from __future__ import annotations

from time import monotonic

from .._memory.cargo import SPARE_SECONDS, TELL_FROM
from .._wire.messages import LOAN, RETURN
from .exchange import Exchange

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from .._call import Call
    from .._memory.borrowing import Shipment
    from .._memory.segments import Arena


class Spare:
    """When memory is given back that was lent by this process and is in use no more.

    Parameters
    ----------
    tell : callable
        Called by finalisers when large memory has come back.
    """

    def __init__(self, tell: Callable[[], object]) -> None:
        self._tell = tell
        self._arena: Arena | None = None
        self.at: float | None = None

    def begin(self) -> None:
        """Something is about to be lent."""
        if self._arena is None:
            from .._memory.segments import arena_now

            self._arena = arena_now()
            self._arena.listen(self._hear)

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
        if self.at is None or self._arena is None or now < self.at:
            return False
        later = self._arena.used + SPARE_SECONDS
        if later > now:
            self.at = later
            return False
        return True

    def give_up(self) -> None:
        """Give back what is not in use."""
        self.at = None
        if self._arena is not None:
            self._arena.trim()

    def end(self) -> None:
        """Listen no more, and hold nobody: what a pool was made with goes with it, and not at some later collection."""
        self._tell = _say_nothing
        if self._arena is not None:
            self._arena.forget(self._hear)
            self.give_up()


def _say_nothing() -> None:
    """Stand in for whoever was told."""


class Holdings(Exchange):
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
        super().__init__(desk)
        self._spare = spare
        self._ring = ring
        self._n_owed = 0  # bytes that came back since the worker was told
        self._shipments: dict[int, Shipment | OSError] = {}

    def take(self, call: int, kind: int, payload: bytes | bytearray) -> None:
        """Take a frame from the worker."""
        if kind != LOAN:
            self.hear(kind, payload)
            if kind == RETURN and self.has_lent:
                self._spare.note()
            return
        try:
            self._shipments[call] = self.borrowing().accept(payload)
        except OSError as error:
            self._shipments[call] = error

    def _listener(self) -> Callable[[int], None]:
        return self._owe

    def _owe(self, nbytes: int) -> None:
        self._n_owed += nbytes
        if self._n_owed >= TELL_FROM:
            self._n_owed = 0
            self._ring()

    def shipment(self, call: int) -> Shipment | OSError | None:
        """Give what came beside the message with this number."""
        return self._shipments.pop(call, None) if self._shipments else None

    def send(self, call: Call) -> bytes:
        """Lend what goes beside a call; give the frames that tell of it."""
        if not self.has_lent:
            self._spare.begin()
        return self.lend(call.id, call.beside, private=call.retry is not None)

    def end(self) -> None:
        """The worker is gone."""
        super().end()
        self._shipments.clear()
