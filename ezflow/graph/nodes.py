"""What a graph is: a tree of immutable nodes.

A tree may be very deep and very wide, so whatever walks one keeps a list of its own (`walk`), and equality, hashing and
pickling look at it as one flat sequence (`flatten`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any

from ..options import NOTHING, Options

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import Final


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A shape and what is in it."""

    parts: tuple[Node, ...] = ()

    @property
    def own(self) -> tuple[Any, ...]:
        """What the node is besides its parts: further arguments of its class."""
        return ()


@dataclass(frozen=True, slots=True, eq=False)
class Call(Node):
    """One function; its name is `options`' label, if it has one."""

    fn: Callable[..., Any] = lambda: None  # each has one of its own
    options: Options = NOTHING
    mode: str = ""
    """``""``, ``"star"`` or ``"pack"``: how it takes what arrives."""

    @property
    def own(self) -> tuple[Any, ...]:
        """Function, options and mode."""
        return self.fn, self.options, self.mode


@dataclass(frozen=True, slots=True, eq=False)
class Chain(Node):
    """A list: each part feeds the next."""


@dataclass(frozen=True, slots=True, eq=False)
class Split(Node):
    """A tuple: each branch takes its own argument."""


@dataclass(frozen=True, slots=True, eq=False)
class Copy(Node):
    """A set or dict: every branch takes the same call, results by name."""

    labels: tuple[str, ...] = ()
    explicit: tuple[bool, ...] = ()
    """Whether a label was written down, and is not just the name of a function."""

    @property
    def own(self) -> tuple[Any, ...]:
        """Labels."""
        return self.labels, self.explicit


@dataclass(frozen=True, slots=True, eq=False)
class Row(Node):
    """`Zip`: every branch takes the same call, results by position."""


@dataclass(frozen=True, slots=True, eq=False)
class Same(Node):
    """Passes on what arrives."""


@dataclass(frozen=True, slots=True, eq=False)
class Each(Node):
    """Its one part is called with each element of a list."""


@dataclass(frozen=True, slots=True, eq=False)
class Whole(Node):
    """A graph with options of its own, which mean all of it."""

    options: Options = NOTHING

    @property
    def own(self) -> tuple[Any, ...]:
        """Options."""
        return (self.options,)


def is_only_named(node: Node) -> bool:
    """Tell whether a node is a graph with nothing but a label, which changes nothing of what flows."""
    return isinstance(node, Whole) and all(name == "named" for name, _ in node.options)


KINDS: Final = {kind.__name__: kind for kind in (Call, Chain, Split, Copy, Row, Same, Each, Whole)}


class Stage:
    """What stands for a node in a literal: a graph, or the word ``same``."""

    __slots__ = ()

    def _node(self) -> Node:
        """Give the node."""
        raise NotImplementedError


class OfFlows:
    """What only a flow understands, so that a graph can say so."""

    __slots__ = ()

    def _refusal(self) -> Exception | None:
        """Give the reason, if it is not just what it is."""
        return None


_HOMES_OF_WORDS = ("ezflow.flow.kit", "ezflow.flow.twins", "ezflow.graph.ez", "ezflow.graph.task")


def is_bare_word(thing: object) -> bool:
    """Tell whether it is a word of ours that was written without its parentheses: called, it would make a stage."""
    return type(thing) is FunctionType and thing.__module__ in _HOMES_OF_WORDS


# ---------------------------------------------------------------- walking


def walk(visit: Generator[Any, Any, Any]) -> Any:
    """Run a generator that yields generators of the same kind and gets what they return: recursion without a limit."""
    stack = [visit]
    value = None
    try:
        while True:
            try:
                deeper = stack[-1].send(value)
            except StopIteration as end:
                stack.pop()
                value = end.value
                if not stack:
                    return value
            else:
                stack.append(deeper)
                value = None
    finally:
        while stack:
            stack.pop().close()


def each_node(root: Node) -> Iterator[Node]:
    """Yield every node, each before its parts, in written order."""
    todo = [root]
    while todo:
        node = todo.pop()
        yield node
        todo.extend(reversed(node.parts))


