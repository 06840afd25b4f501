"""A picture in characters, for terminals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .picture import IN, follows_source

if TYPE_CHECKING:
    from .picture import Box, Edge, Picture

UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
_LINES: Final = {
    LEFT: "─", RIGHT: "─", LEFT | RIGHT: "─", UP: "│", DOWN: "│", UP | DOWN: "│",
    DOWN | RIGHT: "┌", DOWN | LEFT: "┐", UP | RIGHT: "└", UP | LEFT: "┘",
    UP | DOWN | RIGHT: "├", UP | DOWN | LEFT: "┤", LEFT | RIGHT | DOWN: "┬", LEFT | RIGHT | UP: "┴",
    UP | DOWN | LEFT | RIGHT: "┼",
}  # fmt: skip
_MARKS: Final = {"done": "✔ ", "failed": "✘ ", "submitted": "▶ ", "cancelled": "⊘ ", "pending": "· "}
GAP: Final = 5
"""Characters between two columns."""


def draw(picture: Picture) -> str:
    """Draw a picture."""
    names: dict[str, str] = {}
    for edge in picture.arrows:
        if edge.source != IN and edge.name and not edge.name.startswith("["):
            names[edge.source] = edge.name
    repeated = {
        box.path
        for box in picture.boxes
        for frame in picture.frames
        if frame.title == "each"
        and frame.column <= box.column < frame.column + frame.columns
        and frame.lane <= box.lane < frame.lane + frame.lanes
    }
    keys = {
        edge.target: f"{edge.name} " for edge in picture.arrows if edge.name.startswith(("[key", "[other"))
    }
    texts = {
        box.path: _text(box, names.get(box.path, ""), keys.get(box.path, ""), box.path in repeated)
        for box in picture.boxes
    }
    columns = {box.path: box.column for box in picture.boxes}
    rows = {box.path: round(2 * box.lane) for box in picture.boxes}
    widths = [0] * picture.columns
    for box in picture.boxes:
        widths[box.column] = max(widths[box.column], len(texts[box.path]))
    left = [sum(widths[:i]) + i * GAP for i in range(picture.columns + 1)]
    height = max(rows.values(), default=0) + 1
    lines = [[0] * (left[-1] + 1) for _ in range(height)]
    for edge in picture.edges:
        _connect(lines, edge, texts, columns, rows, left)
    shown = [[_LINES.get(mask, " ") for mask in row] for row in lines]
    for box in picture.boxes:
        row, start = rows[box.path], left[box.column]
        text = texts[box.path]
        shown[row][start : start + len(text)] = text
    for edge in picture.edges:
        row, start = rows[edge.target], left[columns[edge.target]]
        shown[row][start - 2 : start] = "▶ "
    return "\n".join("".join(row).rstrip() for row in shown if "".join(row).strip())


def _text(box: Box, name: str, key: str, is_repeated: bool) -> str:
    text = key + (f"{name}: {box.title}" if name and name != box.title else box.title)
    if is_repeated:
        text += " \N{MULTIPLICATION SIGN}n"
    if box.detail:
        text += f" ({box.detail})"
    return _MARKS.get(box.state, "") + text + " "


def _connect(
    lines: list[list[int]],
    edge: Edge,
    texts: dict[str, str],
    columns: dict[str, int],
    rows: dict[str, int],
    left: list[int],
) -> None:
    """Draw the line of one arrow: in the lane of its source up to the last gap, or of its target from the first."""
    after, before = columns[edge.source], columns[edge.target]
    row, to_row = rows[edge.source], rows[edge.target]
    begin = left[columns[edge.source]] + len(texts[edge.source])
    end = left[columns[edge.target]] - 2
    blocked = {rows[path] for path in rows if after < columns[path] < before}
    in_source = row not in blocked and (follows_source(edge) or to_row in blocked)
    turn = end - 1 if in_source else left[after + 1] - 3
    for x in range(begin, turn):
        lines[row][x] |= LEFT | RIGHT
    for x in range(turn + 1, end):
        lines[to_row][x] |= LEFT | RIGHT
    lines[row][turn] |= LEFT
    lines[to_row][turn] |= RIGHT
    step = 1 if to_row > row else -1
    for y in range(row, to_row, step):
        lines[y][turn] |= DOWN if step > 0 else UP
        lines[y + step][turn] |= UP if step > 0 else DOWN
