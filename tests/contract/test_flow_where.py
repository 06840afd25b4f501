"""Where stages run, their limits, and what becomes of their failures: one set of words for all of them."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ezflow import (
    DROP,
    As,
    Batch,
    CallTimeout,
    Filter,
    Flow,
    GraphError,
    Iter,
    Map,
    ProcessPoolExecutor,
    Result,
    Route,
    Stage,
    Tap,
    To,
    Unbatch,
    WorkerDied,
    Zip,
    current_call,
    task,
)
from tests import flowwork as work
from tests.contract.flows import pool_of_one_kind  # noqa: F401  # the fixture `pool`

pytestmark = pytest.mark.dealt

LIMIT = 60.0


WORDS = ["process", "thread", "inline", "async"]


# ---------------------------------------------------------------- where


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(
    "shape",
    [
        lambda fn, word: task(fn).on(word),
        lambda fn, word: Map(fn).on(word),
        lambda fn, word: As(2, fn).on(word),
        lambda fn, word: (Map(fn).on(word), As(1, fn).on(word)),
    ],
)
def test_one_word_says_where_a_stage_runs(pool: ProcessPoolExecutor, word: str, shape: Any) -> None:
    parent = os.getpid()

    async def soon(x: Any) -> Any:
        return x, os.getpid() == parent

    def plain(x: Any) -> Any:
        return x, os.getpid() == parent

    for fn in (soon, plain):
        flow = Flow(work.inc, shape(fn, word if word != "process" else pool), Batch(2), Unbatch()).on(pool)

        assert list(flow.stream(range(20))) == [(x + 1, word != "process") for x in range(20)]


@pytest.mark.parametrize("word", ["inline", "thread", "async", "process"])
def test_same_outputs_wherever_all_of_it_runs(word: str, pool: ProcessPoolExecutor) -> None:
    flow = Flow(
        Map(work.inc),
        (work.double, [work.soon, Filter(lambda x: True)]),
        Zip(work.listed, work.soon),
        {work.shown, work.listed},
        work.mark,
        work.marked,
        Batch(3),
        Route(len, {3: work.two}, default=lambda x: DROP),
    )

    expected = list(flow.on("inline").stream(range(9)))

    assert list(flow.on(pool if word == "process" else word).stream(range(9))) == expected


def test_many_coroutines_wait_at_once(pool: ProcessPoolExecutor) -> None:
    """None of them ends before forty are there."""
    n = 0

    async def meet(x: int) -> int:
        nonlocal n
        n += 1
        end = time.monotonic() + LIMIT
        while n < 40 and time.monotonic() < end:
            await asyncio.sleep(0.001)
        return x if n >= 40 else -1

    assert list(Flow(task(meet).on("async")).on(pool).stream(range(40))) == [*range(40)]


def test_as_many_coroutines_as_were_wanted() -> None:
    running = most = 0

    async def counted(x: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return x

    assert list(Flow(As(3, counted)).on("async").stream(range(60))) == [*range(60)]
    assert most == 3


def test_coroutines_run_in_the_consumers_loop() -> None:
    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()

        async def same_loop(x: int) -> bool:
            return asyncio.get_running_loop() is loop

        return [out async for out in Flow(same_loop).on("async").stream(range(5))]

    assert asyncio.run(main()) == [True] * 5


def test_async_generator_meta_and_side_streams_in_a_loop() -> None:
    rows: list[Any] = []

    async def several(x: int) -> AsyncIterator[Any]:
        current_call().meta["x"] = x
        current_call().emit("db", x)
        for i in range(2):
            await asyncio.sleep(0)
            yield x, i

    async def sent(x: Any) -> Any:
        return To("vip", x)

    flow = (
        Flow(several, work.meta_of, sent, Route(To, {"vip": work.listed}))
        .xcut("db", Tap(rows.append))
        .on("async")
    )

    assert list(flow.stream([1, 2])) == [[((x, i), {"x": x})] for x in (1, 2) for i in range(2)]
    assert sorted(rows) == [1, 2]


def test_errors_of_coroutines(pool: ProcessPoolExecutor) -> None:
    async def bad(x: int) -> int:
        await asyncio.sleep(0)
        if x == 3:
            raise KeyError(x)
        return x

    flow = Flow(work.inc, task(bad).on("async"), work.shown).on(pool)

    with pytest.raises(KeyError) as caught:
        list(flow.stream(range(9)))
    assert "stage 2 (bad), with the item 3" in caught.value.__notes__[0]
    assert [out.item for out in flow.results().stream(range(9)) if not out] == [3]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_coroutine_that_would_end_its_loop_fails_its_item(
    pool: ProcessPoolExecutor, kind: type[BaseException]
) -> None:
    async def leaving(x: int) -> int:
        await asyncio.sleep(0)
        if x == 3:
            raise kind
        return x

    flow = Flow(task(leaving).on("async")).on(pool)

    with pytest.raises(kind):
        list(flow.stream(range(9)))
    assert [out.item for out in flow.results().stream(range(9)) if not out] == [3]


@pytest.mark.parametrize("name", ["ezflow-async", "ezflow-source"])
def test_interrupt_while_a_thread_of_the_run_starts_leaves_none(
    pool: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        real(thread)
        if thread.name == name:
            raise KeyboardInterrupt

    async def same(x: int) -> int:
        return x

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(KeyboardInterrupt):
        Flow(Iter([1, 2], live=True), task(same).on("async")).on(pool).run()


def test_coroutine_that_is_done_waits_for_no_other() -> None:
    gate = threading.Event()

    async def waits(x: int) -> int:
        while x and not gate.is_set():
            await asyncio.sleep(0.001)
        return x

    with Flow(waits).on("async").stream(range(5)) as stream:
        assert next(stream) == 0
        gate.set()
        assert list(stream) == [1, 2, 3, 4]


def test_closing_cancels_coroutines(pool: ProcessPoolExecutor) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def stuck(x: int) -> int:
        if x:
            begun.set()
            try:
                await asyncio.sleep(LIMIT)
            finally:
                ended.set()
        return x

    source = itertools.chain([1], itertools.repeat(0))
    with Flow(task(stuck).on("async")).on(pool).unordered().stream(source) as stream:
        while not begun.is_set():  # one that has not begun is cancelled without a trace
            assert next(stream) == 0

    assert ended.wait(LIMIT)


@pytest.mark.parametrize("word", ["process", "thread", "inline"])
def test_stage_lives_where_it_is_told(pool: ProcessPoolExecutor, tmp_path: Path, word: Any) -> None:
    stage = As(2, work.Counting, str(tmp_path)).on(pool if word == "process" else word)
    outs = list(Flow(work.inc, stage).on(pool).stream(range(30)))

    assert [x for x, _ in outs] == [*range(1, 31)]
    lives = [line for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
    assert lives.count("setup") == sum(line.startswith("teardown") for line in lives) <= 2
    assert ({path.name for path in tmp_path.iterdir()} == {str(os.getpid())}) == (word != "process")


@pytest.mark.parametrize("word", ["process", "thread", "inline"])
@pytest.mark.parametrize("keep", [True, False])
def test_failing_setup_fails_the_run_wherever_it_is(pool: ProcessPoolExecutor, word: str, keep: bool) -> None:
    flow = Flow(work.inc, work.BadSetup().on(pool if word == "process" else word)).on(pool)

    with pytest.raises(OSError, match="no such model"):
        list((flow.results() if keep else flow).stream(range(9)))


@pytest.mark.parametrize("word", ["thread", "inline"])
def test_stage_is_torn_down_when_the_run_is_stopped(
    pool: ProcessPoolExecutor, tmp_path: Path, word: str
) -> None:
    with Flow(work.Counting(str(tmp_path)).on(word)).on(pool).stream(iter(int, 1)) as stream:
        next(stream)

    (life,) = tmp_path.iterdir()
    assert life.read_text().splitlines()[-1].startswith("teardown")


def test_environment_is_the_stages_own(pool: ProcessPoolExecutor) -> None:
    name = "EZFLOW_TEST_OF_ENVIRONMENT"

    def found(x: Any) -> Any:
        return os.environ.get(name)

    class Finds(Stage):
        env: ClassVar = {name: "class"}

        def setup(self) -> None:
            self.found = os.environ.get(name)

        def do(self, item: Any) -> Any:
            return self.found

    assert list(Flow(Map(found).with_env({name: "1"})).on(pool).stream([1])) == ["1"]
    assert list(Flow(Map(found)).on(pool).stream([1] * 4)) == [None] * 4
    assert list(Flow(Finds(), work.listed).on(pool).stream([1])) == [["class"]]
    assert list(Flow(Finds().with_env({name: "word"})).on(pool).stream([1])) == ["word"]
    assert name not in os.environ


# ---------------------------------------------------------------- limits and retries


def fails_first(folder: Path) -> Callable[[int], int]:
    def fails(x: int) -> int:
        with (folder / str(x)).open("a") as file:
            file.write("run\n")
        if x == 3 and (folder / "3").read_text().count("run") < 3:
            raise ConnectionError(x)
        return x

    return fails


@pytest.mark.parametrize("word", ["process", "thread", "inline"])
@pytest.mark.parametrize("keep", [True, False])
def test_failed_item_is_tried_again(pool: ProcessPoolExecutor, tmp_path: Path, word: Any, keep: bool) -> None:
    stage = task(fails_first(tmp_path)).retry(2).on(pool if word == "process" else word)
    flow = Flow(work.inc, stage, work.shown).on(pool)

    outs = list((flow.results() if keep else flow).stream(range(6)))

    assert [out.ok if keep else out for out in outs] == [f"<{x}>" for x in range(1, 7)]
    assert (tmp_path / "3").read_text().count("run") == 3
    assert (tmp_path / "2").read_text().count("run") == 1


@pytest.mark.parametrize("keep", [True, False])
def test_item_that_fails_too_often_fails(pool: ProcessPoolExecutor, tmp_path: Path, keep: bool) -> None:
    flow = Flow(task(fails_first(tmp_path)).retry(1)).on(pool)

    if keep:
        assert [out.ok for out in flow.results().stream(range(5))] == [0, 1, 2, None, 4]
    else:
        with pytest.raises(ConnectionError):
            list(flow.stream(range(5)))


def test_stage_with_a_limit_is_stopped_and_set_up_again(pool: ProcessPoolExecutor) -> None:
    stage = work.HangingAt3().timeout(1.0)

    outs = list(Flow(stage).on(pool).results().stream(range(6)))

    assert [out.ok for out in outs] == [0, 1, 2, None, 4, 5]
    assert isinstance(outs[3].err, CallTimeout)


def test_pool_with_a_retry_repeats_what_fails(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    flow = Flow(task(fails_first(tmp_path)).retry(2).timeout(LIMIT)).on(pool)

    assert list(flow.stream(range(6))) == [*range(6)]


# ---------------------------------------------------------------- failures of one stage


@pytest.mark.parametrize("word", [None, "thread", "inline", "async"])
def test_stage_keeps_its_own_failures(pool: ProcessPoolExecutor, word: Any) -> None:
    def words(stage: Any) -> Any:
        return stage if word is None else stage.on(word)

    def opened(result: Any) -> Any:
        return (result.ok, type(result.err).__name__, result.item) if type(result) is Result else result

    enveloped = Flow(words(Map(work.picky).results()), opened).on(pool)
    caught = Flow(words(Map(work.picky)).catch(lambda error: "x"), work.shown).on(pool)
    dropped = Flow(words(task(work.picky)).catch(lambda error: DROP), work.shown).on(pool)
    replaced = Flow(words(task(work.picky)).otherwise(0), work.shown).on(pool)

    assert list(enveloped.stream([1, 2])) == [(1, "NoneType", None), (None, "ValueError", 2)]
    assert list(caught.stream([1, 2])) == ["<1>", "<x>"]
    assert list(dropped.stream([1, 2])) == ["<1>"]
    assert list(replaced.stream([1, 2])) == ["<1>", "<0>"]


def test_stage_keeps_the_death_of_its_worker(pool: ProcessPoolExecutor) -> None:
    caught = Flow(work.inc, Map(work.die_at_3).catch(type), work.listed).on(pool)
    living = Flow(work.DyingAt3().results(), bool).on(pool)

    assert list(caught.stream(range(5))) == [[1], [2], [WorkerDied], [4], [5]]
    assert list(living.stream(range(5))) == [True, True, True, False, True]


def test_failures_of_other_stages_pass_by(pool: ProcessPoolExecutor) -> None:
    flow = Flow(work.picky, Map(work.shown).results(), lambda result: result.ok).on(pool)

    with pytest.raises(ValueError, match="picky about 2"):
        list(flow.stream([1, 2]))
    assert [(out.ok, type(out.err)) for out in flow.results().stream([1, 2])] == [
        ("<1>", type(None)),
        (None, ValueError),
    ]


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Batch(2).on("thread"), "runs in this process"),
        (lambda: Iter([1]).retry(2), "a source is iterated"),
        (lambda: Zip(Filter(len), len).timeout(2), "on those inside"),
        (lambda: Map(len).progress(), "hang it on the flow"),
        (lambda: Flow(Map(len).on("thread").timeout(2)).on("process").run(["a"]), "only a pool of ezflow's"),
        (lambda: Flow(Map(len).on("thread").with_env(A="1")).run(["a"]), r"with_env\(...\), which only"),
        (lambda: Flow(Map(len).on("async").retry(2)).run(["a"]), "repeats nothing"),
        (lambda: Flow(work.Passing().on("async")).run(["a"]), "workers of its own"),
        (lambda: Flow(As(2, [len, abs]).on("async")).run(["a"]), "takes one function"),
    ],
)
def test_word_that_cannot_be_kept_is_an_error(make: Callable[[], Any], match: str) -> None:
    with pytest.raises(GraphError, match=match):
        make()


def test_words_are_written_as_they_were() -> None:
    flow = Flow(Map(len).on("thread").retry(2), As(2, abs).named("absolute"), work.Passing().timeout(2))

    assert (
        repr(flow)
        == "Flow(Map(len).on('thread').retry(2), As(2, abs).named('absolute'), Passing(...).timeout(2.0))"
    )
    assert repr(Map(len).with_env(A="1")) == "Map(len).with_env({'A': '1'})"
    with pytest.raises(TypeError):
        Map(len).on(5)
    with pytest.raises(TypeError):
        Map(len).catch(5)


def test_executor_of_another_kind(pool: ProcessPoolExecutor) -> None:
    with ThreadPoolExecutor(2) as threads:
        flow = Flow(
            work.inc, Map(lambda x: (x, threading.current_thread().name[:7])).on(threads), work.inc_first
        )

        outs = list(flow.on(pool).stream(range(9)))

    assert [x for x, _ in outs] == [*range(2, 11)]
    assert {name for _, name in outs} == {"ThreadP"}
