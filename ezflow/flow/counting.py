"""What a run has done so far: counted per packet and per call, never per item; read by anybody.

The thread that moves a run writes; who reads in another thread may see counts of one moment torn, nothing is locked.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from ..graph.draw_svg import seconds_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from .machine import Machine


class StageStatistics(NamedTuple):
    """What one stage of a flow has done; neighbours that run as one call are one row.

    Attributes
    ----------
    name : str
        Its place and name, as in errors: ``"2 (parse)"``, or ``"1 (read) to 3 (clean)"``.
    n_in, n_out, n_failed, n_dropped : int
        Items that came, outputs, items that failed here, and items that it gave nothing for.
    n_queued, n_running : int
        Items that wait for a call, and those that are in one.
    rate : float
        Items that it has done with, per second of the run.
    p50, p95 : float or None
        Seconds for one item, as a share of the call that it travelled in, that half of the items and 95 of 100 did not
        exceed, to about 5 %; None if nothing was measured.
    busy : float
        Seconds that its calls took, all workers together.
    """

    name: str
    n_in: int
    n_out: int
    n_failed: int
    n_dropped: int
    n_queued: int
    n_running: int
    rate: float
    p50: float | None
    p95: float | None
    busy: float


class FlowStatistics(NamedTuple):
    """What a run of a flow has done so far; printed, a table.

    Attributes
    ----------
    n_in : int
        Items taken from the source.
    n_out, n_failed : int
        Outputs that the consumer has taken, and items that failed and were kept as results.
    n_pending : int
        Items of the source that are on their way, held for the consumer included.
    seconds : float
        How long it has run.
    rate : float
        Items of the source that are done, per second.
    stages : tuple of StageStatistics
        In written order.
    bottleneck : str or None
        Where the time goes: the name of a stage, or ``"source"`` or ``"consumer"``.  Faster elsewhere is of no use.
    is_over : bool
        Whether the run has ended, in whatever way.
    """

    n_in: int
    n_out: int
    n_failed: int
    n_pending: int
    seconds: float
    rate: float
    stages: tuple[StageStatistics, ...]
    bottleneck: str | None
    is_over: bool

    def __str__(self) -> str:
        """Give a table."""
        return "\n".join(lines_of(self))

    def _repr_html_(self) -> str:
        return html_of(self)


NOTHING_YET: Final = FlowStatistics(0, 0, 0, 0, 0.0, 0.0, (), None, False)
"""Of a flow that has not run."""


class Ledger:
    """Counts of one run.  It outlives the run, and then holds its last statistics and nothing else.

    Parameters
    ----------
    machines : list of Machine
        What counts: the machine of the main stream, and then those of side streams.
    """

    def __init__(self, machines: list[Machine]) -> None:
        self._machines = machines
        self._last = NOTHING_YET
        self._began = perf_counter()
        self.source_nanos = 0
        self.consumer_nanos = 0

    @property
    def n_done(self) -> int:
        """Items of the source that are done."""
        for machine in self._machines:
            return machine.n_source - machine.n_pending
        return self._last.n_in - self._last.n_pending

    @property
    def n_failed(self) -> int:
        """Items that failed."""
        for machine in self._machines:
            return machine.n_failed
        return self._last.n_failed

    def statistics(self) -> FlowStatistics:
        """Give what was done until now."""
        machines = self._machines
        return self._counted(machines, is_over=False) if machines else self._last

    def close(self) -> None:
        """Keep the last statistics; safe to repeat."""
        machines = self._machines
        if machines:
            self._last = self._counted(machines, is_over=True)
            self._machines = []

    def _counted(self, machines: list[Machine], *, is_over: bool) -> FlowStatistics:
        seconds = perf_counter() - self._began
        rows: list[StageStatistics] = []
        for one in machines:
            rows += sorted(_rows(one, seconds), key=lambda row: place_of(row.name))
        machine = machines[0]
        n_done = machine.n_source - machine.n_pending
        return FlowStatistics(
            machine.n_source,
            machine.n_out - machine.n_failed,
            machine.n_failed,
            machine.n_pending,
            seconds,
            n_done / seconds if seconds else 0.0,
            tuple(rows),
            self._bottleneck(machines),
            is_over,
        )

    def _bottleneck(self, machines: list[Machine]) -> str | None:
        """Name what takes most time, where so many workers count as so much less.

        Stages of the pool share its workers, so all of them together are as slow as their sum; then the busiest of them
        is named.
        """
        n_workers = machines[0].settings.n_workers
        loads: dict[str, float] = {"source": self.source_nanos, "consumer": self.consumer_nanos}
        pooled: dict[str, float] = {}
        for work in (work for machine in machines for work in machine.works):
            limit = work.limit
            loads[work.note] = work.gauge.nanos / min(limit or n_workers, n_workers)
            if work.extra is None:
                pooled[work.note] = work.gauge.nanos
            elif limit is not None:  # workers of its own
                loads[work.note] = work.gauge.nanos / limit
        if pooled:
            busiest = max(pooled, key=pooled.__getitem__)
            loads[busiest] = max(loads[busiest], sum(pooled.values()) / n_workers)
        for one in (one for machine in machines for one in machine.here):
            loads[one.note] = one.gauge.nanos
        name = max(loads, key=loads.__getitem__)
        return name if loads[name] else None


def _rows(machine: Machine, seconds: float) -> Iterator[StageStatistics]:
    ops: list[Any] = [*machine.works, *machine.here]
    for op in ops:
        gauge = op.gauge
        n_ended, n_running = gauge.n_ended, gauge.n_running
        p50, p95 = [one * 1e-9 for one in gauge.timing.quantiles(0.5, 0.95)] if gauge.nanos else (None, None)
        yield StageStatistics(
            op.note,
            op.n_in,
            op.n_out,
            op.n_failed,
            op.n_dropped,
            max(op.n_in - n_ended - n_running, 0),
            n_running,
            n_ended / seconds if seconds else 0.0,
            p50,
            p95,
            gauge.nanos * 1e-9,
        )


def place_of(name: str) -> tuple[int, ...]:
    """Give the place of a stage, for sorting."""
    return tuple(int(piece) for piece in name.split(" ", maxsplit=1)[0].split("/") if piece.isdigit())


# ---------------------------------------------------------------- for people

_SHORTEST: Final = 24
"""Characters of a stage's name that are shown at least, however narrow the terminal is (chosen)."""

