"""The scheduler, where calls are repeated, urgent or have a time by which they must be over."""

from __future__ import annotations

import pytest

from ezflow._engine.events import (
    BreakAsked,
    CancelAsked,
    CloseAsked,
    Collect,
    Collected,
    Died,
    DropAsked,
    Finish,
    Interrupt,
    Job,
    Kill,
    KillAsked,
    Outcome,
    Place,
    Ready,
    Retire,
    Retry,
    Returned,
    Revoke,
    Revoked,
    Send,
    Settle,
    StopReason,
    Submitted,
    Ticked,
)
from ezflow._engine.machine import Machine
from ezflow._engine.states import HOSTAGE_SECONDS
from tests.unit.test_machine import sent, warm


def settled(commands: list) -> list[tuple[int, Outcome]]:
    return [(c.job.id, c.outcome) for c in commands if isinstance(c, Settle)]


def running(job: Job, machine: Machine[Job], now: float = 1.0) -> None:
    """Submit a job to a warm machine, which sends it to worker 0."""
    assert sent(machine.handle(Submitted([job], now))) == {0: [job.id]}


def failed(machine: Machine[Job], job: Job, now: float) -> list:
    return machine.handle(Returned(job.place, [job.id], now, again=[job.id]))


def interrupted(machine: Machine[Job], job: Job, now: float) -> None:
    """Let the limit of a running job pass, up to the interrupt."""
    assert machine.handle(Ticked(now)) == [Revoke(0)]
    assert machine.handle(Revoked(0, (), now)) == [Collect(0)]
    assert machine.handle(Collected(0, now)) == [Interrupt(0, job.id)]


# ---------------------------------------------------------------- retry


def test_failed_call_is_sent_again_at_once_without_a_delay() -> None:
    machine, job = warm(1), Job(1, retry=Retry(2))
    running(job, machine)

    assert sent(failed(machine, job, 2.0)) == {0: [1]}
    assert job.attempt == 2
    assert sent(failed(machine, job, 3.0)) == {0: [1]}
    assert job.attempt == 3
    assert failed(machine, job, 4.0) == []
    assert job.place is Place.SETTLED
    assert machine.n_live == 0


def test_call_that_succeeds_or_raises_something_else_is_not_repeated() -> None:
    machine, job = warm(1), Job(1, retry=Retry(5))
    running(job, machine)

    assert machine.handle(Returned(0, [1], 2.0)) == []

    assert (job.place, job.attempt) == (Place.SETTLED, 1)


def test_delays_grow_by_the_backoff() -> None:
    machine, job = warm(1), Job(1, retry=Retry(3, delay=2.0, backoff=3.0))
    running(job, machine, 10.0)
    now = 10.0

    for pause in (2.0, 6.0, 18.0):
        assert failed(machine, job, now) == []
        assert job.place is Place.DELAYED
        assert machine.next_deadline() == now + pause
        assert machine.handle(Ticked(now + pause - 0.001)) == []
        now += pause
        assert sent(machine.handle(Ticked(now))) == {0: [1]}

    assert failed(machine, job, now) == []
    assert (job.place, job.attempt) == (Place.SETTLED, 4)
    assert machine.next_deadline() is None


def test_delay_without_end_keeps_the_clock_quiet_and_can_be_cancelled() -> None:
    machine, job = warm(1), Job(1, retry=Retry(9, delay=1e308, backoff=1e308))
    running(job, machine)
    failed(machine, job, 2.0)
    machine.handle(Ticked(1e308 + 2.0))

    failed(machine, job, 3.0)

    assert machine.next_deadline() == float("inf")
    assert settled(machine.handle(CancelAsked(job, True, 4.0))) == [(1, Outcome.CANCELLED)]


def test_worker_is_free_for_others_during_a_delay() -> None:
    machine, flaky, other = warm(1), Job(1, retry=Retry(1, delay=5.0)), Job(2)
    running(flaky, machine)
    machine.handle(Submitted([other], 1.0))

    assert sent(failed(machine, flaky, 2.0)) == {0: [2]}
    machine.handle(Returned(0, [2], 3.0))

    assert sent(machine.handle(Ticked(7.0))) == {0: [1]}