def flatten(root: Node) -> tuple[Any, ...]:
    """Write a tree as one sequence: kind, number of parts and own content of each node, each before its parts."""
    return tuple((type(node).__name__, len(node.parts), node.own) for node in each_node(root))


def unflatten(flat: tuple[Any, ...]) -> Node:
    """Make the tree again."""
    made: list[Node] = []
    for kind, n_parts, own in reversed(flat):
        parts = tuple(made.pop() for _ in range(n_parts))
        made.append(KINDS[kind](parts, *own))
    (root,) = made
    return root


def chain(parts: tuple[Node, ...]) -> Node:
    """Make a chain; chains in it are merged, and a chain of one part is the part."""
    if any(type(part) is Chain for part in parts):
        merged: list[Node] = []
        for part in parts:
            merged.extend(part.parts if type(part) is Chain else (part,))
        parts = tuple(merged)
    return parts[0] if len(parts) == 1 else Chain(parts)


# ---------------------------------------------------------------- names


def name_of(fn: object) -> str | None:
    """Give the name that a function was defined with, if it is one that a parameter could have."""
    name = getattr(fn, "__name__", None)
    return name if isinstance(name, str) and name.isidentifier() else None


def label_of_node(node: Node) -> tuple[str | None, bool]:
    """Give the name of a branch, and whether it was written down as a label."""
    if isinstance(node, Call | Whole):
        label = node.options.get("named")
        if label is not None:
            return label, True
    if isinstance(node, Call):
        return name_of(node.fn), False
    return ("same", False) if isinstance(node, Same) else (None, False)


def text_of(fn: object) -> str:
    """Show a callable as it is written."""
    name = getattr(fn, "__name__", None)
    if isinstance(name, str):
        return "lambda" if name == "<lambda>" else name
    return f"partial({text_of(fn.func)})" if isinstance(fn, partial) else type(fn).__name__


def text(root: Node, limit: int = 60) -> str:
    """Show a tree as the literals that make it; what is very long is cut."""
    pieces: list[str] = []
    todo: list[Node | str] = [root]
    n = 0
    while todo:
        node = todo.pop()
        if isinstance(node, str):
            pieces.append(node)
            continue
        n += 1
        if n > limit:
            pieces.append("...")
            break
        todo.extend(reversed(_shown(node)))
    return "".join(pieces)


def _shown(node: Node) -> list[Node | str]:
    """Give what a node is written with: texts, and its parts between them."""
    if isinstance(node, Call):
        word = node.mode or ("star" if node.options.get("star") else "")
        shown = f"{word}({text_of(node.fn)})" if word else text_of(node.fn)
        words = words_of(node.options.without("star"))
        return [f"task({shown}){words}" if words and not word else shown + words]
    if isinstance(node, Same):
        return ["same"]
    if isinstance(node, Each):
        return ["each(", node.parts[0], ")"]
    if isinstance(node, Whole):
        return ["EZ(", node.parts[0], f"){words_of(node.options)}"]
    opening, closing = {Chain: ("[", "]"), Split: ("(", ")"), Row: ("Zip(", ")"), Copy: ("{", "}")}[
        type(node)
    ]
    shown_parts: list[Node | str] = [opening]
    for i, part in enumerate(node.parts):
        if i:
            shown_parts.append(", ")
        if isinstance(node, Copy) and label_of_node(part)[0] != node.labels[i]:
            shown_parts.append(f"{node.labels[i]!r}: ")
        shown_parts.append(part)
    if isinstance(node, Split) and len(node.parts) == 1:
        shown_parts.append(",")
    shown_parts.append(closing)
    return shown_parts


def words_of(options: Options) -> str:
    """Show options as they are written."""
    pieces = []
    for name, value in options:
        if name == "retry":
            pieces.append(f".retry({value.n})")
        elif name == "env":
            pieces.append(f".with_env({dict(value)!r})")
        elif value is True:
            pieces.append(f".{name}()")
        elif name in ("on", "catch") and not isinstance(value, str):
            pieces.append(f".{name}({text_of(value) if name == 'catch' else type(value).__name__})")
        else:
            pieces.append(f".{name}({value!r:.40})")
    return "".join(pieces)
