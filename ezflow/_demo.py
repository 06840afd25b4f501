"""The main job of ``python -m ezflow``: analyse a folder of Python source on the pool, then serially, and compare.

One file that is broken on purpose goes with the others, so that the report shows what becomes of an error.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import sysconfig
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TextIO

from . import __version__
from ._cpus import usable_cpus
from ._source import FileFacts, measure_file
from .result import Result

N_SHOWN = 5  # rows in each ranking; chosen so that the report fits on one screen
SKIPPED = {"__pycache__", "site-packages", "dist-packages", "node_modules"}
BROKEN = "def broken_on_purpose(:\n    return 'the pool goes on'\n"


class DemoError(Exception):
    """The job cannot start; the text says why and what to do."""


@dataclass(slots=True)
class Findings:
    """What a run over all files gave: facts of the good ones, errors of the others, and its wall time in s."""

    facts: dict[str, FileFacts] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, path: str, result: Result[FileFacts]) -> None:
        """Keep what became of one file."""
        if isinstance(result.err, Exception):
            self.errors[path] = result.err
        else:
            self.facts[path] = result.unwrap()

    def total(self, name: str) -> int:
        """Sum one count over all files."""
        return sum(getattr(facts, name) for facts in self.facts.values())


def run_demo(
    path: str | None,
    workers: int | None,
    serial: bool,
    start_method: str | None,
    out: TextIO,
    log: TextIO,
) -> int:
    """Analyse a folder, print the report to `out` and progress to `log`; give the exit code.

    0 when every file was either measured or found faulty, 1 when a call was lost or the two runs differ.
    """
    if workers is not None and workers < 1:
        raise DemoError(f"--workers is {workers}, but the pool needs at least 1.")
    root = os.path.abspath(path) if path is not None else sysconfig.get_paths()["stdlib"]
    unreadable: dict[str, Exception] = {}
    files = find_sources(root, unreadable)
    n_workers = min(workers if workers is not None else usable_cpus(), max(1, len(files)))
    with tempfile.TemporaryDirectory(prefix="ezflow-demo-") as folder:
        broken = os.path.join(folder, "broken_on_purpose.py")
        with open(broken, "w", encoding="utf-8") as file:
            file.write(BROKEN)
        jobs = largest_first([*files, broken])
        with_pool = run_on_pool(jobs, n_workers, start_method, log)
        alone = run_serially(jobs, log) if serial else None
    on_purpose = with_pool.errors.pop(broken, None)
    with_pool.errors.update(unreadable)
    print_report(out, root, with_pool)
    print_errors(out, root, with_pool.errors)
    print_broken(out, on_purpose)
    print_times(out, with_pool, alone, n_workers)
    lost = [error for error in with_pool.errors.values() if not is_finding(error)]
    same = alone is None or alone.facts == with_pool.facts
    if not same:
        print("The pool and the serial run differ: that is a bug, please report it.", file=out)
    return 0 if same and not lost and isinstance(on_purpose, SyntaxError) else 1


def find_sources(root: str, unreadable: dict[str, Exception]) -> list[str]:
    """List the ``.py`` files of a folder and those below it; folders that cannot be read go to `unreadable`.

    Hidden folders and installed packages inside are left out. A single file is a list of one.
    """
    if os.path.isfile(root):
        return [root]
    if not os.path.exists(root):
        raise DemoError(
            f"{root} does not exist. Give a folder of Python files, or none for the standard library."
        )
    if not os.path.isdir(root):
        raise DemoError(f"{root} is neither a file nor a folder. Give a folder of Python files.")

    def note(error: OSError) -> None:
        unreadable[str(error.filename)] = error

    found: list[str] = []
    for folder, names, files in os.walk(root, onerror=note):
        names[:] = sorted(name for name in names if name not in SKIPPED and not name.startswith("."))
        found += [os.path.join(folder, name) for name in sorted(files) if name.endswith(".py")]
    if root in unreadable:
        raise DemoError(
            f"{root} cannot be read: {unreadable[root]}. Change its permissions or choose another folder."
        )
    if not found:
        raise DemoError(f"{root} holds no .py file, so there is nothing to analyse. Give another folder.")
    return found


def largest_first(files: Iterable[str]) -> list[str]:
    """Sort by falling size, so that no worker starts the longest file last while the others stand idle."""

    def nbytes(path: str) -> int:
        try:
            return os.stat(path).st_size
        except OSError:
            return 0

    return sorted(files, key=nbytes, reverse=True)


def run_on_pool(files: list[str], n_workers: int, start_method: str | None, log: TextIO) -> Findings:
    """Stream the files through a flow on a pool; the time includes starting and stopping the pool."""
    from . import Flow, ProcessPoolExecutor

    context = None if start_method is None else multiprocessing.get_context(start_method)
    started = time.perf_counter()
    findings = Findings()
    flow = Flow(measure_file).results().unordered().progress("pool", always=True, file=log)
    with (
        ProcessPoolExecutor(n_workers, mp_context=context) as pool,
        flow.on(pool).stream(files) as stream,  # Ctrl-C: what nobody will read is dropped
    ):
        for result in stream:
            findings.add(result.unwrap().path if result else result.item, result)
    findings.seconds = time.perf_counter() - started
    return findings


def run_serially(files: list[str], log: TextIO) -> Findings:
    """Measure every file in this process: the same function, the same order, no pool."""
    from ._progress import bar_for

    started = time.perf_counter()
    findings = Findings()
    with bar_for("serial", len(files), log) as bar:
        for path in files:
            result = Result.capture(measure_file, path)
            bar.tick(failed=not result)
            findings.add(path, result)
    findings.seconds = time.perf_counter() - started
    return findings


def is_finding(error: Exception) -> bool:
    """Tell a fault of the file (a finding) from a fault of the run."""
    # ValueError: a NUL byte on 3.11, UnicodeDecodeError; RecursionError, MemoryError: nested too deeply to parse
    return isinstance(error, SyntaxError | ValueError | OSError | RecursionError | MemoryError)


def print_report(out: TextIO, root: str, findings: Findings) -> None:
    """Print the totals and the two rankings."""
    print(f"ezflow {__version__}, Python {sys.version.split()[0]}\n{_shown(root)}\n", file=out)
    rows = [("files", len(findings.facts) + len(findings.errors)), ("not measured", len(findings.errors))]
    rows += [(name, findings.total(name)) for name in ("lines", "functions", "classes", "branches")]
    for name, count in rows:
        print(f"{name:<14}{count:>12,}", file=out)
    documentable = findings.total("documentable")
    if documentable:
        share = findings.total("documented") / documentable
        print(f"{'docstrings':<14}{share:>12.0%}  of modules, classes and functions", file=out)

    def by_lines(facts: FileFacts) -> int:
        return facts.lines

    _print_ranking(
        out,
        "largest files, lines",
        (
            (facts.lines, _shown(facts.path, root))
            for facts in sorted(findings.facts.values(), key=by_lines)[::-1]
        ),
    )
    functions = [(one, facts.path) for facts in findings.facts.values() for one in facts.most_complex]
    functions.sort(reverse=True)
    _print_ranking(
        out,
        "most complex functions, branches + 1",
        ((one.complexity, f"{one.name}  {_shown(path, root)}:{one.line}") for one, path in functions),
    )


def print_errors(out: TextIO, root: str, errors: dict[str, Exception]) -> None:
    """Print the files that could not be measured, and why."""
    if not errors:
        return
    print(f"\nnot measured: {len(errors)}", file=out)
    for path in sorted(errors)[: 2 * N_SHOWN]:
        print(f"  {_shown(path, root)}\n    {_last_line(errors[path])}", file=out)
    if len(errors) > 2 * N_SHOWN:
        print(f"  and {len(errors) - 2 * N_SHOWN} more", file=out)


def print_broken(out: TextIO, error: Exception | None) -> None:
    """Print what came back for the file that was broken on purpose."""
    print("\nbroken on purpose, to show what an error looks like", file=out)
    if error is None:
        print("  broken_on_purpose.py gave no error: that is a bug, please report it.", file=out)
        return
    for frame in traceback.extract_tb(error.__traceback__)[-2:]:  # the worker's, where the error was raised
        print(f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}', file=out)
    print(f"  {_last_line(error)}", file=out)


def print_times(out: TextIO, with_pool: Findings, alone: Findings | None, n_workers: int) -> None:
    """Print the wall times, and their ratio when both runs were made."""
    plural = "worker" if n_workers == 1 else "workers"
    print(f"\npool    {with_pool.seconds:8.2f} s  {n_workers} {plural}, start and stop included", file=out)
    if alone is not None:
        print(f"serial  {alone.seconds:8.2f} s", file=out)
        print(f"speed-up{alone.seconds / with_pool.seconds:8.2f} x  on {usable_cpus()} usable CPUs", file=out)


def _print_ranking(out: TextIO, title: str, rows: Iterator[tuple[int, str]]) -> None:
    """Print the first rows of a ranking; nothing when there are none."""
    first = list(islice(rows, N_SHOWN))
    if first:
        print(f"\n{title}", file=out)
    for count, label in first:
        print(f"{count:>14,}  {label}", file=out)


def _last_line(error: BaseException) -> str:
    """Give an error as the last line of its traceback would."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _shown(path: str, root: str | None = None) -> str:
    """Give a path as it can be printed, relative to `root` if it lies there."""
    if root is not None and path.startswith(root + os.sep):
        path = os.path.relpath(path, root)
    return path.encode(errors="backslashreplace").decode()