def test_equal_delays_end_in_the_order_of_submission() -> None:
    machine = warm(2)
    work = [Job(i, retry=Retry(1, delay=1.0)) for i in (1, 2)]
    machine.handle(Submitted(work, 1.0))
    for job in reversed(work):
        failed(machine, job, 2.0)

    machine.handle(Submitted([Job(3)], 2.5))
    commands = machine.handle(Ticked(3.0))

    assert [call for calls in sent(commands).values() for call in calls][:1] == [1]


def test_death_of_the_worker_is_retried_only_if_named() -> None:
    machine = warm(2)
    work = [Job(1, retry=Retry(1)), Job(2, retry=Retry(1, died=True))]
    machine.handle(Submitted(work, 1.0))
    unnamed, named = work[0].place, work[1].place

    commands = machine.handle(Died(unnamed, (), 2.0))
    assert settled(commands) == [(1, Outcome.WORKER_DIED)]
    commands = machine.handle(Died(named, (), 2.0))
    assert settled(commands) == []
    assert (work[1].attempt, work[1].place) == (2, Place.WAITING)


def test_repeated_deaths_end_with_the_worker_s_death() -> None:
    machine, job = warm(1), Job(1, retry=Retry(1, died=True))
    running(job, machine)

    machine.handle(Died(0, (), 2.0))
    assert sent(machine.handle(Ready(1, 3.0))) == {1: [1]}
    assert settled(machine.handle(Died(1, (), 4.0))) == [(1, Outcome.WORKER_DIED)]
    assert job.attempt == 2


@pytest.mark.parametrize("answers", [True, False])
def test_limit_counts_for_each_run_anew(answers: bool) -> None:
    machine, job = warm(1), Job(1, limit=2.0, retry=Retry(1))
    running(job, machine)
    interrupted(machine, job, 3.0)

    if answers:
        commands = machine.handle(Returned(0, [1], 3.1))
    else:
        commands = machine.handle(Ticked(machine.next_deadline() or 0.0))
        for command in commands:  # it may be asked where it hangs before it is killed
            if type(command).__name__ == "Look":
                commands = machine.handle(Ticked(machine.next_deadline() or 0.0))

    assert Kill(0) in commands
    assert settled(commands) == []
    assert (job.attempt, job.place) == (2, Place.WAITING)
    new = next(iter(machine.workers.keys() - {0}))
    machine.handle(Ready(new, 5.0))
    assert job.place == new
    assert machine.next_deadline() == 7.0


def test_limit_is_not_retried_if_it_is_not_named() -> None:
    machine, job = warm(1), Job(1, limit=2.0, retry=Retry(1, timed_out=False))
    running(job, machine)
    interrupted(machine, job, 3.0)

    assert settled(machine.handle(Returned(0, [1], 3.1))) == []  # its answer ends it

    assert job.place is Place.SETTLED


def test_cancelled_call_is_not_repeated() -> None:
    machine, job = warm(1), Job(1, retry=Retry(5, timed_out=True, died=True))
    running(job, machine)
    machine.handle(CancelAsked(job, True, 2.0))
    machine.handle(Revoked(0, (), 2.0))
    machine.handle(Revoked(0, (), 2.0))
    assert machine.handle(Collected(0, 2.0)) == [Interrupt(0, 1)]

    machine.handle(Returned(0, [1], 2.1, again=[1]))

    assert (job.place, job.attempt) == (Place.SETTLED, 1)


def test_cancel_during_the_delay_settles_at_once() -> None:
    machine, job = warm(1), Job(1, retry=Retry(1, delay=5.0))
    running(job, machine)
    failed(machine, job, 2.0)

    assert settled(machine.handle(CancelAsked(job, False, 3.0))) == [(1, Outcome.CANCELLED)]

    assert machine.n_timed() == 0
    assert machine.next_deadline() is None
    assert machine.handle(Ticked(7.0)) == []


def test_drop_during_the_delay_settles_at_once() -> None:
    machine, job = warm(1), Job(1, retry=Retry(1, delay=5.0))
    running(job, machine)
    failed(machine, job, 2.0)

    assert settled(machine.handle(DropAsked([job], 3.0))) == [(1, Outcome.CANCELLED)]


