"""What one lender has lent to this process: the mappings, and the notices of what nobody looks at any more."""

from __future__ import annotations

import mmap
import os
import socket
import sys
import weakref
from array import array
from collections import deque

from .cargo import COUNT, ENTRY, EXCLUSIVE, FOREIGN, INLINE, Span
from .lending import FORGOTTEN, KEPT, NUMBER, RETURN, SPOILED
from .segments import ForeignLease, n_forks, read_memory, views_of

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from .cargo import Part
    from .reserve import Reserve

MOST_MAPPED: Final = 128
"""Loans that are mapped in this process at the same time, each for a descriptor or two; beyond, they are copied out."""


class _Place:
    """One segment of the lender's as this process has it."""

    __slots__ = ("__weakref__", "copied", "fd", "mapped", "nbytes")

    def __init__(self, fd: int, nbytes: int) -> None:
        self.fd = fd
        self.nbytes = nbytes
        self.mapped: mmap.mmap | None = None
        self.copied: bytearray | None = None  # in place of the descriptor

    def copy_out(self) -> None:
        """Read everything and give the descriptor back."""
        self.copied = self.read(self.nbytes)
        fd, self.fd = self.fd, -1
        os.close(fd)

    def read(self, nbytes: int) -> bytearray:
        """Copy the first bytes."""
        return read_memory(self.fd, 0, nbytes)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class Borrowing:
    """The segments of one lender.

    One thread calls `accept` and `notices`; views are made, used and dropped anywhere.

    Parameters
    ----------
    sock : socket
        Brings descriptors, each in a message of its own that came before the table which names it.
    tell : callable, optional
        Called with the size when something large is returned, from a finaliser.
    reserve : Reserve, optional
        Lets a descriptor be received, and the memory copied, where the program has used up all others.
    """

    def __init__(
        self,
        sock: socket.socket,
        tell: Callable[[int], None] | None = None,
        reserve: Reserve | None = None,
    ) -> None:
        self._sock = sock
        self._reserve = reserve
        self._places: dict[int, _Place] = {}
        self._fds: dict[int, int] = {}  # that came and were not named yet
        self.returned: deque[tuple[int, int, int]] = deque()  # loan, forks when it began, flags
        self._tell = tell
        self.nbytes = 0  # that were lent by the other side

    def accept(self, table: bytes | bytearray) -> Shipment:
        """Take a table; OSError if a descriptor could not be received.  Looks at no memory yet."""
        (n,) = COUNT.unpack_from(table)
        entries = [ENTRY.unpack_from(table, COUNT.size + i * ENTRY.size) for i in range(n)]
        position = COUNT.size + n * ENTRY.size
        inline: list[memoryview] = []
        view = memoryview(table)
        loans: dict[int, tuple[_Place, int]] = {}
        error: OSError | None = None
        for loan, number, size, _, nbytes, how in entries:
            if how == INLINE:
                inline.append(view[position : position + nbytes])
                position += nbytes
                continue
            self.nbytes += nbytes
            if loan not in loans:
                place = self._places.get(number)
                if place is None or place.copied is not None:
                    try:
                        place = self._receive(number, size, place)
                    except OSError as caught:
                        error = caught
                        self.returned.append((loan, n_forks(), FORGOTTEN))
                        continue
                    if place.copied is not None:
                        self.returned.append((loan, n_forks(), FORGOTTEN))
                    if not how & FOREIGN:
                        self._places[number] = place
                loans[loan] = place, how
        if error is not None:
            for loan in loans:
                self.returned.append((loan, n_forks(), KEPT))
            raise error
        return Shipment(self, entries, inline, loans)

    def _receive(self, number: int, size: int, copied: _Place | None) -> _Place:
        """Find the descriptor of a segment among those that came; else there is a copy from before that it did."""
        if self._reserve is not None:
            self._reserve.use()
        try:
            while number not in self._fds:
                try:
                    data, fds, flags = self._receive_one()
                except BlockingIOError:
                    if copied is not None:
                        return copied
                    raise
                if not data:
                    raise OSError("the other side is gone")
                (came,) = NUMBER.unpack(data)
                before = self._fds.get(came, -1)
                if before >= 0:
                    os.close(before)
                self._fds[came] = -1 if not fds or flags & socket.MSG_CTRUNC else fds[0]
            fd = self._fds.pop(number)
            if fd < 0:
                import errno

                raise OSError(errno.EMFILE, "no descriptor is left for the shared memory of a large value")
            place = _Place(fd, size)
            if self._reserve is not None and not self._reserve.renew():
                place.copy_out()
            return place
        finally:
            if self._reserve is not None:
                self._reserve.renew()

    def _receive_one(self) -> tuple[bytes, array[int], int]:
        """Receive one message, never waiting: what is named has been sent.  `recv_fds` would ignore these flags."""
        fds = array("i")
        data, ancillary, flags, _ = self._sock.recvmsg(
            NUMBER.size, socket.CMSG_SPACE(fds.itemsize), socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
        )
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) // fds.itemsize * fds.itemsize])
        return data, fds, flags

    def forget(self, numbers: bytes | bytearray) -> None:
        """Unmap segments that the lender has given up."""
        for (number,) in NUMBER.iter_unpack(numbers):
            self._places.pop(number, None)

    def notices(self) -> bytes:
        """Give what is to be sent to the lender about loans that nobody looks at any more."""
        found: list[bytes] = []
        now = n_forks()
        while self.returned:
            loan, forks, flags = self.returned.popleft()
            found.append(RETURN.pack(loan, flags if forks == now else flags | SPOILED))
        return b"".join(found)

    def give_back(self, loan: int, forks: int, nbytes: int, place: object = None) -> None:
        """End a loan; a finaliser of the memory's last view calls it, which has kept the place until now."""
        _live.pop((id(self), loan), None)
        self.returned.append((loan, forks, KEPT))
        tell = self._tell
        if tell is not None:
            tell(nbytes)

    def close(self) -> None:
        """Give up all but what somebody looks at, or may still open."""
        self._places.clear()
        for fd in self._fds.values():
            if fd >= 0:
                os.close(fd)
        self._fds.clear()
        self._tell = None


