"""What type checkers see of the words. Read by mypy and pyright in `nox -s types`, never run.

A line with an ``ignore`` must be an error in both.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedCoroutine=false
# mypy: disable-error-code="unused-coroutine"

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, ParamSpec, TypeVar, assert_type

from ezflow import Future, ProcessPoolExecutor, Result, Task, task

P = ParamSpec("P")
T = TypeVar("T")


def join(text: str, times: int, *, upper: bool = False) -> str:
    """Have a signature that is worth keeping."""
    return (text.upper() if upper else text) * times


async def texts() -> AsyncIterator[str]:
    """Be an input that is not there yet."""
    yield "a"


def submit_takes_the_words(pool: ProcessPoolExecutor) -> None:
    """In any order; the arguments stay checked."""
    assert_type(pool.submit.timeout(2)(join, "a", 2), Future[str])
    assert_type(pool.submit.timeout(2).retry(3, on=OSError).priority(1).named("x")(join, "a", 2), Future[str])
    assert_type(pool.submit.within(None).timeout(2)(join, "a", times=2, upper=True).result(), str)
    assert_type(pool.submit.results()(join, "a", 2), Future[Result[str]])
    assert_type(pool.submit.timeout(2).results().retry(1)(join, "a", 2).result().ok, str)
    assert_type(pool.submit.asynced()(join, "a", 2), Coroutine[Any, Any, str])
    assert_type(pool.submit.asynced().results()(join, "a", 2), Coroutine[Any, Any, Result[str]])
    assert_type(pool.submit.results().asynced().timeout(1)(join, "a", 2), Coroutine[Any, Any, Result[str]])
    assert_type(pool.submit.background()(join, "a", 2), Future[str])
    assert_type(pool.submit.background().results()(join, "a", 2), Future[Result[str]])
    assert_type(pool.submit.star()(join, ("a", 2)), Future[str])
    assert_type(pool.submit.star()(join, {"text": "a", "times": 2}, upper=True), Future[str])
    assert_type(pool.submit.star().results()(join, ("a", 2)), Future[Result[str]])
    assert_type(pool.submit.results().star()(join, ("a", 2)), Future[Result[str]])
    assert_type(pool.submit.star().asynced()(join, ("a", 2)), Coroutine[Any, Any, str])
    assert_type(pool.submit.asynced().star().results()(join, ("a", 2)), Coroutine[Any, Any, Result[str]])


def counted(n: int) -> Iterator[str]:
    """Be a generator function."""
    yield from map(str, range(n))


async def stream_gives_items(pool: ProcessPoolExecutor) -> None:
    """While they are made."""
    for text in pool.submit.stream()(counted, 3):
        assert_type(text, str)
    async for text in pool.submit.stream(2).timeout(9).star()(counted, (3,)):
        assert_type(text, str)
    assert_type(next(pool.stream().submit(counted, 3)), str)
    pool.submit.stream()(counted, "a")  # type: ignore[arg-type]
    pool.submit.stream()(len, "a")  # type: ignore[arg-type]
    pool.submit.stream("a")  # type: ignore[arg-type]
    pool.map.stream()  # type: ignore[attr-defined]


def submit_refuses_what_the_function_would(pool: ProcessPoolExecutor) -> None:
    """With and without words."""
    pool.submit(join, "a", "b")  # type: ignore[call-overload]
    pool.submit.timeout(2)(join, "a", "b")  # type: ignore[call-overload]
    pool.submit.results()(join, "a", 2, lower=True)  # type: ignore[arg-type, call-arg]
    pool.submit.asynced()(join)  # type: ignore[call-overload]
    pool.submit.star()(join, "a", 2)  # type: ignore[call-overload]
    pool.submit.star()(join)  # type: ignore[call-overload]
    pool.submit.timeout("2")  # type: ignore[arg-type]
    pool.submit.retry(on=OSError)  # type: ignore[call-arg]
    pool.submit.unordered()  # type: ignore[attr-defined]
    pool.submit.slowly()  # type: ignore[attr-defined]


async def fetch(url: str, *, limit: int = 1) -> bytes:
    """Be a coroutine function: it is awaited in the worker."""
    return b""


def coroutine_functions_give_what_is_awaited(pool: ProcessPoolExecutor) -> None:
    """In the worker, so that here is no coroutine."""
    assert_type(pool.submit(fetch, "a", limit=2), Future[bytes])
    assert_type(pool.submit.results()(lambda: fetch("a")), Future[Result[bytes]])
    assert_type(pool.submit.asynced()(task(fetch), "a"), Coroutine[Any, Any, bytes])
    assert_type(pool.submit.star().results()(fetch, ("a",)), Future[Result[bytes]])
    assert_type(pool.map(fetch, ["a"]), Iterator[bytes])
    assert_type(pool.map.star().background().results()(fetch, [("a",)]), Future[list[Result[bytes]]])
    pool.submit(fetch, 1)  # type: ignore[call-overload]


def functions_without_types_are_any(pool: ProcessPoolExecutor, fn: Callable[..., Any], what: Any) -> None:
    """Of a future all the same."""
    assert_type(pool.submit(fn, 1), Future[Any])
    assert_type(pool.submit(what, 1), Future[Any])
    assert_type(pool.map.results()(fn, [1]), Iterator[Result[Any]])


def generic_functions_stay_generic(
    pool: ProcessPoolExecutor, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> Future[T]:
    """So that wrappers can be written."""
    return pool.submit.timeout(2)(fn, *args, **kwargs)


def keywords_of_the_words_reach_the_function(pool: ProcessPoolExecutor) -> None:
    """Whatever they are called."""

    def takes(*, timeout: int, star: str) -> bytes:
        return b""

    assert_type(pool.submit(takes, timeout=1, star=""), Future[bytes])
    assert_type(pool.submit.timeout(2)(takes, timeout=1, star=""), Future[bytes])


def map_takes_the_words(pool: ProcessPoolExecutor) -> None:
    """In any order."""
    assert_type(pool.map.timeout(2)(join, ["a"], [1], timeout=3, chunksize=2, buffersize=5), Iterator[str])
    assert_type(pool.map.results()(join, ["a"], [1], timeout=3.0), Iterator[Result[str]])
    assert_type(pool.map.unordered().results().retry(2)(join, ["a"], [1]), Iterator[Result[str]])
    assert_type(pool.map.unordered()(len, ["a"]), Iterator[int])
    assert_type(pool.map.background()(len, ["a"]), Future[list[int]])
    assert_type(pool.map.background().results()(len, ["a"]), Future[list[Result[int]]])
    assert_type(pool.map.results().unordered().background()(len, ["a"]).result(), list[Result[int]])
    assert_type(pool.map.star()(join, [("a", 2)], upper=True), Iterator[str])
    assert_type(pool.map.star().results()(join, [("a", 2)], timeout=1, key=2), Iterator[Result[str]])
    assert_type(pool.map.background().star()(join, [("a", 2)], upper=True), Future[list[str]])
    assert_type(pool.map.star().background().results()(join, [("a", 2)]), Future[list[Result[str]]])
    for result in pool.map.results()(len, ["a"]):
        assert_type(result.ok, int)
        assert_type(result.unwrap_or(None), int | None)


def map_refuses(pool: ProcessPoolExecutor) -> None:
    """What could have no meaning."""
    pool.map(join, ["a"], key=1)  # type: ignore[call-overload]
    pool.map.results()(join, ["a"], key=1)  # type: ignore[call-overload]
    pool.map(join, 3)  # type: ignore[call-overload]
    pool.map.background()(join, ["a"], timeout=1)  # type: ignore[call-overload]
    pool.map.asynced()(join, ["a"], timeout=1)  # type: ignore[call-overload]
    pool.map.star()(join, ["a"], [2])  # type: ignore[call-overload]
    pool.map(join, texts())  # type: ignore[call-overload]


async def asyncio_takes_what_asynced_gives(pool: ProcessPoolExecutor) -> None:
    """A coroutine, and for `map` an async iterator, too."""
    assert_type(await pool.map.asynced()(len, ["a"]), list[int])
    assert_type(await pool.map.asynced().results()(len, texts(), buffersize=2), list[Result[int]])
    assert_type(await pool.map.star().asynced()(join, [("a", 2)], upper=True), list[str])
    assert_type(await pool.map.asynced().results().star()(join, [("a", 2)]), list[Result[str]])
    async for length in pool.map.asynced().unordered()(len, texts()):
        assert_type(length, int)
    async for result in pool.map.results().asynced()(len, ["a"]):
        assert_type(result, Result[int])
    async with asyncio.TaskGroup() as group:
        assert_type(group.create_task(pool.submit.asynced()(len, "a")), asyncio.Task[int])
        assert_type(group.create_task(pool.map.asynced()(len, ["a"])), asyncio.Task[list[int]])
        group.create_task(pool.submit(len, "a"))  # type: ignore[arg-type]


class Named(ProcessPoolExecutor):
    """A class of its own."""

    note = ""


def views_keep_their_class(pool: Named) -> None:
    """And have everything that it has."""
    assert_type(pool.timeout(2), Named)
    assert_type(pool.timeout(2).retry(1).named("x").priority(1).within(9).note, str)
    assert_type(pool.timeout(2).submit(join, "a", 2), Future[str])
    assert_type(pool.timeout(2).map.results()(len, ["a"]), Iterator[Result[int]])
    with pool.timeout(2) as inner:
        assert_type(inner, Named)


def fronts_have_submit_and_map(pool: ProcessPoolExecutor) -> None:
    """With what goes in and comes out."""
    assert_type(pool.results().submit(join, "a", 2), Future[Result[str]])
    assert_type(pool.results().map(len, ["a"]), Iterator[Result[int]])
    assert_type(pool.star().submit(join, ("a", 2)), Future[str])
    assert_type(
        pool.timeout(2).star().results().retry(1).map(join, [("a", 2)], upper=True), Iterator[Result[str]]
    )
    assert_type(pool.unordered().map.star()(join, [("a", 2)]), Iterator[str])
    assert_type(pool.background().submit(join, "a", 2), Future[str])
    assert_type(pool.background().map(len, ["a"]), Future[list[int]])
    assert_type(pool.background().results().map(len, ["a"]), Future[list[Result[int]]])
    assert_type(pool.asynced().submit(join, "a", 2), Coroutine[Any, Any, str])
    assert_type(pool.asynced().results().submit.timeout(2)(join, "a", 2), Coroutine[Any, Any, Result[str]])
    pool.results().submit(join, "a", "b")  # type: ignore[call-overload]
    pool.results().shutdown()  # type: ignore[attr-defined]


@task
def decorated(text: str, times: int) -> str:
    """Have options of its own."""
    return text * times


def tasks_are_functions(pool: ProcessPoolExecutor) -> None:
    """With their arguments and result; words about running keep the kind."""
    assert_type(decorated("a", 2), str)
    assert_type(decorated.timeout(2).retry(1)("a", 2), str)
    assert_type(task(len).named("x")("a"), int)
    assert_type(pool.submit(decorated, "a", 2), Future[str])
    assert_type(pool.submit.results()(decorated.timeout(2), "a", 2), Future[Result[str]])
    assert_type(pool.map(decorated, ["a"], [2]), Iterator[str])
    assert_type(pool.map.star().results()(decorated.retry(1), [("a", 2)]), Iterator[Result[str]])
    decorated("a", "b")  # type: ignore[arg-type]
    decorated.timeout(2)("a")  # type: ignore[call-arg]
    pool.submit(decorated, "a", "b")  # type: ignore[call-overload]


def a_task_has_its_types(kept: Task[[str, int], str]) -> None:
    """As it is written in an annotation."""
    assert_type(kept.timeout(1), Task[[str, int], str])
    assert_type(kept.fn("a", 2), str)
