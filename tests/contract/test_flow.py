"""Flows on a pool: running, bounds, errors, stages of their own, and how they end."""

from __future__ import annotations

import asyncio
import gc
import itertools
import pickle
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ezflow import (
    CallTimeout,
    GraphError,
    PicklingError,
    ProcessPoolExecutor,
    Result,
    Stage,
    WorkerDied,
    task,
)
from ezflow.flow.flow import Flow
from ezflow.flow.items import DROP
from ezflow.flow.kit import (
    As,
    Batch,
    Broadcast,
    By,
    Const,
    Filter,
    Iter,
    Map,
    Print,
    Read,
    Route,
    Stamp,
    Tap,
    Unbatch,
    Write,
    Zip,
)
from tests import flowwork as work
from tests import graphwork
from tests.contract.flows import endless
from tests.contract.gates import KEPT, LIMIT

pytestmark = pytest.mark.dealt

PROMPT = 20.0
"""Seconds that are far more than anything here takes, and far less than what hangs."""


def notes(error: BaseException | None) -> str:
    return "\n".join(getattr(error, "__notes__", ()))


# ---------------------------------------------------------------- running


def test_flow_streams_in_order_through_every_shape(pool: ProcessPoolExecutor) -> None:
    flow = Flow(
        Iter(range(20)),
        (work.inc, [work.double, lambda x: x + 1]),
        Broadcast(work.double, work.negate),
        Filter(lambda x: x != -3),
        work.two,
        Zip(work.shown, work.listed),
        Batch(7),
        As(2, len),
    ).on(pool)

    first, second = list(flow), list(flow)

    assert first == second
    assert sum(first) == (40 - 1) * 2 - 2 * (1 in range(20))  # 1 → 3 → -3 is dropped, and so is 2 → 3


def test_same_outputs_by_every_way_of_running(pool: ProcessPoolExecutor) -> None:
    flow = Flow(work.inc, work.two, Batch(3)).on(pool)
    expected = list(flow.on("inline").stream(range(8)))

    async def source() -> AsyncIterator[int]:
        for i in range(8):
            await asyncio.sleep(0)
            yield i

    async def main() -> tuple[list[Any], list[Any]]:
        return [out async for out in flow.stream(range(8))], [out async for out in flow.stream(source())]

    assert expected == list(flow.stream(range(8)))
    assert asyncio.run(main()) == (expected, expected)
    assert (flow.run(range(8)).n_in, flow.submit(range(8)).result(LIMIT).n_out) == (8, len(expected))
    with ThreadPoolExecutor(3) as threads:
        assert list(flow.on(threads).stream(range(8))) == expected


def test_flow_is_a_stage_and_travels(pool: ProcessPoolExecutor) -> None:
    inner = Flow(work.inc, {work.inc, work.double})
    flow = Flow(inner, Batch(2))

    again = pickle.loads(pickle.dumps(flow))

    assert list(again.on(pool).stream([1, 2])) == [[4, 3], [6, 4]]
    assert repr(flow) == "Flow(Flow(inc, {double, inc}), Batch(2))"


def test_none_is_data_a_list_is_one_item_and_drop_drops(pool: ProcessPoolExecutor) -> None:
    flow = Flow(work.nothing, work.listed, Route(len, {1: lambda x: x}), work.listed).on(pool)

    assert list(flow.stream([1, 2])) == [[[None]], [[None]]]
    assert list(Flow(lambda x: DROP if x else x).on(pool).stream([0, 1, 0])) == [0, 0]


def test_coroutine_functions_are_stages(pool: ProcessPoolExecutor) -> None:
    assert list(Flow(work.soon, work.soon).on(pool).stream([1])) == [("soon", ("soon", 1))]


def test_graph_is_one_call(pool: ProcessPoolExecutor) -> None:
    from ezflow import EZ

    flow = Flow(EZ({"a": work.inc, "b": work.double}), work.shown).on(pool)

    assert list(flow.stream([1])) == ["<{'a': 2, 'b': 2}>"]


def test_copies_of_an_item_do_not_see_each_other(pool: ProcessPoolExecutor) -> None:
    def spoil(x: list[int]) -> list[int]:
        x.append(0)
        return x

    assert list(Flow(By(3, spoil)).on(pool).stream([[1]])) == [[1, 0]] * 3


