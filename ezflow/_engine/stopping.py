"""How calls are taken back and stopped: cancels, limits, and the clock."""

from __future__ import annotations

from .events import (
    CancelAsked,
    Collect,
    Interrupt,
    J,
    Look,
    Outcome,
    Place,
    Settle,
    StopReason,
)
from .spreading import Spreading
from .states import CLAIM_SECONDS, HOSTAGE_SECONDS, LOOK_SECONDS, MAX_LOSSES, Purpose, State

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .events import Blocked, Collected, DropAsked, EndWanted, Flushed, Looked, Revoked, Ticked
    from .states import Worker


class Stopping(Spreading[J]):
    """The part of the machine that takes calls back from workers."""

    # ------------------------------------------------------------ taking back

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

    def _take_back(self, w: Worker[J], calls: Iterable[int]) -> None:
        """Put unclaimed calls back at the front of the queue, in their order."""
        back: list[J] = []
        for call in calls:
            job = w.flight.pop(call, None)
            if job is None:
                continue
            w.n_taken -= 1
            if self.cancelling or job.stop is StopReason.DROP or job.stop is StopReason.CANCEL:
                self._settle(job, Outcome.CANCELLED)
            elif job.deadline is not None and job.deadline <= self._now:
                # Not left to the next tick: a worker that is ready before it would begin with the call.
                job.expired = True
                self._settle(job, Outcome.CANCELLED)
            else:
                job.place = Place.WAITING
                job.stop = None
                back.append(job)
        if len(w.flight) <= 1:
            self._ahead.pop(w.id, None)
        self.waiting.put_back(back)
        self.n_waiting += len(back)

    def _lose(self, job: J, outcome: Outcome, worker: int | None = None) -> None:
        """Note that a worker was lost before it began with a job that was its turn."""
        if job.place is Place.WAITING:
            job.losses += 1
            if job.losses >= MAX_LOSSES:
                self._settle(job, outcome, worker)

    # ------------------------------------------------------------ cancel

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

    def _answer_cancel(self, w: Worker[J], calls: Sequence[int], now: float) -> None:
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

    # ------------------------------------------------------------ stopping what runs

    def _stop(self, w: Worker[J], job: J) -> None:
        """Begin to end a running call; first save everything that is not it."""
        w.state = State.STOPPING
        self._ahead.pop(w.id, None)
        w.target = job
        w.looked = False
        self._set_deadline(w, None)
        self._ask(w, Purpose.STOP)

    def _answer_stop(self, w: Worker[J], now: float) -> None:
        target = w.target
        assert target is not None
        if target.id in w.flight:
            self._out.append(Collect(w.id))
        elif not w.late:
            # Its limit passed before the worker began with it.  Once more, or on with the next, with less patience.
            w.late = True
            w.target = None
            w.window = 1
            w.state = State.BUSY
            self._go_on(w, now)
            if w.flight and not w.blocked:
                self._set_deadline(w, now + CLAIM_SECONDS)
        else:
            self._lose(target, Outcome.TIMED_OUT)
            self._kill(w)
            self._after_loss(now)

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

    def _end_grace(self, w: Worker[J], now: float) -> None:
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

    # ------------------------------------------------------------ the clock

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

    def _expire(self, now: float) -> None:
        """End the jobs whose time is up: those that wait, and one of each worker, which has to be asked for each."""
        with_workers = []
        while (job := self._doomed.due(now)) is not None:
            self._doomed.pop()
            if isinstance(job.place, int) and self.workers[job.place].asked is not None:
                with_workers.append(job)  # first the answer to that, then once more
                continue
            job.expired = True
            self._cancel_asked(CancelAsked(job, True, now))
        for job in with_workers:
            self._doomed.add(now, job)
