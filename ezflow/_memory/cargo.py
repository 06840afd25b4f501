"""What travels beside a message: its large buffers, and the message itself if it is large."""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    import pickle
    from collections.abc import Sequence
    from typing import Final, TypeAlias

    from .segments import Lease

    Part: TypeAlias = "Span | bytes"

ASIDE_FROM: Final = 1 << 16
"""Bytes from which on a buffer travels beside its message.

Smaller: more messages pay for a loan, 10 to 20 microseconds; larger: more bytes go through the socket, at about
1 GB/s (`python -m tests.bench.scaling` shows both).
"""

STREAM_FROM: Final = 1 << 18
"""Bytes from which on the message itself is put into a segment."""

SPARE_SECONDS: Final = 5.0
"""Seconds without use after which memory is given back to the system (chosen)."""

TELL_FROM: Final = 1 << 20
"""Bytes, in all, from which on whoever has lent memory is told at once that it is free again; of less it hears with
the next message (chosen)."""

_WANT: Final = (OSError, ImportError)
"""What says that there is no memory or no descriptor, also none to import with, or a limit on file sizes."""

ENTRY: Final = Struct("=QQQQQB7x")
"""One buffer: number of the loan, number of the segment, its size, offset and size of the buffer, `how`."""

COUNT: Final = Struct("=I")

INLINE: Final = 0
"""The bytes follow behind the table."""
EXCLUSIVE: Final = 1
"""The receiver may write to the memory itself."""
PRIVATE: Final = 2
"""Others read it, too: the receiver writes to copies of its own."""
FOREIGN: Final = 4
"""A flag: the segment comes only this once, so its descriptor is not kept."""


class Span:
    """A part of a segment that is held by a lease."""

    __slots__ = ("lease", "nbytes", "offset")

    def __init__(self, lease: Lease, offset: int, nbytes: int) -> None:
        self.lease = lease
        self.offset = offset
        self.nbytes = nbytes


MOST_APART: Final = 8
"""Buffers of one message that get a segment of their own; each is a descriptor or two on both sides."""


def stow(
    buffers: Sequence[pickle.PickleBuffer],
    stream: Sequence[bytes] = (),
    *,
    shared: bool = False,
    recognise: bool = False,
) -> list[Part]:
    """Put buffers, and behind them the pieces of a stream, into segments.

    The largest buffers have a segment each; all others travel in one.  Where there is no memory or no descriptor for a
    segment, the bytes themselves are given.

    Parameters
    ----------
    buffers : sequence of PickleBuffer
        Contiguous ones.
    stream : sequence of bytes
        Goes behind them as one part, if there is any.
    shared : bool
        Whether several receivers may look at all of it, so that it is nobody's to write to.
    recognise : bool
        Whether a large buffer may have been sent before, and may be sent again.
    """
    raws = [buffer.raw() for buffer in buffers]
    try:
        from .segments import APART_FROM, aligned, arena_now
    except _WANT:
        return [*(raw.tobytes() for raw in raws), *([b"".join(stream)] if stream else [])]

    arena = arena_now()
    parts: list[Part] = [b""] * len(raws)
    apart = sorted(
        (at for at, raw in enumerate(raws) if raw.nbytes >= APART_FROM), key=lambda at: -raws[at].nbytes
    )
    for at in apart[:MOST_APART]:
        raw = raws[at]
        try:
            lease = arena.lend_again(raw) if recognise else arena.lend_filled(raw)
            lease.is_shared |= shared
            parts[at] = Span(lease, 0, raw.nbytes)
        except _WANT:
            parts[at] = raw.tobytes()
    together = sorted(set(range(len(raws))).difference(apart[:MOST_APART]))
    n_stream = sum(map(len, stream))
    total = sum(aligned(raws[at].nbytes) for at in together) + n_stream
    if not total:
        return parts
    try:
        lease = arena.lend(total)
        lease.is_shared = shared
        offset = 0
        for at in together:
            raw = raws[at]
            lease.segment.fill([raw], offset)
            parts[at] = Span(lease, offset, raw.nbytes)
            offset += aligned(raw.nbytes)
        if stream:
            lease.segment.fill(stream, offset)
            parts.append(Span(lease, offset, n_stream))
    except _WANT:
        for at in together:
            parts[at] = raws[at].tobytes()
        if stream:
            parts.append(b"".join(stream))
    return parts


def is_large(buffer: pickle.PickleBuffer) -> bool:
    """Tell whether a buffer is better sent beside its message."""
    try:
        return buffer.raw().nbytes >= ASIDE_FROM
    except BufferError:  # not contiguous
        return False
