"""Runs that are killed, and go on from their journal: every input runs at least once, what was noted only once."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ezflow import JournalError, ProcessPoolExecutor, current_call
from ezflow.flow.flow import Flow
from ezflow.flow.kit import Batch, Iter, Print, Unbatch, Write
from tests import flowwork as work
from tests import work as calls
from tests.contract.gates import LIMIT, Gate, is_gone, wait_until

pytestmark = pytest.mark.dealt

N = 200
STOP = 120
"""The input at which the first run waits, and is killed."""
BEFORE = STOP // 8
"""Inputs that are noted by then, at least: calls hold more and more items, and the last one waits with all of its own."""


class Marks:
    """Writes down each input that it gets, and waits for a gate at one of them."""

    def __init__(self, folder: Path, gate: Gate, name: str = "marks", stop: int = STOP) -> None:
        self.path = str(folder / name)
        self.gate = gate.args()
        self.stop = stop

    def __call__(self, x: int) -> int:
        calls.append(self.path, x)
        if x == self.stop:
            calls.pass_gate(*self.gate)
        return x

    def read(self) -> Counter[int]:
        return Counter(int(line) for line in Path(self.path).read_text().split())


def flow_of(shape: str, marks: Marks, folder: Path) -> Flow:
    """Make a flow; the tests and the program that is killed make the same one."""
    stages: dict[str, list[Any]] = {
        "plain": [marks],
        "batches": [work.inc, Batch(7), Unbatch(), Deduct(), marks],
        "written": [marks, Write(folder / "out.txt", "a")],
        "emitted": [marks, emitted],
        "unordered": [marks, work.inc],
    }
    flow = Flow(*stages[shape])
    if shape == "emitted":
        return flow.xcut("side", Batch(3), Unbatch(), Write(folder / "out.txt", "a"))
    return flow.unordered() if shape == "unordered" else flow


def emitted(x: int) -> int:
    current_call().emit("side", x)
    return x


class Deduct:
    def __call__(self, x: int) -> int:
        return x - 1


PROGRAM = """
import sys
from pathlib import Path
from ezflow import ProcessPoolExecutor
from tests.contract.gates import Gate
from tests.contract.test_flow_resume import Marks, flow_of

class Open(Gate):
    def __init__(self, folder):
        self.folder, self.path = folder / "gate-arrived", folder / "gate-open"

folder = Path(sys.argv[1])
stop, n = (int(argument) for argument in sys.argv[3:])
flow = flow_of(sys.argv[2], Marks(folder, Open(folder), stop=stop), folder)
with ProcessPoolExecutor(2) as pool:
    outcome = flow.on(pool).run(range(n), journal=folder / "journal")
"""


def start(folder: Path, shape: str, *, stop: int = STOP, n: int = N) -> subprocess.Popen[str]:
    """Start a run in a program of its own."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), shape, str(stop), str(n)], env=env, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["plain", "batches", "written", "emitted", "unordered"])
def test_killed_run_goes_on_where_it_was(pool: ProcessPoolExecutor, tmp_path: Path, shape: str) -> None:
    gate = Gate(tmp_path)
    marks = Marks(tmp_path, gate)
    with start(tmp_path, shape) as first:
        (pid,) = gate.wait_arrived()
        wait_until(lambda: noted(tmp_path / "journal") >= BEFORE, "inputs to be noted")
        os.kill(first.pid, signal.SIGKILL)
        assert first.wait(LIMIT) == -signal.SIGKILL
    wait_until(lambda: is_gone(pid))
    before = marks.read()
    is_written = shape in ("written", "emitted")
    written = (tmp_path / "out.txt").read_text() if is_written else ""
    done = done_in(tmp_path / "journal")
    gate.open()

    outcome = flow_of(shape, marks, tmp_path).on(pool).run(range(N), journal=tmp_path / "journal")

    n_skipped = outcome.n_skipped
    assert n_skipped == len(done) >= BEFORE
    assert outcome.n_in == N - n_skipped
    after = marks.read()
    assert set(after) == set(range(N))
    assert max(after.values()) <= 2
    assert sum(before.values()) + outcome.n_in == sum(after.values())
    if is_written:
        lines = Counter(map(int, (tmp_path / "out.txt").read_text().split()))
        assert set(lines) == set(range(N))
        assert set(map(int, written.split())) >= done
    again = flow_of(shape, marks, tmp_path).on(pool).run(range(N), journal=tmp_path / "journal")
    assert (again.n_in, again.n_skipped, marks.read()) == (0, N, after)


