"""How calls per second grow with workers, and bytes per second with the size of what is sent.

``python -m tests.bench.scaling [--quick]`` prints, for this library and the standard pool in the same run: trivial
calls per second with 1, 2, 4 and 8 workers; and for payloads from 100 B to 256 MB, there and back, milliseconds per
call and MB/s, with how the bytes travel here.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import multiprocessing
import os
import statistics
import sys
import time
from typing import Any

import numpy as np

from ezflow import ProcessPoolExecutor
from ezflow._memory.cargo import ASIDE_FROM
from ezflow._memory.segments import APART_FROM
from tests.bench.compare.work import same

SIZES = (100, 1_000, 10_000, 60_000, 100_000, 1_000_000, 10_000_000, 64_000_000, 256_000_000)
KINDS = {"ezflow": ProcessPoolExecutor, "stdlib": concurrent.futures.ProcessPoolExecutor}


def calls_per_second(kind: Any, workers: int, n: int) -> float:
    with kind(workers, multiprocessing.get_context("forkserver")) as pool:
        for future in [pool.submit(same, i) for i in range(500)]:
            future.result()
        start = time.perf_counter()
        for future in [pool.submit(same, i) for i in range(n)]:
            future.result()
        return n / (time.perf_counter() - start)


def milliseconds(pool: Any, size: int, rounds: int) -> float:
    payload = np.zeros(size, dtype=np.uint8)
    times = []
    for i in range(rounds):
        payload[0] = i
        start = time.perf_counter()
        back = pool.submit(same, payload).result()
        times.append(time.perf_counter() - start)
        assert back[0] == i
        del back
    return 1e3 * statistics.median(times[1:])


def way(size: int) -> str:
    if size < ASIDE_FROM:
        return "in the message"
    return "shared memory" if size < APART_FROM else "a segment of its own"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    print(
        time.strftime("%Y-%m-%d"),
        "Python",
        sys.version.split()[0],
        f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}",
    )
    print("\nworkers   ezflow calls/s   stdlib calls/s   ratio")
    for workers in (1, 2, 4, 8):
        ours, theirs = (
            calls_per_second(kind, workers, 2_000 if quick else 10_000) for kind in KINDS.values()
        )
        print(f"{workers:7}   {ours:14,.0f}   {theirs:14,.0f}   {ours / theirs:5.1f}")
    print("\n      bytes   ezflow ms   stdlib ms   ratio   ezflow MB/s   way")
    with (
        ProcessPoolExecutor(1) as ours_pool,
        KINDS["stdlib"](1, multiprocessing.get_context("forkserver")) as std_pool,
    ):
        for size in SIZES[:-2] if quick else SIZES:
            rounds = 30 if size < 5_000_000 else 6
            a, b = milliseconds(ours_pool, size, rounds), milliseconds(std_pool, size, rounds)
            print(f"{size:11,}   {a:9.2f}   {b:9.2f}   {b / a:5.1f}   {2e-3 * size / a:11,.0f}   {way(size)}")


if __name__ == "__main__":
    main()
