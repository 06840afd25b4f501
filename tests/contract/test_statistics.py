"""What `pool.statistics()` counts."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from ezflow import CallTimeout, ProcessPoolExecutor, WorkerDied
from tests import work
from tests.contract.gates import LIMIT, Gate, post, wait_until

MakePool = Callable[..., ProcessPoolExecutor]


def test_pool_that_has_not_begun_counts_nothing(pool: ProcessPoolExecutor) -> None:
    numbers = pool.statistics()

    assert set(numbers[:-1]) == {0}
    assert numbers.calls == {}


def test_calls_are_counted_by_their_end_before_their_futures_resolve(pool: ProcessPoolExecutor) -> None:
    list(pool.map(work.square, range(30)))
    assert pool.statistics().done == 30
    with pytest.raises(ValueError, match="boom"):
        pool.submit(work.raise_value_error).result(LIMIT)
    assert pool.statistics().failed == 1
    with pytest.raises(WorkerDied):
        pool.submit(work.exit_at_once, 3).result(LIMIT)
    with pytest.raises(CallTimeout):
        post(pool, work.wait_for_file, "/never", limit=0.2).result(LIMIT)

    numbers = pool.statistics()

    assert (numbers.done, numbers.failed, numbers.cancelled) == (30, 3, 0)
    assert (numbers.queued, numbers.running) == (0, 0)
    assert numbers.died == 1
    assert pool.submit(work.square, 2).result(LIMIT) == 4  # by a successor, if there is no other worker
    assert pool.statistics().done == 31


def test_waiting_running_and_cancelled_calls_are_told_apart(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    gate = Gate(tmp_path)
    running = pool.submit(work.pass_gate, *gate.args())
    gate.wait_arrived()
    waiting = [pool.submit(work.square, i) for i in range(10)]
    wait_until(lambda: pool.statistics().queued == 10)
    assert pool.statistics().running == 1

    assert all(future.cancel() for future in waiting[:4])
    wait_until(lambda: pool.statistics().cancelled == 4)
    assert running.cancel()
    assert [future.result(LIMIT) for future in waiting[4:]] == [i * i for i in range(4, 10)]
    with pytest.raises(CancelledError):
        running.result(LIMIT)

    wait_until(lambda: pool.statistics().cancelled == 5)
    numbers = pool.statistics()
    assert (numbers.done, numbers.failed) == (6, 0)
    assert numbers.restarts == 1
    assert numbers.died == 0


def test_call_that_is_run_again_counts_once(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="boom"):
        pool.submit.retry(2)(work.raise_value_error).result(LIMIT)

    assert pool.statistics().failed == 1
    assert pool.statistics().done == 0


def test_durations_are_kept_by_label(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    list(pool.map(work.square, range(500)))
    list(pool.map.named("cubes")(pow, range(100), [3] * 100))
    post(pool, work.append_and_sleep, str(tmp_path / "log"), "slow", 0.2).result(LIMIT)

    calls = pool.statistics().calls

    assert {label: times.n for label, times in calls.items()} == {
        "square": 500,
        "cubes": 100,
        "append_and_sleep": 1,
    }
    slow = calls["append_and_sleep"]
    assert slow.mean >= 0.2
    assert slow.p50 >= 0.18
    assert slow.p95 >= slow.p50
    assert calls["square"].p50 <= calls["square"].p95 < LIMIT


def test_labels_are_bounded(pool: ProcessPoolExecutor) -> None:
    for number in range(300):
        pool.submit.named(f"call {number}")(work.square, number).result(LIMIT)

    calls = pool.statistics().calls

    assert len(calls) == 257
    assert calls["others"].n == 44


def test_bytes_are_counted_also_of_workers_that_are_gone(make_pool: MakePool) -> None:
    pool = make_pool(1)
    assert pool.submit(work.length, bytes(1_000_000)).result(LIMIT) == 1_000_000
    assert len(pool.submit(work.big, 2_000_000).result(LIMIT)) == 2_000_000
    before = pool.statistics()
    pool.shutdown()
    after = pool.statistics()

    assert 1_000_000 <= before.bytes_sent < 1_100_000
    assert 2_000_000 <= before.bytes_received < 2_100_000
    assert after.bytes_sent >= before.bytes_sent
    assert after.bytes_received == before.bytes_received
    assert after.workers == 0


def test_workers_that_are_replaced_are_restarts(make_pool: MakePool) -> None:
    pool = make_pool(1, max_tasks_per_child=1)
    pids = {pool.submit(work.pid).result(LIMIT) for _ in range(4)}

    assert len(pids) == 4
    assert pool.statistics().restarts == 3
    assert pool.statistics().died == 0


def test_record_is_frozen_shared_by_views_and_can_be_pickled(pool: ProcessPoolExecutor) -> None:
    pool.timeout(60).submit(work.square, 2).result(LIMIT)

    numbers = pool.retry(1).statistics()

    assert numbers.done == 1
    assert pickle.loads(pickle.dumps(numbers)) == numbers
    with pytest.raises(AttributeError):
        numbers.done = 5  # type: ignore[misc]
    assert "done=1" in repr(numbers)
