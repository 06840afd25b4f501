"""Where the time of one call goes, and what the system takes for the bare minimum of it.

``python -m tests.bench.anatomy [calls]`` prints two tables: stamps along one round trip, as medians over calls whose
steps came in the usual order; and floors measured in the same run: a bare socket round trip, the same with a thread
hand-off in the parent, and a copy of memory.
"""

from __future__ import annotations

import os
import select
import socket
import statistics
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from time import perf_counter
from typing import Any

from tests.bench.compare.work import same

STEPS = {
    ("submit", "ring("): "caller: future, options, pickling, inbox",
    ("ring(", "ring)"): "caller: system call that wakes the dispatcher",
    ("ring)", "submitted"): "caller: back to the user",
    ("submitted", "woke"): "thread switch to the dispatcher",
    ("woke", "handle("): "dispatcher: inbox",
    ("handle(", "handle)"): "machine",
    ("handle)", "send("): "dispatcher: obeys",
    ("send(", "send)"): "dispatcher: claim and socket written; often the worker runs meanwhile",
    ("send)", "wait"): "dispatcher: back to its wait",
    ("wait", "woke"): "rest of the worker: receive, claim, unpickle, run, pickle, send",
    ("woke", "read("): "dispatcher: who it is",
    ("read(", "read)"): "dispatcher: socket read, frames cut",
    ("read)", "handle("): "dispatcher: answer made ready",
    ("handle)", "tally("): "dispatcher: obeys",
    ("tally(", "tally)"): "statistics",
    ("tally)", "deliver("): "dispatcher",
    ("deliver(", "deliver)"): "future settled, waiter woken",
    ("deliver)", "wait"): "dispatcher: back to its wait",
    ("wait", "done"): "thread switch to the caller, result unpickled",
}


def stamps(n: int) -> list[tuple[str, float]]:
    """Give each step with its median in microseconds."""
    from ezflow import ProcessPoolExecutor
    from ezflow._engine import poller
    from ezflow._wire import channel
    from ezflow.future import Future

    seen: list[tuple[str, float]] = []

    def stamp(owner: Any, name: str, label: str) -> None:
        taken = getattr(owner, name)

        def stamped(*args: Any, **kwargs: Any) -> Any:
            seen.append((label + "(", perf_counter()))
            try:
                return taken(*args, **kwargs)
            finally:
                seen.append((label + ")", perf_counter()))

        setattr(owner, name, stamped)

    waited = poller.Poller.wait

    def wait(self: Any, seconds: float | None) -> Any:
        seen.append(("wait", perf_counter()))
        try:
            return waited(self, seconds)
        finally:
            seen.append(("woke", perf_counter()))

    poller.Poller.wait = wait  # type: ignore[method-assign]
    stamp(channel.FrameReader, "read", "read")
    stamp(Future, "_deliver", "deliver")
    rows: list[tuple[tuple[str, ...], list[float]]] = []
    with ProcessPoolExecutor(1) as pool:
        for i in range(500):
            pool.submit(same, i).result()
        engine: Any = pool._engine
        stamp(engine, "_send", "send")
        stamp(engine._machine, "handle", "handle")
        stamp(engine._tally, "answered", "tally")
        stamp(engine._bell, "ring", "ring")
        for i in range(n):
            seen.clear()
            start = perf_counter()
            future = pool.submit(same, i)
            submitted = perf_counter()
            future.result()
            end = perf_counter()
            steps = sorted(
                [*seen, ("submit", start), ("submitted", submitted), ("done", end)], key=lambda x: x[1]
            )
            rows.append((tuple(name for name, _ in steps), [when for _, when in steps]))
    usual, _ = Counter(names for names, _ in rows).most_common(1)[0]
    times = [when for names, when in rows if names == usual]
    return [
        (
            STEPS.get((usual[i], usual[i + 1]), f"{usual[i]} to {usual[i + 1]}"),
            1e6 * statistics.median(each[i + 1] - each[i] for each in times),
        )
        for i in range(len(usual) - 1)
    ]


def median_of(step: Callable[[], object], n: int) -> float:
    """Give microseconds of one step."""
    for _ in range(n // 10):
        step()
    times = []
    for _ in range(n):
        start = perf_counter()
        step()
        times.append(perf_counter() - start)
    return 1e6 * statistics.median(times)


def floors(n: int) -> list[tuple[str, str]]:
    """Measure what cannot be avoided."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        while data := theirs.recv(1 << 16):
            theirs.send(data)
        os._exit(0)
    theirs.close()

    def bare() -> None:
        ours.send(b"x" * 60)
        ours.recv(1 << 16)

    found = [("socket round trip to another process, 60 bytes", f"{median_of(bare, n):8.1f} µs")]
    bell_read, bell_write = os.pipe()
    inbox: deque[Any] = deque()

    def hand_off() -> None:
        poll = select.poll()
        poll.register(bell_read, select.POLLIN)
        poll.register(ours, select.POLLIN)
        waiting: deque[Any] = deque()
        while True:
            for fd, _ in poll.poll():
                if fd == bell_read:
                    os.read(bell_read, 64)
                    while inbox:
                        lock = inbox.popleft()
                        if lock is None:
                            return
                        waiting.append(lock)
                        ours.send(b"x" * 60)
                else:
                    ours.recv(1 << 16)
                    waiting.popleft().release()

    thread = threading.Thread(target=hand_off)
    thread.start()

    def handed() -> None:
        lock = threading.Lock()
        lock.acquire()
        inbox.append(lock)
        os.write(bell_write, b"x")
        lock.acquire()

    found.append(("the same through a second thread of the parent", f"{median_of(handed, n):8.1f} µs"))
    inbox.append(None)
    os.write(bell_write, b"x")
    thread.join()
    ours.close()
    os.waitpid(pid, 0)
    source = bytearray(64_000_000)
    target = bytearray(64_000_000)

    def copy() -> None:
        memoryview(target)[:] = source

    found.append(("copy of 64 MB in warm memory", f"{64e-3 / (1e-6 * median_of(copy, 10)):8.1f} GB/s"))

    def fresh() -> None:
        bytearray(source)

    found.append(("copy of 64 MB into fresh pages", f"{64e-3 / (1e-6 * median_of(fresh, 10)):8.1f} GB/s"))
    return found


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 3_000
    print(time.strftime("%Y-%m-%d"), "Python", sys.version.split()[0], f"load {os.getloadavg()[0]:.1f}")
    print("\nfloors")
    for name, value in floors(n):
        print(f"  {name:72} {value}")
    steps = stamps(n)
    print("\none call, with about 0.3 µs for each stamp")
    for name, micros in steps:
        print(f"  {name:72} {micros:8.1f} µs")
    print(f"  {'sum':72} {sum(micros for _, micros in steps):8.1f} µs")


if __name__ == "__main__":
    main()
