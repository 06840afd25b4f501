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
from signal import SIGKILL, SIGTERM
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Literal, cast

from .. import errors
from .._sealed import SealedAnswer, SealedBreak, SealedError
from .._wire.channel import FrameReader, FrameWriter
from .._wire.messages import (
    CALL,
    DEFINE,
    EXIT,
    HEADER,
    HEAVY,
    INIT_FAILED,
    NO_MORE,
    READY,
    TOKEN,
)
from . import events as ev
from . import exit as exits
from .callbacks import CallbackThread
from .launch import Launch
from .oom import oom_kills
from .poller import IN, OUT, Bell, Poller
from .worker import INTERRUPT_SIGNAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .._call import Call
    from .._wire.codec import Definition
    from ..future import Future
    from .child import Child, Starter
    from .machine import Machine


class _Word(Enum):
    """What else than calls lies in the inbox, first in its tuple."""

    MADE = "made"
    NOT_MADE = "not made"
    CANCEL = "cancel"
    CLOSE = "close"
    DROP = "drop"
    KILL = "kill"
    LOOK = "look"


class _Link:
    """One worker as the dispatcher sees it: process, both directions of its socket, what it knows."""

    __slots__ = ("child", "known", "reader", "watching_out", "worker", "writer")

    def __init__(self, worker: int, child: Child) -> None:
        self.worker = worker
        self.child = child
        self.reader = FrameReader()
        self.writer = FrameWriter()
        self.known: dict[int, int] = {}  # definition key → version sent last
        self.watching_out = False


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
    """

    def __init__(
        self,
        machine: Machine[Call],
        starter: Starter,
        needs: Callable[[], Iterable[Definition]],
        *,
        name: str,
        cancel_running: bool,
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
        self.closed = False  # the dispatcher has looked into the inbox for the last time
        self._links: dict[int, _Link] = {}
        self._by_fd: dict[int, tuple[_Link, bool]] = {}  # fd → link, is it the sign of death
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
            dispatcher.start()
        except BaseException:
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
        own = (self._dispatcher, self._starter_thread)
        return any(thread is not None and thread.ident == here for thread in own)

    def disown(self) -> None:
        """Take no more calls through the short way; the long way says why."""
        self.ready = False

    def post(self, call: Call) -> bool:
        """Accept a call; False if the engine has ended and nobody will take it."""
        self.inbox.append(call)
        if self._hungry:
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

    def close(self, *, cancel: bool) -> None:
        """Take no more calls; end after those accepted, or after those started."""
        self._tell(_Word.CLOSE, cancel)

    def kill(self, signum: int) -> None:
        """End now: cancel what waits, signal every worker."""
        self._tell(_Word.KILL, signum)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until every worker is gone and every callback has run; say whether they are."""
        try:
            self.start()  # an interrupt may have torn it; what was accepted is to end all the same
        except errors.PoolBroken:
            self._empty_inbox()
            self._starter.close()  # under fork, a process or two wait for work already
            return True
        for thread in (self._dispatcher, self._starter_thread, self.callbacks.thread):
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

    def counts(self) -> dict[str, int]:
        """Give numbers for `repr` and statistics; a snapshot that may be torn."""
        machine = self._machine
        return {
            "workers": len(self._links),
            "pending": machine.n_live + len(self.inbox),
            "done": machine.n_done,
            "taken_back": machine.n_stolen,
            "died": machine.n_died,
        }

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
            self._poller.register(self._bell.fd, IN)
            self._loop(self._poller)
        except BaseException as error:
            self._fail(error)
        finally:
            self._end()

    def _loop(self, poller: Poller) -> None:
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
            if inbox and (self._hungry or type(inbox[0]) is tuple):
                self._hungry = False
                continue
            deadline = machine.next_deadline()
            ready = wait(None if deadline is None else deadline - monotonic())
            self._hungry = False
            if inbox:
                self._drain_inbox()
            for fd, mask in ready:
                if fd == bell:
                    self._bell.hush()
                    continue
                found = by_fd.get(fd)
                if found is None:
                    continue  # closed a moment ago, in this very round
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
        elif word is _Word.LOOK:
            self._lookers.append(item[1])
            self._answer_lookers()
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
        elif word is _Word.CLOSE:
            self._obey(machine.handle(ev.CloseAsked(item[1], monotonic())))
        elif word is _Word.KILL:
            self._kill_signal = item[1]
            self._obey(machine.handle(ev.KillAsked(monotonic())))

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
            parts.append(HEADER.pack(len(payload), call.id, CALL, 0, 0))
            parts.append(payload)
            tokens.append(TOKEN.pack(call.id))
        # Before the calls: a worker that has a call in hand finds its number.
        # At most MAX_AHEAD numbers are in the pipe, which holds far more.
        os.write(link.child.token_write, b"".join(tokens))
        self._write(link, parts)

    def _retire(self, worker: int) -> None:
        """Tell an idle worker to exit, whether it waits for bytes or, with a call that was taken back, for a claim."""
        link = self._links[worker]
        os.write(link.child.token_write, TOKEN.pack(NO_MORE))
        self._write(link, [HEADER.pack(0, NO_MORE, EXIT, 0, 0)])

    def _write(self, link: _Link, parts: list[bytes]) -> None:
        nbytes = sum(map(len, parts))
        if not link.writer.write(link.child.sock, parts, nbytes) and not link.watching_out:
            link.watching_out = True
            self._watch.modify(link.child.sock.fileno(), IN | OUT)
            self._obey(self._machine.handle(ev.Blocked(link.worker)))

    def _flush(self, link: _Link) -> None:
        if link.writer.flush(link.child.sock):
            link.watching_out = False
            self._watch.modify(link.child.sock.fileno(), IN)
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
        while self._read(link):
            pass
        if worker in self._links:
            self._obey(self._machine.handle(ev.Collected(worker, monotonic())))

    def _interrupt(self, command: ev.Interrupt) -> None:
        link = self._links[command.worker]
        call = self._machine.flight(command.worker).get(command.call)
        if call is not None:
            call.interrupted = True
        try:
            os.write(link.child.control_write, TOKEN.pack(command.call))
            link.child.signal(INTERRUPT_SIGNAL)
        except OSError:
            pass  # it is gone; its death is on the way

    def _kill(self, worker: int) -> None:
        link = self._links.get(worker)
        if link is None:
            self._doomed.add(worker)  # still being made
        elif self._kill_signal == SIGTERM and worker not in self._signalled:
            link.child.signal_group(SIGTERM)  # once; whoever ignores it is killed later
            self._signalled.add(worker)
        else:
            link.child.kill()

    def _settle(self, command: ev.Settle[Call]) -> None:
        """End a call that has no answer of its own."""
        call, outcome = command.job, command.outcome
        if outcome is ev.Outcome.CANCELLED:
            call.sink._drop()
        elif outcome is ev.Outcome.TIMED_OUT:
            call.sink._deliver(SealedError(errors.call_timeout(call.label, call.limit or 0.0, None)))
        elif outcome is ev.Outcome.WORKER_DIED:
            assert command.worker is not None
            call.sink._deliver(SealedError(self._obituary(self._links[command.worker], call.label)))
        elif outcome is ev.Outcome.BROKEN:
            call.sink._deliver(SealedBreak(self.break_error))
        answer = self._answers.pop(call.id, None)
        if answer is not None:
            answer.release()

    # -- workers

    def _welcome(self, worker: int, child: Child, needs: Iterable[Definition]) -> None:
        """Take over a process that was just made."""
        link = _Link(worker, child)
        self._links[worker] = link
        fd = child.sock.fileno()
        self._by_fd[fd] = link, False
        self._watch.register(fd, IN)
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
        done: list[int] = []
        answers: list[tuple[Call, SealedAnswer]] = []
        heavy = False
        micros = 0
        for number, kind, flags, duration, payload in frames:
            if kind == READY:
                self._obey(self._machine.handle(ev.Ready(link.worker, monotonic())))
                continue
            if kind == INIT_FAILED:
                self._broken_cause = SealedAnswer(kind, payload, "the initializer")
                self._broken_during = "initializer"
                self._obey(self._machine.handle(ev.InitFailed(link.worker, monotonic())))
                continue
            heavy = heavy or bool(flags & HEAVY)
            micros += duration
            done.append(number)
            call = flight.get(number)
            if call is not None:
                answers.append((call, SealedAnswer(kind, payload, call.label)))
        if done:
            # First work for the worker, then the news for the users.
            self._obey(
                self._machine.handle(ev.Returned(link.worker, done, monotonic(), micros * 1e-6, heavy))
            )
            for call, sealed in answers:
                if call.interrupted is True:
                    sealed.make_timeout(call.limit)
                call.payload = b""
                call.sink._deliver(sealed)
        return link.worker in self._links

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
        unclaimed = self._unclaimed(link)
        child = link.child
        for fd in (child.sock.fileno(), child.sentinel):
            if self._by_fd.pop(fd, None) is not None:
                self._watch.unregister(fd)
        if not (self._machine.is_going_home(link.worker) and child.exit_code() == 0):
            child.kill()  # what it had started; a worker that went home has left only what was meant to stay
        self._suspect(self._obituary(link, None))
        self._obey(self._machine.handle(ev.Died(link.worker, unclaimed, monotonic())))
        del self._links[link.worker]
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
            while link.worker in self._links and self._read(link):
                pass

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

    def _end(self) -> None:
        """Leave nothing behind."""
        self.closed = True
        self._empty_inbox()
        for link in list(self._links.values()):
            for call in list(self._machine.flight(link.worker).values()):
                call.sink._deliver(SealedBreak(self.break_error))
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
        self.callbacks.stop()

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
