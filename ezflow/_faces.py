"""What a progress bar looks like: tqdm's, rich's, or plain lines.

A face is made in the thread that opens the bar, and then used by one thread at a time.
"""

from __future__ import annotations

import os
import sys
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TextIO

from ._notebook import is_notebook

if TYPE_CHECKING:
    from collections.abc import Callable

LINES_PAUSE: Final = 5.0
"""Seconds between two lines where lines stay, such as in a log."""


class Face(Protocol):
    """What draws one bar."""

    def show(self, n: int, n_failed: int, total: int | None) -> None:
        """Draw."""

    def end(self, n: int, n_failed: int, total: int | None) -> None:
        """Draw the last state and leave it there."""


def choose_face(label: str, total: int | None, *, always: bool, file: TextIO | None) -> Face | None:
    """Give the best face there is for a stream, standard error if none is given; None if nothing is to be drawn."""
    stream = sys.stderr if file is None else file
    if stream is None:  # pythonw and the like
        return None
    in_notebook = file is None and is_notebook()
    if not in_notebook and not is_terminal(stream):
        return Lines(label, stream) if always else None
    made: tuple[Callable[[], Face], ...] = (
        lambda: TqdmFace(label, total, stream, in_notebook=in_notebook),
        lambda: RichFace(label, total, stream),
    )
    for make in made:
        try:
            return make()
        except Exception:  # not installed, too old, or at odds with what the program itself draws
            continue
    return OneLine(label, stream)


def is_terminal(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal."""
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # a stand-in, or closed
        return False


class TqdmFace:
    """A bar of tqdm; several take their lines as tqdm's do."""

    def __init__(self, label: str, total: int | None, stream: TextIO, *, in_notebook: bool) -> None:
        # tqdm draws nothing on a terminal that does not know its size, such as a bare pseudo-terminal.
        size: dict[str, Any] = {"dynamic_ncols": True} if size_of(stream)[1] else {"ncols": 79, "nrows": 20}
        self._bar: Any = _tqdm(in_notebook)(
            total=total, desc=label, file=stream, unit="", leave=True, disable=False, **size
        )

    def show(self, n: int, n_failed: int, total: int | None) -> None:
        """Draw."""
        bar = self._bar
        bar.n = n
        if total is not None and bar.total != total:
            bar.total = total
            if hasattr(bar, "container"):
                bar.reset(total)
                bar.n = n
        if n_failed:
            bar.set_postfix_str(f"{n_failed} failed", refresh=False)
        bar.refresh()

    def end(self, n: int, n_failed: int, total: int | None) -> None:
        """Draw the last state and leave it there."""
        self.show(n, n_failed, total)
        self._bar.close()


def _tqdm(in_notebook: bool) -> Any:
    """Give tqdm's class for this place, without its thread that watches over slow bars: ours does."""
    if in_notebook:
        try:
            import ipywidgets  # noqa: F401  # pyright: ignore[reportMissingImports]
            from tqdm.notebook import tqdm as base
        except ImportError:
            from tqdm.std import tqdm as base
    else:
        from tqdm.std import tqdm as base
    return type("tqdm", (base,), {"monitor_interval": 0})


class RichFace:
    """A row of rich's display; there can be only one display per terminal, so all bars share it."""

    _shared: ClassVar[dict[int, tuple[Any, set[Any]]]] = {}  # by stream: display, open rows

    def __init__(self, label: str, total: int | None, stream: TextIO) -> None:
        self._key = id(stream)
        if self._key not in self._shared:
            self._shared[self._key] = _rich_display(stream), set()
        self._display, self._rows = self._shared[self._key]
        self._row = self._display.add_task(label, total=total, failed="")
        self._rows.add(self._row)

    def show(self, n: int, n_failed: int, total: int | None) -> None:
        """Draw."""
        failed = f"{n_failed} failed" if n_failed else ""
        self._display.update(self._row, completed=n, total=total, failed=failed)
        self._display.refresh()

    def end(self, n: int, n_failed: int, total: int | None) -> None:
        """Draw the last state and leave it there."""
        self.show(n, n_failed, total)
        self._display.stop_task(self._row)
        self._rows.discard(self._row)
        if not self._rows:
            self._shared.pop(self._key, None)
            self._display.stop()


def _rich_display(stream: TextIO) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    display = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[failed]}"),
        console=Console(file=stream),
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    display.start()
    return display


class OneLine:
    """A line of a terminal that is written anew; all open bars of a terminal share it."""

    _shared: ClassVar[dict[int, dict[OneLine, str]]] = {}  # by stream: texts of the open bars

    def __init__(self, label: str, stream: TextIO) -> None:
        self._label = label
        self._stream = stream
        self._started = monotonic()
        self._texts = self._shared.setdefault(id(stream), {})

    def show(self, n: int, n_failed: int, total: int | None) -> None:
        """Draw."""
        self._texts[self] = state_text(self._label, n, n_failed, total)
        self._write("")

    def end(self, n: int, n_failed: int, total: int | None) -> None:
        """Draw the last state and leave it there."""
        self._texts.pop(self, None)
        text = state_text(self._label, n, n_failed, total, monotonic() - self._started)
        self._write(text + "\n")
        if not self._texts:
            self._shared.pop(id(self._stream), None)

    def _write(self, last: str) -> None:
        line = "  ".join(self._texts.values())[: (size_of(self._stream)[0] or 80) - 1]
        self._stream.write(f"\r\x1b[K{last}{line}")
        self._stream.flush()


def size_of(stream: TextIO) -> tuple[int, int]:
    """Give columns and rows, zeros if they are not known."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, AttributeError, ValueError):
        return 0, 0
    return size.columns, size.lines


class Lines:
    """Plain lines, few of them: the first state, one every few seconds, the last."""

    def __init__(self, label: str, stream: TextIO) -> None:
        self._label = label
        self._stream = stream
        self._started = monotonic()
        self._written_at: float | None = None

    def show(self, n: int, n_failed: int, total: int | None) -> None:
        """Draw if it is time."""
        now = monotonic()
        if self._written_at is None or now - self._written_at >= LINES_PAUSE:
            self._written_at = now
            self._write(state_text(self._label, n, n_failed, total))

    def end(self, n: int, n_failed: int, total: int | None) -> None:
        """Draw the last state."""
        self._write(state_text(self._label, n, n_failed, total, monotonic() - self._started))

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


def state_text(label: str, n: int, n_failed: int, total: int | None, seconds: float | None = None) -> str:
    """Give a state in words."""
    text = f"{label}: {n}" if total is None else f"{label}: {n} of {total}"
    if n_failed:
        text += f", {n_failed} failed"
    return text if seconds is None else f"{text}, {seconds:.1f} s"
