"""The scheduler against a simulated world of workers, claims, deaths and cancels.

The world keeps for every worker what a real one has: frames not read yet, the
claims pipe, the call that runs, answers not read by the parent.  Hypothesis
chooses what happens next; the dispatcher below obeys commands as the real one
does.  The invariants are the promises of the pool.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ezflow._engine import events as m
from ezflow._engine.machine import AHEAD_SECONDS, MAX_LOSSES, Machine, State


@dataclass
class Worker:
    """One simulated process."""

    frames: deque[int] = field(default_factory=deque)
    on_the_way: deque[int] = field(default_factory=deque)  # written, not received
    claims: deque[int] = field(default_factory=deque)
    claimed: int | None = None  # number read from the claims pipe, its call not met yet
    running: int | None = None
    answers: list[int] = field(default_factory=list)
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
        self.started: dict[int, int] = {}  # call → how often a worker began it
        self.finished_by_worker: set[int] = set()
        self.ended: dict[int, str] = {}
        self.revoked_for_ever: set[int] = set()
        self.cancelled_by_user: set[int] = set()
        self.closing = False

    # ------------------------------------------------------------ the dispatcher

    def tell(self, event: object) -> None:
        self.obey(self.machine.handle(event))  # type: ignore[arg-type]

    def obey(self, commands: list) -> None:
        for command in commands:
            if isinstance(command, m.Start):
                self.coming.add(command.worker)
            elif isinstance(command, m.Send):
                w = self.workers[command.worker]
                w.on_the_way.extend(job.id for job in command.jobs)
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
                assert w.running in (command.call, None) or command.call in w.answers
                w.interrupted = w.running == command.call
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
        if command.outcome is m.Outcome.CANCELLED and not self.started.get(call):
            self.revoked_for_ever.add(call)
        if command.outcome is m.Outcome.WORKER_DIED:
            assert command.worker is not None
            w = self.workers[command.worker]
            assert call in (w.running, w.claimed) or command.job.losses == MAX_LOSSES, (
                "an innocent call was blamed"
            )

    def read(self, worker: int) -> None:
        w = self.workers[worker]
        if w.answers:
            done, w.answers = w.answers, []
            for call in done:
                job = self.jobs[call]
                if job.place is not m.Place.SETTLED:
                    assert call not in self.ended
                    self.ended[call] = "answered"
            self.tell(m.Returned(worker, done, self.now, len(done) * self.pace))

    # ------------------------------------------------------------ what happens

    @rule(n=st.integers(1, 8), limited=st.booleans())
    def submit(self, n: int, limited: bool) -> None:
        if self.closing:
            return
        new = [m.Job(self.next_id + i, limit=2.0 if limited else None) for i in range(n)]
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
    @rule(data=st.data(), steps=st.integers(1, 6))
    def work(self, data: st.DataObject, steps: int) -> None:
        """A worker goes on: claims, starts, finishes."""
        worker = data.draw(st.sampled_from(self.living()))
        w = self.workers[worker]
        for _ in range(steps):
            self.step(w)

    def step(self, w: Worker) -> None:
        """One move of a worker, as `Intake.next_call` makes it; numbers may arrive before their calls."""
        if w.running is not None:
            w.answers.append(w.running)
            self.finished_by_worker.add(w.running)
            w.running = None
            w.served += 1
            return
        while w.frames:
            if w.claimed is None:
                if not w.claims:
                    return  # waits for a number
                w.claimed = w.claims.popleft()
            call = w.frames.popleft()
            if w.claimed != call:
                continue  # taken back
            w.claimed = None
            assert call not in self.revoked_for_ever, "a revoked call started"
            self.started[call] = self.started.get(call, 0) + 1
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
        if stop:
            self.cancelled_by_user.add(job.id)
        self.tell(m.CancelAsked(job, stop, self.now))

    @precondition(lambda self: len(self.jobs) > 5)
    @rule(data=st.data())
    def drop_many(self, data: st.DataObject) -> None:
        unwanted = data.draw(st.lists(st.sampled_from(sorted(self.jobs)), unique=True, max_size=10))
        self.tell(m.DropAsked([self.jobs[i] for i in unwanted], self.now))

    @rule(seconds=st.sampled_from([0.001, 0.03, 0.1, 1.0, 2.5, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        deadline = self.machine.next_deadline()
        if deadline is not None and deadline <= self.now:
            for worker in sorted(self.workers):
                self.read(worker)
            self.tell(m.Ticked(self.now))

    @rule(cancel=st.booleans())
    @precondition(lambda self: len(self.jobs) > 20)
    def close(self, cancel: bool) -> None:
        self.closing = True
        self.tell(m.CloseAsked(cancel, self.now))

    @rule()
    @precondition(lambda self: len(self.jobs) > 40)
    def kill(self) -> None:
        self.closing = True
        self.tell(m.KillAsked(self.now))

    # ------------------------------------------------------------ what always holds

    @invariant()
    def no_call_starts_twice(self) -> None:
        assert all(n == 1 for n in getattr(self, "started", {}).values())

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
                self.step(w)
                self.read(worker)
            for worker in sorted(self.workers):
                if self.workers[worker].killed or self.workers[worker].exiting:
                    self.bury(worker)
            self.now += 0.1
            deadline = self.machine.next_deadline()
            if deadline is not None and deadline <= self.now:
                self.tell(m.Ticked(self.now))
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
