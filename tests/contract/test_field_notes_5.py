"""What the standard test-suite and real clients pin down, item by item (field notes, section 5).

Most of it holds for the standard class, too; the items say where it does not.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from pickle import PicklingError, UnpicklingError
from typing import Any

import pytest

from tests import work
from tests.contract import habits

LIMIT = 60.0  # s; long enough for any machine, and no test waits for it


def until(holds: Callable[[], object], what: str) -> None:
    """Wait until something holds."""
    end = time.monotonic() + LIMIT
    while not holds():
        if time.monotonic() > end:
            pytest.fail(f"not within {LIMIT:.0f} s: {what}")
        time.sleep(0.005)


def alive(pid: int) -> bool:
    """Tell whether a process runs: a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def snippet(
    make_pool: Callable[..., Any], start_method: str
) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run a program of its own, in which `make(n)` gives a pool of this start method."""
    cls = type(make_pool(1))

    def run(code: str) -> subprocess.CompletedProcess[str]:
        header = (
            "import multiprocessing, os, sys, time\n"
            f"from {cls.__module__} import {cls.__name__} as Pool\n"
            f"def make(n, **kw): return Pool(n, multiprocessing.get_context({start_method!r}), **kw)\n"
        )
        path = os.pathsep.join(entry for entry in sys.path if entry)
        return subprocess.run(
            [sys.executable, "-c", header + code],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    return run


# 1 --- Pickling errors of arguments arrive in the future, never from submit().


@pytest.mark.parametrize("what", ["argument", "lock", "function", "semaphore"])
def test_1_what_cannot_be_sent_fails_in_its_future(pool: Any, context: Any, what: str) -> None:
    call = {
        "argument": (work.pid_of, work.Unpicklable()),
        "lock": (work.pid_of, threading.Lock()),
        "function": (threading.Lock().acquire,),
        "semaphore": (context.Semaphore(0).acquire,),
    }[what]

    future = pool.submit(*call)

    assert future.exception(timeout=LIMIT) is not None
    assert pool.submit(work.square, 3).result(timeout=LIMIT) == 9


# 2 --- Kinds of failure.


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ((work.kill_self,), BrokenProcessPool),
        ((work.exit_at_once, 7), BrokenProcessPool),
        ((work.pid_of, work.Poison(work.fail, UnpicklingError("in the worker"))), BrokenProcessPool),
        ((work.pid_of, work.Poison(work.sys_exit, 1)), BrokenProcessPool),
        ((work.poison, work.fail, UnpicklingError("in the parent")), BrokenProcessPool),
        ((work.poison, work.sys_exit, 1), BrokenProcessPool),
        ((work.unpicklable,), (TypeError, PicklingError)),
        ((work.sys_exit, 3), SystemExit),
    ],
    ids=[
        "crash",
        "exit",
        "argument arrives broken",
        "argument exits",
        "result arrives broken",
        "result exits",
        "result cannot be sent",
        "sys.exit",
    ],
)  # fmt: skip
def test_2_kinds_of_failure_are_the_standard_ones(pool: Any, call: tuple[Any, ...], expected: Any) -> None:
    future = pool.submit(*call)

    with pytest.raises(expected):
        future.result(timeout=LIMIT)


# 3 --- Calls sent ahead stay cancellable.


def test_3_shutdown_cancels_what_has_not_started(make_pool: Callable[..., Any], tmp_path: Path) -> None:
    started, gate = tmp_path / "started", tmp_path / "gate"
    started.mkdir()
    pool = make_pool(5)
    futures = [pool.submit(habits.start_and_wait, str(started), i, str(gate)) for i in range(50)]
    until(lambda: len(list(started.iterdir())) == 5, "five calls started")

    pool.shutdown(wait=False, cancel_futures=True)
    until(lambda: sum(future.cancelled() for future in futures) > 20, "more than 20 of 50 cancelled")
    gate.touch()
    pool.shutdown(wait=True)

    ran = {i for i, future in enumerate(futures) if not future.cancelled()}
    assert all(futures[i].result(timeout=LIMIT) == i for i in ran)
    assert {int(path.name) for path in started.iterdir()} == ran


def test_3_asyncio_cancels_what_has_not_started(make_pool: Callable[..., Any], tmp_path: Path) -> None:
    started, gate = tmp_path / "started", tmp_path / "gate"
    started.mkdir()
    pool = make_pool(2)

    async def run() -> list[Any]:
        calls = [pool.submit(habits.start_and_wait, str(started), i, str(gate)) for i in range(30)]
        futures = [asyncio.wrap_future(call) for call in calls]  # what run_in_executor does
        while len(list(started.iterdir())) < 2:
            await asyncio.sleep(0.005)
        assert all(future.cancel() for future in futures[10:])
        while not all(call.cancelled() for call in calls[10:]):  # asyncio passes it on in its next round
            await asyncio.sleep(0.005)
        gate.touch()
        return await asyncio.gather(*futures, return_exceptions=True)

    results = asyncio.run(asyncio.wait_for(run(), LIMIT))

    assert results[:10] == list(range(10))
    assert all(isinstance(result, asyncio.CancelledError) for result in results[10:])
    assert {int(path.name) for path in started.iterdir()} == set(range(10))


# 4 --- Interpreter exit.


def test_4_pending_work_finishes_at_exit_in_silence(snippet: Any) -> None:
    done = snippet(
        "import tests.contract.habits as h\n"
        "if __name__ == '__main__':\n"
        "    pool = make(2)\n"
        "    for _ in range(10): pool.submit(time.sleep, 0.02)\n"
        "    pool.submit(print, 'apple', flush=True)\n"
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "apple\n", "")


def test_4_late_submit_is_refused_with_the_standard_words(snippet: Any) -> None:
    done = snippet(
        "import atexit\n"
        "@atexit.register\n"
        "def late():\n"
        "    try: pool.submit(id, None)\n"
        "    except RuntimeError: print('refused', flush=True); raise\n"
        "if __name__ == '__main__':\n"
        "    pool = make(2)\n"
        "    pool.submit(id, 42).result()\n"
    )

    assert done.stdout == "refused\n"
    assert "RuntimeError: cannot schedule new futures" in done.stderr


def test_4_no_helper_keeps_the_programs_output_open(snippet: Any) -> None:
    # subprocess.run with captured output returns only when everybody has closed the pipe.
    done = snippet(
        "if __name__ == '__main__':\n"
        "    pool = make(2)\n"
        "    print(pool.submit(abs, -1).result(), flush=True)\n"
        "    pool.shutdown()\n"
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


# 5 --- References.


def test_5_worker_drops_arguments_before_it_idles(pool: Any, tmp_path: Path) -> None:
    pid = pool.submit(habits.take, habits.Tattle(str(tmp_path))).result(timeout=LIMIT)

    until((tmp_path / str(pid)).exists, "the worker forgot its argument while it had nothing to do")


def test_5_worker_drops_callable_before_it_idles(pool: Any, tmp_path: Path) -> None:
    pid = pool.submit(habits.Tattle(str(tmp_path)).method).result(timeout=LIMIT)

    until((tmp_path / str(pid)).exists, "the worker forgot the object of the bound method")


def test_5_worker_drops_result_before_it_idles(make_pool: Callable[..., Any], tmp_path: Path) -> None:
    pool = make_pool(1)
    pid = pool.submit(work.pid).result(timeout=LIMIT)
    result = pool.submit(habits.give, str(tmp_path)).result(timeout=LIMIT)

    until((tmp_path / str(pid)).exists, "the worker forgot its result while it had nothing to do")
    del result


def test_5_map_drops_results_that_it_has_yielded(pool: Any) -> None:
    for thing in pool.map(habits.make_thing, range(10)):
        reference = weakref.ref(thing)
        del thing
        gc.collect()
        assert reference() is None


def test_5_discarded_future_frees_its_callable(pool: Any) -> None:
    thing = habits.Thing()
    freed = threading.Event()
    reference = weakref.ref(thing, lambda _: freed.set())

    pool.submit(thing.method)
    del thing

    assert freed.wait(LIMIT)
    assert reference() is None


def test_5_finished_future_frees_argument_while_it_is_kept(pool: Any) -> None:
    thing = habits.Thing()
    reference = weakref.ref(thing)

    future = pool.submit(work.pid_of, thing)
    del thing
    future.result(timeout=LIMIT)

    until(lambda: gc.collect() is not None and reference() is None, "the argument was freed")


# 6 --- map.


def test_6_map_raises_at_the_failing_position(pool: Any) -> None:
    results = pool.map(work.fail_on_odd, [0, 2, 3, 4])

    assert [next(results), next(results)] == [0, 2]
    with pytest.raises(ValueError, match="odd: 3"):
        next(results)


@pytest.mark.parametrize("chunksize", [0, -1])
def test_6_map_refuses_chunks_below_one_at_once(pool: Any, chunksize: int) -> None:
    with pytest.raises(ValueError, match="chunksize must be >= 1"):
        pool.map(work.square, range(3), chunksize=chunksize)


def test_6_map_honours_its_timeout(pool: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    results = pool.map(work.wait_for_file, [str(gate)], timeout=0.05)

    with pytest.raises(TimeoutError):
        next(results)
    gate.touch()


@pytest.mark.parametrize("chunksize", [1, 4])
def test_6_map_uses_a_replaced_submit(pool: Any, chunksize: int) -> None:
    original, futures = pool.submit, []

    def counting(*args: Any, **kwargs: Any) -> Any:
        futures.append(original(*args, **kwargs))
        return futures[-1]

    pool.submit = counting

    assert list(pool.map(work.square, range(10), chunksize=chunksize)) == [i * i for i in range(10)]
    assert len(futures) == -(-10 // chunksize)
    assert all(isinstance(future, concurrent.futures.Future) for future in futures)


def test_6_map_uses_an_overridden_submit(make_pool: Callable[..., Any], context: Any) -> None:
    calls = []

    class Counting(type(make_pool(1))):  # type: ignore[misc]
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            calls.append(args)
            return super().submit(fn, *args, **kwargs)

    with Counting(1, context) as pool:
        assert list(pool.map(work.square, range(5))) == [0, 1, 4, 9, 16]
    assert len(calls) == 5


# 7 --- Signatures.


def test_7_every_keyword_reaches_the_function(pool: Any) -> None:
    words = {
        "self": 1,
        "fn": 2,
        "timeout": 3,
        "chunksize": 4,
        "executor": 5,
        "func": 6,
        "call": 7,
        "options": 8,
    }

    assert pool.submit(work.echo, 0, **words).result(timeout=LIMIT) == ((0,), words)
    with pytest.raises(TypeError):
        pool.submit(fn=work.echo)
    with pytest.raises(TypeError):
        pool.submit()


@pytest.mark.parametrize("number", [0, -1])
def test_7_max_workers_is_refused_with_the_standard_words(make_pool: Callable[..., Any], number: int) -> None:
    with pytest.raises(ValueError, match=r"^max_workers must be greater than 0$"):
        make_pool(number)


# 8 --- Private state that clients read.


def test_8_clients_find_the_state_they_read(make_pool: Callable[..., Any], context: Any) -> None:
    pool = make_pool(3)

    assert isinstance(pool, concurrent.futures.ProcessPoolExecutor)
    assert pool._max_workers == 3
    assert pool._mp_context is context
    assert not pool._broken

    pid = pool.submit(work.pid).result(timeout=LIMIT)
    processes = pool._processes
    manager = pool._executor_manager_thread

    assert processes[pid].pid == pid
    assert processes[pid].is_alive()
    assert manager.is_alive()

    pool.shutdown()
    manager.join(LIMIT)
    assert not manager.is_alive()
    assert not alive(pid)


def test_8_broken_is_true_of_a_broken_pool(make_pool: Callable[..., Any]) -> None:
    pool = make_pool(1, initializer=work.fail, initargs=(ValueError("no good"),))

    with pytest.raises(BrokenProcessPool):
        pool.submit(work.pid).result(timeout=LIMIT)

    until(lambda: pool._broken, "the pool says that it is broken")
    with pytest.raises(BrokenProcessPool):
        pool.submit(work.pid)


def test_8_instance_takes_attributes(pool: Any) -> None:
    pool.note = "mine"

    assert pool.__dict__["note"] == "mine"


# 9 --- initargs may carry locks and queues.


def test_9_locks_and_queues_travel_in_initargs(make_pool: Callable[..., Any], context: Any) -> None:
    queue = context.SimpleQueue()
    pool = make_pool(2, initializer=habits.keep_lock, initargs=(context.RLock(), queue))

    assert pool.submit(habits.use_lock).result(timeout=LIMIT)
    assert queue.get() in pool._processes
    queue.close()


# 10 --- A crash while a lot of data is under way.


def test_10_crash_with_much_data_under_way_hangs_nobody(pool: Any) -> None:
    data = "a" * 8_000_000  # more than any pipe or socket buffer

    futures = [pool.submit(habits.crash, data) for _ in range(6)]

    assert all(isinstance(future.exception(timeout=LIMIT), BrokenProcessPool) for future in futures)


def test_10_killed_while_it_sends_much_data(pool: Any, tmp_path: Path) -> None:
    futures = [pool.submit(work.big, 50_000_000) for _ in range(8)]
    until(lambda: len(pool._processes) > 0, "a worker exists")
    for process in list(pool._processes.values()):
        process.kill()

    for future in futures:
        try:
            assert len(future.result(timeout=LIMIT)) == 50_000_000
        except BrokenProcessPool:
            pass


# 11 --- Somebody else reaps our children.


def test_11_somebody_else_reaps_the_children(snippet: Any) -> None:
    done = snippet(
        "import threading, signal\n"
        "from concurrent.futures import BrokenExecutor\n"
        "def reap():\n"
        "    while not stop.wait(0.0005):\n"
        "        try: os.waitpid(-1, os.WNOHANG)\n"
        "        except ChildProcessError: pass\n"
        "if __name__ == '__main__':\n"
        "    stop = threading.Event()\n"
        "    thread = threading.Thread(target=reap); thread.start()\n"
        "    for i in range(5):\n"
        "        pool = make(2)\n"
        "        assert list(pool.map(abs, range(20))) == list(range(20))\n"
        "        future = pool.submit(os._exit, 3)\n"
        "        print(isinstance(future.exception(30), BrokenExecutor))\n"
        "        pool.shutdown()\n"
        "    stop.set(); thread.join()\n"
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n" * 5, "")


# 12 --- No worker survives shutdown(wait=True).


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_12_no_worker_survives_shutdown(make_pool: Callable[..., Any], busy: bool) -> None:
    pool = make_pool(3)
    futures = [pool.submit(time.sleep, 0.05) for _ in range(6)]
    until(lambda: len(pool._processes) == 3, "three workers")
    pids = list(pool._processes)
    if not busy:
        concurrent.futures.wait(futures, timeout=LIMIT)

    pool.shutdown(wait=True)

    assert [pid for pid in pids if alive(pid)] == []
    assert all(future.done() for future in futures)


def test_12_no_worker_survives_the_pools_context(make_pool: Callable[..., Any], context: Any) -> None:
    with type(make_pool(1))(2, context) as pool:
        pids = set(pool.map(work.pid_of, range(20)))

    assert not any(alive(pid) for pid in pids)


# 13 --- The pickler honours copyreg.


def test_13_copyreg_is_honoured_both_ways(pool: Any) -> None:
    assert pool.submit(habits.same, habits.Handle(0)).result(timeout=LIMIT).number == 2


def test_13_copyreg_is_honoured_when_registered_late(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import copyreg

    pool.submit(work.pid).result(timeout=LIMIT)  # pickler and worker exist by now
    monkeypatch.setitem(copyreg.dispatch_table, habits.Thing, lambda thing: (habits.Handle, (41,)))

    assert pool.submit(habits.same, habits.Thing()).result(timeout=LIMIT).number == 42
