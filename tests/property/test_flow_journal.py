"""Whatever a flow holds back, joins, drops or multiplies: what is noted as done has left it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ezflow import ProcessPoolExecutor, current_call
from ezflow.flow import run
from ezflow.flow.flow import Flow
from ezflow.flow.journal import Span
from ezflow.flow.kit import (
    Batch,
    Broadcast,
    Filter,
    Map,
    Parallel,
    Rebatch,
    Route,
    Seq,
    Tap,
    Unbatch,
    Window,
    Zip,
)
from tests import flowwork as work

N = 40


def same(x: Any) -> Any:
    return x


def parity(x: int) -> int:
    return x % 2


def times(x: int) -> Iterator[int]:
    for _ in range(x % 3):
        yield x


SHAPES: list[list[Any]] = [
    [same],
    [times, Filter(bool)],
    [Map(times).stream(1), Batch(3)],
    [Batch(7)],
    [Batch(3), Unbatch(), Batch(5), Rebatch(4), Unbatch()],
    [Window(4, 2)],
    [Window(2, 5)],
    [times, Batch(3), work.listed, Window(3)],
    [(Batch(3), [times, Batch(2)])],
    [Broadcast(Batch(4), times, Window(3, 3)), Batch(2)],
    [Zip(same, [same, same]), Batch(4)],
    [Route(parity, {0: [Batch(3), Unbatch()], 1: Batch(2)}), Seq()],
    [(Batch(3, max_wait=0.001), [times, Batch(2)], same), Batch(2)],
    [Broadcast([Map(times).stream(1), Batch(4)], same, [Batch(5, max_wait=0.001), Unbatch()])],
    [
        Route(
            parity, {0: [(Batch(3, max_wait=0.001), same)], 1: [Batch(2), Unbatch(), Map(times).stream(1)]}
        ),
        Seq(),
    ],
    [Parallel([Map(times).stream(1), Batch(2)], [same, Batch(3, max_wait=0.001)], balance="free"), Batch(2)],
    [Parallel(Batch(3), [times, Batch(2), Unbatch()], same, balance="free"), Batch(2)],
    [(Broadcast(Batch(2), same), [Batch(5), Unbatch(), (same, Batch(2))]), Batch(3)],
]


def inputs_of(out: Any) -> set[int]:
    """Give the inputs that an output holds."""
    return {out} if isinstance(out, int) else set().union(*map(inputs_of, out)) if out else set()


def check(flow: Flow, runs: list[Any] | None = None) -> None:
    """See that no output holds an input that was done before, and that all are done at the end."""
    position = 0

    def spans_of(items: list[Any]) -> list[Span]:
        nonlocal position
        position += len(items)
        return [Span(position - len(items), position, 0)]

    run = flow._begin(range(N), has_source=True)
    run.machine.spans_of = spans_of
    if runs is not None:
        runs[:] = [run]
    done: list[int] = []
    try:
        while True:
            found = run.take()
            done = [i for span in run.machine.spans_done for i in range(span.start, span.stop)]
            assert len(done) == len(set(done))
            if found is None:
                break
            assert not inputs_of(found) & set(done), inputs_of(found) & set(done)
    finally:
        run.close()
    assert sorted(done) == list(range(N))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SHAPES), st.integers(1, 9))
def test_what_is_done_has_left_the_flow(shape: list[Any], max_pending: int) -> None:
    check(Flow(*shape).on("inline").max_pending(max_pending))


def test_what_is_done_has_left_the_flow_whenever_a_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that leaves a branch early may leave without the end of the packet that it came with."""
    shape = [(Batch(3, max_wait=0.001), [times, Batch(2)], same), Batch(2)]
    for seed in range(400):
        rng = random.Random(seed)
        monkeypatch.setattr(
            run, "monotonic", partial(next, accumulate(rng.choices((0, 0, 0.0004, 0.0011), k=9999)))
        )

        check(Flow(*shape).on("inline").max_pending(rng.randint(1, 12)))


@pytest.mark.parametrize("shape", SHAPES, ids=range(len(SHAPES)))
def test_what_is_done_has_left_a_flow_without_order(pool: ProcessPoolExecutor, shape: list[Any]) -> None:
    for max_pending in (3, 9, 30):
        check(Flow(*shape).on(pool).unordered().max_pending(max_pending))


@pytest.mark.parametrize(
    "stage",
    [
        (Batch(2), [Batch(3), Unbatch()], same),
        (same, [Batch(3, max_wait=9), Unbatch()]),
        Parallel(same, [Batch(3), Unbatch()], balance="free"),
    ],
)
def test_stretches_do_not_multiply_from_fork_to_fork(stage: Any) -> None:
    flow = Flow(*[stage] * 12).on("inline")
    check(flow.max_pending(9))  # a stretch that came back from each branch anew would come 4 ** 12 times
    check(flow.unordered())


def emitting(x: int) -> Any:
    for _ in range(x % 3):
        current_call().emit("side", x)
    if x % 2:
        current_call().emit("other", x)
    return x


def emitted_for(x: int) -> int:
    return parity(emitting(x))


EMITTING: list[Any] = [emitting, Tap(emitting), Route(emitted_for, {0: [Batch(1), Unbatch()]}, same)]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SHAPES), st.sampled_from(EMITTING), st.integers(1, 9), st.booleans())
def test_what_is_done_has_left_its_side_stream(
    side: list[Any], stage: Any, max_pending: int, ordered: bool
) -> None:
    flow, runs = with_sides(side, stage)
    flow = flow.on("inline").max_pending(max_pending)
    check(flow if ordered else flow.unordered(), runs)


@pytest.mark.parametrize("stage", EMITTING)
def test_what_is_done_has_left_its_side_stream_on_a_pool(pool: ProcessPoolExecutor, stage: Any) -> None:
    for side in SHAPES[::4]:
        flow, runs = with_sides(side, stage)
        check(flow.on(pool), runs)


def with_sides(side: list[Any], stage: Any) -> tuple[Flow, list[Any]]:
    """Give a flow with stages at the end of its side streams that see what leaves them, which is before it is done."""
    runs: list[Any] = []

    def see(out: Any) -> None:
        done = {i for span in runs[0].machine.spans_done for i in range(span.start, span.stop)}
        assert not inputs_of(out) & done

    flow = Flow(Batch(3), Unbatch(), stage)
    return flow.xcut("side", *side, Tap(see)).xcut("other", Batch(5), Tap(see)), runs
