"""Graphs mean what a short interpreter says, fused and unfused, in processes, in threads and in line."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ezflow import EZ, Broadcast, Graph, ProcessPoolExecutor, Result, Zip, each, pack, same, star, task
from tests import graphwork as work

# ---------------------------------------------------------------- the interpreter: at most 60 lines


class Err(Exception):
    """One of the errors that a graph may end with."""


def interpret(node: Any, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Give what flows out of a node: ("one", value), ("many", values) or ("names", values by name)."""
    shape, *parts = node
    if shape == "serial":
        flow: Any = (kind, args, kwargs)
        for part in parts[0]:
            flow = interpret(part, *flow)
        return flow
    if shape == "same":
        return ("one" if kind == "call" and len(args) == 1 and not kwargs else kind), args, kwargs
    if shape == "call":
        return "one", (call(*parts, args, kwargs),), {}
    if shape == "each":
        return "one", ([value(parts[0], "one", (one,), {}) for one in args[0]],), {}
    if shape == "whole":
        inner, options = parts
        if set(options) <= {"named"}:
            return interpret(inner, kind, args, kwargs)
        try:
            result = value(inner, kind, args, kwargs)
        except Err as error:
            result = rescued(error, options)
        return "one", (result,), {}
    if shape == "tuple":
        if kind == "one":
            (item,) = args
            if not isinstance(item, tuple | list) or len(item) != len(parts[0]):
                raise Err(TypeError())
            args = tuple(item)
        return "many", tuple(value(p, "one", (x,), {}) for p, x in zip(parts[0], args, strict=True)), {}
    if shape == "zip":
        return "many", tuple(value(part, kind, args, kwargs) for part in parts[0]), {}
    return "names", (), {label: value(part, kind, args, kwargs) for label, part in parts[0].items()}


def value(node: Any, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    kind, args, kwargs = interpret(node, kind, args, kwargs)
    if kind == "call" and args and kwargs:
        raise Err(TypeError())
    return args[0] if kind == "one" else kwargs or args


def call(fn: Any, mode: str, options: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        if mode == "star":
            args, kwargs = ((), args[0]) if isinstance(args[0], dict) else (tuple(args[0]), {})
        elif mode == "pack":
            args, kwargs = (kwargs or args,), {}
        result = fn(*args, **kwargs)
        result = list(result) if inspect.isgenerator(result) else result
        result = asyncio.run(result) if inspect.iscoroutine(result) else result
    except Exception as error:
        return rescued(Err(error), options)
    return Result(result) if options.get("results") else result


def rescued(error: Err, options: dict[str, Any]) -> Any:
    if "otherwise" in options or "catch" in options:
        made = work.say(error.args[0]) if "catch" in options else options["otherwise"]
        return Result(made) if options.get("results") else made
    if options.get("results"):
        return Result(err=error.args[0])
    raise error


# ---------------------------------------------------------------- the same as a graph


def build(node: Any) -> Any:
    """Write a tree as the literals that a user would write."""
    shape, *parts = node
    if shape == "serial":
        return [build(part) for part in parts[0]]
    if shape == "same":
        return same
    if shape == "call":
        fn, mode, options = parts
        made: Any = {"star": star, "pack": pack, "": task if options else lambda f: f}[mode](fn)
        return hung(made, options)
    if shape == "each":
        return each(build(parts[0]))
    if shape == "whole":
        return hung(EZ(build(parts[0])), parts[1])
    if shape == "tuple":
        return tuple(build(part) for part in parts[0])
    if shape == "zip":
        return Zip(*map(build, parts[0]))
    if shape == "broadcast":
        return Broadcast(**{label: build(part) for label, part in parts[0].items()})
    return {label: build(part) for label, part in parts[0].items()}


def hung(made: Any, options: dict[str, Any]) -> Any:
    for name, given_ in options.items():
        made = getattr(made, name)(*(() if given_ is True else (given_,)))
    return made


# ---------------------------------------------------------------- random trees

PLAIN = [work.a, work.b, work.two, work.three, work.mapping, work.soon, work.items]
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "retry": st.just(1),
        "named": st.sampled_from(["one", "other"]),
        "results": st.just(True),
        "otherwise": st.integers(0, 3),
    },
) | st.just({"catch": work.say})
BARE: st.SearchStrategy[dict[str, Any]] = st.just({})


