"""Run CPython's process-pool tests on our class, under every start method, and compare with the expected list.

``python -m tests.conformance [--method fork|forkserver|spawn|all] [-k TEXT] [--class standard]``

Each (module, start method) runs in a process of its own, a few side by side.  A test that hangs is named, its
process killed, and the rest of the module goes on in a new one.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # python tests/conformance/run.py
    sys.path.insert(0, str(ROOT))

from tests.conformance import expected, suite  # noqa: E402

# A test may run this long (s).  The slowest one of CPython takes 9 s on an idle machine.
LIMIT = 120.0

EVERY = (*suite.METHODS, suite.FUTURE)


@dataclass
class Job:
    """One module under one start method, and what came of it."""

    module: str
    method: str
    outcomes: dict[str, tuple[str, str, float]] = field(default_factory=dict)
    tests: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)


def run_job(job: Job, options: argparse.Namespace, overlay: list[str]) -> Job:
    """Run one job to its end, in as many processes as its hanging or crashing tests demand."""
    started = time.monotonic()
    while True:
        with tempfile.TemporaryDirectory() as folder:
            results, log = Path(folder, "results"), Path(folder, "log")
            command = [sys.executable, "-m", "tests.conformance.child", "--module", job.module]
            command += ["--method", job.method, "--class", options.cls, "--results", str(results)]
            command += ["--limit", str(options.limit), "--pattern", options.k]
            command += [f"--done={name}" for name in job.outcomes] + ["--borrowed"] * bool(overlay)
            path = os.pathsep.join([*overlay, str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
            with log.open("wb") as output:
                process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env={**os.environ, "PYTHONPATH": path},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
                code = wait_progress(process, results, options.limit + 30.0)
            finished = read_results(job, results, code, log.read_text(errors="replace"))
            if options.v:
                sys.stdout.write(log.read_text(errors="replace"))
        if finished:
            break
    bad = Counter(outcome for outcome, _detail, _seconds in job.outcomes.values())
    counts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(bad.items())) or "no tests"
    print(f"  {job.module:22} {job.method:11} {counts}  ({time.monotonic() - started:.0f} s)", flush=True)
    return job


def wait_progress(process: subprocess.Popen[bytes], results: Path, patience: float) -> int:
    """Wait for `process`; kill its group when its results file stands still for `patience` s."""
    size, since = -1, time.monotonic()
    try:
        while True:
            try:
                return process.wait(timeout=1.0)
            except subprocess.TimeoutExpired:
                now = results.stat().st_size if results.exists() else 0
                if now != size:
                    size, since = now, time.monotonic()
                elif time.monotonic() - since > patience:
                    return -signal.SIGKILL
    finally:
        # The group outlives its leader when a pool left workers behind.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def read_results(job: Job, results: Path, code: int, log: str) -> bool:
    """Add what one process wrote to `job`; say whether the module is finished."""
    running, finished = None, False
    events = results.read_text().splitlines() if results.exists() else []
    for event in map(json.loads, events):
        match event["event"]:
            case "tests":
                job.tests = event["ids"]
            case "start":
                running = event["id"]
            case "end":
                job.outcomes[event["id"]] = (event["outcome"], event["detail"], event["seconds"])
                running = None
            case "fixture":
                job.trouble.append(f"{event['id']}: {event['detail']}")
            case "finished":
                finished = True
    if finished:
        if code != 0:
            job.trouble.append(
                f"{job.module} ended with exit code {code} after its last test:\n{log[-3000:]}"
            )
        return True
    if running is not None:
        kind = "hang" if "Timeout (" in log or code == -signal.SIGKILL else "crash"
        job.outcomes[running] = (kind, f"exit code {code}\n{log[-6000:]}", 0.0)
        return False
    where = "between its tests or in its clean-up" if events else "before its first test"
    job.trouble.append(f"{job.module} ended {where}, exit code {code}:\n{log[-3000:]}")
    return True


def judge(
    jobs: list[Job], cls: str, borrowed: bool, filtered: bool
) -> tuple[list[str], list[str], Counter[str]]:
    """Compare outcomes with the expected list: (lines on differences, lines on failures, counts)."""
    differences, failures, counts = [], [], Counter[str]()
    entries = expected.differences(cls, borrowed)
    seen: set[tuple[str, str]] = set()  # (entry's test pattern, method)
    for job in jobs:
        failures += [f"{job.method}: {text}" for text in job.trouble]
        for name in job.tests:
            outcome, detail, _seconds = job.outcomes.get(name, ("lost", "never ended", 0.0))
            entry = next((e for e in entries if e.covers(name, job.method)), None)
            if entry is not None:
                seen.add((entry.test, job.method))
            if entry is not None and outcome in ("pass", "skip"):
                failures.append(f"{job.method} {name}: listed as a difference but ended in: {outcome}")
            elif entry is not None:
                counts["differ"] += 1
                differences.append(f"{job.method:11} {name} ({outcome}): {entry.reason}")
            elif outcome == "pass":
                counts["passed"] += 1
            elif outcome == "skip":
                counts["skipped"] += 1
            else:
                failures.append(f"{job.method} {name}: {outcome}\n{detail}")
    if not filtered:
        methods = {job.method for job in jobs}
        for entry in entries:
            for method in methods.intersection(entry.methods):
                if (entry.test, method) not in seen:
                    failures.append(f"{method} {entry.test}: listed as a difference, and no such test exists")
    counts["failed"] = len(failures)
    return differences, failures, counts


def main(arguments: list[str] | None = None) -> int:
    """Run the suite; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=(*EVERY, "all"), default="all")
    parser.add_argument(
        "-k", default="", metavar="TEXT", help="only tests whose module.Class.test holds TEXT"
    )
    parser.add_argument("--class", dest="cls", choices=suite.CLASSES, default="ezflow")
    parser.add_argument("--suite", metavar="FOLDER", help=f"another interpreter's test/{suite.NAME}")
    parser.add_argument("--jobs", type=int, default=3, help="modules run side by side")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds one test may take")
    parser.add_argument("--json", metavar="FILE", help="write every outcome there")
    parser.add_argument("-v", action="store_true", help="show what the tests printed")
    options = parser.parse_args(arguments)

    python = f"{platform.python_implementation()} {platform.python_version()}"
    try:
        folder, borrowed = suite.find_suite(options.suite)
    except suite.NoSuite as reason:
        print(f"conformance: SKIPPED on {python}: {reason}")
        return 1 if reason.known else 0
    origin = f"borrowed from {folder}" if borrowed else str(folder)
    print(f"conformance of {options.cls} on {python}, suite {origin}", flush=True)

    methods = EVERY if options.method == "all" else (options.method,)
    with tempfile.TemporaryDirectory() as place:
        overlay = []
        if borrowed:
            suite.make_overlay(Path(place), folder)
            overlay = [place]
        jobs = [Job(module, method) for module, method in suite.jobs(folder, methods)]
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as runners:
            jobs = list(runners.map(lambda job: run_job(job, options, overlay), jobs))

    differences, failures, counts = judge(jobs, options.cls, borrowed, bool(options.k))
    if options.json:
        records = [
            {"method": job.method, "test": name, "outcome": outcome, "seconds": seconds, "detail": detail}
            for job in jobs
            for name, (outcome, detail, seconds) in job.outcomes.items()
        ]
        Path(options.json).write_text(json.dumps(records, indent=1) + "\n")
    report(jobs, differences, failures, counts)
    ran = counts["passed"] + counts["differ"] + counts["failed"]
    return 1 if failures or not ran else 0


def report(jobs: list[Job], differences: list[str], failures: list[str], counts: Counter[str]) -> None:
    """Print counts per start method, the differences with their reasons, the failures, and the closing line."""
    kinds = ("pass", "skip", "fail", "error", "altered", "hang", "crash", "lost")
    print("\n" + "start method".ljust(14) + "".join(kind.rjust(9) for kind in ("tests", *kinds)))
    for method in dict.fromkeys(job.method for job in jobs):
        mine = [job for job in jobs if job.method == method]
        by_kind = Counter(job.outcomes.get(name, ("lost",))[0] for job in mine for name in job.tests)
        cells = (sum(by_kind.values()), *(by_kind[kind] for kind in kinds))
        print(method.ljust(14) + "".join(str(cell).rjust(9) for cell in cells))
    if differences:
        print("\nDeliberate differences:")
        print("\n".join(f"  {line}" for line in sorted(differences)))
    if failures:
        print("\nFAILURES")
        print("\n".join(f"--- {line}" for line in failures))
    print(
        f"\n{counts['passed']} passed, {counts['failed']} failed, "
        f"{counts['differ']} expected differences, {counts['skipped']} skipped"
    )


if __name__ == "__main__":
    raise SystemExit(main())
