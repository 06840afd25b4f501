"""A picture as SVG: no script, no fonts from elsewhere, readable on light and on dark paper.

Ink is ``currentColor``, so a drawing inside a page has the page's ink; as an image it follows the theme of the system.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from .picture import IN, follows_source

if TYPE_CHECKING:
    from .picture import Box, Edge, Picture

CHARACTER: Final = 7.4
"""Width of a character at 13 px, in px: a little more than the mean of common fonts, so that text stays in its box."""
SMALL: Final = 5.9
"""The same at 10.5 px."""
LANE: Final = 58.0
"""Height of a lane, in px."""
HEIGHT: Final = 32.0
TALL: Final = 44.0
"""Height of a box with one and with two lines."""
GAP: Final = 44.0
"""Least width between two columns."""
MARGIN: Final = 14.0
LONGEST: Final = 30
"""Characters of a title; what is longer is cut, and shown in full when pointed at."""

COLOURS: Final = {
    "done": "#2da44e",
    "failed": "#e5534b",
    "submitted": "#4493f8",
    "running": "#4493f8",
    "cancelled": "#b08800",
    "pending": "#8b949e",
}

STYLE: Final = (
    ".ezflow-graph{color:var(--jp-ui-font-color1,var(--vscode-editor-foreground,#1f2328));"
    "font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}"
    "@media (prefers-color-scheme:dark){"
    ".ezflow-graph{color:var(--jp-ui-font-color1,var(--vscode-editor-foreground,#e6edf3))}}"
)


def draw(picture: Picture) -> str:
    """Draw a picture."""
    return _Drawing(picture).text()


class _Drawing:
    """Places of one picture in px."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.boxes = {box.path: box for box in picture.boxes}
        self.taken = {(box.column, round(2 * box.lane) + shift) for box in picture.boxes for shift in (0, 1)}
        n = picture.columns
        widths = [40.0] * n
        for box in picture.boxes:
            widths[box.column] = max(widths[box.column], _width(box))
        gaps = [GAP] * (n + 1)
        for edge in picture.arrows:
            if edge.name:
                column = self.boxes[edge.source].column + 1 if edge.source else 0
                gaps[column] = max(gaps[column], len(_cut(edge.name)) * SMALL + 34)
        self.left: list[float] = []
        x = MARGIN + 8 + gaps[0]
        for i in range(n):
            self.left.append(x)
            x += widths[i] + gaps[i + 1]
        self.widths = widths
        self.width = x + 8 + MARGIN
        self.top = MARGIN + (18 if any(frame.title for frame in picture.frames) else 0)
        self.height = self.top + picture.lanes * LANE + MARGIN - 6

    def text(self) -> str:
        width, height = round(self.width), round(self.height)
        lines = [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" class="ezflow-graph" viewBox="0 0 {width} {height}"'
                f' width="{width}" height="{height}" role="img" font-size="13" fill="currentColor"'
                f' font-family="system-ui, -apple-system, Segoe UI, Roboto, DejaVu Sans, sans-serif">'
            ),
            f"<style>{STYLE}</style>",
            f"<title>{escape(self.summary())}</title>",
        ]
        lines.extend(self.frames())
        seen: set[tuple[str, str]] = set()
        lines.extend(self.arrow(edge) for edge in self.picture.arrows)
        for edge in self.picture.arrows:
            if edge.name and (edge.source, self.label_key(edge)) not in seen:
                seen.add((edge.source, self.label_key(edge)))
                lines.append(self.label(edge))
        lines.extend(self.ends())
        lines.extend(self.box(box) for box in self.picture.boxes)
        lines.append("</svg>")
        return "\n".join(lines) + "\n"

    def summary(self) -> str:
        n = len(self.picture.boxes)
        state = f", {self.picture.title}" if self.picture.title else ""
        return f"graph of {n} stage{'s' * (n != 1)}{state}"

    # -- places

    def middle(self, lane: float) -> float:
        return self.top + (lane + 0.5) * LANE - 3

    def frames(self) -> list[str]:
        lines = []
        for frame in self.picture.frames:
            x = self.left[frame.column] - 12
            last = frame.column + frame.columns - 1
            y = self.top + frame.lane * LANE - 3
            width = self.left[last] + self.widths[last] + 12 - x
            lines.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{frame.lanes * LANE:.1f}" rx="10"'
                ' fill="currentColor" fill-opacity="0.04" stroke="currentColor" stroke-opacity="0.45"'
                ' stroke-dasharray="4 3"/>'
            )
            if frame.title:
                lines.append(
                    f'<text x="{x + 4:.1f}" y="{y - 5:.1f}" font-size="10.5" fill-opacity="0.75">'
                    f"{escape(_cut(frame.title))}</text>"
                )
        return lines

    def ends(self) -> list[str]:
        middle = self.middle((self.picture.lanes - 1) / 2)
        return [
            f'<circle cx="{x:.1f}" cy="{middle:.1f}" r="4" fill="currentColor" fill-opacity="0.55"/>'
            for x in (MARGIN + 4, self.width - MARGIN - 4)
        ]

    def place_of(self, path: str, *, is_source: bool) -> tuple[int, float, float]:
        """Give column, lane and the x where an arrow touches."""
        if path == IN:
            lane = (self.picture.lanes - 1) / 2
            if is_source:
                return -1, lane, MARGIN + 8
            return self.picture.columns, lane, self.width - MARGIN - 8
        box = self.boxes[path]
        width = _width(box)
        x = self.left[box.column] + (self.widths[box.column] - width) / 2
        return box.column, box.lane, x + width if is_source else x

    def arrow(self, edge: Edge) -> str:
        column, lane, x = self.place_of(edge.source, is_source=True)
        to_column, to_lane, to_x = self.place_of(edge.target, is_source=False)
        y, to_y = self.middle(lane), self.middle(to_lane)
        end = to_x - 7
        path = f"M{x:.1f} {y:.1f}"
        gap_end = self.left[column + 1] if column + 1 < self.picture.columns else to_x
        gap_begin = self.left[to_column - 1] + self.widths[to_column - 1] if to_column > 0 else x
        if abs(y - to_y) < 0.5:
            path += f"H{end:.1f}"
        elif to_column - column <= 1:
            path += _curve(x, y, end, to_y, self.bend(edge, x, end))
        elif self.is_free(lane, column, to_column) and (
            follows_source(edge) or not self.is_free(to_lane, column, to_column)
        ):
            path += f"H{gap_begin:.1f}" + _curve(gap_begin, y, end, to_y)
        else:
            path += _curve(x, y, gap_end - 4, to_y, self.bend(edge, x, gap_end - 4)) + f"H{end:.1f}"
        head = f"M{to_x:.1f} {to_y:.1f}l-8 -3.6v7.2z"
        return (
            f'<path d="{path}" fill="none" stroke="currentColor" stroke-opacity="0.6" stroke-width="1.3"/>'
            f'<path d="{head}" fill="currentColor" fill-opacity="0.75"/>'
        )

    def bend(self, edge: Edge, x: float, end: float) -> float:
        """Give how far an arrow runs straight before it bends: as far as its name goes."""
        if not edge.name or edge.name.startswith("["):
            return 0.0
        return min(len(_cut(edge.name)) * SMALL + 10, (end - x) * 0.6)

    def is_free(self, lane: float, column: int, to_column: int) -> bool:
        """Tell whether no box stands in a lane between two columns."""
        row = round(2 * lane)
        between = range(column + 1, to_column)
        return not any(
            (one, row + shift) in self.taken for one in between for shift in (-1, 0, 1) if shift >= 0
        )

    # -- texts

    @staticmethod
    def label_key(edge: Edge) -> str:
        return edge.target if edge.name.startswith("[") else edge.name

    def label(self, edge: Edge) -> str:
        if edge.name.startswith("["):
            _, lane, x = self.place_of(edge.target, is_source=False)
            other = self.place_of(edge.source, is_source=True)[1]
            x, anchor = x - 12, ' text-anchor="end"'
        else:
            _, lane, x = self.place_of(edge.source, is_source=True)
            other = self.place_of(edge.target, is_source=False)[1]
            x, anchor = x + 5, ""
        # On the side that the arrow does not come from or go to.
        y = self.middle(lane) + (12.5 if other < lane else -5)
        return (
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="10.5"{anchor} font-style="italic" fill-opacity="0.8">'
            f"{escape(_cut(edge.name))}</text>"
        )

    def box(self, box: Box) -> str:
        width, detail = _width(box), _detail(box)
        height = TALL if detail else HEIGHT
        x = self.left[box.column] + (self.widths[box.column] - width) / 2
        y = self.middle(box.lane)
        colour = COLOURS.get(box.state, "currentColor")
        is_faint = box.state in ("", "pending")
        fill, stroke = (0.07, 0.7) if is_faint else (0.16, 1.0)
        dashes = ' stroke-dasharray="5 3"' if box.state in ("pending", "cancelled") else ""
        middle = x + width / 2
        lines = [
            (
                f"<g><title>{escape(_full(box))}</title>"
                f'<rect x="{x:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" rx="7"'
                f' fill="{colour}" fill-opacity="{fill}" stroke="{colour}" stroke-opacity="{stroke}"'
                f' stroke-width="1.4"{dashes}/>'
            ),
            (
                f'<text x="{middle:.1f}" y="{y + (-2 if detail else 4.5):.1f}" text-anchor="middle"'
                f' font-weight="500">{escape(_cut(box.title))}</text>'
            ),
        ]
        if detail:
            lines.append(
                f'<text x="{middle:.1f}" y="{y + 14:.1f}" text-anchor="middle" font-size="10.5"'
                f' fill-opacity="0.75">{escape(_cut(detail))}</text>'
            )
        return "".join(lines) + "</g>"


def _curve(x: float, y: float, to_x: float, to_y: float, straight: float = 0.0) -> str:
    """Draw an S from the left to the right, after a straight piece."""
    text = ""
    if straight:
        x += straight
        text = f"H{x:.1f}"
    middle = (x + to_x) / 2
    return f"{text}C{middle:.1f} {y:.1f} {middle:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _detail(box: Box) -> str:
    took = "" if box.seconds is None else seconds_text(box.seconds)
    return " · ".join(filter(None, [box.detail, took]))


def seconds_text(seconds: float) -> str:
    """Give a duration in the unit that suits it."""
    if seconds < 1e-5:
        return f"{seconds * 1e6:.1f} µs"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1e-2:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _full(box: Box) -> str:
    return "\n".join(filter(None, [f"{box.path}: {box.title}", box.detail, box.state]))


def _width(box: Box) -> float:
    return max(len(_cut(box.title)) * CHARACTER, len(_cut(_detail(box))) * SMALL) + 22
