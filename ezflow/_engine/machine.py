"""The scheduler: which call goes to which worker, and what happens when things go wrong.

A state machine without I/O, threads or clocks.  The dispatcher tells it what
happened (`Event`), it answers with what to do (`Command`); time arrives as a
number inside an event.  So every race is a list of events, and every test is
"these events, therefore these commands".

Who owns what
-------------
* The machine owns the queue of waiting jobs, the workers' states and the
  `place` of every job.  Nobody else writes them.
* The dispatcher owns sockets, pipes and processes; it carries out commands in
  order and feeds the answers (`Revoked`, `Collected`) back before anything else.
* A job that has been settled is forgotten here; its future belongs to the user.

States of a worker
------------------
========  ==========================================================  ===============================
state     meaning                                                     its deadline
========  ==========================================================  ===============================
starting  the process is being made, or runs the initializer          none, or the pool's end
idle      ready, holds no call                                        idle time-out
busy      holds calls; the first unanswered one runs, or is about to  limit of the running call
stopping  the running call is to end; it holds only that one          grace after the interrupt
retiring  told to exit, holds nothing                                 time to exit
ending    killed; its death is awaited                                time to exit, if only signalled
========  ==========================================================  ===============================

from → to                 on
========================= ================================================================
— → starting              more calls wait than idle and starting workers can take
starting → idle           `Ready`
starting → retiring       `InitFailed`
idle → busy               `Send`
busy → idle               the last answer was read and nothing waits or can be stolen
busy → stopping           cancel of, or limit passed by, its running call; others taken back
stopping → idle/busy      the answer was already there: nothing to stop
stopping → ending         it answered the interrupt, or the grace ended: killed, replaced;
                          over a limit it is first asked where it is (`Look`)
idle → retiring           budget used, too much memory, idle too long, pool closing
retiring → ending         its grace ended
any → gone                `Died`
========================= ================================================================
=======
=======================  =====================================================================================
from → to                on
=======================  =====================================================================================
— → starting             more calls wait than idle and starting workers can take
starting → idle or busy  it is ready
starting → retiring      its initializer raised; when it is gone, the pool breaks
starting → ending        the pool closes before it is ready
idle → busy              calls are sent
idle → retiring          idle too long, pool closing
busy → idle              the last answer was read, nothing waits or can be stolen
busy → retiring          budget of calls used, too much memory, pool closing
busy → stopping          its running call is cancelled or passes its limit; its other calls are taken back
busy → ending            a call that it should have begun is cancelled, and it does not react
stopping → busy          the answer was already there, or the call had not begun: nothing to stop
stopping → ending        it answered the interrupt, its grace ended, or it does not react: killed and replaced
retiring → ending        its time to exit ended
any → ending             pool killed or broken
any → gone               it died
=======================  =====================================================================================

States of a job: waiting → (sent ⇄ waiting) → started → settled.  "Sent" and
"started" look alike from here: only the claims pipe knows, so every decision
that depends on it first asks with `Revoke`.

How much is sent ahead: nothing to a worker whose calls are slow, so they start
in the order of their submission; as much as it does in a moment (`AHEAD_SECONDS`)
to one whose calls are quick.  What lies behind a call that turns out slow is
taken back (`HOSTAGE_SECONDS`).

What may happen at the same time: a worker claims, finishes or dies while a
command is on its way.  Therefore no command assumes that it still finds the
world as it was; the answers are facts, the commands are wishes.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, Generic

from .events import (
    Blocked,
    BreakAsked,
    CancelAsked,
    CloseAsked,
    Collect,
    Collected,
    Died,
    DropAsked,
    EndWanted,
    Finish,
    Flushed,
    InitFailed,
    Interrupt,
    J,
    Job,
    Kill,
    KillAsked,
    Look,
    Looked,
    Outcome,
    Place,
    Ready,
    Retire,
    Returned,
    Revoke,
    Revoked,
    Send,
    Settle,
    Start,
    StartFailed,
    StopReason,
    Submitted,
    Ticked,
)
from .waiting import Timed, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .events import Command, Event

MAX_AHEAD: Final = 64
"""Calls a worker may hold, the running one included.

Larger: fewer writes for tiny calls, more work to take back.  Chosen: beyond 64
the throughput of trivial calls no longer grew.
"""

MAX_AHEAD_BYTES: Final = 1 << 18
"""Bytes of payload sent ahead to one worker; a large call is sent alone."""

AHEAD_SECONDS: Final = 0.01
"""Seconds of work that a worker may hold, judged by its latest calls.

