"""Looking at a run: a bar, a table that is drawn anew while it runs, a table at its end.

All three are meters of `_progress`: its one thread looks at the counts a few times a second, so the run itself draws
nothing and its workers never wait for a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Sized
from time import monotonic
from typing import TYPE_CHECKING, Any

from .._faces import LINES_PAUSE, choose_face, is_terminal, size_of
from .._notebook import is_notebook
from .._progress import Meter, open_view
from .counting import head_of, html_of, lines_of

if TYPE_CHECKING:
    from typing import Final, TextIO

    from .._faces import Face
    from ..options import Bar
    from .counting import Ledger

WATCH_PAUSE: Final = 0.25
"""Seconds between two tables: numbers that change faster cannot be read."""


class View(Meter):
    """A meter that reads the counts of a run when it is drawn.

    Parameters
    ----------
    ledger : Ledger
        The counts.
    face : Face
        What draws.
    total : int or None
        How many items the source has, if that is known.
    """

    def __init__(self, ledger: Ledger, face: Face, total: int | None = None) -> None:
        super().__init__(total, face)
        self._ledger = ledger

    def draw(self) -> None:
        """Draw if there is something new."""
        self._look()
        super().draw()

    def end(self) -> None:
        """Draw for the last time."""
        self._look()
        super().end()

    def _look(self) -> None:
        self.n = max(
            self.n, self._ledger.n_done
        )  # what a batch has gathered is under way once more when it is full
        self.n_failed = self._ledger.n_failed


def open_views(ledger: Ledger, wanted: dict[str, Any], source: Any, n_skipped: int) -> list[Meter]:
    """Open what a flow was asked to show of a run."""
    total = len(source) - n_skipped if isinstance(source, Sized) else None
    faces: list[Face | None] = []
    if "watch" in wanted:
        faces.append(_choose_watch(ledger, wanted["watch"].file))
    if "progress" in wanted and not any(isinstance(face, Table) for face in faces):  # it says as much
        bar: Bar = wanted["progress"]
        faces.append(choose_face(bar.label or "flow", total, always=bar.always, file=bar.file))
    if "summary" in wanted:
        faces.append(Summary(ledger, wanted["summary"].file))
    views: list[Meter] = []
    try:
        for face in faces:
            if face is not None:
                view = View(ledger, face, total)
                open_view(view)
                views.append(view)
    except BaseException:  # Ctrl-C
        for opened in views:
            opened.close()
        raise
    return views


def _choose_watch(ledger: Ledger, file: TextIO | None) -> Face | None:
    """Give a live table where there can be one, else lines."""
    if file is None and is_notebook():
        return Cell(ledger)
    stream = sys.stderr if file is None else file
    if stream is None:  # pythonw and the like
        return None
    return Table(ledger, stream) if is_terminal(stream) else Log(ledger, stream)


class Table:
    """Lines of a terminal that are written anew in their place."""

    def __init__(self, ledger: Ledger, stream: TextIO) -> None:
        self._ledger = ledger
        self._stream = stream
        self._n_lines = 0
        self._drawn: tuple[float, list[str]] = (0.0, [])

    def show(self, n: int, n_failed: int, total: int | None) -> None:
        """Draw, if it is time."""
        if monotonic() - self._drawn[0] >= WATCH_PAUSE:
            self.end(n, n_failed, total)

    def end(self, n: int, n_failed: int, total: int | None) -> None:
        """Draw the last state and leave it there."""
        columns, rows = size_of(self._stream)
        room = (columns or 80) - 1
        lines = lines_of(self._ledger.statistics(), room)
        if total is not None:
            lines.insert(0, f"{n:,} of {total:,} done")
        lines = [line[:room] for line in lines]
        if rows and len(lines) >= rows:  # what has scrolled away cannot be written anew
            lines = [*lines[: rows - 2], "  …"]
        if lines == self._drawn[1]:
            return
        self._drawn = monotonic(), lines
        up = f"\x1b[{self._n_lines}A" if self._n_lines else ""
        gone = "\x1b[J" if self._n_lines > len(lines) else ""
        self._stream.write(f"\r{up}{gone}" + "".join(f"\x1b[K{line}\n" for line in lines))
        self._stream.flush()
        self._n_lines = len(lines)


class Log:
    """Plain lines, few of them, where lines stay."""

    def __init__(self, ledger: Ledger, stream: TextIO) -> None:
        self._ledger = ledger
        self._stream = stream
        self._written_at = monotonic()

    def show(self, n: int, n_failed: int, total: int | None) -> None:
        """Write a line if it is time."""
        now = monotonic()
        if now - self._written_at >= LINES_PAUSE:
            self._written_at = now
            self.end(n, n_failed, total)

    def end(self, n: int, n_failed: int, total: int | None) -> None:
        """Write the last line."""
        self._stream.write(f"flow: {head_of(self._ledger.statistics())}\n")
        self._stream.flush()


class Cell:
    """The output of a notebook's cell, which is replaced."""

    def __init__(self, ledger: Ledger) -> None:
        from IPython import display  # pyright: ignore[reportMissingImports]

        show: Any = display.display
        self._ledger = ledger
        self._written_at = monotonic()
        self._handle: Any = show(self._bundle(), raw=True, display_id=True)

    def _bundle(self) -> dict[str, str]:
        found = self._ledger.statistics()
        return {"text/html": html_of(found), "text/plain": str(found)}

    def show(self, n: int, n_failed: int, total: int | None) -> None:
        """Draw, if it is time."""
        now = monotonic()
        if now - self._written_at >= WATCH_PAUSE:
            self._written_at = now
            self.end(n, n_failed, total)

    def end(self, n: int, n_failed: int, total: int | None) -> None:
        """Draw the last state and leave it there."""
        self._handle.update(self._bundle(), raw=True)


class Summary:
    """The table, once, when the run has ended."""

    def __init__(self, ledger: Ledger, file: TextIO | None) -> None:
        self._ledger = ledger
        self._file = file

    def show(self, n: int, n_failed: int, total: int | None) -> None:
        """Draw nothing yet."""

    def end(self, n: int, n_failed: int, total: int | None) -> None:
        """Write the table."""
        stream = sys.stderr if self._file is None else self._file
        if stream is not None:
            stream.write(f"{self._ledger.statistics()}\n")
            stream.flush()
