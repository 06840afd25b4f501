"""The scheduler against a simulated world of workers, claims, deaths and cancels.

The world keeps for every worker what a real one has: frames not read yet, the
claims pipe, the call that runs, answers not read by the parent.  Hypothesis
chooses what happens next; the dispatcher below obeys commands as the real one
does.  The invariants are the promises of the pool.

A call that is to be repeated may begin several times, each run once: frames
carry the run that they are for.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ezflow._engine import events as m
from ezflow._engine.machine import Machine
from ezflow._engine.states import AHEAD_SECONDS, MAX_LOSSES, State


@dataclass
class Worker:
    """One simulated process."""

    frames: deque[tuple[int, int]] = field(default_factory=deque)  # number, which run of it
    on_the_way: deque[tuple[int, int]] = field(default_factory=deque)  # written, not received
    claims: deque[int] = field(default_factory=deque)
    claimed: int | None = None  # number read from the claims pipe, its call not met yet
    running: int | None = None
    answers: list[tuple[int, bool]] = field(default_factory=list)  # number, did it raise what is retried
    interrupted: bool = False
    exiting: bool = False
    killed: bool = False
    served: int = 0


class MachineWorld(RuleBasedStateMachine):
    """Random histories of a pool."""

    @initialize(
        n=st.integers(1, 3),
        max_tasks=st.none() | st.integers(1, 4),
        idle_timeout=st.none() | st.just(3.0),
        max_ahead=st.integers(2, 6),
        pace=st.sampled_from([0.0, AHEAD_SECONDS / 2, 1.0]),
    )
    def make(
        self, n: int, max_tasks: int | None, idle_timeout: float | None, max_ahead: int, pace: float
    ) -> None:
        self.pace = pace
        self.max_tasks = max_tasks
        self.max_ahead = max_ahead
        self.machine: Machine[m.Job] = Machine(
            n,
            max_tasks=max_tasks,
            idle_timeout=idle_timeout,
            grace=1.0,
            home_grace=2.0,
            exit_grace=2.0,
            max_ahead=max_ahead,
        )
        self.now = 0.0
        self.next_id = 1
        self.jobs: dict[int, m.Job] = {}
        self.workers: dict[int, Worker] = {}
        self.coming: set[int] = set()  # workers asked for and not made
        self.starting: set[int] = set()  # made and not ready
        self.started: dict[tuple[int, int], int] = {}  # call and run → how often a worker began it
        self.not_before: dict[int, float] = {}  # call → when the pause before its next run ends
        self.unwanted: set[int] = set()  # dropped: not repeated, if they run
        self.finished_by_worker: set[int] = set()
        self.ended: dict[int, str] = {}
        self.revoked_for_ever: set[int] = set()
        self.cancelled_by_user: set[int] = set()
        self.cancelled_if_waiting: set[int] = set()
        self.closing = False
        self.cancelling = False
        self.looked_at: set[int] = set()  # workers that were asked where they are

    # ------------------------------------------------------------ the dispatcher

    def tell(self, event: object) -> None:
        self.obey(self.machine.handle(event))  # type: ignore[arg-type]

    def obey(self, commands: list) -> None:
        for command in commands:
            if isinstance(command, m.Start):
                self.coming.add(command.worker)
            elif isinstance(command, m.Send):
                w = self.workers[command.worker]
                for job in command.jobs:
                    assert self.now >= self.not_before.get(job.id, 0.0), "a pause was cut short"
                    assert not any(
                        other.priority > job.priority
                        for other in self.machine.waiting
                        if other.place is m.Place.WAITING
                    ), "a more urgent call waits"
                w.on_the_way.extend((job.id, job.attempt) for job in command.jobs)
                w.claims.extend(job.id for job in command.jobs)
                assert not w.killed and not w.exiting, "work for a worker that is leaving"
            elif isinstance(command, m.Revoke):
                w = self.workers[command.worker]
                found = list(w.claims)
                if command.only is not None:
                    gone = [c for c in found if c == command.only]
                    kept = [c for c in found if c != command.only]
                else:
                    kept, gone = found[: command.keep], found[command.keep :]
                w.claims = deque(kept)
                self.tell(m.Revoked(command.worker, gone, self.now))
            elif isinstance(command, m.Collect):
                self.read(command.worker)
                self.tell(m.Collected(command.worker, self.now))
            elif isinstance(command, m.Interrupt):
                w = self.workers[command.worker]
                assert w.running in (command.call, None) or command.call in [call for call, _ in w.answers]
                w.interrupted = w.running == command.call
            elif isinstance(command, m.Look):
                assert command.call in self.machine.flight(command.worker)
                self.looked_at.add(command.worker)
            elif isinstance(command, m.Kill):
                if command.worker in self.workers:
                    self.workers[command.worker].killed = True
                else:
                    assert command.worker in self.coming
                    self.coming.discard(command.worker)
                    self.workers[command.worker] = Worker(killed=True)
                    self.starting.add(command.worker)
            elif isinstance(command, m.Retire):
                w = self.workers[command.worker]
                assert w.running is None and not w.answers, "a busy worker was sent home"
                w.exiting = True
            elif isinstance(command, m.Settle):
                self.settle(command)

    def settle(self, command: m.Settle[m.Job]) -> None:
        call = command.job.id
        if command.outcome is m.Outcome.NOT_CANCELLED:
            return
        assert call not in self.ended, f"call {call} ended twice"
        self.ended[call] = command.outcome.value
        job = command.job
        if command.outcome is m.Outcome.CANCELLED:
            asked = self.cancelled_by_user | self.cancelled_if_waiting | self.unwanted
            assert self.cancelling or call in asked, "nobody cancelled it"
            if not any(number == call for number, _ in self.started):
                self.revoked_for_ever.add(call)
        if command.outcome is m.Outcome.TIMED_OUT:
            assert job.limit is not None or job.expired
            assert not job.expired or job.deadline <= self.now
            assert job.expired or not self.ought_to_repeat(job, timed_out=True)
        if command.outcome is m.Outcome.WORKER_DIED:
            assert command.worker is not None
            assert not self.ought_to_repeat(job, died=True)
            w = self.workers[command.worker]
            assert call in (w.running, w.claimed) or command.job.losses == MAX_LOSSES, (
                "an innocent call was blamed"
            )

    def ought_to_repeat(self, job: m.Job, *, died: bool = False, timed_out: bool = False) -> bool:
        """Tell whether the user is owed one more run of a job that has failed like this."""
        retry = job.retry
        if retry is None or job.attempt > retry.n or job.expired or self.cancelling or self.machine.broken:
            return False
        if job.id in self.cancelled_by_user | self.unwanted or (died and not retry.died):
            return False
        if timed_out and not retry.timed_out:
            return False
        return job.deadline is None or self.now + retry.pause(job.attempt) < job.deadline

    def read(self, worker: int) -> None:
        w = self.workers[worker]
        if w.answers:
            answers, w.answers = w.answers, []
            flight = self.machine.flight(worker)
            mine = [(flight[call], again) for call, again in answers if call in flight]
            is_stopped = self.machine.workers[worker].state is State.STOPPING
            owed = {job.id: again and self.ought_to_repeat(job) for job, again in mine}
            runs = {job.id: job.attempt for job, _ in mine}
            for job, again in mine:
                if again and owed[job.id] and not is_stopped:
                    assert job.retry is not None
                    self.not_before[job.id] = self.now + job.retry.pause(job.attempt)
            self.tell(
                m.Returned(
                    worker,
                    [call for call, _ in answers],
                    self.now,
                    len(answers) * self.pace,
                    again=[call for call, again in answers if again],
                )
            )
            for job, _ in mine:
                if job.place is m.Place.SETTLED:
                    assert job.id not in self.ended, f"call {job.id} ended twice"
                    assert is_stopped or not owed[job.id], "a failed call was not repeated"
                    self.ended[job.id] = "answered"
                else:
                    assert job.attempt == runs[job.id] + 1, "an answer was lost"

    # ------------------------------------------------------------ what happens

    @rule(
        n=st.integers(1, 8),
        limited=st.booleans(),
        within=st.sampled_from([None, None, 0.02, 0.5, 4.0]),
        priority=st.sampled_from([0, 0, 0, -1, 2]),
        retry=st.none()
        | st.builds(
            m.Retry,
            st.integers(1, 2),
            st.sampled_from([0.0, 0.0, 0.05, 1.0]),
            st.sampled_from([1.0, 2.0]),
            died=st.booleans(),
            timed_out=st.booleans(),
        ),
    )
    def submit(
        self, n: int, limited: bool, within: float | None, priority: int, retry: m.Retry | None
    ) -> None:
        if self.closing:
            return
        limit = 2.0 if limited else None
        deadline = None if within is None else self.now + within
        new = [m.Job(self.next_id + i, 0, limit, deadline, priority, retry) for i in range(n)]
        self.next_id += n
        self.jobs.update((job.id, job) for job in new)
        self.tell(m.Submitted(new, self.now))

    @precondition(lambda self: self.coming)
    @rule(data=st.data(), fails=st.sampled_from([False, False, False, True]))
    def made(self, data: st.DataObject, fails: bool) -> None:
        worker = data.draw(st.sampled_from(sorted(self.coming)))
        self.coming.discard(worker)
        if fails:
            self.tell(m.StartFailed(worker, self.now))
        else:
            self.workers[worker] = Worker()
            self.starting.add(worker)

    @precondition(lambda self: self.starting)
    @rule(data=st.data(), fails=st.sampled_from([False] * 20 + [True]))
    def ready(self, data: st.DataObject, fails: bool) -> None:
        worker = data.draw(st.sampled_from(sorted(self.starting)))
        w = self.workers[worker]
        if not w.killed:
            self.starting.discard(worker)
            w.exiting = fails
            self.tell(m.InitFailed(worker, self.now) if fails else m.Ready(worker, self.now))

    def living(self) -> list[int]:
        return sorted(w for w, world in self.workers.items() if not world.killed and w not in self.starting)

    @precondition(lambda self: self.living())
    @rule(data=st.data(), steps=st.integers(1, 6), raises=st.booleans())
    def work(self, data: st.DataObject, steps: int, raises: bool) -> None:
        """A worker goes on: claims, starts, finishes."""
        worker = data.draw(st.sampled_from(self.living()))
        w = self.workers[worker]
        for _ in range(steps):
            self.step(w, raises)

    def step(self, w: Worker, raises: bool) -> None:
        """One move of a worker, as `Intake.next_call` makes it; numbers may arrive before their calls."""
        if w.running is not None:
            w.answers.append((w.running, raises and self.jobs[w.running].retry is not None))
            self.finished_by_worker.add(w.running)
            w.running = None
            w.served += 1
            return
        while w.frames:
            if w.claimed is None:
                if not w.claims:
                    return  # waits for a number
                w.claimed = w.claims.popleft()
            call, run = w.frames.popleft()
            if w.claimed != call:
                continue  # taken back
            w.claimed = None
            assert call not in self.revoked_for_ever, "a revoked call started"
            self.started[call, run] = self.started.get((call, run), 0) + 1
            w.running = call
            return

    @precondition(lambda self: any(w.on_the_way for w in self.workers.values()))
    @rule(data=st.data(), n=st.integers(1, 4))
    def frames_arrive(self, data: st.DataObject, n: int) -> None:
        worker = data.draw(st.sampled_from(sorted(i for i, w in self.workers.items() if w.on_the_way)))
        w = self.workers[worker]
        for _ in range(min(n, len(w.on_the_way))):
            w.frames.append(w.on_the_way.popleft())

    @precondition(lambda self: any(w.answers for w in self.workers.values()))
    @rule(data=st.data())
    def answers_arrive(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(i for i, w in self.workers.items() if w.answers)))
        self.read(worker)

    @precondition(lambda self: self.looked_at)
    @rule(data=st.data())
    def says_where_it_is(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.looked_at)))
        self.looked_at.discard(worker)
        self.tell(m.Looked(worker, self.now))

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def dies(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.workers)))
        self.bury(worker)

    def bury(self, worker: int) -> None:
        self.read(worker)
        w = self.workers[worker]
        unclaimed, w.claims = list(w.claims), deque()
        self.starting.discard(worker)
        self.tell(m.Died(worker, unclaimed, self.now))
        del self.workers[worker]

    @precondition(lambda self: any(j.place is not m.Place.SETTLED for j in self.jobs.values()))
    @rule(data=st.data(), stop=st.booleans())
    def cancel(self, data: st.DataObject, stop: bool) -> None:
        open_jobs = [j for j in self.jobs.values() if j.place is not m.Place.SETTLED]
        job = data.draw(st.sampled_from(open_jobs))
        (self.cancelled_by_user if stop else self.cancelled_if_waiting).add(job.id)
        self.tell(m.CancelAsked(job, stop, self.now))

    @precondition(lambda self: len(self.jobs) > 5)
    @rule(data=st.data())
    def drop_many(self, data: st.DataObject) -> None:
        unwanted = data.draw(st.lists(st.sampled_from(sorted(self.jobs)), unique=True, max_size=10))
        self.unwanted.update(unwanted)
        self.tell(m.DropAsked([self.jobs[i] for i in unwanted], self.now))

    @rule(seconds=st.sampled_from([0.001, 0.03, 0.1, 1.0, 2.5, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.tick()
        overdue = [j for j in self.jobs.values() if j.deadline is not None and j.deadline <= self.now]
        assert all(j.expired or j.place is m.Place.SETTLED for j in overdue)

    def tick(self) -> None:
        """Do what the dispatcher does when a deadline has passed, until none has."""
        for _ in range(200):
            deadline = self.machine.next_deadline()
            if deadline is None or deadline > self.now:
                return
            for worker in sorted(self.workers):
                self.read(worker)
            self.tell(m.Ticked(self.now))
        raise AssertionError("the clock is asked for again and again")

    @rule(cancel=st.booleans())
    @precondition(lambda self: len(self.jobs) > 20)
    def close(self, cancel: bool) -> None:
        self.closing = True
        self.cancelling |= cancel
        self.tell(m.CloseAsked(cancel, self.now))

    @rule()
    @precondition(lambda self: len(self.jobs) > 40)
    def kill(self) -> None:
        self.closing = self.cancelling = True
        self.tell(m.KillAsked(self.now))

    # ------------------------------------------------------------ what always holds

    @invariant()
    def each_run_of_a_call_starts_once(self) -> None:
        for (call, run), n in getattr(self, "started", {}).items():
            job = self.jobs[call]
            assert n == 1
            assert run <= job.attempt <= 1 + (0 if job.retry is None else job.retry.n)

    @invariant()
    def what_is_to_end_does_not_run_on(self) -> None:
        for job in getattr(self, "jobs", {}).values():
            if job.place is m.Place.SETTLED or not (job.expired or job.id in self.cancelled_by_user):
                continue
            assert isinstance(job.place, int), "it waits although nobody wants it"
            assert self.machine.workers[job.place].state in (State.STOPPING, State.ENDING)

    @invariant()
    def nothing_that_has_ended_is_kept(self) -> None:
        if hasattr(self, "machine"):
            assert self.machine.n_timed() <= 4 * self.machine.n_live

    @invariant()
    def workers_hold_no_more_than_they_may(self) -> None:
        for worker, w in getattr(self, "workers", {}).items():
            assert len(self.machine.flight(worker)) <= self.max_ahead
            if self.max_tasks is not None:
                assert w.served <= self.max_tasks

    @invariant()
    def no_more_workers_than_allowed(self) -> None:
        if hasattr(self, "machine"):
            states = [w.state for w in self.machine.workers.values()]
            busy = [s for s in states if s in (State.STARTING, State.IDLE, State.BUSY)]
            assert len(busy) <= self.machine.max_workers + states.count(State.STOPPING)

    @invariant()
    def count_of_live_jobs_is_right(self) -> None:
        if hasattr(self, "machine"):
            live = sum(1 for j in self.jobs.values() if j.place is not m.Place.SETTLED)
            assert live == self.machine.n_live

    def teardown(self) -> None:
        """Let the world run on fairly: every accepted call ends exactly once."""
        if not hasattr(self, "machine"):
            return
        self.closing = True
        self.tell(m.CloseAsked(False, self.now))
        for _ in range(3000):
            if self.machine.finished:
                break
            for worker in sorted(self.coming):
                self.coming.discard(worker)
                self.workers[worker] = Worker()
                self.starting.add(worker)
            for worker in sorted(self.starting):
                if not self.workers[worker].killed:
                    self.starting.discard(worker)
                    self.tell(m.Ready(worker, self.now))
            for worker in self.living():
                w = self.workers.get(worker)
                if w is None or w.killed:
                    continue
                w.frames.extend(w.on_the_way)
                w.on_the_way.clear()
                self.step(w, raises=True)
                self.read(worker)
            for worker in sorted(self.workers):
                if self.workers[worker].killed or self.workers[worker].exiting:
                    self.bury(worker)
            self.now += 0.1
            self.tick()
        assert self.machine.finished, "the pool never ended"
        assert set(self.ended) == set(self.jobs), "a call never ended"
        for call, how in self.ended.items():
            if how == "answered":
                assert call in self.finished_by_worker
        assert not self.machine.workers


MachineWorld.TestCase.settings = settings(
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestMachineWorld = MachineWorld.TestCase
