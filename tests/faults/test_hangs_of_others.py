"""Sixteen ways in which the systems before this one hung, each reproduced there: here they end, in the right way.

Nine are of pipelines (mpyx), seven of process pools with limits and shared state (suitkaise), one of which was only read.
Of things that ezflow does not offer (a shared object with a lock, a pipe) stands what comes nearest.
"""

from __future__ import annotations

import io
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ezflow import (
    Broadcast,
    Const,
    Flow,
    Iter,
    ProcessPoolExecutor,
    Read,
    Stage,
    WorkerDied,
    Write,
    put,
)
from tests import flowwork as work
from tests import graphwork

LIMIT = 60.0

pytestmark = pytest.mark.timeout(100)


@pytest.fixture(autouse=True)
def goes_on(pool: ProcessPoolExecutor) -> Iterator[None]:
    """Whatever happened, the pool takes calls."""
    yield
    assert pool.submit(work.inc, 1).result(LIMIT) == 2


# ---------------------------------------------------------------- pipelines


def test_stop_in_the_middle(pool: ProcessPoolExecutor) -> None:
    stream = Flow(work.sleep_a_little).on(pool).stream(range(1000))
    next(stream)
    stream.close()

    assert list(stream) == []


def test_dead_worker(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(WorkerDied):
        list(Flow(work.die_at_3).on(pool).stream(range(5)))
    assert sum(map(bool, Flow(work.die_at_3).on(pool).results().stream(range(5)))) == 4


def test_item_that_cannot_be_pickled(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        list(Flow(work.listed).on(pool).stream([1, threading.Lock(), 3]))
    with pytest.raises(TypeError, match="cannot be pickled"):
        list(Flow(graphwork.unsendable, work.Passing()).on(pool).stream([1]))


def test_exception_that_cannot_be_pickled(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(Exception, match="poison"):
        list(Flow(graphwork.poisonous).on(pool).stream([1]))


def test_coroutine_function_as_a_stage(pool: ProcessPoolExecutor) -> None:
    assert list(Flow(work.soon).on(pool).stream([1, 2])) == [("soon", 1), ("soon", 2)]


def test_write(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"

    assert list(Flow(Iter(["a", "b"]), Write(path)).on(pool)) == ["a", "b"]
    assert list(Flow(Read(path)).on(pool)) == ["a", "b"]


def test_large_data_to_several_branches(pool: ProcessPoolExecutor) -> None:
    data = os.urandom(1 << 20) * 20

    outs = list(
        Flow(Broadcast(work.last_byte, work.last_byte, [work.Passing(), work.last_byte]))
        .on(pool)
        .stream([data])
    )

    assert outs == [data[-1]] * 3


def test_watching_ends_with_the_run(pool: ProcessPoolExecutor) -> None:
    shown = io.StringIO()

    assert list(Flow(work.inc).on(pool).watch(file=shown).stream([1, 2])) == [2, 3]
    assert "inc" in shown.getvalue()


def test_early_break(pool: ProcessPoolExecutor) -> None:
    assert list(itertools.islice(Flow(Const(1), work.inc).on(pool), 3)) == [2, 2, 2]


# ---------------------------------------------------------------- pools, limits, and what is shared


@pytest.mark.parametrize(
    "run",
    [
        lambda pool: pool.map(work.die_at_3, range(5)),
        lambda pool: pool.map.timeout(LIMIT)(work.die_at_3, range(5)),
        lambda pool: pool.map.unordered().timeout(LIMIT)(work.die_at_3, range(5)),
    ],
)
def test_map_over_a_dead_worker(pool: ProcessPoolExecutor, run: Callable[[Any], Any]) -> None:
    with pytest.raises(WorkerDied):
        list(run(pool))


def test_large_result_under_a_limit(pool: ProcessPoolExecutor) -> None:
    assert len(pool.submit.timeout(LIMIT)(bytes, 1 << 20).result(LIMIT)) == 1 << 20
    assert [len(out) for out in Flow(bytes).on(pool.timeout(LIMIT)).stream([1 << 20, 1 << 17])] == [
        1 << 20,
        1 << 17,
    ]


def test_shared_value_after_its_reader_was_killed(pool: ProcessPoolExecutor) -> None:
    ref = put(b"x" * (1 << 20))

    with pytest.raises(WorkerDied):
        pool.submit(work.dies_reading, ref).result(LIMIT)

    assert pool.submit(work.last_byte, ref).result(LIMIT) == ord("x")


def test_stream_from_a_worker_that_dies(pool: ProcessPoolExecutor) -> None:
    stream = pool.submit.stream()(work.yields_then_dies, 1)

    assert next(stream) == 1
    with pytest.raises(WorkerDied):
        next(stream)


class Base(Stage):
    def __init__(self, n: int) -> None:
        self.n = n

    def do(self, item: Any) -> Any:
        return item + self.n


class Derived(Base):
    """Has its `__init__` from there."""


class Further(Derived):
    def __init__(self) -> None:
        super().__init__(10)


def test_inherited_init(pool: ProcessPoolExecutor) -> None:
    assert list(Flow(Derived(1), Further()).on(pool).stream([1])) == [12]


def test_word_from_a_worker_that_dies(pool: ProcessPoolExecutor) -> None:
    """Who waits to hear of a call's progress hears of its end."""
    future = pool.submit(work.reports_and_waits)
    end = time.monotonic() + LIMIT
    while future.progress() is None and time.monotonic() < end:
        time.sleep(0.01)

    os.kill(future.progress(), signal.SIGKILL)

    with pytest.raises(WorkerDied):
        future.result(LIMIT)
    assert future.progress() is not None
