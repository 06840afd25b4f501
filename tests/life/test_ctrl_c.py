"""Ctrl-C: one press, one KeyboardInterrupt, one traceback at most, and nobody is left."""

from __future__ import annotations

import signal
from pathlib import Path
from textwrap import dedent

import pytest

from tests.life.program import Outcome, Program, start

HEAD = """
import multiprocessing
import os
import signal
import time
from concurrent.futures import wait

from ezflow import ProcessPoolExecutor

folder = os.environ["FOLDER"]
context = multiprocessing.get_context(os.environ["METHOD"])

def gate(name):
    while not os.path.exists(os.path.join(folder, name)):
        time.sleep(0.002)

def mark(name):
    open(os.path.join(folder, name), "w").close()

def hang(name="started"):
    mark(name)
    time.sleep(600)

def spin(name="started"):
    mark(name)
    while True:
        pass

"""

PHASES = {
    "worker starts": """
        def initializer():
            mark("started")
            time.sleep(600)
        pool = ProcessPoolExecutor(2, context, initializer=initializer)
        future = pool.submit(pow, 2, 3)
        gate("started")
        print("now", flush=True)
        future.result()
    """,
    "idle": """
        pool = ProcessPoolExecutor(2, context)
        assert list(pool.map(pow, [2, 3], [2, 3])) == [4, 27]
        print("now", flush=True)
        time.sleep(600)
    """,
    "idle in with": """
        with ProcessPoolExecutor(2, context) as pool:
            assert list(pool.map(pow, [2, 3], [2, 3])) == [4, 27]
            print("now", flush=True)
            time.sleep(600)
    """,
    "result of a running call": """
        pool = ProcessPoolExecutor(2, context)
        futures = [pool.submit(hang, f"started{i}") for i in range(2)]
        gate("started0"), gate("started1")
        futures += [pool.submit(hang) for _ in range(50)]
        print("now", flush=True)
        futures[0].result()
    """,
    "result in with": """
        with ProcessPoolExecutor(2, context) as pool:
            futures = [pool.submit(spin, f"started{i}") for i in range(2)]
            gate("started0"), gate("started1")
            futures += [pool.submit(hang) for _ in range(50)]
            print("now", flush=True)
            futures[0].result()
    """,
    "wait": """
        pool = ProcessPoolExecutor(2, context)
        futures = [pool.submit(hang) for _ in range(50)]
        gate("started")
        print("now", flush=True)
        wait(futures)
    """,
    "map": """
        with ProcessPoolExecutor(2, context) as pool:
            results = pool.map(hang, ["started"] * 50)
            gate("started")
            print("now", flush=True)
            next(results)
    """,
    "sending 200 MB": """
        pool = ProcessPoolExecutor(1, context)
        worker = pool.submit(os.getpid).result()
        os.kill(worker, signal.SIGSTOP)  # so the dispatcher stays in the middle of the message
        future = pool.submit(len, bytes(200_000_000))
        print("now", flush=True)
        future.result()
    """,
    "receiving 200 MB": """
        pool = ProcessPoolExecutor(1, context)
        future = pool.submit(bytes, 200_000_000)
        print("now", flush=True)
        future.result()
        time.sleep(600)
    """,
    "shutdown": """
        pool = ProcessPoolExecutor(2, context)
        futures = [pool.submit(hang) for _ in range(50)]
        gate("started")
        print("now", flush=True)
        pool.shutdown()
    """,
    "end of with": """
        with ProcessPoolExecutor(2, context) as pool:
            futures = [pool.submit(spin) for _ in range(50)]
            gate("started")
            print("now", flush=True)
    """,
    "body of with": """
        with ProcessPoolExecutor(2, context) as pool:
            futures = [pool.submit(spin) for _ in range(50)]
            gate("started")
            print("now", flush=True)
            time.sleep(600)
    """,
}


def begin(phase: str, method: str, folder: Path) -> Program:
    """Start the program of a phase."""
    text = HEAD + dedent(PHASES[phase])
    return start(text, folder, env={"METHOD": method, "FOLDER": str(folder)})


def check(outcome: Outcome) -> None:
    """Assert one interrupt, at most one traceback, and nobody left."""
    assert outcome.stderr.count("Traceback") <= 1, outcome
    assert outcome.stderr.count("KeyboardInterrupt") == 1, outcome
    assert outcome.code in (-signal.SIGINT, 128 + signal.SIGINT), outcome
    assert outcome.left == [], outcome


@pytest.mark.parametrize("whole_group", [False, True], ids=["parent alone", "whole group"])
@pytest.mark.parametrize("phase", PHASES)
def test_one_press_ends_the_program(phase: str, whole_group: bool, start_method: str, tmp_path: Path) -> None:
    with begin(phase, start_method, tmp_path) as program:
        program.expect("now")
        program.settle()
        program.interrupt(whole_group)
        check(program.finish())
