"""Signals that a program handles are its own affair: no worker ever triggers them."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.life.program import run

HEAD = """
import asyncio
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time

from ezflow import ProcessPoolExecutor

folder = os.environ["FOLDER"]
context = multiprocessing.get_context(os.environ["METHOD"])

def gate(name):
    while not os.path.exists(os.path.join(folder, name)):
        time.sleep(0.002)

def mark_and_wait(name="started"):
    open(os.path.join(folder, name), "w").close()
    time.sleep(600)

"""


@pytest.fixture
def env(start_method: str, tmp_path: Path) -> dict[str, str]:
    """What the programs are told."""
    return {"METHOD": start_method, "FOLDER": str(tmp_path)}


def check(text: str, env: dict[str, str], folder: Path, *lines: str) -> None:
    """Run a program; assert what it prints."""
    assert run(HEAD + dedent(text), folder, env=env).check().lines == list(lines)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"])
def test_signal_to_a_worker_does_not_run_the_loops_handler(
    name: str, env: dict[str, str], tmp_path: Path
) -> None:
    # A forked child shares the loop's wake-up descriptor: what it is sent, the parent would hear.
    text = f"""
    number = signal.{name}
    heard = []
    async def main():
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(number, heard.append, number)
        pool = ProcessPoolExecutor(1, context)
        for n in range(3):
            future = pool.submit(mark_and_wait, f"started{{n}}")
            await asyncio.to_thread(gate, f"started{{n}}")
            os.kill(*pool._processes, number)
            try:
                await future
            except BaseException as error:
                print(type(error).__name__)
        pool.shutdown()
        for _ in range(20):
            await asyncio.sleep(0)
        print(heard)
        os.kill(os.getpid(), number)
        while not heard:
            await asyncio.sleep(0)
        print(len(heard))
    asyncio.run(main())
    """
    # SIGINT does in a worker what it does in any Python program; the other signals have their default action: death.
    error = "KeyboardInterrupt" if name == "SIGINT" else "WorkerDied"
    check(text, env, tmp_path, *[error] * 3, "[]", "1")


def test_handlers_of_the_program_do_not_run_in_workers(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    def handler(number, frame):
        with open(os.path.join(folder, "heard"), "a") as file:
            print(os.getpid() == parent, number, file=file)
    parent = os.getpid()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
        signal.signal(number, handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
        with ProcessPoolExecutor(1, context) as pool:
            future = pool.submit(mark_and_wait, f"started{number}")
            gate(f"started{number}")
            os.kill(*pool._processes, number)
            print(type(future.exception()).__name__)
    assert not os.path.exists(os.path.join(folder, "heard"))
    """
    check(text, env, tmp_path, *["WorkerDied"] * 5)


def test_signals_leave_the_wakeup_descriptor_alone(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno())
    signal.signal(signal.SIGTERM, lambda *_: None)
    pool = ProcessPoolExecutor(1, context)
    for n in range(3):
        future = pool.submit(mark_and_wait, f"started{n}")
        gate(f"started{n}")
        os.kill(*pool._processes, signal.SIGTERM)
        print(type(future.exception()).__name__)
    running = pool.submit(mark_and_wait, "last")
    gate("last")
    print(running.cancel(), pool.submit(pow, 2, 3).result())
    pool.terminate_workers()
    pool.shutdown()
    try:
        print(reader.recv(100))
    except BlockingIOError:
        print("nothing was heard")
    """
    check(text, env, tmp_path, *["WorkerDied"] * 3, "True 8", "nothing was heard")


def test_ctrl_c_in_a_terminal_does_not_reach_workers_of_a_program_that_ignores_it(
    env: dict[str, str], tmp_path: Path
) -> None:
    text = """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    def until(name, other):
        open(os.path.join(folder, name), "w").close()
        gate(other)
        return name
    pool = ProcessPoolExecutor(2, context)
    future = pool.submit(until, "started", "go")
    gate("started")
    os.killpg(0, signal.SIGINT)
    open(os.path.join(folder, "go"), "w").close()
    print(future.result())
    """
    check(text, env, tmp_path, "started")


def test_program_that_waits_for_any_child_takes_nothing_from_the_pool(
    env: dict[str, str], tmp_path: Path
) -> None:
    text = """
    pool = ProcessPoolExecutor(1, context)
    for n in range(3):
        future = pool.submit(mark_and_wait, f"started{n}")
        gate(f"started{n}")
        os.kill(*pool._processes, signal.SIGKILL)
        for _ in range(1000):
            try:
                os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pass
        print(type(future.exception()).__name__)
    print(pool.submit(pow, 2, 3).result())
    pool.shutdown()
    """
    check(text, env, tmp_path, *["WorkerDied"] * 3, "8")


def test_program_that_ignores_sigchld_loses_nothing(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    pool = ProcessPoolExecutor(1, context)
    future = pool.submit(mark_and_wait)
    gate("started")
    os.kill(*pool._processes, signal.SIGKILL)
    print(type(future.exception()).__name__, pool.submit(pow, 2, 3).result())
    print(pool.submit(subprocess.run, [sys.executable, "-c", "raise SystemExit(3)"]).result().returncode)
    pool.shutdown()
    """
    check(text, env, tmp_path, "WorkerDied 8", "3")


def test_programs_that_calls_start_have_plain_signal_handling(env: dict[str, str], tmp_path: Path) -> None:
    # What a worker blocks or ignores would be inherited by every program a call starts.
    text = """
    show = '''
    import signal
    ignored = {n.name for n in signal.valid_signals() if isinstance(n, signal.Signals) and signal.getsignal(n) == signal.SIG_IGN}
    print(sorted(ignored - {"SIGPIPE", "SIGXFSZ"}), sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
    '''
    import textwrap
    show = textwrap.dedent(show)
    pool = ProcessPoolExecutor(1, context)
    done = pool.submit(subprocess.run, [sys.executable, "-c", show], capture_output=True, text=True).result()
    print(done.stdout.strip(), done.stderr)
    """
    check(text, env, tmp_path, "[] [] ")
