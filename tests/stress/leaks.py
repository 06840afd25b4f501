"""Everything a pool can be put through, many times: processes, threads, descriptors, shared memory, RSS stay flat.

    python -m tests.stress.leaks [--scale 1.0] [--method forkserver]

Each part runs twice, shorter, before it is counted, so that what is made once (a fork server, a resource tracker, imported
modules, warm allocators) does not count as growth.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import multiprocessing
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ezflow import ProcessPoolExecutor
from ezflow.errors import PoolBroken
from tests.bench.scenario.census import census
from tests.bench.scenario.leaks import calls, growth, kills, pools
from tests.work import big, length, raise_holding_lock, square

Make = Callable[..., ProcessPoolExecutor]


def cancels(make: Make, n: int) -> None:
    """Cancel running and waiting calls."""
    with make() as pool:
        for _ in range(n):
            futures = [pool.submit(time.sleep, 60) for _ in range(6)]
            while not futures[0].running():
                time.sleep(0.0005)
            for future in futures:
                future.cancel()


def failures(make: Make, n: int) -> None:
    """Let calls fail, and keep nothing of the errors."""
    with make() as pool:
        for _ in range(n):
            assert pool.submit(raise_holding_lock).exception() is not None


def dropped_maps(make: Make, n: int) -> None:
    """Read a little of a map and drop the rest; drop the pool, too."""
    for _ in range(n):
        results = make().map(square, range(200))
        assert next(results) == 0
        del results


def broken(make: Make, n: int) -> None:
    """Make pools whose initializer raises."""
    for _ in range(n):
        pool = make(initializer=raise_holding_lock)
        with contextlib.suppress(PoolBroken):
            pool.submit(square, 2).result()
        with contextlib.suppress(PoolBroken):
            pool.submit(square, 2)


def cycles(make: Make, n: int) -> None:
    """Drop pools that only the cycle collector can free."""
    for _ in range(n):
        pool: Any = make()
        pool.me = pool
        pool.last = pool.submit(square, 3)
        del pool
    gc.collect()


def large(make: Make, n: int) -> None:
    """Send 8 MB there and back."""
    with make() as pool:
        for _ in range(n):
            assert pool.submit(length, bytes(8 << 20)).result() == 8 << 20
            assert len(pool.submit(big, 8 << 20).result()) == 8 << 20


def recycled(make: Make, n: int) -> None:
    """Replace workers again and again."""
    with make(max_tasks_per_child=2) as pool:
        assert list(pool.map(square, range(2 * n))) == [x * x for x in range(2 * n)]


PARTS: list[tuple[Callable[[Any, int], None], int]] = [
    (calls, 10_000),
    (pools, 200),
    (kills, 100),
    (cancels, 100),
    (failures, 1000),
    (dropped_maps, 50),
    (broken, 30),
    (cycles, 50),
    (large, 100),
    (recycled, 100),
]


def tell_malloc() -> None:
    """Let the C library give large blocks back at once, instead of keeping some per thread that ever allocated."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-8, 1)  # M_ARENA_MAX
        mallopt(-3, 1 << 20)  # M_MMAP_THRESHOLD, which otherwise grows with what is freed


def main() -> int:
    """Run all parts; say what grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full counts")
    parser.add_argument("--method", choices=multiprocessing.get_all_start_methods())
    options = parser.parse_args()
    tell_malloc()
    bad = []
    for method in [options.method] if options.method else multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context(method)

        def make(context: Any = context, **more: Any) -> ProcessPoolExecutor:
            return ProcessPoolExecutor(2, context, **more)

        for part, full in PARTS:
            n = max(1, int(full * options.scale))
            for _ in range(2):
                part(make, max(1, n // 4))
            before = census()
            part(make, n)
            after = census()
            print(f"{method:10} {part.__name__:12} x {n:6}  {before.row()}  →  {after.row()}", flush=True)
            # Shared memory is the whole machine's: what others do there is not our growth.
            after = replace(after, shm=before.shm)
            bad += [f"{method} {part.__name__}: {what}" for what in growth(before, after)]
    print("grew: " + "; ".join(bad) if bad else "nothing grew")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
