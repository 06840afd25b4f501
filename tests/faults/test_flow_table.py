"""The table of faults of flows: whatever fails, wherever in the flow, the run ends in its error, and the pool goes on."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ezflow import (
    DROP,
    Batch,
    Broadcast,
    CallTimeout,
    Flow,
    Map,
    PicklingError,
    ProcessPoolExecutor,
    RemoteError,
    Unbatch,
    UnpicklingError,
    WorkerDied,
    Zip,
)
from tests import flowwork as work
from tests import graphwork
from tests.contract.flows import endless

LIMIT = 60.0


def kill(_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


FAULTS: dict[str, tuple[Any, Any]] = {
    "raises": (graphwork.raising, ZeroDivisionError),
    "exits": (graphwork.leave, (WorkerDied, SystemExit)),
    "is killed": (kill, WorkerDied),
    "hangs": (Map(graphwork.hang).timeout(0.5), CallTimeout),
    "gives what cannot be pickled": (graphwork.unsendable, PicklingError),
    "gives what cannot be unpickled": (work.unreadable, UnpicklingError),
    "raises what cannot be pickled": (graphwork.poisonous, (RemoteError, Exception)),
    "yields, then raises": (work.yields_then_raises, ZeroDivisionError),
    "yields, then is killed": (work.yields_then_dies, WorkerDied),
}

SHAPES: dict[str, Callable[[Any], list[Any]]] = {
    "alone": lambda fault: [fault],
    "first": lambda fault: [fault, Batch(1), work.listed],
    "middle": lambda fault: [work.inc, Batch(1), Unbatch(), fault, Batch(1), work.listed],
    "last": lambda fault: [work.inc, Batch(1), Unbatch(), fault],
    "branch": lambda fault: [(fault, fault), work.listed],
    "row": lambda fault: [Zip(work.listed, [Map(work.inc).on("thread"), fault])],
    "copy": lambda fault: [Broadcast([Batch(1), Unbatch(), fault], work.inc)],
}


@pytest.fixture
def flow_pool(make_pool: Callable[..., ProcessPoolExecutor]) -> Iterator[ProcessPoolExecutor]:
    from ezflow.graph.lanes import close_defaults

    pool = make_pool(2)
    yield pool
    assert pool.submit(work.inc, 1).result(LIMIT) == 2, "the pool does not go on"
    assert list(Flow(work.inc, Batch(2)).on(pool).stream([1, 2])) == [[2, 3]]
    close_defaults()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_a_stage_ends_in_its_error(flow_pool: ProcessPoolExecutor, fault: str, shape: str) -> None:
    stage, kind = FAULTS[fault]
    flow = Flow(*SHAPES[shape](stage)).on(flow_pool)

    with pytest.raises(kind) as caught:
        list(flow.stream(itertools.count()))

    assert "ezflow: in flow stage" in "\n".join(caught.value.__notes__)


@pytest.mark.parametrize("shape", ["alone", "middle", "branch"])
@pytest.mark.parametrize("fault", FAULTS)
def test_every_item_of_a_faulty_stage_is_accounted_for(
    flow_pool: ProcessPoolExecutor, fault: str, shape: str
) -> None:
    stage, kind = FAULTS[fault]
    flow = Flow(*SHAPES[shape](stage)).on(flow_pool)

    outcome = flow.results().run(range(2))

    assert (outcome.n_in, outcome.n_failed) == (2, 2)
    assert all(isinstance(failure.error, kind) for failure in outcome.failures)
    origins = [[0], [1]] if shape == "middle" else [0, 1]  # behind Batch(1) it is a list of one
    assert [failure.origin for failure in outcome.failures] == origins
    dropped = flow.catch(lambda error: DROP).run(range(2))
    assert dropped.n_failed == 0


@pytest.mark.parametrize("living", [work.BadDo, work.DyingAt3])
def test_fault_of_a_stage_of_its_own(flow_pool: ProcessPoolExecutor, living: Any) -> None:
    flow = Flow(work.inc, living(), work.listed).on(flow_pool)

    with pytest.raises((ZeroDivisionError, WorkerDied)):
        list(flow.stream(itertools.count()))
    assert flow.results().run(range(5)).n_in == 5


class SourceError(Exception):
    pass


def raising() -> Iterator[int]:
    yield 1
    raise SourceError


def leaving() -> Iterator[int]:
    yield 1
    raise SystemExit(3)


def interrupted() -> Iterator[int]:
    yield 1
    raise KeyboardInterrupt


def unsendable() -> Iterator[Any]:
    yield 1
    yield threading.Lock()


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (raising, SourceError),
        (leaving, SystemExit),
        (interrupted, KeyboardInterrupt),
        (unsendable, PicklingError),
    ],
)
@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("keep", [False, True])
def test_fault_of_the_source_ends_the_run(
    flow_pool: ProcessPoolExecutor, source: Any, kind: Any, live: bool, keep: bool
) -> None:
    from ezflow import Iter

    flow = Flow(Iter(source, live=live), work.listed, Batch(1)).on(flow_pool)

    if keep and source is unsendable:
        assert flow.results().run().n_failed == 1
        return
    with pytest.raises(kind):
        list(flow.results() if keep else flow)


@pytest.mark.parametrize("how", ["raises", "breaks", "closes", "drops", "interrupts"])
def test_fault_of_the_consumer_stops_the_run(flow_pool: ProcessPoolExecutor, how: str) -> None:
    closed = threading.Event()

    def consume() -> None:
        stream = Flow(work.inc, work.sleep_a_little, Batch(1)).on(flow_pool).stream(endless(closed))
        for out in stream:
            assert out == [1]
            if how == "raises":
                raise SourceError
            if how == "interrupts":
                raise KeyboardInterrupt
            if how == "closes":
                stream.close()
                assert list(stream) == []
            break

    if how in ("raises", "interrupts"):
        with pytest.raises((SourceError, KeyboardInterrupt)) as caught:
            consume()
        caught.value.__traceback__ = None  # its frames hold the stream
        del caught
    else:
        consume()

    import gc

    gc.collect()
    assert closed.wait(LIMIT)


@pytest.mark.parametrize("stage", ["handler", "tap", "key", "side"])
def test_fault_of_a_function_in_this_process(flow_pool: ProcessPoolExecutor, stage: str) -> None:
    from ezflow import Route, Tap

    def bad(_: Any) -> Any:
        raise SourceError

    flow = {
        "handler": Flow(graphwork.raising).catch(bad),
        "tap": Flow(work.inc, Tap(bad)),
        "key": Flow(Route(bad, {1: [Batch(1)], 2: work.inc})),
        "side": Flow(work.emitting).xcut("log", work.inc_first).xcut("db", Tap(bad)),
    }[stage]

    with pytest.raises(SourceError):
        list(flow.on(flow_pool).stream(itertools.repeat(2)))