def test_files_and_prints(pool: ProcessPoolExecutor, tmp_path: Path, capsys: Any) -> None:
    source, copy = tmp_path / "source.txt", tmp_path / "copy.txt"
    source.write_text("one\ntwo\n\nlast", encoding="utf-8")
    seen: list[Any] = []

    outs = list(Flow(Read(source), Stamp(), Tap(seen.append), Write(copy), len, Print("n")).on(pool))

    assert outs == [3, 3, 0, 4]
    assert copy.read_text(encoding="utf-8") == "one\ntwo\n\nlast\n"
    assert seen == ["one", "two", "", "last"]
    assert capsys.readouterr().out.count("Processing item") == 4


def test_source_that_can_be_iterated_once_is_not_run_twice(pool: ProcessPoolExecutor) -> None:
    flow = Flow(Iter(iter([1, 2])), work.inc).on(pool)

    assert list(flow) == [2, 3]
    with pytest.raises(RuntimeError, match="once only"):
        list(flow)
    assert list(Flow(Iter(lambda: iter([1])), work.inc).on(pool)) == [2]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (Flow, "no stages"),
        (lambda: Flow({"a": work.inc}), "dict is no stage"),
        (lambda: Flow(work.Counting), "is a class"),
        (lambda: Flow(work.inc, ()), "stage 2 of the flow: a tuple is empty"),
        (lambda: Flow(work.inc, 5), "5 is no stage"),
        (lambda: Flow(work.inc, Iter([1])), "source stands behind"),
        (lambda: Flow({work.inc, lambda x: x}), "Broadcast"),
        (lambda: Flow(DROP), "DROP is no stage"),
        (lambda: Flow([1, 2], work.inc), r"1 is no stage.*Iter\(items\)"),
        (lambda: Flow(work.inc, Batch), r"stage 2 .*Batch is a word.*Batch\(\.\.\.\)"),
        (lambda: Flow(Flow(work.inc).results(), work.inc), r"stage 1 .*results\(\).*outer flow"),
        (lambda: Flow(work.inc).xcut("db", Flow(work.inc).on("inline")), "outer flow"),
    ],
)
def test_mistakes_are_found_when_it_is_built(make: Callable[[], Any], match: str) -> None:
    with pytest.raises(GraphError, match=match):
        make()


# ---------------------------------------------------------------- bounds


def test_source_advances_only_as_far_as_the_bounds_allow(pool: ProcessPoolExecutor) -> None:
    taken = itertools.count()
    n = 0

    def source() -> Iterator[int]:
        nonlocal n
        for n in taken:  # noqa: UP028  # it is counted here
            yield n

    with Flow(work.inc, Batch(3), Unbatch(), work.inc).on(pool).max_pending(10).stream(source()) as stream:
        for i in range(100):
            assert next(stream) == i + 2
            assert n <= i + 10 + 3 + 1  # and what waits for its batch


def test_closing_stops_what_runs_and_the_source(pool: ProcessPoolExecutor) -> None:
    closed = threading.Event()

    stream = Flow(work.hang_at_3).on(pool).stream(endless(closed))
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    began = time.monotonic()
    stream.close()

    assert closed.is_set()
    assert pool.submit(work.inc, 1).result(LIMIT) == 2
    assert time.monotonic() - began < PROMPT


@pytest.mark.parametrize("where", ["thread", "async", "process"])
def test_closing_in_another_thread_ends_the_wait_for_an_output(pool: ProcessPoolExecutor, where: str) -> None:
    waits, gate = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        yield 1
        waits.set()

    async def stuck(_: int) -> None:
        await asyncio.sleep(LIMIT)

    def close() -> None:
        assert waits.wait(LIMIT)
        stream.close()

    with ThreadPoolExecutor(2) as threads:
        stage = {
            "thread": Map(lambda _: gate.wait(LIMIT)).on(threads),
            "async": Map(stuck).on("async"),
            "process": Map(graphwork.hang),
        }[where]
        stream = Flow(stage).on(pool).stream(source())
        closed = threads.submit(close)
        assert list(stream) == []
        closed.result(LIMIT)
        gate.set()
    assert list(stream) == []


def test_source_may_close_its_own_run(pool: ProcessPoolExecutor) -> None:
    def source() -> Iterator[int]:
        yield 1
        stream.close()
        yield 2

    stream = Flow(work.inc).on(pool).stream(source())

    assert list(stream) in ([], [2])  # what was ready by then


def test_break_stops_an_endless_flow(pool: ProcessPoolExecutor) -> None:
    for out in Flow(Const(1), work.inc, (work.inc, work.double)).on(pool):
        assert out == 3
        break
    gc.collect()

    assert pool.submit(work.inc, 1).result(LIMIT) == 2


