"""One KeyboardInterrupt at a random moment, again and again: the pool is never damaged, every accepted call ends.

    python -m tests.stress.interrupts --rounds 3000 [--what submit cancel] [--by timer] [--method forkserver] [--seed 1]

`--what` is what the main thread does when the interrupt strikes:

submit   submits, and now and then reads a result; one pool for all rounds
results  waits: `result`, `wait`, `as_completed`, `map`; one pool for all rounds
cancel   submits and cancels; one pool for all rounds
fresh    makes a pool, submits, shuts it down; a new pool in each round

`--by` is where it comes from: a timer's signal, `_thread.interrupt_main` in a thread, or SIGINT from another process.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from _thread import interrupt_main
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, as_completed, wait
from typing import Any

import ezflow
from ezflow import ProcessPoolExecutor
from tests.work import pid, square

LIMIT = 60.0
"""Seconds for one step of one round; a hang dumps all stacks and ends the script."""

LATEST = 5.0
"""Seconds by which an interrupt may be late, on a machine that is busy.  Smaller: one that was repeated too early
strikes a second time, while the round is judged.  Larger: those that Python has dropped take longer."""

OURS = os.path.dirname(ezflow.__file__)

METHODS = multiprocessing.get_all_start_methods()

LONGEST = 0.004
"""Seconds from the start of a round to its interrupt, at most; a pool answers about 50 calls in that time."""

LONGEST_FRESH = 0.06
"""The same for `fresh`: a warm start takes 5 to 10 ms, a cold one 60."""


def by_timer(delay: float) -> None:
    """Interrupt by a signal of a timer."""
    signal.setitimer(signal.ITIMER_REAL, max(delay, 1e-6))


def by_thread(delay: float) -> None:
    """Interrupt from a thread of this process."""
    threading.Timer(delay, interrupt_main).start()


class ByProcess:
    """Interrupt from another process, as a terminal or a notebook does."""

    code = (
        "import os, signal, sys, time\n"
        "for line in sys.stdin:\n"
        "    time.sleep(float(line)); os.kill(os.getppid(), signal.SIGINT)\n"
    )

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, delay: float) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-c", self.code], stdin=subprocess.PIPE, text=True
            )
        assert self._process.stdin is not None
        self._process.stdin.write(f"{delay}\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()


def interrupted(arm: Callable[[float], None], delay: float, work: Callable[[], None]) -> bool:
    """Repeat `work` until the interrupt strikes; say whether it had to be sent again.

    Python drops an exception that strikes inside a finaliser or a callback of the garbage collector, and says
    "Exception ignored in". Nobody can do better, so the round is repeated.
    """
    rounds: list[None] = []
    try:
        _work_until_interrupted(arm, delay, work, rounds)
    except KeyboardInterrupt as error:
        global last
        last = "".join(traceback.format_exception(error))
    return len(rounds) > 1


def _work_until_interrupted(
    arm: Callable[[float], None], delay: float, work: Callable[[], None], rounds: list[None]
) -> None:
    """Loop in a function of its own: 3.13.0 lets an interrupt at the head of a loop slip out of the ``try`` around it."""
    while True:
        rounds.append(None)
        arm(delay)
        end = time.monotonic() + delay + LATEST
        while time.monotonic() < end:
            work()


last = ""
"""Where the last interrupt struck; shown if the round fails."""


class Steady:
    """One pool for all rounds: after each it has the same workers, and nothing is pending."""

    def __init__(self, method: str) -> None:
        self.pool = ProcessPoolExecutor(2, multiprocessing.get_context(method))
        self.pids = self._pids()
        self.accepted: list[tuple[int, Future[int]]] = []
        self.n = 0

    def _pids(self) -> set[int]:
        found: set[int] = set()
        while len(found) < 2:
            found |= {f.result(LIMIT) for f in [self.pool.submit(pid) for _ in range(20)]}
        return found

    def submit_one(self) -> Future[int]:
        """Submit a call and note that it was accepted."""
        n = self.n = self.n + 1
        future = self.pool.submit(square, n)
        self.accepted.append((n, future))
        return future

    def submit(self) -> None:
        """Submit; read one result in ten."""
        self.submit_one()
        if self.n % 10 == 0:
            self.accepted[-min(len(self.accepted), 1 + self.n % 7)][1].result()

    def results(self) -> None:
        """Wait in every way there is."""
        ways: list[Callable[[list[Future[int]]], object]] = [
            lambda fs: [f.result() for f in fs],
            wait,
            lambda fs: list(as_completed(fs)),
            lambda fs: [f.exception() for f in fs],
        ]
        futures = [self.submit_one() for _ in range(5)]
        try:
            ways[self.n % 4](futures)
        except RuntimeError as error:
            # The standard library's own `Condition.wait` of `wait` and `as_completed`, on 3.12 and before:
            # interrupted before it has its lock back, it fails to release it, and this hides the interrupt.
            if innermost_file(error).startswith(OURS) or not isinstance(error.__context__, KeyboardInterrupt):
                raise
            raise KeyboardInterrupt from error
        assert list(self.pool.map(square, range(5))) == [0, 1, 4, 9, 16]

    def cancel(self) -> None:
        """Submit and cancel what has most likely not started."""
        futures = [self.submit_one() for _ in range(8)]
        for future in reversed(futures[4:]):
            if not future.running():
                future.cancel()

    def check(self, what: str) -> None:
        """Assert that every accepted call ends, that the workers are the same, and that nothing is left over."""
        for n, future in self.accepted:
            try:
                assert future.result(LIMIT) == n * n
            except CancelledError:
                assert what == "cancel"
        self.accepted.clear()
        assert self.pool.submit(square, 7).result(LIMIT) == 49
        end = time.monotonic() + LIMIT
        while self.pool._engine.counts()["pending"]:
            assert time.monotonic() < end, f"calls that nobody holds have not ended: {self.pool!r}"
            time.sleep(0.0005)
        if what != "cancel":  # there a call that began in that moment is stopped, and its worker replaced
            assert set(self.pool._processes) == self.pids, "a worker was lost"

    def close(self) -> None:
        """End the pool."""
        self.pool.shutdown()


def innermost_file(error: BaseException) -> str:
    """Name the file in which an error was raised."""
    return traceback.extract_tb(error.__traceback__)[-1].filename


class Fresh:
    """A new pool in each round, interrupted while it is made, used and ended."""

    def __init__(self, method: str) -> None:
        self.context = multiprocessing.get_context(method)
        self.pool: ProcessPoolExecutor | None = None
        self.accepted: list[tuple[int, Future[int]]] = []
        with ProcessPoolExecutor(1, self.context) as first:
            first.submit(pid).result()  # what lives as long as the program is there now: fork server, tracker
        self.descriptors = count_descriptors()
        self.threads = threading.active_count()
        self.children = children()

    def fresh(self) -> None:
        """Make a pool, use it, end it."""
        pool = self.pool = ProcessPoolExecutor(2, self.context)
        for n in range(10):
            self.accepted.append((n, pool.submit(square, n)))
        self.accepted[3][1].result()
        pool.shutdown()
        self.accepted.clear()

    def check(self, what: str) -> None:
        """Assert that the pool which was interrupted can go on and end, and that nothing is left of it."""
        pool = self.pool
        if pool is not None:
            if not pool._shutdown_thread:
                assert pool.submit(square, 7).result(LIMIT) == 49
            pool.shutdown()
            for n, future in self.accepted:
                assert future.result(LIMIT) == n * n
            assert not pool._processes
        self.accepted.clear()
        self.pool = pool = None
        end = time.monotonic() + LIMIT
        while left := self._left():
            assert time.monotonic() < end, f"left behind: {left}"
            gc.collect()
            time.sleep(0.001)

    def _left(self) -> list[str]:
        found = [f"process {pid} {describe(pid)}" for pid in children() - self.children]
        if threading.active_count() > self.threads:
            found += [f"thread {t.name}" for t in threading.enumerate()]
        if count_descriptors() > self.descriptors:
            found.append(f"{count_descriptors()} descriptors, were {self.descriptors}: {descriptors()}")
        return found

    def close(self) -> None:
        """Nothing is left to end."""


def children() -> set[int]:
    """Give the processes whose parent this is, and the workers that the fork server has made."""
    import psutil

    return {child.pid for child in psutil.Process().children(recursive=True)}


def describe(pid: int) -> str:
    """Say in what state a process is, who its parent is, and what it runs."""
    import psutil

    try:
        process = psutil.Process(pid)
        return f"({process.status()}, child of {process.ppid()}: {process.cmdline()[-3:]})"
    except psutil.Error as error:
        return f"({error})"


def count_descriptors() -> int:
    """Count the open descriptors."""
    return len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))


def descriptors() -> list[str]:
    """Say what the open descriptors are, where the system tells."""
    found = []
    for fd in range(256):
        try:
            found.append(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
        except OSError:
            pass
    return found


WHAT = ("submit", "results", "cancel", "fresh")
BY = ("timer", "thread", "process")


def torture(what: str, by: str, method: str, rounds: int, seed: int) -> None:
    """Run the rounds of one kind."""
    print(f"{what}, by {by}, {method}, seed {seed}: ", end="", flush=True)
    chance = random.Random(seed)
    arm: Any = {"timer": by_timer, "thread": by_thread, "process": ByProcess()}[by]
    arm_longest = LONGEST_FRESH if what == "fresh" else LONGEST
    if by == "process":
        try:
            arm(0.0)  # start it
            time.sleep(LIMIT)
        except KeyboardInterrupt:
            pass
    stage: Any = Fresh(method) if what == "fresh" else Steady(method)
    work = getattr(stage, what)
    again = 0
    began = time.monotonic()
    for number in range(rounds):
        try:
            again += interrupted(arm, chance.uniform(0, arm_longest), work)
            # Not before: the watching thread would take the signal, as any thread does that does not block it.
            faulthandler.dump_traceback_later(LIMIT + 30, exit=True)
            stage.check(what)
            faulthandler.cancel_dump_traceback_later()
        except BaseException:
            print(f"failed in round {number}; the interrupt was\n{last}", file=sys.stderr, flush=True)
            raise
    stage.close()
    if by == "process":
        arm.close()
    print(f"{rounds} rounds, {again} interrupts repeated, {time.monotonic() - began:.1f} s", flush=True)


def main() -> None:
    """Run one kind of rounds, or each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3000)
    parser.add_argument("--what", choices=WHAT, nargs="*", default=WHAT)
    parser.add_argument("--by", choices=BY, nargs="*", default=BY)
    parser.add_argument("--method", choices=METHODS, nargs="*", default=METHODS)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for what in options.what:
        for by in options.by:
            for method in options.method:
                seed = random.randrange(1 << 30) if options.seed is None else options.seed
                torture(what, by, method, options.rounds, seed)


if __name__ == "__main__":
    main()