@st.composite
def trees(draw: Callable[[Any], Any], kind: str, n: int, depth: int) -> tuple[Any, str, int]:
    """Give a node into which `n` results of a kind flow, and what flows out of it."""
    shapes = ["call", "call", "pack", "same"]
    if depth:
        shapes += ["serial", "serial", "zip", "dict", "broadcast", "whole"]
        if kind != "names":
            shapes += ["tuple"]
        if kind == "one":
            shapes += ["made tuple", "each", "star"]
    shape = draw(st.sampled_from(shapes))
    if shape in ("call", "pack"):
        fn = draw(st.sampled_from([*PLAIN, *PLAIN, work.bad, work.worse]))
        mode = "pack" if shape == "pack" else ""
        return ("call", fn, mode, draw(BARE | OPTIONS)), "one", 1
    if shape == "star":
        maker = draw(st.sampled_from([work.two, work.three, work.mapping]))
        first = ("call", maker, "", {})
        return ("serial", [first, ("call", work.a, "star", draw(BARE | OPTIONS))]), "one", 1
    if shape == "made tuple":
        maker, width = draw(st.sampled_from([(work.two, 2), (work.three, 3), (work.a, 3), (work.mapping, 2)]))
        parts = [draw(trees("one", 1, depth - 1))[0] for _ in range(width)]
        return ("serial", [("call", maker, "", {}), ("tuple", parts)]), "many", width
    if shape == "each":
        inner = draw(trees("one", 1, depth - 1))[0]
        return ("serial", [("call", work.three, "", {}), ("each", inner)]), "one", 1
    if shape == "same":
        return ("same",), ("one" if kind == "call" and n == 1 else kind), n
    if shape == "serial":
        found = []
        for _ in range(draw(st.integers(1, 4))):
            node, kind, n = draw(trees(kind, n, depth - 1))
            found.append(node)
        return ("serial", found), kind, n
    if shape == "whole":
        inner, inner_kind, inner_n = draw(trees(kind, n, depth - 1))
        if draw(st.booleans()):
            return ("whole", inner, {"named": "part"}), inner_kind, inner_n
        options = draw(st.sampled_from([{"retry": 1}, {"otherwise": 5}]))
        stage = inner
        while stage[0] == "serial" and len(stage[1]) == 1:
            (stage,) = stage[1]
        if stage[0] == "call":  # a graph of one stage is that stage, and so are its options
            return (*stage[:3], {**stage[3], **options}), "one", 1
        return ("whole", inner, options), "one", 1
    if shape == "tuple":
        width = n if kind in ("many", "call") else draw(st.integers(1, 3))
        return ("tuple", [draw(trees("one", 1, depth - 1))[0] for _ in range(width)]), "many", width
    width = draw(st.integers(1, 3))
    parts = [draw(trees(kind, n, depth - 1))[0] for _ in range(width)]
    if shape == "zip":
        return ("zip", parts), "many", width
    return (shape, dict(zip(["z", "m", "b"], parts, strict=False))), "names", width


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        list(
            executor.map(time.sleep, [0.1] * 4)
        )  # all of them are there before a test looks for what it leaves
        yield executor


@pytest.fixture
def processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2) as executor:
        list(executor.map(time.sleep, [0.1] * 4))
        EZ(work.a, work.b).on(executor)(1)
        yield executor


def expected(tree: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give the value, or that there is an error.

    Which one is not compared: the interpreter stops at its first, and a graph may meet one of a later stage before, whose
    inputs were there.
    """
    try:
        return "value", value(tree, "call", args, {})
    except Err:
        return ("error",)


def got(graph: Graph[..., Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
    try:
        return "value", graph(*args)
    except (ValueError, KeyError, TypeError) as error:
        notes = "".join(getattr(error, "__notes__", []))
        return (
            ("error",) if "ezflow: in stage" in notes or "stage" in str(error) else ("no stage named", error)
        )


@pytest.mark.parametrize("where", ["inline", "thread", "process", "unfused"])
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), n=st.integers(1, 3))
def test_graph_means_what_the_interpreter_says(
    where: str, data: st.DataObject, n: int, threads: ThreadPoolExecutor, processes: ProcessPoolExecutor
) -> None:
    tree = data.draw(trees("call", n, 5))[0]
    args = tuple(range(n))
    executor: Any = {
        "inline": "inline",
        "thread": threads,
        "process": processes,
        "unfused": processes.retry(0).priority(0),
    }[where]
    graph = EZ(build(tree)).on(executor)

    assert got(graph, args) == expected(tree, args)
