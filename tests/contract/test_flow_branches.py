"""Branches whose outputs leave before the packet of their items: streams, and batches whose time is up."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ezflow import (
    Batch,
    Broadcast,
    Flow,
    GraphError,
    Map,
    Parallel,
    ProcessPoolExecutor,
    Route,
    Seq,
    Tap,
    To,
    Unbatch,
    WorkerDied,
    Zip,
    current_call,
)
from tests import flowwork as work
from tests.contract.flows import pool_of_one_kind  # noqa: F401  # the fixture `pool`
from tests.contract.gates import LIMIT, wait_until

pytestmark = pytest.mark.dealt

many = Map(work.several_hundred).stream(1)
soon = Batch(1000, max_wait=0.05)


# ---------------------------------------------------------------- batches


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(
    "stage",
    [
        (soon, work.inc),
        Broadcast([work.inc, soon], work.double),
        Route(work.is_even, {True: [work.inc, soon], False: work.inc}),
        Parallel(*[[work.inc, soon]] * 2, balance="free"),
        (Broadcast([soon, work.listed], (work.inc, [work.double, soon])), work.inc),
        [(work.inc, soon), soon],
    ],
    ids=["tuple", "set", "route", "free", "nested", "again"],
)
def test_batch_in_a_branch_is_let_out_while_the_source_waits(
    pool: ProcessPoolExecutor, stage: Any, ordered: bool
) -> None:
    alone = Flow(stage).on("inline")
    gate = threading.Event()
    opened = []

    def source() -> Iterator[int]:
        yield from range(4)
        opened.append(gate.wait(LIMIT))
        yield from range(4, 6)

    flow = Flow(stage, Tap(lambda out: None)).on(pool)
    with (flow if ordered else flow.unordered()).stream(source()) as stream:
        expected = sorted(map(repr, unpacked(alone.stream(range(4)))))
        seen: list[Any] = []
        while len(seen) < len(expected):  # in as many batches as the machine is slow
            seen += unpacked([next(stream)])
        first = sorted(map(repr, seen))
        gate.set()
        seen += unpacked(stream)

    assert first == expected
    assert opened == [True]
    assert sorted(map(repr, seen)) == sorted(map(repr, unpacked(alone.stream(range(6)))))


def unpacked(out: Any) -> list[Any]:
    """Give what is in lists, however often it was put together."""
    return [out] if isinstance(out, int) else [x for one in out for x in unpacked(one)]


def test_each_branch_keeps_its_order(pool: ProcessPoolExecutor) -> None:
    batches = Batch(7, max_wait=0.001)
    flow = Flow(Broadcast([work.sleep_a_little, batches, Unbatch(), work.shown], [batches, Unbatch()])).on(
        pool
    )

    outs = list(flow.stream(range(60)))

    assert [out for out in outs if isinstance(out, int)] == [*range(60)]
    assert [out for out in outs if isinstance(out, str)] == [work.shown(x) for x in range(60)]


def test_batch_that_is_let_out_in_a_branch_has_meta_and_origin(pool: ProcessPoolExecutor) -> None:
    def bad(items: Any) -> Any:
        raise ValueError([meta["mark"] for meta in current_call().meta["batch"]])

    outcome = Flow(work.mark, (work.inc, [soon, bad])).on(pool).results().run(range(6))

    origins = [one for failure in outcome.failures for one in failure.origin]  # type: ignore[attr-defined]
    marks = [one for failure in outcome.failures for one in failure.error.args[0]]
    assert origins == marks == [1, 3, 5]


# ---------------------------------------------------------------- streams


def pairs(x: int) -> list[Any]:
    return list(work.several_hundred(x))


@pytest.mark.parametrize("word", ["pool", "inline", "unordered"])
@pytest.mark.parametrize(
    ("stage", "outs_of"),
    [
        ((many, work.inc), lambda x: [x + 1] if x % 2 else pairs(x)),
        (Broadcast(many, work.inc), lambda x: [*pairs(x), x + 1]),
        (Broadcast(work.inc, [many, work.listed, Unbatch()], many), lambda x: [x + 1, *pairs(x), *pairs(x)]),
        (Route(work.is_even, {True: many, False: work.inc}), lambda x: [x + 1] if x % 2 else pairs(x)),
        (Parallel(many, [many, work.same], balance="free"), pairs),
        ((work.inc, Broadcast(work.inc, (many, many))), lambda x: [x + 1, *(pairs(x) if x % 2 else ())]),
        ([To("vip"), Route(To, {"vip": [many, Zip(work.same, work.inc_or_same)]})], lambda x: [*zip(pairs(x), pairs(x), strict=True)]),
    ],
    ids=["tuple", "set", "twice", "route", "free", "nested", "named"],
)  # fmt: skip
def test_stream_in_a_branch_means_what_the_function_means(
    pool: ProcessPoolExecutor, stage: Any, outs_of: Any, word: str
) -> None:
    expected = [out for x in range(7) for out in outs_of(x)]
    flow = Flow(stage).on("inline" if word == "inline" else pool)

    if word == "unordered":
        assert sorted(map(repr, flow.unordered().stream(range(7)))) == sorted(map(repr, expected))
        found = flow.unordered().results().max_pending(1).stream(range(7))
        assert sorted(map(repr, (out.ok for out in found))) == sorted(map(repr, expected))
    else:
        assert list(flow.stream(range(7))) == expected
        assert [out.ok for out in flow.results().max_pending(1).stream(range(7))] == expected


@pytest.mark.parametrize("ordered", [True, False])
def test_outputs_come_while_a_generator_in_a_branch_goes_on(pool: ProcessPoolExecutor, ordered: bool) -> None:
    """The generator never ends, and what is behind it has no turn."""
    stream = [Map(work.counts_for_ever).stream(), work.listed]
    flow = Flow((Broadcast(work.negate, stream), work.double)).on(pool)

    with (flow if ordered else flow.unordered()).stream([5, 6]) as stream:
        outs = list(itertools.islice(stream, 2000))

    yielded = [out for out in outs if isinstance(out, list)]
    assert len(yielded) >= 1990
    if ordered:
        assert outs == [-5, *([x] for x in range(5, 2004))]
    assert pool.submit(work.inc, 1).result(LIMIT) == 2


def test_generator_waits_until_it_is_its_branchs_turn(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    yields = Map(work.yields_megabytes, str(log)).stream(1)
    flow = Flow(Broadcast([work.StuckUntil(str(gate)), work.shown], [yields, len])).on(pool)

    def open_gate() -> None:
        wait_until(log.exists, "the generator to begin")
        gate.touch()

    opener = threading.Thread(target=open_gate)
    with flow.stream([0]) as stream:
        opener.start()
        assert next(stream) == work.shown(0)
        opener.join()
        assert list(itertools.islice(stream, 60)) == [1 << 20] * 60
        assert len(log.read_text()) < 60 + 20 * 17


def test_failure_of_a_stream_in_a_branch_comes_in_its_place(pool: ProcessPoolExecutor) -> None:
    raising = Flow(work.shown, Broadcast(work.same, Map(work.yields_then_raises).stream()), Seq()).on(pool)
    dying = Flow((Map(work.yields_slowly_then_dies).stream(), work.inc), work.inc).on(pool)

    with pytest.raises(ZeroDivisionError):
        list(raising.stream([1, 2]))
    outs = [out.ok or type(out.err) for out in raising.results().stream([1, 2])]
    assert outs == ["<1>", "<1>", ZeroDivisionError, "<2>", "<2>", ZeroDivisionError]
    assert [one.origin for one in raising.results().run([1, 2]).failures] == [1, 2]
    outs = [out.ok or type(out.err) for out in dying.results().stream([1, 2])]
    assert outs == [2, 2, WorkerDied, 4]


@pytest.mark.parametrize("part", [soon, many, [work.inc, (work.inc, many)]])
def test_row_has_one_output_of_each_branch(part: Any) -> None:
    with pytest.raises(GraphError, match="rows have one output per branch"):
        Flow(Zip(part, work.inc)).run([1])
    with pytest.raises(GraphError, match="rows have one output per branch"):
        Flow((Zip(work.inc, part), work.inc)).run([1])
