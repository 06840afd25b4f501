"""A graph as a drawing: boxes in columns from left to right, lanes side by side, arrows with names.

Layout
------
A chain lies from left to right, branches lie in lanes, one above the other, each as high as what is in it.  So a tree is
laid out from the inside: every node gives its width in columns and its height in lanes, and then gets its place.  A stage
stands in the middle of its lanes, which makes a diamond look like one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from .check import label
from .nodes import Call, Chain, Copy, Each, Node, Same, Split, Whole, walk, words_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from .future import GraphFuture


class Edge(NamedTuple):
    """Something that flows from a stage to another.

    Attributes
    ----------
    source, target : str
        Paths of stages.
    name : str
        The name under which it arrives; empty for an argument by position.
    """

    source: str
    target: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """A stage in a drawing: its path, texts, place in columns and lanes, and state."""

    path: str
    title: str
    detail: str
    column: int
    lane: float
    state: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """What surrounds boxes that belong together."""

    title: str
    column: int
    lane: float
    columns: int
    lanes: int


IN = ""
"""Path of what comes from outside, and goes there."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing as plain data.

    Attributes
    ----------
    boxes : tuple of Box
        Stages.
    arrows : tuple of Edge
        What flows; the empty path stands for the outside.
    frames : tuple of Frame
        Parts that run as one.
    """

    boxes: tuple[Box, ...]
    arrows: tuple[Edge, ...]
    frames: tuple[Frame, ...]
    columns: int
    lanes: int
    title: str = ""

    @property
    def nodes(self) -> tuple[str, ...]:
        """Paths of the stages."""
        return tuple(box.path for box in self.boxes)

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Arrows between stages."""
        return tuple(edge for edge in self.arrows if edge.source != IN and edge.target != IN)

    def __str__(self) -> str:
        """Draw it with characters."""
        from .draw_text import draw

        return draw(self)

    def to_svg(self) -> str:
        """Draw it as SVG.

        Returns
        -------
        str
            A document that follows the light or dark theme of whoever shows it.
        """
        from .draw_svg import draw

        return draw(self)

    def to_mermaid(self) -> str:
        """Give it in the language of Mermaid.

        Returns
        -------
        str
            A flowchart.
        """
        from .draw_code import mermaid

        return mermaid(self)

    def to_dot(self) -> str:
        """Give it in the language of Graphviz.

        Returns
        -------
        str
            A directed graph.
        """
        from .draw_code import dot

        return dot(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"image/svg+xml": self.to_svg(), "text/plain": str(self)}


# ---------------------------------------------------------------- sizes


class _Size(NamedTuple):
    columns: int
    lanes: int


class _Sizes:
    """Columns and lanes of every node, found from the inside."""

    def __init__(self) -> None:
        self.known: dict[int, _Size] = {}

    def of(self, node: Node) -> _Size:
        return self.known[id(node)]

    def measure(self, node: Node) -> Generator[Any, Any, _Size]:
        sizes = []
        for part in node.parts:
            size = yield self.measure(part)
            sizes.append(size)
        if not sizes:
            found = _Size(1, 1)
        elif isinstance(node, Chain):
            found = _Size(sum(size.columns for size in sizes), max(size.lanes for size in sizes))
        else:  # branches; a node around one part is as large as that
            found = _Size(max(size.columns for size in sizes), sum(size.lanes for size in sizes))
        self.known[id(node)] = found
        return found


