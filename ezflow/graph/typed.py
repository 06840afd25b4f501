"""What type checkers see of `EZ` and its twins; never imported at run time.

A chain is strict: the result of a stage must fit the next.  What flows out of a tuple or set is no single argument, so a
chain with such a stage in it is checked when it is built, and not by types; only ``EZ((f, g), join)`` is.
"""

# ruff: noqa: N802

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, Literal, ParamSpec, TypeVar, overload

from .graph import Graph
from .task import _Same

P_ = ParamSpec("P_")
R = TypeVar("R")

T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")
T6 = TypeVar("T6")
T7 = TypeVar("T7")
U1 = TypeVar("U1")
U2 = TypeVar("U2")
U3 = TypeVar("U3")
U4 = TypeVar("U4")


class Several(Graph[P_, R], Generic[P_, R]):
    """A graph whose results go on by position or by name."""


Shape = (
    Several[..., Any] | _Same | tuple[Any, ...] | list[Any] | set[Any] | frozenset[Any] | dict[str, Any] | str
)
"""Stages of which types do not say what flows."""


@overload
def EZ(s1: tuple[Callable[[T1], U1], Callable[[T2], U2]], /) -> Several[[T1, T2], tuple[U1, U2]]: ...


@overload
def EZ(
    s1: tuple[Callable[[T1], U1], Callable[[T2], U2]], s2: Callable[[U1, U2], R], /
) -> Graph[[T1, T2], R]: ...


@overload
def EZ(
    s1: tuple[Callable[[T1], U1], Callable[[T2], U2], Callable[[T3], U3]], /
) -> Several[[T1, T2, T3], tuple[U1, U2, U3]]: ...


@overload
def EZ(
    s1: tuple[Callable[[T1], U1], Callable[[T2], U2], Callable[[T3], U3]], s2: Callable[[U1, U2, U3], R], /
) -> Graph[[T1, T2, T3], R]: ...


@overload
def EZ(
    s1: tuple[Callable[[T1], U1], Callable[[T2], U2], Callable[[T3], U3], Callable[[T4], U4]], /
) -> Several[[T1, T2, T3, T4], tuple[U1, U2, U3, U4]]: ...


@overload
def EZ(
    s1: tuple[Callable[[T1], U1], Callable[[T2], U2], Callable[[T3], U3], Callable[[T4], U4]],
    s2: Callable[[U1, U2, U3, U4], R],
    /,
) -> Graph[[T1, T2, T3, T4], R]: ...


@overload
def EZ(s1: set[Callable[P_, Any]] | dict[str, Callable[P_, Any]], /) -> Several[P_, dict[str, Any]]: ...


@overload
def EZ(s1: Callable[P_, R], /) -> Graph[P_, R]: ...


@overload
def EZ(s1: Callable[P_, T1], s2: Callable[[T1], R], /) -> Graph[P_, R]: ...


@overload
def EZ(s1: Callable[P_, T1], s2: Callable[[T1], T2], s3: Callable[[T2], R], /) -> Graph[P_, R]: ...


@overload
def EZ(
    s1: Callable[P_, T1], s2: Callable[[T1], T2], s3: Callable[[T2], T3], s4: Callable[[T3], R], /
) -> Graph[P_, R]: ...


@overload
def EZ(
    s1: Callable[P_, T1],
    s2: Callable[[T1], T2],
    s3: Callable[[T2], T3],
    s4: Callable[[T3], T4],
    s5: Callable[[T4], R],
    /,
) -> Graph[P_, R]: ...


@overload
def EZ(
    s1: Callable[P_, T1],
    s2: Callable[[T1], T2],
    s3: Callable[[T2], T3],
    s4: Callable[[T3], T4],
    s5: Callable[[T4], T5],
    s6: Callable[[T5], R],
    /,
) -> Graph[P_, R]: ...


@overload
def EZ(
    s1: Callable[P_, T1],
    s2: Callable[[T1], T2],
    s3: Callable[[T2], T3],
    s4: Callable[[T3], T4],
    s5: Callable[[T4], T5],
    s6: Callable[[T5], T6],
    s7: Callable[[T6], R],
    /,
) -> Graph[P_, R]: ...


@overload
def EZ(
    s1: Callable[P_, T1],
    s2: Callable[[T1], T2],
    s3: Callable[[T2], T3],
    s4: Callable[[T3], T4],
    s5: Callable[[T4], T5],
    s6: Callable[[T5], T6],
    s7: Callable[[T6], T7],
    s8: Callable[[T7], R],
    /,
) -> Graph[P_, R]: ...


@overload
def EZ(*stages: Any) -> Graph[..., Any]: ...


def EZ(*stages: Any) -> Any:
    """Make a futures graph from lists, tuples, sets and dicts of functions."""
    raise NotImplementedError


@overload
def Serial(  # type: ignore[overload-overlap]  # several are callable
    s1: Callable[P_, R], /
) -> Graph[P_, R]: ...


@overload
def Serial(  # type: ignore[overload-overlap]  # several are callable
    s1: Callable[P_, T1], s2: Callable[[T1], R], /
) -> Graph[P_, R]: ...


@overload
def Serial(  # type: ignore[overload-overlap]  # several are callable
    s1: Callable[P_, T1], s2: Callable[[T1], T2], s3: Callable[[T2], R], /
) -> Graph[P_, R]: ...


@overload
def Serial(  # type: ignore[overload-overlap]  # several are callable
    s1: Callable[P_, T1], s2: Callable[[T1], T2], s3: Callable[[T2], T3], s4: Callable[[T3], R], /
) -> Graph[P_, R]: ...


