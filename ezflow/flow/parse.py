"""Literals to nodes of flows: a list chains, a tuple deals items out, a set copies them."""

from __future__ import annotations

from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Any

from ..errors import GraphError
from ..graph.graph import Graph
from ..graph.inside import Named
from ..graph.nodes import Call, Chain, Node, OfFlows, Split, chain, is_bare_word, name_of, text, text_of, walk
from ..graph.task import same
from ..graph.wording import of_bare_word
from ..options import NOTHING
from .items import DROP, To, pass_on
from .nodes import Collecting, Copies, Deal, Plain, Source, targets_of
from .piece import OWN, Piece
from .program import MAP
from .stage import Stage

if TYPE_CHECKING:
    from collections.abc import Generator

Path = tuple[str, ...]


def parse(thing: object, path: Path = ()) -> Node:
    """Give the node that something written stands for."""
    node: Node = walk(_parse(thing, path, set()))
    return node


def chain_of(stages: tuple[object, ...]) -> Node:
    """Parse the stages of a flow; only the first may be a source."""
    if not stages:
        raise wrong((), "Flow() has no stages", "Write at least one.")
    parsed = [parse(stage, (str(i),)) for i, stage in enumerate(stages, 1)]
    root = chain(tuple(parsed))
    parts = root.parts if isinstance(root, Chain) else (root,)
    for i, part in enumerate(parts):
        for node in _each(part):
            if isinstance(node, Source) and (i or node is not part):
                raise wrong(
                    (str(i + 1),), "a source stands behind other stages", "Put it first, or use its items."
                )
    _check_targets(root)
    return root


def _check_targets(root: Node) -> None:
    """Complain of stages ``To("vip")`` behind which is no such branch; of branches' ends, what follows is not known."""
    for node in _each(root):
        parts = node.parts if isinstance(node, Chain) else (node,) if node is root else ()
        for part, after in zip_longest(parts, parts[1:]):
            if (
                not isinstance(part, Plain)
                or not isinstance(part.fn, To)
                or (after is None and node is not root)
            ):
                continue
            targets = None if after is None else targets_of(after)
            if targets is None:
                raise wrong(
                    (part.name,), "the next stage has no branches", "Put a tuple or Route(...) behind it."
                )
            if part.fn.target not in targets:
                known = ", ".join(map(repr, targets)) or "none that has a name of its own"
                raise wrong((part.name,), "there is no such branch", f"There are {known}.")


def _each(node: Node) -> list[Node]:
    found = [node]
    for one in found:
        found.extend(one.parts)
    return found


def wrong(path: Path, what: str, remedy: str) -> GraphError:
    """Word a complaint about a flow."""
    where = f"stage {'/'.join(path)} of the flow" if path else "the flow"
    return GraphError(f"In {where}: {what}. {remedy}", path="/".join(path))


def _parse(thing: Any, path: Path, within: set[int]) -> Generator[Any, Any, Node]:
    if isinstance(thing, Piece):
        return thing.node
    root = getattr(thing, "_flow_root", None)
    if isinstance(root, Node):
        if thing._settings:
            raise wrong(
                path,
                f"{thing!r:.80} has words of its own, which mean a whole run, and here it is a stage",
                "Write them on the outer flow.",
            )
        return root
    if isinstance(thing, Graph):
        return _of_graph(thing, path)
    if isinstance(thing, Stage):
        return thing._stage_node()
    if thing is same:
        return Plain(fn=pass_on, name="same")
    if isinstance(thing, To):
        if thing.item is not DROP:
            raise wrong(
                path, f"{thing!r} is an item", f"Return it from a stage; the stage is To({thing.target!r})."
            )
        return Plain(fn=thing, name=repr(thing))
    if thing is DROP:
        raise wrong(path, "DROP is no stage", "Return it for an item that is to be dropped, or use Filter.")
    if isinstance(thing, dict):
        raise wrong(
            path,
            "a dict is no stage, because items have no names",
            "Write a set, Broadcast(...), or Route(key, {...}).",
        )
    if isinstance(thing, type) and issubclass(thing, Stage):
        raise wrong(path, f"{thing.__name__} is a class", f"Make an object of it: {thing.__name__}(...).")
    kind = next((one for one in (list, tuple, set, frozenset) if isinstance(thing, one)), None)
    if kind is None:
        if is_bare_word(thing):
            raise wrong(path, *of_bare_word(thing))
        if callable(thing):
            return Plain(fn=thing, name=text_of(thing))
        if isinstance(thing, str) and "." in thing:
            return Plain(fn=Named(thing), name=thing)
        raise wrong(
            path,
            f"{thing!r:.60} is no stage",
            "A stage is a function, a word of the kit, a list, tuple or set of stages, a graph or a flow;"
            " items come from .stream(items), or from Iter(items).",
        )
    if not thing:
        raise wrong(path, f"a {kind.__name__} is empty", "Put a stage into it, or leave it out.")
    if id(thing) in within:
        raise wrong(path, "a list is inside itself", "Write the stages out.")
    within.add(id(thing))
    written: Any = thing
    members = list(written) if kind in (list, tuple) else _sorted(written, path)
    parts = []
    for i, member in enumerate(members, 1):
        parts.append((yield _parse(member, (*path, str(i)), within)))
    within.discard(id(thing))
    if kind is list:
        return chain(tuple(parts))
    return Deal(tuple(parts)) if kind is tuple else Copies(tuple(parts))


