"""How jobs come to workers: the queue, workers that come, what each is sent, and what an idle one does."""

from __future__ import annotations

from .endings import Endings
from .events import J, Outcome, Place, Send, Start
from .states import MAX_AHEAD_BYTES, RETRY_START, Purpose, State, Worker

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from .events import InitFailed, Ready, StartFailed, Submitted


class Spreading(Endings[J]):
    """The part of the machine that finds workers for jobs, and jobs for workers."""

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

    def _end_delays(self, now: float) -> None:
        while (job := self._delayed.due(now)) is not None:
            self._delayed.pop()
            job.place = Place.WAITING
            self.waiting.extend([job])
            self.n_waiting += 1
        self._spread(now)

    def _spread(self, now: float) -> None:
        """Give waiting jobs to idle workers, then start workers for the rest."""
        while self.n_waiting and self._idle:
            _, w = self._idle.popitem()
            self._feed(w, now)
        if self.n_waiting:
            self._grow(now)

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
            w = Worker[J](self._next_id)
            self._next_id += 1
            self.workers[w.id] = w
            self._out.append(Start(w.id))
            n_working += 1
            n_coming += 1

    def _feed(self, w: Worker[J], now: float) -> None:
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

    # ------------------------------------------------------------ workers are free

    def _go_on(self, w: Worker[J], now: float) -> None:
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

    def _rest(self, w: Worker[J], now: float) -> None:
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

    def _after_loss(self, now: float) -> None:
        """Find workers for the jobs that lost theirs, and end if none are left."""
        self._spread(now)
        self._check_finished_calls(now)
