"""The one thread of a pool that touches sockets, claims and the machine.

::

    submit ──▶ inbox ──▶ dispatcher ══ socket, claims pipe, control pipe ══▶ worker
                 bell ──▶   │  ▲                                               │
    Future ◀── sealed bytes ┘  └────────────── answers ◀──────────────────────┘
                               ▲
    starter thread ── made ────┘      callback thread ◀── users' callbacks

Ownership
---------
* `inbox`: a deque.  Any thread, signal handler or finaliser appends; only the
  dispatcher pops.  Appending is one atomic operation, so nothing can tear it.
* `_hungry`: written by the dispatcher before it sleeps; a submitter that sees
  it rings the bell.  The dispatcher looks into the inbox once more after
  setting it, so no order of the two steps can lose a call.
* `_wakes`: the same for a call that must be over before the dispatcher would
  look at the clock again.
* machine, links, poller: the dispatcher's alone.
* No user code runs here: answers travel on as bytes (`_sealed`), callbacks
  go to the callback thread.
* The engine knows no executor, so an executor that nobody holds is collected
  and its finaliser closes the engine.

The user's thread makes objects, but opens no descriptor and starts no thread
but the launcher (`launch`); the dispatcher opens what it needs.
"""

from __future__ import annotations

import os
import threading
from _thread import allocate_lock
from collections import deque
from enum import Enum
from itertools import count
from math import inf
from signal import SIGKILL, SIGTERM
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from .. import errors
from .._sealed import SealedAnswer, SealedBreak, SealedError, SealedTimeout
from .._wire.channel import FrameReader, FrameWriter
from .._wire.messages import (
    AGAIN,
    ANSWERS,
    CALL,
    CREDIT,
    DEFINE,
    EXIT,
    GRANT,
    HEADER,
    HEAVY,
    INIT_FAILED,
    ITEM,
    LOG,
    NO_MORE,
    READY,
    TOKEN,
    VALUE,
)
from . import events as ev
from . import exit as exits
from .callbacks import CallbackThread
from .echo import Echo
from .launch import Launch
from .oom import oom_kills
from .poller import IN, OUT, Bell, Poller
from .stacks import Inquiry, StackPipe
from .tally import Tally
from .worker import INTERRUPT_SIGNAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextvars import Context

    from .._call import Call, Sealed
    from .._wire.codec import Definition
    from ..future import Future
    from ..statistics import Statistics
    from .child import Child, Starter
    from .echo import Voice
    from .machine import Machine


MOST_READS: Final = 64
"""Reads that surely give all that had arrived when the first began: each gives more than a socket holds on its way."""


class _Word(Enum):
    """What else than calls lies in the inbox, first in its tuple."""

    MADE = "made"
    NOT_MADE = "not made"
    CANCEL = "cancel"
    CLOSE = "close"
    DROP = "drop"
    KILL = "kill"
    LOOK = "look"
    STOP = "stop"
    GRANT = "grant"
    ROOM = "room"
    STACKS = "stacks"


