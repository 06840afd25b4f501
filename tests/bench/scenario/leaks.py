"""10 000 calls, 200 pools made and dropped, 100 killed workers: nothing may grow.

``python -m tests.bench.scenario.leaks [--method METHOD] [--standard]`` prints what the program holds before and
after each part and exits with 1 if processes, threads, descriptors or shared-memory entries grew, or memory by
more than the limit.  Each part runs once before it is counted, so that what is made once (a fork server, a
resource tracker, imported modules) does not count as growth.
"""

# ruff: noqa: RUF001 - the sign of multiplication is meant
from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tests.bench.compare.work import same
from tests.bench.scenario.census import Census, census

RSS_LIMIT_MB = 8.0  # chosen: allocator noise of a Python process is 1-3 MB here


def calls(make: Callable[[], Any], n: int) -> None:
    """One pool, `n` calls in bursts of 500, then shutdown."""
    with make() as pool:
        for at in range(0, n, 500):
            futures = [pool.submit(same, (at, "x" * 100)) for _ in range(500)]
            for future in futures:
                future.result()


def pools(make: Callable[[], Any], n: int) -> None:
    """Make `n` pools that run one call each; every other one is dropped without shutdown."""
    for i in range(n):
        pool = make()
        pool.submit(same, i).result()
        if i % 2:
            pool.shutdown()
        del pool


def kills(make: Callable[[], Any], n: int) -> None:
    """Kill `n` workers in the middle of their call."""
    pool = make()
    for _ in range(n):
        with contextlib.suppress(BrokenProcessPool):
            pool.submit(_die).result()
        try:
            pool.submit(same, 1).result()
        except BrokenProcessPool:  # the standard pool never works again
            pool.shutdown()
            pool = make()
    pool.shutdown()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def growth(before: Census, after: Census) -> list[str]:
    """Name what grew."""
    grown = [
        f"{name} {getattr(before, name)} → {getattr(after, name)}"
        for name in ("processes", "threads", "descriptors", "shm")
        if getattr(after, name) > getattr(before, name)
    ]
    if after.rss_mb - before.rss_mb > RSS_LIMIT_MB:
        grown.append(f"RSS {before.rss_mb:.1f} → {after.rss_mb:.1f} MB")
    return grown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="forkserver", choices=("fork", "forkserver", "spawn"))
    parser.add_argument("--standard", action="store_true", help="the standard class, to check this script")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full counts")
    options = parser.parse_args()
    if options.standard:
        from concurrent.futures import ProcessPoolExecutor
    else:
        from ezflow import ProcessPoolExecutor  # type: ignore[assignment]
    context = multiprocessing.get_context(options.method)

    def make() -> Any:
        return ProcessPoolExecutor(2, mp_context=context)

    bad = []
    for name, part, n in (("calls", calls, 10_000), ("pools", pools, 200), ("kills", kills, 100)):
        n = max(1, int(n * options.scale))
        part(make, max(1, n // 10))
        before = census()
        part(make, n)
        after = census()
        print(
            f"{name} × {n}, {options.method}\n  before  {before.row()}\n  after   {after.row()}", flush=True
        )
        bad += [f"{name}: {what}" for what in growth(before, after)]
    print("grew: " + "; ".join(bad) if bad else "nothing grew")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
