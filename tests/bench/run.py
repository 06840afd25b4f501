"""Print one table: each row a kind of work, each column a library, medians of several fresh processes.

``python -m tests.bench [--quick] [--row NAME] [--library NAME] [--method METHOD] [--json FILE]``

Every cell runs in its own fresh process, which warms up and prints JSON.  The libraries take turns, A B C A B C,
so that a machine that slows down slows all of them.  A ratio is the median of the ratios of the rounds.
"""

# ruff: noqa: RUF001 - the sign of multiplication is meant
from __future__ import annotations

import argparse
import compileall
import contextlib
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # python tests/bench/run.py
    sys.path.insert(0, str(ROOT))

from tests.bench.compare.adapters import ADAPTERS, OF_GRAPHS  # noqa: E402

LIBRARIES = tuple(name for name in ADAPTERS if name not in OF_GRAPHS)
LIMIT = 180.0  # s for one cell; a library that needs more shows "-" and the reason below the table


@dataclass(frozen=True, slots=True)
class Goal:
    """What a row must reach: `compare` says so of ezflow's value and the peer's, of one round."""

    peer: str  # whose value is meant; "" compares ezflow's value with `bound` itself
    sign: str  # ">=" or "<="
    bound: float
    stretch: float | None = None
    offset: bool = False  # the bound is added to the peer's value instead of multiplied

    def text(self) -> str:
        sign = "≥" if self.sign == ">=" else "≤"
        stretch = f" (stretch {self.stretch:g})" if self.stretch else ""
        if not self.peer:
            return f"{sign} {self.bound:g}"
        if self.offset:
            return f"{sign} {self.peer} + {self.bound:g}"
        return f"{sign} {self.bound:g} × {self.peer}{stretch}"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    name: str
    title: str
    unit: str
    command: Callable[[str, str, bool], list[str]]  # library, method, quick -> program to run
    goals: tuple[Goal, ...]
    libraries: tuple[str, ...] = LIBRARIES
    methods: tuple[str, ...] = ()  # one row for each; empty: the method of the command line
    value: str = ""  # key in the cell's JSON, the row's name by default
    needs: str = ""  # attribute of our class without which the row is for later


def cell(
    row: str, n: float, quick: float, slow: dict[str, float] | None = None
) -> Callable[[str, str, bool], list[str]]:
    """Return the command of a row measured by compare/cell.py with size `n`, or `quick` in a quick run.

    `slow` gives the size for libraries that would need minutes.
    """
    return lambda library, method, short: [
        "-m", "tests.bench.compare.cell", row, library, method, str(quick if short else (slow or {}).get(library, n))
    ]  # fmt: skip


def cold(library: str, method: str, short: bool) -> list[str]:
    return ["-m", "tests.bench.compare.cold", library, method]


def imports(library: str, method: str, short: bool) -> list[str]:
    return ["-m", "tests.bench.micro.import_time", library]


NO_LAMBDA = ("ezflow", "loky")  # the others cannot send a lambda of __main__ under forkserver and spawn
IMPORTERS = ("ezflow", "stdlib", "loky", "pebble", "mpire", "mp.Pool")

