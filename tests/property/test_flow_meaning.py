"""Flows mean what a short interpreter says, whatever order calls end in and however items are packed."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ezflow import ProcessPoolExecutor
from ezflow.flow.flow import Flow
from ezflow.flow.items import DROP, Failure, To
from ezflow.flow.kit import (
    Batch,
    Broadcast,
    By,
    Filter,
    Map,
    Rebatch,
    Route,
    Seq,
    Serial,
    Unbatch,
    Window,
    Zip,
)
from ezflow.flow.kit import Parallel as Deal
from ezflow.flow.machine import Machine, Settings
from ezflow.flow.parse import chain_of
from ezflow.flow.plan import build
from ezflow.flow.program import run_items
from tests import flowwork as work

pytestmark = pytest.mark.dealt

# ---------------------------------------------------------------- the interpreter

Known = tuple[Any, list[int]]
"""An item, and the items of the source that it came of."""


class Interpreted:
    """A stage that is fed one item after another, each with what it came of, and flushed at the end."""

    def __init__(self, tree: Any) -> None:
        self.shape, *self.rest = tree
        parts = self.rest[0] if self.shape in ("serial", "tuple", "set", "zip") else ()
        parts = list(self.rest[1].values()) if self.shape in ("route", "to") else parts
        parts = [self.rest[0]] if self.shape == "free" else parts
        self.parts = [Interpreted(part) for part in parts]
        self.n = 0
        self.held: list[Known] = []

    def feed(self, known: Known) -> list[Known]:
        item, origin = known
        if isinstance(item, Failure):
            return [known]
        if self.shape in ("call", "stream"):
            return [(out, origin) for out in called(self.rest[0], item)]
        if self.shape == "filter":
            return [known] if self.rest[0](item) else []
        if self.shape == "serial":
            return self.through(0, [known])
        if self.shape == "tuple":
            table = [i for i, part in enumerate(self.parts)]
            self.n += 1
            return self.parts[table[(self.n - 1) % len(table)]].feed(known)
        if self.shape == "set":
            return [out for part in self.parts for out in part.feed(known)]
        if self.shape == "zip":
            outs = [part.feed(known) for part in self.parts]
            failures = [out for some in outs for out in some if isinstance(out[0], Failure)]
            return failures or [(tuple(some[0][0] if some else DROP for some in outs), origin)]
        if self.shape in ("route", "to"):
            return self.parts[self.rest[0](item)].feed(known)
        if self.shape == "unbatch":
            return [(one, origin) for one in item]
        if self.shape == "free":
            return self.parts[0].feed(known)
        self.held.append(known)
        if self.shape in ("batch", "timed") and len(self.held) == self.rest[0]:
            return self.flush()
        if self.shape == "window" and len(self.held) >= self.rest[0]:
            self.n = 1
            return [together(self.held[-self.rest[0] :])]
        return []

    def flush(self) -> list[Known]:
        if self.shape == "window":
            return [together(self.held)] if self.held and not self.n else []
        if self.shape == "serial":
            outs: list[Known] = []
            for i, part in enumerate(self.parts):
                outs = [*outs, *self.through(i + 1, part.flush())]
            return outs
        held, self.held = self.held, []
        return [out for part in self.parts for out in part.flush()] + ([together(held)] if held else [])

    def through(self, start: int, items: list[Known]) -> list[Known]:
        for part in self.parts[start:]:
            items = [out for item in items for out in part.feed(item)]
        return items


def together(held: list[Known]) -> Known:
    return [item for item, _ in held], [*dict.fromkeys(one for _, origin in held for one in origin)]


def interpreted(stages: list[Any], n: int) -> list[Known]:
    interpreter = Interpreted(("serial", stages))
    return [out for item in range(n) for out in interpreter.feed((item, [item]))] + interpreter.flush()


def called(fn: Callable[[Any], Any], item: Any) -> list[Any]:
    try:
        value = fn(item)
    except ValueError as error:
        return [Failure(error, item, "")]
    if inspect.isgenerator(value):
        return list(value)
    value = asyncio.run(value) if inspect.iscoroutine(value) else value
    return [] if value is DROP else [value]


# ---------------------------------------------------------------- random flows

CALLS = [work.shown, work.listed, work.two, work.some, work.drop_some, work.nothing, work.picky]
ONE_EACH = [work.shown, work.listed, work.drop_some, work.nothing, work.picky]


@st.composite
def trees(draw: Callable[[Any], Any], depth: int, *, in_row: bool = False) -> Any:
    shapes = ["call", "call", "filter"]
    if not in_row:
        shapes += ["batch", "window", "stream", "timed"]
    if depth:
        shapes += ["serial", "tuple", "zip", "route", "to", "free"] + ["set"] * (not in_row)
    shape = draw(st.sampled_from(shapes))
    if shape == "call":
        return "call", draw(st.sampled_from(ONE_EACH if in_row else CALLS))
    if shape == "stream":
        return "stream", draw(st.sampled_from(CALLS))
    if shape == "filter":
        return "filter", work.odd
    if shape in ("batch", "window", "timed"):
        return shape, draw(st.integers(1, 4))
    if shape in ("route", "to"):
        return shape, work.third, {i: draw(trees(depth - 1, in_row=in_row)) for i in range(3)}
    if shape == "free":  # who works is not known, so all do the same, to one item at a time
        return "free", draw(trees_without_order(depth - 1, in_row=in_row)), draw(st.integers(1, 3))
    in_row = in_row or shape == "zip"
    return shape, [draw(trees(depth - 1, in_row=in_row)) for _ in range(draw(st.integers(1, 3)))]


def written(tree: Any) -> Any:
    """Write a tree as a user would."""
    shape, *rest = tree
    if shape == "call":
        return rest[0]
    if shape == "filter":
        return Filter(rest[0])
    if shape == "stream":
        return Map(rest[0]).stream()
    if shape == "unbatch":
        return Unbatch()
    if shape == "timed":
        return Batch(rest[0], max_wait=1_000)
    if shape in ("batch", "window"):
        return {"batch": Batch, "window": Window}[shape](rest[0])
    if shape == "route":
        return Route(rest[0], {key: written(part) for key, part in rest[1].items()})
    if shape == "to":
        branches = {key: written(part) for key, part in rest[1].items()}
        return [work.sent_to_third if len(repr(tree)) % 2 else work.sent_by_yield, Route(To, branches)]
    if shape == "free":
        return Deal(*[written(rest[0])] * rest[1], balance="free")
    parts = [written(part) for part in rest[0]]
    if shape in ("set", "zip"):
        return {"set": Broadcast, "zip": Zip}[shape](*parts)
    return parts if shape == "serial" else tuple(parts)


class Streamed:
    """A call whose outputs come in pieces, each of which has to be asked for."""

    def __init__(self, job: Any, chance: random.Random) -> None:
        self.job = job
        machine = job.op.machine
        outs, _, _, _ = run_items(
            job.op.program, job.base, machine.settings.keep, None, job.items, machine.settings.names
        )
        self.pieces = []
        while outs:
            n = chance.randint(0, 3)
            self.pieces.append(outs[:n])
            outs = outs[n:]
        self.n_allowed = chance.randint(1, 3)
        job.op.begun(job, self)

    def ask(self) -> None:
        self.n_allowed += 1

    def go_on(self) -> bool:
        """Send a piece, or the end; tell whether that was it."""
        if not self.pieces:
            self.job.op.machine.done(self.job, None, 10)
            return True
        self.n_allowed -= 1
        piece = self.pieces.pop(0)
        self.job.op.piece(self.job, piece, sum(isinstance(out, Failure) for out in piece), None)
        self.job.op.machine.move()
        return False


def simulate(stages: list[Any], items: list[Any], seed: int, *, seconds: float = 0, **how: Any) -> list[Any]:
    """Run a flow with jobs that end in a random order; at each step, up to so many seconds pass."""
    chance = random.Random(seed)
    machine = Machine(Settings(n_workers=2, **how))
    build(machine, chain_of(tuple(stages)))
    source = iter(items)
    under_way: list[Any] = []
    outs: list[Any] = []
    while not machine.has_all or machine.outputs:
        while n := machine.wants():
            some = list(islice(source, chance.randint(1, n)))
            if not some:
                machine.end()
                break
            if how.get("max_pending") is not None:
                assert machine.n_pending + len(some) <= how["max_pending"]
            machine.put(some)
        under_way += [Streamed(job, chance) if job.op.streams else job for job in machine.jobs()]
        can_go_on = [
            one for one in under_way if not isinstance(one, Streamed) or one.n_allowed or not one.pieces
        ]
        assert can_go_on or machine.outputs or machine.has_all or machine.wants(), "it hangs"
        if seconds:
            machine.tick(machine.now + chance.random() * seconds)
        if can_go_on and (not machine.outputs or chance.random() < 0.5):
            job = chance.choice(can_go_on)
            if isinstance(job, Streamed):
                if job.go_on():
                    under_way.remove(job)
                continue
            under_way.remove(job)
            if len(job.items) > 1 and chance.random() < 0.1 and machine.settings.keep:
                machine.failed(job, RuntimeError("as a whole"))
            else:
                done = run_items(job.op.program, job.base, machine.settings.keep, None, job.items, ())
                machine.done(job, done, chance.choice([10, 5_000, 50_000]))
        elif machine.outputs:
            packet = machine.outputs.popleft()
            outs += packet.items
            machine.gone(packet)
    assert not under_way
    assert not machine.moving
    assert (machine.n_packets, machine.n_pending, machine.n_running) == (0, 0, 0)
    assert not any(work.waiting or work.n_running for work in machine.works)
    return outs


def comparable(outs: list[Any]) -> list[Any]:
    return [("failed", repr(out.error), out.item) if isinstance(out, Failure) else out for out in outs]


@settings(deadline=None)
@given(
    st.lists(trees(3), min_size=1, max_size=4),
    st.integers(0, 30),
    st.integers(0, 10**6),
    st.sampled_from([None, 1, 7]),
)
def test_flow_means_what_the_interpreter_says(
    stages: list[Any], n: int, seed: int, max_pending: int | None
) -> None:
    expected = interpreted(stages, n)

    found = simulate(list(map(written, stages)), list(range(n)), seed, keep=True, max_pending=max_pending)

    assert comparable(found) == comparable([out for out, _ in expected])
    origins = [out.origin for out in found if isinstance(out, Failure)]
    assert [one if isinstance(one, list) else [one] for one in origins] == [
        origin for out, origin in expected if isinstance(out, Failure)
    ]


@st.composite
def trees_without_order(draw: Callable[[Any], Any], depth: int, *, in_row: bool = False) -> Any:
    """Give a tree whose outputs do not depend on the order of items."""
    tree = draw(trees(depth, in_row=in_row))
    return (
        tree
        if not any(word in repr(tree) for word in ("'tuple'", "'batch'", "'window'", "'timed'"))
        else ("call", work.shown if in_row else work.two)
    )


@settings(deadline=None)
@given(st.lists(trees_without_order(3), min_size=1, max_size=4), st.integers(0, 30), st.integers(0, 10**6))
def test_unordered_flow_gives_the_same_outputs_in_some_order(stages: list[Any], n: int, seed: int) -> None:
    expected = [out for out, _ in interpreted(stages, n)]

    found = simulate(list(map(written, stages)), list(range(n)), seed, keep=True, ordered=False)

    assert sorted(map(repr, comparable(found))) == sorted(map(repr, comparable(expected)))


@st.composite
def trees_with_time(draw: Callable[[Any], Any], depth: int) -> Any:
    """Give a tree in which nothing depends on how long batches are."""
    tree = draw(trees(depth))

    def unbatched(tree: Any) -> Any:
        shape, *rest = tree
        if shape == "window":
            return "call", work.two
        if shape in ("batch", "timed"):
            return "serial", [("timed", rest[0]), ("unbatch",)]
        if shape in ("tuple", "zip", "free"):  # what goes where does depend on it
            return "call", work.shown
        if shape in ("serial", "set"):
            return shape, [unbatched(part) for part in rest[0]]
        if shape in ("route", "to"):
            return shape, rest[0], {key: unbatched(part) for key, part in rest[1].items()}
        return tree

    return unbatched(tree)


@settings(deadline=None)
@given(
    st.lists(trees_with_time(3), min_size=1, max_size=4),
    st.integers(0, 30),
    st.integers(0, 10**6),
    st.booleans(),
)
def test_no_item_is_lost_in_batches_whose_time_is_up(
    stages: list[Any], n: int, seed: int, ordered: bool
) -> None:
    expected = [out for out, _ in interpreted(stages, n)]

    found = simulate(
        list(map(written, stages)), list(range(n)), seed, seconds=1_000, keep=True, ordered=ordered
    )

    assert sorted(map(repr, comparable(found))) == sorted(map(repr, comparable(expected)))


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 40), st.integers(0, 10**6))
def test_each_branch_stays_in_order_when_time_is_up(n: int, m: int, n_items: int, seed: int) -> None:
    flow = [Broadcast([work.listed, Batch(n, max_wait=5)], [work.shown, Batch(m, max_wait=9), Unbatch()])]

    found = simulate(flow, list(range(n_items)), seed, seconds=4)

    lists = [out for out in found if isinstance(out, list)]
    assert [x for out in lists for (x,) in out] == [*range(n_items)]
    assert [out for out in found if isinstance(out, str)] == [work.shown(x) for x in range(n_items)]


@pytest.fixture
def processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2) as executor:
        list(executor.map(time.sleep, [0.1] * 4))
        yield executor


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(trees(3), min_size=1, max_size=4), st.integers(0, 40))
def test_run_on_processes_means_the_same(processes: ProcessPoolExecutor, stages: list[Any], n: int) -> None:
    expected = [out for out, _ in interpreted(stages, n)]
    flow = Flow(*map(written, stages)).results()

    for on in (processes, "inline"):
        outs = list(flow.on(on).stream(range(n)))

        found = [out.ok if out else ("failed", repr(out.err), out.item) for out in outs]
        assert repr(found) == repr(comparable(expected))


def test_thousands_of_stages_need_no_deep_stack() -> None:
    assert simulate([work.inc] * 5_000, [1, 2], 1) == [5_001, 5_002]
    assert simulate([Batch(1), Unbatch()] * 1_000, [1, 2], 1) == [1, 2]


def test_kit_reads_as_it_says() -> None:
    def run(*stages: Any) -> list[Any]:
        return simulate(list(stages), list(range(1, 7)), 1)

    assert run(Map(pow, 2), Filter(work.odd)) == [x * x for x in range(1, 7) if work.odd(x * x)]
    assert run(Batch(4), Rebatch(3), Unbatch()) == [1, 2, 3, 4, 5, 6]
    assert run(Batch(4), Rebatch(3)) == [[1, 2, 3], [4, 5, 6]]
    assert run(Window(3, 2)) == [[1, 2, 3], [3, 4, 5], [5, 6]]
    assert run(Window(2, 3)) == [[1, 2], [4, 5]]
    assert run(Zip(work.inc, work.double)) == [(x + 1, 2 * x) for x in range(1, 7)]
    assert run(By(2, work.inc)) == [x + 1 for x in range(1, 7) for _ in range(2)]
    assert run(Deal(work.inc, work.negate, weights=(2, 1))) == [2, -2, 4, 5, -5, 7]
    assert run(Serial(work.inc, Seq(work.double))) == [2 * (x + 1) for x in range(1, 7)]
    assert run({work.inc, work.double}) == [y for x in range(1, 7) for y in (2 * x, x + 1)]
