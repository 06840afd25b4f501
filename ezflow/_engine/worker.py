"""The worker: one loop on the main thread of its own process.

It owns its end of the socket, the reading end of its claims pipe and of its
control pipe, and shares nothing else with anybody.

The order of one call::

    frame read → claim → [ unpickle → run → pickle ] → answer written at once
                          └── may be interrupted ──┘

A call may be taken back by the parent until its number has been read from the
claims pipe.  Numbers leave the pipe in the order of the calls; a number that is
not that of the call in hand means that the calls before it were taken back.
Definitions are noted in stream order, also between calls that are skipped,
because the parent counts them as received.

Kept small: every worker imports this module before its first call.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
from collections import deque
from select import POLLIN, poll
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from .._interrupt import CallInterrupted
from .._tracebacks import pack_exception
from .._wire.messages import (
    CALL,
    DEFINE,
    ERROR,
    HEADER,
    HEAVY,
    INIT_FAILED,
    MAX_MICROS,
    NO_MORE,
    READY,
    TOKEN,
    UNREADABLE,
    UNSENDABLE,
    VALUE,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from .._wire.workspace import Workspace
    from .child import WorkerEnds

READ_SIZE: Final = 1 << 18
"""Bytes asked for by one read."""

JOIN_BELOW: Final = 1 << 16
"""Bytes below which header and payload are joined to one write."""

INTERRUPT_SIGNAL: Final = signal.SIGRTMIN + 7 if hasattr(signal, "SIGRTMIN") else signal.SIGINT
"""Asks a worker to look into its control pipe.  Chosen from the middle of the
real-time signals: the first few belong to the C library, users like the ends."""


class Intake:
    """What the parent sent, in order, and the claims that go with it."""

    def __init__(self, sock: socket.socket, claims: int, define: Callable[[int, bytes], None]) -> None:
        os.set_blocking(claims, False)
        self._sock = sock
        self._claims = claims
        self._define = define
        self._queue: deque[tuple[int, int, bytes]] = deque()
        self._rest = bytearray()
        self._claimed: int | None = None  # number that was read and whose call has not been met yet
        self._poll = poll()
        self._poll.register(claims, POLLIN)

    def next_call(self) -> tuple[int, bytes] | None:
        """Wait for the next call that this worker may start; None when it is to exit."""
        queue = self._queue
        while True:
            while not queue:
                self._fill()
            number, kind, payload = queue.popleft()
            if kind == CALL:
                if self._claimed is None:
                    self._claimed = self._claim()
                if self._claimed == number:
                    self._claimed = None
                    return number, payload
                if self._claimed == NO_MORE:
                    return None
            elif kind == DEFINE:
                self._define(number, payload)
            else:
                return None

    def _claim(self) -> int:
        """Read the number of the next call to start, or `NO_MORE`."""
        while True:
            try:
                token = os.read(self._claims, TOKEN.size)
            except BlockingIOError:
                self._poll.poll()
                continue
            if not token:
                os._exit(0)  # the parent is gone
            number: int = TOKEN.unpack(token)[0]
            return number

    def _fill(self) -> None:
        """Read from the parent, at least once, and queue the frames that are complete."""
        rest = self._rest
        data = self._sock.recv(READ_SIZE)
        if not data:
            os._exit(0)  # the parent is gone
        if rest:
            rest += data
            size = HEADER.size
            if len(rest) >= size:
                missing = HEADER.unpack_from(rest)[0] + size - len(rest)
                if missing > READ_SIZE:
                    self._read_big(rest, missing)
            data = bytes(rest)
            rest.clear()
        pos, end = 0, len(data)
        size = HEADER.size
        queue = self._queue
        while end - pos >= size:
            n, number, kind, _, _ = HEADER.unpack_from(data, pos)
            start = pos + size
            if end - start < n:
                break
            pos = start + n
            queue.append((number, kind, data[start:pos]))
        if pos < end:
            rest += data[pos:]

    def _read_big(self, rest: bytearray, missing: int) -> None:
        """Receive the `missing` bytes of a large frame without copying it again and again."""
        have = len(rest)
        rest.extend(bytes(missing))
        with memoryview(rest) as view:
            while missing:
                n = self._sock.recv_into(view[have:])
                if not n:
                    os._exit(0)
                have += n
                missing -= n


class Window:
    """The span of instructions in which the running call may be interrupted.

    Open from unpickling to pickling, never during the worker's own bookkeeping.
    The handler names its target, closes the window before it raises, and so
    raises once and never into another call.
    """

    def __init__(self, control: int) -> None:
        os.set_blocking(control, False)
        self._control = control
        self.call = 0
        self._early = 0  # asked to end before its window was open

    def on_signal(self, signum: int, frame: FrameType | None) -> None:
        """Raise in the running call if it is the one that is to end."""
        try:
            tokens = os.read(self._control, 1 << 12)
        except OSError:
            return
        for (call,) in TOKEN.iter_unpack(tokens[: len(tokens) // TOKEN.size * TOKEN.size]):
            self._early = call
        self.strike()

    def strike(self) -> None:
        """Raise if the running call was asked to end; also what `on_signal` may have come too early for."""
        if self.call and self.call == self._early:
            self.call = 0
            raise CallInterrupted("this call was cancelled or ran longer than its limit")


def main(ends: WorkerEnds, config: bytes, inherited: Any) -> None:
    """Serve calls until told to exit.

    `config` holds what `executor` packed: settings, definitions and the
    initializer; with start method fork the initializer is `inherited` instead.
    """
    from .._wire.workspace import Workspace

    settings = pickle.loads(config)
    window = Window(ends.control_read)
    signal.signal(INTERRUPT_SIGNAL, window.on_signal)
    space = Workspace(forked=settings["forked"])
    loop = _Loop(ends.sock, ends.token_read, window, space, settings["max_rss"])
    if not loop.initialise(settings, inherited):
        return
    loop.run()


class _Loop:
    """Take a call, run it, answer; again."""

    def __init__(
        self, sock: socket.socket, claims: int, window: Window, space: Workspace, max_rss: int | None
    ) -> None:
        sock.setblocking(True)
        self._sock = sock
        self._window = window
        self._space = space
        self._max_rss = max_rss
        self._intake = Intake(sock, claims, space.define)
        self._pid = os.getpid()

    def initialise(self, settings: dict[str, Any], inherited: Any) -> bool:
        """Run the initializer; say whether the worker may go on."""
        try:
            self._space.prepare()
            if settings["forked"]:
                initializer, initargs = inherited
                if initializer is not None:
                    initializer(*initargs)
            elif "initializer" in settings:
                for key, data in settings["definitions"]:
                    self._space.define(key, data)
                initializer, initargs, kwargs = self._space.unpack_call(settings["initializer"])
                initializer(*initargs, **kwargs)
            initializer = initargs = inherited = kwargs = None  # type: ignore[assignment]  # freed
        except BaseException as error:
            self._leave_if_forked()
            self._log_failure(error)
            self._send(0, INIT_FAILED, 0, 0, self._pack_error(error))
            return False
        self._leave_if_forked()
        self._send(0, READY, 0, 0, b"")
        return True

    def _log_failure(self, error: BaseException) -> None:
        """Log the error of the initializer, as the standard pool does."""
        import logging

        logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=error)

    def run(self) -> None:
        """Serve until the parent says exit or is gone."""
        next_call = self._intake.next_call
        while True:
            try:
                item = next_call()
            except KeyboardInterrupt:  # somebody sent it to an idle worker: end without a word
                return
            if item is None:
                return
            call, payload = item
            item = None
            start = monotonic()
            kind, answer = self._execute(call, payload)
            payload = b""
            flags = 0
            if self._max_rss is not None and _resident_bytes() > self._max_rss:
                flags = HEAVY
            self._send(call, kind, flags, min(int((monotonic() - start) * 1e6), MAX_MICROS), answer)
            answer = b""

    def _execute(self, call: int, payload: bytes) -> tuple[int, bytes]:
        """Run one call; give the kind of answer and its bytes.

        Two nested blocks, because an interrupt may strike while the error of
        the call is being packed.  In the outer handler the window is closed: it
        is only reached when the interrupt has fired.
        """
        window = self._window
        kind = UNREADABLE
        try:
            try:
                window.call = call
                window.strike()
                fn, args, kwargs = self._space.unpack_call(payload)
                kind = ERROR
                value = fn(*args, **kwargs)
                self._leave_if_forked()
                kind = UNSENDABLE
                fn = args = kwargs = None  # type: ignore[assignment]  # freed before the worker idles
                answer = self._space.pack_value(value)
                window.call = 0
                return VALUE, answer
            except BaseException as error:
                self._leave_if_forked()
                fn = args = kwargs = value = None  # type: ignore[assignment]
                if isinstance(error, CallInterrupted):
                    kind = ERROR
                    _cut_own_frames(error)
                elif kind == UNSENDABLE and not isinstance(error, Exception):
                    kind = ERROR  # sys.exit while pickling is the call's own end, as in the standard pool
                answer = self._pack_error(error)
                window.call = 0
                return kind, answer
        except BaseException as error:
            error.__context__ = None  # the error that was being packed: it would be packed again
            _cut_own_frames(error)
            return ERROR, self._pack_error(error)

    def _pack_error(self, error: BaseException) -> bytes:
        return pack_exception(error, self._space.pack_value)

    def _leave_if_forked(self) -> None:
        """End a process that a call forked and that came back here: the socket is not its own."""
        if os.getpid() != self._pid:
            os._exit(0)

    def _send(self, call: int, kind: int, flags: int, micros: int, payload: bytes) -> None:
        self._leave_if_forked()
        head = HEADER.pack(len(payload), call, kind, flags, micros)
        try:
            if len(payload) < JOIN_BELOW:
                self._sock.sendall(head + payload)
            else:
                self._sock.sendall(head)
                self._sock.sendall(payload)
        except OSError:
            os._exit(1)  # the parent is gone, or the call has closed our socket


def _cut_own_frames(error: BaseException) -> None:
    """Let the traceback of an interrupt end where the call was, not in the handler that raised it."""
    if not isinstance(error, CallInterrupted):
        return
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        if last.tb_next.tb_frame.f_code in _STRIKING:
            last.tb_next = None
            return
        last = last.tb_next


def _resident_bytes() -> int:
    """Give the resident memory of this process in bytes; without ``/proc``, the most it ever was."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # KiB elsewhere


_STRIKING: Final = frozenset({Window.on_signal.__code__, Window.strike.__code__})
