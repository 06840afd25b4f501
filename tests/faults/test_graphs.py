"""The table of faults through graphs: each fault at every position of a diamond, whichever way the graph is called.

One stage does not do what it should, for one of the inputs.  The call of that stage ends in its own error, which names
the stage; what depends on it fails with that; siblings, other runs and the pool go on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from ezflow import (
    EZ,
    CallTimeout,
    PicklingError,
    ProcessPoolExecutor,
    Result,
    UnpicklingError,
    WorkerDied,
    task,
)
from tests import graphwork as work
from tests.contract.gates import KEPT, LIMIT

MakePool = Callable[..., ProcessPoolExecutor]

POSITIONS: dict[str, Callable[..., Any]] = {
    "1": work.inc,
    "2/left": work.inc,
    "2/right": work.double,
    "3": work.take_all,
}
"""Paths of a diamond's stages, and what each does without a fault."""

FAULTS: dict[Callable[..., Any], type[BaseException]] = {
    work.die: WorkerDied,
    work.leave: WorkerDied,
    work.hang: CallTimeout,
    work.unsendable: PicklingError,
    work.unpackable: UnpicklingError,
    work.poisonous: Exception,
    work.raise_unsent: Exception,
    work.raising: ZeroDivisionError,
    work.exits: SystemExit,
}
"""What a stage does, and the error that its call ends in."""

GOOD = {"left": 3, "right": 4}
"""What the diamond makes of 1."""


def diamond(position: str, fault: Callable[..., Any]) -> Any:
    """Give a diamond with a fault at one position, for inputs from `FAULTY` on."""
    stage = task(partial(work.or_fault, POSITIONS[position], fault)).named("faulty")
    graph = EZ(work.inc, {"left": work.inc, "right": work.double}, work.take_all)
    return graph.replace(position, stage.timeout(KEPT) if fault is work.hang else stage)


def check(error: BaseException | None, position: str, fault: Callable[..., Any]) -> None:
    """The error is that of the fault, and says where it was."""
    assert isinstance(error, FAULTS[fault]), error
    assert f"in stage {position} (faulty)" in "\n".join(getattr(error, "__notes__", ()))


@pytest.fixture(params=POSITIONS)
def position(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=FAULTS, ids=lambda fault: fault.__name__)
def fault(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def graph(make_pool: MakePool, position: str, fault: Any) -> Any:
    """A faulty diamond on a pool of two workers, which takes calls afterwards."""
    pool = make_pool(2)
    graph = diamond(position, fault).on(pool)
    assert graph(1) == GOOD
    yield graph
    assert graph(1) == GOOD
    assert pool.submit(work.inc, 1).result(LIMIT) == 2


def test_fault_ends_the_blocking_call(graph: Any, position: str, fault: Any) -> None:
    with pytest.raises(FAULTS[fault]) as caught:
        graph(work.FAULTY)

    check(caught.value, position, fault)


def test_fault_fails_what_depends_on_it_and_spares_the_others(graph: Any, position: str, fault: Any) -> None:
    beside = [graph.submit(1) for _ in range(4)]

    run = graph.submit(work.FAULTY)

    check(run.exception(LIMIT), position, fault)
    for path in POSITIONS:
        error = run[path].exception(LIMIT)
        if path == position or position == "1" or path == "3":
            check(error, position, fault)
        else:
            assert error is None
    assert run.states()[position] == "failed"
    assert [each.result(LIMIT) for each in beside] == [GOOD] * 4


def test_fault_is_found_in_the_envelope(graph: Any, position: str, fault: Any) -> None:
    enveloped = graph.submit.results()(work.FAULTY).result(LIMIT)

    check(enveloped.err, position, fault)
    assert graph.submit.results()(1).result(LIMIT) == Result(GOOD)


def test_fault_stands_at_its_place_in_a_map(graph: Any, position: str, fault: Any) -> None:
    results = graph.map([1, 1, work.FAULTY])

    assert [next(results), next(results)] == [GOOD, GOOD]
    with pytest.raises(FAULTS[fault]) as caught:
        next(results)
    check(caught.value, position, fault)


def test_fault_spares_the_other_results_of_a_map(graph: Any, position: str, fault: Any) -> None:
    first, failed, *others = graph.map.results()([1, work.FAULTY, 1, 1])

    assert [first, *others] == [Result(GOOD)] * 3
    check(failed.err, position, fault)