@pytest.mark.parametrize("when", ["at once", "while it runs", "while it waits"])
def test_cancelling_the_future_of_a_run_stops_it(
    pool: ProcessPoolExecutor, tmp_path: Path, when: str
) -> None:
    begun, closed = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        try:
            for n in itertools.count():
                if n == 3:
                    begun.set()
                yield n
        finally:
            closed.set()

    hangs = graphwork.hang if when == "while it waits" else work.inc
    future = Flow(Iter(source), hangs).on(pool).submit()
    if when != "at once":
        assert begun.wait(LIMIT)

    assert future.running()
    assert future.cancel()

    assert not future.running()
    assert when == "at once" or closed.wait(LIMIT)  # at once: its source may never have begun
    with pytest.raises(CancelledError):
        future.result(LIMIT)
    assert pool.submit(work.inc, 1).result(LIMIT) == 2


def test_waiting_for_a_run_in_asyncio_may_be_given_up(pool: ProcessPoolExecutor) -> None:
    begun, closed = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        try:
            for n in itertools.count():
                begun.set()
                yield n
        finally:
            closed.set()

    async def main() -> None:
        waiting = asyncio.ensure_future(awaited(Flow(work.inc).on(pool).submit(source())))
        await asyncio.sleep(0)  # it has begun to wait
        await asyncio.to_thread(begun.wait, LIMIT)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    async def awaited(future: Any) -> Any:
        return await future

    asyncio.run(main())
    assert closed.wait(LIMIT)


@pytest.mark.parametrize("how", ["aclose", "close", "drop", "error", "timeout"])
@pytest.mark.parametrize("waits", [True, False])
def test_async_source_is_closed_with_the_run(pool: ProcessPoolExecutor, how: str, waits: bool) -> None:
    """Also one whose next item is waited for: no task is left behind."""

    async def main() -> None:
        closed = asyncio.Event()

        async def source() -> AsyncIterator[int]:
            try:
                for n in itertools.count() if not waits else range(3):
                    yield n
                await asyncio.Event().wait()
            finally:
                closed.set()

        async def consume() -> None:
            stream = Flow(work.inc).on(pool).stream(source())
            async for out in stream:
                if how == "timeout" and waits:
                    continue
                if out == 3:
                    if how == "aclose":
                        await stream.aclose()
                        assert closed.is_set()
                    elif how == "close":
                        stream.close()
                    elif how != "drop":
                        raise ZeroDivisionError
                    break

        if how == "timeout" and waits:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(consume(), 0.5)
        elif how in ("error", "timeout"):
            with pytest.raises(ZeroDivisionError) as caught:
                await consume()
            caught.value.__traceback__ = None  # its frames hold the stream
            del caught
        else:
            await consume()
        gc.collect()

        await asyncio.wait_for(closed.wait(), LIMIT)
        async with asyncio.timeout(LIMIT):
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0)

    asyncio.run(main())


def test_async_with_waits_until_the_source_is_closed() -> None:
    closed = []

    async def source() -> AsyncIterator[int]:
        try:
            for n in itertools.count():
                yield n
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    async def main() -> None:
        async with Flow(work.inc).on("inline").stream(source()) as stream:
            assert await anext(stream) == 1
        assert closed

    asyncio.run(main())


def test_batch_is_let_out_while_the_source_waits(pool: ProcessPoolExecutor) -> None:
    gate = threading.Event()

    def source() -> Iterator[int]:
        yield from [1, 2, 3]
        gate.wait(LIMIT)
        yield 4

    with Flow(work.inc, Batch(1000, max_wait=0.05), work.listed).on(pool).stream(source()) as stream:
        seen: list[int] = []
        while len(seen) < 3:  # in as many batches as the machine is slow
            seen += next(stream)[0]
        gate.set()

        assert seen == [2, 3, 4]
        assert list(stream) == [[[5]]]


