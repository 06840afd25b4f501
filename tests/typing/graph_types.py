"""What type checkers know of graphs.  Read by mypy and pyright, never run.

What they cannot know, so that it is checked when a graph is built, and not by types:

* what flows into a stage after a tuple, a set, `Zip`, `each` or `pack` (only ``EZ((f, g), join)`` is known);
* the names of a set's results;
* stages beyond the eighth, and stages that are texts;
* a coroutine function in a chain: wrap it, ``Serial(task(fetch), parse)``;
* mismatched stages in ``EZ``, which takes any literal: `Serial` is strict.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_type

from ezflow import (
    EZ,
    Broadcast,
    Future,
    Graph,
    GraphFuture,
    Parallel,
    ProcessPoolExecutor,
    Result,
    Serial,
    Task,
    Zip,
    each,
    pack,
    same,
    star,
    task,
)


def load(path: str, columns: int = 3) -> list[float]:
    raise NotImplementedError


def mean(table: list[float]) -> float:
    raise NotImplementedError


def shown(number: float) -> str:
    raise NotImplementedError


def users(path: str) -> dict[str, int]:
    raise NotImplementedError


def orders(number: int) -> list[int]:
    raise NotImplementedError


def join(left: dict[str, int], right: list[int]) -> bytes:
    raise NotImplementedError


async def fetch(path: str) -> bytes:
    raise NotImplementedError


def size(data: bytes) -> int:
    raise NotImplementedError


async def chains() -> None:
    """Each stage feeds the next."""
    graph = Serial(load, mean, shown)
    assert_type(graph("a"), str)
    assert_type(graph("a", columns=2), str)
    assert_type(graph.submit("a"), GraphFuture[str])
    assert_type(await graph.submit("a"), str)
    assert_type(graph.map(["a"]), Iterator[str])
    assert_type(graph.results()("a"), Result[str])
    assert_type(graph.submit.results()("a"), GraphFuture[Result[str]])
    assert_type(graph.map.results()(["a"]), Iterator[Result[str]])
    assert_type(graph.timeout(3).retry(1).on("thread")("a"), str)
    assert_type(EZ(load, mean)("a"), float)
    graph(3)  # type: ignore[arg-type]
    graph.submit("a", "b")  # type: ignore[arg-type]
    Serial(load, shown)  # type: ignore[arg-type]
    Serial(load, mean, size)  # type: ignore[misc]


def graphs_in_graphs() -> None:
    """A graph is a stage like a function."""
    inner = Serial(load, mean)
    assert_type(Serial(inner, shown)("a"), str)
    assert_type(EZ(inner, shown)("a"), str)
    Serial(inner, size)  # type: ignore[arg-type]


def tuples_keep_their_members() -> None:
    """Arguments and results of each branch."""
    assert_type(EZ((users, orders))("a", 1), tuple[dict[str, int], list[int]])
    assert_type(EZ((users, orders), join)("a", 1), bytes)
    assert_type(Parallel(users, orders)("a", 1), tuple[dict[str, int], list[int]])
    assert_type(Zip(users, load)("a"), tuple[dict[str, int], list[float]])
    assert_type(Broadcast(users, load)("a"), dict[str, Any])
    EZ((users, orders), join)(1, "a")  # type: ignore[arg-type]
    Parallel(users, orders)("a")  # type: ignore[call-arg]


def what_is_left_to_the_build() -> None:
    """Any call, any result."""
    assert_type(EZ(load, {mean, shown}, join), Graph[..., Any])
    copied, split = Broadcast(mean), Parallel(users, orders)
    assert_type(Serial(load, copied, shown), Graph[..., Any])
    assert_type(Serial(split, join), Graph[..., Any])
    assert_type(Serial(load, {"m": mean}, shown), Graph[..., Any])
    assert_type(Serial(load, same, mean), Graph[..., Any])
    assert_type(EZ(load, "package.module.function"), Graph[..., Any])


def words() -> None:
    """They are stages as well."""
    assert_type(each(mean)([[1.0]]), list[Any])
    assert_type(pack(mean)(1, 2), float)
    assert_type(star(join)(({}, [])), Any)
    assert_type(Serial(task(fetch), size)("a"), int)


async def tasks(pool: ProcessPoolExecutor, kept: Task[[int], bytes]) -> None:
    """A graph of one stage with the types of its function."""
    assert_type(kept.named("x"), Task[[int], bytes])
    assert_type(await task(load).submit.asynced()("a"), list[float])
    assert_type(task(join).timeout(3).named("x").fn({}, []), bytes)
    assert_type(task(load).submit("a"), GraphFuture[list[float]])
    assert_type(pool.submit(task(load), "a"), Future[list[float]])


def parts(run: GraphFuture[int]) -> None:
    """Of any type."""
    assert_type(run["mean"], Future[Any])
    assert_type(run.partial(), dict[str, Any])
