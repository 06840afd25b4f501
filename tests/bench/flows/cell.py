"""One cell of the table: ``python -m tests.bench.flows.cell rate|memory|large LIBRARY ITEMS WORKERS [BYTES]`` prints JSON."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.bench.flows import stages
from tests.bench.scenario.census import descendants

Start = Callable[[], Iterable[Any]]
"""Begins a run."""


def resident_mb() -> float:
    """Give the resident memory of this process in MB."""
    fields = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line
    )
    return int(fields["VmRSS"].split()[0]) / 1000


def ezflow(n: int, workers: int) -> Start:
    from ezflow import Flow, ProcessPoolExecutor

    pool = ProcessPoolExecutor(workers)
    flow = Flow(stages.inc, stages.double, stages.dec).on(pool)
    for _ in flow.stream(range(20_000)):  # warm: workers are there, chunks have grown once
        pass
    return lambda: flow.stream(range(n))


def ezflow_apart(n: int, workers: int) -> Start:
    """Each stage a call of its own: `Tap` between them sees every item in this process."""
    from ezflow import Flow, ProcessPoolExecutor, Seq

    pool = ProcessPoolExecutor(workers)
    flow = Flow(stages.inc, Seq(), stages.double, Seq(), stages.dec).on(pool)
    for _ in flow.stream(range(20_000)):
        pass
    return lambda: flow.stream(range(n))


def nested(n: int, workers: int) -> Start:
    pool = concurrent.futures.ProcessPoolExecutor(workers)
    list(pool.map(stages.inc, range(2_000), chunksize=64))

    def start() -> Iterable[Any]:
        inner = pool.map(stages.inc, range(n), chunksize=64)
        return pool.map(stages.dec, pool.map(stages.double, inner, chunksize=64), chunksize=64)

    return start


def pypeln(n: int, workers: int) -> Start:
    import pypeln as pl

    def start() -> Iterable[Any]:
        stage: Any = range(n)
        for fn in (stages.inc, stages.double, stages.dec):
            stage = pl.process.map(fn, stage, workers=workers, maxsize=64)
        return stage  # type: ignore[no-any-return]  # it ships no types

    return start


def pyper(n: int, workers: int) -> Start:
    from pyper import task

    line = task(range, branch=True) | task(stages.inc, workers=workers, multiprocess=True)
    line = line | task(stages.double, workers=workers, multiprocess=True)
    line = line | task(stages.dec, workers=workers, multiprocess=True)
    return lambda: line(n)


def mpyx(n: int, workers: int) -> Start:
    from mpyx import EZ, As, Iter

    return EZ(
        Iter(range(n)), As(workers, stages.inc), As(workers, stages.double), As(workers, stages.dec)
    ).items()  # type: ignore[no-any-return]


MAKERS: dict[str, Callable[[int, int], Start]] = {
    "ezflow": ezflow,
    "ezflow, apart": ezflow_apart,
    "nested map(chunksize=64)": nested,
    "pypeln": pypeln,
    "pyper": pyper,
    "mpyx": mpyx,
}


def rate(library: str, n: int, workers: int) -> dict[str, float]:
    """Stream items, and give how many a second."""
    start = MAKERS[library](n, workers)
    began = time.perf_counter()
    count = sum(1 for _ in start())
    seconds = time.perf_counter() - began
    assert count == n, count
    return {"rate": n / seconds, "seconds": seconds}


def memory(n: int, workers: int) -> dict[str, float]:
    """Stream many items through everything that might keep some, and watch the memory of this process."""
    from ezflow import Batch, Filter, Flow, ProcessPoolExecutor, Unbatch

    flow = Flow(
        stages.inc, (stages.double, stages.inc), Batch(100), Unbatch(), Filter(stages.most), stages.dec
    )
    samples: list[float] = []
    began = time.perf_counter()
    with ProcessPoolExecutor(workers) as pool:
        for i, _ in enumerate(flow.on(pool).stream(range(n))):
            if not i % (max(n // 200, 1)):
                samples.append(resident_mb())
    seconds = time.perf_counter() - began
    tail = samples[len(samples) // 10 :]
    return {"first_mb": tail[0], "last_mb": tail[-1], "most_mb": max(tail), "rate": n / seconds}


def large(library: str, n: int, workers: int, nbytes: int) -> dict[str, float]:
    """Stream large arrays through four stages in processes, each a call of its own."""
    make = functools.partial(stages.image, nbytes=nbytes)
    if library == "ezflow":
        from ezflow import As, Flow, ProcessPoolExecutor

        pool = ProcessPoolExecutor(workers)
        apart = [As(workers, fn) for fn in (make, stages.brighter, stages.brighter, stages.mean)]
        flow = Flow(*apart).on(pool)

        def start(n: int) -> Iterable[Any]:
            return flow.stream(range(n))
    else:
        standard = concurrent.futures.ProcessPoolExecutor(workers)

        def start(n: int) -> Iterable[Any]:
            found: Iterable[Any] = range(n)
            for fn in (make, stages.brighter, stages.brighter, stages.mean):
                found = standard.map(fn, found)
            return found

    list(start(2 * workers))
    used, began = time.process_time(), time.perf_counter()
    count = sum(1 for _ in start(n))
    assert count == n, count
    return {
        "rate": n / (time.perf_counter() - began),
        "cpu_ms": 1000 * (time.process_time() - used) / n,
        "most_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }


if __name__ == "__main__":
    kind, name, items, count, *more = sys.argv[1:]
    if kind == "rate":
        answer = rate(name, int(items), int(count))
    elif kind == "large":
        answer = large(name, int(items), int(count), int(more[0]))
    else:
        answer = memory(int(items), int(count))
    print(json.dumps(answer), flush=True)
    for pid in descendants(os.getpid()):  # pipelines of others, and their processes, do not always end
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os._exit(0)
