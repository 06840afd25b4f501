"""Cancelling: what waits never starts, what runs is stopped, nobody else notices."""

from __future__ import annotations

import concurrent.futures
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ezflow import ProcessPoolExecutor
from tests import work
from tests.contract.gates import (
    LIMIT,
    Gate,
    lines,
    wait_gone,
    wait_until,
    wait_written,
    warm,
    workers,
)

MakePool = Callable[..., ProcessPoolExecutor]


@pytest.mark.parametrize("cancel_running", [True, False])
def test_waiting_call_that_is_cancelled_never_starts(
    make_pool: MakePool, tmp_path: Path, cancel_running: bool
) -> None:
    pool = make_pool(1, cancel_running=cancel_running)
    runs = tmp_path / "runs"
    for nth in range(20):
        gate = Gate(tmp_path, f"gate-{nth}")
        blocker = pool.submit(work.pass_gate, *gate.args())
        gate.wait_arrived()
        futures = [pool.submit(work.append_and_give, str(runs), i) for i in range(50)]

        assert all(future.cancel() for future in futures)
        assert all(future.cancelled() and future.done() for future in futures)
        gate.open()
        blocker.result(LIMIT)

    assert pool.submit(work.square, 3).result(LIMIT) == 9  # everything before it has passed
    assert lines(runs) == []


