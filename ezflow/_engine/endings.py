"""How a job ends, or begins anew; how a worker is told to end; how the pool ends."""

from __future__ import annotations

from .events import Finish, J, Kill, Outcome, Place, Retire, Settle, StopReason
from .ledger import Ledger
from .states import Purpose, State

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from .events import BreakAsked, CloseAsked, KillAsked
    from .states import Worker


class Endings(Ledger[J]):
    """The part of the machine that ends things."""

    # ------------------------------------------------------------ a job

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

    def _forget_settled(self) -> None:
        """Drop settled jobs from the queue, where they would keep alive whatever their callers hold."""
        self.waiting.replace(job for job in self.waiting if job.place is Place.WAITING)

    def _drop_waiting(self, outcome: Outcome, keep: int = 0) -> None:
        left = [job for job in self.waiting if job.place is Place.WAITING]
        for job in left[keep:]:
            self._settle(job, outcome)
        for job in self._delayed.take_all():
            self._settle(job, outcome)

    # ------------------------------------------------------------ a worker

    def _kill(self, w: Worker[J]) -> None:
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

    def _retire(self, w: Worker[J], now: float) -> None:
        self._idle.pop(w.id, None)
        w.state = State.RETIRING
        self._set_deadline(w, now + self.home_grace)
        self._out.append(Retire(w.id))

    def _retire_all(self, now: float, extra: Worker[J] | None = None) -> None:
        for w in list(self.workers.values()):
            if w.state is State.IDLE or w is extra:
                self._retire(w, now)
            elif w.state is State.STARTING:
                self._kill(w)

    # ------------------------------------------------------------ the pool

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

    def _take_all_back(self) -> None:
        for w in list(self.workers.values()):
            if w.state is State.BUSY and w.asked is None:
                self._ask(w, Purpose.SHARE)

    def _check_finished_calls(self, now: float) -> None:
        """When the last job of a closing pool is settled, send the workers home."""
        if self.closing and self.n_live == 0:
            self._retire_all(now)
            self._check_finished()

    def _check_finished(self) -> None:
        if (self.closing or self.broken) and not self.workers and self.n_live == 0 and not self.finished:
            self.finished = True
            self._out.append(Finish())
