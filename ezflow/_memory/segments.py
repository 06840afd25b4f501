"""Segments of memory without a name, filled by one process and lent to others; recycled, because fresh pages are slow."""

from __future__ import annotations

import mmap
import os
import sys
import weakref
from collections import deque
from contextlib import suppress
from itertools import count
from time import monotonic

from .cargo import TELL_FROM

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Final, TypeAlias

    from .cargo import Part

    Piece: TypeAlias = "bytes | memoryview | tuple[Any, int, int]"

SMALLEST: Final = 1 << 16
"""Bytes of the smallest segment."""

ALIGNMENT: Final = 64
"""Bytes to which each buffer in a segment is aligned: a cache line, and what vector instructions want."""

KEPT_NBYTES: Final = 1 << 28
"""Bytes of free segments that are kept for the next values.

Larger: more programs work in warm memory (17 GB/s here, against 0.3 to 1.2 for fresh pages); smaller: less memory
held for nothing, until `Arena.trim` gives it back.
"""

APART_FROM: Final = 1 << 20
"""Bytes from which on a buffer gets a segment of its own, and is recognised when it is sent again.

Smaller: less is held by a thousand calls that wait with the same argument; larger: fewer descriptors.
"""

KEPT_FROM: Final = 1 << 27
"""Bytes from which on a segment is kept for the next call with the same buffer, although no call holds it.

Smaller: fewer copies; larger: the receiver more often gets memory of its own, into which it may write without a page
fault for each 4 KiB, and which is warm.
"""

RECENT: Final = 4
"""Shared segments that are kept for the next call although no call holds them; fewer if they are large."""


