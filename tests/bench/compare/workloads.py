"""The measurements: each takes an adapter class and returns one number, in the unit of its row."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.compare.adapters import Adapter
from tests.bench.compare.work import inc, last_of, nap, same

WORKERS = 4


def warm(pool: Adapter) -> None:
    """Start every worker and run its first calls, so that what follows measures calls only."""
    for wait in [pool.submit(nap, 0.05) for _ in range(2 * WORKERS)]:
        wait()
    for wait in [pool.submit(same, i) for i in range(500)]:
        wait()


def submit(make: Callable[[], Adapter], n: int, fn: Callable[..., Any] = same) -> float:
    """Calls per second: `n` submits in a row, then all results."""
    pool = make()
    warm(pool)
    for wait in [pool.submit(fn, i) for i in range(100)]:
        wait()
    start = time.perf_counter()
    waits = [pool.submit(fn, i) for i in range(n)]
    for i, wait in enumerate(waits):
        if wait() != i:
            raise AssertionError(f"call {i} gave something else")
    seconds = time.perf_counter() - start
    pool.close()
    return n / seconds


def latency(make: Callable[[], Adapter], n: int) -> float:
    """Microseconds from submit to result, median of `n` calls one after the other."""
    pool = make()
    warm(pool)
    times = []
    for i in range(n):
        start = time.perf_counter()
        pool.submit(same, i)()
        times.append(time.perf_counter() - start)
    pool.close()
    return 1e6 * statistics.median(times)


def map_items(make: Callable[[], Adapter], n: int) -> float:
    """Items per second through ``map(chunksize=1)``."""
    pool = make()
    warm(pool)
    for _ in pool.map(same, range(200)):
        pass
    start = time.perf_counter()
    count = sum(1 for _ in pool.map(same, range(n)))
    seconds = time.perf_counter() - start
    if count != n:
        raise AssertionError(f"{count} results for {n} items")
    pool.close()
    return n / seconds


def map_with_limit(make: Callable[[], Adapter], n: int) -> float:
    """Items per second through ``map`` where each call has a time limit that does not fire."""
    pool = make()
    warm(pool)
    limited = pool.pool.timeout(60.0)
    for _ in limited.map(same, range(200)):
        pass
    start = time.perf_counter()
    count = sum(1 for _ in limited.map(same, range(n)))
    seconds = time.perf_counter() - start
    if count != n:
        raise AssertionError(f"{count} results for {n} items")
    pool.close()
    return n / seconds


def submit_with_limit(make: Callable[[], Adapter], n: int) -> float:
    """Calls per second: as `submit`, where each call has a time limit that does not fire."""
    pool = make()
    warm(pool)
    limited = pool.pool.timeout(60.0)
    for future in [limited.submit(same, i) for i in range(100)]:
        future.result()
    start = time.perf_counter()
    futures = [limited.submit(same, i) for i in range(n)]
    for i, future in enumerate(futures):
        if future.result() != i:
            raise AssertionError(f"call {i} gave something else")
    seconds = time.perf_counter() - start
    pool.close()
    return n / seconds


def array(make: Callable[[], Adapter], nbytes: int) -> float:
    """MB per second of an array that goes to a worker and comes back, both ways counted, the best of several."""
    import numpy as np

    pool = make()
    warm(pool)
    sent = np.arange(nbytes // 8, dtype=np.int64)
    times = []
    for i in range(8):
        sent[0] = i
        start = time.perf_counter()
        back = pool.submit(same, sent)()
        times.append(time.perf_counter() - start)
        if back[0] != i or back[-1] != sent[-1]:
            raise AssertionError("something else came back")
        del back
    pool.close()
    return 2e-6 * nbytes / min(times)


def shared(make: Callable[[], Adapter], n: int) -> float:
    """Seconds for `n` calls that look at one array of 200 MB."""
    import numpy as np

    pool = make()
    warm(pool)
    sent = np.ones(25_000_000)
    start = time.perf_counter()
    waits = [pool.submit(last_of, sent) for _ in range(n)]
    if {wait() for wait in waits} != {1.0}:
        raise AssertionError("something else came back")
    seconds = time.perf_counter() - start
    pool.close()
    return seconds


def diamonds(make: Callable[[], Adapter], n: int) -> float:
    """Graphs per second: `n` graphs of four calls at once, two that need nothing and two that need both."""
    pool = make()
    warm(pool)
    for _ in pool.diamonds(100):
        pass
    start = time.perf_counter()
    for i, found in enumerate(pool.diamonds(n)):
        if found != (3 * i + 1, 2 * i * (i + 1)):
            raise AssertionError(f"graph {i} gave {found}")
    seconds = time.perf_counter() - start
    pool.close()
    return n / seconds


def passing(make: Callable[[], Adapter], nbytes: int) -> dict[str, float]:
    """Milliseconds that an array takes through three calls, median of several; MB by which this process grew at most."""
    pool = make()
    warm(pool)
    times = []
    for round_ in range(6):
        if round_ == 1:  # the first imports what it needs
            before = _memory("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # from now on the peak is that of what follows
        start = time.perf_counter()
        if pool.pass_on(nbytes) != 2.0:
            raise AssertionError("something else came out")
        times.append(time.perf_counter() - start)
    grown = _memory("VmHWM") - before
    pool.close()
    return {"passing": 1e3 * statistics.median(times[1:]), "touched": grown}


def _memory(name: str) -> float:
    """Return MB of this process: what it has touched and holds now, or at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name)) / 1e3