@pytest.mark.stress
@pytest.mark.parametrize("shape", ["plain", "batches", "written", "emitted", "unordered"])
def test_run_that_is_killed_again_and_again_comes_to_its_end(tmp_path: Path, shape: str) -> None:
    chance = random.Random(shape)
    marks = Marks(tmp_path, Gate(tmp_path), stop=-1)
    path, n, n_kills, code = Path(marks.path), 20_000, 0, -signal.SIGKILL
    path.touch()
    while code == -signal.SIGKILL:
        before = path.stat().st_size
        aim = before + chance.randrange(1, 20_000)  # bytes, some thousand inputs
        with start(tmp_path, shape, stop=-1, n=n) as run:
            wait_until(lambda run=run, aim=aim: run.poll() is not None or path.stat().st_size >= aim)  # type: ignore[misc]
            run.kill()
            code = run.wait(LIMIT)
        n_kills += code == -signal.SIGKILL
        done = noted(tmp_path / "journal")
        assert Counter(marks.read()).keys() >= set(range(done)) or shape == "unordered"
    after = marks.read()

    assert code == 0
    assert n_kills > 3
    assert set(after) == set(range(n))
    assert noted(tmp_path / "journal") == n
    if shape in ("written", "emitted"):
        # A line may have been cut off where the process ended, and its input ran again.
        lines = (tmp_path / "out.txt").read_text().split()
        assert {int(line) for line in lines} >= set(range(n))


def done_in(path: Path) -> set[int]:
    """Give the inputs that a journal has noted, as far as it is written."""
    lines = path.read_text().split("\n")[1:-1] if path.exists() else []
    return {i for line in lines for i in range(int(line.split()[0]), int(line.split()[1]))}


def noted(path: Path) -> int:
    """Count them."""
    return len(done_in(path))


