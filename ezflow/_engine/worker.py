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

import faulthandler
import os
import pickle
import signal
import socket
import sys
from _thread import allocate_lock, get_ident
from collections import deque
from contextvars import Context
from select import POLLIN, poll
from time import monotonic

from .._interrupt import CallInterrupted
from .._memory.cargo import SPARE_SECONDS
from .._wire.messages import (
    AGAIN,
    CALL,
    CREDIT,
    DEFINE,
    ERROR,
    EXIT,
    GRANT,
    HEADER,
    HEAVY,
    INIT_FAILED,
    INTERRUPT_SIGNAL,
    ITEM,
    KEPT,
    LOG,
    MAX_MICROS,
    NO_MORE,
    READY,
    REPORT,
    SHARED,
    STACKS_SIGNAL,
    TOKEN,
    UNREADABLE,
    UNSENDABLE,
    VALUE,
)
from .belongings import Belongings, put_aside
from .current import running
from .finish import UNFINISHED, abandon, finish
from .streaming import Streamer  # now, so that a stream opens no file

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType
    from typing import Any, Final

    from .._memory.cargo import Part
    from .._wire.workspace import Workspace
    from .child import WorkerEnds
    from .outlet import Levels, Outlet

READ_SIZE: Final = 1 << 16
"""Bytes asked for by one read, into a buffer that is kept (see `channel`)."""

JOIN_BELOW: Final = 1 << 16
"""Bytes below which header and payload are joined to one write."""


class Intake:
    """What the parent sent, in order, and the claims that go with it."""

    def __init__(
        self,
        sock: socket.socket,
        claims: int,
        define: Callable[[int, bytes], None],
        belongings: Belongings,
    ) -> None:
        os.set_blocking(claims, False)
        self._belongings = belongings
        self._sock = sock
        self._claims = claims
        self._define = define
        self._queue: deque[tuple[int, int, bytes, int, int]] = deque()
        self._scratch = memoryview(bytearray(READ_SIZE))
        self._rest = bytearray()
        self._claimed: int | None = None  # number that was read and whose call has not been met yet
        self._poll = poll()
        self._poll.register(claims, POLLIN)
        self._socket_poll = poll()
        self._socket_poll.register(sock, POLLIN)

    def next_call(self) -> tuple[int, bytes, int, int] | None:
        """Wait for the next call that this worker may start: number, payload, attempt, index; None when it is to exit."""
        queue = self._queue
        while True:
            while not queue:
                self._fill()
            number, kind, payload, attempt, index = queue.popleft()
            if kind == CALL:
                if self._claimed is None:
                    self._claimed = self._claim()
                if self._claimed == number:
                    self._claimed = None
                    return number, payload, attempt, index
                if self._claimed == NO_MORE:
                    return None
                self._belongings.skip(number)
            elif kind == DEFINE:
                self._define(number, payload)
            elif kind == EXIT:
                return None
            elif kind in SHARED:
                self._belongings.take(number, kind, payload)
            # else: credit for a stream that has ended

    def fileno(self) -> int:
        """Give the socket's number."""
        return self._sock.fileno()

    def is_readable(self, *, wait: bool) -> bool:
        """Tell whether the parent has sent something, after waiting for it if asked to."""
        return bool(self._socket_poll.poll(None if wait else 0))

    def take_grants(self, call: int, *, read: bool) -> list[int]:
        """Give the grants for the stream of this call that are here, after reading what the parent has sent."""
        if read:
            self._fill()
        if not any(frame[1] == CREDIT for frame in self._queue):
            return []
        grants, others = [], []
        for frame in self._queue:
            if frame[1] != CREDIT:
                others.append(frame)
            elif frame[0] == call:
                grants.append(GRANT.unpack(frame[2])[0])
        self._queue.clear()
        self._queue.extend(others)
        return grants

    def _claim(self) -> int:
        """Read the number of the next call to start, or `NO_MORE`."""
        while True:
            try:
                token = os.read(self._claims, TOKEN.size)
            except BlockingIOError:
                if self._belongings.has_lent:
                    self._wait_for_claim()
                else:
                    self._poll.poll()
                continue
            if not token:
                os._exit(0)  # the parent is gone
            number: int = TOKEN.unpack(token)[0]
            return number

    def _wait_for_claim(self) -> None:
        """Wait, but hear what comes back of results, and give up what nobody uses.

        The calls that are here may have been taken back, and the next claim be hours away.
        """
        waiting = poll()
        waiting.register(self._claims, POLLIN)
        waiting.register(self._sock, POLLIN)
        while True:
            ready = waiting.poll(SPARE_SECONDS * 1000 if self._belongings.has_spare else None)
            if any(fd == self._claims for fd, _ in ready):
                return
            if not ready:
                self._belongings.give_up_spare()
                continue
            self._fill()
            others = [frame for frame in self._queue if frame[1] not in SHARED]
            for number, kind, payload, *_ in self._queue:
                if kind in SHARED:
                    self._belongings.take(number, kind, payload)
            self._queue.clear()
            self._queue.extend(others)

    def _fill(self) -> None:
        """Read from the parent, at least once, and queue the frames that are complete."""
        rest = self._rest
        if self._belongings.has_spare and not self._socket_poll.poll(SPARE_SECONDS * 1000):
            self._belongings.give_up_spare()
        got = self._sock.recv_into(self._scratch)
        if not got:
            os._exit(0)  # the parent is gone
        data = self._scratch[:got].tobytes()
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
            n, number, kind, attempt, index = HEADER.unpack_from(data, pos)
            start = pos + size
            if end - start < n:
                break
            pos = start + n
            queue.append((number, kind, data[start:pos], attempt, index))
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
        self._early = 0  # asked to end, maybe before its window was open
        self._instead: Callable[[], object] | None = None  # what to call in place of raising

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
            if self._instead is not None:
                self._instead()
                return
            self.call = 0
            raise CallInterrupted("this call was cancelled or ran longer than its limit")

    def on_interrupt(self, instead: Callable[[], object] | None) -> None:
        """Say what to call in place of raising; None: raise again."""
        self._instead = instead

    def is_asked_to_end(self, call: int) -> bool:
        """Tell whether this call was asked to end."""
        return call == self._early


