"""What travels with an item, what stages emit besides, and who hears of a run."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ezflow import (
    DROP,
    Batch,
    Broadcast,
    By,
    Filter,
    Flow,
    GraphError,
    Iter,
    ProcessPoolExecutor,
    Rebatch,
    Route,
    Tap,
    Unbatch,
    Window,
    Zip,
    current_call,
)
from tests import flowwork as work
from tests.contract.flows import pool_of_one_kind  # noqa: F401  # the fixture `pool`

pytestmark = pytest.mark.dealt

LIMIT = 60.0


# ---------------------------------------------------------------- meta


@pytest.mark.parametrize(
    "between",
    [
        [],
        [Batch(2), Unbatch()],
        [Batch(3), Rebatch(2), Unbatch()],
        [Batch(2), Batch(2), Unbatch(), Unbatch()],
        [work.listed, Rebatch(2), Unbatch()],
        [Tap(lambda x: None), Filter(lambda x: True)],
        [work.Passing()],
        [(lambda x: x, [Batch(1), Unbatch()])],
        [Route(lambda x: x % 2, {0: lambda x: x, 1: [Batch(1), Unbatch()]})],
        [work.inc, work.Passing(), lambda x: x - 1],
        [Flow(Batch(1), Unbatch())],
    ],
)
def test_meta_travels_with_its_item(pool: ProcessPoolExecutor, between: list[Any]) -> None:
    flow = Flow(work.mark, *between, work.marked).on(pool)

    assert list(flow.stream(range(9))) == [(x, x, 1) for x in range(9)]
    assert list(flow.on("inline").stream(range(9))) == [(x, x, 1) for x in range(9)]


def test_meta_is_there_in_threads_coroutines_and_functions_of_this_process(pool: ProcessPoolExecutor) -> None:
    seen: list[Any] = []
    flow = Flow(work.mark, work.marked_soon, Tap(lambda x: seen.append(current_call().meta["mark"])))

    with ThreadPoolExecutor(2) as threads:
        for on in (pool, threads, "inline"):
            assert list(flow.on(on).stream(range(5))) == [(x, x) for x in range(5)]
    assert seen == [*range(5)] * 3


@pytest.mark.parametrize(
    "branches", [(work.marked, work.marked), ([Tap(lambda x: None), work.marked], work.marked)]
)
def test_branches_do_not_see_each_others_meta(pool: ProcessPoolExecutor, branches: Any) -> None:
    copied = Flow(work.mark, work.marked, Broadcast(*branches)).on(pool)
    joined = Flow(work.mark, Zip(*branches), work.meta_of).on(pool)

    assert [out[1:] for out in copied.stream([7])] == [(7, 2), (7, 2)]
    assert list(joined.stream([7])) == [(((7, 7, 1), (7, 7, 1)), {"mark": 7, "seen": 1})]


def test_each_output_has_a_meta_of_its_own(pool: ProcessPoolExecutor) -> None:
    flow = Flow(work.marked_twice, work.marked, By(2, work.meta_of)).on(pool)

    outs = list(flow.stream([5]))

    assert outs == [((5, (5, i), 1), {"mark": (5, i), "seen": 1}) for i in range(2) for _ in range(2)]


def test_batch_has_those_of_its_items(pool: ProcessPoolExecutor) -> None:
    def some(x: int) -> int:
        if x:
            current_call().meta["x"] = x
        return x

    assert list(Flow(some, Batch(2), work.meta_of).on(pool).stream([1, 0, 3])) == [
        ([1, 0], {"batch": [{"x": 1}, {}]}),
        ([3], {"batch": [{"x": 3}]}),
    ]
    assert list(Flow(some, Window(2), work.meta_of).on(pool).stream([1, 2, 3]))[1][1]["batch"] == [
        {"x": 2},
        {"x": 3},
    ]


def test_meta_of_a_failed_item_does_not_reach_others(pool: ProcessPoolExecutor) -> None:
    def bad(x: int) -> int:
        current_call().meta["bad"] = x
        if x % 2:
            raise ValueError(x)
        return x

    outs = list(Flow(bad, work.meta_of).on(pool).results().stream(range(4)))

    assert [out.ok for out in outs] == [(0, {"bad": 0}), None, (2, {"bad": 2}), None]
    assert [out.item for out in outs if not out] == [1, 3]
    caught = Flow(bad, work.meta_of).on(pool).catch(lambda error: -1)
    assert list(caught.stream([1])) == [(-1, {"bad": 1})]


def test_meta_outside_of_a_flow_is_an_error(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(RuntimeError, match="no stage of a Flow"):
        pool.submit(lambda: current_call().meta).result(LIMIT)
    with pytest.raises(RuntimeError):
        current_call()


# ---------------------------------------------------------------- side streams


@pytest.mark.parametrize("stages", [[], [work.Passing()], [Tap(lambda x: None)]])
def test_side_stream_gets_all_that_was_emitted_before_the_run_ends(
    pool: ProcessPoolExecutor, stages: list[Any]
) -> None:
    rows: list[Any] = []
    lines: list[Any] = []
    flow = (
        Flow(work.emitting, *stages, work.inc)
        .xcut("db", Flow(Batch(10), len, Tap(rows.append)))
        .xcut("log", Tap(lines.append))
    )

    for on in (pool, "inline"):
        rows.clear()
        lines.clear()
        assert list(flow.on(on).stream(range(101))) == [*range(1, 102)]

        assert rows == [10] * 10 + [1]
        assert sorted(lines) == sorted(f"odd {x}" for x in range(1, 101, 2))


@pytest.mark.parametrize(
    "stage",
    [work.emitting, Tap(work.emitting), work.Emitting(), Route(work.emitting, {0: [Batch(1)]}, work.inc)],
)
def test_every_kind_of_stage_can_emit(pool: ProcessPoolExecutor, stage: Any) -> None:
    rows: list[Any] = []

    outcome = Flow(stage).xcut("log", lambda x: x).xcut("db", Tap(rows.append)).on(pool).run(range(20))

    assert sorted(rows) == [("row", x) for x in range(20)]
    assert (outcome.n_in, outcome.n_out) == (20, 20)


def test_side_stream_emits_into_a_later_one(pool: ProcessPoolExecutor) -> None:
    seen: list[Any] = []

    def again(row: Any) -> None:
        current_call().emit("log", row)

    Flow(work.emitting).xcut("db", again).xcut("log", Tap(seen.append)).on(pool).run(range(10))

    assert len(seen) == 15


def test_unknown_side_stream_is_an_error(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(LookupError, match="no side stream 'nowhere'; there are 'db'"):
        Flow(work.emitting_nowhere).xcut("db", work.inc).on(pool).run([1])
    for make in (
        lambda: Flow(work.inc).xcut("db", Iter([1])),
        lambda: Flow(work.inc).xcut("db", work.inc).xcut("db", work.inc),
        lambda: Flow(work.inc).xcut("db", Flow(work.inc).xcut("x", work.inc)),
    ):
        with pytest.raises(GraphError):
            make()


def test_failure_in_a_side_stream_is_one_of_the_run(pool: ProcessPoolExecutor) -> None:
    def bad(row: Any) -> None:
        raise KeyError(row)

    flow = Flow(work.emitting).xcut("log", work.shown).xcut("db", bad).on(pool)

    with pytest.raises(KeyError) as caught:
        list(flow.stream(range(5)))
    assert "in flow stage db/1 (bad)" in caught.value.__notes__[0]
    outcome = flow.results().run(range(5))
    assert (outcome.n_out, outcome.n_failed) == (5, 5)
    assert sum(not out for out in flow.results().stream(range(5))) == 5


def test_slow_side_stream_makes_the_source_wait(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    """Nothing of it is worked off, so that what it may hold says how far the source gets."""
    gate = tmp_path / "gate"
    taken = itertools.count()
    n = 0

    def source() -> Any:
        nonlocal n
        for n in taken:
            if n == 60_000:
                gate.touch()
            yield n

    def many(x: int) -> int:
        call = current_call()
        for _ in range(100):
            call.emit("db", x)
        return x

    flow = Flow(many).xcut("db", work.StuckUntil(str(gate))).on(pool)
    with flow.stream(source()) as stream:
        outs = list(itertools.islice(stream, 40))
        assert outs == [*range(40)]
        assert n < 10_000


# ---------------------------------------------------------------- who hears of a run


def test_hooks_hear_of_a_run(pool: ProcessPoolExecutor) -> None:
    heard: list[Any] = []

    def hook(name: str) -> Callable[..., None]:
        return lambda *args: heard.append((name, *args))

    flow = Flow(work.picky).on(pool).on_start(hook("start")).on_item(hook("item")).on_error(hook("error"))
    flow = flow.on_finish(lambda found: heard.append(("finish", found.n_in, found.is_over)))

    flow.catch(lambda error: DROP).run([1, 2, 3])
    assert heard == [("start",), ("item", 1), ("item", 3), ("finish", 3, True)]
    heard.clear()
    list(flow.results().stream([1, 2]))
    assert [one[0] for one in heard] == ["start", "item", "error", "finish"]
    heard.clear()
    with pytest.raises(ValueError, match="picky about 2"):
        flow.run([2])
    assert [one[0] for one in heard] == ["start", "error", "finish"]
    heard.clear()
    with flow.stream(itertools.repeat(1)) as stream:
        next(stream)
    assert heard[-1][0] == "finish"
    assert {one[0] for one in heard} == {"start", "item", "finish"}


@pytest.mark.parametrize("name", ["on_start", "on_item", "on_finish"])
def test_error_of_a_hook_is_raised_and_stops_the_run(pool: ProcessPoolExecutor, name: str) -> None:
    def bad(*_: Any) -> None:
        raise KeyError("hook")

    with pytest.raises(KeyError, match="hook"):
        getattr(Flow(work.inc).on(pool), name)(bad).run([1, 2])
    assert pool.submit(work.inc, 1).result(LIMIT) == 2
