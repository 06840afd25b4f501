"""All complaints that can be made before anything runs.

What flows between two stages is known when they are put together: the call of the graph (`ANY`), one result, so many
results by position, or results by name.  Only what receives it needs a look.
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any

from . import wording
from .nodes import (
    Call,
    Chain,
    Copy,
    Each,
    Node,
    Row,
    Same,
    Split,
    Whole,
    is_only_named,
    label_of_node,
    text,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Final

    from .wording import Path


@dataclass(frozen=True, slots=True)
class Flow:
    """What arrives: one result, `n` by position, or some by name; who gives it, for messages."""

    n: int | None = None
    names: tuple[tuple[str, bool], ...] = ()
    """Names, and whether each was written down."""
    giver: Node | None = None

    @property
    def given(self) -> str:
        """Say what arrives."""
        if self.names:
            return f"the set before gives {wording.listed(name for name, _ in self.names)}"
        who = "what comes before" if self.giver is None else _giver(self.giver)
        return f"{who} gives {self.n}"


ANY: Final = Flow()
"""The call of the graph, of which nothing is known when it is built."""


def _giver(node: Node) -> str:
    if isinstance(node, Call):
        return wording.shown(node.fn)
    if isinstance(node, Split):
        return "the tuple before"
    if isinstance(node, Row):
        return "the Zip before"
    return text(node, 8)


def check(root: Node, already: int = 0, flow: Flow = ANY) -> Flow:
    """Complain about what cannot run; give what leaves.

    The first `already` parts of a chain, into which `flow` comes, were checked before.
    """
    leaves: Flow = walk(_enter(root, flow, (), already))
    return leaves


def _enter(node: Node, flow: Flow, path: Path, already: int = 0) -> Generator[Any, Any, Flow]:
    """Check the stages of a graph; its root counts as a chain."""
    parts = node.parts if isinstance(node, Chain) else (node,)
    for i, part in enumerate(parts, 1):
        if i > already:
            flow = yield _check(part, flow, (*path, str(i)))
    return flow


def _branch(node: Node, flow: Flow, path: Path) -> Generator[Any, Any, None]:
    if isinstance(node, Chain):
        yield _enter(node, flow, path)
    else:
        yield _check(node, flow, path)


def _check(node: Node, flow: Flow, path: Path) -> Generator[Any, Any, Flow]:
    if isinstance(node, Call):
        _check_call(node, flow, path)
        return Flow(1, giver=node)
    if isinstance(node, Same):
        return flow
    if isinstance(node, Chain):
        leaves: Flow = yield _enter(node, flow, path)
        return leaves
    if isinstance(node, Each):
        if flow.names or flow.n not in (None, 1):
            raise wording.not_one(path, "each(...)", flow.given)
        yield _branch(node.parts[0], Flow(1), (*path, "each"))
        return Flow(1, giver=node)
    if isinstance(node, Whole):
        if is_only_named(node):
            passed: Flow = yield _enter(node.parts[0], flow, path)
            return passed
        if node.options.get("star"):
            if flow.names or flow.n not in (None, 1):
                raise wording.not_one(path, ".star()", flow.given)
            flow = ANY
        yield _enter(node.parts[0], flow, path)
        return Flow(1, giver=node)
    if isinstance(node, Split):
        if flow.names:
            raise wording.names_without_position(path, flow.given)
        if flow.n not in (None, 1, len(node.parts)):
            raise wording.wrong_width(path, len(node.parts), flow.given)
        flow = Flow(1)
    labels = node.labels if isinstance(node, Copy) else tuple(map(str, range(1, len(node.parts) + 1)))
    for label, part in zip(labels, node.parts, strict=True):
        yield _branch(part, flow, (*path, label))
    if isinstance(node, Copy):
        return Flow(None, tuple(zip(node.labels, node.explicit, strict=True)), node)
    return Flow(len(node.parts), giver=node)


def _check_call(node: Call, flow: Flow, path: Path) -> None:
    star = node.options.get("star")
    if star and (flow.names or flow.n not in (None, 1)):
        raise wording.not_one(path, f"star({text(Call(fn=node.fn))})", flow.given)
    if flow is ANY or star:
        return
    if node.mode == "pack":
        flow = Flow(1)
    if not flow.names and flow.n is None:
        return
    try:
        parameters = signature(node.fn)
    except (TypeError, ValueError):
        return  # it has none that can be known: checked when it runs
    if flow.names:
        _check_names(node, parameters, flow, path)
    else:
        _check_number(node, parameters, flow, path)


_BY_POSITION: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME: Final = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def _check_number(node: Call, parameters: Signature, flow: Flow, path: Path) -> None:
    n = flow.n or 0
    taking = [p for p in parameters.parameters.values() if p.kind in _BY_POSITION]
    needed = [p for p in taking if p.default is p.empty]
    is_open = any(p.kind is p.VAR_POSITIONAL for p in parameters.parameters.values())
    named = [
        p.name for p in parameters.parameters.values() if p.kind is p.KEYWORD_ONLY and p.default is p.empty
    ]
    if len(needed) <= n and (is_open or n <= len(taking)) and not named:
        return
    if named and len(needed) <= n:
        takes = f"needs {wording.listed(named)} by name"
    elif n < len(needed):
        at_least = "at least " if is_open or len(taking) > len(needed) else ""
        takes = f"needs {at_least}{wording.plural(len(needed), 'input')}"
    else:
        takes = f"takes {'at most ' if taking else ''}{wording.plural(len(taking), 'input')}"
    given = "pack gives 1" if node.mode == "pack" else flow.given
    raise wording.wrong_number(path, wording.shown(node.fn), takes, given)


def _check_names(node: Call, parameters: Signature, flow: Flow, path: Path) -> None:
    named = {p.name for p in parameters.parameters.values() if p.kind in _BY_NAME}
    is_open = any(p.kind is p.VAR_KEYWORD for p in parameters.parameters.values())
    given = dict(flow.names)
    needed = [
        p.name
        for p in parameters.parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    only_positional = [p.name for p in parameters.parameters.values() if p.kind is p.POSITIONAL_ONLY]
    blocked = [name for name in only_positional if name in given and not is_open] or [
        name for name in only_positional if name in needed
    ]
    stage = wording.shown(node.fn)
    if blocked:
        raise wording.positional_only(path, stage, blocked)
    surplus = [name for name in given if name not in named]
    if is_open:
        implicit = [name for name in surplus if not given[name]]
        surplus = []
        if implicit:
            raise wording.only_by_label(path, stage, implicit)
    missing = [name for name in needed if name not in given]
    if surplus or missing:
        raise wording.wrong_names(path, stage, missing, surplus, flow.given)


def label(node: Node) -> str:
    """Name a stage for people."""
    found = label_of_node(node)[0]
    return found if found is not None else text(node, 8)
