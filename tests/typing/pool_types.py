"""What type checkers see of `Pool`. Read by mypy and pyright in `nox -s types`, never run.

A line with an ``ignore`` must be an error in both.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedCoroutine=false
# mypy: disable-error-code="unused-coroutine"

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, assert_type

from ezflow import Future, Pool, ProcessPoolExecutor, Result, task


def join(text: str, times: int = 1, *, upper: bool = False) -> str:
    """Have a signature that is worth keeping."""
    return (text.upper() if upper else text) * times


async def texts() -> AsyncIterator[str]:
    """Be an input that is not there yet."""
    yield "a"


def methods(pool: Pool) -> None:
    """What each gives."""
    assert_type(pool.map(join, ["a"]), list[str])
    assert_type(pool.map(join, ["a"], 10), list[str])
    assert_type(pool.unordered_map(join, ["a"], chunksize=10), list[str])
    assert_type(pool.imap(join, ["a"], 10, buffersize=3), Iterator[str])
    assert_type(pool.unordered_imap(join, ["a"]), Iterator[str])
    assert_type(pool.submit(join, "a", 2, upper=True), Future[str])
    assert_type(pool.executor, ProcessPoolExecutor)


def map_knows_its_items(pool: Pool) -> None:
    """As the built-in `map` does."""
    assert_type(pool.map(int, ["1"]), list[int])
    assert_type(pool.map(abs, [1.5]), list[float])
    assert_type(pool.map(lambda x: x + 1, [1]), list[int])
    assert_type(pool.map(lambda path: path.upper(), ["a"]), list[str])
    assert_type(pool.map(task(join).timeout(2), ["a"]), list[str])
    pool.map(join, [1])  # type: ignore[arg-type]
    pool.map(join, 3)  # type: ignore[call-overload]
    pool.map(join, ["a"], key=1)  # type: ignore[call-overload]
    pool.map(join, ["a"], buffersize=1)  # type: ignore[call-overload]
    pool.imap(join, ["a"], timeout=1)  # type: ignore[call-overload]
    pool.map(join, texts())  # type: ignore[call-overload]


async def fetch(url: str) -> bytes:
    """Be a coroutine function: it is awaited in the worker."""
    return b""


def coroutine_functions_give_what_is_awaited(pool: Pool) -> None:
    """In the worker, so that here is no coroutine."""
    assert_type(pool.map(fetch, ["a"]), list[bytes])
    assert_type(pool.imap.results()(fetch, ["a"]), Iterator[Result[bytes]])
    assert_type(pool.map.star().background()(fetch, [("a",)]), Future[list[bytes]])
    pool.map(fetch, [1])  # type: ignore[arg-type]


def words_on_methods(pool: Pool) -> None:
    """In any order."""
    assert_type(pool.map.timeout(2).retry(1)(join, ["a"]), list[str])
    assert_type(pool.map.results()(join, ["a"]), list[Result[str]])
    assert_type(pool.map.unordered().results()(join, ["a"]), list[Result[str]])
    assert_type(pool.map.star()(join, [("a", 2)], upper=True), list[str])
    assert_type(pool.map.star().results()(join, [("a", 2)], 10), list[Result[str]])
    assert_type(pool.imap.results()(join, ["a"]), Iterator[Result[str]])
    assert_type(pool.imap.star()(join, [("a", 2)], buffersize=2, key=1), Iterator[str])
    assert_type(pool.unordered_imap.results().star()(join, [("a", 2)]), Iterator[Result[str]])
    assert_type(pool.map.background()(join, ["a"]), Future[list[str]])
    assert_type(pool.imap.background().results()(join, ["a"]), Future[list[Result[str]]])
    assert_type(pool.map.star().background()(join, [("a", 2)], key=1), Future[list[str]])
    assert_type(pool.imap.results().background().star()(join, [("a", 2)]), Future[list[Result[str]]])
    assert_type(pool.submit.results().timeout(2)(join, "a", 2), Future[Result[str]])
    assert_type(pool.submit.asynced()(join, "a"), Coroutine[Any, Any, str])
    pool.map.results()(join, [1])  # type: ignore[arg-type]
    pool.submit.results()(join, 1)  # type: ignore[call-overload]


async def words_for_asyncio(pool: Pool) -> None:
    """A coroutine of a list that is an async iterator, too."""
    assert_type(await pool.map.asynced()(join, ["a"]), list[str])
    assert_type(await pool.imap.asynced().results()(join, texts(), buffersize=2), list[Result[str]])
    assert_type(await pool.map.star().asynced()(join, [("a", 2)], key=1), list[str])
    assert_type(await pool.map.results().asynced().star()(join, [("a", 2)]), list[Result[str]])
    async for text in pool.unordered_imap.asynced()(join, texts()):
        assert_type(text, str)
    async with pool as same:
        assert_type(same, Pool)


class Named(Pool):
    """A class of its own."""

    note = ""


def words_on_the_pool(pool: Named) -> None:
    """Those about running keep its class, the others give a front."""
    assert_type(pool.timeout(2).retry(1), Named)
    assert_type(pool.timeout(2).note, str)
    assert_type(pool.timeout(2).map(join, ["a"]), list[str])
    assert_type(pool.star().map.timeout(30).background()(join, [("a", 2)]), Future[list[str]])
    assert_type(pool.results().timeout(3).unordered_map(join, ["a"]), list[Result[str]])
    assert_type(pool.results().imap(join, ["a"]), Iterator[Result[str]])
    assert_type(pool.star().results().unordered_imap(join, [("a", 2)]), Iterator[Result[str]])
    assert_type(pool.background().imap(join, ["a"]), Future[list[str]])
    assert_type(pool.unordered().map.results()(join, ["a"]), list[Result[str]])
    assert_type(pool.asynced().submit(join, "a"), Coroutine[Any, Any, str])
    with pool as same:
        assert_type(same, Named)
    pool.results().close()  # type: ignore[attr-defined]
    pool.starmap(join, [("a", 2)])  # type: ignore[attr-defined]
