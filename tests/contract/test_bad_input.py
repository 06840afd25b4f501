"""Wrong use and bad manners: each ends in the documented way and never in a hang."""

from __future__ import annotations

import concurrent.futures
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ezflow import PicklingError, ProcessPoolExecutor, UnpicklingError, WorkerDied, WrongProcess
from ezflow._engine.states import HOME_SECONDS
from tests import work
from tests.contract.gates import LIMIT, lines, wait_gone, wait_written, warm, workers

MakePool = Callable[..., ProcessPoolExecutor]

# ------------------------------------------------------------------------------------- what cannot travel


class Holder:
    def __init__(self, **attributes: object) -> None:
        self.__dict__.update(attributes)


@pytest.mark.parametrize("by", ["submit", "map", "map in chunks"])
def test_unpicklable_argument_says_where_it_is(pool: ProcessPoolExecutor, by: str) -> None:
    argument = Holder(name="x", inner=Holder(lock=threading.Lock()))
    if by == "submit":
        ask = pool.submit(work.nothing, argument).result
    else:
        ask = pool.map(work.nothing, [argument], chunksize=1 if by == "map" else 2).__next__

    with pytest.raises(TypeError) as caught:
        ask()

    assert isinstance(caught.value, PicklingError)
    assert caught.value.direction == "argument"
    assert caught.value.path is not None
    assert caught.value.path.endswith("inner.lock")
    assert "lock" in str(caught.value)
    assert isinstance(caught.value.__cause__, TypeError)
    assert pool.submit(work.square, 3).result(LIMIT) == 9


def test_unpicklable_function_says_what_it_holds(pool: ProcessPoolExecutor) -> None:
    lock = threading.Lock()

    def locked() -> bool:
        return lock.locked()

    error = pool.submit(locked).exception(LIMIT)

    assert isinstance(error, PicklingError)
    assert "locked" in str(error)
    assert error.path is not None
    assert "lock" in error.path


def test_unpicklable_result_says_so(pool: ProcessPoolExecutor) -> None:
    pid = pool.submit(work.pid).result(LIMIT)

    error = pool.submit(work.unpicklable).exception(LIMIT)

    assert isinstance(error, PicklingError)
    assert error.direction == "result"
    assert "refuses to travel" in str(error)
    assert "unpicklable ran" in str(error)
    assert pool.submit(work.pid).result(LIMIT) == pid


def test_argument_that_cannot_be_rebuilt_says_so(pool: ProcessPoolExecutor) -> None:
    pid = pool.submit(work.pid).result(LIMIT)

    error = pool.submit(work.square, work.Poison(work.raise_value_error)).exception(LIMIT)

    assert isinstance(error, UnpicklingError)
    assert error.direction == "argument"
    assert isinstance(error.__cause__, ValueError)
    assert "boom" in str(error)
    assert pool.submit(work.pid).result(LIMIT) == pid


def test_result_that_cannot_be_rebuilt_says_so(pool: ProcessPoolExecutor) -> None:
    pid = pool.submit(work.pid).result(LIMIT)

    error = pool.submit(work.poison, work.raise_value_error).exception(LIMIT)

    assert isinstance(error, UnpicklingError)
    assert error.direction == "result"
    assert isinstance(error.__cause__, ValueError)
    assert pool.submit(work.pid).result(LIMIT) == pid


