"""Words mean what they always mean where `submit` was overridden or replaced, for `map` and for itself."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ezflow import CallTimeout, ProcessPoolExecutor, Result, task
from tests import work

from .gates import LIMIT, Gate, wait_until

MakePool = Callable[..., ProcessPoolExecutor]


class Recording(ProcessPoolExecutor):
    """Notes the items that are submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self.__dict__.setdefault("seen", []).append((args, kwargs))
        return super().submit(fn, *args, **kwargs)


@pytest.fixture(params=["overridden", "replaced", "foreign"])
def through(request: pytest.FixtureRequest, make_pool: MakePool, context: Any) -> Iterator[Any]:
    """A pool whose `submit` is somebody else's, with what it has seen as `seen`."""
    if request.param == "overridden":
        with Recording(2, context) as pool:
            pool.seen = []
            yield pool
        return
    pool: Any = make_pool(2)
    pool.seen = []
    threads = concurrent.futures.ThreadPoolExecutor(2) if request.param == "foreign" else None
    original = pool.submit if threads is None else threads.submit

    def submit(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        pool.seen.append((args, kwargs))
        return original(fn, *args, **kwargs)

    pool.submit = submit
    yield pool
    if threads is not None:
        threads.shutdown()


def test_results(through: Any) -> None:
    got = list(through.map.results()(work.fail_on_odd, range(4)))

    assert [type(one) for one in got] == [Result] * 4
    assert [one.ok for one in got] == [0, None, 2, None]
    assert [one.index for one in got] == [0, 1, 2, 3]
    assert [type(one.err) for one in got] == [type(None), ValueError, type(None), ValueError]
    assert through.seen == [((i,), {}) for i in range(4)]


def test_lazy_and_in_order(through: Any) -> None:
    inputs = iter(range(100))
    results = through.map.retry(1)(work.square, inputs, buffersize=3)

    assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
    assert len(through.seen) <= 9
    results.close()


def test_unordered(through: Any, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    items = [work.Act(work.pass_gate, *gate.args()), 1, 2]
    results = through.map.unordered()(work.call_or_give, items)

    assert {next(results), next(results)} == {1, 2}
    gate.open()
    assert len(list(results)) == 1
    assert len(through.seen) == 3


def test_background(through: Any) -> None:
    future = through.map.background()(work.square, range(5))

    assert future.result(LIMIT) == [0, 1, 4, 9, 16]
    assert len(through.seen) == 5
    with pytest.raises(ValueError, match="odd"):
        through.map.background()(work.fail_on_odd, range(4)).result(LIMIT)
    got = through.map.background().results()(work.fail_on_odd, range(3)).result(LIMIT)
    assert [bool(one) for one in got] == [True, False, True]


def test_asynced(through: Any) -> None:
    async def main() -> None:
        assert await through.map.asynced()(work.square, range(5)) == [0, 1, 4, 9, 16]
        got = [one async for one in through.map.asynced().results()(work.fail_on_odd, range(3))]
        assert [(one.ok, one.index) for one in got] == [(0, 0), (None, 1), (2, 2)]
        assert {x async for x in through.map.asynced().unordered()(work.square, range(3))} == {0, 1, 4}

    asyncio.run(main())
    assert len(through.seen) == 11


def test_star_unpacks_before_submit(through: Any) -> None:
    items = [(1, 2), [3], {"a": 4}]
    got = list(through.map.star()(work.echo, items, key=5))

    assert got == [((1, 2), {"key": 5}), ((3,), {"key": 5}), ((), {"a": 4, "key": 5})]
    assert through.seen == got


def test_star_refuses_what_it_cannot_unpack(through: Any) -> None:
    got = list(through.map.star().results()(work.echo, [(1,), 2]))

    assert got[0].ok == ((1,), {})
    assert isinstance(got[1].err, TypeError)
    with pytest.raises(TypeError):
        asyncio.run(_list(through.map.star().asynced()(work.echo, [2])))


async def _list(coroutine: Any) -> Any:
    return await coroutine


def test_tasks_bring_their_words(through: Any) -> None:
    got = list(through.map(task(work.fail_on_odd).results(), range(2)))

    assert [bool(one) for one in got] == [True, False]
    assert len(through.seen) == 2


@pytest.mark.parametrize("way", ["overridden", "replaced"])
def test_how_it_runs_travels(way: str, make_pool: MakePool, context: Any, tmp_path: Path) -> None:
    pool: Any = Recording(1, context) if way == "overridden" else make_pool(1)
    if way == "replaced":
        original = pool.submit
        pool.submit = lambda fn, /, *args, **kwargs: original(fn, *args, **kwargs)

    with pool:
        runs = tmp_path / "runs"
        results = pool.map.retry(1, on=ValueError).results()(
            work.append_then, [str(runs)], [work.fail], [ValueError()]
        )
        assert type(next(results).err) is ValueError
        assert len(runs.read_text().split()) == 2
        (slow,) = pool.timeout(0.3).map.results()(work.wait_for_ever, [str(tmp_path / "started")])
        assert isinstance(slow.err, CallTimeout)
        (slow,) = pool.map.within(0.3).results()(work.wait_for_ever, [str(tmp_path / "again")])
        assert isinstance(slow.err, CallTimeout)


def test_first_error_cancels_what_waits(make_pool: MakePool, tmp_path: Path) -> None:
    pool: Any = make_pool(1)
    original = pool.submit
    futures: list[Any] = []

    def submit(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        futures.append(original(fn, *args, **kwargs))
        return futures[-1]

    pool.submit = submit
    first, gate = Gate(tmp_path, "first"), Gate(tmp_path)
    items = [first.args(), *[gate.args()] * 20]
    future = pool.map.background()(_pass_gate_and_fail, items)
    first.open()  # not before all are submitted: an error ends that, too

    with pytest.raises(ValueError, match="first"):
        future.result(LIMIT)
    wait_until(lambda: sum(one.cancelled() for one in futures) >= 18, "the cancels")
    gate.open()


def _pass_gate_and_fail(gate: tuple[str, str]) -> None:
    work.pass_gate(*gate)
    raise ValueError("first")


def test_cancelling_the_list_cancels_each(make_pool: MakePool, tmp_path: Path) -> None:
    pool: Any = make_pool(1)
    original = pool.submit
    pool.submit = lambda fn, /, *args, **kwargs: original(fn, *args, **kwargs)
    gate = Gate(tmp_path)
    future = pool.map.background()(work.call_or_give, [work.Act(work.pass_gate, *gate.args())] * 3)
    gate.wait_arrived()

    assert future.cancel()
    assert future.cancelled()
    wait_until(lambda: " 0 pending" in repr(pool), "the end of the calls")


# ---------------------------------------------------------------- submit itself


@pytest.fixture(params=["replaced", "foreign"])
def replaced(request: pytest.FixtureRequest, make_pool: MakePool) -> Iterator[Any]:
    """A pool whose `submit` was replaced; `seen` has the functions that came there."""
    pool: Any = make_pool(2)
    pool.seen = []
    threads = concurrent.futures.ThreadPoolExecutor(2) if request.param == "foreign" else None
    original = pool.submit if threads is None else threads.submit

    def submit(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        pool.seen.append(fn)
        return original(fn, *args, **kwargs)

    pool.submit = submit
    assert pool.submit is submit
    yield pool
    if threads is not None:
        threads.shutdown()


def test_words_of_a_view_go_with_the_function_to_a_replaced_submit(replaced: Any) -> None:
    view = replaced.timeout(50).named("squared")

    assert view.submit(work.square, 3).result(LIMIT) == 9
    assert view.priority(2).submit(task(work.square).retry(1), 4).result(LIMIT) == 16

    assert replaced.seen == [
        task(work.square).timeout(50).named("squared"),
        task(work.square).timeout(50).named("squared").priority(2).retry(1),
    ]


def test_limit_of_a_view_holds_behind_a_replaced_submit(make_pool: MakePool, tmp_path: Path) -> None:
    pool: Any = make_pool(1)
    original = pool.submit
    pool.submit = lambda fn, /, *args: original(fn, *args)
    gate = Gate(tmp_path)

    with pytest.raises(CallTimeout):
        pool.timeout(0.2).submit(work.pass_gate, *gate.args()).result(LIMIT)


def test_what_goes_in_and_comes_out_of_a_replaced_submit(replaced: Any) -> None:
    future = replaced.star().results().submit(work.echo, (1, 2), key=3)

    assert future.result(LIMIT) == Result(((1, 2), {"key": 3}))
    assert future.result(LIMIT).index is None
    assert asyncio.run(replaced.asynced().submit(work.square, 5)) == 25
    assert isinstance(replaced.results().submit(work.fail_on_odd, 1).result(LIMIT).err, ValueError)
    with pytest.raises(TypeError, match="means nothing for a submit that was replaced"):
        replaced.stream().submit(range, 3)


def test_words_of_a_view_go_with_the_function_to_a_replaced_map(make_pool: MakePool) -> None:
    pool: Any = make_pool(2)
    original = pool.map
    seen = []

    def map_and_note(fn: Callable[..., Any], *iterables: Any, **keywords: Any) -> Any:
        seen.append(fn)
        return original(fn, *iterables, **keywords)

    pool.map = map_and_note

    assert list(pool.timeout(50).map(work.square, range(3), buffersize=1)) == [0, 1, 4]
    assert seen == [task(work.square).timeout(50)]
    with pytest.raises(TypeError, match="means nothing for a map that was replaced"):
        pool.results().map(work.square, range(3))


@pytest.mark.parametrize("method", ["submit", "map"])
def test_method_that_was_replaced_comes_back(pool: Any, method: str) -> None:
    ours = getattr(pool, method)

    setattr(pool, method, print)
    assert getattr(pool, method) is print
    delattr(pool, method)
    assert getattr(pool, method) == ours
    setattr(pool, method, print)
    setattr(pool, method, ours)
    assert method not in vars(pool)
    with pytest.raises(AttributeError):
        delattr(pool, method)
