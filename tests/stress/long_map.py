"""A million calls through one `map`, each a call of its own: in order, in constant memory.

python -m tests.stress.long_map [--scale 1.0] [--method forkserver]
"""

from __future__ import annotations

import argparse
import multiprocessing
import time

import psutil

from ezflow import ProcessPoolExecutor


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--method", default="forkserver")
    options = parser.parse_args()
    n = int(1_000_000 * options.scale)
    with ProcessPoolExecutor(2, multiprocessing.get_context(options.method)) as pool:
        start = time.perf_counter()
        early = late = 0
        for i, found in enumerate(pool.map(abs, range(0, -n, -1), buffersize=2_000)):
            assert found == i
            if i == n // 10:
                early = memory_of_all(pool)
            elif i == n - 1:
                late = memory_of_all(pool)
        seconds = time.perf_counter() - start
    print(f"{n:,} calls in {seconds:.0f} s; memory went from {early / 1e6:.1f} to {late / 1e6:.1f} MB")
    assert late < early + 10e6


def memory_of_all(pool: ProcessPoolExecutor) -> int:
    """Give the resident bytes of this process and all workers."""
    return sum(psutil.Process(pid).memory_info().rss for pid in [psutil.Process().pid, *pool._processes])


if __name__ == "__main__":
    main()
