"""One stage of a graph, replaced by another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .check import label
from .nodes import Chain, Copy, Each, Node, Whole, chain, walk
from .parse import parse

if TYPE_CHECKING:
    from collections.abc import Generator

    from .wording import Path


def replaced(root: Node, name: str, stage: object) -> Node:
    """Give a tree in which the stage of a name or path is another one."""
    paths = [path for path, node in stages(root) if "/".join(path) == name]
    if not paths:
        paths = [path for path, node in stages(root) if name in (label(node), path[-1])]
    if not paths:
        known = ", ".join("/".join(path) for path, _ in stages(root))
        raise KeyError(f"no stage is called {name!r}; there are {known}")
    if len(paths) > 1:
        known = ", ".join(repr("/".join(path)) for path in paths)
        raise KeyError(f"several stages are called {name!r}; name one by its path: {known}")
    new = parse(stage, paths[0])
    parts = root.parts if isinstance(root, Chain) else (root,)
    made = walk(_chain(parts, (), paths[0], new))
    return chain(tuple(made))


def stages(root: Node) -> list[tuple[Path, Node]]:
    """Give the path and node of every stage, branches that are shapes themselves included."""
    found: list[tuple[Path, Node]] = []
    parts = root.parts if isinstance(root, Chain) else (root,)
    todo: list[tuple[Path, Node]] = []
    todo.extend(((str(i),), part) for i, part in enumerate(parts, 1))
    todo.reverse()
    while todo:
        path, node = todo.pop()
        found.append((path, node))
        todo.extend(_inner(path, node)[::-1])
    return found


def _inner(path: Path, node: Node) -> list[tuple[Path, Node]]:
    """Give the paths and nodes right inside one."""
    if isinstance(node, Copy):
        return [((*path, name), part) for name, part in zip(node.labels, node.parts, strict=True)]
    if isinstance(node, Each):
        return [((*path, "each"), node.parts[0])]
    if isinstance(node, Whole):
        inner = node.parts[0]
        parts = inner.parts if isinstance(inner, Chain) else (inner,)
        return [((*path, str(i)), part) for i, part in enumerate(parts, 1)]
    return [((*path, str(i)), part) for i, part in enumerate(node.parts, 1)]


def _chain(parts: tuple[Node, ...], path: Path, wanted: Path, new: Node) -> Generator[Any, Any, list[Node]]:
    made = []
    for i, part in enumerate(parts, 1):
        made.append((yield _node(part, (*path, str(i)), wanted, new)))
    return made


def _node(node: Node, path: Path, wanted: Path, new: Node) -> Generator[Any, Any, Node]:
    if path == wanted:
        return new
    if path != wanted[: len(path)]:
        return node
    if isinstance(node, Whole):
        inner = node.parts[0]
        parts = inner.parts if isinstance(inner, Chain) else (inner,)
        found = yield _chain(parts, path, wanted, new)
        return Whole((chain(tuple(found)),), node.options)
    made = []
    for inner_path, part in _inner(path, node):
        made.append((yield _node(part, inner_path, wanted, new)))
    if isinstance(node, Chain):
        return chain(tuple(made))
    return type(node)(tuple(made), *node.own)
