"""The scripts of `tests/stress`, a little of each: `nox -s stress` runs them to the full."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.life.program import Program


def check(*argv: str) -> None:
    """Run a script to its end; it says by its exit code whether all is well."""
    folder = Path(__file__).parent.parent.parent
    with Program([sys.executable, "-m", *argv], folder=folder) as program:
        outcome = program.finish()
    if (outcome.code, outcome.left) != (0, []):
        pytest.fail(f"exit code {outcome.code}, left: {outcome.left}\n{outcome.stdout}\n{outcome.stderr}")


@pytest.mark.parametrize("by", ["timer", "thread", "process"])
@pytest.mark.parametrize("what", ["submit", "results"])
def test_interrupt_at_a_random_moment_harms_nothing(what: str, by: str) -> None:
    check("tests.stress.interrupts", "--rounds", "150", "--method", "forkserver", "--what", what, "--by", by)


def test_interrupt_while_calls_are_cancelled_harms_nothing() -> None:
    check(
        "tests.stress.interrupts", "--rounds", "50", "--method", "fork", "--what", "cancel", "--by", "process"
    )


def test_interrupt_while_a_pool_is_made_or_ended_leaves_nothing(start_method: str) -> None:
    check(
        "tests.stress.interrupts",
        "--rounds",
        "50",
        "--method",
        start_method,
        "--what",
        "fresh",
        "--by",
        "timer",
    )


@pytest.mark.slow
def test_nothing_grows(start_method: str) -> None:
    check("tests.stress.leaks", "--scale", "0.02", "--method", start_method)


def test_ctrl_c_at_a_random_moment_ends_the_program(start_method: str) -> None:
    check("tests.stress.ctrl_c", "--rounds", "5", "--method", start_method)
