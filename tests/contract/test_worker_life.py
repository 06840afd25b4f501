"""The life of a worker: how it begins, how long it lives, what it sees of the parent."""

from __future__ import annotations

import collections
import gc
import math
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from ezflow import Future, PoolBroken, ProcessPoolExecutor
from ezflow._cpus import usable_cpus
from ezflow._engine import dispatcher
from ezflow._engine.oom import oom_kills
from tests import work
from tests.contract.gates import LIMIT, Gate, lines, wait_gone, wait_until, warm, workers

MakePool = Callable[..., ProcessPoolExecutor]

# ------------------------------------------------------------------------------------- budgets


@pytest.mark.parametrize(
    ("max_tasks", "n_workers", "n_calls"),
    [
        *[(1, 1, 20), (1, 3, 20), (2, 2, 24), (3, 1, 24), (5, 4, 24)],
        *[
            pytest.param(max_tasks, n_workers, 200, marks=pytest.mark.stress)
            for max_tasks in range(1, 6)
            for n_workers in range(1, 5)
        ],
    ],
)
def test_worker_is_replaced_after_so_many_calls(
    make_pool: MakePool, max_tasks: int, n_workers: int, n_calls: int
) -> None:
    pool = make_pool(n_workers, max_tasks_per_child=max_tasks)

    futures = [pool.submit(work.pid_of, i) for i in range(n_calls)]
    counts = collections.Counter(future.result(LIMIT) for future in futures)

    assert sum(counts.values()) == n_calls
    assert max(counts.values()) <= max_tasks
    assert len(counts) >= math.ceil(n_calls / max_tasks)
    pool.shutdown()
    wait_gone(*counts)


def test_budget_holds_for_map_and_for_errors(make_pool: MakePool) -> None:
    pool = make_pool(2, max_tasks_per_child=5)

    pids = collections.Counter(pool.map(work.pid_of, range(50)))
    for i in range(20):
        future = pool.submit(work.fail_on_odd, i)
        assert (future.exception(LIMIT) is None) == (i % 2 == 0)
    pids.update(pool.map(work.pid_of, range(50), chunksize=5))

    assert max(pids.values()) <= 25  # a chunk is a call
    assert len(pids) >= 10 + 2


