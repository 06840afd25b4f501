"""The end of the interpreter: accepted calls are finished, nothing is printed, nothing hangs, nothing is left."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.life.program import run, start

HEAD = """
import atexit
import multiprocessing
import os
import sys
import threading
import time

from ezflow import ProcessPoolExecutor

folder = os.environ["FOLDER"]
context = multiprocessing.get_context(os.environ["METHOD"])

def gate(name):
    while not os.path.exists(os.path.join(folder, name)):
        time.sleep(0.002)

def mark(name, seconds=0.0):
    time.sleep(seconds)
    open(os.path.join(folder, name), "w").close()

def hang(name):
    mark(name)
    time.sleep(600)
"""

LATE = "cannot schedule new futures after interpreter shutdown"


@pytest.fixture
def env(start_method: str, tmp_path: Path) -> dict[str, str]:
    """What the programs are told."""
    return {"METHOD": start_method, "FOLDER": str(tmp_path)}


def program(text: str) -> str:
    """Give the whole program."""
    return HEAD + dedent(text)


def test_pending_calls_are_finished(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    for n in range(30):
        pool.submit(mark, f"mark{n}", 0.01).add_done_callback(lambda f: print("done", flush=True))
    """
    outcome = run(program(text), tmp_path, env=env).check()
    assert outcome.lines == ["done"] * 30
    assert all((tmp_path / f"mark{n}").exists() for n in range(30))