class Layout:
    """Gives every stage a place; what flows is a list of (path, name)."""

    def __init__(self, root: Node) -> None:
        self.sizes = _Sizes()
        self.boxes: list[Box] = []
        self.arrows: list[Edge] = []
        self.frames: list[Frame] = []
        walk(self.sizes.measure(root))

    def enter(
        self, node: Node, flow: Any, path: tuple[str, ...], column: int, lane: float
    ) -> Generator[Any, Any, Any]:
        """Place the stages of a chain, numbered."""
        parts = node.parts if isinstance(node, Chain) else (node,)
        lanes = self.sizes.of(node).lanes
        for i, part in enumerate(parts, 1):
            size = self.sizes.of(part)
            place = lane + (lanes - size.lanes) / 2
            flow = yield self.place(part, flow, (*path, str(i)), column, place)
            column += size.columns
        return flow

    def branch(
        self, node: Node, flow: Any, path: tuple[str, ...], column: int, lane: float
    ) -> Generator[Any, Any, Any]:
        """Place a branch."""
        if isinstance(node, Chain):
            return (yield self.enter(node, flow, path, column, lane))
        return (yield self.place(node, flow, path, column, lane))

    def place(
        self, node: Node, flow: Any, path: tuple[str, ...], column: int, lane: float
    ) -> Generator[Any, Any, Any]:
        """Place a node; give what flows from there."""
        key = "/".join(path)
        if isinstance(node, Same):
            self.boxes.append(Box(key, "same", "", column, lane))
            self.arrows.extend(Edge(source, key, name) for source, name in flow)
            return [(key, name) for _, name in flow[:1]] if len(flow) == 1 else [(key, "")]
        if isinstance(node, Call):
            word = "star" if node.options.get("star") else node.mode
            details = []
            name = label(node)
            title = f"{word}({name})" if word else name
            if node.options.get("named"):
                from .nodes import text_of

                if text_of(node.fn) != name:
                    details.append(text_of(node.fn))
            details.append(words_of(node.options.without("named", "star")).lstrip("."))
            self.boxes.append(Box(key, title, " ".join(filter(None, details)), column, lane))
            self.arrows.extend(Edge(source, key, name) for source, name in flow)
            return [(key, "")]
        if isinstance(node, Chain):
            return (yield self.enter(node, flow, path, column, lane))
        size = self.sizes.of(node)
        if isinstance(node, Each | Whole):
            title = "each" if isinstance(node, Each) else words_of(node.options).lstrip(".")
            self.frames.append(Frame(title, column, lane, size.columns, size.lanes))
            inner = (*path, "each") if isinstance(node, Each) else path
            if isinstance(node, Each):
                flow = yield self.branch(node.parts[0], flow, inner, column, lane)
            else:
                flow = yield self.enter(node.parts[0], flow, inner, column, lane)
            return [(source, "") for source, _ in flow]
        labels = (
            node.labels if isinstance(node, Copy) else tuple(str(i) for i in range(1, len(node.parts) + 1))
        )
        out: list[tuple[str, str]] = []
        if isinstance(node, Split) and len(flow) == len(node.parts) and flow[0][0] != IN:
            flows = [[one] for one in flow]
        elif isinstance(node, Split) and len(flow) == 1:
            flows = [[(flow[0][0], f"[{i}]")] for i in range(len(node.parts))]
        else:
            flows = [flow] * len(node.parts)
        for name, part, given in zip(labels, node.parts, flows, strict=True):
            found = yield self.branch(part, given, (*path, name), column, lane)
            lane += self.sizes.of(part).lanes
            shown = name if isinstance(node, Copy) else ""
            out.extend((source, shown) for source, _ in found)
        return out


def picture_of(root: Node, kind: type[Layout] = Layout) -> Picture:
    """Lay a graph out; `kind` knows what its nodes mean."""
    layout = kind(root)
    flow = walk(layout.enter(root, [(IN, "")], (), 0, 0.0))
    layout.arrows.extend(Edge(source, IN, name) for source, name in flow)
    size = layout.sizes.of(root)
    return Picture(
        tuple(layout.boxes),
        tuple(dict.fromkeys(layout.arrows)),
        tuple(layout.frames),
        size.columns,
        size.lanes,
    )


def picture_of_run(future: GraphFuture[Any]) -> Picture:
    """Lay a run out, with states and times."""
    from .run import PENDING

    drawn = picture_of(future.graph._root)
    makers = future._makers()
    if not makers:
        return drawn
    boxes: list[Box] = []
    for box in drawn.boxes:
        maker = makers.get(box.path) or _outer(makers, box.path)
        if maker is None:
            boxes.append(replace(box, state=PENDING))
            continue
        run, step = maker
        if step is None:
            boxes.append(box)
            continue
        times = None if run is None else run.times.get(step.index)
        seconds = None if times is None else times[1] - times[0]
        boxes.append(replace(box, state=future._state_of(step, run), seconds=seconds))
    return replace(drawn, boxes=tuple(boxes), title=_state_of(future))


def _outer(makers: dict[str, Any], path: str) -> Any:
    """Find what is around a path."""
    pieces = path.split("/")
    for n in range(len(pieces) - 1, 0, -1):
        found = makers.get("/".join(pieces[:n]))
        if found is not None:
            return found
    return None


def _state_of(future: GraphFuture[Any]) -> str:
    if future.cancelled():
        return "cancelled"
    if not future.done():
        return "running" if future.running() else "pending"
    sealed = future._sealed
    failed = sealed.failed if sealed is not None else future._exception is not None
    return "failed" if failed else "done"


def follows_source(edge: Edge) -> bool:
    """Tell in whose lane an arrow over several columns runs: of the one that is deeper inside."""
    return edge.source.count("/") >= edge.target.count("/") and edge.source != IN
