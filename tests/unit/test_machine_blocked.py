"""The scheduler while bytes for a worker wait in the parent, and other turns that take a special moment."""

from __future__ import annotations

from ezflow._engine.events import (
    Blocked,
    CancelAsked,
    CloseAsked,
    Collect,
    Collected,
    Died,
    Flushed,
    Interrupt,
    Job,
    Kill,
    Outcome,
    Ready,
    Returned,
    Revoke,
    Revoked,
    Settle,
    Start,
    StartFailed,
    Submitted,
    Ticked,
)
from ezflow._engine.machine import Machine
from ezflow._engine.states import CLAIM_SECONDS, MAX_EARLY_DEATHS
from tests.unit.test_machine import jobs, sent, warm


def test_clock_of_a_call_starts_when_the_worker_has_been_sent_all_of_it() -> None:
    machine = warm(1)
    machine.handle(Submitted(jobs(1, limit=2.0), 10.0))
    assert machine.next_deadline() == 12.0

    machine.handle(Blocked(0))
    assert machine.next_deadline() is None
    machine.handle(Flushed(0, 15.0))

    assert machine.next_deadline() == 17.0


def test_clock_of_the_next_call_waits_for_its_bytes_too() -> None:
    machine = warm(1)
    machine.handle(Submitted(jobs(1, 2, 3, 4, limit=2.0), 10.0))
    assert list(machine.flight(0)) == [1, 2]
    machine.handle(Blocked(0))

    machine.handle(Returned(0, [1], 11.0))
    assert machine.workers[0].deadline is None
    machine.handle(Flushed(0, 15.0))

    assert machine.workers[0].deadline == 17.0


def test_worker_that_was_late_gets_no_deadline_while_it_is_still_being_sent_the_call() -> None:
    machine = warm(1)
    [job] = jobs(1, limit=1.0)
    machine.handle(Submitted([job], 0.0))
    assert machine.handle(Ticked(1.0)) == [Revoke(0)]
    assert sent(machine.handle(Revoked(0, [1], 1.0))) == {0: [1]}
    assert machine.next_deadline() == 1.0 + CLAIM_SECONDS

    blocked = warm(1)
    [job] = jobs(1, limit=1.0)
    blocked.handle(Submitted([job], 0.0))
    assert blocked.handle(Ticked(1.0)) == [Revoke(0)]
    blocked.handle(Blocked(0))
    assert sent(blocked.handle(Revoked(0, [1], 1.0))) == {0: [1]}
    assert blocked.next_deadline() is None


def test_worker_that_answers_is_late_no_more() -> None:
    machine = warm(1)
    first, second = jobs(1, 2, limit=1.0)
    machine.handle(Submitted([first], 0.0))
    machine.handle(Ticked(1.0))
    machine.handle(Revoked(0, [1], 1.0))  # late once: sent again
    machine.handle(Returned(0, [1], 1.1))
    machine.handle(Submitted([second], 2.0))

    machine.handle(Ticked(3.0))

    assert sent(machine.handle(Revoked(0, [2], 3.0))) == {0: [2]}  # and not: killed for the second time


def test_worker_is_given_up_that_would_have_to_receive_all_of_a_cancelled_call() -> None:
    machine = warm(1)
    [job] = jobs(1)
    machine.handle(Submitted([job], 0.0))
    machine.handle(Blocked(0))
    assert machine.handle(CancelAsked(job, True, 0.1)) == [Revoke(0, 1)]

    assert machine.handle(Revoked(0, [1], 0.1)) == [Settle(job, Outcome.CANCELLED), Revoke(0)]
    assert Kill(0) in machine.handle(Revoked(0, [], 0.1))


def test_worker_that_was_sent_all_of_a_cancelled_call_is_kept() -> None:
    machine = warm(1)
    [job] = jobs(1)
    machine.handle(Submitted([job], 0.0))
    assert machine.handle(CancelAsked(job, True, 0.1)) == [Revoke(0, 1)]

    assert machine.handle(Revoked(0, [1], 0.1)) == [Settle(job, Outcome.CANCELLED)]


def test_worker_that_never_becomes_ready_holds_up_a_cancelling_close_only_for_a_while() -> None:
    machine: Machine[Job] = Machine(1, exit_grace=3.0)
    [job] = jobs(1)
    assert machine.handle(Submitted([job], 0.0)) == [Start(0)]
    machine.handle(CloseAsked(True, 1.0))

    assert machine.handle(Ticked(4.0)) == [Settle(job, Outcome.CANCELLED), Kill(0)]


def test_start_that_fails_while_the_pool_closes_leaves_no_deadline() -> None:
    machine: Machine[Job] = Machine(2, exit_grace=3.0)
    machine.handle(Submitted(jobs(1, 2), 0.0))
    machine.handle(CloseAsked(True, 1.0))
    machine.handle(StartFailed(0, 2.0))
    machine.handle(Ready(1, 3.0))

    commands = machine.handle(Ticked(4.0))

    assert not any(isinstance(command, Kill) for command in commands)


def test_cancel_of_what_has_not_started_is_answered_when_the_worker_dies_instead() -> None:
    machine = warm(1)
    [job] = jobs(1)
    machine.handle(Submitted([job], 0.0))
    assert machine.handle(CancelAsked(job, False, 0.1)) == [Revoke(0, 1)]

    commands = machine.handle(Died(0, [], 0.1))

    assert Settle(job, Outcome.WORKER_DIED, 0) in commands
    assert Settle(job, Outcome.NOT_CANCELLED) in commands


def test_stopped_call_that_ended_by_itself_leaves_no_worker_too_many() -> None:
    machine = warm(1)
    running, waiting = jobs(1, 2, limit=1.0)
    machine.handle(Submitted([running], 0.0))
    machine.handle(Submitted([waiting], 0.0))
    assert machine.handle(Ticked(1.0)) == [Revoke(0)]
    commands = machine.handle(Revoked(0, [2] if 2 in machine.flight(0) else [], 1.0))
    assert Collect(0) in commands
    assert not any(isinstance(command, Start) for command in commands)
    machine.handle(Returned(0, [1], 1.0))

    commands = machine.handle(Collected(0, 1.0))

    assert sent(commands) == {0: [2]}
    assert not any(isinstance(command, Start | Interrupt) for command in commands)


def test_worker_that_became_ready_makes_earlier_deaths_forgotten() -> None:
    machine: Machine[Job] = Machine(1)
    [job] = jobs(1)
    machine.handle(Submitted([job], 0.0))
    for worker in range(MAX_EARLY_DEATHS - 1):
        assert machine.handle(Died(worker, [], 0.0)) == [Start(worker + 1)]
    machine.handle(Ready(MAX_EARLY_DEATHS - 1, 0.0))
    machine.handle(Died(MAX_EARLY_DEATHS - 1, [1], 0.0))  # with the call not begun

    commands = machine.handle(Died(MAX_EARLY_DEATHS, [], 0.0))

    assert not machine.broken
    assert commands == [Start(MAX_EARLY_DEATHS + 1)]
