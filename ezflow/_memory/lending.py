"""What one receiver has been lent: which segments it knows, which loans it has not returned."""

from __future__ import annotations

import socket
from array import array
from struct import Struct

from .cargo import COUNT, ENTRY, EXCLUSIVE, FOREIGN, INLINE, PRIVATE, Span

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from .cargo import Part
    from .segments import Lease, Segment

MOST_KNOWN: Final = 64
"""Segments that one receiver keeps mapped; each costs it a descriptor or two."""

NUMBER: Final = Struct("=Q")

RETURN: Final = Struct("=QB7x")
"""The end of a loan: its number, and what is to become of the segment."""

KEPT: Final = 0
FORGOTTEN: Final = 1
"""A flag: the receiver does not keep the segment, so its descriptor is to be sent again."""
SPOILED: Final = 2
"""A flag: somebody may still look at the memory, so it must never be filled again."""


class Lending:
    """The loans of one receiver.

    One thread owns it: the dispatcher in the parent, the loop in a worker.

    Parameters
    ----------
    sock : socket
        Takes descriptors, each in a message of its own.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._known: dict[int, Segment] = {}
        self._loans: dict[int, Lease] = {}
        self._n_loans = 0
        self.n_fds = 0  # that were sent
        self.nbytes = 0  # that were lent

    def offer(self, parts: Sequence[Part], *, private: bool = False) -> bytes:
        """Make the table of a message, lending what is in segments.

        A loan ends when the receiver says so, also of a call that was taken back: the receiver may have begun with it
        after all when it is sent once more, and then looks at the memory of the first table.
        """
        entries: list[bytes] = [COUNT.pack(len(parts))]
        inline: list[bytes | bytearray] = []
        loans: dict[int, int] = {}  # by lease
        for part in parts:
            if type(part) is not Span:
                inline.append(part)  # type: ignore[arg-type]  # bytes
                entries.append(ENTRY.pack(0, 0, 0, 0, len(part), INLINE))  # type: ignore[arg-type]
                continue
            lease = part.lease
            segment = lease.segment
            is_new = id(lease) not in loans and segment.id not in self._known
            if is_new and not self._introduce(segment, lease.is_foreign):
                data = segment.read(part.offset, part.nbytes)
                inline.append(data)
                entries.append(ENTRY.pack(0, 0, 0, 0, len(data), INLINE))
                continue
            loan = loans.get(id(lease))
            if loan is None:
                self._n_loans += 1
                loan = loans[id(lease)] = self._n_loans
                self._loans[loan] = lease
            self.nbytes += part.nbytes
            how = PRIVATE if private or lease.is_shared else EXCLUSIVE
            if lease.is_foreign:
                how |= FOREIGN
            entries.append(ENTRY.pack(loan, segment.id, segment.nbytes, part.offset, part.nbytes, how))
        return b"".join([*entries, *inline])

    def _introduce(self, segment: Segment, is_foreign: bool) -> bool:
        """Send the descriptor of a segment; say whether that was possible."""
        try:
            # Not `send_fds`, which takes flags and ignores them: it would wait here for ever.
            fds = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [segment.fd]))]
            self._sock.sendmsg([NUMBER.pack(segment.id)], fds, socket.MSG_DONTWAIT)
        except OSError:  # no room, or the receiver is gone
            return False
        self.n_fds += 1
        if not is_foreign:
            self._known[segment.id] = segment
        return True

    def outgrown(self) -> bytes:
        """Say which segments the receiver is to forget: those that are closed, and the oldest beyond the limit."""
        if len(self._known) <= MOST_KNOWN and all(segment.fd >= 0 for segment in list(self._known.values())):
            return b""
        on_loan = {lease.segment.id for lease in list(self._loans.values())}
        gone = [number for number, segment in list(self._known.items()) if segment.fd < 0]
        spare = [number for number in list(self._known) if number not in on_loan and number not in gone]
        gone += spare[: max(0, len(self._known) - len(gone) - MOST_KNOWN)]
        return self._strike(gone)

    def spare(self) -> bytes:
        """Say which segments are not on loan, for the receiver to forget."""
        on_loan = {lease.segment.id for lease in list(self._loans.values())}
        return self._strike([number for number in list(self._known) if number not in on_loan])

    def _strike(self, numbers: list[int]) -> bytes:
        for number in numbers:
            del self._known[number]
        return b"".join(map(NUMBER.pack, numbers))

    def returned(self, notice: bytes | bytearray) -> None:
        """Take loans back."""
        for loan, fate in RETURN.iter_unpack(notice):
            lease = self._loans.pop(loan, None)
            if lease is None:
                continue
            if fate & FORGOTTEN:
                self._known.pop(lease.segment.id, None)
            if fate & SPOILED:
                lease.spoil()

    def end(self) -> None:
        """End all: the receiver is gone; but not, maybe, what it has forked, so what it had is never filled again."""
        for lease in self._loans.values():
            lease.spoil()
        self._loans.clear()
        self._known.clear()

    @property
    def n_loans(self) -> int:
        """How many have not been returned."""
        return len(self._loans)
