"""`fork` in the user's program while a pool lives: the child can harm neither itself nor the parent."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.life.program import run

HEAD = """
import faulthandler
import gc
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from concurrent.futures import wait

from ezflow import ProcessPoolExecutor

folder = os.environ["FOLDER"]
context = multiprocessing.get_context(os.environ["METHOD"])

def gate(name):
    while not os.path.exists(os.path.join(folder, name)):
        time.sleep(0.002)

def mark(name):
    open(os.path.join(folder, name), "w").close()

def mark_and_wait(name, other):
    mark(name)
    gate(other)
    return name

def forked(function, *args):
    "Run a function in a forked child to its end; give the exit code."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: this process has threads
        pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(30, exit=True)  # a child that hangs says where, and ends
        code = 1
        try:
            function(*args)
            code = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def name_of_error(function, *args):
    try:
        return repr(function(*args))
    except BaseException as error:
        return type(error).__name__

"""


@pytest.fixture
def env(start_method: str, tmp_path: Path) -> dict[str, str]:
    """What the programs are told."""
    return {"METHOD": start_method, "FOLDER": str(tmp_path)}


def check(text: str, env: dict[str, str], folder: Path, *lines: str, options: tuple[str, ...] = ()) -> None:
    """Run a program; assert what it prints."""
    assert run(HEAD + dedent(text), folder, env=env, options=options).check().lines == list(lines)


def test_child_cannot_use_the_pool_and_is_told_so_at_once(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    pending = pool.submit(mark_and_wait, "started", "go")
    finished = pool.submit(pow, 2, 5)
    opened = pool.submit(pow, 2, 6)
    opened.exception()
    results = pool.map(mark_and_wait, ["one", "two"], ["go", "go"])
    finished.result(), gate("started")
    late = pool.submit(mark_and_wait, "late", "go")
    def child():
        print("submit", name_of_error(pool.submit, pow, 2, 3))
        print("map", name_of_error(lambda: list(pool.map(pow, [2], [3]))))
        print("result", name_of_error(pending.result))
        print("exception", name_of_error(late.exception, 30))
        print("next", name_of_error(lambda: list(results)))
        print("finished", finished.result(), opened.result())
        print("shutdown", name_of_error(pool.shutdown))
        print("kill", name_of_error(pool.kill_workers))
    assert forked(child) == 0
    mark("go")
    print(pending.result(), late.result(), list(results), pool.submit(pow, 2, 3).result())
    pool.shutdown()
    """
    check(
        text,
        env,
        tmp_path,
        "submit WrongProcess",
        "map WrongProcess",
        "result WrongProcess",
        "exception WrongProcess",
        "next WrongProcess",
        "finished 32 64",
        "shutdown None",
        "kill None",
        "started late ['one', 'two'] 8",
    )


