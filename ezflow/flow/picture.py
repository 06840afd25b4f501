"""A flow as a drawing: the layout of graphs, with what the stages of flows mean."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..graph.nodes import Chain, Node, words_of
from ..graph.picture import Box, Edge, Frame, Layout, Picture
from ..graph.picture import picture_of as laid_out
from .nodes import Collecting, Deal, Limited, Living, Plain, Routes, Rows, Source

if TYPE_CHECKING:
    from collections.abc import Generator


class FlowLayout(Layout):
    """Gives every stage of a flow a place, under the path that errors and statistics name."""

    def branch(
        self, node: Node, flow: Any, path: tuple[str, ...], column: int, lane: float
    ) -> Generator[Any, Any, Any]:
        """Place a branch, whose stages are numbered even if it is one."""
        return (yield self.enter(node, flow, path, column, lane))

    def place(
        self, node: Node, flow: Any, path: tuple[str, ...], column: int, lane: float
    ) -> Generator[Any, Any, Any]:
        """Place a node; give who sends items on from there."""
        key = "/".join(path)
        if isinstance(node, Chain):
            return (yield self.enter(node, flow, path, column, lane))
        if not node.parts:
            title, detail = _texts(node)
            self.boxes.append(Box(key, title, detail, column, lane))
            if not isinstance(node, Source):
                self.arrows.extend(Edge(source, key, name) for source, name in flow)
            return [(key, "")]
        size = self.sizes.of(node)
        title = _frame(node)
        if title:
            self.frames.append(Frame(title, column, lane, size.columns, size.lanes))
        out: list[tuple[str, str]] = []
        for i, part in enumerate(node.parts, 1):
            name = _share(node, i)
            given = [(source, name) for source, _ in flow] if name else flow
            inner = (*path, str(i)) if not isinstance(node, Limited) else path
            out.extend((yield self.branch(part, given, inner, column, lane)))
            lane += self.sizes.of(part).lanes
        return out


def _share(node: Node, i: int) -> str:
    """Say which items a branch gets; nothing if it gets all."""
    if isinstance(node, Routes):
        return f"[key {node.keys[i - 1]}]" if i <= len(node.keys) else "[other keys]"
    if isinstance(node, Deal):
        if node.is_free:
            return "[if free]"
        return f"[{node.weights[i - 1]} of {sum(node.weights)}]" if node.weights else "[in turn]"
    return ""


def _texts(node: Node) -> tuple[str, str]:
    """Give title and detail of a stage."""
    if isinstance(node, Source):
        return node.origin.shown, ""
    if isinstance(node, Plain):
        return node.name, words_of(node.options.without("named")).lstrip(".")
    if isinstance(node, Living):
        return node.name, f"{node.n} worker{'s' * (node.n > 1)} of its own"
    if isinstance(node, Collecting):
        return node.name, "" if node.max_wait is None else f"at most {node.max_wait:g} s"
    return getattr(node, "name", "") or type(node).__name__, ""


def _frame(node: Node) -> str:
    """Say what holds for all that is in a node."""
    if isinstance(node, Limited):
        return f"{node.n} at once"
    return "Zip" if isinstance(node, Rows) else ""


def picture_of(root: Node, sides: dict[str, Node]) -> Picture:
    """Lay a flow out, and its side streams below it."""
    drawn = laid_out(root, FlowLayout)
    for name, side in sides.items():
        drawn = _below(drawn, laid_out(side, FlowLayout), name)
    return drawn


def _below(main: Picture, side: Picture, name: str) -> Picture:
    """Put a side stream below a drawing; what goes into it may come from anywhere, so no arrow leads there."""
    first = side.boxes[0].path
    boxes = [
        replace(
            box,
            path=f"{name}/{box.path}",
            title=f"{name}: {box.title}" if box.path == first else box.title,
            lane=box.lane + main.lanes,
        )
        for box in side.boxes
    ]
    arrows = [Edge(f"{name}/{source}", f"{name}/{target}", text) for source, target, text in side.edges]
    frames = [replace(frame, lane=frame.lane + main.lanes) for frame in side.frames]
    frames.append(Frame(f"emitted to {name}", 0, main.lanes, side.columns, side.lanes))
    return Picture(
        (*main.boxes, *boxes),
        (*main.arrows, *arrows),
        (*main.frames, *frames),
        max(main.columns, side.columns),
        main.lanes + side.lanes,
    )