def test_module_that_only_the_parent_has_is_named(
    pool: ProcessPoolExecutor, start_method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if start_method == "fork":
        pytest.skip("a forked worker has it, too")
    module = tmp_path / "known_to_nobody_else.py"
    module.write_text("def fn():\n    return 1\n")
    pool.submit(work.pid).result(LIMIT)  # the worker has its path already
    monkeypatch.syspath_prepend(str(tmp_path))
    import importlib

    fn = importlib.import_module("known_to_nobody_else").fn

    try:
        error = pool.submit(fn).exception(LIMIT)
    finally:
        sys.modules.pop("known_to_nobody_else", None)

    assert isinstance(error, UnpicklingError)
    assert isinstance(error.__cause__, ModuleNotFoundError)
    assert "known_to_nobody_else" in str(error)


# ------------------------------------------------------------------------------------- what is no function


async def coroutine_function(x: int) -> int:
    return x


def test_coroutine_object_is_no_function_and_is_not_left_unawaited(pool: ProcessPoolExecutor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TypeError, match=r"submit\(coroutine_function, \.\.\.\)"):
            pool.submit(coroutine_function(3))  # type: ignore[arg-type]

    assert pool.submit(work.square, 3).result(LIMIT) == 9


@pytest.mark.parametrize("thing", [None, 3, "square", [work.square]])
def test_what_cannot_be_called_is_refused_at_once(pool: ProcessPoolExecutor, thing: Any) -> None:
    with pytest.raises(TypeError, match=f"type {type(thing).__name__} cannot be called"):
        pool.submit(thing)


def test_submit_without_a_function_is_refused(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(TypeError):
        pool.submit()  # type: ignore[call-arg]


def test_wrong_number_of_arguments_is_an_error_of_the_call(pool: ProcessPoolExecutor) -> None:
    error = pool.submit(work.square, 1, 2, 3).exception(LIMIT)

    assert isinstance(error, TypeError)
    assert "square()" in str(error)


# ------------------------------------------------------------------------------------- wrong pools


@pytest.mark.parametrize("n", [0, -1])
def test_pool_has_at_least_one_worker(context: Any, n: int) -> None:
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        ProcessPoolExecutor(n, context)


def test_grace_is_not_negative(context: Any) -> None:
    with pytest.raises(ValueError, match="grace"):
        ProcessPoolExecutor(1, context, grace=-1)


def test_submit_after_shutdown_is_refused(make_pool: MakePool) -> None:
    for used in (False, True):
        pool = make_pool(1)
        if used:
            pool.submit(work.pid).result(LIMIT)
        pool.shutdown()

        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            pool.submit(work.pid)
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            pool.map(work.square, [1])


def test_submit_after_kill_is_refused(make_pool: MakePool) -> None:
    for stop in ("kill_workers", "terminate_workers"):
        pool = make_pool(1)
        pid = pool.submit(work.pid).result(LIMIT)
        getattr(pool, stop)()

        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            pool.submit(work.pid)
        wait_gone(pid)


def test_forked_child_of_the_parent_is_told_at_once(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    pids = warm(pool, 2, tmp_path)
    pending = pool.submit(work.pid)
    child = os.fork()
    if child == 0:
        found = []
        try:
            signal.alarm(30)
            for use in (
                lambda: pool.submit(work.pid),
                lambda: pool.map(work.square, [1]),
                lambda: list(pool.map(work.square, [1], chunksize=2)),
            ):
                try:
                    use()
                except WrongProcess as error:
                    found.append(str(os.getppid()) in str(error))
            pool.shutdown()
            pool.kill_workers()
        finally:
            os._exit(0 if found == [True] * 3 else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pending.result(LIMIT) in pids
    assert warm(pool, 2, tmp_path, "after") == pids


def test_pool_does_not_travel(pool: ProcessPoolExecutor) -> None:
    error = pool.submit(work.nothing, pool).exception(LIMIT)

    assert isinstance(error, PicklingError)
    assert isinstance(error, TypeError)
    assert error.path == "args[0]"
    assert "ProcessPoolExecutor" in str(error)
    assert "Make a pool inside the call" in str(error)


def test_future_does_not_travel(pool: ProcessPoolExecutor) -> None:
    done = pool.submit(work.square, 3)
    done.result(LIMIT)

    errors = [
        pool.submit(work.nothing, done).exception(LIMIT),
        pool.submit(work.nothing, {"deep": [done]}).exception(LIMIT),
        pool.submit(lambda: [done.result()]).exception(LIMIT),
        pool.submit(work.nothing, concurrent.futures.Future()).exception(LIMIT),
    ]

    for error in errors:
        assert isinstance(error, PicklingError)
        assert isinstance(error, TypeError)
        assert "a Future lives in the process that made it" in str(error)
        assert str(error).endswith("Pass its result(), or submit when it is done.")
    assert [error.path for error in errors] == [  # type: ignore[union-attr]
        "args[0]",
        "args[0]['deep'][0]",
        "fn.__closure__['done']",
        "args[0]",
    ]


class NumberedFuture(concurrent.futures.Future[int]):
    """A future that says how it travels."""

    def __reduce__(self) -> tuple[Any, ...]:
        return NumberedFuture, ()


def test_future_that_says_how_it_travels_does(pool: ProcessPoolExecutor) -> None:
    assert pool.submit(type, NumberedFuture()).result(LIMIT) is NumberedFuture


# ------------------------------------------------------------------------------------- wrong options


@pytest.mark.parametrize("name", ["idle_timeout", "max_memory_per_child"])
def test_not_a_number_is_no_limit(make_pool: MakePool, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be greater than 0"):
        make_pool(1, **{name: math.nan})


@pytest.mark.parametrize("wrong", [-0.1, math.nan])
def test_grace_is_a_number_from_zero_on(make_pool: MakePool, wrong: float) -> None:
    with pytest.raises(ValueError, match="grace must not be negative"):
        make_pool(1, grace=wrong)


@pytest.mark.dealt
@pytest.mark.parametrize("seconds", [1e9, math.inf])
def test_times_may_be_as_long_as_you_like(make_pool: MakePool, tmp_path: Path, seconds: float) -> None:
    pool = make_pool(1, idle_timeout=seconds, grace=seconds)
    pid = pool.submit(work.pid).result(LIMIT)

    future = pool.submit(work.wait_for_ever, str(tmp_path / "started"))
    wait_written(tmp_path / "started")
    assert future.cancel()

    assert pool.submit(work.pid).result(LIMIT) != pid


@pytest.mark.parametrize("wrong", [2.5, "2"])
def test_number_of_workers_is_an_integer(make_pool: MakePool, wrong: object) -> None:
    with pytest.raises(TypeError, match="max_workers must be an integer"):
        make_pool(wrong)


@pytest.mark.parametrize("wrong", ["spawn", multiprocessing.Process])
def test_context_is_a_context(wrong: Any) -> None:
    with pytest.raises(TypeError, match="mp_context must be a context such as"):
        ProcessPoolExecutor(1, wrong)


# ------------------------------------------------------------------------------------- calls without manners


def test_call_that_closes_the_standard_streams(pool: ProcessPoolExecutor) -> None:
    pid = pool.submit(work.close_standard_streams).result(LIMIT)

    futures = [pool.submit(work.pid) for _ in range(20)]
    assert {future.result(LIMIT) for future in futures} <= workers(pool)
    assert pool.submit(work.length, b"x" * 1_000_000).result(LIMIT) == 1_000_000
    assert pool.submit(work.print_megabytes, 0).exception(LIMIT) is None or pid in workers(pool)


def test_call_that_closes_everything_ends_its_own_worker_only(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    pids = warm(pool, 2, tmp_path)

    future = pool.submit(work.close_all_descriptors)

    assert isinstance(future.exception(LIMIT), WorkerDied)
    after = warm(pool, 2, tmp_path, "after")
    assert len(after & pids) == 1


def test_call_that_changes_the_directory_changes_its_worker_s_only(
    make_pool: MakePool, tmp_path: Path
) -> None:
    here = os.getcwd()
    pool = make_pool(1)

    pool.submit(os.chdir, tmp_path).result(LIMIT)

    assert pool.submit(os.getcwd).result(LIMIT) == str(tmp_path)
    assert os.getcwd() == here
    assert pool.submit(work.square, 3).result(LIMIT) == 9


@pytest.mark.parametrize("code", [0, 1, 7])
def test_call_that_exits_says_its_code(pool: ProcessPoolExecutor, code: int) -> None:
    error = pool.submit(os._exit, code).exception(LIMIT)

    assert isinstance(error, WorkerDied)
    assert error.exitcode == code
    assert f"exit code {code}" in str(error)
    assert "os._exit" in str(error)


def test_call_that_installs_signal_handlers_can_still_be_stopped(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    future = pool.submit(work.take_all_signals_and_wait, str(started))
    while not started.exists():
        pass

    assert future.cancel()

    wait_gone(int(lines(started)[0]))
    assert pool.submit(work.square, 3).result(LIMIT) == 9


def test_call_that_blocks_all_signals_can_still_be_stopped(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    started = tmp_path / "started"
    future = pool.submit(work.block_all_signals_and_wait, str(started))
    while not started.exists():
        pass

    assert future.cancel()

    wait_gone(int(lines(started)[0]))
    assert pool.submit(work.square, 3).result(LIMIT) == 9


def test_handlers_that_a_call_leaves_behind_do_not_hurt_the_next(pool: ProcessPoolExecutor) -> None:
    pid = pool.submit(work.take_all_signals).result(LIMIT)

    assert [f.result(LIMIT) for f in [pool.submit(work.square, i) for i in range(50)]] == [
        i * i for i in range(50)
    ]
    assert pid in workers(pool)


@pytest.mark.parametrize("daemon", [True, False])
def test_threads_that_a_call_leaves_behind_do_not_hold_up_the_end(make_pool: MakePool, daemon: bool) -> None:
    pool = make_pool(1)
    pid = pool.submit(work.leave_thread, daemon).result(LIMIT)
    assert pool.submit(work.pid).result(LIMIT) == pid
    engine = pool._engine
    assert engine is not None
    assert engine._machine.home_grace == HOME_SECONDS
    engine._machine.home_grace = 0.5  # so long is its patience with a thread that is not a daemon

    pool.shutdown(wait=True)

    wait_gone(pid)


PRINTING = """
import sys
from ezflow import ProcessPoolExecutor
import multiprocessing
from tests import work
with ProcessPoolExecutor(2, multiprocessing.get_context(sys.argv[1])) as pool:
    futures = [pool.submit(work.print_megabytes, 50) for _ in range(2)]
    print("VALUES", [future.result(100) for future in futures], file=sys.stderr)
"""


def test_call_that_prints_a_hundred_megabytes(start_method: str) -> None:
    program = subprocess.run(
        [sys.executable, "-c", PRINTING, start_method],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=100,
        check=True,
    )

    assert program.stderr == "VALUES [50, 50]\n"


def test_call_that_prints_to_a_reader_who_never_reads_can_be_stopped(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    r, w = os.pipe()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        future = pool.submit(work.print_into, str(fifo))
        data = b""
        while not data:
            try:
                data = os.read(reader, 10)
            except BlockingIOError:
                pass

        assert future.cancel()

        assert pool.submit(work.square, 3).result(LIMIT) == 9
    finally:
        for fd in (r, w, reader):
            os.close(fd)


def test_call_that_takes_the_worker_s_memory_to_the_limit(pool: ProcessPoolExecutor) -> None:
    pid = pool.submit(work.limit_memory, 1 << 28).result(LIMIT)

    error = pool.submit(work.length_of_new, 1 << 34).exception(LIMIT)

    assert isinstance(error, MemoryError | WorkerDied)
    assert pool.submit(work.square, 3).result(LIMIT) == 9
    assert pid > 0


def test_call_that_forks_and_returns_in_both(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    for i in range(20):
        pool.submit(work.fork_and_return).result(LIMIT)
        assert pool.submit(work.append_and_give, str(tmp_path / "runs"), i).result(LIMIT) == i

    assert list(map(int, lines(tmp_path / "runs"))) == list(range(20))


def test_call_that_kills_its_parent_s_other_children_is_not_alone_in_the_world(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    pids = warm(pool, 2, tmp_path)

    future = pool.submit(os.kill, 0, signal.SIGKILL)  # its whole group: itself, and nobody else of ours

    assert isinstance(future.exception(LIMIT), WorkerDied)
    assert len(warm(pool, 2, tmp_path, "after") & pids) == 1


def test_call_that_changes_the_recursion_limit_and_the_switch_interval(pool: ProcessPoolExecutor) -> None:
    pool.submit(sys.setrecursionlimit, 60).exception(LIMIT)
    pool.submit(sys.setswitchinterval, 1e-6).result(LIMIT)

    assert pool.submit(work.square, 3).exception(LIMIT) is None


def test_call_that_deletes_modules_hurts_its_own_worker_at_most(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    warm(pool, 2, tmp_path)
    pool.submit(work.forget_modules).exception(LIMIT)

    futures = [pool.submit(work.square, i) for i in range(20)]

    for future in futures:
        future.exception(LIMIT)
    assert all(future.done() for future in futures)