def test_outputs_come_while_a_live_source_waits(pool: ProcessPoolExecutor) -> None:
    gate = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        gate.wait(LIMIT)

    flow = Flow(Iter(source, live=True), work.inc, (work.inc, work.double)).on(pool)
    with iter(flow) as stream:
        assert next(stream) == 3
        gate.set()
        assert list(stream) == []


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("stages", ["first", "middle", "last", "branch"])
def test_first_error_is_raised_once_and_names_stage_and_item(pool: ProcessPoolExecutor, stages: str) -> None:
    def bad(x: int) -> int:
        if x == 5:
            raise KeyError("bad")
        return x

    same = Map(lambda x: x)
    flow = {
        "first": Flow(bad, Batch(1)),
        "middle": Flow(same, Batch(1), Unbatch(), bad, Batch(1)),
        "last": Flow(Batch(1), Unbatch(), same, bad),
        "branch": Flow(Broadcast(same, [Batch(1), Unbatch(), bad])),
    }[stages]
    stream = flow.on(pool).stream(itertools.count())

    with pytest.raises(KeyError, match="bad") as caught:
        list(stream)

    assert "(bad), with the item 5" in notes(caught.value)
    assert list(stream) == []


def test_every_item_is_accounted_for_in_results(pool: ProcessPoolExecutor) -> None:
    flow = Flow(work.picky, work.shown, work.picky, Filter(work.odd)).on(pool).results()

    outs = list(flow.stream(range(50)))
    outcome = flow.run(range(50))

    assert {type(out) for out in outs} == {Result}
    assert (2, "1 (picky)") in [(out.item, out.stage) for out in outs if not out]
    assert outcome.n_out == sum(map(bool, outs))
    assert outcome.n_failed == sum(not out for out in outs) == len(outcome.failures)
    assert outcome.n_in == 50 == outcome.n_out + outcome.n_failed + outcome.n_dropped


def test_handler_replaces_or_drops(pool: ProcessPoolExecutor) -> None:
    flow = Flow(work.picky, work.shown).on(pool)

    assert list(flow.catch(lambda error: "x").stream([1, 2, 3])) == ["<1>", "<x>", "<3>"]
    assert list(flow.catch(lambda error: DROP).stream([1, 2, 3])) == ["<1>", "<3>"]


def test_dead_worker_fails_only_its_item(pool: ProcessPoolExecutor) -> None:
    flow = Flow(work.inc, Batch(1), Unbatch(), work.die_at_3, work.inc).on(pool)

    outs = list(flow.results().stream(range(8)))

    assert [out.ok for out in outs] == [2, 3, None, 5, 6, 7, 8, 9]
    assert isinstance(outs[2].err, WorkerDied)
    with pytest.raises(WorkerDied):
        list(flow.stream(range(8)))


def test_what_cannot_be_pickled_fails_only_its_item(pool: ProcessPoolExecutor) -> None:
    def lock_at_3(x: int) -> Any:
        return threading.Lock() if x == 3 else x

    outs = list(Flow(lock_at_3).on(pool).results().stream([1, 2, 3, 4]))
    sent = list(Flow(work.shown).on(pool).results().stream([1, threading.Lock(), 3]))

    assert [out.ok for out in outs] == [1, 2, None, 4]
    assert isinstance(outs[2].err, PicklingError)
    assert [out.ok for out in sent] == ["<1>", None, "<3>"]


def test_limit_of_a_stage_stops_its_call(pool: ProcessPoolExecutor) -> None:
    flow = Flow(work.inc, task(work.hang_at_3).timeout(KEPT), work.inc).on(pool).results()

    outs = list(flow.stream(range(5)))

    assert [out.ok for out in outs] == [2, 3, None, 5, 6]
    assert isinstance(outs[2].err, CallTimeout)


def test_error_of_the_source_ends_the_run(pool: ProcessPoolExecutor) -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("source")

    with pytest.raises(OSError, match="source"):
        list(Flow(work.inc).on(pool).results().stream(source()))


# ---------------------------------------------------------------- stages of their own


