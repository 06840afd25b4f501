"""One public word for graphs and flows; where things go: in turn, to whoever is free, by weight, by key, by their own word."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

import ezflow
from ezflow import (
    EZ,
    Batch,
    Broadcast,
    Filter,
    Flow,
    GraphError,
    Iter,
    Parallel,
    ProcessPoolExecutor,
    Serial,
    Stage,
    Tap,
    Zip,
)
from tests import flowwork as work

LIMIT = 60.0


# ---------------------------------------------------------------- twins


def test_one_word_is_a_graph_alone_and_a_shape_in_a_flow() -> None:
    zipped, dealt = Zip(work.inc, work.double), Parallel(work.inc, work.double)
    copied, chained = Broadcast(work.inc, work.double), Serial(work.inc, work.two)

    assert [EZ(one).on("inline")(3) for one in (zipped, copied)] == [(4, 6), {"inc": 4, "double": 6}]
    assert dealt.on("inline")(3, 4) == (4, 8)
    assert flowed(zipped, 3, 4) == [(4, 6), (5, 8)]
    assert flowed(dealt, 3, 4) == [4, 8]
    assert flowed(copied, 3, 4) == [4, 6, 5, 8]
    assert flowed(chained, 3) == [4, ("again", 4)]
    assert flowed(EZ(copied), 3) == [{"inc": 4, "double": 6}]
    assert repr(Flow(dealt, chained)) == "Flow(Parallel(inc, double), Serial(inc, two))"


def flowed(stage: Any, *items: Any) -> list[Any]:
    return list(Flow(stage).on("inline").stream(items))


def test_what_only_a_flow_understands_is_no_graph() -> None:
    twice = Broadcast(work.inc, lambda x: x, work.inc)
    filtered = Zip(Filter(work.odd), Serial((work.inc, work.double), work.shown))

    assert flowed(twice, 3) == [4, 3, 4]
    assert flowed(filtered, 3) == [(3, "<4>")]
    for stage in (twice, filtered, Parallel(work.inc, work.double, weights=(2, 1))):
        for use in (EZ, lambda one: one(3), lambda one: one.submit(3), lambda one: EZ(work.inc, {"x": one})):
            with pytest.raises(GraphError):
                use(stage)


@pytest.mark.parametrize(
    "stage",
    [Filter(work.odd), Batch(3), Iter([1]), Tap(print), Flow(work.inc), work.BadSetup(), Zip(Batch(3))],
)
def test_stage_of_flows_in_a_graph_is_an_error_when_it_is_built(stage: Any) -> None:
    for shape in (stage, [work.inc, stage], (stage,), {"x": stage}):
        with pytest.raises(GraphError, match=r"is a stage of flows.*Put it into Flow"):
            EZ(shape)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (Zip, "empty"),
        (lambda: Zip(work.inc, 5), "5"),
        (lambda: Serial(Batch(2), {"x": work.inc}), "dict is no stage"),
        (lambda: Flow(Broadcast(x=work.inc)), "no names"),
        (lambda: Flow(EZ((work.inc, work.double))), "takes 2 arguments"),
    ],
)
def test_what_neither_understands_is_an_error_at_once(make: Callable[[], Any], match: str) -> None:
    with pytest.raises(GraphError, match=match):
        make()


def test_twins_travel_as_they_were_written() -> None:
    flow = Flow(Zip(work.inc, work.double), Broadcast(work.shown, work.shown))
    graph = Zip(work.inc, work.double)

    assert list(pickle.loads(pickle.dumps(flow)).on("inline").stream([1])) == ["<(2, 2)>"] * 2
    assert pickle.loads(pickle.dumps(graph)) == graph == EZ(graph)


def test_words_of_flows_are_public() -> None:
    assert {"Flow", "Stage", "DROP", "Map", "Filter", "Route"} <= set(ezflow.__all__)
    assert list(Flow(Iter([1, 2]), ezflow.Map(pow, 2), Batch(2)).on("inline")) == [[1, 4]]
    assert issubclass(work.Counting, Stage)


def test_twins_run_on_a_pool(pool: ProcessPoolExecutor) -> None:
    flow = Flow(Parallel(work.inc, Serial(work.double, work.inc)), Zip(work.shown, work.listed))

    assert list(flow.on(pool).stream([1, 2])) == [("<2>", [2]), ("<5>", [5])]