def test_running_call_that_nobody_wants_is_not_repeated() -> None:
    machine, job = warm(1), Job(1, retry=Retry(1))
    running(job, machine)
    machine.handle(DropAsked([job], 2.0))
    machine.handle(Revoked(0, (), 2.0))

    failed(machine, job, 3.0)

    assert (job.place, job.attempt) == (Place.SETTLED, 1)


def test_closing_pool_waits_for_the_delay() -> None:
    machine, job = warm(1), Job(1, retry=Retry(1, delay=5.0))
    running(job, machine)
    failed(machine, job, 2.0)

    assert machine.handle(CloseAsked(False, 3.0)) == []
    assert sent(machine.handle(Ticked(7.0))) == {0: [1]}
    assert machine.handle(Returned(0, [1], 8.0)) == [Retire(0)]


def test_closing_with_cancel_ends_the_delay() -> None:
    machine, job = warm(1), Job(1, retry=Retry(1, delay=5.0))
    running(job, machine)
    failed(machine, job, 2.0)

    commands = machine.handle(CloseAsked(True, 3.0))

    assert settled(commands) == [(1, Outcome.CANCELLED)]
    assert Retire(0) in commands


@pytest.mark.parametrize(
    ("event", "outcome"), [(KillAsked(3.0), Outcome.CANCELLED), (BreakAsked(), Outcome.BROKEN)]
)
def test_killing_and_breaking_end_the_delay(event: object, outcome: Outcome) -> None:
    machine, job = warm(1), Job(1, retry=Retry(1, delay=5.0))
    running(job, machine)
    failed(machine, job, 2.0)

    commands = machine.handle(event)  # type: ignore[arg-type]
    commands += machine.handle(Died(0, (), 3.0))

    assert settled(commands) == [(1, outcome)]
    assert commands[-1] == Finish()


def test_failed_call_of_a_pool_that_cancels_is_not_repeated() -> None:
    machine, job = warm(1), Job(1, retry=Retry(1, delay=5.0))
    running(job, machine)
    machine.handle(CloseAsked(True, 2.0))
    machine.handle(Revoked(0, (), 2.0))

    commands = failed(machine, job, 3.0)

    assert job.place is Place.SETTLED
    assert Retire(0) in commands


# ---------------------------------------------------------------- within


def test_deadline_before_the_end_of_the_delay_ends_the_call_with_its_own_error() -> None:
    machine, job = warm(1), Job(1, deadline=6.0, retry=Retry(1, delay=5.0))
    running(job, machine)

    assert failed(machine, job, 2.0) == []

    assert (job.place, job.attempt) == (Place.SETTLED, 1)
    assert machine.n_timed() == 0


def test_deadline_ends_a_waiting_call() -> None:
    machine, busy, job = warm(1), Job(1), Job(2, deadline=3.0)
    running(busy, machine)
    machine.handle(Submitted([job], 1.0))
    assert machine.next_deadline() == 3.0

    assert settled(machine.handle(Ticked(3.0))) == [(2, Outcome.TIMED_OUT)]

    assert job.expired
    assert busy.place == 0
    assert not machine.waiting


def test_deadline_ends_a_call_that_was_sent_ahead_and_spares_the_one_before() -> None:
    machine = warm(1)
    first, job = Job(1), Job(2, deadline=1.01)
    machine.handle(Submitted([first, job, Job(3), Job(4)], 1.0))
    assert job.place == 0

    assert machine.handle(Ticked(1.01)) == [Revoke(0, only=2)]

    assert settled(machine.handle(Revoked(0, [2], 1.01))) == [(2, Outcome.TIMED_OUT)]
    assert first.place == 0


def test_deadline_stops_a_running_call() -> None:
    machine, job = warm(1), Job(1, deadline=3.0)
    running(job, machine)

    assert machine.handle(Ticked(3.0)) == [Revoke(0, only=1)]
    assert machine.handle(Revoked(0, (), 3.0)) == [Revoke(0)]
    assert machine.handle(Revoked(0, (), 3.0)) == [Collect(0)]
    assert machine.handle(Collected(0, 3.0))[0] == Interrupt(0, 1)
    machine.handle(Returned(0, [1], 3.1))

    assert job.place is Place.SETTLED
    assert job.expired