def test_failed_run_goes_on_where_it_was(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    flag = tmp_path / "mended"

    def fail_until_mended(x: int) -> int:
        if x == 150 and not flag.exists():
            raise OSError("not yet")
        return x

    flow = Flow(fail_until_mended, Batch(10)).on(pool)
    with pytest.raises(OSError, match="not yet"):
        flow.run(range(300), journal=tmp_path / "journal")
    flag.touch()

    outcome = flow.run(range(300), journal=str(tmp_path / "journal"))

    assert outcome.n_skipped <= 150
    assert outcome.n_in + outcome.n_skipped == 300


def test_failures_that_were_kept_are_done(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    flow = Flow(work.picky).on(pool).results()

    first = flow.run(range(50), journal=tmp_path / "journal")
    second = flow.submit(range(50), journal=tmp_path / "journal").result(LIMIT)

    assert first.n_failed > 0
    assert (second.n_in, second.n_failed, second.n_skipped) == (0, 0, 50)


def test_source_of_its_own_and_a_live_one_are_resumed(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    def source() -> Iterator[int]:
        yield from range(30)

    for live in (False, True):
        path = tmp_path / f"journal {live}"
        flow = Flow(Iter(source, live=live), work.inc, Batch(4)).on(pool)

        assert flow.run(journal=path).n_in == 30
        assert flow.run(journal=path).n_skipped == 30


def test_bar_counts_what_is_left(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    from io import StringIO

    file = StringIO()
    flow = Flow(work.inc).on(pool)
    flow.run(range(20), journal=tmp_path / "journal")

    flow.progress(always=True, file=file).run(range(50), journal=tmp_path / "journal")

    assert file.getvalue().splitlines()[0] == "flow: 0 of 30"


def test_batch_that_is_let_out_in_time_is_noted(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = threading.Event()

    def source() -> Iterator[int]:
        yield from range(5)
        gate.wait(LIMIT)

    future = Flow(Batch(1000, max_wait=0.05)).on(pool).submit(source(), journal=tmp_path / "journal")
    # What was let out is noted when the flow goes on, which it does when the source has ended.
    gate.set()
    assert future.result(LIMIT).n_in == 5

    assert (
        Flow(Batch(1000, max_wait=0.05)).on(pool).run(range(5), journal=tmp_path / "journal").n_skipped == 5
    )


def test_journal_of_another_flow_or_source(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    Flow(work.inc).on(pool).run(range(20), journal=tmp_path / "journal")

    with pytest.raises(JournalError, match="belongs to another flow: inc"):
        Flow(work.double).on(pool).run(range(20), journal=tmp_path / "journal")
    with pytest.raises(JournalError, match="is of another source: input 19"):
        Flow(work.inc).on(pool).run(range(5, 30), journal=tmp_path / "journal")
    with pytest.raises(JournalError, match="noted input 19, counted from 0, but the source has 3"):
        Flow(work.inc).on(pool).run(range(3), journal=tmp_path / "journal")

    assert (
        Flow(work.inc).unordered().on(pool).max_pending(3).run(range(20), journal=tmp_path / "journal").n_in
        == 0
    )


def test_file_that_would_be_emptied_is_refused_before_it_is(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    out = tmp_path / "out.txt"
    out.write_text("earlier\n")

    with pytest.raises(JournalError, match=r"would empty its file .* write Write\(path, 'a'\)"):
        Flow(work.inc, (work.inc, [Print(), Write(out)])).on(pool).run(range(3), journal=tmp_path / "journal")

    assert out.read_text() == "earlier\n"
    assert not (tmp_path / "journal").exists()


def test_two_runs_do_not_share_a_journal(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    flow = Flow(Marks(tmp_path, gate, stop=0)).on(pool)
    future = flow.submit(range(3), journal=tmp_path / "journal")
    gate.wait_arrived()

    with pytest.raises(JournalError, match="in use by another run"):
        flow.run(range(3), journal=tmp_path / "journal")

    gate.open()
    assert future.result(LIMIT).n_in == 3


def test_journal_is_small_text(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    Flow(work.inc).on(pool).run(range(100_000), journal=tmp_path / "journal")

    text = (tmp_path / "journal").read_text()
    assert len(text) < 100_000
    assert re.fullmatch(r'ezflow journal 1 "inc" [0-9a-f]{8}\n(\d+ \d+ \d+ [0-9a-f]{8}\n)+', text)


def test_input_is_done_when_its_side_stream_is(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    """Inputs whose row fails the run are not done, though the main stream is long through with them."""
    journal, rows = tmp_path / "journal", tmp_path / "rows"
    bad = tmp_path / "bad"
    bad.touch()

    def check(row: Any) -> Any:
        if row == ("row", 150) and bad.exists():
            raise ValueError(row)
        return row

    flow = Flow(work.emitting, work.inc).xcut("log", work.shown)
    flow = flow.xcut("db", check, Batch(4), Unbatch(), lambda row: row[1], Write(rows, "a")).on(pool)
    with pytest.raises(ValueError, match="150"):
        flow.run(range(N), journal=journal)
    n_noted = noted(journal)
    assert 150 not in done_in(journal)
    bad.unlink()

    outcome = flow.run(range(N), journal=journal)

    assert outcome.n_skipped == n_noted
    assert set(map(int, rows.read_text().split())) == set(range(N))
    assert flow.run(range(N), journal=journal).n_skipped == N
    with pytest.raises(JournalError, match="belongs to another flow"):
        Flow(work.emitting, work.inc).on(pool).run(range(N), journal=journal)
    with pytest.raises(JournalError, match="would empty its file"):
        Flow(work.inc).xcut("db", Write(rows)).on(pool).run(range(N), journal=tmp_path / "other")