def test_waiting_for_a_pending_future_in_the_child_ends(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    pending = pool.submit(mark_and_wait, "started", "go")
    gate("started")
    def child():
        print(pending.done(), pending.cancel(), pending.cancelled(), repr(pending)[:7])
        print(len(wait([pending], 30).done))
    assert forked(child) == 0
    mark("go")
    print(pending.result())
    """
    check(text, env, tmp_path, "False True True <Future", "1", "started")


@pytest.mark.parametrize(
    "end", ["os._exit(0)", "sys.exit(0)", "os.kill(os.getpid(), 9)", "raise KeyboardInterrupt"]
)
def test_end_of_a_child_does_not_disturb_the_parents_pool(
    end: str, env: dict[str, str], tmp_path: Path
) -> None:
    text = f"""
    pool = ProcessPoolExecutor(2, context)
    other = pool.submit(mark_and_wait, "other", "release")
    pending = pool.submit(mark_and_wait, "started", "go")
    gate("started"), gate("other")
    mark("release")
    pids = set(pool._processes)
    assert len(pids) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid == 0:
        sys.stderr = open(os.devnull, "w")
        {end}
    os.waitpid(pid, 0)
    print(pool.submit(pow, 2, 3).result(), set(pool._processes) == pids)
    mark("go")
    print(pending.result())
    """
    check(text, env, tmp_path, "8 True", "started")


def test_child_that_collects_the_pool_does_not_disturb_the_parent(
    env: dict[str, str], tmp_path: Path
) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    pending = pool.submit(mark_and_wait, "started", "go")
    gate("started")
    def child():
        global pool, pending
        del pool, pending
        gc.collect()
    assert forked(child) == 0
    mark("go")
    print(pending.result(), pool.submit(pow, 2, 3).result())
    """
    check(text, env, tmp_path, "started 8")


def test_child_has_pools_of_its_own(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    pending = pool.submit(mark_and_wait, "started", "go")
    gate("started")
    def child():
        with ProcessPoolExecutor(2, context) as own:
            print("child", list(own.map(pow, range(5), [2] * 5)), own.submit(os.getppid).result() > 0)
            assert not set(own._processes) & parents_workers
    parents_workers = set(pool._processes)
    assert forked(child) == 0
    assert forked(child) == 0
    mark("go")
    print(pending.result(), pool.submit(pow, 2, 3).result())
    """
    check(text, env, tmp_path, *["child [0, 1, 4, 9, 16] True"] * 2, "started 8")


def test_pool_that_was_made_but_not_used_before_the_fork_is_the_parents(
    env: dict[str, str], tmp_path: Path
) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    def child():
        print(name_of_error(pool.submit, pow, 2, 3))
    assert forked(child) == 0
    print(pool.submit(pow, 2, 3).result())
    """
    check(text, env, tmp_path, "WrongProcess", "8")


def test_child_of_multiprocessing_behaves_the_same(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    pending = pool.submit(mark_and_wait, "started", "go")
    gate("started")
    def child():
        print(name_of_error(pool.submit, pow, 2, 3), name_of_error(pending.result))
        with ProcessPoolExecutor(1, context) as own:
            print(own.submit(pow, 2, 4).result(), flush=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
    process.join()
    print(process.exitcode)
    mark("go")
    print(pending.result(), pool.submit(pow, 2, 3).result())
    """
    check(text, env, tmp_path, "WrongProcess WrongProcess", "16", "0", "started 8")


def test_forks_in_other_threads_while_calls_run(env: dict[str, str], tmp_path: Path) -> None:
    # Forks strike at any moment: while descriptors are opened, a worker starts, a message is written.
    text = """
    stop = threading.Event()
    def fork_again_and_again():
        while not stop.is_set():
            assert forked(int) == 0
    threads = [threading.Thread(target=fork_again_and_again) for _ in range(2)]
    for thread in threads:
        thread.start()
    for round in range(4):
        with ProcessPoolExecutor(2, context, max_tasks_per_child=5) as pool:
            assert list(pool.map(pow, range(40), [2] * 40)) == [n * n for n in range(40)]
    stop.set()
    for thread in threads:
        thread.join()
    print("done")
    """
    check(text, env, tmp_path, "done", options=("-W", "ignore::DeprecationWarning"))


@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])  # fork copies locks as they are: its nature
def test_threads_that_hold_locks_and_log_stop_no_worker(start_method: str, tmp_path: Path) -> None:
    text = """
    n = int(os.environ.get("CALLS", "2000"))
    logging.basicConfig(stream=open(os.path.join(folder, "log"), "w"), level=logging.INFO)
    lock = threading.Lock()
    stop = threading.Event()
    def hold():
        while not stop.is_set():
            with lock:
                logging.info("holding %s", lock)
    def call(n):
        logging.getLogger("call").warning("call %s", n)  # takes logging's locks in the worker
        return n
    threads = [threading.Thread(target=hold) for _ in range(8)]
    for thread in threads:
        thread.start()
    with ProcessPoolExecutor(4, context, max_tasks_per_child=max(50, n // 10)) as pool:
        assert list(pool.map(call, range(n))) == list(range(n))
    stop.set()
    for thread in threads:
        thread.join()
    print("done")
    """
    env = {"METHOD": start_method, "FOLDER": str(tmp_path)}
    outcome = run(HEAD + dedent(text), tmp_path, env=env)
    assert (outcome.code, outcome.lines, outcome.left) == (0, ["done"], []), outcome
    assert (
        "Error" not in outcome.stderr
    )  # the workers' own warnings, by logging's last resort, are all there is


def test_default_method_makes_no_warning(tmp_path: Path) -> None:
    # 3.12 and later warn when a process with threads forks; ours never does, though it has threads.
    text = """
    thread = threading.Thread(target=gate, args=["go"])
    thread.start()
    with ProcessPoolExecutor(2, max_tasks_per_child=3) as pool:
        assert list(pool.map(pow, range(20), [2] * 20)) == [n * n for n in range(20)]
        pool.submit(pow, 2, 3).cancel()
        print(name_of_error(pool.submit(os.kill, 0, 9).result))
        print(pool.submit(pow, 2, 3).result())
    with ProcessPoolExecutor(2) as pool:
        print(pool.submit(pow, 2, 3).result())
    mark("go")
    """
    text = text.replace("os.kill, 0, 9", "os._exit, 1")
    check(
        text,
        {"METHOD": "spawn", "FOLDER": str(tmp_path)},
        tmp_path,
        "WorkerDied",
        "8",
        "8",
        options=("-W", "error"),
    )


@pytest.mark.skipif(sys.version_info < (3, 12), reason="older Pythons do not warn of forks with threads")
def test_method_fork_warns_at_most_at_its_one_fork(tmp_path: Path) -> None:
    # Only the first submit forks this process; replacing workers does not.
    text = """
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        assert list(pool.map(pow, range(5), [2] * 5)) == [n * n for n in range(5)]
    print("done")
    """
    check(text, {"METHOD": "fork", "FOLDER": str(tmp_path)}, tmp_path, "done", options=("-W", "error"))
