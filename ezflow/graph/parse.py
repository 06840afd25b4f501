"""Literals to nodes: the only file that knows what sets, tuples, lists and dicts mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..options import Options
from . import wording
from .inside import Named
from .nodes import (
    Call,
    Copy,
    Node,
    OfFlows,
    Row,
    Split,
    Stage,
    Whole,
    chain,
    is_bare_word,
    label_of_node,
    text,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from .wording import Path

NOT_ON_STAGES = ("stream", "sealed", "unordered", "background", "asynced", "progress")
"""Words that say something of a whole call."""


def parse(thing: object, path: Path = ()) -> Node:
    """Give the node that something written stands for."""
    node: Node = walk(_parse(thing, path, set()))
    return node


def chain_of(stages: tuple[object, ...], word: str = "EZ") -> Node:
    """Parse the stages of a chain."""
    if not stages:
        raise wording.nothing_in((), f"{word}()")
    return chain(tuple(parse(stage, (str(i),)) for i, stage in enumerate(stages, 1)))


def split_of(branches: tuple[object, ...]) -> Node:
    """Parse the branches of a tuple."""
    if not branches:
        raise wording.nothing_in((), "Parallel()")
    return Split(tuple(parse(branch, ("1", str(i))) for i, branch in enumerate(branches, 1)))


def row_of(branches: tuple[object, ...]) -> Node:
    """Parse the branches of a `Zip`."""
    if not branches:
        raise wording.nothing_in((), "Zip()")
    return Row(tuple(parse(branch, ("1", str(i))) for i, branch in enumerate(branches, 1)))


def copy_of(branches: tuple[object, ...], labelled: dict[str, object]) -> Node:
    """Parse the branches of a set in their written order."""
    if not branches and not labelled:
        raise wording.nothing_in((), "Broadcast()")
    path = ("1",)
    found = [_named_branch(parse(branch, (*path, str(i))), path) for i, branch in enumerate(branches, 1)]
    for label, branch in labelled.items():
        _check_label(label, path)
        found.append((label, True, parse(branch, (*path, label))))
    return _copy(found, path)


def _parse(thing: Any, path: Path, within: set[int]) -> Generator[Any, Any, Node]:
    """Parse one stage; `within` holds the containers that it is in."""
    if isinstance(thing, Stage):
        node = thing._node()
        _check_words(node, path)
        return node
    if isinstance(thing, OfFlows):
        raise thing._refusal() or wording.is_of_flows(path, thing)
    kind = next((one for one in (list, tuple, set, frozenset, dict) if isinstance(thing, one)), None)
    if kind is None:
        if is_bare_word(thing):
            raise wording.bare_word(path, thing)
        if callable(thing):
            return Call(fn=thing)
        if isinstance(thing, str) and _names_a_function(thing):
            return Call(fn=Named(thing))
        raise wording.not_callable(path, thing)
    if not thing:
        raise wording.nothing_in(path, {list: "a list", tuple: "a tuple", dict: "a dict"}.get(kind, "a set"))
    if id(thing) in within:
        raise wording.inside_itself(path)
    within.add(id(thing))
    path = path or ("1",)
    if kind is dict:
        labelled: list[tuple[str, bool, Node]] = []
        for label, branch in dict(thing).items():
            _check_label(label, path)
            labelled.append((label, True, (yield _parse(branch, (*path, label), within))))
        made: Node = _copy(labelled, path)
    else:
        parts = []
        for i, part in enumerate(thing, 1):
            parts.append((yield _parse(part, (*path, str(i)), within)))
        if kind is list:
            made = chain(tuple(parts))
        elif kind is tuple:
            made = Split(tuple(parts))
        else:
            named = sorted((_named_branch(part, path) for part in parts), key=lambda one: one[0])
            made = _copy(named, path)
    within.discard(id(thing))
    return made


def _named_branch(node: Node, path: Path) -> tuple[str, bool, Node]:
    """Give label, whether it was written down, and node of a branch of a set."""
    label, explicit = label_of_node(node)
    if label is None:
        raise wording.no_name(path, text(node), isinstance(node, Call))
    _check_label(label, path)
    return label, explicit, node


def _copy(branches: list[tuple[str, bool, Node]], path: Path) -> Copy:
    seen = set()
    for label, _, _ in branches:
        if label in seen:
            raise wording.twice_the_name(path, label)
        seen.add(label)
    labels, explicit, parts = zip(*branches, strict=True)
    return Copy(tuple(parts), tuple(labels), tuple(explicit))


def _check_label(label: object, path: Path) -> None:
    if not isinstance(label, str):
        raise wording.label_is_no_text(path, label)
    if not label or "/" in label:
        raise wording.bad_label(path, label)


def _check_words(node: Node, path: Path) -> None:
    """Refuse words that mean nothing on a stage."""
    options: Options | None = node.options if isinstance(node, Call | Whole) else None
    for word in NOT_ON_STAGES if options is not None else ():
        if options is not None and options.get(word):
            raise wording.misplaced_word(path, word, text(node))
    if options is not None and isinstance(options.get("on"), str) and options.get("on") == "inline":
        raise wording.inline_stage(path)


def _names_a_function(text_: str) -> bool:
    pieces = text_.replace(":", ".").split(".")
    return len(pieces) > 1 and all(piece.isidentifier() for piece in pieces)
