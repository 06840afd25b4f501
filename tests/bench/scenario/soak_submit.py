"""One million submits with a bounded number of futures outstanding: memory stays flat.

``python -m tests.bench.scenario.soak_submit [--n N] [--outstanding K] [--method METHOD] [--standard]`` prints
memory of parent and workers every tenth of the way and exits with 1 if the second half used more than the first.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

from tests.bench.compare.work import same
from tests.bench.scenario.census import census, descendants

LIMIT_MB = 5.0  # chosen: growth of parent or of all workers together between tenths 2 and 10


def rss_mb(pids: set[int]) -> float:
    """Return the resident memory of processes in MB."""
    pages = 0
    for pid in pids:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--outstanding", type=int, default=1000)
    parser.add_argument("--method", default="forkserver", choices=("fork", "forkserver", "spawn"))
    parser.add_argument("--standard", action="store_true", help="the standard class, to check this script")
    options = parser.parse_args()
    if options.standard:
        from concurrent.futures import ProcessPoolExecutor
    else:
        from ezflow import ProcessPoolExecutor  # type: ignore[assignment]

    marks = []
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(options.method)) as pool:
        waiting: collections.deque[tuple[int, Any]] = collections.deque()
        start = time.perf_counter()
        for i in range(options.n):
            if len(waiting) >= options.outstanding:
                number, future = waiting.popleft()
                if future.result() != number:
                    raise AssertionError(f"call {number} gave something else")
            waiting.append((i, pool.submit(same, i)))
            if (i + 1) % (options.n // 10) == 0:
                marks.append((rss_mb({os.getpid()}), rss_mb(descendants(os.getpid()))))
                rate = (i + 1) / (time.perf_counter() - start)
                print(
                    f"{i + 1:9}  parent {marks[-1][0]:7.1f} MB  children {marks[-1][1]:7.1f} MB  {rate:8.0f}/s",
                    flush=True,
                )
        for number, future in waiting:
            if future.result() != number:
                raise AssertionError(f"call {number} gave something else")
    print(f"after shutdown  {census().row()}")
    grown = [marks[-1][k] - marks[1][k] for k in (0, 1)]
    print(f"growth from 20 % to 100 %: parent {grown[0]:+.1f} MB, children {grown[1]:+.1f} MB")
    return 1 if max(grown) > LIMIT_MB else 0


if __name__ == "__main__":
    raise SystemExit(main())
