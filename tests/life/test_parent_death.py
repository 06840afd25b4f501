"""SIGKILL of the parent, whatever its workers do: within two seconds nobody and nothing is left of the pool."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.life.program import start

HEAD = """
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

from ezflow import ProcessPoolExecutor

folder = os.environ["FOLDER"]
context = multiprocessing.get_context(os.environ["METHOD"])

def gate(name):
    while not os.path.exists(os.path.join(folder, name)):
        time.sleep(0.002)

def mark(name="started"):
    open(os.path.join(folder, name), "w").close()

def run(function, *args):
    "Keep every worker of a pool busy."
    global pool
    pool = ProcessPoolExecutor(2, context)
    futures = [pool.submit(function, f"started{n}", *args) for n in range(2)]
    for n in range(2):
        gate(f"started{n}")
    print("now", flush=True)
    time.sleep(600)

"""

STATES = {
    "idle": """
        pool = ProcessPoolExecutor(2, context)
        assert list(pool.map(pow, [2, 3], [2, 3])) == [4, 27]
        print("now", flush=True)
        time.sleep(600)
    """,
    "sleeping": """
        def call(name):
            mark(name)
            time.sleep(600)
        run(call)
    """,
    "looping in Python": """
        def call(name):
            mark(name)
            while True:
                pass
        run(call)
    """,
    "looping in C with the GIL": """
        def call(name):
            mark(name)
            sum(range(10**12))
        run(call)
    """,
    "blocking every signal": """
        def call(name):
            signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
            mark(name)
            time.sleep(600)
        run(call)
    """,
    "ignoring everything": """
        def call(name):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            mark(name)
            while True:
                try:
                    time.sleep(600)
                except BaseException:
                    pass
        run(call)
    """,
    "stopped": """
        def call(name):
            mark(name)
            time.sleep(600)
        pool = ProcessPoolExecutor(1, context)
        pool.submit(call, "started")
        gate("started")
        os.kill(*pool._processes, signal.SIGSTOP)
        print("now", flush=True)
        time.sleep(600)
    """,
    "being sent 200 MB": """
        pool = ProcessPoolExecutor(1, context)
        worker = pool.submit(os.getpid).result()
        os.kill(worker, signal.SIGSTOP)  # so the message stays half sent
        pool.submit(len, bytes(200_000_000))
        print("now", flush=True)
        time.sleep(600)
    """,
    "sending 200 MB": """
        def call(name):
            mark(name)
            return bytes(200_000_000)
        run(call)
    """,
    "in the initializer": """
        def initializer():
            mark("started")
            time.sleep(600)
        pool = ProcessPoolExecutor(2, context, initializer=initializer)
        pool.submit(pow, 2, 3)
        gate("started")
        print("now", flush=True)
        time.sleep(600)
    """,
    "starting": """
        pool = ProcessPoolExecutor(4, context)
        for n in range(8):
            pool.submit(time.sleep, 600)
        print("now", flush=True)
        time.sleep(600)
    """,
    "with children of their own": """
        def call(name):
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            if os.fork() == 0:
                time.sleep(600)
            mark(name)
            time.sleep(600)
        run(call)
    """,
    "with a pool of their own": """
        def inner(name):
            mark(name)
            time.sleep(600)
        def call(name):
            with ProcessPoolExecutor(1, context) as own:
                own.submit(inner, name).result()
        run(call)
    """,
    "used from a short-lived thread": """
        def call(name):
            mark(name)
            time.sleep(600)
        def use():
            global pool
            pool = ProcessPoolExecutor(1, context)
            pool.submit(call, "started")
        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        gate("started")
        print("now", flush=True)
        time.sleep(600)
    """,
    "holding locks and shared memory": """
        from multiprocessing import shared_memory
        lock = context.Lock()
        queue = context.Queue()
        memory = shared_memory.SharedMemory(create=True, size=1 << 20)
        def initializer(lock, queue, name):
            global held
            held = lock, queue, shared_memory.SharedMemory(name)
        def call(name):
            with held[0]:
                mark(name)
                time.sleep(600)
        pool = ProcessPoolExecutor(2, context, initializer=initializer, initargs=(lock, queue, memory.name))
        pool.submit(call, "started")
        gate("started")
        print("now", flush=True)
        time.sleep(600)
    """,
    "while the program shuts down": """
        def call(name):
            mark(name)
            time.sleep(600)
        pool = ProcessPoolExecutor(1, context)
        pool.submit(call, "started")
        gate("started")
        threading._register_atexit(lambda: print("now", flush=True))
    """,
}


def segments(pids: Iterable[int]) -> set[str]:
    """Give the files in shared memory that these processes use."""
    found: set[str] = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            maps = Path(f"/proc/{pid}/maps").read_text(errors="replace")
            found |= {line.split(maxsplit=5)[-1] for line in maps.splitlines() if "/dev/shm/" in line}
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return {name for name in found if name.startswith("/dev/shm/")}


@pytest.mark.parametrize("state", STATES)
def test_nobody_survives_the_parent(
    state: str, start_method: str, tmp_path: Path, record_property: Any
) -> None:
    env = {"METHOD": start_method, "FOLDER": str(tmp_path)}

    with start(HEAD + dedent(STATES[state]), tmp_path, env=env) as program:
        program.expect("now")
        processes = program.processes()
        assert len(processes) > 1 or state == "starting"
        used = segments(processes)
        assert used or "shared memory" not in state or not os.path.isdir("/dev/shm")
        program.kill()
        outcome = program.finish()

    assert outcome.left == [], outcome
    assert [name for name in used if os.path.exists(name)] == []
    record_property("gone_after", outcome.gone_after)


def test_children_that_the_program_forked_keep_no_worker_alive(
    start_method: str, tmp_path: Path, record_property: Any
) -> None:
    # They have copies of the parent's descriptors unless these are closed in them.
    text = """
    import warnings
    warnings.simplefilter("ignore")
    def forked():
        pid = os.fork()
        if pid == 0:
            time.sleep(600)
        return pid
    def call(name):
        mark(name)
        time.sleep(600)
    pool = ProcessPoolExecutor(2, context)
    pids = [forked()]
    pool.submit(call, "started0")
    gate("started0")
    pids.append(forked())
    pool.submit(call, "started1")
    pids.append(forked())
    gate("started1")
    pids.append(forked())
    print("now", *pids, flush=True)
    time.sleep(600)
    """
    env = {"METHOD": start_method, "FOLDER": str(tmp_path)}
    with start(HEAD + dedent(text), tmp_path, env=env) as program:
        spare = set(map(int, program.expect("now").split()))
        processes = program.processes()
        assert len(processes) > len(spare) + 1
        # The resource tracker is multiprocessing's, which lets every forked child use it, and so keep it.
        spare |= {pid for pid, command in processes.items() if "resource_tracker" in command}
        program.kill()
        outcome = program.finish(spare=spare)

    assert outcome.left == [], outcome
    record_property("gone_after", outcome.gone_after)
