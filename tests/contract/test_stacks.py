"""What `pool.stacks()` tells of workers, and where a call was whose limit ended in a kill."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ezflow import CallTimeout, ProcessPoolExecutor
from tests import work
from tests.contract.gates import KEPT, LIMIT, Gate, post, wait_until, wait_written, workers

MakePool = Callable[..., ProcessPoolExecutor]


def test_pool_without_workers_tells_nothing(pool: ProcessPoolExecutor) -> None:
    assert pool.stacks() == {}


def test_idle_workers_say_so(pool: ProcessPoolExecutor) -> None:
    assert pool.submit(work.square, 3).result(LIMIT) == 9

    assert set(pool.stacks()) == workers(pool)
    assert "idle" in pool.stacks().values()


def test_running_call_is_shown_with_its_source_and_without_our_own_frames(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    future = pool.submit(work.pass_gate, *gate.args())
    [pid] = gate.wait_arrived()

    text = pool.stacks()[pid]

    head, *lines = text.splitlines()
    assert head == "runs pass_gate (most recent call last):"
    assert lines[0].endswith("in pass_gate")
    assert "worker.py" not in text
    gate.open()
    assert future.result(LIMIT) == pid


def test_call_that_hangs_in_c_with_the_lock_held_is_shown(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    pool.submit(work.spin_c, str(tmp_path / "started"))
    wait_written(tmp_path / "started")

    [text] = pool.stacks().values()

    assert "in spin_c" in text


def test_other_threads_of_the_call_are_shown_below(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    pool.submit(work.start_thread).result(LIMIT)
    pool.submit(work.spin_c, str(tmp_path / "started"))
    wait_written(tmp_path / "started")

    [text] = pool.stacks().values()

    call, other = text.index("in spin_c"), text.index("\nThread 0x")
    assert call < other


def test_asking_many_times_disturbs_nothing(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    future = pool.submit(work.pass_gate, *gate.args())
    [pid] = gate.wait_arrived()

    for _ in range(50):
        assert "in pass_gate" in pool.stacks()[pid]
    gate.open()

    assert future.result(LIMIT) == pid
    assert sum(pool.map(work.square, range(50))) == 40425


def test_worker_in_its_initializer_is_shown(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(
        1, initializer=work.mark_and_wait, initargs=(str(tmp_path / "here"), str(tmp_path / "go"))
    )
    future = pool.submit(work.square, 2)
    wait_until((tmp_path / "here").exists)
    wait_until(pool.stacks)  # a forked worker may be there before its process id is known here

    [text] = pool.stacks().values()

    assert text.startswith("starting")
    assert "in mark_and_wait" in text
    (tmp_path / "go").write_text("")
    assert future.result(LIMIT) == 4


@pytest.mark.slow
def test_stopped_worker_is_said_to_give_no_answer(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    gate = Gate(tmp_path)
    future = pool.submit(work.pass_gate, *gate.args())
    [pid] = gate.wait_arrived()
    os.kill(pid, signal.SIGSTOP)

    assert "gave no answer" in pool.stacks()[pid]
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: "in pass_gate" in pool.stacks()[pid])
    gate.open()

    assert future.result(LIMIT) == pid


def test_views_and_a_pool_that_was_shut_down_answer(pool: ProcessPoolExecutor) -> None:
    pool.submit(work.square, 3).result(LIMIT)
    assert pool.timeout(5).stacks().keys() == pool.stacks().keys()

    pool.shutdown()

    assert pool.stacks() == {}


# ---------------------------------------------------------------- limits that end in a kill


def test_timeout_of_a_call_that_hung_in_c_tells_where(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    future = post(pool, work.spin_c, str(tmp_path / "started"), limit=KEPT)

    error = future.exception(LIMIT)

    assert isinstance(error, CallTimeout)
    assert error.__cause__ is None
    assert error.stack is not None
    assert "in spin_c" in error.stack
    assert any(error.stack in note for note in error.__notes__)
    again = pickle.loads(pickle.dumps(error))
    assert again.stack == error.stack


def test_timeout_of_a_call_that_was_interrupted_tells_where(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    future = post(pool, work.spin_python, str(tmp_path / "started"), limit=KEPT)

    error = future.exception(LIMIT)

    assert isinstance(error, CallTimeout)
    assert error.stack is not None
    assert "in spin_python" in error.stack
    assert not hasattr(error, "__notes__")


def test_end_of_the_whole_time_tells_where(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    pool.submit(work.square, 2).result(LIMIT)
    future = pool.submit.within(KEPT)(work.spin_c, str(tmp_path / "started"))

    error = future.exception(LIMIT)

    assert isinstance(error, CallTimeout)
    assert error.stack is not None
    assert "in spin_c" in error.stack


@pytest.mark.skipif(sys.platform != "linux", reason="a stopped process is seen by the kernel's word")
def test_stopped_worker_is_killed_at_its_limit_without_a_stack(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    pool.submit(work.square, 2).result(LIMIT)
    gate = Gate(tmp_path)
    future = post(pool, work.pass_gate, *gate.args(), limit=1.0)
    [pid] = gate.wait_arrived()
    os.kill(pid, signal.SIGSTOP)

    error = future.exception(LIMIT)

    assert isinstance(error, CallTimeout)
    assert error.stack is None
    assert pool.submit(work.square, 3).result(LIMIT) == 9
