"""The one thread of a pool that touches sockets, claims and the machine.

::

    submit ──▶ inbox ──▶ dispatcher ══ socket, claims pipe, control pipe ══▶ worker
                 bell ──▶   │  ▲                                               │
    Future ◀── sealed bytes ┘  └────────────── answers ◀──────────────────────┘
                               ▲
    starter thread ── made ────┘      callback thread ◀── users' callbacks

Ownership
---------
* Inbox and bell: see `postbox`.
* machine, links, poller, ears, asker: the dispatcher's alone.
* No user code runs here: answers travel on as bytes (`_sealed`), callbacks
  go to the callback thread.
* What other threads may do is in `engine`.
"""

from __future__ import annotations

from collections import deque
from math import inf
from signal import SIGKILL, SIGTERM
from time import monotonic

from .. import errors
from .._hints import cast
from .._sealed import SealedAnswer, SealedBreak, SealedError, SealedTimeout
from .._wire.messages import (
    AGAIN,
    ANSWERS,
    FREE,
    HEAVY,
    INIT_FAILED,
    ITEM,
    KEPT,
    LOG,
    PARTLY_KEPT,
    READY,
    SHARED,
    VALUE,
)
from . import events as ev
from .callbacks import CallbackThread
from .ears import Ears
from .holdings import Spare
from .link import Link
from .maker import Maker
from .oom import oom_kills
from .poller import IN, OUT, Poller
from .postbox import Postbox, Word
from .stacks import Asker
from .tally import Tally

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Final, Literal

    from .._call import Call, Sealed
    from .._wire.codec import Definition
    from .child import Child, Starter
    from .echo import Echo
    from .machine import Machine


MOST_READS: Final = 64
"""Reads that surely give all that had arrived when the first began: each gives more than a socket holds on its way."""


