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

from .events import (
    Blocked,
    BreakAsked,
    CancelAsked,
    CloseAsked,
    Collected,
    Died,
    DropAsked,
    EndWanted,
    Flushed,
    InitFailed,
    J,
    KillAsked,
    Looked,
    Outcome,
    Place,
    Ready,
    Returned,
    Revoked,
    Settle,
    StartFailed,
    StopReason,
    Submitted,
    Ticked,
)
from .states import AHEAD_SECONDS, LEAVING, MAX_EARLY_DEATHS, Purpose, State, Worker
from .stopping import Stopping

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from .events import Command, Event


class Machine(Stopping[J]):
    """Decide; never act.

    A tower: each part uses those below it only.

    ============  =========================================================================
    `Machine`     takes events; answers, deaths
    `Stopping`    taking back, cancels, limits
    `Spreading`   who gets what, and when workers are started
    `Endings`     of jobs, workers, the pool; running a job once more
    `Ledger`      what is known; parameters
    ============  =========================================================================
    """

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

    def _repeat_answered(self, w: Worker[J], job: J, again: bool) -> bool:
        """Run a job once more that was answered, if it is to be; say whether."""
        was_interrupted = w.state is State.STOPPING and w.deadline is not None and w.target is job
        if was_interrupted:
            return job.stop is StopReason.LIMIT and self._repeat(job, timed_out=True)
        return again and self._repeat(job)

    def _go_on_after_answers(self, w: Worker[J], event: Returned) -> None:
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

    # ------------------------------------------------------------ deaths

    def _died(self, event: Died) -> None:
        w = self.workers.pop(event.worker)
        early = w.state is State.STARTING
        expected = w.state in LEAVING
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