def main(ends: WorkerEnds, config: bytes, inherited: Any) -> None:
    """Serve calls until told to exit.

    `config` holds what `executor` packed: settings, definitions and the
    initializer; with start method fork the initializer is `inherited` instead.
    """
    from .._wire.workspace import Workspace

    settings = pickle.loads(config)
    faulthandler.register(STACKS_SIGNAL, ends.stacks_write, all_threads=True, chain=False)
    # The parent may ask from now on; it knows the end of a dump by the last frame of this thread.
    os.write(ends.stacks_write, b"%016x\n" % get_ident())
    window = Window(ends.control_read)
    signal.signal(INTERRUPT_SIGNAL, window.on_signal)
    space = Workspace(forked=settings["forked"])
    loop = _Loop(ends.sock, ends.desk, ends.token_read, window, space, settings["max_rss"])
    if "output" in settings:
        loop.forward_output(ends.outputs, *settings["output"])
    if not loop.initialise(settings, inherited):
        return
    loop.run()


class _Loop:
    """Take a call, run it, answer; again."""

    def __init__(
        self,
        sock: socket.socket,
        desk: socket.socket,
        claims: int,
        window: Window,
        space: Workspace,
        max_rss: int | None,
    ) -> None:
        sock.setblocking(True)
        self._sock = sock
        self._window = window
        self._space = space
        self._max_rss = max_rss
        self._belongings = Belongings(desk, self._tell)
        self._intake = Intake(sock, claims, space.define, self._belongings)
        self._pid = os.getpid()
        self._thread = get_ident()
        self._sending = allocate_lock()  # threads of a call may report progress
        self._records: deque[bytes] = deque()  # frames of log records that are still to be sent
        self._outlet: Outlet | None = None
        self._unsent: Exception | None = None  # what came of packing an item of a stream
        self._context = Context()  # of the initializer; each call begins with a copy
        running.send_report = self._report
        running.is_asked_to_end = window.is_asked_to_end
        running.on_interrupt = window.on_interrupt

    def forward_output(self, fds: tuple[int, ...], mark: bytes, levels: Levels) -> None:
        """Send to the parent from now on what is printed and logged here."""
        from .outlet import Outlet

        self._outlet = Outlet(fds, mark, levels, self._log)

    def initialise(self, settings: dict[str, Any], inherited: Any) -> bool:
        """Run the initializer; say whether the worker may go on."""
        try:
            self._space.prepare()
            if settings["forked"]:
                initializer, initargs = inherited
                if initializer is not None:
                    self._context.run(initializer, *initargs)
            elif "initializer" in settings:
                for key, data in settings["definitions"]:
                    self._space.define(key, data)
                initializer, initargs, kwargs = self._space.unpack_call(settings["initializer"])
                self._context.run(initializer, *initargs, **kwargs)
            initializer = initargs = inherited = kwargs = None  # type: ignore[assignment]  # freed
        except BaseException as error:
            self._leave_if_forked()
            self._log_failure(error)
            self._let_out()
            self._send(0, INIT_FAILED, 0, 0, self._pack_bare(error))
            return False
        self._leave_if_forked()
        self._let_out()
        self._send(0, READY, 0, 0, b"")
        return True

    def _let_out(self) -> None:
        """Let the parent see all that was printed before it sees what is sent next."""
        if self._outlet is not None:
            self._outlet.end_call()

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
            call, payload, running.attempt, running.index = item
            item = None
            start = running.started = monotonic()
            beside: list[Part] = []
            kind, answer, flags = self._execute(call, payload, beside)
            payload = b""
            if self._outlet is not None:
                self._outlet.end_call()
            if self._max_rss is not None and _resident_bytes() > self._max_rss:
                flags |= HEAVY
            micros = min(int((monotonic() - start) * 1e6), MAX_MICROS)
            self._send(call, kind, flags, micros, answer, beside)
            answer = b""
            del beside

    def _execute(self, call: int, payload: bytes, beside: list[Part]) -> tuple[int, bytes, int]:
        """Run one call; give the kind of answer, its bytes and its flags, and fill what goes beside the bytes.

        Two nested blocks, because an interrupt may strike while the error of
        the call is being packed.  In the outer handler the window is closed: it
        is only reached when the interrupt has fired.
        """
        window = self._window
        kind = UNREADABLE
        value: Any = None
        try:
            try:
                window.call = call
                window.strike()
                fn, args, kwargs = self._space.unpack_call(payload, self._belongings.open(call))
                extras = running.extras = self._space.extras
                kind = ERROR
                running.number = call
                context = self._context.copy()
                if extras is not None:
                    for variable, name, value in extras.get("context", ()):
                        if name:  # where it stands; value in bytes
                            try:
                                variable = getattr(sys.modules[variable], name)
                                value = pickle.loads(value)
                            except (
                                Exception
                            ):  # the worker has not imported that module, or not this version of it
                                continue
                        context.run(variable.set, value)
                    if "seed" in extras:
                        from .seeds import begin

                        begin(extras["seed"])
                value = context.run(fn, *args, **kwargs)
                if extras is not None and "stream" in extras:
                    value = context.run(self._stream, call, value, extras["stream"])
                if type(value) in UNFINISHED:
                    value = context.run(finish, value, window.on_interrupt)
                running.number = 0
                del context, extras
                self._leave_if_forked()
                kind = UNSENDABLE
                fn = args = kwargs = None  # type: ignore[assignment]  # freed before the worker idles
                if running.extras is not None and "sealed" in running.extras:
                    answer, flags = self._space.keep_value(value, beside), KEPT
                else:
                    answer = self._space.pack_value(value, beside)
                    flags = self._space.flags(beside)
                value = None
                window.call = 0
                return VALUE, answer, flags
            except BaseException as error:
                self._leave_if_forked()
                running.number = 0
                abandon(value)  # the interrupt may have struck before it was awaited
                fn = args = kwargs = value = context = extras = None  # type: ignore[assignment]  # noqa: F841
                if isinstance(error, CallInterrupted):
                    kind = ERROR
                    _cut_own_frames(error)
                elif error is self._unsent:
                    kind = UNSENDABLE
                elif kind == UNSENDABLE and not isinstance(error, Exception):
                    kind = ERROR  # sys.exit while pickling is the call's own end, as in the standard pool
                answer = self._pack_error(error, beside)
                flags = AGAIN if kind == ERROR and _is_to_repeat(error, running.extras) else 0
                window.call = 0
                return kind, answer, flags
        except BaseException as error:
            error.__context__ = None  # the error that was being packed: it would be packed again
            _cut_own_frames(error)
            return ERROR, self._pack_error(error, beside), 0
        finally:
            running.extras = None
            self._unsent = None

    def _pack_error(self, error: BaseException, beside: list[Part]) -> bytes:
        beside.clear()
        return put_aside(self._pack_bare(error), beside)

    def _pack_bare(self, error: BaseException) -> bytes:
        if "ezflow._tracebacks" not in sys.modules:  # the first error here, and no template had it
            call, self._window.call = self._window.call, 0  # an interrupt would tear the import
            was_asked = self._window.is_asked_to_end(call)
            with self._belongings.reserve:
                from .. import _tracebacks  # noqa: F401
            self._window.call = call
            if not was_asked:
                self._window.strike()  # or one that came meanwhile would be lost
        from .._tracebacks import pack_exception

        return pack_exception(error, self._space.pack_value)

    def _leave_if_forked(self) -> None:
        """End a process that a call forked and that came back here: the socket is not its own."""
        if os.getpid() != self._pid:
            os._exit(0)

    def _send(
        self, call: int, kind: int, flags: int, micros: int, payload: bytes, beside: Sequence[Part] = ()
    ) -> None:
        self._leave_if_forked()
        head = HEADER.pack(len(payload), call, kind, flags, micros)
        try:
            with self._sending:
                while self._records:
                    self._sock.sendall(self._records.popleft())
                if beside or self._belongings.has_word:
                    self._sock.sendall(self._belongings.words(call, beside))
                if len(payload) < JOIN_BELOW:
                    self._sock.sendall(head + payload)
                else:
                    self._sock.sendall(head)
                    self._sock.sendall(payload)
        except OSError:
            os._exit(1)  # the parent is gone, or the call has closed our socket
        if self._records:
            self._send_records()

    def _send_records(self) -> None:
        """Send the log records that wait, unless somebody sends already.

        1. the main thread holds the lock and sends  2. a signal handler of the user's logs there  3. it would wait for
        the lock for ever.  So nobody waits; whoever has the lock looks for what others have left when it gives it back.
        """
        try:
            while self._records and self._sending.acquire(blocking=False):
                try:
                    while self._records:
                        self._sock.sendall(self._records.popleft())
                finally:
                    self._sending.release()
        except OSError:
            os._exit(1)

    def _log(self, payload: bytes) -> None:
        """Send a log record; an interrupt must not tear it."""
        self._records.append(HEADER.pack(len(payload), running.number, LOG, 0, 0) + payload)
        if get_ident() != self._thread:
            self._send_records()
            return
        window = self._window
        was_open, window.call = window.call, 0
        try:
            self._send_records()
        finally:
            window.call = was_open
            window.strike()

    def _report(self, call: int, progress: object) -> None:
        """Send word of a call's progress."""
        self._send_aside(call, REPORT, progress)

    def _send_aside(self, call: int, kind: int, value: object) -> None:
        """Send something of a call while it runs; an interrupt must not tear it."""
        if os.getpid() != self._pid:
            raise RuntimeError(
                "this is a process that the call has forked; only the call itself can send word"
            )
        beside: list[Part] = []
        answer = self._space.pack_value(value, beside)
        flags = self._space.flags(beside)
        window = self._window
        if get_ident() != self._thread:
            self._send(call, kind, flags, 0, answer, beside)
            return
        was_open, window.call = window.call, 0
        try:
            self._send(call, kind, flags, 0, answer, beside)
        finally:
            window.call = was_open
            window.strike()

    def _tell(self, frame: bytes) -> None:
        """Send word that belongs to no call, while there is none."""
        try:
            with self._sending:
                self._sock.sendall(frame)
        except OSError:
            os._exit(1)

    def _stream(self, call: int, value: Any, credit: int) -> Any:
        """Send the items of what a call returned; give what is left to be finished."""
        source = _Grants(self._intake, self._window, call, self._leave_if_forked)
        return Streamer(credit, source, lambda item: self._send_item(call, item)).run(value)

    def _send_item(self, call: int, item: object) -> None:
        """Send one item; whether it is that which failed decides what the error says."""
        try:
            self._send_aside(call, ITEM, item)
        except Exception as error:
            self._unsent = error
            raise


