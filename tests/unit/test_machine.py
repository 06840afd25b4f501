"""The scheduler as lists: these events, therefore these commands."""

from __future__ import annotations

import pytest

from ezflow._engine.events import (
    BreakAsked,
    CancelAsked,
    CloseAsked,
    Collect,
    Collected,
    Died,
    Finish,
    InitFailed,
    Interrupt,
    Job,
    Kill,
    KillAsked,
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
    Submitted,
    Ticked,
)
from ezflow._engine.machine import MAX_AHEAD_BYTES, MAX_EARLY_DEATHS, Machine


def jobs(*ids: int, limit: float | None = None) -> list[Job]:
    return [Job(i, limit=limit) for i in ids]


def warm(n_workers: int, **options) -> Machine[Job]:
    """Give a machine whose workers are all idle."""
    machine: Machine[Job] = Machine(n_workers, **options)
    work = jobs(*range(1001, 1001 + n_workers))
    machine.handle(Submitted(work, 0.0))
    for worker in range(n_workers):
        machine.handle(Ready(worker, 0.0))
    for worker in range(n_workers):
        machine.handle(Returned(worker, list(machine.flight(worker)), 0.0))
    assert machine.n_live == 0
    return machine


def sent(commands: list) -> dict[int, list[int]]:
    """Give, for each worker, the calls it was sent."""
    found: dict[int, list[int]] = {}
    for command in commands:
        if isinstance(command, Send):
            found.setdefault(command.worker, []).extend(job.id for job in command.jobs)
    return found


def test_workers_start_on_demand_up_to_the_maximum() -> None:
    machine: Machine[Job] = Machine(2)

    assert machine.handle(Submitted(jobs(1), 0.0)) == [Start(0)]
    assert machine.handle(Submitted(jobs(2, 3, 4), 0.0)) == [Start(1)]
    assert machine.handle(Submitted(jobs(5), 0.0)) == []


def test_idle_worker_is_used_before_another_starts() -> None:
    machine = warm(1)
    machine.max_workers = 2

    commands = machine.handle(Submitted(jobs(1), 1.0))

    assert sent(commands) == {0: [1]}
    assert not any(isinstance(c, Start) for c in commands)


def test_first_call_to_an_idle_worker_needs_no_claim_and_later_ones_do() -> None:
    machine = warm(1)

    [first] = machine.handle(Submitted(jobs(1, 2), 1.0))
    [more] = machine.handle(Returned(0, [1], 1.0))

    assert isinstance(first, Send) and first.idle
    assert isinstance(more, Send) and more.idle  # nothing was left with the worker
    machine.handle(Submitted(jobs(*range(3, 40)), 1.0))
    [more] = machine.handle(Returned(0, [2], 1.0))
    assert isinstance(more, Send) and more.idle and len(more.jobs) > 1
    [again] = machine.handle(Returned(0, [more.jobs[0].id], 1.0))
    assert isinstance(again, Send) and not again.idle


def test_large_calls_are_not_sent_ahead() -> None:
    machine = warm(1)
    big = [Job(i, nbytes=MAX_AHEAD_BYTES) for i in (1, 2, 3, 4)]

    assert sent(machine.handle(Submitted(big, 1.0))) == {0: [1]}
    assert sent(machine.handle(Returned(0, [1], 1.0))) == {0: [2]}