_TITLES: Final = ("in", "out", "failed", "dropped", "queued", "running", "per s", "p50", "p95")


def head_of(found: FlowStatistics) -> str:
    """Give the whole in one line."""
    parts = [f"{found.n_in:,} in", f"{found.n_out:,} out"]
    if found.n_failed:
        parts.append(f"{found.n_failed:,} failed")
    if found.n_pending:
        parts.append(f"{found.n_pending:,} under way")
    text = f"{', '.join(parts)}; {found.seconds:.1f} s, {found.rate:,.0f} per s"
    return text if found.bottleneck is None else f"{text}; slowest: {found.bottleneck}"


def cells_of(found: FlowStatistics) -> Iterator[tuple[bool, list[str]]]:
    """Yield the cells of each stage, and whether it is the slowest."""
    for row in found.stages:
        counts = (row.n_in, row.n_out, row.n_failed, row.n_dropped, row.n_queued, row.n_running)
        times = ("-" if one is None else seconds_text(one) for one in (row.p50, row.p95))
        yield (
            row.name == found.bottleneck,
            [row.name, *(f"{count:,}" for count in counts), f"{row.rate:,.0f}", *times],
        )


def lines_of(found: FlowStatistics, columns: int | None = None) -> list[str]:
    """Give a table for a terminal; an arrow marks the slowest stage, and long names are cut if there is no room."""
    rows = [(False, ["stage", *_TITLES]), *cells_of(found)]
    widths = [max(len(cells[i]) for _, cells in rows) for i in range(len(rows[0][1]))]
    if columns is not None:
        room = columns - len("▶ ") - sum(width + 2 for width in widths[1:])
        widths[0] = min(widths[0], max(room, _SHORTEST))
    lines = [head_of(found)]
    for is_slowest, cells in rows if found.stages else ():
        name = cells[0] if len(cells[0]) <= widths[0] else f"{cells[0][: widths[0] - 1]}…"
        first = name.ljust(widths[0])
        rest = "".join(f"  {cell:>{width}}" for cell, width in zip(cells[1:], widths[1:], strict=True))
        lines.append(f"{'▶' if is_slowest else ' '} {first}{rest}")
    return lines


def html_of(found: FlowStatistics) -> str:
    """Give a table for a notebook; the slowest stage is bold."""
    from html import escape

    def row(cells: list[str], tag: str, style: str = "") -> str:
        inside = "".join(
            f'<{tag} style="text-align:{"right" if i else "left"}{style}">{escape(cell)}</{tag}>'
            for i, cell in enumerate(cells)
        )
        return f"<tr>{inside}</tr>"

    rows = [row(["stage", *_TITLES], "th")]
    rows += [row(cells, "td", ";font-weight:bold" if slow else "") for slow, cells in cells_of(found)]
    table = f"<table>{''.join(rows)}</table>" if found.stages else ""
    return f"<div>{escape(head_of(found))}{table}</div>"
