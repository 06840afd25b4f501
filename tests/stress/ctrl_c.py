"""Ctrl-C at a random moment of a program that makes, uses and ends pools: one traceback, nobody left.

python -m tests.stress.ctrl_c --rounds 200 [--method forkserver] [--whole-group] [--seed 1]
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import signal
import sys
import tempfile
import time

from tests.life.program import Hang, start

PROGRAM = """
import multiprocessing
import os
import time
from ezflow import ProcessPoolExecutor

context = multiprocessing.get_context(os.environ["METHOD"])

def wait(seconds):
    time.sleep(seconds)

print("now", flush=True)
while True:
    with ProcessPoolExecutor(2, context) as pool:
        list(pool.map(wait, [0.002] * 10))
    pool = ProcessPoolExecutor(2, context)
    futures = [pool.submit(wait, 0.002) for _ in range(20)]
    futures[3].result()
    pool.submit(len, bytes(10_000_000)).result()
    pool.shutdown()
    pool = ProcessPoolExecutor(2, context)
    futures = [pool.submit(wait, 0.01) for _ in range(20)]
    futures[3].result()
    del pool
"""

LONGEST = 0.4
"""Seconds after its imports at which the program is interrupted, at most; one turn of it takes about as long."""

DEAF = 20.0
"""Seconds after which the key is pressed again.

Python can be deaf to one signal: it came after Python's last look at its flags and before the system call that
blocks (see `Program.settle`).  And an interrupt inside a finaliser is only printed.
"""


def press(method: str, whole_group: bool, delay: float) -> tuple[int, float]:
    """Run one round; give the presses it took and the seconds from the last press to the end of the last process."""
    with tempfile.TemporaryDirectory() as folder, start(PROGRAM, folder, env={"METHOD": method}) as program:
        program.expect("now")
        time.sleep(delay)
        program.interrupt(whole_group)
        pressed = time.monotonic()
        presses = 1
        while program._poll() is None:
            time.sleep(0.002)
            if time.monotonic() > pressed + DEAF:
                if presses == 3:
                    program._hang("three presses did not end the program")
                presses += 1
                program.interrupt(whole_group)
                pressed = time.monotonic()
        ended = time.monotonic()
        outcome = program.finish()
    ignored = outcome.stderr.count("Exception ignored")
    if outcome.left or outcome.code not in (-signal.SIGINT, 130):
        raise AssertionError(outcome)
    chained = outcome.stderr.count(
        "During handling of the above exception"
    )  # it came inside an `except`, of anybody
    if outcome.stderr.count("Traceback") > 1 + ignored + chained and presses == 1:
        raise AssertionError(outcome)
    return presses, ended + outcome.gone_after - pressed


def main() -> None:
    """Run the rounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--method", nargs="*", default=multiprocessing.get_all_start_methods())
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for method in options.method:
        for whole_group in (False, True):
            seed = random.randrange(1 << 30) if options.seed is None else options.seed
            chance = random.Random(seed)
            seconds = []
            again = 0
            for number in range(options.rounds):
                try:
                    presses, took = press(method, whole_group, chance.uniform(0, LONGEST))
                except (AssertionError, Hang):
                    print(
                        f"{method}, {whole_group=}, round {number} of seed {seed}",
                        file=sys.stderr,
                        flush=True,
                    )
                    raise
                again += presses > 1
                seconds.append(took)
            seconds.sort()
            print(
                f"{method:10} {'whole group' if whole_group else 'parent alone':12} {options.rounds} rounds, "
                f"{again} needed another press, all gone after {seconds[len(seconds) // 2] * 1000:.0f} ms (median), "
                f"{seconds[-1] * 1000:.0f} ms (longest), seed {seed}",
                flush=True,
            )


if __name__ == "__main__":
    main()
