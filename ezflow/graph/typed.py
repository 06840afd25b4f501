"""What type checkers see of `EZ` and its twins; never imported at run time.

A chain is strict: the result of a stage must fit the next.  What flows out of a tuple or set is no single argument, so a
chain with such a stage in it is checked when it is built, and not by types; only ``EZ((f, g), join)`` is.
"""

# ruff: noqa: N802, D103

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, overload

from .graph import Graph
from .task import _Same

P_ = ParamSpec("P_")
R = TypeVar("R")

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
G = TypeVar("G")
A2 = TypeVar("A2")
B2 = TypeVar("B2")
C2 = TypeVar("C2")
D2 = TypeVar("D2")


class Several(Graph[P_, R], Generic[P_, R]):
    """A graph whose results go on by position or by name."""


Shape = (
    Several[..., Any] | _Same | tuple[Any, ...] | list[Any] | set[Any] | frozenset[Any] | dict[str, Any] | str
)
"""Stages of which types do not say what flows."""


@overload
def EZ(s1: tuple[Callable[[A], A2], Callable[[B], B2]], /) -> Several[[A, B], tuple[A2, B2]]: ...


@overload
def EZ(s1: tuple[Callable[[A], A2], Callable[[B], B2]], s2: Callable[[A2, B2], R], /) -> Graph[[A, B], R]: ...


@overload
def EZ(
    s1: tuple[Callable[[A], A2], Callable[[B], B2], Callable[[C], C2]], /
) -> Several[[A, B, C], tuple[A2, B2, C2]]: ...


@overload
def EZ(
    s1: tuple[Callable[[A], A2], Callable[[B], B2], Callable[[C], C2]], s2: Callable[[A2, B2, C2], R], /
) -> Graph[[A, B, C], R]: ...


@overload
def EZ(
    s1: tuple[Callable[[A], A2], Callable[[B], B2], Callable[[C], C2], Callable[[D], D2]], /
) -> Several[[A, B, C, D], tuple[A2, B2, C2, D2]]: ...


@overload
def EZ(
    s1: tuple[Callable[[A], A2], Callable[[B], B2], Callable[[C], C2], Callable[[D], D2]],
    s2: Callable[[A2, B2, C2, D2], R],
    /,
) -> Graph[[A, B, C, D], R]: ...


@overload
def EZ(s1: set[Callable[P_, Any]] | dict[str, Callable[P_, Any]], /) -> Several[P_, dict[str, Any]]: ...


@overload
def EZ(s1: Callable[P_, R], /) -> Graph[P_, R]: ...


@overload
def EZ(s1: Callable[P_, A], s2: Callable[[A], R], /) -> Graph[P_, R]: ...


@overload
def EZ(s1: Callable[P_, A], s2: Callable[[A], B], s3: Callable[[B], R], /) -> Graph[P_, R]: ...


@overload
def EZ(
    s1: Callable[P_, A], s2: Callable[[A], B], s3: Callable[[B], C], s4: Callable[[C], R], /
) -> Graph[P_, R]: ...


@overload
def EZ(
    s1: Callable[P_, A],
    s2: Callable[[A], B],
    s3: Callable[[B], C],
    s4: Callable[[C], D],
    s5: Callable[[D], R],
    /,
) -> Graph[P_, R]: ...


@overload
def EZ(
    s1: Callable[P_, A],
    s2: Callable[[A], B],
    s3: Callable[[B], C],
    s4: Callable[[C], D],
    s5: Callable[[D], E],
    s6: Callable[[E], R],
    /,
) -> Graph[P_, R]: ...


@overload
def EZ(
    s1: Callable[P_, A],
    s2: Callable[[A], B],
    s3: Callable[[B], C],
    s4: Callable[[C], D],
    s5: Callable[[D], E],
    s6: Callable[[E], F],
    s7: Callable[[F], R],
    /,
) -> Graph[P_, R]: ...


