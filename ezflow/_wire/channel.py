"""The parent's two ends of a worker's socket: frames in, frames out, never blocking."""

from __future__ import annotations

import socket as _socket
from collections import deque

from .messages import HEADER

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

READ_SIZE: Final = 1 << 16
"""Bytes asked for by one read; larger reads gained nothing for small results.

They go into a buffer that is kept: `recv` makes one of the size asked for, and above 128 KiB the C library maps and
unmaps its pages each time, which was a third of a round trip.
"""

JOIN_BELOW: Final = 1 << 16
"""Bytes below which parts are joined to one write; above, copying costs more than `sendmsg`."""

MAX_PARTS: Final = 512
"""Parts of one `sendmsg`; the system's own limit (IOV_MAX) is 1024."""

Frame = tuple[int, int, int, int, "bytes | bytearray"]
"""Number of the call, kind, flags, microseconds, payload."""


class FrameReader:
    """Cut what arrives on a non-blocking socket into frames."""

    __slots__ = ("_big", "_got", "_head", "_rest", "_scratch", "eof", "nbytes")

    def __init__(self) -> None:
        self._scratch = memoryview(bytearray(READ_SIZE))
        self._rest = b""  # the beginning of a frame
        self._head: tuple[int, int, int, int] | None = None  # of the large frame being received
        self._big = bytearray()
        self._got = 0
        self.eof = False
        self.nbytes = 0  # that have arrived

    def read(self, sock: _socket.socket) -> list[Frame]:
        """Read once, give the frames that are complete; `eof` tells the end of the stream.

        A worker that dies with unread input gives ECONNRESET instead of an end
        of file, after all that it had sent: both end the stream.
        """
        if self._head is not None:
            return self._read_big(sock)
        try:
            got = sock.recv_into(self._scratch)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError:
            self.eof = True
            return []
        if not got:
            self.eof = True
            return []
        self.nbytes += got
        data = self._scratch[:got].tobytes()
        if self._rest:
            data = self._rest + data
        frames: list[Frame] = []
        size = HEADER.size
        unpack = HEADER.unpack_from
        pos, end = 0, len(data)
        while end - pos >= size:
            n, call, kind, flags, micros = unpack(data, pos)
            start = pos + size
            if end - start < n:
                if n >= READ_SIZE:
                    self._head = call, kind, flags, micros
                    self._big = bytearray(n)
                    self._got = end - start
                    self._big[: self._got] = data[start:]
                    pos = end
                break
            pos = start + n
            frames.append((call, kind, flags, micros, data[start:pos]))
        self._rest = data[pos:] if pos < end else b""
        return frames

    def _read_big(self, sock: _socket.socket) -> list[Frame]:
        """Receive the rest of a large frame into its own buffer, copying nothing twice."""
        with memoryview(self._big) as view:
            while self._got < len(view):
                try:
                    n = sock.recv_into(view[self._got :])
                except (BlockingIOError, InterruptedError):
                    return []
                except OSError:
                    n = 0
                if n == 0:
                    self.eof = True
                    return []
                self._got += n
                self.nbytes += n
        assert self._head is not None
        frame = (*self._head, self._big)
        self._head = None
        self._big = bytearray()
        return [frame]


class FrameWriter:
    """Write frames to a non-blocking socket; keep what does not fit."""

    __slots__ = ("_parts", "dead", "nbytes")

    def __init__(self) -> None:
        self._parts: deque[memoryview] = deque()
        self.dead = False  # the worker reads no more; its death will be noticed elsewhere
        self.nbytes = 0  # that were to be written

    def __bool__(self) -> bool:
        """Tell whether bytes still wait to be written."""
        return bool(self._parts)

    def write(self, sock: _socket.socket, parts: Sequence[bytes], nbytes: int) -> bool:
        """Write parts of `nbytes` in all; say whether everything is out."""
        if self.dead:
            return True
        self.nbytes += nbytes
        if self._parts:
            self._parts.extend(map(memoryview, parts))
            return False
        if nbytes > JOIN_BELOW:
            self._parts.extend(map(memoryview, parts))
            return self.flush(sock)
        data = b"".join(parts)
        try:
            n = sock.send(data)
        except (BlockingIOError, InterruptedError):
            n = 0
        except OSError:
            self.dead = True
            return True
        if n == nbytes:
            return True
        self._parts.append(memoryview(data)[n:])
        return False

    def flush(self, sock: _socket.socket) -> bool:
        """Go on writing; say whether everything is out."""
        parts = self._parts
        while parts:
            batch = [parts[i] for i in range(min(len(parts), MAX_PARTS))]
            try:
                n = sock.sendmsg(batch)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:
                self.dead = True
                parts.clear()
                return True
            while parts and n >= len(parts[0]):
                n -= len(parts.popleft())
            if n:
                parts[0] = parts[0][n:]
        return True
