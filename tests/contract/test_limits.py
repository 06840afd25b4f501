"""Time limits of calls: counted from the start of running, enforced whatever the call does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from ezflow import CallInterrupted, CallTimeout, EzflowError, ProcessPoolExecutor
from tests import work
from tests.contract.gates import (
    LIMIT,
    Gate,
    lines,
    post,
    wait_gone,
    wait_until,
    wait_written,
    warm,
    workers,
)

MakePool = Callable[..., ProcessPoolExecutor]

SHORT = 0.3
"""Seconds that a call may run which never ends by itself."""


@pytest.mark.parametrize(
    "fn",
    [
        work.spin_python,
        work.spin_c,
        work.ignore_sigterm_and_spin,
        work.catch_exceptions_for_ever,
        work.swallow_interrupts,
        work.wait_for_ever,
    ],
    ids=["Python", "C", "ignores SIGTERM", "except Exception", "except BaseException", "waits"],
)
def test_call_is_stopped_at_its_limit(
    pool: ProcessPoolExecutor, tmp_path: Path, fn: Callable[[str], object]
) -> None:
    pids = warm(pool, 2, tmp_path)
    gate = Gate(tmp_path)
    sibling = pool.submit(work.pass_gate, *gate.args())
    gate.wait_arrived()
    started = tmp_path / "started"

    future = post(pool, fn, str(started), limit=SHORT)
    behind = [pool.submit(work.square, i) for i in range(5)]

    with pytest.raises(CallTimeout, match=rf"{fn.__name__} ran longer than its limit of 0\.3 s") as caught:
        future.result(LIMIT)
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, EzflowError)
    assert caught.value.seconds == SHORT
    assert caught.value.call == fn.__name__
    victim = int(wait_written(started))
    wait_gone(victim)
    assert [f.result(LIMIT) for f in behind] == [0, 1, 4, 9, 16]
    gate.open()
    assert {sibling.result(LIMIT)} == pids - {victim}
    assert warm(pool, 2, tmp_path, "after") & pids == pids - {victim}


def test_timeout_shows_where_the_call_was_stuck(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    future = post(pool, work.spin_deep_inside, str(tmp_path / "started"), limit=SHORT)

    error = future.exception(LIMIT)

    assert isinstance(error, CallTimeout)
    cause = error.__cause__
    assert isinstance(cause, CallInterrupted)
    names = [frame.name for frame in traceback.extract_tb(cause.__traceback__)]
    assert names[-2:] == ["spin_deep_inside", "innermost"]
    assert "innermost" in "".join(traceback.format_exception(error))


def test_finally_runs_at_the_limit(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    started, cleaned = tmp_path / "started", tmp_path / "cleaned"

    future = post(pool, work.mark_start_and_cleanup, str(started), str(cleaned), limit=SHORT)

    assert isinstance(future.exception(LIMIT), CallTimeout)
    assert wait_written(cleaned) == "cleaned"


def test_children_of_the_call_end_with_it(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    path = tmp_path / "pids"

    future = post(pool, work.start_child_and_wait, str(path), limit=5 * SHORT)

    assert isinstance(future.exception(LIMIT), CallTimeout)
    wait_gone(*map(int, wait_written(path).split()))


def test_clock_starts_when_the_call_does(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    warm(pool, 1, tmp_path)
    # Each is within its limit, all together and each with its waiting are far beyond.
    slow = pool.submit(time.sleep, 3.0)

    futures = [post(pool, work.square, i, limit=2.0) for i in range(200)]

    assert [future.result(LIMIT) for future in futures] == [i * i for i in range(200)]
    assert slow.result(0) is None


def test_clock_does_not_run_while_the_worker_starts(make_pool: MakePool, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    pool = make_pool(1, initializer=work.pass_gate, initargs=gate.args())

    future = post(pool, work.square, 3, limit=1.0)
    gate.wait_arrived()
    sleeper = threading.Timer(1.5, gate.open)
    sleeper.start()

    assert future.result(LIMIT) == 9
    sleeper.join()


def test_call_that_was_sent_ahead_has_a_clock_of_its_own(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    started = tmp_path / "started"
    quick = [post(pool, time.sleep, 0.01, limit=5.0) for _ in range(10)]

    stuck = post(pool, work.spin_python, str(started), limit=SHORT)
    behind = [post(pool, time.sleep, 0.01, limit=5.0) for _ in range(10)]

    assert isinstance(stuck.exception(LIMIT), CallTimeout)
    assert [f.result(LIMIT) for f in quick + behind] == [None] * 20


def test_limit_that_does_not_fire_changes_nothing(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    pids = warm(pool, 2, tmp_path)

    futures = [post(pool, work.square, i, limit=30.0) for i in range(2000)]

    assert [future.result(LIMIT) for future in futures] == [i * i for i in range(2000)]
    assert workers(pool) == pids
    assert pool._engine._machine.next_deadline() is None  # nothing is left to watch


def test_a_burst_of_timeouts_hits_exactly_those_who_hang(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    futures = []
    for i in range(60):
        if i % 10 == 3:
            futures.append(post(pool, work.append_then, str(runs), work.spin, limit=SHORT))
        else:
            futures.append(pool.submit(work.append_and_give, str(runs), -i))

    errors = [future.exception(LIMIT) for future in futures]

    assert [i for i, error in enumerate(errors) if error is not None] == list(range(3, 60, 10))
    assert all(isinstance(error, CallTimeout) for error in errors if error is not None)
    assert len(lines(runs)) == 60  # and nobody ran twice


@pytest.mark.parametrize("error", [TimeoutError("mine"), CallTimeout("mine"), CallInterrupted("mine")])
def test_error_of_the_user_s_own_is_no_limit(pool: ProcessPoolExecutor, error: BaseException) -> None:
    pid = pool.submit(work.pid).result(LIMIT)

    got = post(pool, work.fail, error, limit=30.0).exception(LIMIT)

    assert type(got) is type(error)
    assert str(got) == "mine"
    assert getattr(got, "seconds", None) is None
    assert pool.submit(work.pid).result(LIMIT) == pid


def test_call_that_answers_the_interrupt_with_a_value_timed_out_all_the_same(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    future = post(pool, work.return_when_interrupted, str(tmp_path / "started"), limit=SHORT)

    assert isinstance(future.exception(LIMIT), CallTimeout)
    wait_gone(int(wait_written(tmp_path / "started")))


def test_error_raised_while_cleaning_up_is_the_cause(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    future = post(pool, work.fail_when_interrupted, str(tmp_path / "started"), limit=SHORT)

    error = future.exception(LIMIT)

    assert isinstance(error, CallTimeout)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert isinstance(error.__cause__.__context__, CallInterrupted)


def test_limit_holds_while_the_argument_is_unpickled_and_the_result_pickled(
    pool: ProcessPoolExecutor,
) -> None:
    for fn, args in ((work.nothing, (work.Poison(work.spin),)), (work.pickle_bomb, (work.spin,))):
        error = post(pool, fn, *args, limit=SHORT).exception(LIMIT)

        assert isinstance(error, CallTimeout)
        assert isinstance(error.__cause__, CallInterrupted)


def test_many_rounds_of_limits_lose_nothing(make_pool: MakePool, tmp_path: Path) -> None:
    # Limits near the time that the calls take: every order of answer and limit comes up.
    pool = make_pool(2)
    warm(pool, 2, tmp_path)
    runs = tmp_path / "runs"
    for nth in range(15):
        futures = [
            post(pool, work.append_and_sleep, str(runs), f"{nth}-{i}", 0.03, limit=0.03) for i in range(4)
        ]
        innocent = [pool.submit(work.square, i) for i in range(20)]

        for future in futures:
            assert future.exception(LIMIT) is None or isinstance(future.exception(0), CallTimeout)
        assert [f.result(LIMIT) for f in innocent] == [i * i for i in range(20)]
    assert len(lines(runs)) == len(set(lines(runs)))  # none ran twice


STOPPED_PARENT = """
import os, sys
from ezflow import ProcessPoolExecutor
from tests import work
pool = ProcessPoolExecutor(1, None)
pool.submit(work.pid).result(60)
future = pool.submit.timeout(2.0)(work.pass_gate, sys.argv[1], sys.argv[2])
print("running", flush=True)
print(type(future.exception(60)), flush=True)
pool.shutdown()
"""


def test_parent_that_was_stopped_reads_before_it_judges(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    program = subprocess.Popen(
        [sys.executable, "-c", STOPPED_PARENT, *gate.args()], stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "running\n"
    gate.wait_arrived()

    os.kill(program.pid, signal.SIGSTOP)  # Ctrl-Z
    gate.open()  # the call ends within its limit, while nobody reads its answer
    time.sleep(2.5)  # the limit passes
    os.kill(program.pid, signal.SIGCONT)

    out, _ = program.communicate(timeout=LIMIT)
    assert out == "<class 'NoneType'>\n"


def test_no_limit_ends_a_pool_early(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    future = post(pool, work.spin_python, str(tmp_path / "started"), limit=SHORT)
    behind = [pool.submit(work.square, i) for i in range(10)]

    pool.shutdown(wait=True)

    assert isinstance(future.exception(0), CallTimeout)
    assert [f.result(0) for f in behind] == [i * i for i in range(10)]


def test_cancel_and_limit_at_the_same_time_end_the_call_once(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    for nth in range(10):
        started = tmp_path / f"started-{nth}"
        future = post(pool, work.spin_python, str(started), limit=0.05)
        wait_until(future.running)
        spin_until = time.monotonic() + 0.045 + nth * 0.001
        while time.monotonic() < spin_until:
            pass

        future.cancel()

        if not future.cancelled():
            assert isinstance(future.exception(0), CallTimeout)
    assert pool.submit(work.square, 3).result(LIMIT) == 9


def test_result_of_a_call_whose_time_was_up_before_its_turn_counts_no_run(
    make_pool: MakePool, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    pool = make_pool(1)
    busy = pool.submit(work.pass_gate, *gate.args())
    gate.wait_arrived()

    result = pool.submit.within(SHORT).results()(work.square, 3).result(LIMIT)
    gate.open()

    assert isinstance(result.err, CallTimeout)
    assert (result.attempts, result.pid) == (0, None)
    busy.result(LIMIT)