class Dispatcher(Postbox):
    """The loop between the machine and the workers.

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
        mark: bytes | None = None,
    ) -> None:
        Postbox.__init__(self)
        self._machine = machine
        self._starter = starter
        self._maker = Maker(starter, needs)
        self._ended = False  # everything is done
        self._enders: deque[Callable[[], object]] = deque()  # to be called then
        self._links: dict[int, Link] = {}
        self._by_fd: dict[int, tuple[Link, bool]] = {}  # fd → link, is it the sign of death
        self._tally = Tally()
        self._undelivered: Sequence[tuple[Call, SealedAnswer]] = ()  # that were read a moment ago
        self._answers: dict[int, Any] = {}  # call → lock on which somebody awaits the outcome of a cancel
        self._lookers: list[Any] = []  # locks of those who wait to see all processes
        self._broken_cause: BaseException | SealedAnswer | None = None
        self._broken_during: Literal["initializer", "start", "dispatcher"] = "start"
        self._kill_signal: int | None = None
        self._oom_kills = 0  # as many processes as the system had killed for lack of memory before we began
        self._signalled: set[int] = set()
        self.callbacks = CallbackThread(f"{name}-callbacks")
        self._echo: Echo | None = None
        if mark is not None:
            from .echo import Echo

            self._echo = Echo(f"{name}-output", mark, self._tell_room)
        self._spare = Spare(lambda: self.mention(Word.SPARE))
        self._poller: Poller | None = None
        self._asker: Asker  # comes with the poller
        self._ears: Ears | None = None  # comes with it if there is an echo

    def _tell_room(self, worker: int) -> None:
        self.tell(Word.ROOM, worker)

    # ------------------------------------------------------------ the loop

    def _main(self) -> None:
        try:
            self._oom_kills = oom_kills()
            self._bell.open()
            poller = self._poller = Poller()
            flight = self._machine.flight
            self._asker = Asker(poller, flight)
            if self._echo is not None:
                self._ears = Ears(self._echo, poller, flight, self._watch_socket)
            self._loop(poller, must_hush=poller.watch_bell(self._bell.fd))
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
        asked, ears = self._asker.asked, self._ears
        spare = self._spare
        wait = poller.wait
        while not machine.finished:
            self._drain_inbox()
            if machine.finished:
                break  # type: ignore[unreachable]  # an event may finish it
            self._hungry = machine.wants_submits()
            deadline = machine.next_deadline()
            if spare.at is not None:
                deadline = spare.at if deadline is None else min(deadline, spare.at)
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
                    if fd in asked:
                        self._pass_stacks_on(asked[fd], asked[fd].stacks.read())
                    elif ears is not None and fd in ears.pipes:
                        ears.listen(fd)
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
                if spare.is_due():
                    self._give_up_spare()
                self._read_all_due()
                self._obey(machine.handle(ev.Ticked(monotonic())))

    def _give_up_spare(self) -> None:
        """Give memory back to the system that has not been in use for a while."""
        for link in list(self._links.values()):
            if not link.tell_of_memory(spare=True):
                self._wait_for_room(link)
        self._spare.give_up()

    def _call_enders(self) -> None:
        """Call each once, whoever comes first."""
        while True:
            try:
                fn = self._enders.popleft()
            except IndexError:
                return
            fn()

    # ------------------------------------------------------------ what the inbox holds

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
        if word is Word.CANCEL:
            _, call, stop, answer = item
            if answer is not None:
                self._answers[call.id] = answer
            self._obey(machine.handle(ev.CancelAsked(call, stop, monotonic())))
        elif word is Word.DROP:
            self._obey(machine.handle(ev.DropAsked(item[1], monotonic())))
        elif word is Word.GRANT:
            self._grant(*item[1:])
        elif word is Word.LOOK:
            self._lookers.append(item[1])
            self._answer_lookers()
        elif word is Word.STACKS:
            self._asker.inquire(item[1], self._links.values())
        elif word is Word.MADE:
            self._welcome(*item[1:])
            self._answer_lookers()
        elif word is Word.NOT_MADE:
            worker, error = item[1:]
            if worker in self._maker.doomed:
                self._maker.doomed.discard(worker)
                self._obey(machine.handle(ev.Died(worker, (), monotonic())))
            else:
                self._suspect(error)
                self._obey(machine.handle(ev.StartFailed(worker, monotonic())))
            self._answer_lookers()
        elif word is Word.ROOM:
            link = self._links.get(item[1])
            if link is not None and self._ears is not None:
                self._ears.hear_again(link)
        elif word is Word.RETURN:
            link = self._links.get(item[1])
            if link is not None and not link.tell_of_memory():
                self._wait_for_room(link)
        elif word is Word.SPARE:
            self._spare.note()
        elif word is Word.CLOSE:
            self._obey(machine.handle(ev.CloseAsked(item[1], monotonic())))
        elif word is Word.KILL:
            self._kill_signal = item[1]
            self._obey(machine.handle(ev.KillAsked(monotonic())))
        elif word is Word.STOP:
            self._stop_all()

    def _stop_all(self) -> None:
        """Cancel what waits and stop what runs."""
        machine = self._machine
        self._obey(machine.handle(ev.CloseAsked(True, monotonic())))
        running = [call for link in self._links.values() for call in machine.flight(link.worker).values()]
        for call in [*machine.waiting, *running]:
            call.sink._drop()
            self._obey(machine.handle(ev.CancelAsked(call, True, monotonic())))

    def _grant(self, call: Call, n: int) -> None:
        """Tell the worker that streams the items of a call how many more are wanted."""
        link = self._links.get(call.place) if isinstance(call.place, int) else None
        if link is None:
            return
        if not link.grant(call.id, n):
            self._wait_for_room(link)
        if not n:
            self._obey(self._machine.handle(ev.EndWanted(call, monotonic())))

    def _answer_lookers(self) -> None:
        """Let those go on who wait until every process that was asked for is made."""
        if self._lookers and not (self._machine.workers.keys() - self._links.keys()):
            while self._lookers:
                self._lookers.pop().release()

    # ------------------------------------------------------------ commands

    def _obey(self, commands: Sequence[ev.Command[Call]]) -> None:
        """Carry out commands in order."""
        for command in commands:
            kind = type(command)
            if kind is ev.Send:
                self._send(cast("ev.Send[Call]", command))
            elif kind is ev.Settle:
                self._settle(cast("ev.Settle[Call]", command))
            elif kind is ev.Start:
                self._maker.order(cast("ev.Start", command).worker)
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
        if not link.send(command.jobs):
            self._wait_for_room(link)

    def _wait_for_room(self, link: Link) -> None:
        """See to it that the rest is written when the worker has read more."""
        if not link.watching_out:
            link.watching_out = True
            self._watch_socket(link)
            self._obey(self._machine.handle(ev.Blocked(link.worker)))

    def _flush(self, link: Link) -> None:
        if link.flush():
            link.watching_out = False
            self._watch_socket(link)
            self._obey(self._machine.handle(ev.Flushed(link.worker, monotonic())))

    def _watch_socket(self, link: Link) -> None:
        """Wait for what is wanted now of the socket of a worker, unless that is closed."""
        fd = link.child.sock.fileno()
        if fd in self._by_fd and self._poller is not None:
            self._poller.modify(fd, link.events)

    def _retire(self, worker: int) -> None:
        """Tell an idle worker to exit."""
        link = self._links[worker]
        self._count_out(link)
        if not link.dismiss():
            self._wait_for_room(link)

    def _revoke(self, command: ev.Revoke) -> None:
        """Ask for calls back."""
        link = self._links.get(command.worker)
        if link is None:
            return
        found = link.take_claims()
        if command.only is not None:
            gone = [call for call in found if call == command.only]
            kept = [call for call in found if call != command.only]
        else:
            kept, gone = found[: command.keep], found[command.keep :]
        if kept:
            link.put_back_claims(kept)
        self._obey(self._machine.handle(ev.Revoked(link.worker, gone, monotonic())))

    def _collect(self, worker: int) -> None:
        link = self._links[worker]
        self._read_due(link)
        if worker in self._links:
            self._obey(self._machine.handle(ev.Collected(worker, monotonic())))

    def _interrupt(self, command: ev.Interrupt) -> None:
        link = self._links[command.worker]
        call = self._machine.flight(command.worker).get(command.call)
        self._count_out(link)  # whatever comes of it, another takes its place
        if call is not None:
            call.interrupted = True
        link.interrupt(command.call)

    def _look(self, command: ev.Look) -> None:
        """Have a worker say where it is before it is killed."""
        link = self._links[command.worker]
        link.looked_for, link.last_look = command.call, b""
        if not self._asker.ask(link):
            self._obey(self._machine.handle(ev.Looked(link.worker, monotonic())))

    def _pass_stacks_on(self, link: Link, dump: bytes | None) -> None:
        """Take what a worker says it does, if that is complete."""
        if dump is not None and self._asker.pass_on(link, dump):
            self._obey(self._machine.handle(ev.Looked(link.worker, monotonic())))

    def _kill(self, worker: int) -> None:
        link = self._links.get(worker)
        if link is None:
            self._maker.doomed.add(worker)  # still being made
            return
        self._count_out(link)
        if link.looked_for is not None and link.stacks.is_asking:  # too late for all of it
            self._pass_stacks_on(link, link.stacks.give_up())
        if self._kill_signal == SIGTERM and worker not in self._signalled:
            link.child.signal_group(SIGTERM)  # once; whoever ignores it is killed later
            self._signalled.add(worker)
        else:
            link.child.kill()

    def _count_out(self, link: Link) -> None:
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

    def _hear_out(self, link: Link, *, is_last: bool) -> None:
        """Read what a worker wrote before it answered or died."""
        if self._ears is not None:
            self._ears.hear_out(link, is_last=is_last)

    def _deliver(self, call: Call, sealed: Sealed, link: Link | None) -> None:
        """Give an answer to whoever waits for it, behind what its call has written."""
        if self._ears is None:
            call.sink._deliver(sealed)
        else:
            self._ears.deliver(call, sealed, link)

    # ------------------------------------------------------------ workers

    def _welcome(self, worker: int, child: Child, needs: Iterable[Definition]) -> None:
        """Take over a process that was just made."""
        poller = self._poller
        assert poller is not None
        link = Link(worker, child, self._spare, lambda: self.mention(Word.RETURN, worker))
        self._links[worker] = link
        self._tally.worker_came()
        fd = child.sock.fileno()
        self._by_fd[fd] = link, False
        poller.register(fd, IN)
        if self._ears is not None:
            self._ears.welcome(link)
        self._by_fd[child.sentinel] = link, True
        poller.register(child.sentinel, IN)
        for definition in needs:
            link.known[definition.key] = definition.version
        if worker in self._maker.doomed:
            self._maker.doomed.discard(worker)
            self._kill(worker)

    def _read(self, link: Link) -> bool:
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
                    self._take_aside(link, number, kind, flags, payload)
                    continue
                all_well = False
            if flags:
                heavy = heavy or bool(flags & HEAVY)
                if flags & AGAIN:
                    again.append(number)
            micros += duration
            done.append(number)
            call = flight.get(number)
            beside = link.holdings.shipment(number)
            if call is not None:
                sealed = SealedAnswer(kind, payload, call.label, pid, duration, beside)
                if flags:
                    sealed.stays_packed = bool(flags & KEPT)
                    sealed.is_free = bool(flags & FREE)
                    sealed.is_partly_packed = bool(flags & PARTLY_KEPT)
                answers.append((call, sealed))
        if done:
            ears = self._ears
            if ears is not None:
                ears.hear_out(link, is_last=len(done) >= len(flight))
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
                call.beside = ()
                if ears is None:
                    call.sink._deliver(sealed)
                else:
                    ears.deliver(call, sealed, link)
            self._undelivered = ()
        return link.worker in self._links

    def _take_aside(self, link: Link, number: int, kind: int, flags: int, payload: bytes | bytearray) -> None:
        """Take a frame that is no answer."""
        if kind == READY:
            link.is_ready = True
            self._obey(self._machine.handle(ev.Ready(link.worker, monotonic())))
        elif kind == INIT_FAILED:
            self._broken_cause = SealedAnswer(kind, payload, "the initializer")
            self._broken_during = "initializer"
            self._obey(self._machine.handle(ev.InitFailed(link.worker, monotonic())))
        elif kind == LOG:
            if self._ears is not None:
                self._ears.log(link, payload)
        elif kind in SHARED:
            link.holdings.take(number, kind, payload)
        else:
            call = self._machine.flight(link.worker).get(number)
            beside = link.holdings.shipment(number)
            if call is None:
                return
            sealed = SealedAnswer(VALUE, payload, call.label, beside=beside)
            sealed.is_partly_packed = bool(flags & PARTLY_KEPT)
            act = call.sink.take if kind == ITEM else call.sink._hear  # type: ignore[attr-defined]  # streams
            if self._ears is None:
                act(sealed)
            else:
                self._ears.pass_on(act, sealed, link)

    def _read_all_due(self) -> None:
        """Read what has arrived before limits are judged."""
        for link in list(self._links.values()):
            if link.worker in self._links:
                self._read_due(link)

    def _read_due(self, link: Link) -> None:
        """Read what has arrived from a worker; not for ever from one that sends without end."""
        for _ in range(MOST_READS):
            if not self._read(link):
                return

    def _lost_socket(self, link: Link) -> None:
        """The worker closed its socket: it is going home or dying, or the call has closed all files."""
        fd = link.child.sock.fileno()
        if fd in self._by_fd:
            self._unwatch(fd)
            link.writer.dead = True
            if not self._machine.is_going_home(link.worker):
                link.child.kill()

    def _unwatch(self, fd: int) -> None:
        if self._by_fd.pop(fd, None) is not None and self._poller is not None:
            self._poller.unregister(fd)

    def _bury(self, link: Link) -> None:
        """A worker's process is gone: read what it left, then its claims, then blame."""
        while self._read(link):
            pass
        if link.worker not in self._links:
            return
        self._hear_out(link, is_last=True)
        unclaimed = link.take_claims()
        child = link.child
        if self._ears is not None:
            self._ears.bury(link)
        self._pass_stacks_on(link, link.stacks.read() or b"")
        for fd in (child.sock.fileno(), child.sentinel):
            self._unwatch(fd)
        if not (self._machine.is_going_home(link.worker) and child.exit_code() == 0):
            child.kill()  # what it had started; a worker that went home has left only what was meant to stay
        link.holdings.end()
        self._suspect(self._obituary(link, None))
        self._obey(self._machine.handle(ev.Died(link.worker, unclaimed, monotonic())))
        del self._links[link.worker]
        self._count_out(link)
        self._tally.n_sent += link.n_sent
        self._tally.n_received += link.n_received
        if child.exit_code() == -SIGKILL:
            self._oom_kills = oom_kills()
        child.close()

    def _obituary(self, link: Link, label: str | None) -> errors.WorkerDied:
        """Say how a worker ended, and probably why."""
        code = link.child.exit_code()
        lacked_memory = code == -SIGKILL and oom_kills() > self._oom_kills
        by_pool = self._kill_signal is not None and code in (-SIGTERM, -SIGKILL)
        return errors.worker_died(link.child.pid, code, label, oom_killed=lacked_memory, by_pool=by_pool)

    def _suspect(self, cause: BaseException | None) -> None:
        """Remember what went wrong last, in case the pool breaks over it."""
        if self._broken_during == "start" and not self._machine.broken:
            self._broken_cause = cause

    def break_error(self) -> BaseException:
        """Say why the pool has given up, in an error of its own for everybody who asks."""
        cause = self._broken_cause
        if isinstance(cause, SealedAnswer):
            cause = cause.error()
        return errors.pool_broken(cause, self._broken_during)

    # ------------------------------------------------------------ the end

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
            link.holdings.end()
            link.child.close()
        self._links.clear()
        self._spare.end()
        self._maker.stop()
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
            elif item[0] is Word.MADE:
                item[2].kill()
                item[2].close()
            elif item[0] is Word.CANCEL and item[3] is not None:
                item[3].release()
            elif item[0] is Word.LOOK:
                item[1].release()
