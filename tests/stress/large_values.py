"""Large values for a long time: equal data, nothing left, memory flat.

python -m tests.stress.large_values [--scale 1.0] [--method forkserver]
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
from pathlib import Path

import numpy as np

from ezflow import ProcessPoolExecutor, put
from ezflow._memory import segments
from tests.contract import shapes


def memory_of_all(pool: ProcessPoolExecutor) -> int:
    """Give the proportional share of memory of this process and all workers, in bytes."""
    total = 0
    for pid in [os.getpid(), *pool._processes]:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def broadcast(pool: ProcessPoolExecutor, n: int) -> None:
    """Send 50 MB to all workers, `n` times, by itself and by a handle, and look at every byte."""
    array = np.ones(50_000_000, dtype=np.uint8)
    most = 0
    for i in range(n):
        array[i] = 2
        for what in (array, put(array)):
            sums = set(pool.map(shapes.total, [what] * pool._max_workers))
            assert sums == {50_000_001.0 + i}, sums
        if i == n // 10:
            most = memory_of_all(pool)
    grown = memory_of_all(pool) - most
    print(f"broadcast of 50 MB, {n} times: memory grew by {grown / 1e6:.1f} MB")
    assert grown < 150e6  # what is lent at the moment comes and goes


def echoes(pool: ProcessPoolExecutor, n: int) -> None:
    """Arrays of all sizes there and back."""
    rng = np.random.default_rng(1)
    for i in range(n):
        array = np.full(int(2 ** rng.uniform(10, 25)), i % 256, dtype=np.uint8)
        assert np.array_equal(pool.submit(shapes.echo, array).result(), array)
    print(f"{n} arrays there and back; {segments.arena_now().n_made} segments made")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--method", default="forkserver")
    options = parser.parse_args()
    with ProcessPoolExecutor(4, multiprocessing.get_context(options.method)) as pool:
        echoes(pool, int(500 * options.scale))
        broadcast(pool, max(10, int(200 * options.scale)))
    gc.collect()
    left = [name for name in os.listdir("/dev/shm") if "ezflow" in name]
    assert not left, left
    assert not segments._open_segments, "segments are left open"
    print("nothing is left")


if __name__ == "__main__":
    main()
