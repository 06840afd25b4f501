"""Large items: no call gathers many of them, and the source waits while much is on its way."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from ezflow import As, Batch, Flow, GraphError, Map, ProcessPoolExecutor, Tap, Unbatch, WorkerDied
from ezflow.flow import machine as machines
from ezflow.flow import program
from ezflow.flow.machine import Machine, Settings
from ezflow.flow.parse import chain_of
from ezflow.flow.plan import build
from ezflow.flow.program import run_items
from ezflow.flow.weight import LARGE
from ezflow.flow.work import cut
from tests import flowwork as work
from tests.contract.flows import pool_of_one_kind  # noqa: F401  # the fixture `pool`

pytestmark = pytest.mark.dealt

KB = 1024


class Buffer:
    """Says how large it is, and is not."""

    def __init__(self, nbytes: int, name: Any = 0) -> None:
        self.nbytes = nbytes
        self.name = name


def sizes(pieces: list[list[Any]]) -> list[int]:
    return [len(piece) for piece in pieces]


def test_items_are_cut_by_number_and_by_bytes() -> None:
    small, large = Buffer(KB), Buffer(LARGE // 3)

    assert sizes(cut([*range(10)], 4)) == [4, 4, 2]
    assert sizes(cut(["x" * KB] * 10, 4)) == [4, 4, 2]
    assert sizes(cut([large] * 10, 4)) == [3, 3, 3, 1]
    assert sizes(cut([(large, 1)] * 5, 64)) == [3, 2]
    assert sizes(cut([small, large, large, large, large, small], 64)) == [3, 3]
    assert sizes(cut([Buffer(2 * LARGE)] * 3 + [small] * 3, 64)) == [1, 1, 1, 3]
    assert sizes(cut([b"x" * (LARGE + 1), 1], 64)) == [1, 1]


@pytest.mark.parametrize("fn", [lambda x: Buffer(LARGE // 2, x), work.yields_buffers])
def test_call_stops_when_its_outputs_are_large(fn: Any) -> None:
    outs, _, n_failed, extra = run_items(((program.MAP, fn, "1"),), 0, True, None, [*range(64)], ())

    assert extra is not None
    assert extra[2] == 61
    assert (len(outs), n_failed) == (3, 0)


def test_rest_of_a_call_comes_in_its_place() -> None:
    """Calls give up after few items and fail as a whole, and yet every item has its output in order."""

    def fn(x: Any) -> Buffer:
        return Buffer(LARGE // 2, x)

    machine = Machine(Settings(n_workers=2, keep=True))
    build(machine, chain_of((fn,)))
    outs: list[Any] = []
    failing = itertools.cycle([False, False, True])
    source = iter(range(300))
    while not machine.has_all or machine.outputs:
        while n := machine.wants():
            some = list(itertools.islice(source, n))
            machine.put(some) if some else machine.end()
            if not some:
                break
        for job in machine.jobs():
            if len(job.items) > 1 and next(failing):
                machine.failed(job, RuntimeError())
            else:
                machine.done(job, run_items(((program.MAP, fn, "1"),), 0, True, None, job.items, ()), 10)
        while machine.outputs:
            packet = machine.outputs.popleft()
            outs += [out.name for out in packet.items]
            machine.gone(packet)

    assert outs == [*range(300)]
    assert (machine.n_bytes, machine.n_pending) == (0, 0)


def test_source_waits_while_much_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "HEAVY", 10 * KB)
    machine = Machine(Settings(n_workers=2))
    build(machine, chain_of((work.inc,)))

    n = 0
    while machine.wants():
        machine.put([b"x" * 4 * KB])
        n += 1

    assert n == 3
    light = Machine(Settings(n_workers=2))
    build(light, chain_of((work.inc,)))
    while light.wants():
        light.put([b"x"])
    assert light.n_packets == light.settings.n_packets


def test_large_items_pass_in_order(pool: ProcessPoolExecutor) -> None:
    n = 6 << 20

    def grown(x: int) -> bytes:
        return bytes([x]) * n

    outs = list(
        Flow(grown, Map(lambda text: (text[0], len(text))), Tap(lambda x: None)).on(pool).stream(range(40))
    )
    apart = Flow(grown, Tap(lambda x: None), work.Passing(), lambda text: (text[0], len(text)))

    assert outs == [(x, n) for x in range(40)]
    assert list(apart.on(pool).stream(range(12))) == [(x, n) for x in range(12)]


# ---------------------------------------------------------------- outputs in pieces


def test_outputs_of_one_item_come_while_they_are_yielded(pool: ProcessPoolExecutor) -> None:
    """The generator never ends, and goes only as far as it is allowed to."""
    flow = Flow(Map(work.counts_for_ever).stream(), work.inc, Batch(10)).on(pool)

    with flow.stream([5]) as stream:
        batches = list(itertools.islice(stream, 200))

    assert [x for batch in batches for x in batch] == [*range(6, 2006)]
    assert pool.submit(work.inc, 1).result(60) == 2


def test_generator_waits_while_its_outputs_are_not_taken(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    log = tmp_path / "log"
    flow = Flow(Map(work.yields_megabytes, str(log)).stream(2), len).on(pool)

    with flow.stream([0]) as stream:
        seen = list(itertools.islice(stream, 100))
        yielded = len(log.read_text())

    assert seen == [1 << 20] * 100
    assert yielded < 100 + 40 * 17


def test_pieces_of_several_items_stay_in_order(pool: ProcessPoolExecutor) -> None:
    flow = Flow(work.inc, Map(work.several_hundred).stream(1), work.listed, Batch(3), Unbatch()).on(pool)

    outs = list(flow.stream(range(7)))

    assert outs == [[(x, i)] for x in range(1, 8) for i in range(100 * x)]
    assert list(flow.on("inline").stream(range(7))) == outs
    assert flow.run(range(7)).n_out == 2800
    assert sorted(flow.unordered().stream(range(7))) == outs


def test_failure_comes_behind_what_was_yielded(pool: ProcessPoolExecutor) -> None:
    flow = Flow(Map(work.yields_then_raises).stream()).on(pool)
    dying = Flow(Map(work.yields_slowly_then_dies).stream(), work.inc).on(pool)

    with pytest.raises(ZeroDivisionError):
        list(flow.stream([1, 2]))
    assert [(out.ok, type(out.err)) for out in flow.results().stream([1, 2])] == [
        (1, type(None)),
        (None, ZeroDivisionError),
        (2, type(None)),
        (None, ZeroDivisionError),
    ]
    assert [(out.ok, type(out.err)) for out in dying.results().stream([1])] == [
        (2, type(None)),
        (2, type(None)),
        (None, WorkerDied),
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Flow(Map(work.two).stream().retry(2)).run([1]),
        lambda: Batch(2).stream(),
        lambda: As(2, work.two).stream(),
    ],
)
def test_stream_that_cannot_be(make: Any) -> None:
    with pytest.raises(GraphError):
        make()