def test_call_that_waits_for_its_worker_to_start_never_starts(make_pool: MakePool, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    pool = make_pool(1, initializer=work.pass_gate, initargs=gate.args())
    futures = [pool.submit(work.append_and_give, str(tmp_path / "runs"), i) for i in range(50)]
    gate.wait_arrived()

    assert all(future.cancel() for future in futures[:-1])
    gate.open()

    assert futures[-1].result(LIMIT) == 49
    assert lines(tmp_path / "runs") == ["49"]


@pytest.mark.parametrize("n_workers", [1, 3])
@pytest.mark.parametrize("order", ["front", "back", "random"])
def test_cancel_in_a_race_with_the_start_is_exact(
    make_pool: MakePool, tmp_path: Path, order: str, n_workers: int
) -> None:
    pool = make_pool(n_workers, cancel_running=False)
    n = 1000
    indices = list(range(n))
    if order == "back":
        indices.reverse()
    elif order == "random":
        random.Random(3).shuffle(indices)
    seen: set[bool] = set()
    for attempt in range(40):  # until the race has gone both ways; mostly at the first
        runs, gate = tmp_path / f"runs-{attempt}", Gate(tmp_path, f"gate-{attempt}")
        blockers = [pool.submit(work.pass_gate, *gate.args()) for _ in range(n_workers)]
        gate.wait_arrived(n_workers)
        futures = [pool.submit(work.append_and_give, str(runs), i) for i in range(n)]
        gate.open()
        concurrent.futures.wait(blockers[: attempt % (n_workers + 1)], LIMIT)

        answers = {i: futures[i].cancel() for i in indices}

        concurrent.futures.wait(futures, LIMIT)
        assert pool.submit(work.square, 3).result(LIMIT) == 9
        ran = sorted(map(int, lines(runs)))
        assert len(ran) == len(set(ran))
        for i, future in enumerate(futures):
            assert answers[i] == future.cancelled()  # what it said is what happened
            if not future.cancelled():
                assert future.result(0) == i
        assert ran == [i for i in range(n) if not answers[i]]  # each ran and returned, or left no trace
        seen.update(answers.values())
        if len(seen) == 2:
            break
    assert seen == {True, False}


def test_cancel_from_many_threads_is_exact(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(2, cancel_running=False)
    runs = tmp_path / "runs"
    futures = [pool.submit(work.append_and_give, str(runs), i) for i in range(1000)]
    answers: list[list[bool]] = [[], [], [], []]

    def cancel(mine: list[bool]) -> None:
        mine.extend(future.cancel() for future in futures[::-1])

    threads = [threading.Thread(target=cancel, args=(mine,)) for mine in answers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)

    concurrent.futures.wait(futures, LIMIT)
    pool.shutdown()
    for mine in answers:  # they agree, and so does the future
        assert mine == [future.cancelled() for future in futures[::-1]]
    assert sorted(map(int, lines(runs))) == [i for i, f in enumerate(futures) if not f.cancelled()]


def test_running_call_is_stopped(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    pids = warm(pool, 2, tmp_path)
    started, cleaned = tmp_path / "started", tmp_path / "cleaned"
    future = pool.submit(work.mark_start_and_cleanup, str(started), str(cleaned))
    victim = int(wait_written(started))

    assert future.cancel()

    assert future.cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(0)
    wait_gone(victim)
    assert wait_written(cleaned) == "cleaned"  # ``finally`` ran
    after = warm(pool, 2, tmp_path, "after")
    assert after & pids == pids - {victim}  # the sibling stays, the victim is replaced


@pytest.mark.parametrize("fn", [work.spin_python, work.spin_c, work.swallow_interrupts])
def test_call_that_does_not_react_is_killed(
    pool: ProcessPoolExecutor, tmp_path: Path, fn: Callable[[str], object]
) -> None:
    pids = warm(pool, 2, tmp_path)
    started = tmp_path / "started"
    future = pool.submit(fn, str(started))
    victim = int(wait_written(started))

    assert future.cancel()

    wait_gone(victim)
    assert warm(pool, 2, tmp_path, "after") & pids == pids - {victim}


def test_what_a_cancelled_call_has_started_ends_too(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    path = tmp_path / "pids"
    future = pool.submit(work.start_child_and_wait, str(path))
    pids = list(map(int, wait_written(path).split()))

    assert future.cancel()

    wait_gone(*pids)


def test_grace_is_the_user_s_choice(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1, grace=60.0)
    started, gate = tmp_path / "started", tmp_path / "gate"
    future = pool.submit(work.finish_when_interrupted, str(started), str(gate), str(tmp_path / "finished"))
    victim = int(wait_written(started))

    assert future.cancel()
    gate.touch()

    wait_until((tmp_path / "finished").exists, "the end of a long clean-up")
    wait_gone(victim)


def test_calls_around_a_cancelled_one_run_once(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    gate = Gate(tmp_path)
    before = [pool.submit(work.append_and_give, str(runs), i) for i in range(100)]
    future = pool.submit(work.pass_gate, *gate.args())
    behind = [pool.submit(work.append_and_give, str(runs), i) for i in range(100, 300)]
    gate.wait_arrived()

    assert future.cancel()

    assert [f.result(LIMIT) for f in before + behind] == list(range(300))
    assert sorted(map(int, lines(runs))) == list(range(300))


def test_finished_call_cannot_be_cancelled(pool: ProcessPoolExecutor) -> None:
    future = pool.submit(work.square, 3)
    assert future.result(LIMIT) == 9

    assert not future.cancel()

    assert not future.cancelled()
    assert future.result(0) == 9


def test_cancelling_twice_is_the_same_as_once(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    future = pool.submit(work.pass_gate, *gate.args())
    gate.wait_arrived()

    assert [future.cancel() for _ in range(3)] == [True] * 3

    assert pool.submit(work.square, 3).result(LIMIT) == 9


def test_standard_cancel_leaves_a_running_call_alone(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(2, cancel_running=False)
    gate = Gate(tmp_path)
    future = pool.submit(work.pass_gate, *gate.args())
    (pid,) = gate.wait_arrived()

    assert [future.cancel() for _ in range(3)] == [False] * 3

    assert future.running()
    gate.open()
    assert future.result(LIMIT) == pid
    assert workers(pool) == {pid}


def test_everybody_who_waits_hears_of_a_cancel(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    blockers = [pool.submit(work.pass_gate, *gate.args()) for _ in range(2)]
    gate.wait_arrived(2)
    future = pool.submit(work.square, 3)
    heard: list[str] = []

    def wait_result() -> None:
        try:
            future.result(LIMIT)
        except concurrent.futures.CancelledError:
            heard.append("result")

    def wait_many() -> None:
        concurrent.futures.wait([future], LIMIT)
        heard.append("wait")

    def wait_completed() -> None:
        heard.extend("as_completed" for _ in concurrent.futures.as_completed([future], LIMIT))

    future.add_done_callback(lambda f: heard.append("callback") if f.cancelled() else None)
    threads = [threading.Thread(target=fn) for fn in (wait_result, wait_many, wait_completed)]
    for thread in threads:
        thread.start()

    assert future.cancel()

    for thread in threads:
        thread.join(LIMIT)
    wait_until(lambda: len(heard) == 4, "all who waited")
    assert sorted(heard) == ["as_completed", "callback", "result", "wait"]
    gate.open()
    concurrent.futures.wait(blockers, LIMIT)


@pytest.mark.parametrize("rounds", [100, pytest.param(3000, marks=pytest.mark.stress)])
def test_cancel_at_any_moment_hits_no_other_call(make_pool: MakePool, tmp_path: Path, rounds: int) -> None:
    pool = make_pool(2)
    rng = random.Random(7)
    ended = 0
    for nth in range(rounds):
        runs = tmp_path / f"runs-{nth}"
        before = [pool.submit(work.append_and_give, str(runs), i) for i in range(10)]
        future = pool.submit(work.add_up, rng.choice([100, 100_000]))
        behind = [pool.submit(work.append_and_give, str(runs), i) for i in range(10, 30)]
        spin(rng.randrange(20_000))

        if not future.cancel():
            ended += 1
            assert future.exception(0) is None

        assert [f.result(LIMIT) for f in before + behind] == list(range(30))
        assert sorted(map(int, lines(runs))) == list(range(30))
        runs.unlink()
    assert pool.submit(work.square, 3).result(LIMIT) == 9
    wait_until(lambda: len(workers(pool)) <= 2, "the end of those that were stopped")


def spin(n: int) -> None:
    """Let a little time pass, of random length."""
    for _ in range(n):
        pass


def test_cancel_of_everything_at_once(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    futures = [pool.submit(work.pass_gate, *gate.args()) for _ in range(200)]
    pids = set(gate.wait_arrived(2))

    assert all(
        future.cancel() for future in reversed(futures)
    )  # those that run last: nobody takes their place

    wait_gone(*pids)
    assert len(gate.arrived()) == 2  # no other ever started
    assert pool.submit(os.getpid).result(LIMIT) not in pids