def holds_kit(thing: object) -> bool:
    """Tell whether something written has a stage in it that only flows know."""
    if isinstance(thing, tuple | list | set | frozenset):
        return any(map(holds_kit, thing))
    if isinstance(thing, dict):
        return any(map(holds_kit, thing.values()))
    return isinstance(thing, OfFlows)


def _of_graph(graph: Graph[..., Any], path: Path) -> Node:
    """Make a graph a stage: one call, one result; a literal written as a word is what the word means here."""
    if graph._twin is not None:
        node: Node = graph._twin.node
        return node
    options = graph._options
    first = graph._root.parts[0] if isinstance(graph._root, Chain) else graph._root
    if isinstance(first, Split) and len(first.parts) != 1 and not options.get("star"):
        raise wrong(
            path,
            f"{graph!r:.80} takes {len(first.parts)} arguments, but items come one by one",
            "Write it with .star(), if items are tuples; a tuple or Parallel(...) deals items out.",
        )
    own = NOTHING
    for name in (*OWN, "named"):
        if name in options:
            own = own.having(name, options.get(name))
    root = graph._root
    name = options.get("named") or (text_of(root.fn) if isinstance(root, Call) else text(root, 8))
    rest = options.without(*OWN, "named")
    fn: Any = graph._with(rest.having("on", "inline"))  # where the call runs, it starts no others
    if isinstance(root, Call) and not root.mode and not len(rest):
        fn = root.fn
    return Plain((), MAP, fn, name, own.without("named"))


def _sorted(members: Any, path: Path) -> list[Any]:
    """Order a set by names, because its own order is another one in each run of Python."""
    named = []
    for member in members:
        name = branch_name(member)
        if name is None:
            raise wrong(
                path,
                f"{shown(member)} in a set has no name to be ordered by",
                "Write Broadcast(f, g), which keeps the written order, or task(f).named(...).",
            )
        named.append((name, member))
    named.sort(key=lambda one: one[0])
    for (name, _), (other, _) in pairwise(named):
        if name == other:
            raise wrong(
                path,
                f"two branches of a set are named {name!r}",
                "Write Broadcast(f, g), which keeps the order.",
            )
    return [member for _, member in named]


def branch_name(member: Any) -> str | None:
    """Give what a branch of a set is ordered by."""
    if isinstance(member, Graph) and member._twin is not None and member._twin.piece is not None:
        member = member._twin.piece
    if isinstance(member, Graph):
        label = member._options.get("named")
        if label is not None:
            return str(label)
        return name_of(member._root.fn) if isinstance(member._root, Call) else None
    if isinstance(member, Piece):
        return member.shown if " at 0x" not in member.shown and "lambda" not in member.shown else None
    if isinstance(member, Stage):
        return type(member).__name__
    if callable(member) or member is same:
        return name_of(member)
    return "".join(filter(None, (branch_name(one) for one in member))) if isinstance(member, tuple) else None


def shown(thing: Any) -> str:
    """Show a stage as it is written."""
    for kind, brackets in _BRACKETS.items():
        if isinstance(thing, kind):
            members = _sorted(thing, ()) if kind in (set, frozenset) else thing
            inside = ", ".join(map(shown, members))
            comma = "," if kind is tuple and len(thing) == 1 else ""
            return f"{brackets[0]}{inside}{comma}{brackets[1]}"
    if isinstance(thing, Graph) and thing._twin is not None and thing._twin.piece is not None:
        thing = thing._twin.piece
    if isinstance(thing, Stage):
        return thing._shown()
    if callable(thing) and not isinstance(thing, Graph | OfFlows):
        return text_of(thing)
    return f"{thing!r:.60}"


_BRACKETS: dict[Any, str] = {list: "[]", tuple: "()", set: "{}", frozenset: "{}"}


__all__ = ["Collecting", "Piece", "branch_name", "chain_of", "parse", "shown", "wrong"]
