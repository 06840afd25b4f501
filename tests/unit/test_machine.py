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
    DropAsked,
    Finish,
    InitFailed,
    Interrupt,
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
    Submitted,
    Ticked,
)
from ezflow._engine.machine import Machine
from ezflow._engine.states import (
    AHEAD_SECONDS,
    CLAIM_SECONDS,
    HOSTAGE_SECONDS,
    LOOK_SECONDS,
    MAX_AHEAD_BYTES,
    MAX_EARLY_DEATHS,
    MAX_LOSSES,
    RETRY_START,
)


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


def test_first_worker_gets_one_call_until_its_calls_have_shown_to_be_quick() -> None:
    machine: Machine[Job] = Machine(2)
    machine.handle(Submitted(jobs(*range(1, 101)), 0.0))

    assert sent(machine.handle(Ready(1, 0.0))) == {1: [1]}
    assert sent(machine.handle(Ready(0, 0.0))) == {0: [2]}
    ahead = sent(machine.handle(Returned(1, [1], 0.1, seconds=AHEAD_SECONDS / 4)))
    assert ahead == {1: [3, 4, 5, 6]}
    assert sent(machine.handle(Returned(0, [2], 0.1, seconds=2 * AHEAD_SECONDS))) == {0: [7]}


def test_calls_behind_a_slow_one_are_taken_back_while_others_wait() -> None:
    machine = warm(2)
    machine.handle(Submitted(jobs(*range(1, 101)), 1.0))
    slow, *ahead = machine.flight(0)
    assert ahead
    assert machine.next_deadline() == 1.0 + HOSTAGE_SECONDS

    machine.handle(Returned(1, list(machine.flight(1)), 1.0 + HOSTAGE_SECONDS))
    assert machine.handle(Ticked(1.0 + HOSTAGE_SECONDS)) == [Revoke(0)]
    machine.handle(Revoked(0, ahead, 1.0 + HOSTAGE_SECONDS))

    assert list(machine.flight(0)) == [slow]
    next_ones = sent(machine.handle(Returned(1, list(machine.flight(1)), 1.1)))[1]
    assert next_ones[: len(ahead)] == ahead[: len(next_ones)]


def test_dropped_calls_are_cancelled_unless_they_have_started() -> None:
    machine = warm(1)
    work = jobs(*range(1, 41))
    machine.handle(Submitted(work, 1.0))
    running, *ahead = machine.flight(0)
    unwanted = [job for job in work if job.id % 2]

    commands = machine.handle(DropAsked(unwanted, 1.0))
    assert commands.pop() == Revoke(0)
    commands += machine.handle(Revoked(0, ahead, 1.0))

    assert {c.job.id for c in commands if isinstance(c, Settle)} == {job.id for job in unwanted} - {running}
    assert sent(machine.handle(Returned(0, [running], 1.0))) == {0: list(range(2, 22, 2))}
    machine.handle(DropAsked(work, 1.0))
    machine.handle(Revoked(0, list(machine.flight(0)), 1.0))
    assert not machine.waiting  # nothing keeps alive what the callers hold


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
    assert len(flight) > 1
    commands = machine.handle(Returned(quick, list(machine.flight(quick)), 1.0))

    keep = (len(flight) - 1) // 2
    assert commands == [Revoke(slow, None, keep)]
    taken = flight[1 + keep :]
    assert sent(machine.handle(Revoked(slow, taken, 1.0))) == {quick: taken[:1]}


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


def over_its_limit(machine: Machine[Job], job: Job) -> None:
    """Let a call run until the grace after its interrupt is over, at 11.5."""
    machine.handle(Submitted([job], 10.0))
    assert machine.handle(Ticked(11.0)) == [Revoke(0)]
    assert machine.handle(Revoked(0, [], 11.0)) == [Collect(0)]
    assert machine.handle(Collected(0, 11.0)) == [Interrupt(0, 1)]
    assert machine.handle(Ticked(11.5)) == [Look(0, 1)]


def test_call_over_its_limit_is_looked_at_and_killed_after_the_grace_and_times_out() -> None:
    machine = warm(1, grace=0.5)
    [job] = jobs(1, limit=1.0)
    over_its_limit(machine, job)

    assert machine.handle(Looked(0, 11.6)) == [Kill(0), Settle(job, Outcome.TIMED_OUT, 0)]
    assert machine.handle(Looked(0, 11.7)) == []  # nobody waits for it any more


def test_worker_that_does_not_say_where_it_is_is_killed_all_the_same() -> None:
    machine = warm(1, grace=0.5)
    [job] = jobs(1, limit=1.0)
    over_its_limit(machine, job)

    assert machine.next_deadline() == 11.5 + LOOK_SECONDS
    assert machine.handle(Ticked(12.0)) == [Kill(0), Settle(job, Outcome.TIMED_OUT, 0)]
    assert machine.handle(Died(0, [], 12.1)) == []
    assert machine.handle(Looked(0, 12.2)) == []


def test_call_that_answers_while_it_is_looked_at_keeps_its_answer() -> None:
    machine = warm(1, grace=0.5)
    [job] = jobs(1, limit=1.0)
    over_its_limit(machine, job)

    assert machine.handle(Returned(0, [1], 11.6)) == [Kill(0)]
    assert machine.handle(Looked(0, 11.7)) == []
    assert machine.n_live == 0


