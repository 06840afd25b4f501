"""Looking at flows: statistics, live views, bars, summaries and drawings."""

from __future__ import annotations

import gc
import io
import itertools
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ezflow import ProcessPoolExecutor, task
from ezflow.flow.counting import FlowStatistics, StageStatistics, lines_of
from ezflow.flow.flow import Flow
from ezflow.flow.gauge import Gauge
from ezflow.flow.kit import As, Batch, Broadcast, Filter, Iter, Map, Parallel, Route, Tap, Unbatch, Zip
from ezflow.flow.views import Table
from tests import flowwork as work
from tests import work as calls
from tests.contract.gates import LIMIT, Gate, wait_until

pytestmark = pytest.mark.dealt


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def nap(x: Any) -> Any:
    time.sleep(0.003)
    return x


# ---------------------------------------------------------------- statistics


def test_every_item_is_in_the_statistics(pool: ProcessPoolExecutor) -> None:
    flow = Flow(Iter(range(60)), work.picky, Filter(work.odd), task(work.inc).retry(2), Batch(7), Unbatch())
    flow = flow.on(pool).results()

    outcome = flow.run()
    found = flow.statistics()

    assert found == outcome.statistics
    assert (found.n_in, found.n_out, found.n_failed, found.n_pending) == (
        60,
        outcome.n_out,
        outcome.n_failed,
        0,
    )
    names = ["2 (picky) to 3 (Filter(odd))", "4 (inc)", "5 (Batch(7))", "6 (Unbatch())"]
    first, inc, batch, unbatch = found.stages
    assert [stage.name for stage in found.stages] == names
    assert first.n_in == 60 == first.n_out + first.n_failed + first.n_dropped
    assert first.n_failed == outcome.n_failed > 0
    assert inc.n_in == inc.n_out == batch.n_in == unbatch.n_out == outcome.n_out
    assert batch.n_out == unbatch.n_in == -(-batch.n_in // 7)
    assert not any(stage.n_queued or stage.n_running for stage in found.stages)
    assert all(stage.p50 is not None and 0 < stage.p50 <= stage.p95 for stage in found.stages)
    assert found.is_over


def test_statistics_while_it_runs(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)

    def wait_at_3(x: int) -> int:
        if x == 3:
            calls.pass_gate(*gate.args())
        return x

    flow = Flow(As(1, wait_at_3), work.inc).on(pool).max_pending(6)
    future = flow.submit(range(50))
    gate.wait_arrived()

    def is_full() -> bool:  # soon nothing moves any more
        found = flow.statistics()
        stage = found.stages[0]
        return found.n_pending == 6 and stage.n_running >= 1 and 4 <= stage.n_queued + stage.n_running <= 6

    wait_until(is_full)
    found = flow.statistics()
    gate.open()

    assert found.n_in <= 3 + 6
    assert not found.is_over
    assert future.result(LIMIT).statistics.n_out == 50
    assert flow.statistics().is_over


def test_flow_that_never_ran_has_zeros(pool: ProcessPoolExecutor) -> None:
    flow = Flow(work.inc)
    other = flow.on(pool)
    other.run(range(3))

    assert flow.statistics().n_in == 0
    assert other.statistics().n_in == 3
    assert not other.results().statistics().stages


@pytest.mark.parametrize("where", ["pool", "inline", "thread"])
def test_slowest_stage_is_named_wherever_it_runs(pool: ProcessPoolExecutor, where: str) -> None:
    with ThreadPoolExecutor(2) as threads:
        on: Any = {"pool": pool, "inline": "inline", "thread": threads}[where]
        flow = Flow(work.inc, As(2, nap), Batch(5)).on(on)
        flow.run(range(60))  # the first calls of a worker import
        found = flow.run(range(60)).statistics

    slow = found.stages[1]
    assert found.bottleneck == slow.name == "2 (As(2, nap))"
    assert slow.p50 is not None
    assert slow.p50 >= 0.003
    assert slow.busy >= 0.18


def test_slow_source_and_slow_consumer_are_named(pool: ProcessPoolExecutor) -> None:
    def source() -> Iterator[int]:
        for i in range(40):
            nap(i)
            yield i

    flow = Flow(work.inc).on(pool)
    flow.run(range(100))  # the first calls of a worker import
    stream = flow.stream(range(40))
    for item in stream:
        nap(item)

    assert stream.statistics().bottleneck == "consumer"
    assert flow.run(source()).statistics.bottleneck == "source"
    assert Flow(Iter(source, live=True), work.inc).on(pool).run().statistics.bottleneck == "source"


def test_what_runs_here_is_timed_too(pool: ProcessPoolExecutor) -> None:
    flow = Flow(work.inc, Tap(nap)).on(pool)
    flow.run(range(30))  # the first calls of a worker import

    found = flow.run(range(30)).statistics

    assert found.bottleneck == "2 (Tap(nap))"
    assert found.stages[1].busy >= 0.09


def test_counting_costs_nothing_per_item(pool: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    n_items: list[int] = []
    took = Gauge.took
    monkeypatch.setattr(Gauge, "took", lambda gauge, n, nanos: (n_items.append(n), took(gauge, n, nanos))[1])

    Flow(work.inc, Batch(10)).on(pool).run(range(20_000))

    assert sum(n_items) == 40_000
    assert len(n_items) < 4_000


def test_statistics_are_a_table(pool: ProcessPoolExecutor) -> None:
    found = Flow(As(2, nap), work.inc).on(pool).run(range(20)).statistics

    head, titles, slow, other = str(found).splitlines()

    assert head.startswith("20 in, 20 out; ")
    assert head.endswith("; slowest: 1 (As(2, nap))")
    assert titles.split() == [
        *("stage", "in", "out", "failed", "dropped", "queued", "running", "per", "s", "p50", "p95")
    ]
    assert slow.startswith("▶ 1 (As(2, nap))")
    assert other.startswith("  2 (inc)")
    html = found._repr_html_()
    assert html.count("<tr>") == 3
    assert html.count("font-weight:bold") == 10


# ---------------------------------------------------------------- views


def test_nothing_is_drawn_without_being_asked(
    pool: ProcessPoolExecutor, capfd: pytest.CaptureFixture[str]
) -> None:
    Flow(work.inc).on(pool).progress().run(range(3))

    assert capfd.readouterr() == ("", "")


def test_watch_writes_a_line_where_there_is_no_terminal(pool: ProcessPoolExecutor) -> None:
    file = io.StringIO()

    assert list(Flow(work.inc).on(pool).watch(file=file).stream(range(3))) == [1, 2, 3]

    (line,) = file.getvalue().splitlines()
    assert line.startswith("flow: 3 in, 3 out; ")


def test_watch_draws_a_table_in_its_place_on_a_terminal(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    file, gate = Terminal(), Gate(tmp_path)

    def wait_at_3(x: int) -> int:
        if x == 3:
            calls.pass_gate(*gate.args())
        return x

    flow = Flow(As(1, wait_at_3), Batch(2)).on(pool).watch(file=file).progress(file=file)
    future = flow.submit(list(range(9)))
    gate.wait_arrived()
    wait_until(lambda: "3 of 9 done" in file.getvalue() or "2 of 9 done" in file.getvalue())
    gate.open()
    assert future.result(LIMIT).n_out == 5
    wait_until(lambda: "9 of 9 done" in file.getvalue())

    text = file.getvalue()
    assert "▶ 1 (As(1, wait_at_3))" in text
    last = text.rsplit("\x1b[", text.count("\x1b[K", text.rindex("9 of 9 done") - 3) + 1)
    assert text.count("A\x1b[K") >= 1  # it went up, and wrote anew
    assert "9 in, 5 out" in "".join(last)
    assert "%|" not in text  # no bar beside the table, which says as much


def test_table_is_cut_to_the_terminal_and_drawn_only_if_it_changed(
    pool: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Flow(*[As(1, work.inc)] * 8).on(pool)
    stream = flow.stream(range(3))
    list(stream)
    monkeypatch.setattr("ezflow.flow.views.size_of", lambda _: (20, 6))
    file = io.StringIO()
    table = Table(stream._run.ledger, file)

    table.end(3, 0, 3)
    table.end(3, 0, 3)

    lines = file.getvalue().split("\n")
    assert len(lines) == 5 + 1
    assert max(map(len, lines)) <= 19 + len("\r\x1b[K")
    assert lines[4].endswith("…")


@pytest.mark.parametrize("kind", ["known", "unknown"])
def test_bar_counts_inputs_that_are_done(pool: ProcessPoolExecutor, kind: str) -> None:
    file = io.StringIO()
    flow = Flow(work.picky, work.two, Batch(100)).on(pool).results().progress("items", always=True, file=file)

    outcome = flow.run(range(50) if kind == "known" else iter(range(50)))

    first, last = file.getvalue().splitlines()
    total = " of 50" if kind == "known" else ""
    assert first == f"items: 0{total}"
    assert last.startswith(f"items: 50{total}, {outcome.n_failed} failed, ")


def test_source_of_its_own_has_a_total_too(pool: ProcessPoolExecutor) -> None:
    file = io.StringIO()

    list(Flow(Iter([1, 2, 3]), work.inc).on(pool).progress(always=True, file=file))

    assert file.getvalue().splitlines()[0] == "flow: 0 of 3"


def test_long_names_are_cut_before_numbers_are() -> None:
    name = "1 (a_function_with_a_name_that_takes_much_of_a_line)"
    stage = StageStatistics(name, 5, 4, 0, 1, 0, 0, 7.0, 0.001, 0.002, 0.1)
    found = FlowStatistics(5, 4, 0, 0, 1.0, 5.0, (stage,), name, True)

    _, titles, row = lines_of(found, 99)

    assert len(titles) == len(row) == 99
    assert row.startswith("▶ 1 (a_function_with_a_name")
    assert "…" in row
    assert row.endswith("2.0 ms")
    assert lines_of(found) == lines_of(found, 500)


def test_summary_is_written_however_a_run_ends(pool: ProcessPoolExecutor) -> None:
    for end in ("exhausted", "closed", "dropped", "failed"):
        file = io.StringIO()
        bad = 5 if end == "failed" else -5
        flow = Flow(work.inc, Map(lambda x, bad: 1 // (x - bad), bad)).on(pool).summary(file=file)
        stream = flow.stream(itertools.count() if end != "exhausted" else range(3))
        if end in ("exhausted", "failed"):
            try:
                list(stream)
            except ZeroDivisionError:
                assert end == "failed"
        else:
            next(stream)
            if end == "closed":
                stream.close()
        del stream
        gc.collect()
        wait_until(lambda file=file: "1 (inc) to 2 (lambda)" in file.getvalue(), end)  # type: ignore[misc]


def test_stream_that_cannot_be_written_to_stops_no_work(pool: ProcessPoolExecutor) -> None:
    file = io.StringIO()
    file.close()

    flow = Flow(work.inc).on(pool).watch(file=file).progress(always=True, file=file).summary(file=file)

    assert list(flow.stream(range(3))) == [1, 2, 3]


# ---------------------------------------------------------------- drawings

SHAPES = Flow(
    Iter([1]),
    (work.inc, [work.double, work.inc]),
    Broadcast(work.double, work.negate),
    Zip(work.shown, work.listed),
    As(2, [work.listed, work.listed]),
    Route(len, {"vip": work.listed, 1: work.listed}, default=work.shown),
    Batch(7),
)


def test_picture_has_every_stage_under_the_name_of_errors() -> None:
    assert SHAPES.nodes == (
        *("1", "2/1/1", "2/2/1", "2/2/2", "3/1/1", "3/2/1", "4/1/1", "4/2/1", "5/1", "5/2"),
        *("6/1/1", "6/2/1", "6/3/1", "7"),
    )
    assert ("2/2/2", "3/1/1", "") in SHAPES.edges
    assert ("5/2", "6/1/1", "[key vip]") in SHAPES.edges
    freely = Flow(work.inc, Parallel(work.inc, work.double, balance="free")).edges
    assert [edge.name for edge in freely] == ["[if free]", "[if free]"]


def test_picture_as_text() -> None:
    flow = Flow(
        Iter([1]), (work.inc, [work.double, work.inc]), Batch(7), Route(len, {7: str}, default=work.shown)
    )

    assert str(flow.picture()) == (
        "             ┌▶ inc ──────────────┐             ┌▶ [key 7] str\n"
        "Iter(list) ──┤                    ├▶ Batch(7) ──┤\n"
        "             └▶ double ───▶ inc ──┘             └▶ [other keys] shown"
    )


def test_picture_in_other_languages() -> None:
    flow = Flow(work.inc, Parallel(work.double, work.shown, weights=[3, 1]))

    assert flow.to_mermaid() == (
        'flowchart LR\n    n0["inc"]\n    n1["double"]\n    n2["shown"]\n'
        '    n0 -- "[3 of 4]" --> n1\n    n0 -- "[1 of 4]" --> n2\n'
    )
    assert '"1" -> "2/1/1" [label="[3 of 4]"];' in flow.to_dot()
    assert "<title>2 at once" not in SHAPES.picture().to_svg()
    assert ">2 at once<" in SHAPES.picture().to_svg()
    assert SHAPES._repr_mimebundle_()["image/svg+xml"].startswith("<svg")


def test_side_streams_lie_below() -> None:
    flow = Flow(work.emitting, work.inc).xcut("db", work.listed, Batch(4)).xcut("log", work.shown)

    assert flow.nodes == ("1", "2", "db/1", "db/2", "log/1")
    assert flow.edges == (("1", "2", ""), ("db/1", "db/2", ""))
    assert str(flow.picture()).splitlines() == [
        "emitting ─────▶ inc",
        "db: listed ───▶ Batch(4)",
        "log: shown",
    ]
    assert ">emitted to log<" in flow.picture().to_svg()


def test_graph_in_a_flow_is_one_box() -> None:
    from ezflow import EZ

    assert len(Flow(work.inc, EZ({"a": work.inc, "b": work.double})).nodes) == 2


def test_looking_needs_no_library() -> None:
    assert "IPython" not in vars(sys.modules["ezflow.flow.views"])


def test_side_streams_are_rows_of_their_own(pool: ProcessPoolExecutor) -> None:
    flow = Flow(work.emitting, work.inc).xcut("db", work.listed, Batch(4)).xcut("log", work.shown).on(pool)

    found = flow.run(range(20)).statistics

    assert [(stage.name, stage.n_in) for stage in found.stages] == [
        ("1 (emitting) to 2 (inc)", 20),
        ("db/1 (listed)", 20),
        ("db/2 (Batch(4))", 20),
        ("log/1 (shown)", 10),
    ]