def test_one_slow_call_does_not_keep_others_from_being_replaced(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(2, max_tasks_per_child=2)
    gate = Gate(tmp_path)
    slow = pool.submit(work.pass_gate, *gate.args())
    gate.wait_arrived()

    counts = collections.Counter(f.result(LIMIT) for f in [pool.submit(work.pid) for _ in range(50)])

    assert max(counts.values()) <= 2
    gate.open()
    assert slow.result(LIMIT) not in counts or counts[slow.result(0)] == 1


def test_shutdown_finishes_calls_that_need_new_workers(make_pool: MakePool) -> None:
    pool = make_pool(2, max_tasks_per_child=1)
    futures = [pool.submit(work.square, i) for i in range(30)]

    pool.shutdown(wait=True)

    assert [future.result(0) for future in futures] == [i * i for i in range(30)]


@pytest.mark.parametrize("wrong", [0, -1])
def test_budget_is_at_least_one(make_pool: MakePool, wrong: int) -> None:
    with pytest.raises(ValueError, match="max_tasks_per_child must be >= 1"):
        make_pool(1, max_tasks_per_child=wrong)


def test_budget_is_an_integer(make_pool: MakePool) -> None:
    with pytest.raises(TypeError, match="max_tasks_per_child must be an integer"):
        make_pool(1, max_tasks_per_child=1.5)


@pytest.mark.parametrize("reason", ["shutdown", "budget", "failed initializer"])
def test_worker_that_goes_home_runs_its_exit_functions(
    make_pool: MakePool, tmp_path: Path, reason: str
) -> None:
    gate = Gate(tmp_path)
    trace = tmp_path / "trace"
    act = (work.then, work.append, (str(trace), "flushed"), *gate.args())
    if reason == "failed initializer":
        pool = make_pool(1, initializer=work.at_exit_but_fail, initargs=act)
        future: Future[Any] = pool.submit(work.square, 3)
    else:
        pool = make_pool(1, max_tasks_per_child=1 if reason == "budget" else None)
        future = pool.submit(work.at_exit, *act)
        assert future.result(LIMIT) is None
    if reason == "shutdown":
        pool.shutdown(wait=False)

    gate.wait_arrived()
    gate.open()
    if reason == "failed initializer":
        assert isinstance(future.exception(LIMIT), PoolBroken)
    pool.shutdown()

    assert lines(trace) == ["flushed"]


@pytest.mark.parametrize("end", ["shutdown", "kill"])
def test_program_that_a_call_left_running_outlives_a_worker_that_goes_home(
    make_pool: MakePool, end: str
) -> None:
    pool = make_pool(1)
    left = psutil.Process(pool.submit(work.leave_program_running).result(LIMIT))

    if end == "kill":
        pool.kill_workers()
    pool.shutdown()

    if end == "kill":
        wait_gone(left.pid)
    else:
        assert left.is_running() and left.status() != psutil.STATUS_ZOMBIE
        left.kill()


def test_workers_are_numbered_from_one(start_method: str) -> None:
    program = (
        "import multiprocessing\n"
        "from ezflow import ProcessPoolExecutor\n"
        "number = lambda: multiprocessing.current_process()._identity\n"
        f"with ProcessPoolExecutor(1, multiprocessing.get_context({start_method!r})) as pool:\n"
        "    print(pool.submit(number).result())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT, check=True
    )

    assert done.stdout == "(1,)\n"


def test_idle_workers_are_ended_and_come_back(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(3, idle_timeout=0.2)
    pids = warm(pool, 3, tmp_path)

    wait_until(lambda: not workers(pool), "the end of idle workers")

    wait_gone(*pids)
    assert pool.submit(work.pid).result(LIMIT) not in pids


def test_busy_worker_is_not_idle(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(2, idle_timeout=0.2)
    warm(pool, 2, tmp_path)
    gate = Gate(tmp_path)
    future = pool.submit(work.pass_gate, *gate.args())
    (pid,) = gate.wait_arrived()

    wait_until(lambda: workers(pool) == {pid}, "the end of the idle one")
    gate.open()

    assert future.result(LIMIT) == pid


def test_worker_that_holds_too_much_memory_is_replaced_between_calls(make_pool: MakePool) -> None:
    limit = psutil.Process().memory_info().rss + (
        200 << 20
    )  # a forked worker begins with what the parent has
    pool = make_pool(1, max_memory_per_child=limit)
    pid = pool.submit(work.pid).result(LIMIT)
    assert pool.submit(work.pid).result(LIMIT) == pid

    futures = [pool.submit(work.allocate, limit), *(pool.submit(work.pid) for _ in range(5))]

    assert futures[0].result(LIMIT) == pid  # the call itself ends well
    assert all(
        future.result(LIMIT) for future in futures[1:]
    )  # one of them may have begun before it was noticed
    wait_gone(pid)
    assert pool.submit(work.pid).result(LIMIT) != pid


@pytest.mark.parametrize("name", ["idle_timeout", "max_memory_per_child"])
@pytest.mark.parametrize("wrong", [0, -1])
def test_limits_of_workers_are_positive(make_pool: MakePool, name: str, wrong: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be greater than 0"):
        make_pool(1, **{name: wrong})


# ------------------------------------------------------------------------------------- initializers


def test_initializer_runs_once_in_every_worker_before_its_calls(make_pool: MakePool, tmp_path: Path) -> None:
    inits = tmp_path / "inits"
    pool = make_pool(3, initializer=work.append_pid_and_remember, initargs=(str(inits), "key", "value"))

    values = [f.result(LIMIT) for f in [pool.submit(work.recall, "key") for _ in range(100)]]
    pids = warm(pool, 3, tmp_path)

    assert values == ["value"] * 100
    assert sorted(map(int, lines(inits))) == sorted(pids)


def test_replaced_worker_ran_the_initializer(make_pool: MakePool) -> None:
    pool = make_pool(1, initializer=work.remember, initargs=("key", "value"))
    assert pool.submit(os._exit, 3).exception(LIMIT) is not None

    assert pool.submit(work.recall, "key").result(LIMIT) == "value"


def test_locks_and_queues_travel_as_initargs(make_pool: MakePool, context: Any) -> None:
    lock, queue = context.Lock(), context.Queue()
    try:
        pool = make_pool(2, initializer=work.remember_all, initargs=({"lock": lock, "queue": queue},))

        assert pool.submit(work.use_lock).result(LIMIT)
        pid = pool.submit(work.put_pid).result(LIMIT)
        assert queue.get(timeout=LIMIT) == pid
        with lock:  # it is the same lock
            future = pool.submit(work.try_lock)
            assert future.result(LIMIT) is False
        assert pool.submit(work.try_lock).result(LIMIT) is True
    finally:
        queue.close()
        queue.join_thread()


@pytest.mark.parametrize("fn", [lambda: work.remember("key", "by lambda"), print])
def test_initializer_of_any_kind(make_pool: MakePool, fn: Callable[[], object]) -> None:
    pool = make_pool(1, initializer=fn)

    assert pool.submit(work.recall, "key").result(LIMIT) == (None if fn is print else "by lambda")


def test_initializer_is_callable(make_pool: MakePool) -> None:
    with pytest.raises(TypeError, match="initializer must be a callable"):
        make_pool(1, initializer=3)


def test_failing_initializer_is_seen_by_everybody(
    make_pool: MakePool, capfd: pytest.CaptureFixture[str]
) -> None:
    pool = make_pool(2, initializer=work.raise_value_error, initargs=("XYZ",))
    future = pool.submit(work.square, 3)

    with pytest.raises(PoolBroken, match="XYZ") as caught:
        future.result(LIMIT)

    assert isinstance(caught.value.__cause__, ValueError)
    frames = []
    traceback = caught.value.__cause__.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert frames[-1] == "raise_value_error"
    pool.shutdown()
    log = capfd.readouterr().err  # of the worker, unless a fork made it log into pytest's own handler
    assert not log or log.startswith("Exception in initializer:\n")


# ------------------------------------------------------------------------------------- surroundings


CAPS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@pytest.mark.parametrize("n_workers", [1, 2, 1000])
def test_numeric_libraries_share_the_cores(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, n_workers: int
) -> None:
    for name in CAPS:
        monkeypatch.delenv(name, raising=False)
    pool = make_pool(n_workers)

    seen = [pool.submit(os.getenv, name).result(LIMIT) for name in CAPS]

    assert seen == [str(max(1, usable_cpus() // n_workers))] * 3
    assert not any(name in os.environ for name in CAPS)  # the parent is left alone


def test_threads_that_the_user_has_set_stay(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "17")
    pool = make_pool(4)

    assert pool.submit(os.getenv, "OMP_NUM_THREADS").result(LIMIT) == "17"


def test_new_worker_sees_the_surroundings_of_the_parent_as_they_are_now(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pool = make_pool(2)
    old = pool.submit(work.pid).result(LIMIT)
    module = tmp_path / "only_here_now.py"
    module.write_text("answer = 42\n")
    monkeypatch.setenv("EZFLOW_TEST_NEW", "new")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["program", "--option"])
    gate = Gate(tmp_path)
    # The old worker is kept busy, so the next call starts a new one.
    blocker = pool.submit(work.pass_gate, *gate.args())
    gate.wait_arrived()

    pid, environ, cwd, path, argv = pool.submit(work.surroundings).result(LIMIT)
    answer = pool.submit(work.import_and_get, "only_here_now", "answer").result(LIMIT)

    assert pid != old
    assert environ["EZFLOW_TEST_NEW"] == "new"
    assert "HOME" not in environ
    assert cwd == str(tmp_path)
    assert path[0] == str(tmp_path)
    assert argv == ["program", "--option"]
    assert answer == 42
    gate.open()
    blocker.result(LIMIT)


def test_new_pool_sees_an_environment_that_changed_after_the_first(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EZFLOW_TEST_NEW", "first")
    assert make_pool(1).submit(os.getenv, "EZFLOW_TEST_NEW").result(LIMIT) == "first"
    monkeypatch.setenv("EZFLOW_TEST_NEW", "second")

    assert make_pool(1).submit(os.getenv, "EZFLOW_TEST_NEW").result(LIMIT) == "second"


def test_workers_have_random_streams_of_their_own(make_pool: MakePool, tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    import numpy.random  # noqa: F401  # so that forked workers inherit its state

    pool = make_pool(4)
    gate = Gate(tmp_path)
    futures = [pool.submit(work.random_after_gate, *gate.args()) for _ in range(4)]
    gate.wait_arrived(4)
    gate.open()

    numbers = [number for future in futures for number in future.result(LIMIT)]

    assert len(numbers) == len(set(numbers)) == 8


def test_worker_is_cut_off_from_the_terminal(pool: ProcessPoolExecutor) -> None:
    pid, session, group, stdin = pool.submit(work.session).result(LIMIT)

    assert pid == session == group
    assert session != os.getsid(0)
    assert stdin == os.devnull


def test_death_by_lack_of_memory_is_named_as_such(
    pool: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.submit(work.square, 2).result(LIMIT)

    before = pool.submit(work.kill_self).exception(LIMIT)
    n_killed = oom_kills()
    monkeypatch.setattr(dispatcher, "oom_kills", lambda: n_killed + 1)  # as if the kernel had done it
    during = pool.submit(work.kill_self).exception(LIMIT)
    after = pool.submit(work.kill_self).exception(LIMIT)

    assert [
        "The kernel killed a process for lack of memory" in str(error) for error in (before, during, after)
    ] == [False, True, False]


def test_pool_that_gets_no_thread_leaves_nothing(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.endswith("-dispatcher"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    before = psutil.Process().children()
    pool = ProcessPoolExecutor(2, context)

    with pool, pytest.raises(PoolBroken, match="can't start new thread"):
        pool.submit(work.square, 3)

    assert psutil.Process().children() == before
    lost = weakref.ref(pool)
    del pool
    gc.collect()
    assert lost() is None