@overload
def Serial(  # type: ignore[overload-overlap]  # several are callable
    s1: Callable[P_, T1],
    s2: Callable[[T1], T2],
    s3: Callable[[T2], T3],
    s4: Callable[[T3], T4],
    s5: Callable[[T4], R],
    /,
) -> Graph[P_, R]: ...


@overload
def Serial(  # type: ignore[overload-overlap]  # several are callable
    s1: Callable[P_, T1],
    s2: Callable[[T1], T2],
    s3: Callable[[T2], T3],
    s4: Callable[[T3], T4],
    s5: Callable[[T4], T5],
    s6: Callable[[T5], R],
    /,
) -> Graph[P_, R]: ...


@overload
def Serial(  # type: ignore[overload-overlap]  # several are callable
    s1: Callable[P_, T1],
    s2: Callable[[T1], T2],
    s3: Callable[[T2], T3],
    s4: Callable[[T3], T4],
    s5: Callable[[T4], T5],
    s6: Callable[[T5], T6],
    s7: Callable[[T6], R],
    /,
) -> Graph[P_, R]: ...


@overload
def Serial(  # type: ignore[overload-overlap]  # several are callable
    s1: Callable[P_, T1],
    s2: Callable[[T1], T2],
    s3: Callable[[T2], T3],
    s4: Callable[[T3], T4],
    s5: Callable[[T4], T5],
    s6: Callable[[T5], T6],
    s7: Callable[[T6], T7],
    s8: Callable[[T7], R],
    /,
) -> Graph[P_, R]: ...


@overload
def Serial(s1: Shape, /, *more: Any) -> Graph[..., Any]: ...


@overload
def Serial(s1: Any, s2: Shape, /, *more: Any) -> Graph[..., Any]: ...


@overload
def Serial(s1: Any, s2: Any, s3: Shape, /, *more: Any) -> Graph[..., Any]: ...


@overload
def Serial(s1: Any, s2: Any, s3: Any, s4: Shape, /, *more: Any) -> Graph[..., Any]: ...


@overload
def Serial(s1: Any, s2: Any, s3: Any, s4: Any, s5: Shape, /, *more: Any) -> Graph[..., Any]: ...


@overload
def Serial(s1: Any, s2: Any, s3: Any, s4: Any, s5: Any, s6: Shape, /, *more: Any) -> Graph[..., Any]: ...


@overload
def Serial(
    s1: Any, s2: Any, s3: Any, s4: Any, s5: Any, s6: Any, s7: Shape, /, *more: Any
) -> Graph[..., Any]: ...


@overload
def Serial(
    s1: Any, s2: Any, s3: Any, s4: Any, s5: Any, s6: Any, s7: Any, s8: Shape, /, *more: Any
) -> Graph[..., Any]: ...


@overload
def Serial(
    s1: Any, s2: Any, s3: Any, s4: Any, s5: Any, s6: Any, s7: Any, s8: Any, s9: Any, /, *more: Any
) -> Graph[..., Any]: ...


def Serial(*stages: Any) -> Any:
    """Make a chain, as a list does."""
    raise NotImplementedError


@overload
def Parallel(s1: Callable[[T1], U1], /) -> Several[[T1], tuple[U1]]: ...


@overload
def Parallel(s1: Callable[[T1], U1], s2: Callable[[T2], U2], /) -> Several[[T1, T2], tuple[U1, U2]]: ...


@overload
def Parallel(
    s1: Callable[[T1], U1], s2: Callable[[T2], U2], s3: Callable[[T3], U3], /
) -> Several[[T1, T2, T3], tuple[U1, U2, U3]]: ...


@overload
def Parallel(
    s1: Callable[[T1], U1], s2: Callable[[T2], U2], s3: Callable[[T3], U3], s4: Callable[[T4], U4], /
) -> Several[[T1, T2, T3, T4], tuple[U1, U2, U3, U4]]: ...


@overload
def Parallel(
    *branches: Any, weights: Iterable[int] = (), balance: Literal["turn", "free"] = "turn"
) -> Several[..., tuple[Any, ...]]: ...


def Parallel(*branches: Any, weights: Iterable[int] = (), balance: Literal["turn", "free"] = "turn") -> Any:
    """Give each branch its own argument, as a tuple does."""
    raise NotImplementedError


@overload
def Zip(s1: Callable[P_, T1], /) -> Several[P_, tuple[T1]]: ...


@overload
def Zip(s1: Callable[P_, T1], s2: Callable[..., T2], /) -> Several[P_, tuple[T1, T2]]: ...


@overload
def Zip(
    s1: Callable[P_, T1], s2: Callable[..., T2], s3: Callable[..., T3], /
) -> Several[P_, tuple[T1, T2, T3]]: ...


@overload
def Zip(
    s1: Callable[P_, T1], s2: Callable[..., T2], s3: Callable[..., T3], s4: Callable[..., T4], /
) -> Several[P_, tuple[T1, T2, T3, T4]]: ...


@overload
def Zip(*branches: Any) -> Several[..., tuple[Any, ...]]: ...


def Zip(*branches: Any) -> Any:
    """Give every branch the same call, and give the results by position."""
    raise NotImplementedError


@overload
def Broadcast(*branches: Callable[P_, Any], **labelled: Callable[P_, Any]) -> Several[P_, dict[str, Any]]: ...


@overload
def Broadcast(*branches: Any, **labelled: Any) -> Several[..., dict[str, Any]]: ...


def Broadcast(*branches: Any, **labelled: Any) -> Any:
    """Give every branch the same call, as a set or dict does."""
    raise NotImplementedError


S = Serial
P = Parallel
B = Broadcast
