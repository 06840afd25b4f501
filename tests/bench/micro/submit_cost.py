"""Show where the parent's time goes per submit: a ladder of nanoseconds, each rung with one more part.

``python -m tests.bench.micro.submit_cost [--n N]``.  A profiler is too intrusive for calls of some µs, so each rung
is a loop of its own around `perf_counter_ns`, and counters of the kernel (context switches, system time) tell
what the other threads of the parent did meanwhile.
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.reduction
import pickle
import resource
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from tests.bench.compare.work import same


def per_call(body: Callable[[int], object], n: int, repeats: int = 5) -> float:
    """Return ns per call of `body`, median of some repeats, the empty loop taken off."""
    figures = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        for _i in range(n):
            pass
        empty = time.perf_counter_ns() - start
        start = time.perf_counter_ns()
        for i in range(n):
            body(i)
        figures.append((time.perf_counter_ns() - start - empty) / n)
    return statistics.median(figures)


def floor(n: int) -> None:
    """Print what the parts of any submit cost on this machine, without a pool."""
    box: deque[object] = deque()
    lock = threading.Lock()

    def locked(i: int) -> None:
        with lock:
            pass

    print("the floor, ns per call")
    for name, body in (
        ("empty function", lambda i: None),
        ("pickle.dumps((same, (i,), {}))", lambda i: pickle.dumps((same, (i,), {}), 5)),
        (
            "ForkingPickler.dumps of the same",
            lambda i: multiprocessing.reduction.ForkingPickler.dumps((same, (i,), {})),
        ),
        ("concurrent.futures.Future()", lambda i: Future()),
        ("deque.append", box.append),
        ("with lock", locked),
    ):
        print(f"  {name:40} {per_call(body, n):8.0f}")


def pool(name: str, make: Callable[[], Any], n: int) -> None:
    """Print what submit and result cost the parent, and what its threads did."""
    with make() as executor:
        for future in [executor.submit(same, i) for i in range(2000)]:
            future.result()
        submits, drains, lines = [], [], []
        for _ in range(5):
            before, cpu = resource.getrusage(resource.RUSAGE_SELF), time.process_time_ns()
            own = time.thread_time_ns()
            start = time.perf_counter_ns()
            futures = [executor.submit(same, i) for i in range(n)]
            middle = time.perf_counter_ns()
            for future in futures:
                future.result()
            end = time.perf_counter_ns()
            after = resource.getrusage(resource.RUSAGE_SELF)
            submits.append((middle - start) / n)
            drains.append((end - middle) / n)
            lines.append(
                (
                    (time.thread_time_ns() - own) / n,
                    (time.process_time_ns() - cpu) / n,
                    1e9 * (after.ru_stime - before.ru_stime) / n,
                    (after.ru_nvcsw - before.ru_nvcsw) / n,
                    (after.ru_nivcsw - before.ru_nivcsw) / n,
                )
            )
    caller, process, system, voluntary, forced = (
        statistics.median(column) for column in zip(*lines, strict=True)
    )
    print(f"{name}, {n} submits, then their results; per call")
    print(f"  submit, wall                             {statistics.median(submits):8.0f} ns")
    print(f"  waiting for what was left, wall          {statistics.median(drains):8.0f} ns")
    print(f"  CPU of the caller's thread               {caller:8.0f} ns")
    print(f"  CPU of the parent's other threads        {process - caller:8.0f} ns")
    print(f"  of all that, in the kernel               {system:8.0f} ns")
    print(f"  context switches, voluntary / forced     {voluntary:8.3f} / {forced:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--method", default="forkserver", choices=("fork", "forkserver", "spawn"))
    parser.add_argument("--standard", action="store_true", help="the standard class as well")
    options = parser.parse_args()
    context = multiprocessing.get_context(options.method)
    floor(options.n)
    if options.standard:
        from concurrent.futures import ProcessPoolExecutor as Standard

        pool("stdlib", lambda: Standard(4, mp_context=context), options.n)
    try:
        from ezflow import ProcessPoolExecutor
    except ImportError as reason:
        print(f"ezflow: {reason}")
        return
    pool("ezflow", lambda: ProcessPoolExecutor(4, mp_context=context), options.n)


if __name__ == "__main__":
    main()