def test_call_behind_a_running_one_ends_at_their_deadline_before_another_worker_can_begin_it() -> None:
    machine = warm(1)
    first, behind, third = (Job(i, deadline=3.0) for i in (1, 2, 3))
    running(first, machine)
    machine.handle(Submitted([behind, third], 1.0))
    behind.place, machine.workers[0].flight[2] = 0, behind  # sent ahead
    machine.n_waiting -= 1
    machine.waiting.front().popleft()

    commands = machine.handle(Ticked(3.0))
    assert commands == [Revoke(0, only=1), Settle(third, Outcome.TIMED_OUT)]
    machine.handle(Revoked(0, (), 3.0))
    assert settled(machine.handle(Revoked(0, [2], 3.0))) == [(2, Outcome.TIMED_OUT)]
    commands = machine.handle(Collected(0, 3.0))

    assert commands == [Interrupt(0, 1)]  # and no start of another worker
    assert machine.n_waiting == 0
    assert behind.expired


def test_deadlines_at_many_workers_pass_in_one_tick() -> None:
    machine = warm(3)
    jobs = [Job(i, deadline=3.0) for i in range(3)]
    machine.handle(Submitted(jobs, 1.0))

    commands = machine.handle(Ticked(3.0))

    assert sorted(c.worker for c in commands if isinstance(c, Revoke)) == [0, 1, 2]


def test_worker_that_had_not_begun_with_a_call_whose_limit_and_deadline_passed_goes_on() -> None:
    machine, job = warm(1), Job(1, limit=2.0, deadline=3.0)
    running(job, machine)
    assert machine.handle(Ticked(3.0)) == [Revoke(0)]

    assert settled(machine.handle(Revoked(0, [1], 3.0))) == [(1, Outcome.TIMED_OUT)]

    running(Job(2), machine, 3.1)


def test_deadline_is_not_retried() -> None:
    machine, job = warm(1), Job(1, deadline=3.0, retry=Retry(9, timed_out=True, died=True))
    running(job, machine)
    machine.handle(Ticked(3.0))
    machine.handle(Revoked(0, (), 3.0))
    machine.handle(Revoked(0, (), 3.0))
    machine.handle(Collected(0, 3.0))

    commands = machine.handle(Died(0, (), 3.1))

    assert settled(commands) == [(1, Outcome.TIMED_OUT)]
    assert job.attempt == 1


def test_deadline_during_the_delay_ends_the_call() -> None:
    machine, job = warm(1), Job(1, deadline=9.0, retry=Retry(1, delay=5.0))
    running(job, machine)
    failed(machine, job, 2.0)
    job.deadline = 6.0
    machine._doomed.add(6.0, job)

    assert settled(machine.handle(Ticked(6.0))) == [(1, Outcome.TIMED_OUT)]
    assert machine.handle(Ticked(7.0)) == []


def test_worker_is_not_asked_for_two_things_at_once() -> None:
    """The deadline of a call behind a slow one passes in the moment in which those behind are taken back."""
    machine = warm(1)
    work = [Job(1), Job(2), *(Job(i, deadline=1.0 + HOSTAGE_SECONDS) for i in (3, 4))]
    machine.handle(Submitted(work, 1.0))
    machine.handle(Returned(0, [1], 1.0))
    ahead = list(machine.flight(0))
    assert len(ahead) > 1

    commands = machine.handle(Ticked(1.0 + HOSTAGE_SECONDS))
    assert [c for c in commands if isinstance(c, Revoke)] == [Revoke(0)]
    machine.handle(Revoked(0, ahead[1:], 1.0 + HOSTAGE_SECONDS))
    while (machine.next_deadline() or 9.0) <= 1.0 + HOSTAGE_SECONDS:
        machine.handle(Ticked(1.0 + HOSTAGE_SECONDS))

    assert [job.place for job in work[2:]] == [Place.SETTLED] * 2
    assert machine.n_live == 1