class _Loan:
    """A loan that ends with this object."""

    __slots__ = ("_borrowing", "_loan", "_n_forks", "_place")

    def __init__(self, borrowing: Borrowing, loan: int, n_forks: int, place: _Place) -> None:
        self._borrowing = borrowing
        self._loan = loan
        self._n_forks = n_forks
        self._place = place

    def spoil(self) -> None:
        """Have it end such that the memory is never filled again."""
        self._n_forks = -1

    def __del__(self) -> None:
        self._borrowing.give_back(self._loan, self._n_forks, self._place.nbytes)


class Shipment:
    """The buffers of one message, not yet looked at.  What is dropped unopened is returned, too."""

    __slots__ = ("__weakref__", "_borrowing", "_entries", "_inline", "_loans", "_n_forks")

    def __init__(
        self,
        borrowing: Borrowing,
        entries: list[tuple[int, int, int, int, int, int]],
        inline: list[memoryview],
        loans: dict[int, tuple[_Place, int]],
    ) -> None:
        self._borrowing = borrowing
        self._entries = entries
        self._inline = inline
        self._loans = loans
        self._n_forks = n_forks()

    def open(self) -> list[memoryview]:
        """Give the memory, once; each loan ends with the last view of its own."""
        inline = iter(self._inline)
        pieces = [
            next(inline) if how == INLINE else (loan, offset, nbytes)
            for loan, _, _, offset, nbytes, how in self._entries
        ]
        return views_of(pieces, self._open_loan)

    def _open_loan(self, loan: int, nbytes: int) -> memoryview:
        place, how = self._loans[loan]
        block = self._map(loan, place, how, nbytes)
        del self._loans[loan]
        return block

    def parts(self) -> list[Part]:
        """Give the buffers without opening them, to be handed on; each loan ends with the last of its own."""
        leases = {}
        copies: dict[int, bytearray] = {}
        for loan, (place, _) in list(self._loans.items()):
            if place.copied is not None:
                copies[loan] = place.copied
                del self._loans[loan]
                continue
            guard = _Loan(self._borrowing, loan, self._n_forks, place)
            leases[loan] = ForeignLease(place.fd, place.nbytes, guard)
            del self._loans[loan]
        inline = iter(self._inline)
        found: list[Part] = []
        for loan, _, _, offset, nbytes, how in self._entries:
            if how == INLINE:
                found.append(bytes(next(inline)))
            elif loan in copies:
                found.append(bytes(copies[loan][offset : offset + nbytes]))
            else:
                found.append(Span(leases[loan], offset, nbytes))
        return found

    def _map(self, loan: int, place: _Place, how: int, nbytes: int) -> memoryview:
        borrowing = self._borrowing
        if place.copied is not None:
            return memoryview(place.copied[:nbytes])  # of its own: others open the same place
        try:
            from .raw import exporter

            if len(_live) >= MOST_MAPPED:
                raise OSError
            if how & EXCLUSIVE:
                mapped = place.mapped
                if mapped is None:
                    mapped = place.mapped = _map(place.fd, place.nbytes, mmap.MAP_SHARED)
                    _mapped.add(place)
            else:
                mapped = _map(place.fd, place.nbytes, mmap.MAP_PRIVATE)
            _live[id(borrowing), loan] = None
        except OSError:  # too many mappings or descriptors: a copy of its own
            copied = place.read(nbytes)
            borrowing.returned.append((loan, self._n_forks, KEPT))
            return memoryview(copied)
        block = exporter(mapped, nbytes)
        weakref.finalize(block, borrowing.give_back, loan, self._n_forks, nbytes, place).atexit = False
        return memoryview(block).cast("B")

    def __del__(self) -> None:
        for loan, (place, _) in self._loans.items():
            self._borrowing.give_back(loan, self._n_forks, place.nbytes)


def _map(fd: int, nbytes: int, flags: int) -> mmap.mmap:
    """Map a segment to be read and written."""
    if sys.version_info >= (3, 13):
        return mmap.mmap(fd, nbytes, flags=flags, trackfd=False)
    return mmap.mmap(fd, nbytes, flags=flags)


_mapped: weakref.WeakSet[_Place] = weakref.WeakSet()
"""Places that are mapped shared."""

_live: dict[tuple[int, int], None] = {}
"""Loans that are mapped in this process, by borrowing and number."""


def _before_fork() -> None:
    """Make shared mappings private, here and so in the child: neither is to see what the other writes.

    What is on loan now is never filled again, so the mappings stay what they are; a later loan is mapped anew.
    """
    for place in list(_mapped):
        mapped, place.mapped = place.mapped, None
        if mapped is not None and place.fd >= 0:
            from .raw import make_private

            make_private(mapped, place.fd, place.nbytes)
    _mapped.clear()


if sys.platform != "win32":
    os.register_at_fork(before=_before_fork)