class _Link:
    """One worker as the dispatcher sees it: process, both directions of its socket, what it knows."""

    __slots__ = (
        "child",
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

    def __init__(self, worker: int, child: Child) -> None:
        self.worker = worker
        self.child = child
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

    @property
    def events(self) -> int:
        """What the dispatcher waits for on its socket."""
        heard = 0 if self.voice is not None and self.voice.is_paused else IN
        return heard | OUT if self.watching_out else heard


class Engine:
    """The running part of a pool: dispatcher thread, starter thread, workers.

    Parameters
    ----------
    machine : Machine
        Decides; nobody else calls it.
    starter : Starter
        Makes processes.
    needs : callable
        Gives the definitions that travelled with the process made last.
    name : str
        Prefix of the names of its threads.
    cancel_running : bool
        Whether `Future.cancel` stops a call that has started.
    mark : bytes or None
        What workers write behind unfinished lines; None if the pool does not forward their output.
    """

    def __init__(
        self,
        machine: Machine[Call],
        starter: Starter,
        needs: Callable[[], Iterable[Definition]],
        *,
        name: str,
        cancel_running: bool,
        mark: bytes | None = None,
    ) -> None:
        self._machine = machine
        self._starter = starter
        self._needs = needs
        self._cancel_running = cancel_running
        self._pid = os.getpid()
        self.next_id = count(1).__next__
        self.inbox: deque[Any] = deque()
        self._bell = Bell()  # closed until the dispatcher opens it, which then looks into the inbox anyway
        self._hungry = False
        self._wakes = 0.0  # when its sleep ends at the latest; 0 while it is awake
        self._has_deadlines = False  # some call had one
        self.closed = False  # the dispatcher has looked into the inbox for the last time
        self._ended = False  # and has done everything else
        self._enders: deque[Callable[[], object]] = deque()  # to be called then
        self._links: dict[int, _Link] = {}
        self._by_fd: dict[int, tuple[_Link, bool]] = {}  # fd → link, is it the sign of death
        self._tally = Tally()
        self._asked: dict[int, _Link] = {}  # fd → link that was asked for its stacks
        self._undelivered: Sequence[tuple[Call, SealedAnswer]] = ()  # that were read a moment ago
        self._answers: dict[int, Any] = {}  # call → lock on which somebody awaits the outcome of a cancel
        self._lookers: list[Any] = []  # locks of those who wait to see all processes
        self._doomed: set[int] = set()  # workers to be killed as soon as they are made
        self._poller: Poller | None = None
        self._broken_cause: BaseException | SealedAnswer | None = None
        self._broken_during: Literal["initializer", "start", "dispatcher"] = "start"
        self._kill_signal: int | None = None
        self._oom_kills = 0  # as many processes as the system had killed for lack of memory before we began
        self._signalled: set[int] = set()
        self._to_start: deque[int | None] = deque()
        self._start_bell = threading.Semaphore(0)
        self._name = name
        self._dispatcher: threading.Thread | None = None
        self._starter_thread: threading.Thread | None = None
        self.ready = False  # its threads run, and submitting is allowed: what `submit` looks at each time
        self._launch = Launch()
        self.callbacks = CallbackThread(f"{name}-callbacks")
        self._echo = None if mark is None else Echo(f"{name}-output", mark, self._tell_room)
        self._speaking: dict[int, _Link] = {}  # fd of a pipe for output → link

    # ------------------------------------------------------------ any thread

    def start(self) -> None:
        """Start the threads; repeating it, also after an exception tore it, is harmless.

        Raises
        ------
        PoolBroken
            If there can be no more threads.  Nothing of the attempt is left.
        """
        if self._launch.done or self._pid != os.getpid() or self._is_own_thread():
            return
        self._starter.prepare()
        try:
            self._launch.run(self._start_threads)
        except RuntimeError as error:  # no memory for threads, or the interpreter is about to end
            raise errors.pool_broken(error, "start") from error

    def _start_threads(self) -> None:
        exits.watch(self)
        if exits.is_exiting():
            raise RuntimeError("the interpreter is about to end")
        starter = threading.Thread(target=self._start_main, name=f"{self._name}-starter", daemon=True)
        starter.start()
        self._starter_thread = starter
        dispatcher = threading.Thread(target=self._main, name=f"{self._name}-dispatcher", daemon=False)
        self._dispatcher = dispatcher
        try:
            if self._echo is not None:
                self._echo.start()
            dispatcher.start()
        except BaseException:
            if self._echo is not None:
                self._echo.give_up()
            self._dispatcher = None
            self._starter_thread = None
            self._to_start.append(None)
            self._start_bell.release()
            while (
                starter.is_alive()
            ):  # not `join`: before 3.13 a dummy for this thread would stay in `threading`
                sleep(0.001)
            raise
        self.ready = True

    def _is_own_thread(self) -> bool:
        """Tell whether this thread is one that others wait for: it must never wait for a start itself."""
        here = threading.get_ident()
        echo = None if self._echo is None else self._echo.thread
        own = (self._dispatcher, self._starter_thread, echo)
        return any(thread is not None and thread.ident == here for thread in own)

    def disown(self) -> None:
        """Take no more calls through the short way; the long way says why."""
        self.ready = False

    def post(self, call: Call) -> bool:
        """Accept a call; False if the engine has ended and nobody will take it."""
        deadline = call.deadline
        if deadline is not None:
            self._has_deadlines = True
        self.inbox.append(call)
        if self._hungry or (deadline is not None and deadline < self._wakes):
            self._bell.ring()
        if self.closed:
            try:
                self.inbox.remove(call)
            except ValueError:
                return True  # the dispatcher was faster and has settled it
            return False
        return True

    def _tell(self, *words: object) -> None:
        self.inbox.append(words)
        self._bell.ring()

    def _tell_room(self, worker: int) -> None:
        self._tell(_Word.ROOM, worker)

    def close(self, *, cancel: bool) -> None:
        """Take no more calls; end after those accepted, or after those started."""
        self._tell(_Word.CLOSE, cancel)

    def kill(self, signum: int) -> None:
        """End now: cancel what waits, signal every worker."""
        self._tell(_Word.KILL, signum)

    def stop_all(self) -> None:
        """Take no more calls, and cancel all: also those that run are stopped."""
        self._tell(_Word.STOP)

    def when_ended(self, fn: Callable[[], object]) -> None:
        """Call `fn`, which must not block, as soon as every worker is gone: on the dispatcher, or at once."""
        self._enders.append(fn)
        if self._ended:
            self._call_enders()

    def _call_enders(self) -> None:
        """Call each once, whoever comes first."""
        while True:
            try:
                fn = self._enders.popleft()
            except IndexError:
                return
            fn()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until every worker is gone and every callback has run; say whether they are."""
        try:
            self.start()  # an interrupt may have torn it; what was accepted is to end all the same
        except errors.PoolBroken:
            self._empty_inbox()
            self._starter.close()  # under fork, a process or two wait for work already
            return True
        echo = None if self._echo is None else self._echo.thread
        for thread in (self._dispatcher, self._starter_thread, echo, self.callbacks.thread):
            if thread is not None and thread.ident is not None and thread is not threading.current_thread():
                thread.join(timeout)
                if thread.is_alive():
                    return False
        return True

    @property
    def dispatcher(self) -> threading.Thread | None:
        """The dispatcher thread, once it was started."""
        return self._dispatcher

    def workers(self) -> dict[int, Any]:
        """Give the processes that live, by pid, once those that were asked for until now have been made."""
        if self._launch.done and not self.closed and not self._is_own_thread() and self._pid == os.getpid():
            seen = allocate_lock()
            seen.acquire()
            self._tell(_Word.LOOK, seen)
            while not seen.acquire(timeout=1.0) and not self.closed:
                pass
        return {link.child.pid: link.child.process for link in list(self._links.values())}

    def stacks(self, seconds: float) -> dict[int, str]:
        """Give what every worker does now, by pid."""
        inquiry = Inquiry()
        if not self._launch.done or self.closed:
            return {}
        self.check_waiting()
        self._tell(_Word.STACKS, inquiry)
        return inquiry.wait(seconds)

    def counts(self) -> dict[str, int]:
        """Give numbers for `repr` and tests; a snapshot that may be torn."""
        machine = self._machine
        return {
            "workers": len(self._links),
            "pending": machine.n_live + len(self.inbox),
            "done": machine.n_done,
            "taken_back": machine.n_stolen,
            "died": machine.n_died,
        }

    def statistics(self) -> Statistics:
        """Give what was done so far; a snapshot that may be torn."""
        from ..statistics import Durations, Statistics

        machine, tally = self._machine, self._tally
        links = list(self._links.values())
        running = machine.n_running()
        calls = {}
        for label, timing in list(tally.timings.items()):
            n = sum(timing.classes)
            if n:
                p50, p95 = timing.quantiles(0.5, 0.95)
                calls[label] = Durations(n, timing.micros * 1e-6 / n, p50 * 1e-6, p95 * 1e-6)
        return Statistics(
            queued=max(0, machine.n_live - running) + len(self.inbox),
            running=running,
            done=tally.n_done,
            failed=tally.n_failed,
            cancelled=tally.n_cancelled,
            workers=len(links),
            restarts=tally.n_restarts,
            died=machine.n_died,
            bytes_sent=tally.n_sent + sum(link.writer.nbytes for link in links),
            bytes_received=tally.n_received + sum(link.reader.nbytes for link in links),
            calls=calls,
        )

    @property
    def is_broken(self) -> bool:
        """Whether the pool has given up."""
        return self._machine.broken

    def break_error(self) -> BaseException:
        """Say why the pool has given up, in an error of its own for everybody who asks."""
        cause = self._broken_cause
        if isinstance(cause, SealedAnswer):
            cause = cause.error()
        return errors.pool_broken(cause, self._broken_during)

    # -- desk of the futures

    def check_waiting(self) -> None:
        """Raise if nobody would ever answer: in another process, and on a thread that has to bring the answer."""
        if os.getpid() != self._pid:
            raise errors.wrong_process(self._pid)
        if self._is_own_thread():  # a finaliser that the garbage collector has run here
            raise errors.waits_for_itself()

    def is_running(self, call: Call) -> bool:
        """Tell whether the call is the oldest unanswered one of a worker."""
        place = call.place
        if not isinstance(place, int):
            return False
        try:
            return next(iter(self._machine.flight(place).values()), None) is call
        except RuntimeError:  # the dispatcher changed it under our eyes
            return False

    def cancel(self, call: Call, future: Future[Any]) -> bool:
        """Cancel the call of a future."""
        if os.getpid() != self._pid:
            future._drop_here()
            return True
        if self._cancel_running:
            future._drop_here()
            if future.cancelled():
                self._tell(_Word.CANCEL, call, True, None)
                return True
            return False
        if future.done():
            return future.cancelled()
        answer = allocate_lock()
        answer.acquire()
        self._tell(_Word.CANCEL, call, False, answer)
        if threading.current_thread() is self._dispatcher:
            self._drain_inbox()
        elif not self.closed:
            while (
                not answer.acquire(timeout=1.0)
                and self._dispatcher is not None
                and self._dispatcher.is_alive()
            ):
                pass
        return future.cancelled()

    def stop(self, call: Call) -> None:
        """Cancel a call whatever it does; its sink expects no word of it."""
        self._tell(_Word.CANCEL, call, True, None)

    def grant(self, call: Call, n: int) -> None:
        """Let the generator of a stream go on by so many items."""
        self._tell(_Word.GRANT, call, n)

    def close_stream(self, call: Call) -> None:
        """End a stream: its generator is closed at its next item, and stopped if that does not come in time."""
        self._tell(_Word.DROP, [call])
        self._tell(_Word.GRANT, call, 0)

    def cancel_waiting(self, calls: Iterable[Call]) -> None:
        """Cancel those that have not started; never waits for the answer."""
        self._tell(_Word.DROP, list(calls))

    def call_back(self, fn: Callable[[Any], object], future: Future[Any]) -> None:
        """Run a user's callback on the callback thread."""
        self.callbacks.run(fn, future)

    def prepare_callbacks(self) -> None:
        """Start the callback thread."""
        self.callbacks.start()

    # ------------------------------------------------------------ starter thread

    def _start_main(self) -> None:
        """Make processes until told to stop; a cold start takes tens of milliseconds."""
        while True:
            self._start_bell.acquire()
            worker = self._to_start.popleft()
            if worker is None:
                return
            if worker in self._doomed:
                self._tell(_Word.NOT_MADE, worker, None)
                continue
            try:
                child = self._starter.start()
            except BaseException as error:
                self._tell(_Word.NOT_MADE, worker, error)
            else:
                self._tell(_Word.MADE, worker, child, self._needs())

    # ------------------------------------------------------------ dispatcher

    def _main(self) -> None:
        try:
            self._oom_kills = oom_kills()
            self._bell.open()
            self._poller = Poller()
            self._loop(self._poller, must_hush=self._poller.watch_bell(self._bell.fd))
        except BaseException as error:
            self._fail(error)
        finally:
            self._end()
            self._ended = True
            self._call_enders()

    def _loop(self, poller: Poller, *, must_hush: bool) -> None:
        machine = self._machine
        inbox = self.inbox
        bell = self._bell.fd
        by_fd = self._by_fd
        wait = poller.wait
        while not machine.finished:
            self._drain_inbox()
            if machine.finished:
                break  # type: ignore[unreachable]  # an event may finish it
            self._hungry = machine.wants_submits()
            deadline = machine.next_deadline()
            self._wakes = inf if deadline is None else deadline
            if inbox and (self._hungry or self._has_deadlines or type(inbox[0]) is tuple):
                self._hungry = False
                self._wakes = 0.0
                continue
            ready = wait(None if deadline is None else deadline - monotonic())
            self._hungry = False
            self._wakes = 0.0
            if inbox:
                self._drain_inbox()
            for fd, mask in ready:
                if fd == bell:
                    if must_hush:
                        self._bell.hush()
                    continue
                found = by_fd.get(fd)
                if found is None:
                    if fd in self._asked:
                        self._read_stacks(self._asked[fd])
                    elif fd in self._speaking:
                        self._listen(fd)
                    continue  # else closed a moment ago, in this very round
                link, is_death = found
                if is_death:
                    self._bury(link)
                    continue
                if mask & OUT:
                    self._flush(link)
                if mask & ~OUT:
                    self._read(link)
            if deadline is not None and monotonic() >= deadline:
                self._read_all_due()
                self._obey(machine.handle(ev.Ticked(monotonic())))

    def _drain_inbox(self) -> None:
        """Tell the machine what has arrived; calls in a row travel as one event."""
        inbox = self.inbox
        calls: list[Call] = []
        while inbox:
            item = inbox.popleft()
            if type(item) is tuple:
                if calls:
                    self._accept(calls)
                    calls = []
                self._take(item)
            else:
                calls.append(item)
        if calls:
            self._accept(calls)

    def _accept(self, calls: list[Call]) -> None:
        self._obey(self._machine.handle(ev.Submitted(calls, monotonic())))

    def _take(self, item: tuple[Any, ...]) -> None:
        word = item[0]
        machine = self._machine
        if word is _Word.CANCEL:
            _, call, stop, answer = item
            if answer is not None:
                self._answers[call.id] = answer
            self._obey(machine.handle(ev.CancelAsked(call, stop, monotonic())))
        elif word is _Word.DROP:
            self._obey(machine.handle(ev.DropAsked(item[1], monotonic())))
        elif word is _Word.GRANT:
            self._grant(*item[1:])
        elif word is _Word.LOOK:
            self._lookers.append(item[1])
            self._answer_lookers()
        elif word is _Word.STACKS:
            self._inquire(item[1])
        elif word is _Word.MADE:
            self._welcome(*item[1:])
            self._answer_lookers()
        elif word is _Word.NOT_MADE:
            worker, error = item[1:]
            if worker in self._doomed:
                self._doomed.discard(worker)
                self._obey(machine.handle(ev.Died(worker, (), monotonic())))
            else:
                self._suspect(error)
                self._obey(machine.handle(ev.StartFailed(worker, monotonic())))
            self._answer_lookers()
        elif word is _Word.ROOM:
            self._hear_again(item[1])
        elif word is _Word.CLOSE:
            self._obey(machine.handle(ev.CloseAsked(item[1], monotonic())))
        elif word is _Word.KILL:
            self._kill_signal = item[1]
            self._obey(machine.handle(ev.KillAsked(monotonic())))
        elif word is _Word.STOP:
            self._stop_all()

    def _stop_all(self) -> None:
        """Cancel what waits and stop what runs."""
        machine = self._machine
        self._obey(machine.handle(ev.CloseAsked(True, monotonic())))
        running = [call for link in self._links.values() for call in machine.flight(link.worker).values()]
        for call in [*machine.waiting, *running]:
            call.sink._drop()
            self._obey(machine.handle(ev.CancelAsked(call, True, monotonic())))

    def _answer_lookers(self) -> None:
        """Let those go on who wait until every process that was asked for is made."""
        if self._lookers and not (self._machine.workers.keys() - self._links.keys()):
            while self._lookers:
                self._lookers.pop().release()

    @property
    def _watch(self) -> Poller:
        assert self._poller is not None
        return self._poller

    # -- commands

    def _obey(self, commands: Sequence[ev.Command[Call]]) -> None:
        """Carry out commands in order."""
        for command in commands:
            kind = type(command)
            if kind is ev.Send:
                self._send(cast("ev.Send[Call]", command))
            elif kind is ev.Settle:
                self._settle(cast("ev.Settle[Call]", command))
            elif kind is ev.Start:
                self._to_start.append(cast("ev.Start", command).worker)
                self._start_bell.release()
            elif kind is ev.Revoke:
                self._revoke(cast("ev.Revoke", command))
            elif kind is ev.Collect:
                self._collect(cast("ev.Collect", command).worker)
            elif kind is ev.Interrupt:
                self._interrupt(cast("ev.Interrupt", command))
            elif kind is ev.Look:
                self._look(cast("ev.Look", command))
            elif kind is ev.Kill:
                self._kill(cast("ev.Kill", command).worker)
            elif kind is ev.Retire:
                self._retire(cast("ev.Retire", command).worker)
            # Finish needs no act: the loop looks at `machine.finished`

    def _send(self, command: ev.Send[Call]) -> None:
        link = self._links[command.worker]
        parts: list[bytes] = []
        tokens: list[bytes] = []
        for call in command.jobs:
            for definition in call.needs:
                if link.known.get(definition.key) != definition.version:
                    link.known[definition.key] = definition.version
                    parts.append(HEADER.pack(len(definition.data), definition.key, DEFINE, 0, 0))
                    parts.append(definition.data)
            payload = call.payload
            attempt = call.attempt
            if attempt > 1:
                call.interrupted = False
            parts.append(HEADER.pack(len(payload), call.id, CALL, min(attempt, 255), call.index))
            parts.append(payload)
            tokens.append(TOKEN.pack(call.id))
        # Before the calls: a worker that has a call in hand finds its number.
        # At most MAX_AHEAD numbers are in the pipe, which holds far more.
        os.write(link.child.token_write, b"".join(tokens))
        self._write(link, parts)

    def _grant(self, call: Call, n: int) -> None:
        """Tell the worker that streams the items of a call how many more are wanted."""
        link = self._links.get(call.place) if isinstance(call.place, int) else None
        if link is None:
            return
        payload = GRANT.pack(n)
        self._write(link, [HEADER.pack(len(payload), call.id, CREDIT, 0, 0), payload])
        if not n:
            self._obey(self._machine.handle(ev.EndWanted(call, monotonic())))

    def _retire(self, worker: int) -> None:
        """Tell an idle worker to exit, whether it waits for bytes or, with a call that was taken back, for a claim."""
        link = self._links[worker]
        self._count_out(link)
        os.write(link.child.token_write, TOKEN.pack(NO_MORE))
        self._write(link, [HEADER.pack(0, NO_MORE, EXIT, 0, 0)])

    def _write(self, link: _Link, parts: list[bytes]) -> None:
        nbytes = sum(map(len, parts))
        if not link.writer.write(link.child.sock, parts, nbytes) and not link.watching_out:
            link.watching_out = True
            self._watch.modify(link.child.sock.fileno(), link.events)
            self._obey(self._machine.handle(ev.Blocked(link.worker)))

    def _flush(self, link: _Link) -> None:
        if link.writer.flush(link.child.sock):
            link.watching_out = False
            self._watch.modify(link.child.sock.fileno(), link.events)
            self._obey(self._machine.handle(ev.Flushed(link.worker, monotonic())))

    def _revoke(self, command: ev.Revoke) -> None:
        """Take numbers out of the claims pipe: what the parent has read, no worker can claim."""
        link = self._links.get(command.worker)
        if link is None:
            return
        found = self._unclaimed(link)
        if command.only is not None:
            gone = [call for call in found if call == command.only]
            kept = [call for call in found if call != command.only]
        else:
            kept, gone = found[: command.keep], found[command.keep :]
        if kept:
            os.write(link.child.token_write, b"".join(map(TOKEN.pack, kept)))
        self._obey(self._machine.handle(ev.Revoked(link.worker, gone, monotonic())))

    def _unclaimed(self, link: _Link) -> list[int]:
        """Empty the claims pipe."""
        data = b""
        while True:
            try:
                more = os.read(link.child.token_read, 1 << 16)
            except BlockingIOError:
                break
            if not more:
                break
            data += more
        return [call for (call,) in TOKEN.iter_unpack(data)]

    def _collect(self, worker: int) -> None:
        link = self._links[worker]
        self._read_due(link)
        if worker in self._links:
            self._obey(self._machine.handle(ev.Collected(worker, monotonic())))

    def _interrupt(self, command: ev.Interrupt) -> None:
        link = self._links[command.worker]
        call = self._machine.flight(command.worker).get(command.call)
        link.was_interrupted = True
        self._count_out(link)  # whatever comes of it, another takes its place
        if call is not None:
            call.interrupted = True
        try:
            os.write(link.child.control_write, TOKEN.pack(command.call))
            link.child.signal(INTERRUPT_SIGNAL)
        except OSError:
            pass  # it is gone; its death is on the way

    def _look(self, command: ev.Look) -> None:
        """Have a worker say where it is before it is killed; the answer comes through `_read_stacks`."""
        link = self._links[command.worker]
        link.looked_for, link.last_look = command.call, b""
        if not self._ask_for_stacks(link):
            self._obey(self._machine.handle(ev.Looked(link.worker, monotonic())))

    def _kill(self, worker: int) -> None:
        link = self._links.get(worker)
        if link is None:
            self._doomed.add(worker)  # still being made
            return
        self._count_out(link)
        if link.looked_for is not None and link.stacks.is_asking:  # too late for all of it
            self._pass_stacks_on(link, link.stacks.give_up())
        if self._kill_signal == SIGTERM and worker not in self._signalled:
            link.child.signal_group(SIGTERM)  # once; whoever ignores it is killed later
            self._signalled.add(worker)
        else:
            link.child.kill()

    def _count_out(self, link: _Link) -> None:
        """Count a worker that is on its way out."""
        if not link.is_leaving:
            link.is_leaving = True
            self._tally.worker_leaves()

    def _settle(self, command: ev.Settle[Call]) -> None:
        """End a call that has no answer of its own."""
        call, outcome = command.job, command.outcome
        if outcome is ev.Outcome.CANCELLED:
            self._tally.n_cancelled += 1
        elif outcome is not ev.Outcome.NOT_CANCELLED:
            self._tally.n_failed += 1
        if outcome is ev.Outcome.CANCELLED:
            call.sink._drop()
        elif outcome is ev.Outcome.TIMED_OUT:
            link = None if command.worker is None else self._links.get(command.worker)
            was_seen = link is not None and link.looked_for == call.id
            sealed = SealedTimeout(
                call.label,
                call.within if call.expired else call.limit or 0.0,
                total=call.expired,
                dump=link.last_look if link is not None and was_seen else b"",
                attempts=call.attempt - (command.worker is None),  # a run that never got its turn is none
            )
            if link is not None:
                self._hear_out(link, is_last=True)
            self._deliver(call, sealed, link)
        elif outcome is ev.Outcome.WORKER_DIED:
            assert command.worker is not None
            link = self._links[command.worker]
            died = self._obituary(link, call.label)
            self._deliver(call, SealedError(died, pid=link.child.pid, attempts=call.attempt), link)
        elif outcome is ev.Outcome.BROKEN:
            self._deliver(call, SealedBreak(self.break_error), None)
        answer = self._answers.pop(call.id, None)
        if answer is not None:
            answer.release()

    # -- workers

    def _welcome(self, worker: int, child: Child, needs: Iterable[Definition]) -> None:
        """Take over a process that was just made."""
        link = _Link(worker, child)
        self._links[worker] = link
        self._tally.worker_came()
        fd = child.sock.fileno()
        self._by_fd[fd] = link, False
        self._watch.register(fd, IN)
        if self._echo is not None:
            link.voice = self._echo.voice(worker, child.outputs)
            for pipe in child.outputs:
                self._speaking[pipe] = link
                self._watch.register(pipe, IN)
        self._by_fd[child.sentinel] = link, True
        self._watch.register(child.sentinel, IN)
        for definition in needs:
            link.known[definition.key] = definition.version
        if worker in self._doomed:
            self._doomed.discard(worker)
            self._kill(worker)

    def _read(self, link: _Link) -> bool:
        """Read once from a worker, pass the answers on; say whether there may be more."""
        frames = link.reader.read(link.child.sock)
        if not frames:
            if link.reader.eof:
                self._lost_socket(link)
            return False
        flight = self._machine.flight(link.worker)
        pid = link.child.pid
        done: list[int] = []
        again: list[int] = []
        answers: list[tuple[Call, SealedAnswer]] = []
        heavy = False
        all_well = not link.was_interrupted
        micros = 0
        for number, kind, flags, duration, payload in frames:
            if kind != VALUE:
                if kind not in ANSWERS:
                    self._take_aside(link, number, kind, payload)
                    continue
                all_well = False
            if flags:
                heavy = heavy or bool(flags & HEAVY)
                if flags & AGAIN:
                    again.append(number)
            micros += duration
            done.append(number)
            call = flight.get(number)
            if call is not None:
                answers.append((call, SealedAnswer(kind, payload, call.label, pid, duration)))
        if done:
            if link.voice is not None:
                self._hear_out(link, is_last=len(done) >= len(flight))
            self._undelivered = answers
            # First work for the worker, then the news for the users.
            self._obey(
                self._machine.handle(ev.Returned(link.worker, done, monotonic(), micros * 1e-6, heavy, again))
            )
            if answers:
                self._tally.answered(answers, all_well=all_well)
            for call, sealed in answers:
                if call.place is not ev.Place.SETTLED:
                    continue  # it is to run once more
                if call.interrupted is True:
                    sealed.make_timeout(call.within if call.expired else call.limit, total=call.expired)
                sealed.attempts = call.attempt
                call.payload = b""
                if link.voice is None:
                    call.sink._deliver(sealed)
                else:
                    self._deliver(call, sealed, link)
            self._undelivered = ()
        return link.worker in self._links

    def _take_aside(self, link: _Link, number: int, kind: int, payload: bytes | bytearray) -> None:
        """Take a frame that is no answer."""
        if kind == READY:
            link.is_ready = True
            self._obey(self._machine.handle(ev.Ready(link.worker, monotonic())))
        elif kind == INIT_FAILED:
            self._broken_cause = SealedAnswer(kind, payload, "the initializer")
            self._broken_during = "initializer"
            self._obey(self._machine.handle(ev.InitFailed(link.worker, monotonic())))
        elif kind == LOG:
            self._log(link, payload)
        else:
            call = self._machine.flight(link.worker).get(number)
            if call is None:
                return
            act = call.sink.take if kind == ITEM else call.sink._hear  # type: ignore[attr-defined]  # streams
            sealed = SealedAnswer(VALUE, payload, call.label)
            if self._echo is None or link.voice is None:
                act(sealed)
            else:  # behind what was printed before
                self._echo.drain(link.voice, self._context_of(link), finish=False)
                self._echo.deliver(link.voice, act, sealed)
                self._hear_less(link)

    # -- what workers print and log

    def _listen(self, fd: int) -> None:
        """Read once from a pipe for output."""
        link = self._speaking[fd]
        if self._echo is not None and link.voice is not None:
            if self._echo.read(link.voice, fd, self._context_of(link)) < 0:  # the call has closed it
                self._hang_up(fd)
            self._hear_less(link)

    def _hang_up(self, fd: int) -> None:
        del self._speaking[fd]
        self._watch.unregister(fd)

    def _hear_out(self, link: _Link, *, is_last: bool) -> None:
        """Read what a worker wrote before it answered or died; `is_last`: it runs no other call."""
        if self._echo is not None and link.voice is not None:
            self._echo.drain(link.voice, self._context_of(link), finish=is_last)

    def _log(self, link: _Link, payload: bytes | bytearray) -> None:
        if self._echo is not None and link.voice is not None:
            context = self._context_of(link)
            self._echo.drain(link.voice, context, finish=False)  # what it printed before
            self._echo.log(link.voice, payload, context)
            self._hear_less(link)

    def _context_of(self, link: _Link) -> Context | None:
        """Give the context in which the running call was submitted: in a notebook it leads to the cell."""
        for call in self._machine.flight(link.worker).values():
            return call.context
        return None

    def _hear_less(self, link: _Link) -> None:
        """Stop reading from a worker of which too much waits to be written."""
        if link.voice is not None and link.voice.is_too_much():
            self._watch_speech(link, 0)

    def _hear_again(self, worker: int) -> None:
        """Go on reading."""
        link = self._links.get(worker)
        if link is not None and link.voice is not None and link.voice.is_paused and link.voice.has_room():
            link.voice.is_paused = False
            self._watch_speech(link, IN)

    def _watch_speech(self, link: _Link, events: int) -> None:
        for fd in link.child.outputs:
            if fd in self._speaking:
                self._watch.modify(fd, events)
        fd = link.child.sock.fileno()
        if fd in self._by_fd:
            self._watch.modify(fd, link.events)

    def _deliver(self, call: Call, sealed: Sealed, link: _Link | None) -> None:
        """Give an answer to whoever waits for it, behind what its call has written."""
        if self._echo is None:
            call.sink._deliver(sealed)
        else:
            self._echo.deliver(None if link is None else link.voice, call.sink._deliver, sealed)

    # -- what workers do now

    def _inquire(self, inquiry: Inquiry) -> None:
        """Ask all workers that run something; it answers for the others."""
        for link in self._links.values():
            pid = link.child.pid
            call = next(iter(self._machine.flight(link.worker).values()), None)
            if call is None and link.is_ready:
                inquiry.note(pid, "idle")
                continue
            state = "starting" if call is None else f"runs {call.label}"
            if self._ask_for_stacks(link):
                inquiry.expect(pid, state)
                link.inquiries = [one for one in link.inquiries if not one.is_over]
                link.inquiries.append(inquiry)
            else:
                inquiry.note(pid, state)
        inquiry.check()

    def _ask_for_stacks(self, link: _Link) -> bool:
        """Ask one worker; say whether there will be an answer."""
        if not link.stacks.ask():
            return False
        fd = link.child.stacks_read
        if fd not in self._asked:
            self._asked[fd] = link
            self._watch.register(fd, IN)
        return True

    def _read_stacks(self, link: _Link) -> None:
        """Read what a worker says it does; pass it on when it is complete."""
        dump = link.stacks.read()
        if dump is not None:
            self._pass_stacks_on(link, dump)

    def _pass_stacks_on(self, link: _Link, dump: bytes) -> None:
        fd = link.child.stacks_read
        if self._asked.pop(fd, None) is None:
            return
        self._watch.unregister(fd)
        for inquiry in link.inquiries:
            inquiry.answer(link.child.pid, dump)
        link.inquiries = []
        if link.looked_for is not None:
            link.last_look = dump
            self._obey(self._machine.handle(ev.Looked(link.worker, monotonic())))

    def _lost_socket(self, link: _Link) -> None:
        """The worker closed its socket: it is going home or dying, or the call has closed all files."""
        fd = link.child.sock.fileno()
        if self._by_fd.pop(fd, None) is not None:
            self._watch.unregister(fd)
            link.writer.dead = True
            if not self._machine.is_going_home(link.worker):
                link.child.kill()

    def _bury(self, link: _Link) -> None:
        """A worker's process is gone: read what it left, then its claims, then blame."""
        while self._read(link):
            pass
        if link.worker not in self._links:
            return
        self._hear_out(link, is_last=True)
        unclaimed = self._unclaimed(link)
        child = link.child
        for fd in [fd for fd, speaker in self._speaking.items() if speaker is link]:
            self._hang_up(fd)
        self._pass_stacks_on(link, link.stacks.read() or b"")
        for fd in (child.sock.fileno(), child.sentinel):
            if self._by_fd.pop(fd, None) is not None:
                self._watch.unregister(fd)
        if not (self._machine.is_going_home(link.worker) and child.exit_code() == 0):
            child.kill()  # what it had started; a worker that went home has left only what was meant to stay
        self._suspect(self._obituary(link, None))
        self._obey(self._machine.handle(ev.Died(link.worker, unclaimed, monotonic())))
        del self._links[link.worker]
        self._count_out(link)
        self._tally.n_sent += link.writer.nbytes
        self._tally.n_received += link.reader.nbytes
        if child.exit_code() == -SIGKILL:
            self._oom_kills = oom_kills()
        child.close()

    def _obituary(self, link: _Link, label: str | None) -> errors.WorkerDied:
        """Say how a worker ended, and probably why."""
        code = link.child.exit_code()
        lacked_memory = code == -SIGKILL and oom_kills() > self._oom_kills
        by_pool = self._kill_signal is not None and code in (-SIGTERM, -SIGKILL)
        return errors.worker_died(link.child.pid, code, label, oom_killed=lacked_memory, by_pool=by_pool)

    def _suspect(self, cause: BaseException | None) -> None:
        """Remember what went wrong last, in case the pool breaks over it."""
        if self._broken_during == "start" and not self._machine.broken:
            self._broken_cause = cause

    def _read_all_due(self) -> None:
        """Read what has arrived before limits are judged."""
        for link in list(self._links.values()):
            if link.worker in self._links:
                self._read_due(link)

    def _read_due(self, link: _Link) -> None:
        """Read what has arrived from a worker; not for ever from one that sends without end."""
        for _ in range(MOST_READS):
            if not self._read(link):
                return

    # -- the end

    def _fail(self, error: BaseException) -> None:
        """Fail every call: the dispatcher itself has a bug or ran out of something."""
        self._broken_cause, self._broken_during = error, "dispatcher"
        try:
            self._obey(self._machine.handle(ev.BreakAsked()))
        except BaseException:
            pass  # settled below
        for link in self._links.values():
            link.child.kill()
        for call, sealed in self._undelivered:
            call.sink._deliver(sealed)  # twice does no harm

    def _end(self) -> None:
        """Leave nothing behind."""
        self.closed = True
        self._empty_inbox()
        for link in list(self._links.values()):
            for call in list(self._machine.flight(link.worker).values()):
                self._deliver(call, SealedBreak(self.break_error), None)
            link.child.close()
        self._links.clear()
        self._stop_starter()
        self._empty_inbox()  # it may have made one more worker
        while self._lookers:
            self._lookers.pop().release()
        self._starter.close()
        if self._poller is not None:
            self._poller.close()
        self._bell.close()
        if self._echo is None:
            self.callbacks.stop()
        else:
            self._echo.stop(self.callbacks.stop)  # futures that it resolves may have callbacks

    def _empty_inbox(self) -> None:
        while self.inbox:
            item = self.inbox.popleft()
            if type(item) is not tuple:
                if self._machine.broken:
                    item.sink._deliver(SealedBreak(self.break_error))
                else:
                    item.sink._drop()
            elif item[0] is _Word.MADE:
                item[2].kill()
                item[2].close()
            elif item[0] is _Word.CANCEL and item[3] is not None:
                item[3].release()
            elif item[0] is _Word.LOOK:
                item[1].release()

    def _stop_starter(self) -> None:
        self._to_start.append(None)
        self._start_bell.release()
        if self._starter_thread is not None:
            self._starter_thread.join()