def chain(make: Callable[[], Adapter], n: int) -> float:
    """Microseconds from a graph's call to its result, median of `n` one after the other: five plain stages."""
    from ezflow import EZ

    pool = make()
    warm(pool)
    graph = EZ(inc, inc, inc, inc, inc).on(pool.pool)
    times = []
    for i in range(n):
        start = time.perf_counter()
        graph(i)
        times.append(time.perf_counter() - start)
    pool.close()
    return 1e6 * statistics.median(times)


def sleeps(make: Callable[[], Adapter], n: int) -> float:
    """Milliseconds for 4 sleeps of 50 ms on 4 warm workers, median of `n` times."""
    pool = make()
    warm(pool)
    times = []
    for _ in range(n):
        start = time.perf_counter()
        waits = [pool.submit(nap, 0.05) for _ in range(WORKERS)]
        for wait in waits:
            wait()
        times.append(time.perf_counter() - start)
    pool.close()
    return 1e3 * statistics.median(times)


def idle(make: Callable[[], Adapter], seconds: float) -> dict[str, float]:
    """CPU milliseconds and wake-ups per second of an idle pool, parent and children together."""
    pool = make()
    warm(pool)
    time.sleep(1.0)  # let what follows a burst come to rest
    cpu, wakes = _cost()
    start = time.perf_counter()
    time.sleep(seconds)
    elapsed = time.perf_counter() - start
    cpu_after, wakes_after = _cost()
    pool.close()
    return {"cpu": (cpu_after - cpu) / elapsed, "wakes": (wakes_after - wakes) / elapsed}


def _cost() -> tuple[float, float]:
    """Return CPU ms and context switches so far of all threads of this process and its descendants.

    The thread that measures is left out.
    """
    me = os.getpid()
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(text.rpartition(")")[2].split()[1])
    ours = {me}
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in ours} - ours
        ours |= more
        grown = bool(more)
    cpu = wakes = 0.0
    for pid in ours:
        for task in Path(f"/proc/{pid}/task").glob("*"):
            if int(task.name) == me:
                continue
            try:
                cpu += int((task / "schedstat").read_text().split()[0]) / 1e6
                lines = (task / "status").read_text().splitlines()
            except OSError:
                continue
            wakes += sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
    return cpu, wakes