@overload
def EZ(
    s1: Callable[P_, A],
    s2: Callable[[A], B],
    s3: Callable[[B], C],
    s4: Callable[[C], D],
    s5: Callable[[D], E],
    s6: Callable[[E], F],
    s7: Callable[[F], G],
    s8: Callable[[G], R],
    /,
) -> Graph[P_, R]: ...


@overload
def EZ(*stages: Any) -> Graph[..., Any]: ...


def EZ(*stages: Any) -> Any:
    """Make a futures graph from lists, tuples, sets and dicts of functions."""
    raise NotImplementedError


@overload
def Serial(s1: Callable[P_, R], /) -> Graph[P_, R]: ...


@overload
def Serial(s1: Callable[P_, A], s2: Callable[[A], R], /) -> Graph[P_, R]: ...


@overload
def Serial(s1: Callable[P_, A], s2: Callable[[A], B], s3: Callable[[B], R], /) -> Graph[P_, R]: ...


@overload
def Serial(
    s1: Callable[P_, A], s2: Callable[[A], B], s3: Callable[[B], C], s4: Callable[[C], R], /
) -> Graph[P_, R]: ...


@overload
def Serial(
    s1: Callable[P_, A],
    s2: Callable[[A], B],
    s3: Callable[[B], C],
    s4: Callable[[C], D],
    s5: Callable[[D], R],
    /,
) -> Graph[P_, R]: ...


@overload
def Serial(
    s1: Callable[P_, A],
    s2: Callable[[A], B],
    s3: Callable[[B], C],
    s4: Callable[[C], D],
    s5: Callable[[D], E],
    s6: Callable[[E], R],
    /,
) -> Graph[P_, R]: ...


@overload
def Serial(
    s1: Callable[P_, A],
    s2: Callable[[A], B],
    s3: Callable[[B], C],
    s4: Callable[[C], D],
    s5: Callable[[D], E],
    s6: Callable[[E], F],
    s7: Callable[[F], R],
    /,
) -> Graph[P_, R]: ...


@overload
def Serial(
    s1: Callable[P_, A],
    s2: Callable[[A], B],
    s3: Callable[[B], C],
    s4: Callable[[C], D],
    s5: Callable[[D], E],
    s6: Callable[[E], F],
    s7: Callable[[F], G],
    s8: Callable[[G], R],
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
def Parallel(s1: Callable[[A], A2], /) -> Several[[A], tuple[A2]]: ...


@overload
def Parallel(s1: Callable[[A], A2], s2: Callable[[B], B2], /) -> Several[[A, B], tuple[A2, B2]]: ...


@overload
def Parallel(
    s1: Callable[[A], A2], s2: Callable[[B], B2], s3: Callable[[C], C2], /
) -> Several[[A, B, C], tuple[A2, B2, C2]]: ...


@overload
def Parallel(
    s1: Callable[[A], A2], s2: Callable[[B], B2], s3: Callable[[C], C2], s4: Callable[[D], D2], /
) -> Several[[A, B, C, D], tuple[A2, B2, C2, D2]]: ...


@overload
def Parallel(*branches: Any) -> Several[..., tuple[Any, ...]]: ...


def Parallel(*branches: Any) -> Any:
    """Give each branch its own argument, as a tuple does."""
    raise NotImplementedError


@overload
def Zip(s1: Callable[P_, A], /) -> Several[P_, tuple[A]]: ...


@overload
def Zip(s1: Callable[P_, A], s2: Callable[P_, B], /) -> Several[P_, tuple[A, B]]: ...


@overload
def Zip(s1: Callable[P_, A], s2: Callable[P_, B], s3: Callable[P_, C], /) -> Several[P_, tuple[A, B, C]]: ...


@overload
def Zip(
    s1: Callable[P_, A], s2: Callable[P_, B], s3: Callable[P_, C], s4: Callable[P_, D], /
) -> Several[P_, tuple[A, B, C, D]]: ...


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
