"""What a flow is: a tree of immutable nodes.  Chains are those of graphs; what flows here are items, one after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..graph.nodes import Chain, Node
from ..options import NOTHING, Options
from .program import MAP

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, eq=False)
class Plain(Node):
    """A step that looks at one item: a kind of `program`, and its function."""

    kind: int = MAP
    fn: Any = None
    name: str = ""
    options: Options = NOTHING


@dataclass(frozen=True, slots=True, eq=False)
class Deal(Node):
    """A tuple: each item goes to one branch, in turn, as often as its weight says, or to whichever is free."""

    weights: tuple[int, ...] = ()
    is_free: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Copies(Node):
    """A set: each item goes to every branch, their outputs run on one after the other."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows(Node):
    """`Zip`: each item goes to every branch, their outputs become one tuple."""


@dataclass(frozen=True, slots=True, eq=False)
class Routes(Node):
    """`Route`: each item goes to the branch of its key; the default, if there is one, is the last part."""

    key: Any = None
    keys: tuple[Any, ...] = ()


def targets_of(node: Node) -> dict[object, int] | None:
    """Give the branches that `To` may name, if a stage has branches: keys, or names that only one of them has."""
    if isinstance(node, Routes):
        return {key: i for i, key in enumerate(node.keys)}
    if isinstance(node, Limited):
        return targets_of(node.parts[0])
    if isinstance(node, Chain):
        return targets_of(node.parts[0])
    if not isinstance(node, Deal):
        return None
    names = [
        getattr(part.parts[0] if isinstance(part, Limited) else part, "name", None) for part in node.parts
    ]
    return {name: i for i, name in enumerate(names) if name and names.count(name) == 1}


@dataclass(frozen=True, slots=True, eq=False)
class Limited(Node):
    """`As`: at most so many calls of its one part at once."""

    n: int = 1
    options: Options = NOTHING


@dataclass(frozen=True, slots=True, eq=False)
class Collecting(Node):
    """A stage in this process that sees items in order: makes its collector anew for each run."""

    make: Callable[..., Any] = list
    args: tuple[Any, ...] = ()
    name: str = ""
    max_wait: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Living(Node):
    """A `Stage` object, in so many workers of its own."""

    stage: Any = None
    n: int = 1
    name: str = ""
    options: Options = NOTHING


@dataclass(frozen=True, slots=True, eq=False)
class Source(Node):
    """Where items come from, if a flow says so itself."""

    origin: Any = None