def size_class(nbytes: int) -> int:
    """Round up to a size of which there are four in each octave: at most a quarter is wasted."""
    if nbytes <= SMALLEST:
        return SMALLEST
    step = 1 << max((nbytes - 1).bit_length() - 3, 0)
    return -(-nbytes // step) * step


def aligned(nbytes: int) -> int:
    """Round up to the alignment of buffers."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def sample(raw: memoryview) -> bytes:
    """Give some 64 bytes of a buffer: if they differ, the content does."""
    return raw[:: max(1, raw.nbytes // 64)].tobytes()


class Segment:
    """Anonymous memory that can be handed to another process as a descriptor."""

    __slots__ = ("fd", "filled", "id", "nbytes", "spoiled", "view")

    def __init__(self, number: int, fd: int, nbytes: int) -> None:
        self.id = number
        self.fd = fd  # -1 once it was closed
        self.nbytes = nbytes
        self.filled = 0  # bytes from the start whose pages exist
        self.spoiled = False  # to be filled no more
        self.view: mmap.mmap | None = None  # of the process that fills it, from the second time on

    def fill(self, parts: Sequence[memoryview | bytes], offset: int = 0) -> None:
        """Write parts one after another; OSError if there is no more memory.  Other threads go on meanwhile."""
        for part in parts:
            nbytes = len(part)
            if nbytes >= _BY_COPY and offset + nbytes <= self.filled:
                from .raw import copy

                if self.view is None:
                    self.view = mmap.mmap(self.fd, self.nbytes)
                copy(self.view, offset, part)
                offset += nbytes
                continue
            with memoryview(part) as view:
                done = 0
                while done < nbytes:
                    done += os.pwrite(self.fd, view[done:], offset + done)
            offset += nbytes
            self.filled = max(self.filled, offset)

    def read(self, offset: int, nbytes: int) -> bytearray:
        """Copy a part."""
        return read_memory(self.fd, offset, nbytes)

    def close(self) -> None:
        """Give the memory back, as far as nobody else maps it."""
        fd, self.fd = self.fd, -1
        view, self.view = self.view, None
        if view is not None:
            try:
                view.close()
            except BufferError:
                pass  # a copy is under way in another thread
        if fd >= 0:
            os.close(fd)


def read_memory(fd: int, offset: int, nbytes: int) -> bytearray:
    """Copy a part of a segment."""
    data = bytearray(nbytes)
    with memoryview(data) as view:
        done = 0
        while done < nbytes:
            done += os.preadv(fd, [view[done : done + _LONGEST]], offset + done)
    return data


_LONGEST: Final = 1 << 30
"""Bytes of one system call; twice as many are more than it takes."""

_BY_COPY: Final = 1 << 17
"""Bytes from which on a copy into a mapping is faster than a system call."""


class Lease:
    """The right to have the content of a segment stay as it is; shared by counting references."""

    __slots__ = ("__weakref__", "_arena", "is_shared", "sample", "segment")

    is_foreign = False
    """Whether the segment is another process's, handed on."""

    def __init__(self, arena: Arena, segment: Segment) -> None:
        self._arena = arena
        self.segment = segment
        self.is_shared = False  # several receivers may look at it, so none may write to it
        self.sample = b""  # of its content, if somebody may come with it again

    def spoil(self) -> None:
        """Say that a process may look at the memory of which nothing is known: it is never filled again."""
        self.segment.spoiled = True

    def __del__(self) -> None:
        self._arena.take_back(self.segment)


class Arena:
    """The segments of one process.

    Any thread may lend; what finalisers give back lies in `back` until somebody lends again.
    """

    def __init__(self) -> None:
        self.back: deque[Segment] = deque()
        self._free: dict[int, list[Segment]] = {}
        self._numbers = count(1)
        self._sent: weakref.WeakValueDictionary[tuple[int, int], Lease] = weakref.WeakValueDictionary()
        self._recent: deque[Lease] = deque(maxlen=RECENT)
        self._n_back = 0  # bytes that came back since somebody was told
        self.used = 0.0  # when something was lent last
        self._listeners: tuple[Callable[[], None], ...] = ()
        self.n_made = 0

    def listen(self, tell: Callable[[], None]) -> None:
        """Have `tell` called, from finalisers, when large memory comes back."""
        self._listeners = (*self._listeners, tell)

    def forget(self, tell: Callable[[], None]) -> None:
        """Call it no more."""
        self._listeners = tuple(each for each in self._listeners if each != tell)

    def take_back(self, segment: Segment) -> None:
        """Take a segment that nobody holds; a finaliser calls it."""
        if not self._listeners:  # nobody would look
            self._close(segment)
            return
        self.back.append(segment)
        self._n_back += segment.nbytes
        if self._n_back >= TELL_FROM:
            self._n_back = 0
            for tell in self._listeners:
                tell()

    def lend(self, nbytes: int) -> Lease:
        """Give memory of at least so many bytes; OSError if there is none."""
        self.used = monotonic()
        self.collect()
        size = size_class(nbytes)
        segment = None
        with suppress(KeyError, IndexError):  # another thread may take the last one
            segment = self._free[size].pop()
        return Lease(self, segment or self._make(size))

    def lend_filled(self, raw: memoryview) -> Lease:
        """Give memory with the content of a buffer."""
        lease = self.lend(raw.nbytes)
        lease.segment.fill([raw])
        return lease

    def lend_again(self, raw: memoryview) -> Lease:
        """Give memory with the content of a buffer: what others hold already, if the buffer is still as it was then.

        The first receiver may write to its memory, so the second one gets another, which it shares with all that
        follow.
        """
        from .raw import address_of, are_equal

        key = address_of(raw), raw.nbytes
        before = self._sent.get(key)
        is_shared = raw.nbytes >= KEPT_FROM
        mark = b"" if is_shared else sample(raw)
        if before is not None and before.segment.fd >= 0:
            self.used = monotonic()
            segment = before.segment
            if not before.is_shared:
                is_shared |= before.sample == mark
            else:
                if segment.view is None:
                    segment.view = mmap.mmap(segment.fd, segment.nbytes)
                if are_equal(segment.view, raw):
                    self._remember(before)
                    return before
        lease = self.lend_filled(raw)
        lease.is_shared = is_shared
        lease.sample = mark
        self._sent[key] = lease
        self._remember(lease)
        return lease

    def _remember(self, lease: Lease) -> None:
        """Keep a lease for the next call, as long as there are few such."""
        recent = self._recent
        if lease.segment.nbytes < KEPT_FROM or (recent and recent[-1] is lease):
            return
        recent.append(lease)
        while len(recent) > 1 and sum(each.segment.nbytes for each in list(recent)) > KEPT_NBYTES:
            try:
                recent.popleft()
            except IndexError:
                return  # another thread was faster

    def foreign(self, fd: int, nbytes: int) -> Segment:
        """Number a segment of another process."""
        return Segment(next(self._numbers), fd, nbytes)

    def _make(self, size: int) -> Segment:
        fd = _open_memory()
        try:
            os.ftruncate(fd, size)
        except BaseException:
            os.close(fd)
            raise
        self.n_made += 1
        segment = Segment(next(self._numbers), fd, size)
        _open_segments[id(segment)] = segment
        return segment

    def collect(self) -> None:
        """Take back what finalisers have left, as much as is to be kept."""
        if not self.back:
            return
        kept = self.n_free_bytes
        while True:
            try:
                segment = self.back.popleft()
            except IndexError:
                return
            kept += segment.nbytes
            if segment.spoiled or kept > KEPT_NBYTES:
                kept -= segment.nbytes
                self._close(segment)
            else:
                self._free.setdefault(segment.nbytes, []).append(segment)

    @property
    def n_free_bytes(self) -> int:
        """Bytes of memory that nobody holds."""
        return sum(size * len(segments) for size, segments in list(self._free.items()))

    def has_spare(self) -> bool:
        """Tell whether `trim` would give something back."""
        return bool(self.back or self._recent or any(self._free.values()))

    def trim(self) -> None:
        """Give back to the system all that nobody holds."""
        self._recent.clear()
        self.collect()
        for segments in list(self._free.values()):
            while segments:
                self._close(segments.pop())

    def _close(self, segment: Segment) -> None:
        _open_segments.pop(id(segment), None)
        segment.close()


class ForeignLease(Lease):
    """A lease on what another process has lent to this one, to be handed on.

    `loan` ends with it; the descriptor is to live as long.
    """

    __slots__ = ("_loan",)

    is_foreign = True

    def __init__(self, fd: int, nbytes: int, loan: Any) -> None:
        arena = arena_now()
        super().__init__(arena, arena.foreign(fd, nbytes))
        self.is_shared = True
        self._loan = loan

    def spoil(self) -> None:
        """Have whoever made the segment never fill it again; the end of the loan tells it."""
        self._loan.spoil()

    def __del__(self) -> None:
        pass  # the loan ends by itself


def views_of(pieces: Sequence[Piece], block_of: Callable[[Any, int], memoryview]) -> list[memoryview]:
    """Give a view of each piece: of bytes, a copy to write to; of a part of a block, the place in it.

    `block_of` opens a block, once, as far as its pieces reach.
    """
    ends: dict[Any, int] = {}
    for piece in pieces:
        if type(piece) is tuple:
            block, offset, nbytes = piece
            ends[block] = max(ends.get(block, 0), offset + nbytes)
    blocks = {block: block_of(block, end) for block, end in ends.items()}
    views: list[memoryview] = []
    for piece in pieces:
        if type(piece) is tuple:
            block, offset, nbytes = piece
            views.append(blocks[block][offset : offset + nbytes])
        else:
            views.append(memoryview(bytearray(piece)))
    return views


def open_here(parts: Sequence[Part]) -> list[memoryview]:
    """Map what leases hold into the process that holds them; writing to it changes nobody else's."""
    return views_of(
        [part if isinstance(part, bytes) else (part.lease, part.offset, part.nbytes) for part in parts],
        _open_lease,
    )


def _open_lease(lease: Lease, nbytes: int) -> memoryview:
    from .raw import exporter

    segment = lease.segment
    try:
        block = exporter(mmap.mmap(segment.fd, segment.nbytes, flags=mmap.MAP_PRIVATE), nbytes)
    except OSError:  # too many mappings or descriptors
        return memoryview(segment.read(0, nbytes))
    weakref.finalize(block, _let_go, lease, n_forks()).atexit = False
    return memoryview(block).cast("B")


def _let_go(lease: Lease, forks: int) -> None:
    """Hold a lease until now.  A child of this process that was forked meanwhile may look at the memory for ever."""
    if forks != n_forks():
        lease.spoil()


_n_forks = 0


def n_forks() -> int:
    """Count the forks of this process."""
    return _n_forks


def _before_fork() -> None:
    global _n_forks
    _n_forks += 1


def _open_memory() -> int:
    """Open memory without a name that ends with its last descriptor and mapping."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("ezflow", os.MFD_CLOEXEC)
    import _posixshmem  # type: ignore[import-not-found,unused-ignore]  # what multiprocessing.shared_memory stands on
    import secrets

    name = f"/ezflow-{os.getpid()}-{secrets.token_hex(4)}"
    fd: int = _posixshmem.shm_open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    _posixshmem.shm_unlink(name)  # never seen by anybody else: nothing to leak, no tracker
    return fd


_open_segments: dict[int, Segment] = {}

arena = Arena()
"""That of this process."""


def _after_fork_in_child() -> None:
    """Begin anew: the segments are the parent's, who fills them as it likes."""
    global arena
    for segment in list(_open_segments.values()):
        if segment.fd >= 0:
            os.close(segment.fd)
            segment.fd = -1
        segment.view = None
    _open_segments.clear()
    arena.back.clear()
    arena = Arena()


if sys.platform != "win32":
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)


def arena_now() -> Arena:
    """Give the arena of this process; a fork has another than its parent."""
    return arena