class _Grants:
    """The credit of one stream; reading the socket is not torn by an interrupt, waiting for it is."""

    def __init__(
        self, intake: Intake, window: Window, call: int, leave_if_forked: Callable[[], None]
    ) -> None:
        self._intake = intake
        self._window = window
        self._call = call
        self._leave_if_forked = leave_if_forked
        self.fileno = intake.fileno

    def take(self, *, wait: bool) -> list[int]:
        """Give the grants that have come, after waiting for one if asked to."""
        self._leave_if_forked()  # a generator that has forked and yields: the child would read what is not its own
        grants = self._take(read=False)  # those that were read together with the call
        while self._intake.is_readable(wait=wait and not grants):
            grants += self._take(read=True)
        return grants

    def _take(self, *, read: bool) -> list[int]:
        window = self._window
        was_open, window.call = window.call, 0
        try:
            return self._intake.take_grants(self._call, read=read)
        finally:
            window.call = was_open
            window.strike()


def _is_to_repeat(error: BaseException, extras: dict[str, Any] | None) -> bool:
    """Tell whether the call is to run once more after this error."""
    return extras is not None and "on" in extras and isinstance(error, extras["on"])


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
    """Give the resident memory of this process in bytes, without shared memory; or the most it ever was."""
    try:
        with open("/proc/self/status", "rb") as file:
            found = dict(line.split(b":", 1) for line in file)
        return (int(found[b"VmRSS"].split()[0]) - int(found[b"RssShmem"].split()[0])) * 1024
    except (OSError, KeyError, ValueError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # KiB elsewhere


_STRIKING: Final = frozenset({Window.on_signal.__code__, Window.strike.__code__})