def test_stage_is_set_up_and_torn_down_once_in_its_worker(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    outs = list(Flow(work.inc, work.Counting(str(tmp_path)), work.listed).on(pool).stream(range(9)))

    assert outs == [[(i + 1, i + 1)] for i in range(9)]
    (life,) = tmp_path.iterdir()
    assert life.read_text().split("\n") == ["setup", "teardown 9", ""]


def test_stage_is_torn_down_when_the_run_is_closed(
    pool: ProcessPoolExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ezflow.flow.homes.PATIENCE", 30.0)  # this machine may be busy
    with Flow(work.Counting(str(tmp_path))).on(pool).stream(itertools.count()) as stream:
        next(stream)

    (*_, life) = tmp_path.iterdir()
    assert "teardown" in life.read_text()


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
@pytest.mark.parametrize("on", ["process", "thread", "inline"])
def test_error_that_ends_loops_does_not_end_the_consumers_loop(
    pool: ProcessPoolExecutor, default_executors: None, kind: type[Exception], on: str
) -> None:
    """Or items were lost without a word."""

    def stop(x: int) -> int:
        if x == 3:
            raise kind
        return x

    flow = Flow(stop).on(pool if on == "process" else on)

    async def main() -> list[int]:
        return [out async for out in flow.stream(range(6))]

    with pytest.raises(RuntimeError if kind is StopIteration else kind) as caught:
        list(flow.stream(range(6)))
    assert "with the item 3" in notes(caught.value)
    with pytest.raises(RuntimeError):
        asyncio.run(main())
    assert [result.ok for result in flow.results().stream(range(6))] == [0, 1, 2, None, 4, 5]


def test_source_is_not_asked_again_after_its_end(pool: ProcessPoolExecutor) -> None:
    """Some go on then, which would be an endless flow: an interactive standard input, or a counter like this."""

    class Counter:
        n = 0

        def __iter__(self) -> Iterator[int]:
            return self

        def __next__(self) -> int:
            self.n += 1
            if self.n == 3:
                raise StopIteration
            return self.n

    assert list(itertools.islice(Flow(work.inc).on(pool).stream(Counter()), 9)) == [2, 3]


def test_failing_setup_fails_the_run_with_its_error(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(OSError, match="no such model") as caught:
        list(Flow(work.inc, work.BadSetup()).on(pool).stream(range(9)))

    assert "stage 2 (BadSetup)" in notes(caught.value)


def test_as_many_stages_as_were_wanted_share_the_items(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    outs = list(Flow(As(3, work.Counting, str(tmp_path))).on(pool).stream(range(40)))

    assert [item for item, _ in outs] == list(range(40))
    lives = [path.read_text() for path in tmp_path.iterdir()]
    assert 1 <= len(lives) <= 3
    assert all(life.count("setup") == life.count("teardown") == 1 for life in lives)


def test_failing_teardown_is_raised_after_the_outputs(pool: ProcessPoolExecutor) -> None:
    stream = Flow(work.BadTeardown()).on(pool).stream([1, 2])

    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(OSError, match="cannot clean up"):
        next(stream)


class BadEnd(Stage):
    def do(self, item: Any) -> Any:
        return item

    def teardown(self) -> None:
        raise ZeroDivisionError


def test_failing_teardown_does_not_keep_the_rest_of_a_stopped_run(pool: ProcessPoolExecutor) -> None:
    """The worker of the other stage, and the source: `no_leaks` looks for what is left."""
    closed = threading.Event()

    stream = Flow(BadEnd().on("inline"), work.Passing()).on(pool).stream(endless(closed))
    assert next(stream) == 0

    with pytest.raises(ZeroDivisionError):
        stream.close()
    assert closed.is_set()


def test_stage_is_set_up_again_where_a_worker_died(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    outs = list(Flow(work.CountingUntil3(str(tmp_path))).on(pool).results().stream(range(6)))

    assert [out.ok and out.ok[0] for out in outs] == [0, 1, 2, None, 4, 5]
    lives = sorted(path.read_text().split("\n")[0] for path in tmp_path.iterdir())
    assert lives == ["setup", "setup"]


# ---------------------------------------------------------------- faults, everywhere


@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (graphwork.die, WorkerDied),
        (graphwork.leave, WorkerDied),
        (graphwork.unsendable, PicklingError),
        (graphwork.poisonous, Exception),
        (graphwork.raising, ZeroDivisionError),
    ],
)
def test_fault_ends_in_its_error_wherever_it_is(
    default_pool_of_two: ProcessPoolExecutor, fault: Callable[..., Any], kind: type[Exception], place: str
) -> None:
    stages = {
        "first": [fault, Batch(1), work.listed],
        "middle": [work.inc, Batch(1), fault, Batch(1), work.listed],
        "last": [work.inc, Batch(1), fault],
    }[place]
    flow = Flow(*stages).on(default_pool_of_two)

    outs = list(flow.results().stream(range(3)))
    with pytest.raises(kind) as caught:
        list(flow.stream(range(3)))

    assert [type(out.err) for out in outs] == [type(caught.value)] * 3
    assert f"({fault.__name__}), with the item" in notes(caught.value)
    assert list(Flow(work.inc).on(default_pool_of_two).stream([1])) == [2]


@pytest.fixture
def default_pool_of_two() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2) as executor:
        yield executor