def test_idle_worker_steals_half_of_what_waits_behind_a_slow_call() -> None:
    machine = warm(2)
    machine.handle(Submitted(jobs(1), 1.0))
    machine.handle(Submitted(jobs(*range(2, 42)), 1.0))
    quick, slow = (w for w in (1, 0))
    while machine.waiting:
        machine.handle(Returned(quick, list(machine.flight(quick)), 1.0))
    machine.handle(Returned(slow, [next(iter(machine.flight(slow)))], 1.0))

    flight = list(machine.flight(slow))
    commands = machine.handle(Returned(quick, list(machine.flight(quick)), 2.0))

    if len(flight) > 1:
        assert commands == [Revoke(slow, None, (len(flight) - 1) // 2)]
        taken = flight[-1:]
        assert sent(machine.handle(Revoked(slow, taken, 2.0))) == {quick: taken}


def test_cancelled_waiting_call_is_never_sent() -> None:
    machine: Machine[Job] = Machine(1)
    first, second = jobs(1, 2)
    machine.handle(Submitted([first, second], 0.0))

    assert machine.handle(CancelAsked(first, True, 0.0)) == [Settle(first, Outcome.CANCELLED)]
    assert sent(machine.handle(Ready(0, 0.0))) == {0: [2]}


def test_cancel_of_unclaimed_call_touches_no_worker() -> None:
    machine = warm(1)
    work = jobs(*range(1, 9))
    machine.handle(Submitted(work, 1.0))
    machine.handle(Returned(0, list(machine.flight(0)), 1.0))
    ahead = list(machine.flight(0).values())[-1]

    assert machine.handle(CancelAsked(ahead, True, 1.0)) == [Revoke(0, ahead.id)]
    assert machine.handle(Revoked(0, [ahead.id], 1.0))[0] == Settle(ahead, Outcome.CANCELLED)


def test_cancel_of_running_call_saves_the_others_then_interrupts_then_kills() -> None:
    machine = warm(1, grace=0.5)
    machine.handle(Submitted(jobs(1), 1.0))
    machine.handle(Submitted(jobs(2, 3, 4, 5, 6, 7), 1.0))
    machine.handle(Returned(0, [1], 1.0))
    flight = list(machine.flight(0).values())
    running, ahead = flight[0], [job.id for job in flight[1:]]

    assert machine.handle(CancelAsked(running, True, 2.0)) == [Revoke(0, running.id)]
    assert machine.handle(Revoked(0, [], 2.0)) == [Revoke(0)]
    assert machine.handle(Revoked(0, ahead, 2.0)) == [Collect(0)]
    commands = machine.handle(Collected(0, 2.0))
    assert Interrupt(0, running.id) in commands
    assert Start(1) in commands  # the replacement does not wait for the grace
    assert machine.next_deadline() == 2.5
    assert machine.handle(Returned(0, [running.id], 2.1))[0] == Kill(0)
    machine.handle(Died(0, [], 2.2))
    assert [job.id for job in machine.waiting][: len(ahead)] == ahead


def test_cancel_that_comes_too_late_spares_the_worker() -> None:
    machine = warm(1)
    [job] = jobs(1)
    machine.handle(Submitted([job], 1.0))
    machine.handle(CancelAsked(job, True, 1.0))
    machine.handle(Revoked(0, [], 1.0))
    machine.handle(Revoked(0, [], 1.0))

    machine.handle(Returned(0, [1], 1.0))
    commands = machine.handle(Collected(0, 1.0))

    assert commands == []
    assert sent(machine.handle(Submitted(jobs(2), 1.0))) == {0: [2]}


def test_cancel_without_stopping_leaves_a_started_call_alone() -> None:
    machine = warm(1)
    [job] = jobs(1)
    machine.handle(Submitted([job], 1.0))

    assert machine.handle(CancelAsked(job, False, 1.0)) == [Revoke(0, 1)]
    assert machine.handle(Revoked(0, [], 1.0)) == [Settle(job, Outcome.NOT_CANCELLED)]
    assert machine.flight(0) == {1: job}


def test_limit_counts_from_the_start_of_running() -> None:
    machine = warm(1)
    machine.handle(Submitted(jobs(1, 2, limit=1.0), 10.0))
    assert machine.next_deadline() == 11.0

    machine.handle(Returned(0, [1], 10.75))

    assert machine.next_deadline() == 11.75


def test_call_over_its_limit_is_killed_after_the_grace_and_times_out() -> None:
    machine = warm(1, grace=0.5)
    [job] = jobs(1, limit=1.0)
    machine.handle(Submitted([job], 10.0))

    assert machine.handle(Ticked(11.0)) == [Revoke(0)]
    assert machine.handle(Revoked(0, [], 11.0)) == [Collect(0)]
    assert machine.handle(Collected(0, 11.0)) == [Interrupt(0, 1)]
    assert machine.handle(Ticked(11.5)) == [Kill(0), Settle(job, Outcome.TIMED_OUT, 0)]


def test_worker_that_claims_nothing_within_the_limit_is_replaced_and_the_call_survives() -> None:
    machine = warm(1)
    [job] = jobs(1, limit=1.0)
    machine.handle(Submitted([job], 10.0))
    machine.handle(Ticked(11.0))

    commands = machine.handle(Revoked(0, [1], 11.0))

    assert commands == [Kill(0), Start(1)]
    assert sent(machine.handle(Ready(1, 11.1))) == {1: [1]}
    assert machine.next_deadline() == pytest.approx(12.1)


def test_dead_worker_fails_only_the_call_it_ran() -> None:
    machine = warm(1)
    machine.handle(Submitted(jobs(1), 1.0))
    machine.handle(Submitted(jobs(*range(2, 20)), 1.0))
    machine.handle(Returned(0, [1], 1.0))
    flight = list(machine.flight(0).values())
    order = [job.id for job in flight[1:]] + [job.id for job in machine.waiting]

    commands = machine.handle(Died(0, [job.id for job in flight[1:]], 2.0))

    assert commands == [Settle(flight[0], Outcome.WORKER_DIED, 0), Start(1)]
    assert [job.id for job in machine.waiting] == order


def test_idle_worker_may_die_without_anybody_noticing() -> None:
    machine = warm(1)

    assert machine.handle(Died(0, [], 1.0)) == []
    assert machine.handle(Submitted(jobs(1), 1.0)) == [Start(1)]


def test_pool_breaks_when_workers_keep_dying_before_they_are_ready() -> None:
    machine: Machine[Job] = Machine(1)
    [job] = jobs(1)
    machine.handle(Submitted([job], 0.0))
    for worker in range(MAX_EARLY_DEATHS - 1):
        assert machine.handle(Died(worker, [], 0.0)) == [Start(worker + 1)]

    commands = machine.handle(Died(MAX_EARLY_DEATHS - 1, [], 0.0))

    assert commands == [Settle(job, Outcome.BROKEN), Finish()]


def test_failed_initializer_breaks_the_pool() -> None:
    machine: Machine[Job] = Machine(1)
    [job] = jobs(1)
    machine.handle(Submitted([job], 0.0))

    assert machine.handle(InitFailed(0)) == [Settle(job, Outcome.BROKEN), Kill(0)]
    assert machine.handle(Died(0, [], 0.0)) == [Finish()]
    [late] = jobs(2)
    assert machine.handle(Submitted([late], 0.0)) == [Settle(late, Outcome.BROKEN)]


def test_pool_goes_on_with_the_living_when_no_more_workers_can_start() -> None:
    machine: Machine[Job] = Machine(2)
    machine.handle(Submitted(jobs(1, 2), 0.0))
    machine.handle(Ready(0, 0.0))

    assert machine.handle(StartFailed(1, 0.0)) == []
    assert sent(machine.handle(Returned(0, [1], 0.0))) == {0: [2]}


def test_pool_breaks_when_the_only_worker_cannot_start() -> None:
    machine: Machine[Job] = Machine(1)
    [job] = jobs(1)
    machine.handle(Submitted([job], 0.0))

    assert machine.handle(StartFailed(0, 0.0)) == [Settle(job, Outcome.BROKEN), Finish()]


@pytest.mark.parametrize("budget", [1, 2, 5])
def test_worker_is_replaced_after_its_budget(budget: int) -> None:
    machine: Machine[Job] = Machine(1, max_tasks=budget)
    served: dict[int, int] = {}
    queue = machine.handle(Submitted(jobs(*range(1, 21)), 0.0))
    while machine.n_live:
        [command, *queue] = queue
        if isinstance(command, Start):
            queue += machine.handle(Ready(command.worker, 0.0))
        elif isinstance(command, Send):
            served[command.worker] = served.get(command.worker, 0) + len(command.jobs)
            queue += machine.handle(Returned(command.worker, [job.id for job in command.jobs], 0.0))
        elif isinstance(command, Retire):
            queue += machine.handle(Died(command.worker, [], 0.0))

    assert set(served.values()) == {budget}
    assert len(served) == 20 // budget


def test_heavy_worker_is_replaced_between_calls() -> None:
    machine = warm(1)
    machine.handle(Submitted(jobs(1), 1.0))

    assert machine.handle(Returned(0, [1], 1.0, heavy=True)) == [Retire(0)]
    assert machine.handle(Submitted(jobs(2), 1.0)) == [Start(1)]


def test_idle_worker_retires_after_its_time() -> None:
    machine = warm(2, idle_timeout=5.0)
    assert machine.next_deadline() == 5.0

    assert machine.handle(Ticked(5.0)) == [Retire(0), Retire(1)]


def test_close_finishes_accepted_calls_first() -> None:
    machine = warm(1)
    machine.handle(Submitted(jobs(1), 1.0))

    assert machine.handle(CloseAsked(False, 1.0)) == []
    assert machine.handle(Returned(0, [1], 1.0)) == [Retire(0)]
    assert machine.handle(Died(0, [], 1.0)) == [Finish()]


def test_close_with_cancel_ends_all_that_has_not_started() -> None:
    machine = warm(1)
    work = jobs(1, 2, 3, 4, 5, 6, 7, 8, 9)
    machine.handle(Submitted(work, 1.0))
    running, *ahead = machine.flight(0)

    commands = machine.handle(CloseAsked(True, 1.0))
    if ahead:
        assert commands.pop() == Revoke(0)
        commands += machine.handle(Revoked(0, ahead, 1.0))

    assert commands == [
        Settle(job, Outcome.CANCELLED) for job in [*work[1 + len(ahead) :], *work[1 : 1 + len(ahead)]]
    ]
    assert machine.n_live == 1
    assert running == 1


def test_worker_that_does_not_exit_is_killed() -> None:
    machine = warm(1, exit_grace=3.0)
    assert machine.handle(CloseAsked(False, 1.0)) == [Retire(0)]

    assert machine.handle(Ticked(4.0)) == [Kill(0)]


def test_kill_ends_everything_at_once() -> None:
    machine: Machine[Job] = Machine(2)
    running, waiting = jobs(1, 2)
    machine.max_workers = 1
    machine.handle(Submitted([running], 0.0))
    machine.handle(Ready(0, 0.0))
    machine.handle(Submitted([waiting], 0.0))

    assert machine.handle(KillAsked(1.0)) == [Settle(waiting, Outcome.CANCELLED), Kill(0)]
    assert machine.handle(Died(0, [], 1.0)) == [Settle(running, Outcome.WORKER_DIED, 0), Finish()]


def test_failure_of_the_engine_fails_every_call() -> None:
    machine = warm(1)
    running, waiting = jobs(1, 2)
    machine.handle(Submitted([running], 1.0))
    machine.handle(Submitted([waiting], 1.0))

    commands = machine.handle(BreakAsked())

    assert {(c.job.id, c.outcome) for c in commands if isinstance(c, Settle)} == {
        (1, Outcome.BROKEN),
        (2, Outcome.BROKEN),
    }
    assert running.place is waiting.place is Place.SETTLED


def test_event_without_a_row_says_so() -> None:
    with pytest.raises(KeyError):
        warm(1).handle(object())  # type: ignore[arg-type]
