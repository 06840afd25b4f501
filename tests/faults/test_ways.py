"""The table of faults again, through every other way of asking: envelopes, asyncio, streams, pools that forward output.

`test_table` says what each pair (moment, fault) ends in; here it must end in
the same, at its own position, whichever way the call was asked for, and after
it the same must hold: nothing else failed, the pool works, the other worker
kept its pid, nothing is left behind.

The full product of ways, moments, faults and start methods is large.  What runs
every time holds each way with each fault, each way with each moment, and each
of these with several start methods; the rest is marked `stress`.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ezflow import CallTimeout, Future, ProcessPoolExecutor, Result, UnpicklingError, WorkerDied
from tests import work
from tests.conftest import START_METHODS
from tests.contract import loud
from tests.contract.gates import LIMIT, lines, wait_gone, wait_until
from tests.faults.stage import (
    DIES,
    HANGS,
    IN_WORKER,
    SHORT,
    Stage,
    call_at,
    check_death,
    check_raised,
    hang_here,
    hanging,
    item_at,
    set_stage,
)

MakePool = Callable[..., ProcessPoolExecutor]

# ------------------------------------------------------------------------------------- the ways


class Bad(NamedTuple):
    """What goes wrong: when, and a function with its arguments."""

    moment: str
    act: tuple[Any, ...]

    @property
    def call(self) -> tuple[Any, ...]:
        """Function and arguments of a call."""
        return call_at(self.moment, self.act)

    @property
    def item(self) -> object:
        """What `work.call_or_give` takes."""
        return item_at(self.moment, self.act)

    @property
    def items(self) -> list[object]:
        """The inputs of a map."""
        return [0, 1, 2, 3, self.item, 5, 6, 7]


Outcomes = list[Result[Any]]


def all_of(values: Iterator[Any]) -> Outcomes:
    """Give what an iterator gives, and the error that ends it."""
    found: Outcomes = []
    try:
        found.extend(map(Result, values))
    except BaseException as error:
        found.append(Result(err=error))
    return found


async def all_async(values: AsyncIterator[Any]) -> Outcomes:
    """Do the same with an asynchronous one; a cancelled task ends."""
    found: Outcomes = []
    try:
        async for value in values:
            found.append(Result(value))  # it may end in the middle
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        found.append(Result(err=error))
    return found


async def one_async(value: Awaitable[Any]) -> Outcomes:
    try:
        return [Result(await value)]
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return [Result(err=error)]


def by_results(pool: ProcessPoolExecutor, bad: Bad) -> Outcomes:
    results = list(pool.map.results()(work.call_or_give, bad.items))
    assert [result.index for result in results] == list(range(8))
    return results


def by_background(pool: ProcessPoolExecutor, bad: Bad) -> Outcomes:
    future = pool.map.background()(work.call_or_give, bad.items)
    error = future.exception(LIMIT)
    return list(map(Result, future.result(0))) if error is None else [Result(err=error)]


def by_future_of_result(pool: ProcessPoolExecutor, bad: Bad) -> Outcomes:
    return [pool.submit.results()(*bad.call).result(LIMIT)]


def by_stream(pool: ProcessPoolExecutor, bad: Bad) -> Outcomes:
    return all_of(pool.submit.stream()(work.yield_with, 3, bad.item))


async def by_coroutine(pool: ProcessPoolExecutor, bad: Bad) -> Outcomes:
    return await one_async(pool.submit.asynced()(*bad.call))


async def by_async_map(pool: ProcessPoolExecutor, bad: Bad) -> Outcomes:
    return await all_async(aiter(pool.map.asynced()(work.call_or_give, bad.items)))


async def by_async_results(pool: ProcessPoolExecutor, bad: Bad) -> Outcomes:
    results = [result async for result in pool.map.results().asynced()(work.call_or_give, bad.items)]
    assert [result.index for result in results] == list(range(8))
    return results


async def by_async_stream(pool: ProcessPoolExecutor, bad: Bad) -> Outcomes:
    async with pool.submit.stream()(work.yield_with, 3, bad.item) as stream:
        return await all_async(stream)


HERE = object()
"""Stands for the outcome of the call that is bad."""

ITEMS = [0, 1, 2, 3, HERE, 5, 6, 7]
YIELDED = [0, 1, 2, HERE, "last"]


class Way(NamedTuple):
    """One way of asking."""

    run: Callable[[ProcessPoolExecutor, Bad], Outcomes]
    whole: list[object]  # what it gives
    broken: list[object]  # what it gives if the bad one fails
    is_loud: bool = False  # the pool forwards output
    replaced: bool | None = False  # None: an error stops what runs behind it, which may cost the worker
    main: Callable[[ProcessPoolExecutor, Bad], Coroutine[Any, Any, Outcomes]] | None = None


def in_a_loop(
    main: Callable[[ProcessPoolExecutor, Bad], Coroutine[Any, Any, Outcomes]],
    whole: list[object],
    broken: list[object],
    *,
    replaced: bool | None = False,
) -> Way:
    return Way(lambda pool, bad: asyncio.run(main(pool, bad)), whole, broken, replaced=replaced, main=main)


WAYS = {
    "map.results": Way(by_results, ITEMS, ITEMS),
    "map.background": Way(by_background, ITEMS, [HERE]),
    "submit.results": Way(by_future_of_result, [HERE], [HERE]),
    "submit.stream": Way(by_stream, YIELDED, YIELDED[:4]),
    "submit.asynced": in_a_loop(by_coroutine, [HERE], [HERE]),
    "map.asynced": in_a_loop(by_async_map, ITEMS, ITEMS[:5], replaced=None),
    "map.results.asynced": in_a_loop(by_async_results, ITEMS, ITEMS),
    "submit.stream, async": in_a_loop(by_async_stream, YIELDED, YIELDED[:4]),
    "map.results, output": Way(by_results, ITEMS, ITEMS, is_loud=True),
    "submit.stream, output": Way(by_stream, YIELDED, YIELDED[:4], is_loud=True),
}

IN_LOOP = [name for name, way in WAYS.items() if way.main is not None]


def check_outcomes(outcomes: Outcomes, expected: list[object]) -> Result[Any]:
    """The others are right and at their places; give the one that is not."""
    assert len(outcomes) == len(expected), outcomes
    for outcome, value in zip(outcomes, expected, strict=True):
        assert value is HERE or outcome == Result(value)
    return outcomes[expected.index(HERE)]


# ------------------------------------------------------------------------------------- which of them


def cases(*rows: list[str] | tuple[str, ...], always: int) -> list[Any]:
    """Give all combinations with start methods; about one of `always` is not left to the stress tests.

    A weighted sum of the indices chooses, so that every value of a row meets every value of every other if `always`
    is small enough.
    """
    found: list[tuple[int, tuple[str, ...]]] = [(0, ())]
    for weight, row in zip((1, 5, 3, 7, 11), (START_METHODS, *rows), strict=False):
        found = [
            (total + weight * i, (*chosen, value)) for total, chosen in found for i, value in enumerate(row)
        ]
    return [
        pytest.param(*chosen, marks=[] if total % always == 0 else pytest.mark.stress)
        for total, chosen in found
    ]


def stage_for(way: Way, make_pool: MakePool, folder: Path) -> Stage:
    return set_stage(make_pool(2, output=True) if way.is_loud else make_pool(2), folder)


def act_of(way: Way, stage: Stage, act: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give what leaves a trace, and is heard if the pool can be."""
    return (loud.say_then, "here it comes", *stage.act(*act)) if way.is_loud else stage.act(*act)


