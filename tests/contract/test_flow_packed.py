"""Large items go from one worker to the next as they are: this process neither rebuilds nor copies them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ezflow import (
    As,
    Batch,
    Broadcast,
    Failure,
    Flow,
    Map,
    Piece,
    ProcessPoolExecutor,
    Rebatch,
    Route,
    Seq,
    Tap,
    To,
    Unbatch,
    UnpicklingError,
    Window,
    WorkerDied,
    Zip,
)
from ezflow._memory import segments
from ezflow._memory.cargo import Span
from ezflow._wire.keeping import Kept
from ezflow._wire.pickling import ResultPickling
from ezflow.graph.lanes import close_defaults
from tests import flowwork as work
from tests.life.program import run

pytestmark = pytest.mark.dealt

FRAMES = [(i, i) for i in range(12)]


@pytest.fixture
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2) as executor:
        yield executor
    close_defaults()


def apart(fn: Any) -> Piece:
    """Make a stage of its own, not fused with its neighbours."""
    return Map(fn).timeout(300)


MAKE = partial(work.framed, not_in=os.getpid())
"""Makes frames that must not be rebuilt here."""

READ = apart(work.read_frame)

ROUTES = Route(To, {"odd": apart(work.same_frame), "even": apart(work.same_frame)})


@pytest.mark.parametrize(
    "stages",
    [
        [apart(work.same_frame), As(2, work.same_frame), work.Hosting()],
        [Seq(apart(work.same_frame)), apart(work.same_frame)],
        [(apart(work.same_frame), apart(work.same_frame))],
        [apart(work.to_odd_or_even), ROUTES],
        [Batch(5), apart(work.same_frame), Unbatch()],
        [Batch(5), Rebatch(2), Unbatch()],
        [Window(2, step=2), apart(work.same_frame), Unbatch()],
    ],
)
def test_frames_are_not_rebuilt_here(pool: ProcessPoolExecutor, stages: Any) -> None:
    flow = Flow(MAKE, *stages, READ).on(pool)

    assert list(flow.stream(range(12))) == FRAMES


def test_copies_and_rows_are_not_rebuilt_here_and_nobody_sees_what_another_writes(
    pool: ProcessPoolExecutor,
) -> None:
    writes, passes = apart(work.next_frame), apart(work.same_frame)
    copied = Flow(MAKE, Broadcast(writes, passes), READ).on(pool)
    rows = Flow(MAKE, Zip(passes, passes), apart(work.read_frames)).on(pool)

    assert list(copied.stream(range(1, 4))) == [(2, 2), (1, 1), (3, 3), (2, 2), (4, 4), (3, 3)]
    assert list(rows.stream(range(3))) == [[(i, i), (i, i)] for i in range(3)]


def test_pieces_of_a_stream_are_not_rebuilt_here(pool: ProcessPoolExecutor) -> None:
    flow = Flow(Map(partial(work.frames, not_in=os.getpid())).stream(), READ).on(pool)

    assert [number for number, _ in flow.stream(range(4))] == [10 * i + j for i in range(4) for j in range(3)]


def test_meta_travels_with_what_is_packed(pool: ProcessPoolExecutor) -> None:
    flow = Flow(MAKE, work.marked_frame, Batch(2), Unbatch(), apart(work.meta_and_number)).on(pool)

    assert list(flow.stream(range(4))) == FRAMES[:4]


def test_this_process_fills_no_memory_for_what_passes(pool: ProcessPoolExecutor) -> None:
    n_made = segments.arena_now().n_made

    assert list(Flow(MAKE, apart(work.same_frame), READ).on(pool).stream(range(12))) == FRAMES

    assert segments.arena_now().n_made == n_made


@pytest.mark.parametrize(
    "stages",
    [
        [Map(work.read_frame).on("thread")],
        [work.Hosting().on("thread"), Map(work.read_frame).on("inline")],
        [Route(work.number_of, {i: apart(work.read_frame) for i in range(12)})],
        [Tap(work.read_frame), READ],
        [Batch(3), Map(work.read_frames).on("thread"), Unbatch()],
    ],
)
def test_who_looks_here_gets_the_frame_itself(pool: ProcessPoolExecutor, stages: Any) -> None:
    flow = Flow(work.framed, apart(work.same_frame), *stages).on(pool)

    assert list(flow.stream(range(12))) == FRAMES


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_other_executor_gets_the_frame(pool: ProcessPoolExecutor, kind: Any) -> None:
    with kind(1) as executor:
        flow = Flow(work.framed, apart(work.same_frame), Map(work.read_frame).on(executor)).on(pool)

        assert list(flow.stream(range(12))) == FRAMES


def test_consumer_gets_frames_alone_in_batches_and_in_rows(pool: ProcessPoolExecutor) -> None:
    made = Flow(work.framed, apart(work.same_frame))
    alone = made.on(pool).stream(range(3))
    batches = Flow(made, Batch(2)).on(pool).stream(range(3))
    rows = Flow(made, Zip(apart(work.same_frame), apart(work.number_of))).on(pool).stream(range(3))

    assert [work.read_frame(frame) for frame in alone] == FRAMES[:3]
    assert [work.read_frames(batch) for batch in batches] == [FRAMES[:2], FRAMES[2:3]]
    assert [(work.read_frame(frame), number) for frame, number in rows] == [((i, i), i) for i in range(3)]


def test_failure_holds_the_frame(pool: ProcessPoolExecutor) -> None:
    flow = Flow(work.framed, apart(work.fail_at_3), READ).results().on(pool)

    outcome = flow.run(range(6))
    (failure,) = outcome.failures

    assert isinstance(failure, Failure)
    assert isinstance(failure.item, work.Frame)
    assert (work.read_frame(failure.item), failure.origin) == ((3, 3), 3)


def test_frame_that_cannot_be_rebuilt_for_the_consumer_is_an_error_of_its_own(
    pool: ProcessPoolExecutor,
) -> None:
    passing = [Batch(2), Unbatch()]
    flow = Flow(MAKE, apart(work.same_frame), Broadcast(apart(work.number_of), Seq(*passing))).on(pool)

    with pytest.raises(UnpicklingError, match="pass it on unopened"):
        flow.run(range(3))
    outcome = flow.results().run(range(3))
    assert (outcome.n_out, outcome.n_failed) == (3, 3)


def test_call_whose_worker_dies_is_repeated_with_what_was_packed(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    dies = Map(partial(work.die_once_with_frame, str(tmp_path / "died"))).retry(2, on=WorkerDied)

    assert list(Flow(MAKE, dies, READ).on(pool).stream(range(4))) == FRAMES[:4]
    assert (tmp_path / "died").exists()


def test_class_of_the_main_program_passes(tmp_path: Path) -> None:
    program = run(
        """
        import ezflow

        class Big:
            def __init__(self, n):
                self.data = bytes([n]) * 300_000

        def grow(big):
            big.data += b"!"
            return big

        flow = ezflow.Flow(Big, ezflow.Map(grow).timeout(60), ezflow.As(1, grow), lambda big: (type(big) is Big, len(big.data)))
        print(list(flow.stream(range(3))))
        """,
        tmp_path,
    )

    assert program.stdout == f"{[(True, 300_002)] * 3}\n"


def test_frames_outlive_the_worker_that_packed_them() -> None:
    with ProcessPoolExecutor(2, max_tasks_per_child=1) as pool:
        flow = Flow(MAKE, apart(work.same_frame), Batch(6), apart(work.read_frames), Unbatch()).on(pool)

        assert list(flow.stream(range(12))) == FRAMES


def test_many_parts_of_one_answer_share_a_piece_of_memory() -> None:
    """A descriptor for each would soon be more than a process may have."""
    beside: list[Any] = []
    pickling = ResultPickling(lambda module, name: True)

    pickling.dumps([Kept(bytearray(100_000)) for _ in range(20)], beside)
    leases = {id(part.lease) for part in beside if isinstance(part, Span)}
    del beside

    assert (len(leases), pickling.n_kept) == (1, 20)