ROWS = (
    Row(
        "submit", "submit × 20 000, importable function", "calls/s", cell("submit", 20_000, 4_000),
        (Goal("stdlib", ">=", 5, 8), Goal("pebble", ">=", 2)),
    ),
    Row(
        "lambda", "the same, lambda of __main__", "calls/s", cell("lambda", 20_000, 4_000),
        (Goal("loky", ">=", 4),), libraries=NO_LAMBDA,
    ),
    Row(
        "latency", "round trip submit→result, p50", "µs", cell("latency", 3_000, 500),
        (Goal("stdlib", "<=", 0.6, 0.45),),
    ),
    Row(
        "map", "map(chunksize=1) × 20 000", "items/s", cell("map", 20_000, 4_000),
        (Goal("stdlib", ">=", 6, 10),),
    ),
    Row(
        "limit", "map with .timeout that does not fire", "items/s", cell("limit", 20_000, 4_000),
        (Goal("map", ">=", 0.67),), libraries=("ezflow",), needs="timeout",
    ),
    Row(
        "submit_limit", "submit with .timeout that does not fire", "calls/s", cell("submit_limit", 20_000, 2_000),
        (Goal("submit", ">=", 0.67),), libraries=("ezflow",), needs="timeout",
    ),
    Row(
        "array", "64 MB array there and back, warm", "MB/s", cell("array", 64e6, 8e6),
        (Goal("stdlib", ">=", 10),),
    ),
    Row(
        "shared", "20 calls that share one array of 200 MB", "s", cell("shared", 20, 4),
        (Goal("stdlib", "<=", 0.5),),
    ),
    Row(
        "cold", "first result of a cold pool", "ms", cold,
        (Goal("stdlib", "<=", 1.2),), methods=("fork", "forkserver", "spawn"),
    ),
    Row(
        "diamond", "diamond graph of 4 calls, unfused (others: by hand)", "graphs/s", cell("diamond", 5_000, 1_000, {"dask": 500, "ray": 500}),
        (Goal("stdlib", ">=", 4),), libraries=("ezflow", "stdlib", "loky", *OF_GRAPHS), needs="_begin_run",
    ),
    Row(
        "passing", "100 MB through 3 calls, unfused (others: by hand)", "ms", cell("passing", 100e6, 10e6),
        (Goal("stdlib", "<=", 0.5),), libraries=("ezflow", "stdlib", "loky", "dask"), needs="_begin_run",
    ),
    Row(
        "touched", "the same: what the parent had to touch", "MB", cell("passing", 100e6, 10e6),
        (Goal("", "<=", 1),), libraries=("ezflow", "stdlib", "loky", "dask"), needs="_begin_run",
    ),
    Row(
        "chain", "graph of 5 plain stages, call to result, p50", "µs", cell("chain", 3_000, 500),
        (Goal("latency", "<=", 1.3),), libraries=("ezflow",), needs="_begin_run",
    ),
    Row("sleeps", "4 sleeps of 50 ms on 4 warm workers", "ms", cell("sleeps", 20, 5), (Goal("", "<=", 53),)),
    Row(
        "cpu", "idle, 4 workers: CPU", "ms/s", cell("idle", 4, 2),
        (Goal("", "<=", 0.05),), value="cpu",
    ),
    Row(
        "wakes", "idle, 4 workers: wake-ups", "1/s", cell("idle", 4, 2),
        (Goal("", "<=", 0.3),), value="wakes",
    ),
    Row(
        "import", "import of the package", "ms", imports,
        (Goal("stdlib", "<=", 15, offset=True),), libraries=IMPORTERS,
    ),
    Row(
        "class", "import of its pool class", "ms", imports,
        (Goal("stdlib", "<=", 15, offset=True),), libraries=IMPORTERS,
    ),
)  # fmt: skip


@dataclass
class Line:
    """A row under one start method and what its cells gave."""

    row: Row
    method: str
    values: dict[str, list[float | None]] = field(default_factory=dict)  # library -> one value per round