def test_call_that_was_cancelled_and_begun_meanwhile_is_stopped() -> None:
    machine = warm(1)
    first, second = Job(1, limit=5.0), Job(2)
    machine.handle(Submitted([first, second, Job(3), Job(4)], 1.0))
    assert second.place == 0
    assert machine.handle(CancelAsked(first, True, 2.0)) == [Revoke(0, only=1)]
    assert machine.handle(Revoked(0, (), 2.0)) == [Revoke(0)]
    machine.handle(CancelAsked(second, True, 2.0))  # it will be taken back in a moment

    machine.handle(Revoked(0, (), 2.0))  # but the worker was faster
    machine.handle(Returned(0, [1], 2.0))
    commands = machine.handle(Collected(0, 2.0))

    assert commands == [Revoke(0)]
    assert machine.handle(Revoked(0, (), 2.0)) == [Collect(0)]
    assert machine.handle(Collected(0, 2.0))[0] == Interrupt(0, 2)
    assert second.stop is StopReason.CANCEL


def test_calls_that_have_ended_are_not_kept_until_their_deadline() -> None:
    machine = warm(1)
    for i in range(1, 200):
        machine.handle(Submitted([Job(i, deadline=1e6)], 1.0))
        machine.handle(Returned(0, [i], 1.0))
        assert machine.n_timed() == 0

    machine.handle(Submitted([Job(1000)], 1.0))
    for i in range(1001, 1200):
        machine.handle(Submitted([Job(i, deadline=1e6, priority=1)], 1.0))
        machine.handle(DropAsked([job for job in machine.waiting if job.id == i], 1.0))
        assert machine.n_timed() <= 2


# ---------------------------------------------------------------- priority


def one_at_a_time(machine: Machine[Job]) -> list[int]:
    """Answer what worker 0 runs until nothing is left; give the order in which calls went there."""
    order = []
    while machine.flight(0):
        for call in list(machine.flight(0)):
            order.append(call)
            machine.handle(Returned(0, [call], 2.0, seconds=1.0))
    return order


def test_higher_priority_goes_first_and_ties_in_order() -> None:
    machine = warm(1)
    running(Job(1), machine)
    for i, priority in enumerate([0, -1, 5, 0, 5, -1, 9], start=2):
        machine.handle(Submitted([Job(i, priority=priority)], 1.0))

    assert one_at_a_time(machine) == [1, 8, 4, 6, 2, 5, 3, 7]


def test_calls_taken_back_stay_first_of_their_priority() -> None:
    machine = warm(1)
    work = [Job(i, priority=i % 2) for i in range(1, 9)]
    machine.handle(Submitted([Job(100), *work], 1.0))
    first, *ahead = machine.flight(0)
    assert ahead
    machine.handle(Ticked(1.0 + HOSTAGE_SECONDS))
    machine.handle(Revoked(0, ahead, 1.1))
    machine.handle(Submitted([Job(9, priority=1), Job(10)], 1.1))

    order = one_at_a_time(machine)

    assert order[order.index(first) + 1 :] == [i for i in [1, 3, 5, 7, 9, 100, 2, 4, 6, 8, 10] if i != first]


def test_cancelled_calls_are_skipped_in_every_priority() -> None:
    machine = warm(1)
    running(Job(1), machine)
    work = [Job(i, priority=i % 3) for i in range(2, 14)]
    machine.handle(Submitted(work, 1.0))
    for job in work[::2]:
        assert settled(machine.handle(CancelAsked(job, True, 1.0))) == [(job.id, Outcome.CANCELLED)]

    kept = [job for job in work if job.place is Place.WAITING]

    assert one_at_a_time(machine) == [1, *(job.id for job in sorted(kept, key=lambda job: -job.priority))]
    assert not machine.waiting


def test_repeated_call_keeps_its_priority() -> None:
    machine = warm(1)
    urgent = Job(1, priority=1, retry=Retry(1))
    running(urgent, machine)
    machine.handle(Submitted([Job(2), Job(3, priority=2), Job(4, priority=1)], 1.0))

    commands = failed(machine, urgent, 2.0)
    assert [c.jobs[0].id for c in commands if isinstance(c, Send)][:1] == [3]

    assert one_at_a_time(machine) == [3, 4, 1, 2]