def test_pending_calls_of_a_dropped_pool_are_finished(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    ProcessPoolExecutor(2, context).submit(mark, "mark", 0.1)
    """
    run(program(text), tmp_path, env=env).check()
    assert (tmp_path / "mark").exists()


def test_pool_that_was_never_used_costs_nothing(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    """
    run(program(text), tmp_path, env=env).check()


def test_idle_pool_is_ended(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    print(list(pool.map(pow, [2, 3], [2, 3])))
    """
    assert run(program(text), tmp_path, env=env).check().lines == ["[4, 27]"]


def test_pool_after_shutdown_without_waiting_is_waited_for(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    pool.submit(mark, "mark", 0.1)
    pool.shutdown(wait=False)
    """
    run(program(text), tmp_path, env=env).check()
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("hook", ["atexit.register", "threading._register_atexit"])
def test_submit_in_an_exit_hook_is_refused(hook: str, env: dict[str, str], tmp_path: Path) -> None:
    # threading's hooks run in reverse order: registered before the first pool, this one runs after ours.
    text = f"""
    parent = os.getpid()
    def hook():
        if os.getpid() != parent:
            return  # a child that was forked, by whomever, runs its parent's hooks of `threading`
        for what in (pool, ProcessPoolExecutor(1, context)):
            try:
                what.submit(pow, 2, 3)
            except RuntimeError as error:
                print(error, flush=True)
    {hook}(hook)
    pool = ProcessPoolExecutor(2, context)
    pool.submit(pow, 2, 3).result()
    """
    text = HEAD.replace("from ezflow import ProcessPoolExecutor\n", "") + dedent(text).replace(
        "pool = Pro", "from ezflow import ProcessPoolExecutor\npool = Pro"
    )
    assert run(text, tmp_path, env=env).check().lines == [LATE] * 2


def test_submit_in_a_hook_that_runs_before_ours_works_or_is_refused(
    env: dict[str, str], tmp_path: Path
) -> None:
    text = """
    parent = os.getpid()
    def hook():
        if os.getpid() != parent:
            return  # a child that was forked, by whomever, runs its parent's hooks of `threading`
        try:
            print(pool.submit(pow, 2, 3).result())
            with ProcessPoolExecutor(1, context) as other:
                print(other.submit(pow, 2, 3).result())
        except Exception as error:
            print(error)
    pool = ProcessPoolExecutor(1, context)
    threading._register_atexit(hook)
    """
    lines = run(program(text), tmp_path, env=env).check().lines
    if sys.version_info[:2] != (3, 12):  # there no thread can be started and nothing forked in an exit hook
        assert lines == ["8", "8"]
    else:
        assert lines
        assert lines[-1] == "8" or "interpreter shutdown" in lines[-1], lines


def test_thread_that_submits_until_the_end_is_refused_then(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    def forever():
        try:
            while True:
                assert pool.submit(pow, 2, 3).result() == 8
                mark("started")
        except RuntimeError as error:
            print(error, flush=True)
    threading.Thread(target=forever).start()
    gate("started")
    """
    assert run(program(text), tmp_path, env=env).check().lines == [LATE]


def test_daemon_threads_that_use_the_pool_do_not_disturb_the_end(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    def forever(name):
        try:
            while True:
                for result in pool.map(pow, range(10), range(10)):
                    pass
                assert pool.submit(pow, 2, 3).result() == 8
                mark(name)
        except RuntimeError as error:
            assert "interpreter shutdown" in str(error), error
    for n in range(4):
        threading.Thread(target=forever, args=[f"started{n}"], daemon=True).start()
    for n in range(4):
        gate(f"started{n}")
    """
    run(program(text), tmp_path, env=env).check()


def test_sys_exit_in_the_middle_keeps_its_code_and_finishes_calls(
    env: dict[str, str], tmp_path: Path
) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    for n in range(10):
        pool.submit(mark, f"mark{n}", 0.01)
    sys.exit(7)
    """
    run(program(text), tmp_path, env=env).check(code=7)
    assert all((tmp_path / f"mark{n}").exists() for n in range(10))


def test_sys_exit_inside_with_finishes_calls(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    with ProcessPoolExecutor(2, context) as pool:
        for n in range(10):
            pool.submit(mark, f"mark{n}", 0.01)
        sys.exit(7)
    """
    run(program(text), tmp_path, env=env).check(code=7)
    assert all((tmp_path / f"mark{n}").exists() for n in range(10))


def test_uncaught_error_is_the_only_thing_printed(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    pool.submit(mark, "mark", 0.05)
    raise LookupError("the program is broken")
    """
    outcome = run(program(text), tmp_path, env=env)
    assert (outcome.code, outcome.left, outcome.stderr.count("Traceback")) == (1, [], 1), outcome
    assert outcome.stderr.endswith("LookupError: the program is broken\n")
    assert (tmp_path / "mark").exists()


def test_exit_while_workers_start_finishes_calls(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pool = ProcessPoolExecutor(4, context)
    for n in range(8):
        pool.submit(mark, f"mark{n}")
    """
    run(program(text), tmp_path, env=env).check()
    assert all((tmp_path / f"mark{n}").exists() for n in range(8))


def test_exit_while_a_broken_pool_fails_its_calls(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    def initializer():
        import logging
        logging.disable()  # the worker logs the error, as in the standard pool
        raise LookupError("no model")
    pool = ProcessPoolExecutor(2, context, initializer=initializer)
    future = pool.submit(mark, "mark")
    atexit.register(lambda: print(type(future.exception()).__name__, flush=True))
    """
    assert run(program(text), tmp_path, env=env).check().lines == ["PoolBroken"]
    assert not (tmp_path / "mark").exists()


def test_os_exit_takes_the_workers_along(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    pool.submit(hang, "started")
    gate("started")
    os._exit(3)
    """
    run(program(text), tmp_path, env=env).check(code=3)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV])
def test_deadly_signal_takes_the_workers_along(signum: int, env: dict[str, str], tmp_path: Path) -> None:
    text = f"""
    pool = ProcessPoolExecutor(2, context)
    pool.submit(hang, "started")
    gate("started")
    import faulthandler
    faulthandler.disable()
    os.kill(os.getpid(), {int(signum)})
    """
    run(program(text), tmp_path, env=env).check(code=-signum)


def test_ctrl_c_ends_the_wait_for_a_hung_call(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    pool.submit(hang, "started")
    gate("started")
    # The interpreter waits in this hook's neighbour; registered later, it runs before.
    threading._register_atexit(lambda: print("waiting", flush=True))
    """
    with start(program(text), tmp_path, env=env) as running:
        running.expect("waiting")
        running.settle()
        running.interrupt()
        outcome = running.finish()
    assert outcome.left == []
    assert outcome.stderr.count("Traceback") <= 1, outcome
    assert outcome.stderr.count("KeyboardInterrupt") <= 1, outcome


def test_sys_exit_after_ctrl_c_finishes_calls_until_the_next_ctrl_c(
    env: dict[str, str], tmp_path: Path
) -> None:
    text = """
    pool = ProcessPoolExecutor(2, context)
    future = pool.submit(hang, "started")
    gate("started")
    threading._register_atexit(lambda: print("waiting", flush=True))
    print("now", flush=True)
    try:
        future.result()
    except KeyboardInterrupt:
        sys.exit(130)
    """
    with start(program(text), tmp_path, env=env) as running:
        running.expect("now")
        running.settle()
        running.interrupt()
        running.expect("waiting")
        running.settle()
        running.interrupt()
        outcome = running.finish()
    assert outcome.left == []
    assert outcome.stderr.count("Traceback") <= 1, outcome


def test_nested_pool_in_a_worker_is_ended_with_it(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    def nested():
        global inner
        inner = ProcessPoolExecutor(1)  # never shut down
        return inner.submit(pow, 2, 3).result()
    pool = ProcessPoolExecutor(1, context)
    print(pool.submit(nested).result())
    """
    assert run(program(text), tmp_path, env=env).check().lines == ["8"]


def test_pool_used_by_a_multiprocessing_child_does_not_hold_it_up(
    env: dict[str, str], tmp_path: Path
) -> None:
    text = """
    def child():
        pool = ProcessPoolExecutor(1)
        print(pool.submit(pow, 2, 3).result(), flush=True)
    if __name__ == "__main__":
        process = context.Process(target=child)
        process.start()
        process.join()
        print(process.exitcode)
    """
    assert run(program(text), tmp_path, env=env).check().lines == ["8", "0"]


def test_calls_accepted_in_a_multiprocessing_child_are_finished(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    def call(n):
        mark(f"started{n}")
        mark(f"mark{n}", 0.1)
    def child():
        global pool
        pool = ProcessPoolExecutor(2)
        for n in range(6):
            pool.submit(call, n)
        gate("started0")
    if __name__ == "__main__":
        process = context.Process(target=child)
        process.start()
        process.join()
        print(process.exitcode)
    """
    assert run(program(text), tmp_path, env=env).check().lines == ["0"]
    assert all((tmp_path / f"mark{n}").exists() for n in range(6))


def test_pool_used_in_asyncio_run_is_ended(env: dict[str, str], tmp_path: Path) -> None:
    text = """
    import asyncio
    async def main():
        pool = ProcessPoolExecutor(1, context)
        loop = asyncio.get_running_loop()
        print(await loop.run_in_executor(pool, pow, 2, 3), await pool.submit(pow, 2, 4))
    asyncio.run(main())
    """
    assert run(program(text), tmp_path, env=env).check().lines == ["8 16"]
