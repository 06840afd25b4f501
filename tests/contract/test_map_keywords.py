"""Which keywords of `map` are its own, and which reach the function."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ezflow import CallTimeout, ProcessPoolExecutor, task
from tests import work

from .gates import LIMIT, Gate


def test_star_lets_further_keywords_through(pool: ProcessPoolExecutor) -> None:
    items: list[Any] = [(1, 2), [3], {"a": 4}]
    expected = [((1, 2), {"key": 5}), ((3,), {"key": 5}), ((), {"a": 4, "key": 5})]

    assert list(pool.map.star()(work.echo, items, key=5)) == expected
    assert list(pool.map.star()(work.echo, iter(items), key=5, buffersize=1, chunksize=2)) == expected
    assert list(pool.star().map(work.echo, items, key=5)) == expected
    assert list(pool.map(task(work.echo).star(), items, key=5)) == expected
    assert pool.map.star().background()(work.echo, items, key=5).result(LIMIT) == expected
    assert asyncio.run(_awaited(pool.map.asynced().star()(work.echo, items, key=5))) == expected
    assert [one.ok for one in pool.map.results().star()(work.echo, items, key=5)] == expected


async def _awaited(coroutine: Any) -> Any:
    return await coroutine


def test_keywords_of_the_call_win_over_those_of_a_mapping(pool: ProcessPoolExecutor) -> None:
    assert list(pool.map.star()(work.echo, [{"key": 1}], key=2)) == [((), {"key": 2})]


def test_without_star_they_are_refused(pool: Any) -> None:
    ways = [pool.map, pool.map.timeout(9), pool.map.results(), pool.map.background(), pool.map.asynced()]

    for way in [*ways, pool.results().map]:
        with pytest.raises(TypeError, match="unexpected keyword argument 'key'"):
            way(work.echo, [1], key=2)


def test_timeout_of_map_limits_waiting_whatever_the_words(pool: Any, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    results = pool.map.timeout(50)(work.call_or_give, [work.Act(work.pass_gate, *gate.args())], timeout=0.0)

    with pytest.raises(TimeoutError) as caught:
        next(results)
    assert not isinstance(caught.value, CallTimeout)
    gate.open()


def test_timeout_of_map_has_no_meaning_where_it_does_not_wait(pool: Any) -> None:
    for way in (pool.map.background(), pool.map.asynced()):
        with pytest.raises(TypeError, match="takes no timeout"):
            way(work.square, [1], timeout=5)