def test_cancelled_call_is_not_looked_at() -> None:
    machine = warm(1, grace=0.5)
    [job] = jobs(1, limit=1.0)
    machine.handle(Submitted([job], 10.0))
    machine.handle(Ticked(11.0))
    machine.handle(Revoked(0, [], 11.0))
    machine.handle(Collected(0, 11.0))
    machine.handle(CancelAsked(job, True, 11.2))

    assert machine.handle(Ticked(11.5)) == [Kill(0), Settle(job, Outcome.CANCELLED, 0)]


def test_worker_that_claims_nothing_within_the_limit_is_replaced_and_the_call_survives() -> None:
    machine = warm(1)
    [job] = jobs(1, limit=1.0)
    machine.handle(Submitted([job], 10.0))
    machine.handle(Ticked(11.0))

    assert sent(machine.handle(Revoked(0, [1], 11.0))) == {0: [1]}  # once more, it may be slow only
    assert machine.next_deadline() == 11.0 + CLAIM_SECONDS
    assert machine.handle(Ticked(12.0)) == [Revoke(0)]

    assert machine.handle(Revoked(0, [1], 12.0)) == [Kill(0), Start(1)]
    assert sent(machine.handle(Ready(1, 12.1))) == {1: [1]}
    assert machine.next_deadline() == pytest.approx(13.1)


def test_call_that_worker_after_worker_does_not_begin_times_out() -> None:
    machine: Machine[Job] = Machine(1)
    [job] = jobs(1, limit=1.0)
    machine.handle(Submitted([job], 0.0))
    now = 0.0
    for worker in range(MAX_LOSSES):
        machine.handle(Ready(worker, now))
        for _ in "again", "and again":
            now += 10.0
            assert machine.handle(Ticked(now)) == [Revoke(worker)]
            commands = machine.handle(Revoked(worker, [1], now))
        machine.handle(Died(worker, [], now))

    assert commands == [Settle(job, Outcome.TIMED_OUT), Kill(MAX_LOSSES - 1)]


def test_call_of_a_worker_that_was_killed_while_idle_runs_elsewhere() -> None:
    machine = warm(1)
    machine.handle(Submitted(jobs(1), 1.0))

    assert machine.handle(Died(0, [1], 1.0)) == [Start(1)]
    assert sent(machine.handle(Ready(1, 1.0))) == {1: [1]}


def test_call_whose_arrival_kills_worker_after_worker_is_to_blame() -> None:
    machine: Machine[Job] = Machine(1)
    [job] = jobs(1)
    machine.handle(Submitted([job], 0.0))
    for worker in range(MAX_LOSSES):
        machine.handle(Ready(worker, 0.0))
        commands = machine.handle(Died(worker, [1], 0.0))

    assert commands == [Settle(job, Outcome.WORKER_DIED, MAX_LOSSES - 1)]
    assert machine.n_live == 0


def test_worker_whose_start_failed_is_forgotten_whole() -> None:
    machine: Machine[Job] = Machine(2)
    machine.handle(Submitted(jobs(1, 2), 0.0))
    machine.handle(CloseAsked(True, 0.0))  # gives both a deadline
    machine.handle(StartFailed(0, 1.0))

    assert Kill(0) not in machine.handle(Ticked(100.0))


def test_start_that_failed_is_tried_again_also_when_nothing_waited_then() -> None:
    machine: Machine[Job] = Machine(2)
    machine.handle(Submitted(jobs(1, 2), 0.0))
    machine.handle(Ready(0, 0.0))
    machine.handle(Returned(0, [1], 0.0))
    machine.handle(StartFailed(1, 0.0))
    assert machine.next_deadline() == RETRY_START

    machine.handle(Ticked(RETRY_START))

    assert machine.wants_submits()
    assert machine.handle(Submitted(jobs(3), RETRY_START)) == [Start(2)]


def test_close_with_cancel_keeps_the_calls_that_workers_are_being_started_for() -> None:
    machine: Machine[Job] = Machine(2)
    work = jobs(*range(1, 6))
    machine.handle(Submitted(work, 0.0))

    assert machine.handle(CloseAsked(True, 0.0)) == [Settle(job, Outcome.CANCELLED) for job in work[2:]]
    assert sent(machine.handle(Ready(0, 0.0)) + machine.handle(Ready(1, 0.0))) == {0: [1], 1: [2]}


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

    assert machine.handle(InitFailed(0, 0.0)) == []  # it ends by itself, and flushes what it has to say
    assert machine.next_deadline() == machine.exit_grace
    assert machine.handle(Died(0, [], 0.0)) == [Settle(job, Outcome.BROKEN), Finish()]
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
    assert ahead

    commands = machine.handle(CloseAsked(True, 1.0))
    assert commands.pop() == Revoke(0)
    commands += machine.handle(Revoked(0, ahead, 1.0))

    assert commands == [
        Settle(job, Outcome.CANCELLED) for job in [*work[1 + len(ahead) :], *work[1 : 1 + len(ahead)]]
    ]
    assert machine.n_live == 1
    assert running == 1


def test_worker_that_does_not_exit_is_killed() -> None:
    machine = warm(1, home_grace=3.0)
    assert machine.handle(CloseAsked(False, 1.0)) == [Retire(0)]

    assert machine.handle(Ticked(4.0)) == [Kill(0)]


def test_kill_ends_everything_at_once() -> None:
    machine: Machine[Job] = Machine(2)
    running, waiting = jobs(1, 2)
    machine.max_workers = 1
    machine.handle(Submitted([running], 0.0))
    machine.handle(Ready(0, 0.0))
    machine.handle(Submitted([waiting], 0.0))

    assert machine.handle(KillAsked(1.0)) == [Settle(waiting, Outcome.CANCELLED), Revoke(0), Kill(0)]
    assert machine.handle(Revoked(0, [], 1.0)) == []
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
