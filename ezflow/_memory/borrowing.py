"""What one lender has lent to this process: the mappings, and the notices of what nobody looks at any more."""

from __future__ import annotations

import mmap
import os
import socket
import sys
import weakref
from collections import deque

from .cargo import COUNT, ENTRY, EXCLUSIVE, FOREIGN, INLINE, Span
from .lending import FORGOTTEN, KEPT, NUMBER, RETURN, SPOILED
from .segments import foreign

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from .cargo import Part
    from .reserve import Reserve

MOST_PRIVATE: Final = 64
"""Private mappings at the same time; beyond, what comes is copied out at once."""

_n_forks = 0
"""Forks of this process: what was on loan at one of them may be looked at by the child for ever."""


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
        data = bytearray(nbytes)
        with memoryview(data) as view:
            done = 0
            while done < nbytes:
                done += os.preadv(self.fd, [view[done:]], done)
        return data

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
        self.private: dict[int, None] = {}  # loans that have a mapping of their own

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
            if how != INLINE:
                self.nbytes += nbytes
            if how == INLINE:
                inline.append(view[position : position + nbytes])
                position += nbytes
            elif loan not in loans:
                try:
                    place = self._places.get(number) or self._receive(number, size)
                except OSError as caught:
                    error = caught
                    self.returned.append((loan, _n_forks, FORGOTTEN))
                    continue
                if self._reserve is not None and not self._reserve.renew():
                    place.copy_out()
                    self._reserve.renew()
                    self._places.pop(number, None)
                    self.returned.append((loan, _n_forks, FORGOTTEN))
                elif not how & FOREIGN:
                    self._places[number] = place
                loans[loan] = place, how
        if error is not None:
            for loan in loans:
                self.returned.append((loan, _n_forks, KEPT))
            raise error
        return Shipment(self, entries, inline, loans)

    def _receive(self, number: int, size: int) -> _Place:
        """Find the descriptor of a segment among those that came."""
        if self._reserve is not None:
            self._reserve.use()
        while number not in self._fds:
            data, fds, flags, _ = socket.recv_fds(self._sock, NUMBER.size, 1, socket.MSG_CMSG_CLOEXEC)
            if not data:
                raise OSError("the other side is gone")
            (came,) = NUMBER.unpack(data)
            if not fds or flags & socket.MSG_CTRUNC:
                self._fds[came] = -1
                continue
            self._fds[came] = fds[0]
        fd = self._fds.pop(number)
        if fd < 0:
            import errno

            raise OSError(errno.EMFILE, "no descriptor is left for the shared memory of a large value")
        return _Place(fd, size)

    def forget(self, numbers: bytes | bytearray) -> None:
        """Unmap segments that the lender has given up."""
        for (number,) in NUMBER.iter_unpack(numbers):
            self._places.pop(number, None)

    def notices(self) -> bytes:
        """Give what is to be sent to the lender about loans that nobody looks at any more."""
        found: list[bytes] = []
        while self.returned:
            loan, n_forks, flags = self.returned.popleft()
            found.append(RETURN.pack(loan, flags if n_forks == _n_forks else flags | SPOILED))
        return b"".join(found)

    def give_back(self, loan: int, n_forks: int, nbytes: int) -> None:
        """End a loan; a finaliser of the memory's last view calls it."""
        self.private.pop(loan, None)
        self.returned.append((loan, n_forks, KEPT))
        if self._tell is not None:
            self._tell(nbytes)

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
        self._n_forks = _n_forks

    def open(self) -> list[memoryview]:
        """Give the memory, once; each loan ends with the last view of its own."""
        blocks: dict[int, memoryview] = {}
        ends: dict[int, int] = {}
        for loan, _, _, offset, nbytes, _ in self._entries:
            ends[loan] = max(ends.get(loan, 0), offset + nbytes)
        for loan in list(self._loans):
            place, how = self._loans[loan]
            blocks[loan] = self._map(loan, place, how, ends[loan])
            del self._loans[loan]
        inline = iter(self._inline)
        views: list[memoryview] = []
        for loan, _, _, offset, nbytes, how in self._entries:
            if how == INLINE:
                views.append(memoryview(bytearray(next(inline))))
            else:
                views.append(blocks[loan][offset : offset + nbytes])
        return views

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
            leases[loan] = foreign(place.fd, place.nbytes, guard)
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
            return memoryview(place.copied)
        try:
            from .raw import exporter

            if how & EXCLUSIVE:
                mapped = place.mapped
                if mapped is None:
                    mapped = place.mapped = _map(place.fd, place.nbytes, mmap.MAP_SHARED)
                    _mapped.add(place)
            elif len(borrowing.private) >= MOST_PRIVATE:
                raise OSError
            else:
                mapped = _map(place.fd, place.nbytes, mmap.MAP_PRIVATE)
                borrowing.private[loan] = None
        except OSError:  # too many mappings or descriptors: a copy of its own
            copied = place.read(nbytes)
            borrowing.returned.append((loan, self._n_forks, KEPT))
            return memoryview(copied)
        block = exporter(mapped, nbytes)
        weakref.finalize(block, borrowing.give_back, loan, self._n_forks, nbytes).atexit = False
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


def _after_fork_in_child() -> None:
    """Make shared mappings private: what the child writes is nobody else's business."""
    places = [place for place in list(_mapped) if place.mapped is not None and place.fd >= 0]
    if places:
        from .raw import make_private

        for place in places:
            make_private(place.mapped, place.fd, place.nbytes)


def _before_fork() -> None:
    global _n_forks
    _n_forks += 1


if sys.platform != "win32":
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