def environment() -> dict[str, str]:
    """Return the environment of a cell: this checkout first, and byte code kept, as an installed package has it."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    env = {**os.environ, "PYTHONPATH": path}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    return env


def compile_ours() -> None:
    """Write the byte code of our package, as installing it would."""
    spec = importlib.util.find_spec("ezflow")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        compileall.compile_dir(folder, quiet=2)


def run_cell(command: list[str]) -> dict[str, float] | str:
    """Run one cell in a fresh process; return its values or why there are none."""
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        out, err = "", f"no end after {LIMIT:.0f} s"
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # workers that outlive their parent
        process.kill()
        process.wait()
    for text in out.splitlines():
        if text.startswith("{"):
            return json.loads(text)  # type: ignore[no-any-return]
    return (err.strip().splitlines() or [f"exit code {process.returncode}"])[-1]


def measure(lines: list[Line], libraries: Sequence[str], rounds: int, quick: bool) -> list[str]:
    """Fill `lines`; return what went wrong."""
    trouble: dict[str, str] = {}
    done: dict[tuple[str, ...], list[dict[str, float] | str]] = {}  # rows may share a cell
    for line in lines:
        mine = [library for library in line.row.libraries if library in libraries]
        for turn in range(rounds):
            for library in mine:
                command = line.row.command(library, line.method, quick)
                runs = done.setdefault(tuple(command), [])
                if len(runs) <= turn:
                    failed = runs and isinstance(runs[-1], str)
                    runs.append(runs[-1] if failed else run_cell(command))
                got = runs[turn]
                key = line.row.value or line.row.name
                line.values.setdefault(library, []).append(None if isinstance(got, str) else got[key])
                if isinstance(got, str):
                    trouble[f"{line.row.name} {line.method} {library}"] = got
        print(f"\r{line.row.name} {line.method}".ljust(40), end="", file=sys.stderr, flush=True)
    print("\r".ljust(41), end="\r", file=sys.stderr)
    return [f"{where}: {why}" for where, why in trouble.items()]


def known(values: list[float | None] | None) -> list[float]:
    return [value for value in values or [] if value is not None]


def ratio(a: list[float | None] | None, b: list[float | None] | None) -> float | None:
    """Return the median of the ratios of `a` to `b`, round by round."""
    pairs = [(x, y) for x, y in zip(a or [], b or [], strict=False) if x is not None and y]
    return statistics.median(x / y for x, y in pairs) if pairs else None


def verdict(goal: Goal, line: Line, lines: list[Line]) -> tuple[str, bool | None]:
    """Say how far ezflow is from a goal, and whether it is met (None: could not be measured)."""
    ours = line.values.get("ezflow")
    if not known(ours):
        return "-", None
    if goal.peer in ADAPTERS:
        theirs = line.values.get(goal.peer)
    else:  # another row of ours
        theirs = next((other.values.get("ezflow") for other in lines if other.row.name == goal.peer), None)
    if not goal.peer:
        value, limit, shown = statistics.median(known(ours)), goal.bound, ""
    elif not known(theirs):
        return "-", None
    elif goal.offset:
        value = statistics.median(known(ours)) - statistics.median(known(theirs))
        limit, shown = goal.bound, f"{value:+.1f}"
    else:
        quotient = ratio(ours, theirs)
        if quotient is None:
            return "-", None
        value, limit, shown = quotient, goal.bound, f"{quotient:.2f} ×"
    met = value >= limit if goal.sign == ">=" else value <= limit
    if met and goal.stretch is not None:
        far = value >= goal.stretch if goal.sign == ">=" else value <= goal.stretch
        shown += " stretch" if far else ""
    return shown.strip(), met


def number(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:.1f} k"
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def shown(values: list[float | None] | None) -> str:
    """Return median and half the interquartile range in per cent."""
    numbers = known(values)
    if not numbers:
        return "-"
    middle = statistics.median(numbers)
    if len(numbers) < 3 or not middle:
        return number(middle)
    low, _mid, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return f"{number(middle)} ±{50 * (high - low) / middle:.0f}%"


def table(lines: list[Line], libraries: Sequence[str]) -> tuple[str, list[dict[str, object]]]:
    """Return the table as text and as records."""
    head = ["work", "unit", *libraries, "goals", "reached", "met"]
    body: list[list[str]] = []
    records: list[dict[str, object]] = []
    for line in lines:
        row = line.row
        title = f"{row.title}, {line.method}" if row.methods else row.title
        goals = [(goal, *verdict(goal, line, lines)) for goal in row.goals]
        met = [answer for _goal, _text, answer in goals]
        word = "later" if row.needs and None in met else "-" if None in met else "yes" if all(met) else "NO"
        body.append(
            [
                title,
                row.unit,
                *(shown(line.values.get(library)) for library in libraries),
                "; ".join(goal.text() for goal, _text, _answer in goals),
                "; ".join(text for _goal, text, _answer in goals if text) or " ",
                word,
            ]
        )
        records.append(
            {
                "row": row.name,
                "method": line.method,
                "unit": row.unit,
                "values": line.values,
                "goals": [{"goal": goal.text(), "reached": text, "met": ok} for goal, text, ok in goals],
            }
        )
    widths = [max(len(cells[i]) for cells in [head, *body]) for i in range(len(head))]
    lines_out = ["  ".join(cell.ljust(width) for cell, width in zip(head, widths, strict=True)).rstrip()]
    lines_out.append("  ".join("-" * width for width in widths))
    lines_out += [
        "  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip() for cells in body
    ]
    return "\n".join(lines_out), records


def circumstances() -> dict[str, object]:
    """Return what a reader of the figures must know: machine, versions, commit, load."""

    def version(name: str) -> str:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return "-"

    def git(*arguments: str) -> str:
        try:
            done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        except OSError:
            return ""
        return done.stdout.strip()

    cpu = ""
    with contextlib.suppress(OSError):
        names = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else ""
    dirty = "+" if git("status", "--porcelain", "--", ":/ezflow") else ""
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": f"{cpu} × {os.cpu_count()}",
        "commit": (git("rev-parse", "--short", "HEAD") or "-") + dirty,
        "versions": {a.distribution: version(a.distribution) for a in ADAPTERS.values() if a.distribution},
        "load": [round(x, 2) for x in os.getloadavg()],
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, write JSON; the exit code is 0 whatever the figures: wall time is not gated."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one small round: does everything run?")
    parser.add_argument("--row", action="append", choices=[row.name for row in ROWS], help="only this row")
    parser.add_argument("--library", action="append", choices=tuple(ADAPTERS), help="only this library")
    parser.add_argument("--method", default="forkserver", choices=("fork", "forkserver", "spawn"))
    parser.add_argument("--rounds", type=int, default=5, help="fresh processes per cell")
    parser.add_argument("--json", metavar="FILE", help="write figures and circumstances there")
    options = parser.parse_args(arguments)

    rounds = 1 if options.quick else options.rounds
    rows = [row for row in ROWS if not options.row or row.name in options.row]
    lines = [Line(row, method) for row in rows for method in row.methods or (options.method,)]
    measured = {name for row in rows for name in row.libraries}
    libraries = tuple(name for name in ADAPTERS if name in measured and name in (options.library or measured))
    before = circumstances()
    compile_ours()
    ready = [line for line in lines if not line.row.needs or has(line.row.needs)]
    trouble = measure(ready, libraries, rounds, options.quick)

    text, records = table(lines, libraries)
    after = [round(x, 2) for x in os.getloadavg()]
    versions = ", ".join(f"{name} {v}" for name, v in before["versions"].items())  # type: ignore[attr-defined]
    print(f"\nezflow bench, start method {options.method} (loky: its own), {rounds} fresh processes per cell")
    print(f"{before['time']}  commit {before['commit']}  Python {before['python']}  {before['platform']}")
    print(f"{before['cpu']}  load {before['load']} → {after}  {versions}\n")
    print(text)
    if trouble:
        print("\nNot measured:\n" + "\n".join(f"  {why}" for why in trouble))
    if options.json:
        record = {**before, "load after": after, "method": options.method, "rounds": rounds, "rows": records}
        Path(options.json).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return 0


def has(attribute: str) -> bool:
    """Tell whether our class has an attribute yet."""
    try:
        from ezflow import ProcessPoolExecutor
    except ImportError:
        return False
    return hasattr(ProcessPoolExecutor, attribute)


if __name__ == "__main__":
    raise SystemExit(main())