# ------------------------------------------------------------------------------------- in the worker


ENDS = ("raise", "sys.exit", *DIES, "fork bomb child")
ODD = ("forked child returns", "too many files")


@pytest.mark.parametrize(
    ("start_method", "way", "moment", "fault"), cases(list(WAYS), IN_WORKER, ENDS, always=9)
)
def test_fault_ends_its_call_only(
    make_pool: MakePool,
    tmp_path: Path,
    way: str,
    moment: str,
    fault: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = WAYS[way]
    stage = stage_for(asked, make_pool, tmp_path)
    tree = tmp_path / "tree"
    acts: dict[str, tuple[Any, ...]] = {
        "raise": (work.raise_value_error,),
        "sys.exit": (work.sys_exit, 3),
        "fork bomb child": (work.start_tree_and, str(tree), work.exit_at_once, 7),
        **{name: (fn, *args) for name, (fn, args, _) in DIES.items()},
    }
    is_unsent = "stream" in way and moment == "unpickling the argument"  # then there are no items at all
    dies = fault not in ("raise", "sys.exit")

    outcomes = asked.run(stage.pool, Bad(moment, act_of(asked, stage, acts[fault])))

    if asked.is_loud:
        assert "here it comes\n" in capsys.readouterr().out  # also what was written just before a crash
    error = check_outcomes(outcomes, [HERE] if is_unsent else asked.broken).err
    assert error is not None
    if dies:
        check_death(error, stage.victim, DIES[fault][2] if fault in DIES else 7)
        wait_gone(*map(int, lines(tree)))
    else:
        check_raised(moment, fault, error)
    stage.check_after(
        replaced=True if dies else asked.replaced, runs=None if moment.startswith("pickling") else 1
    )


@pytest.mark.parametrize(
    ("start_method", "way", "moment", "fault"), cases(list(WAYS), IN_WORKER, ODD, always=6)
)
def test_odd_call_does_no_harm(
    make_pool: MakePool, tmp_path: Path, way: str, moment: str, fault: str
) -> None:
    asked = WAYS[way]
    stage = stage_for(asked, make_pool, tmp_path)
    act = stage.act(work.fork_into_the_loop) if fault in ODD[0] else (work.exhaust_descriptors,)
    fails = moment == "pickling the exception"

    outcomes = asked.run(stage.pool, Bad(moment, act))

    outcome = check_outcomes(outcomes, asked.broken if fails else asked.whole)
    if fails:
        assert isinstance(outcome.err, ValueError)
    elif fault == "too many files":
        assert outcome.ok is None or outcome.unwrap() > 0
    else:
        assert outcome.unwrap() in ("forked", None)
    if fault == "too many files":
        stage.check_without_descriptors(replaced=asked.replaced)
    else:
        stage.check_after(replaced=asked.replaced)


# ------------------------------------------------------------------------------------- in the parent

IN_PARENT = ("pickling the argument", "unpickling the result", "unpickling the exception")


@pytest.mark.parametrize(("start_method", "way", "moment"), cases(list(WAYS), IN_PARENT, always=3))
def test_error_in_the_parent_ends_its_call_only(
    make_pool: MakePool, tmp_path: Path, way: str, moment: str
) -> None:
    asked = WAYS[way]
    stage = stage_for(asked, make_pool, tmp_path)
    is_unsent = "stream" in way and moment == "pickling the argument"

    outcomes = asked.run(stage.pool, Bad(moment, stage.act(work.raise_value_error)))

    error = check_outcomes(outcomes, [HERE] if is_unsent else asked.broken).err
    assert error is not None
    check_raised(moment, "raise", error)
    stage.check_after(replaced=asked.replaced, runs=None)


@pytest.mark.parametrize(("start_method", "way", "moment"), cases(list(WAYS), IN_PARENT[1:], always=3))
def test_exit_while_unpickling_ends_its_call_only(
    make_pool: MakePool, tmp_path: Path, way: str, moment: str
) -> None:
    asked = WAYS[way]
    stage = stage_for(asked, make_pool, tmp_path)

    outcomes = asked.run(stage.pool, Bad(moment, stage.act(work.sys_exit, 3)))

    error = check_outcomes(outcomes, asked.broken).err
    assert isinstance(error, SystemExit | UnpicklingError | ValueError)
    stage.check_after(replaced=asked.replaced, runs=None)


@pytest.mark.parametrize(("start_method", "way"), cases(list(WAYS), always=3))
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_exit_while_pickling_leaves_the_one_who_asks(
    make_pool: MakePool, tmp_path: Path, way: str, error: type[BaseException]
) -> None:
    asked = WAYS[way]
    stage = stage_for(asked, make_pool, tmp_path)

    with pytest.raises(error):
        asked.run(stage.pool, Bad(IN_PARENT[0], (work.fail, error(3))))[-1].unwrap()

    stage.check_after(replaced=None if way in IN_LOOP else False, runs=None)  # the rest is stopped there


def test_hang_while_unpickling_a_result_hangs_nobody_else(stage: Stage) -> None:
    outcomes: list[Outcomes] = []

    with hanging(lambda: outcomes.append(by_results(stage.pool, Bad(IN_PARENT[1], (hang_here,))))):
        assert list(stage.pool.map(work.square, range(100))) == [i * i for i in range(100)]
        assert asyncio.run(stage.pool.submit.asynced()(work.square, 3)) == 9
        assert list(stage.pool.submit.stream()(range, 3)) == [0, 1, 2]
        assert outcomes == []

    assert check_outcomes(outcomes[0], ITEMS) == Result(None)
    stage.check_after(replaced=False, runs=None)


# ------------------------------------------------------------------------------------- hangs


@pytest.mark.parametrize(
    ("start_method", "way", "moment", "fault"), cases(list(WAYS), IN_WORKER, list(HANGS), always=29)
)
def test_hang_ends_at_its_limit(
    make_pool: MakePool, tmp_path: Path, way: str, moment: str, fault: str
) -> None:
    asked = WAYS[way]
    stage = stage_for(asked, make_pool, tmp_path)
    is_unsent = "stream" in way and moment == "unpickling the argument"

    outcomes = asked.run(stage.pool.timeout(2 * SHORT), Bad(moment, stage.act(HANGS[fault])))

    error = check_outcomes(outcomes, [HERE] if is_unsent else asked.broken).err
    assert isinstance(error, CallTimeout)
    assert error.seconds == 2 * SHORT
    stage.check_after(replaced=True)


@pytest.mark.parametrize(
    ("start_method", "way", "moment", "fault"), cases(list(WAYS), IN_WORKER, list(HANGS), always=47)
)
def test_hang_ends_with_the_time_for_all(
    make_pool: MakePool, tmp_path: Path, way: str, moment: str, fault: str
) -> None:
    asked = WAYS[way]
    stage = stage_for(asked, make_pool, tmp_path)
    is_unsent = "stream" in way and moment == "unpickling the argument"
    seconds = 2 * SHORT  # what comes before the hang has to be done by then

    outcomes = asked.run(stage.pool.within(seconds), Bad(moment, stage.act(HANGS[fault])))

    expected = [HERE] if is_unsent else asked.broken
    at = expected.index(HERE)
    error = check_outcomes(outcomes[: at + 1], expected[: at + 1]).err
    assert isinstance(error, CallTimeout)
    assert error.seconds == seconds
    # What stands behind it had no worker in time: the other one is busy, too.
    assert [type(outcome.err) for outcome in outcomes[at + 1 :]] == [CallTimeout] * (len(expected) - at - 1)
    stage.check_after(replaced=True)


async def begun(stage: Stage) -> None:
    """Wait in a loop until the fault has begun."""
    while not lines(stage.started):
        await asyncio.sleep(0.002)


@pytest.mark.parametrize(
    ("start_method", "way", "moment", "fault", "end"),
    cases(IN_LOOP, IN_WORKER, list(HANGS), ["cancel", "asyncio.timeout"], always=11),
)
def test_hang_ends_with_the_task_that_waits(
    make_pool: MakePool, tmp_path: Path, way: str, moment: str, fault: str, end: str
) -> None:
    asked = WAYS[way]
    stage = stage_for(asked, make_pool, tmp_path)
    main = asked.main
    assert main is not None

    async def limited(limit: asyncio.Timeout) -> Outcomes:
        async with limit:
            return await main(stage.pool, Bad(moment, stage.act(HANGS[fault])))

    async def end_it() -> None:
        limit = asyncio.timeout(None)
        task = asyncio.create_task(limited(limit))
        await begun(stage)
        if end == "cancel":
            task.cancel()
        else:
            limit.reschedule(asyncio.get_running_loop().time())
        with pytest.raises(asyncio.CancelledError if end == "cancel" else TimeoutError):
            await task

    asyncio.run(end_it())

    stage.check_after(replaced=True)


@pytest.mark.parametrize(
    ("start_method", "way", "moment", "fault"),
    cases(["submit.results", "map.background", "map.results.background"], IN_WORKER, list(HANGS), always=11),
)
def test_hang_ends_with_its_future(
    make_pool: MakePool, tmp_path: Path, way: str, moment: str, fault: str
) -> None:
    stage = set_stage(make_pool(2), tmp_path)
    bad = Bad(moment, stage.act(HANGS[fault]))
    future: Future[Any]
    if way == "submit.results":
        future = stage.pool.submit.results()(*bad.call)
    elif way == "map.background":
        future = stage.pool.map.background()(work.call_or_give, bad.items)
    else:
        future = stage.pool.map.results().background()(work.call_or_give, bad.items)
    assert stage.wait_acted() == stage.victim

    assert future.cancel()

    with pytest.raises(CancelledError):
        future.result(LIMIT)
    stage.check_after(replaced=True)


@pytest.mark.parametrize(
    ("start_method", "moment", "fault", "end"), cases(IN_WORKER, list(HANGS), ["close", "drop"], always=5)
)
def test_hang_ends_with_its_stream(
    make_pool: MakePool, tmp_path: Path, moment: str, fault: str, end: str
) -> None:
    stage = set_stage(make_pool(2), tmp_path)
    stream = stage.pool.submit.stream()(work.yield_with, 3, Bad(moment, stage.act(HANGS[fault])).item)
    assert stage.wait_acted() == stage.victim

    if end == "close":
        stream.close()
        assert list(stream) == []
    else:
        del stream
        gc.collect()

    stage.check_after(replaced=True)


# ------------------------------------------------------------------------------------- many faults in one map


def test_every_fault_of_one_map_stands_at_its_position(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(2)
    traces = str(tmp_path / "traces")
    acts: list[tuple[Any, ...]] = [(work.raise_value_error,), (work.sys_exit, 3)]
    acts += [(fn, *args) for fn, args, _ in DIES.values()]
    bad = [item_at(moment, (work.append_then, traces, *act)) for moment in IN_WORKER for act in acts]
    items = [item for i, each in enumerate(bad) for item in (i, each)]

    results = list(pool.map.results()(work.call_or_give, items))

    assert [result.index for result in results] == list(range(len(items)))
    assert [result.unwrap() for result in results[::2]] == list(range(len(bad)))
    for n, result in enumerate(results[1::2]):
        moment, act = IN_WORKER[n // len(acts)], acts[n % len(acts)]
        assert result.err is not None
        if n % len(acts) < 2:
            check_raised(moment, "raise" if act[0] is work.raise_value_error else "sys.exit", result.err)
        else:
            assert isinstance(result.err, WorkerDied)
            assert result.err.exitcode == list(DIES.values())[n % len(acts) - 2][2]
            assert result.err.pid == result.pid
    assert len({result.pid for result in results if isinstance(result.err, WorkerDied)}) == 16
    assert pool.submit(work.square, 3).result(LIMIT) == 9


def test_hundred_tasks_of_which_some_hang_and_some_die(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(2)
    started = str(tmp_path / "started")

    async def main() -> list[Any]:
        call = pool.submit.asynced()
        hangs = [asyncio.create_task(call(work.append_then, started, work.spin)) for _ in range(3)]
        others = [asyncio.create_task(call(work.square, i)) for i in range(94)]
        dying = [asyncio.create_task(call(work.kill_self)) for _ in range(3)]
        for n, hang in enumerate(hangs, start=1):  # two of them fill the pool
            while len(lines(tmp_path / "started")) < min(n + 1, 3):
                await asyncio.sleep(0.002)
            hang.cancel()
        return [
            await asyncio.gather(*hangs, return_exceptions=True),
            await asyncio.gather(*others),
            await asyncio.gather(*dying, return_exceptions=True),
        ]

    hung, values, died = asyncio.run(main())

    assert all(isinstance(error, asyncio.CancelledError) for error in hung)
    assert values == [i * i for i in range(94)]
    assert all(isinstance(error, WorkerDied) for error in died)
    wait_until(lambda: pool._engine.counts()["pending"] == 0, "the end of all")  # type: ignore[union-attr]
    assert pool.submit(work.square, 3).result(LIMIT) == 9
