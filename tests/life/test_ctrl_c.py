"""Ctrl-C: one press, one KeyboardInterrupt, one traceback at most, and nobody is left."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.life.program import Outcome, Program, has_terminals, start

HEAD = """
import multiprocessing
import os
import signal
import time
from concurrent.futures import wait
from threading import Thread

from ezflow import EZ, ProcessPoolExecutor

folder = os.environ["FOLDER"]
context = multiprocessing.get_context(os.environ["METHOD"])

def gate(name):
    while not os.path.exists(os.path.join(folder, name)):
        time.sleep(0.002)

def mark(name):
    open(os.path.join(folder, name), "w").close()

def say_when(*names):
    def say():
        for name in names:
            gate(name)
        print("now", flush=True)
    Thread(target=say, daemon=True).start()

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
    "graph": """
        graph = EZ({"a": lambda: spin("a"), "b": lambda: hang("b")}, dict)
        say_when("a", "b")
        graph.on(ProcessPoolExecutor(2, context))()
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


def test_ctrl_c_stops_every_branch_of_a_graph(start_method: str, tmp_path: Path) -> None:
    text = """
        graph = EZ({"a": lambda: spin("a"), "b": lambda: hang("b")}, lambda **both: both)
        with ProcessPoolExecutor(2, context) as pool:
            say_when("a", "b")
            try:
                graph.on(pool)()
            except KeyboardInterrupt:
                print("stopped", flush=True)
            print("sum", *pool.map(pow, [2, 3], [2, 3]), flush=True)
    """
    env = {"METHOD": start_method, "FOLDER": str(tmp_path)}
    with start(HEAD + dedent(text), tmp_path, env=env) as program:
        program.expect("now")
        program.settle()
        program.interrupt(False)
        program.expect("stopped")
        assert program.expect("sum ") == "4 27"
        outcome = program.finish()

    assert (outcome.code, outcome.stderr, outcome.left) == (0, "", []), outcome


@pytest.mark.skipif(not has_terminals(), reason="no pseudo-terminals here")
def test_ctrl_c_at_a_prompt_leaves_the_pool_usable(start_method: str, tmp_path: Path) -> None:
    # A terminal sends SIGINT to every process in the foreground.
    env = {"METHOD": start_method, "FOLDER": str(tmp_path)}
    setup = "".join(
        line + "\n" for line in HEAD.splitlines() if line.startswith(("import", "from", "folder", "context"))
    )
    setup += "def hang():\n    print('now', flush=True)\n    time.sleep(600)\n\n"
    setup += "def save():\n    time.sleep(0.5)\n    open(os.path.join(folder, 'saved'), 'w').close()\n\n"
    setup += "pool = ProcessPoolExecutor(2, context)\n"
    with Program([sys.executable, "-q", "-i"], folder=tmp_path, env=env, terminal=True) as program:
        program.type(setup)
        program.type("print('\\n=', pool.submit(pow, 2, 3).result())\n")
        assert program.expect("= ") == "8"
        pids = "print('\\npids', *sorted(pool._processes))\n"
        program.type(
            "two = [pool.submit(pow, 2, 4), pool.submit(pow, 2, 5)]; two = [f.result() for f in two]\n" + pids
        )
        before = set(program.expect("pids ").split())
        program.type("future = pool.submit(hang); finished = pool.submit(pow, 3, 3); future.result()\n")
        program.expect("now")
        program.settle()
        program.type("\x03")
        program.expect("KeyboardInterrupt")
        program.type("print('\\n=', finished.result(), pool.submit(pow, 2, 6).result(), future.running())\n")
        assert program.expect("= ") == "27 64 True"
        program.type(pids)
        assert set(program.expect("pids ").split()) >= before
        program.type("future.cancel()\nlast = pool.submit(save)\nexit()\n")
        outcome = program.finish()

    # Since 3.14 the basic prompt ends by SIGINT if there was a Ctrl-C, also in a program without a pool.
    assert outcome.code in ({0} if sys.version_info < (3, 14) else {0, -signal.SIGINT}), outcome
    assert outcome.left == [], outcome
    assert (tmp_path / "saved").exists(), outcome  # an interrupt long ago is no reason to lose a call
    assert outcome.stdout.count("Traceback") == 1, outcome