Chosen: a hundred times what a round trip costs, and below what people notice.
"""

HOSTAGE_SECONDS: Final = 0.02
"""Seconds without an answer after which the calls behind the running one are taken back."""

CLAIM_SECONDS: Final = 0.5
"""Seconds that a worker gets to begin with a call once the limit of that call has passed.

One that is stopped, or stuck outside any call, never does; on a machine that is
overloaded a limit of milliseconds can pass before a sound worker has woken up.
"""

LOOK_SECONDS: Final = 0.25
"""Seconds that a worker which did not react to the interrupt gets to say where it is, before it is killed.

It answers from a signal handler in C, so in a millisecond unless the machine is overloaded or it is stopped.
"""

HOME_SECONDS: Final = 60.0
"""Seconds that a worker has to end after it was told to.

Chosen: longer than exit functions take that write something down, and the end
of a program that hangs because a library left a thread running in a worker;
the standard pool then waits for ever.
"""

MAX_LOSSES: Final = 3
"""Workers that may die or hang with the same call first in line and not begun, until it is to blame.

Receiving its bytes may be what kills them, for want of memory.
"""

MAX_EARLY_DEATHS: Final = 3
"""Workers that may die one after another before any was ready, until the pool gives up.

One can be bad luck (the out-of-memory killer, a user's kill); three are a cause.
"""

RETRY_START: Final = 1.0
"""Seconds to wait after a worker could not be started while others live."""


class State(Enum):
    """State of a worker; see the table above."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    STOPPING = "stopping"
    RETIRING = "retiring"
    ENDING = "ending"


class Purpose(Enum):
    """Why calls were asked back."""

    STEAL = "steal"
    CANCEL = "cancel"
    STOP = "stop"
    SHARE = "share"
    GIVE_UP = "give up"


class _Worker(Generic[J]):
    """One worker as the machine sees it."""

    __slots__ = (
        "asked",
        "blocked",
        "cancel_stop",
        "deadline",
        "failed",
        "flight",
        "id",
        "late",
        "looked",
        "n_taken",
        "since",
        "state",
        "target",
        "window",
        "worn",
    )

    def __init__(self, number: int) -> None:
        self.id = number
        self.state = State.STARTING
        self.flight: dict[int, J] = {}  # sent and not answered, oldest first
        self.window = 1  # calls it may hold
        self.since = 0.0  # when it was last heard of or given work
        self.n_taken = 0  # calls that count against its budget
        self.deadline: float | None = None
        self.blocked = False  # bytes for it still wait in the parent
        self.late = False  # it let the limit of a call pass without beginning with it
        self.looked = False  # it was asked where it is, before it is killed
        self.failed = False  # its initializer raised
        self.worn = False  # to be retired as soon as it holds nothing
        self.asked: Purpose | None = None
        self.target: J | None = None  # the job a cancel or a stop is about
        self.cancel_stop = True


class Machine(Generic[J]):
    """Decide; never act.

    Parameters
    ----------
    max_workers : int
        Processes that may work at the same time.
    max_tasks : int or None
        Calls after which a worker is replaced.
    idle_timeout : float or None
        Seconds after which an idle worker is ended.
    grace : float
        Seconds between asking a call to stop and killing its worker.
    home_grace : float
        Seconds a worker that was told to exit has for its exit functions.
    exit_grace : float
        Seconds a worker has for its own exit where somebody waits for its end: after a failed initializer, and when
        the pool is killed.
    """

    def __init__(
        self,
        max_workers: int,
        *,
        max_tasks: int | None = None,
        idle_timeout: float | None = None,
        grace: float = 0.2,
        home_grace: float = HOME_SECONDS,
        exit_grace: float = 5.0,
        max_ahead: int = MAX_AHEAD,
    ) -> None:
        self.max_workers = max_workers
        self.max_tasks = max_tasks
        self.idle_timeout = idle_timeout
        self.grace = grace
        self.home_grace = home_grace
        self.exit_grace = exit_grace
        self.max_ahead = max_ahead
        self.waiting: Waiting[J] = Waiting()
        self.workers: dict[int, _Worker[J]] = {}
        self.n_waiting = 0  # jobs in `waiting` that are not settled: a cancelled one stays until it is met
        self.n_live = 0  # jobs accepted and not settled
        self.n_done = 0
        self.n_stolen = 0
        self.n_died = 0
        self.closing = False
        self.cancelling = False
        self.broken = False
        self.finished = False
        self._idle: dict[int, _Worker[J]] = {}  # the youngest idle one is used first, old ones age out
        self._timed: dict[int, _Worker[J]] = {}  # workers that have a deadline
        self._ahead: dict[int, _Worker[J]] = {}  # busy workers that hold more than one call
        self._next_id = 0
        self._early_deaths = 0
        self._no_start_before: float | None = None
        self._delayed: Timed[J] = Timed(_is_delayed)  # when they are to run again
        self._doomed: Timed[J] = Timed(_is_open)  # when their time is up
        self._now = 0.0  # of the event that is being handled
        self._out: list[Command[J]] = []

    # ------------------------------------------------------------ questions

    def handle(self, event: Event[J]) -> list[Command[J]]:
        """Take one event, give the commands it leads to, to be carried out in order."""
        self._now = getattr(event, "now", self._now)
        _ROWS[type(event)](self, event)
        if self._doomed.heap or self._delayed.heap:
            self._doomed.trim(2 * self.n_live)
            self._delayed.trim(2 * self.n_live)
        out = self._out
        self._out = []  # kept no longer than needed: commands hold jobs, jobs hold users' objects
        return out

    def n_timed(self) -> int:
        """Count the jobs that are kept for what is to happen to them at some time."""
        return len(self._delayed) + len(self._doomed)

    def next_deadline(self) -> float | None:
        """Give the time at which `Ticked` is wanted next."""
        times = [w.deadline for w in self._timed.values() if w.deadline is not None]
        if self._ahead:
            times.append(min([w.since for w in self._ahead.values()]) + HOSTAGE_SECONDS)
        if self._no_start_before is not None:
            times.append(self._no_start_before)
        if self._delayed.heap:
            times.append(self._delayed.next_time())
        if self._doomed.heap:
            times.append(self._doomed.next_time())
        return min(times) if times else None

    def flight(self, worker: int) -> Mapping[int, J]:
        """Give the jobs a worker has not answered, oldest first."""
        w = self.workers.get(worker)
        return w.flight if w is not None else {}

    def n_running(self) -> int:
        """Count the workers that have a call to run; for any thread."""
        return sum(1 for w in list(self.workers.values()) if w.flight)

    def is_going_home(self, worker: int) -> bool:
        """Tell whether a worker is ending by itself, as it was told: it runs its exit functions."""
        w = self.workers.get(worker)
        return w is not None and w.state is State.RETIRING

    def wants_submits(self) -> bool:
        """Tell whether a new job would lead to a command at once."""
        if self._idle or self.closing or self.broken:
            return True
        return self._no_start_before is None and self._n_working() < self.max_workers

    def _n_working(self) -> int:
        """Count the processes that work or will.

        A worker that is being stopped is among them until it is interrupted: its call may have ended by itself.
        """
        return sum(
            1
            for w in self.workers.values()
            if w.state not in _LEAVING or (w.state is State.STOPPING and w.deadline is None)
        )

    # ------------------------------------------------------------ jobs arrive

    def _submitted(self, event: Submitted[J]) -> None:
        jobs = event.jobs
        self.n_live += len(jobs)
        if self.broken:
            for job in jobs:
                self._settle(job, Outcome.BROKEN)
            return
        for job in jobs:
            job.place = Place.WAITING
            if job.deadline is not None:
                self._doomed.add(job.deadline, job)
        self.waiting.extend(jobs)
        self.n_waiting += len(jobs)
        self._spread(event.now)

    def _spread(self, now: float) -> None:
        """Give waiting jobs to idle workers, then start workers for the rest."""
        while self.n_waiting and self._idle:
            _, w = self._idle.popitem()
            self._feed(w, now)
        if self.n_waiting:
            self._grow(now)

    def _n_coming(self) -> int:
        """Count the workers that are being made or initialised."""
        return sum(1 for w in self.workers.values() if w.state is State.STARTING)

    def _grow(self, now: float) -> None:
        """Start workers while more jobs wait than starting workers can take."""
        if self.broken or self.finished or self.max_workers <= len(self.workers) == self._n_working():
            return
        if self._no_start_before is not None:
            if now < self._no_start_before:
                return
            self._no_start_before = None
        n_working, n_coming = self._n_working(), self._n_coming()
        while n_working < self.max_workers and n_coming < self.n_waiting:
            w = _Worker[J](self._next_id)
            self._next_id += 1
            self.workers[w.id] = w
            self._out.append(Start(w.id))
            n_working += 1
            n_coming += 1

    def _feed(self, w: _Worker[J], now: float) -> None:
        """Send waiting jobs to a worker, at least one if it holds none.

        Half of a fair share at a time: the more waits, the more travels
        together, and near the end each worker holds little.
        """
        waiting = self.waiting
        flight = w.flight
        room = min(w.window - len(flight), max(1, self.n_waiting // (2 * len(self.workers))))
        if self.max_tasks is not None:
            room = min(room, self.max_tasks - w.n_taken)
        jobs: list[J] = []
        n_bytes = 0
        place = w.id
        queue = waiting.front()
        while room > 0 and self.n_waiting > len(jobs):
            if not queue:
                queue = waiting.front()
            job = queue[0]
            if job.place is not Place.WAITING:  # cancelled while it waited
                queue.popleft()
                continue
            n_bytes += job.nbytes
            if n_bytes > MAX_AHEAD_BYTES and (jobs or flight):
                break
            queue.popleft()
            job.place = place
            jobs.append(job)
            room -= 1
        if not jobs:
            return
        self.n_waiting -= len(jobs)
        if not self.n_waiting:
            waiting.clear()  # only settled jobs are left
        was_empty = not flight
        for job in jobs:
            flight[job.id] = job
        w.n_taken += len(jobs)
        w.state = State.BUSY
        if len(flight) > 1:
            self._ahead[w.id] = w
        if was_empty:
            w.since = now
            self._start_clock(w, now)
        self._out.append(Send(w.id, jobs))

    # ------------------------------------------------------------ workers come

    def _ready(self, event: Ready) -> None:
        w = self.workers[event.worker]
        if w.state is not State.STARTING:  # killed meanwhile
            return
        self._early_deaths = 0
        self._set_deadline(w, None)
        self._go_on(w, event.now)

    def _start_failed(self, event: StartFailed) -> None:
        del self.workers[event.worker]
        self._timed.pop(event.worker, None)
        if self._n_working() == 0 and (self.n_live or not self.closing):
            self._break()
        else:
            self._no_start_before = event.now + RETRY_START
        self._check_finished()

    def _init_failed(self, event: InitFailed) -> None:
        w = self.workers[event.worker]
        if w.state is not State.STARTING:  # killed meanwhile
            return
        # The pool breaks when it is gone: by then what the initializer logged or queued has been flushed.
        w.state = State.RETIRING
        w.failed = True
        self._set_deadline(w, event.now + self.exit_grace)
        self._no_start_before = event.now + self.exit_grace

    # ------------------------------------------------------------ answers

    def _returned(self, event: Returned) -> None:
        w = self.workers[event.worker]
        flight = w.flight
        n = 0
        repeated = False
        for call in event.calls:
            job = flight.pop(call, None)
            if job is None:
                continue
            if job.retry is not None and self._repeat_answered(w, job, call in event.again):
                repeated = True
                continue
            n += 1
            job.place = Place.SETTLED
        self.n_live -= n
        self.n_done += n
        self._go_on_after_answers(w, event)
        if repeated:
            self._spread(event.now)

    def _repeat_answered(self, w: _Worker[J], job: J, again: bool) -> bool:
        """Run a job once more that was answered, if it is to be; say whether."""
        was_interrupted = w.state is State.STOPPING and w.deadline is not None and w.target is job
        if was_interrupted:
            return job.stop is StopReason.LIMIT and self._repeat(job, timed_out=True)
        return again and self._repeat(job)

    def _go_on_after_answers(self, w: _Worker[J], event: Returned) -> None:
        flight = w.flight
        w.since = event.now
        w.late = False
        w.window = min(self.max_ahead, 1 + int(AHEAD_SECONDS * len(event.calls) / (event.seconds + 1e-6)))
        if len(flight) <= 1:
            self._ahead.pop(w.id, None)
        if event.heavy and not w.worn:
            w.worn = True
            if flight and w.state is State.BUSY:
                self._ask(w, Purpose.SHARE)
                return
        if w.state is State.STOPPING:
            if not flight and w.deadline is not None:  # it answered the interrupt
                self._kill(w)
                self._after_loss(event.now)
            return
        if w.state is not State.BUSY:
            return
        if flight:
            self._start_clock(w, event.now)
            if self.n_waiting and not w.worn and len(flight) <= w.window // 2:
                self._feed(w, event.now)
        else:
            self._go_on(w, event.now)

    def _go_on(self, w: _Worker[J], now: float) -> None:
        """Find the next thing for a ready worker that holds nothing."""
        if w.worn or (self.max_tasks is not None and w.n_taken >= self.max_tasks):
            self._retire(w, now)
            self._spread(now)
            return
        if self.n_waiting:
            self._feed(w, now)
            return
        self._rest(w, now)
        if self.n_live:
            self._steal()

    def _rest(self, w: _Worker[J], now: float) -> None:
        """Let a worker be idle, or end it when the pool is closing."""
        if self.closing and self.n_live == 0:
            self._retire_all(now, w)
            return
        w.state = State.IDLE
        self._idle[w.id] = w
        self._set_deadline(w, None if self.idle_timeout is None else now + self.idle_timeout)

    def _steal(self) -> None:
        """Ask the worker with most unstarted calls for half of them.

        A slow call must not keep those behind it from an idle worker.  Halving
        ends: of a single unstarted call nothing is kept.
        """
        victim = None
        most = 1
        for w in self.workers.values():
            if w.state is State.BUSY and w.asked is None and len(w.flight) > most:
                victim, most = w, len(w.flight)
        if victim is not None:
            self._ask(victim, Purpose.STEAL, keep=(most - 1) // 2)

    # ------------------------------------------------------------ taking back

    def _ask(self, w: _Worker[J], purpose: Purpose, *, only: int | None = None, keep: int = 0) -> None:
        w.asked = purpose
        self._out.append(Revoke(w.id, only, keep))

    def _revoked(self, event: Revoked) -> None:
        w = self.workers[event.worker]
        purpose, w.asked = w.asked, None
        now = event.now
        if purpose is Purpose.CANCEL:
            self._answer_cancel(w, event.calls, now)
            return
        if purpose is Purpose.STEAL:
            self.n_stolen += len(event.calls)
        self._take_back(w, event.calls)
        if purpose is Purpose.STOP:
            self._answer_stop(w, now)
            return
        if not w.flight and w.state is State.BUSY:
            if purpose is Purpose.GIVE_UP:
                self._kill(w)
            else:
                self._go_on(w, now)  # it had answered all that it had begun
        self._spread(now)

    def _answer_stop(self, w: _Worker[J], now: float) -> None:
        target = w.target
        assert target is not None
        if target.id in w.flight:
            self._out.append(Collect(w.id))
        elif not w.late and target.place is Place.WAITING:
            # Its limit passed before the worker began with it.  Once more, with less patience.
            w.late = True
            w.target = None
            w.window = 1
            w.state = State.BUSY
            self._feed(w, now)
            if not w.blocked:
                self._set_deadline(w, now + CLAIM_SECONDS)
        else:
            self._lose(target, Outcome.TIMED_OUT)
            self._kill(w)
            self._after_loss(now)

    def _lose(self, job: J, outcome: Outcome, worker: int | None = None) -> None:
        """Note that a worker was lost before it began with a job that was its turn."""
        if job.place is Place.WAITING:
            job.losses += 1
            if job.losses >= MAX_LOSSES:
                self._settle(job, outcome, worker)

    def _take_back(self, w: _Worker[J], calls: Iterable[int]) -> None:
        """Put unclaimed calls back at the front of the queue, in their order."""
        back: list[J] = []
        for call in calls:
            job = w.flight.pop(call, None)
            if job is None:
                continue
            w.n_taken -= 1
            if self.cancelling or job.stop is StopReason.DROP or job.stop is StopReason.CANCEL:
                self._settle(job, Outcome.CANCELLED)
            else:
                job.place = Place.WAITING
                job.stop = None
                back.append(job)
        if len(w.flight) <= 1:
            self._ahead.pop(w.id, None)
        self.waiting.put_back(back)
        self.n_waiting += len(back)

    # ------------------------------------------------------------ cancel and limits

    def _cancel_asked(self, event: CancelAsked[J]) -> None:
        job = event.job
        if job.place is Place.SETTLED or job.place is Place.NEW:
            if not event.stop:
                self._out.append(Settle(job, Outcome.NOT_CANCELLED))
            return
        if job.place is Place.WAITING or job.place is Place.DELAYED:
            self._settle(job, Outcome.CANCELLED)
            self._check_finished_calls(event.now)
            return
        assert isinstance(job.place, int)
        w = self.workers[job.place]
        if w.target is job:  # being stopped already; a limit's end is as good as a cancel's
            if event.stop:
                job.stop = StopReason.CANCEL
            else:
                self._out.append(Settle(job, Outcome.NOT_CANCELLED))
            return
        if w.state is State.STOPPING or w.state is State.ENDING:
            # taken back or settled in a moment
            if event.stop:
                job.stop = StopReason.CANCEL
            else:
                self._out.append(Settle(job, Outcome.NOT_CANCELLED))
            return
        w.target = job
        w.cancel_stop = event.stop
        self._ask(w, Purpose.CANCEL, only=job.id)

    def _answer_cancel(self, w: _Worker[J], calls: Sequence[int], now: float) -> None:
        job, w.target = w.target, None
        assert job is not None
        was_next = next(iter(w.flight), None) == job.id
        if job.id in calls and w.flight.pop(job.id, None) is not None:
            w.n_taken -= 1
            if len(w.flight) <= 1:
                self._ahead.pop(w.id, None)
            self._settle(job, Outcome.CANCELLED)
            if was_next and (w.blocked or w.since + CLAIM_SECONDS <= now):
                # It would have to receive all of what nobody wants, or it is stopped or stuck.
                self._ask(w, Purpose.GIVE_UP)
            elif not w.flight:
                self._go_on(w, now)
            self._check_finished_calls(now)
        elif not w.cancel_stop:
            self._out.append(Settle(job, Outcome.NOT_CANCELLED))
        elif job.id in w.flight:
            job.stop = StopReason.CANCEL
            self._stop(w, job)

    def _drop_asked(self, event: DropAsked[J]) -> None:
        places: set[int] = set()
        for job in event.jobs:
            place = job.place
            if place is Place.WAITING or place is Place.DELAYED:
                self._settle(job, Outcome.CANCELLED)
            elif isinstance(place, int):
                if job.stop is None:
                    job.stop = StopReason.DROP
                places.add(place)
        for place in sorted(places):
            w = self.workers[place]
            if w.state is State.BUSY and w.asked is None:
                self._ask(w, Purpose.SHARE)
        self._check_finished_calls(event.now)

    def _end_wanted(self, event: EndWanted[J]) -> None:
        job = event.job
        if job.place is not Place.SETTLED:
            job.retry = None
            self._doomed.add(event.now + self.grace, job)

    def _stop(self, w: _Worker[J], job: J) -> None:
        """Begin to end a running call; first save everything that is not it."""
        w.state = State.STOPPING
        self._ahead.pop(w.id, None)
        w.target = job
        w.looked = False
        self._set_deadline(w, None)
        self._ask(w, Purpose.STOP)

    def _collected(self, event: Collected) -> None:
        w = self.workers[event.worker]
        if w.state is not State.STOPPING:
            return
        job = w.target
        assert job is not None
        if job.id in w.flight:
            self._set_deadline(w, event.now + self.grace)
            self._out.append(Interrupt(w.id, job.id))
            self._spread(event.now)
        else:  # it had ended by itself
            w.target = None
            w.state = State.BUSY
            # 1. a call is to be stopped  2. another, behind it, is cancelled: it will be taken back
            # 3. the first ends by itself and the worker begins with the second, before it is asked
            unwanted = [job for job in w.flight.values() if job.stop is StopReason.CANCEL]
            if unwanted:
                self._stop(w, unwanted[0])
            elif w.flight:
                self._start_clock(w, event.now)
            else:
                self._go_on(w, event.now)

    def _start_clock(self, w: _Worker[J], now: float) -> None:
        """Count the limit of the call that runs from now on, unless the worker is still being sent it."""
        limit = None
        if not w.blocked:
            for job in w.flight.values():
                limit = job.limit
                break
        if limit is not None or w.deadline is not None:
            self._set_deadline(w, None if limit is None else now + limit)

    def _was_blocked(self, event: Blocked) -> None:
        w = self.workers[event.worker]
        w.blocked = True
        if w.state is State.BUSY:
            self._set_deadline(w, None)

    def _was_flushed(self, event: Flushed) -> None:
        w = self.workers[event.worker]
        w.blocked = False
        w.since = event.now
        if w.state is State.BUSY:
            self._start_clock(w, event.now)

    def _set_deadline(self, w: _Worker[J], when: float | None) -> None:
        w.deadline = when
        if when is None:
            self._timed.pop(w.id, None)
        else:
            self._timed[w.id] = w

    def _ticked(self, event: Ticked) -> None:
        now = event.now
        for w in list(self._timed.values()):
            if w.deadline is None or w.deadline > now:
                continue
            self._set_deadline(w, None)
            if w.state is State.IDLE:
                self._retire(w, now)
            elif w.state is State.BUSY:
                # Judge only after reading what has arrived: after a Ctrl-Z both
                # the limit has passed and the answer is there.
                job = next(iter(w.flight.values()))
                job.stop = StopReason.LIMIT
                self._stop(w, job)
            elif w.state is State.STOPPING:
                self._end_grace(w, now)
            elif w.state is State.STARTING:
                self._drop_waiting(Outcome.CANCELLED)
                self._kill(w)
                self._after_loss(now)
            else:  # retiring, or ending by a signal that it ignores
                self._kill(w)
        for w in list(self._ahead.values()):
            if w.since + HOSTAGE_SECONDS <= now and w.state is State.BUSY and w.asked is None:
                w.window = 1
                w.since = now
                self._ask(w, Purpose.SHARE)
        if self._no_start_before is not None and now >= self._no_start_before:
            self._no_start_before = None
            self._spread(now)
        if self._delayed.heap:
            self._end_delays(now)
        if self._doomed.heap:
            self._expire(now)
        self._check_finished()

    def _end_grace(self, w: _Worker[J], now: float) -> None:
        """Kill a worker that did not react to the interrupt; over a limit, first ask it where it is."""
        job = w.target
        if job is None or w.looked or not (job.stop is StopReason.LIMIT or job.expired):
            self._kill(w)
            self._after_loss(now)
            return
        w.looked = True
        self._set_deadline(w, now + LOOK_SECONDS)
        self._out.append(Look(w.id, job.id))

    def _was_looked_at(self, event: Looked) -> None:
        w = self.workers.get(event.worker)
        if w is not None and w.state is State.STOPPING and w.looked and w.deadline is not None:
            self._kill(w)
            self._after_loss(event.now)

    # ------------------------------------------------------------ repeating, and limits of the whole

    def _repeat(self, job: J, *, timed_out: bool = False, died: bool = False) -> bool:
        """Have a job run once more if it may; say whether.  It is with no worker any more."""
        retry = job.retry
        if retry is None or job.attempt > retry.n or job.expired or self.cancelling or self.broken:
            return False
        if job.stop is StopReason.CANCEL or job.stop is StopReason.DROP:
            return False
        if (timed_out and not retry.timed_out) or (died and not retry.died):
            return False
        when = self._now + retry.pause(job.attempt)
        if job.deadline is not None and when >= job.deadline:
            return False
        job.attempt += 1
        job.losses = 0
        job.stop = None
        if job.place is Place.WAITING:  # taken back already; it waits on
            return True
        if when <= self._now:
            job.place = Place.WAITING
            self.waiting.extend([job])
            self.n_waiting += 1
        else:
            job.place = Place.DELAYED
            self._delayed.add(when, job)
        return True

    def _end_delays(self, now: float) -> None:
        while (job := self._delayed.due(now)) is not None:
            self._delayed.pop()
            job.place = Place.WAITING
            self.waiting.extend([job])
            self.n_waiting += 1
        self._spread(now)

    def _expire(self, now: float) -> None:
        """End the jobs whose time is up; of those that are with workers one at a time, as each has to be asked back."""
        while (job := self._doomed.due(now)) is not None:
            if isinstance(job.place, int) and self.workers[job.place].asked is not None:
                return  # its worker has been asked for something a moment ago: first that answer, then once more
            self._doomed.pop()
            job.expired = True
            self._cancel_asked(CancelAsked(job, True, now))
            if isinstance(job.place, int):
                return

    # ------------------------------------------------------------ workers go

    def _kill(self, w: _Worker[J]) -> None:
        """Kill a worker and settle the call it was asked to stop."""
        self._idle.pop(w.id, None)
        self._ahead.pop(w.id, None)
        self._set_deadline(w, None)
        w.state = State.ENDING
        job, w.target = w.target, None
        self._out.append(Kill(w.id))
        if job is not None and w.flight.pop(job.id, None) is not None:
            timed_out = job.stop is StopReason.LIMIT
            self._settle(job, Outcome.TIMED_OUT if timed_out else Outcome.CANCELLED, w.id)

    def _retire(self, w: _Worker[J], now: float) -> None:
        self._idle.pop(w.id, None)
        w.state = State.RETIRING
        self._set_deadline(w, now + self.home_grace)
        self._out.append(Retire(w.id))

    def _retire_all(self, now: float, extra: _Worker[J] | None = None) -> None:
        for w in list(self.workers.values()):
            if w.state is State.IDLE or w is extra:
                self._retire(w, now)
            elif w.state is State.STARTING:
                self._kill(w)

    def _died(self, event: Died) -> None:
        w = self.workers.pop(event.worker)
        early = w.state is State.STARTING
        expected = w.state in _LEAVING
        self._idle.pop(w.id, None)
        self._timed.pop(w.id, None)
        first = next(iter(w.flight.values()), None)
        self._take_back(w, event.unclaimed)
        self._ahead.pop(w.id, None)
        if first is not None:
            self._lose(first, Outcome.WORKER_DIED, w.id)
        if not expected:
            self.n_died += 1
        for job in list(w.flight.values()):
            if job.stop is StopReason.CANCEL:
                outcome = Outcome.CANCELLED
            elif job is w.target and job.stop is StopReason.LIMIT:
                outcome = Outcome.TIMED_OUT
            else:
                outcome = Outcome.WORKER_DIED
            self._settle(job, outcome, w.id)
        if w.asked is Purpose.CANCEL and w.target is not None and not w.cancel_stop:
            self._out.append(Settle(w.target, Outcome.NOT_CANCELLED))
        w.flight.clear()
        if w.failed:
            self._break()
            self._check_finished()
            return
        if early:
            self._early_deaths += 1
            if self._early_deaths >= MAX_EARLY_DEATHS and (self._n_working() == 0 or not self._has_ready()):
                self._break()
                self._check_finished()
                return
        self._after_loss(event.now)
        self._check_finished()

    def _has_ready(self) -> bool:
        return any(w.state in (State.IDLE, State.BUSY) for w in self.workers.values())

    def _after_loss(self, now: float) -> None:
        """Find workers for the jobs that lost theirs, and end if none are left."""
        self._spread(now)
        self._check_finished_calls(now)

    # ------------------------------------------------------------ the end

    def _settle(self, job: J, outcome: Outcome, worker: int | None = None) -> None:
        if job.retry is not None and (
            (outcome is Outcome.TIMED_OUT and self._repeat(job, timed_out=True))
            or (outcome is Outcome.WORKER_DIED and self._repeat(job, died=True))
        ):
            return
        if job.expired and outcome is Outcome.CANCELLED:
            outcome = Outcome.TIMED_OUT
        was_waiting = job.place is Place.WAITING
        job.place = Place.SETTLED
        if was_waiting:
            self.n_waiting -= 1
            if not self.n_waiting or len(self.waiting) > 2 * self.n_waiting + 64:
                self._forget_settled()
        self.n_live -= 1
        self._out.append(Settle(job, outcome, worker))

    def _forget_settled(self) -> None:
        """Drop settled jobs from the queue, where they would keep alive whatever their callers hold."""
        self.waiting.replace(job for job in self.waiting if job.place is Place.WAITING)

    def _close_asked(self, event: CloseAsked) -> None:
        self.closing = True
        if event.cancel and not self.cancelling:
            self.cancelling = True
            # As many as workers are on their way count as started: their processes exist for them.
            self._drop_waiting(Outcome.CANCELLED, keep=self._n_coming())
            self._take_all_back()
            for w in self.workers.values():
                if w.state is State.STARTING:  # but not for ever: its initializer may hang
                    self._set_deadline(w, event.now + self.exit_grace)
        self._check_finished_calls(event.now)
        self._check_finished()

    def _drop_waiting(self, outcome: Outcome, keep: int = 0) -> None:
        left = [job for job in self.waiting if job.place is Place.WAITING]
        for job in left[keep:]:
            self._settle(job, outcome)
        for job in self._delayed.take_all():
            self._settle(job, outcome)

    def _take_all_back(self) -> None:
        for w in list(self.workers.values()):
            if w.state is State.BUSY and w.asked is None:
                self._ask(w, Purpose.SHARE)

    def _kill_asked(self, event: KillAsked) -> None:
        self.closing = self.cancelling = True
        self._drop_waiting(Outcome.CANCELLED)
        self._take_all_back()
        for w in list(self.workers.values()):
            if w.state is not State.ENDING:
                self._kill(w)
                self._set_deadline(w, event.now + self.exit_grace)  # the signal may be ignored
        self._check_finished()

    def _break_asked(self, event: BreakAsked) -> None:
        self._break()
        self._check_finished()

    def _break(self) -> None:
        """Give the pool up: every job fails, every worker ends."""
        self.broken = True
        self._drop_waiting(Outcome.BROKEN)
        for w in list(self.workers.values()):
            for job in list(w.flight.values()):
                self._settle(job, Outcome.BROKEN, w.id)
            w.flight.clear()
            w.target = None
            if w.state is not State.ENDING:
                self._kill(w)

    def _check_finished_calls(self, now: float) -> None:
        """When the last job of a closing pool is settled, send the workers home."""
        if self.closing and self.n_live == 0:
            self._retire_all(now)
            self._check_finished()

    def _check_finished(self) -> None:
        if (self.closing or self.broken) and not self.workers and self.n_live == 0 and not self.finished:
            self.finished = True
            self._out.append(Finish())


def _is_delayed(job: Job) -> bool:
    return job.place is Place.DELAYED


def _is_open(job: Job) -> bool:
    return job.place is not Place.SETTLED


_LEAVING: Final = frozenset({State.RETIRING, State.ENDING, State.STOPPING})

_ROWS: Final[dict[type, Callable[..., None]]] = {
    Submitted: Machine._submitted,
    StartFailed: Machine._start_failed,
    Ready: Machine._ready,
    InitFailed: Machine._init_failed,
    Returned: Machine._returned,
    Revoked: Machine._revoked,
    Collected: Machine._collected,
    Blocked: Machine._was_blocked,
    Flushed: Machine._was_flushed,
    CancelAsked: Machine._cancel_asked,
    DropAsked: Machine._drop_asked,
    EndWanted: Machine._end_wanted,
    Ticked: Machine._ticked,
    Died: Machine._died,
    Looked: Machine._was_looked_at,
    CloseAsked: Machine._close_asked,
    KillAsked: Machine._kill_asked,
    BreakAsked: Machine._break_asked,
}
