"""A picture in the languages of other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .picture import Picture

_COLOURS = {
    "done": "#2e7d32",
    "failed": "#c62828",
    "submitted": "#1565c0",
    "cancelled": "#8d6e63",
    "pending": "#9e9e9e",
}


def mermaid(picture: Picture) -> str:
    """Write a flowchart of Mermaid."""
    names = {box.path: f"n{i}" for i, box in enumerate(picture.boxes)}
    lines = ["flowchart LR"]
    lines.extend(f'    {names[box.path]}["{_quoted(box.title)}"]' for box in picture.boxes)
    for source, target, name in picture.edges:
        arrow = f'-- "{_quoted(name)}" -->' if name else "-->"
        lines.append(f"    {names[source]} {arrow} {names[target]}")
    lines.extend(
        f"    style {names[box.path]} stroke:{_COLOURS[box.state]},stroke-width:2px"
        for box in picture.boxes
        if box.state in _COLOURS
    )
    return "\n".join(lines) + "\n"


def dot(picture: Picture) -> str:
    """Write a graph of Graphviz."""
    lines = ["digraph {", "    rankdir=LR;", "    node [shape=box, style=rounded];"]
    for box in picture.boxes:
        colour = f', color="{_COLOURS[box.state]}"' if box.state in _COLOURS else ""
        lines.append(f'    "{_escaped(box.path)}" [label="{_escaped(box.title)}"{colour}];')
    for source, target, name in picture.edges:
        shown = f' [label="{_escaped(name)}"]' if name else ""
        lines.append(f'    "{_escaped(source)}" -> "{_escaped(target)}"{shown};')
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    return text.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
