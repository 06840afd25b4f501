"""One worker as the dispatcher sees it: process, both directions of its socket, claims, what it knows."""

from __future__ import annotations

import os

from .._wire.channel import FrameReader, FrameWriter
from .._wire.messages import CALL, CREDIT, DEFINE, EXIT, GRANT, HEADER, INTERRUPT_SIGNAL, NO_MORE, TOKEN
from .holdings import Holdings
from .poller import IN, OUT
from .stacks import Inquiry, StackPipe

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .._call import Call
    from .child import Child
    from .echo import Voice
    from .holdings import Spare


class Link:
    """The dispatcher's end of the talk with one worker; the dispatcher's alone."""

    __slots__ = (
        "child",
        "holdings",
        "inquiries",
        "is_leaving",
        "is_ready",
        "known",
        "last_look",
        "looked_for",
        "reader",
        "stacks",
        "voice",
        "was_interrupted",
        "watching_out",
        "worker",
        "writer",
    )

    def __init__(self, worker: int, child: Child, spare: Spare, ring: Callable[[], None]) -> None:
        self.worker = worker
        self.child = child
        self.holdings = Holdings(child.desk, spare, ring)
        self.reader = FrameReader()
        self.writer = FrameWriter()
        self.known: dict[int, int] = {}  # definition key → version sent last
        self.watching_out = False
        self.voice: Voice | None = None  # where the pool forwards output
        self.is_ready = False
        self.is_leaving = False
        self.was_interrupted = False
        self.stacks = StackPipe(child)
        self.inquiries: list[Inquiry] = []  # that wait for its stacks
        self.looked_for: int | None = None  # call for whose report it was asked
        self.last_look = b""  # what it said then

    # What is said to a worker.  Each tells whether everything is out; if not, `flush` goes on when there is room.

    def send(self, calls: Iterable[Call]) -> bool:
        """Send calls, before them the definitions that the worker lacks."""
        known = self.known
        parts: list[bytes] = []
        tokens: list[bytes] = []
        holdings = self.holdings
        if holdings.has_word:
            parts.append(holdings.word())
        for call in calls:
            for definition in call.needs:
                if known.get(definition.key) != definition.version:
                    known[definition.key] = definition.version
                    parts.append(HEADER.pack(len(definition.data), definition.key, DEFINE, 0, 0))
                    parts.append(definition.data)
            if call.beside:
                parts.append(holdings.send(call))
            payload = call.payload
            attempt = call.attempt
            if attempt > 1:
                call.interrupted = False
            parts.append(HEADER.pack(len(payload), call.id, CALL, min(attempt, 255), call.index))
            parts.append(payload)
            tokens.append(TOKEN.pack(call.id))
        # Before the calls: a worker that has a call in hand finds its number.
        # At most MAX_AHEAD numbers are in the pipe, which holds far more.
        os.write(self.child.token_write, b"".join(tokens))
        # As `_write`, for a call less on the way of every call.
        return self.writer.write(self.child.sock, parts, sum(map(len, parts)))

    def grant(self, call: int, n: int) -> bool:
        """Let a stream go on by so many items."""
        payload = GRANT.pack(n)
        return self._write([HEADER.pack(len(payload), call, CREDIT, 0, 0), payload])

    def dismiss(self) -> bool:
        """Tell it to exit, whether it waits for bytes or, with a call that was taken back, for a claim."""
        os.write(self.child.token_write, TOKEN.pack(NO_MORE))
        return self._write([HEADER.pack(0, NO_MORE, EXIT, 0, 0)])

    def tell_of_memory(self, *, spare: bool = False) -> bool:
        """Tell it what it gets back and what it is to forget."""
        words = self.holdings.word() + (self.holdings.spare() if spare else b"")
        return not words or self._write([words])

    def _write(self, parts: list[bytes]) -> bool:
        return self.writer.write(self.child.sock, parts, sum(map(len, parts)))

    def flush(self) -> bool:
        """Go on writing."""
        return self.writer.flush(self.child.sock)

    # Claims: what the parent has read from the pipe, no worker can claim.

    def take_claims(self) -> list[int]:
        """Empty the claims pipe: give the calls that it has not begun."""
        data = b""
        while True:
            try:
                more = os.read(self.child.token_read, 1 << 16)
            except BlockingIOError:
                break
            if not more:
                break
            data += more
        return [call for (call,) in TOKEN.iter_unpack(data)]

    def put_back_claims(self, calls: Iterable[int]) -> None:
        """Let it begin with these after all."""
        os.write(self.child.token_write, b"".join(map(TOKEN.pack, calls)))

    def interrupt(self, call: int) -> None:
        """Ask the running call to end."""
        self.was_interrupted = True
        try:
            os.write(self.child.control_write, TOKEN.pack(call))
            self.child.signal(INTERRUPT_SIGNAL)
        except OSError:
            pass  # it is gone; its death is on the way

    @property
    def n_sent(self) -> int:
        """Bytes that went to it, through the socket and in shared memory."""
        return self.writer.nbytes + self.holdings.n_lent

    @property
    def n_received(self) -> int:
        """Bytes that came from it."""
        return self.reader.nbytes + self.holdings.n_borrowed

    @property
    def events(self) -> int:
        """What the dispatcher waits for on its socket."""
        heard = 0 if self.voice is not None and self.voice.is_paused else IN
        return heard | OUT if self.watching_out else heard
