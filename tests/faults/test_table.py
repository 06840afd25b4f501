"""The table of faults: whatever happens at whatever moment, the call ends and nothing else does.

One row for each pair (moment, fault): the error that the call ends in, or why
the pair is meaningless.  After each row: nothing else failed, the same pool
takes calls, other workers kept their pids, the worker itself was replaced only
if it had to be, and (fixture `no_leaks`) nothing is left behind.
"""

from __future__ import annotations

import concurrent.futures
import errno
import gc
import logging
import os
import random
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ezflow import (
    CallInterrupted,
    CallTimeout,
    Future,
    PoolBroken,
    ProcessPoolExecutor,
    UnpicklingError,
    WorkerDied,
)
from ezflow._engine import template
from ezflow._wire.messages import HEADER
from tests import work
from tests.contract.gates import LIMIT, Gate, lines, post, wait_gone, wait_until, warm, workers
from tests.faults.stage import (
    DIES,
    HANGS,
    IN_WORKER,
    MB,
    SHORT,
    Stage,
    call_at,
    check_death,
    check_raised,
    error_of,
    hang_begun,
    hang_ends,
    hang_here,
    hanging,
    item_at,
)

MakePool = Callable[..., ProcessPoolExecutor]

# ------------------------------------------------------------------------------------- the table

MOMENTS = (
    "pickling the argument",
    "unpickling the argument",
    "during the call",
    "pickling the result",
    "unpickling the result",
    "pickling the exception",
    "unpickling the exception",
    "in the initializer",
    "in a callback",
    "half-way to the worker",
    "half-way from the worker",
    "between claim and start",
    "holding a shared segment",
    "during shutdown",
    "while starting",
    "inside submit",
    "inside cancel",
    "in a finaliser",
)

FAULTS = (
    "raise",
    "sys.exit",
    "os._exit",
    "SIGKILL",
    "SIGTERM",
    "SIGSTOP",
    "segfault",
    "hang in Python",
    "hang in C",
    "fork bomb child",
    "large value",
    "full /dev/shm",
    "too many files",
    "too many processes",
    "forked child returns",
    "template killed",
    "terminal stop",
)

OWN = "it would be the parent itself that ends, stops or runs out; its workers' side is in tests/life"
NO_SHM = "nothing lives in shared memory yet"
NO_USER_CODE = "no code of the user's runs at this moment, so nobody can do this"
NO_START = "a worker starts no process and opens no file for a call"
ELSEWHERE = "is the row 'during the call': the value travels, nothing else happens"
TEMPLATE = "no worker is started at this moment: is the row 'while starting'"
NO_TERMINAL = "a worker has no terminal; is the row 'during the call'"

PAIRS: dict[tuple[str, str], str] = {}
"""Why a pair is meaningless, or the name of the test that covers it."""


def covers(moments: str | tuple[str, ...], faults: str | tuple[str, ...]) -> Callable[[Any], Any]:
    """Enter a test in the table."""

    def enter(test: Any) -> Any:
        for moment in (moments,) if isinstance(moments, str) else moments:
            for fault in (faults,) if isinstance(faults, str) else faults:
                assert moment in MOMENTS, moment
                assert fault in FAULTS, fault
                PAIRS[moment, fault] = f"test: {test.__name__}"
        return test

    return enter


def meaningless(moments: str | tuple[str, ...], faults: str | tuple[str, ...], reason: str) -> None:
    """Enter a reason in the table, where there is no test."""
    for moment in (moments,) if isinstance(moments, str) else moments:
        for fault in (faults,) if isinstance(faults, str) else faults:
            PAIRS.setdefault((moment, fault), reason)


# ------------------------------------------------------------------------------------- in the worker, in one call


@covers(IN_WORKER, ("raise", "sys.exit"))
@pytest.mark.parametrize("fault", ["raise", "sys.exit"])
@pytest.mark.parametrize("moment", IN_WORKER)
def test_error_in_a_call_is_its_own_only(stage: Stage, moment: str, fault: str) -> None:
    act = stage.act(*((work.sys_exit, 3) if fault == "sys.exit" else (work.raise_value_error,)))

    future = stage.pool.submit(*call_at(moment, act))

    check_raised(moment, fault, error_of(future))
    stage.check_after(replaced=False, runs=None if moment.startswith("pickling") else 1)


@covers(IN_WORKER, tuple(DIES))
@pytest.mark.parametrize("fault", DIES)
@pytest.mark.parametrize("moment", IN_WORKER)
def test_death_fails_the_running_call_only(stage: Stage, moment: str, fault: str) -> None:
    fn, args, exitcode = DIES[fault]
    queued_before = [stage.pool.submit(work.square, i) for i in range(3)]

    future = stage.pool.submit(*call_at(moment, stage.act(fn, *args)))
    queued_behind = [stage.pool.submit(work.square, i) for i in range(3)]

    check_death(error_of(future), stage.victim, exitcode)
    assert [f.result(LIMIT) for f in queued_before + queued_behind] == [0, 1, 4] * 2
    stage.check_after(replaced=True)


@covers(IN_WORKER, tuple(HANGS))
@pytest.mark.parametrize("end", ["limit", "cancel"])
@pytest.mark.parametrize("fault", HANGS)
@pytest.mark.parametrize("moment", IN_WORKER)
def test_hang_ends_at_limit_or_cancel(stage: Stage, moment: str, fault: str, end: str) -> None:
    call = call_at(moment, stage.act(HANGS[fault]))

    future = post(stage.pool, *call, limit=SHORT if end == "limit" else None)
    behind = [stage.pool.submit(work.square, i) for i in range(3)]
    assert stage.wait_acted() == stage.victim
    if end == "cancel":
        assert future.cancel()

    if end == "cancel":
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(LIMIT)
    else:
        error = error_of(future)
        assert isinstance(error, CallTimeout)
        assert error.seconds == SHORT
        if fault == "hang in Python":  # it reacts, so the place is known
            assert isinstance(error.__cause__, CallInterrupted)
    assert [f.result(LIMIT) for f in behind] == [0, 1, 4]
    stage.check_after(replaced=True)


@covers(IN_WORKER, "fork bomb child")
@pytest.mark.parametrize("end", ["exit", "limit", "cancel"])
@pytest.mark.parametrize("moment", IN_WORKER)
def test_children_of_a_call_end_with_its_worker(stage: Stage, moment: str, end: str) -> None:
    tree = stage.folder / "tree"
    then = (work.exit_at_once, 7) if end == "exit" else (work.spin,)
    call = call_at(moment, stage.act(work.start_tree_and, str(tree), *then))

    future = post(stage.pool, *call, limit=3 * SHORT if end == "limit" else None)
    if end == "cancel":
        wait_until(lambda: len(lines(tree)) == 16, "the children")
        assert future.cancel()
    else:
        assert isinstance(error_of(future), CallTimeout if end == "limit" else WorkerDied)

    wait_gone(stage.victim)
    wait_gone(*map(int, lines(tree)))
    stage.check_after(replaced=True)


@covers(IN_WORKER, "forked child returns")
@pytest.mark.parametrize("moment", IN_WORKER)
def test_forked_child_that_returns_is_no_second_worker(stage: Stage, moment: str) -> None:
    future = stage.pool.submit(*call_at(moment, stage.act(work.fork_into_the_loop)))
    behind = [stage.pool.submit(work.append_and_give, str(stage.folder / "behind"), i) for i in range(50)]
    big = [stage.pool.submit(work.length, b"x" * 300_000) for _ in range(10)]

    if moment == "pickling the exception":
        assert isinstance(error_of(future), ValueError)
    else:
        assert future.result(LIMIT) in ("forked", None)
    assert [f.result(LIMIT) for f in behind] == list(range(50))
    assert [f.result(LIMIT) for f in big] == [300_000] * 10
    stage.check_after(replaced=False)
    assert sorted(map(int, lines(stage.folder / "behind"))) == list(range(50))


@covers(IN_WORKER, "too many files")
@pytest.mark.parametrize("moment", IN_WORKER)
def test_worker_without_descriptors_still_answers(stage: Stage, moment: str) -> None:
    future = stage.pool.submit(*call_at(moment, (work.exhaust_descriptors,)))

    if moment == "pickling the exception":
        assert isinstance(error_of(future), ValueError)
    else:
        assert future.result(LIMIT) is None or future.result(0) > 0
    stage.check_without_descriptors()


@covers("during the call", "terminal stop")
def test_terminal_stop_does_not_reach_a_worker(stage: Stage) -> None:
    future = stage.pool.submit(work.signal_self, signal.SIGTSTP)

    assert future.result(LIMIT) == "went on"
    stage.check_after(replaced=False, runs=None)


SIZES = [64 * MB, pytest.param(1 << 30, marks=pytest.mark.stress)]


@covers(("during the call", "pickling the argument", "half-way to the worker"), "large value")
@pytest.mark.parametrize("size", SIZES)
def test_large_argument_arrives(stage: Stage, size: int) -> None:
    assert stage.pool.submit(work.length, b"x" * size).result(LIMIT) == size
    stage.check_after(replaced=False, runs=None)


@covers(("during the call", "pickling the result", "half-way from the worker"), "large value")
@pytest.mark.parametrize("size", SIZES)
def test_large_result_arrives(stage: Stage, size: int) -> None:
    assert len(stage.pool.submit(work.big, size).result(LIMIT)) == size
    stage.check_after(replaced=False, runs=None)


@covers(("pickling the exception", "unpickling the exception"), "large value")
@pytest.mark.parametrize("size", [64 * MB])
def test_large_exception_arrives(stage: Stage, size: int) -> None:
    error = error_of(stage.pool.submit(work.raise_big, size))

    assert type(error) is ValueError
    assert len(error.args[0]) == size
    stage.check_after(replaced=False, runs=None)


meaningless("unpickling the argument", "large value", ELSEWHERE)
meaningless("unpickling the result", "large value", ELSEWHERE)
meaningless(IN_WORKER, "too many processes", NO_START)
meaningless(IN_WORKER, "terminal stop", NO_TERMINAL)

# ------------------------------------------------------------------------------------- the same through map


@pytest.mark.parametrize("chunksize", [1, 2])
@pytest.mark.parametrize("fault", ["raise", "sys.exit", *DIES])
@pytest.mark.parametrize("moment", IN_WORKER)
def test_fault_in_a_map_stands_at_its_position(stage: Stage, moment: str, fault: str, chunksize: int) -> None:
    if fault in DIES:
        fn, args, exitcode = DIES[fault]
    else:
        fn, args, exitcode = (
            (work.sys_exit, (3,), 0) if fault == "sys.exit" else (work.raise_value_error, (), 0)
        )
    act = stage.act(fn, *args)
    items = [0, 1, 2, 3, item_at(moment, act), 5, 6, 7]

    results = stage.pool.map(work.call_or_give, items, chunksize=chunksize)

    assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(BaseException) as caught:  # noqa: PT011  # looked at below
        next(results)
    if fault in DIES:
        check_death(caught.value, stage.victim, exitcode)
    elif chunksize == 1:
        check_raised(moment, fault, caught.value)
    with pytest.raises(StopIteration):
        next(results)
    stage.check_after(replaced=fault in DIES, runs=None if moment.startswith("pickling") else 1)


@pytest.mark.parametrize("fault", HANGS)
def test_closing_a_map_whose_call_hangs_waits_for_nothing(stage: Stage, fault: str) -> None:
    results = stage.pool.map(work.call_or_give, [0, work.Act(*stage.act(HANGS[fault])), *range(100)])
    assert next(results) == 0
    stage.wait_acted()

    results.close()

    # a dropped map stops nothing that runs, as in the standard library
    stage.gate.open()
    assert stage.innocent.result(LIMIT) == stage.sibling
    assert [stage.pool.submit(work.square, i).result(LIMIT) for i in range(3)] == [0, 1, 4]
    stage.pool.kill_workers()
    stage.pool.shutdown()
    wait_gone(*stage.pids)


# ------------------------------------------------------------------------------------- in the parent, in one call

IN_PARENT = ("pickling the argument", "unpickling the result", "unpickling the exception")


@covers(IN_PARENT, "raise")
@pytest.mark.parametrize("moment", IN_PARENT)
def test_error_in_the_parent_is_the_call_s_own_only(stage: Stage, moment: str) -> None:
    future = stage.pool.submit(*call_at(moment, stage.act(work.raise_value_error)))

    check_raised(moment, "raise", error_of(future))
    stage.check_after(replaced=False, runs=None)


@covers("pickling the argument", "sys.exit")
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_exit_while_pickling_leaves_submit(stage: Stage, error: type[BaseException]) -> None:
    with pytest.raises(error):
        stage.pool.submit(work.nothing, work.PickleBomb(work.fail, error(3)))

    stage.check_after(replaced=False, runs=None)


@covers(("unpickling the result", "unpickling the exception"), "sys.exit")
@pytest.mark.parametrize("moment", ["unpickling the result", "unpickling the exception"])
def test_exit_while_unpickling_is_found_by_who_asks(stage: Stage, moment: str) -> None:
    future = stage.pool.submit(*call_at(moment, stage.act(work.sys_exit, 3)))

    with pytest.raises((SystemExit, UnpicklingError, ValueError)):
        future.result(LIMIT)
    assert future.done()
    stage.check_after(replaced=False, runs=None)


@covers(IN_PARENT, "hang in Python")
@pytest.mark.parametrize("moment", IN_PARENT)
def test_hang_in_one_thread_of_the_parent_hangs_nobody_else(stage: Stage, moment: str) -> None:
    outcome: list[object] = []

    def ask() -> None:
        future = stage.pool.submit(*call_at(moment, (hang_here,)))
        outcome.append(type(future.exception(LIMIT)))

    with hanging(ask):
        assert [stage.pool.submit(work.square, i).result(LIMIT) for i in range(5)] == [0, 1, 4, 9, 16]
        assert list(stage.pool.map(work.square, range(100))) == [i * i for i in range(100)]
        assert outcome == []

    assert len(outcome) == 1
    stage.check_after(replaced=False, runs=None)


meaningless(
    IN_PARENT,
    (
        "os._exit",
        "SIGKILL",
        "SIGTERM",
        "SIGSTOP",
        "segfault",
        "hang in C",
        "fork bomb child",
        "forked child returns",
        "too many files",
        "too many processes",
        "terminal stop",
    ),
    OWN,
)

# ------------------------------------------------------------------------------------- initializer


def initializer_pool(make_pool: MakePool, fn: Callable[..., Any], *args: Any) -> ProcessPoolExecutor:
    """Give a pool whose every worker begins with `fn(*args)`."""
    return make_pool(2, initializer=fn, initargs=args)


@covers("in the initializer", ("raise", "sys.exit"))
@pytest.mark.parametrize("fault", ["raise", "sys.exit"])
def test_failing_initializer_breaks_the_pool_and_is_the_cause(make_pool: MakePool, fault: str) -> None:
    fn, args = (work.sys_exit, (3,)) if fault == "sys.exit" else (work.raise_value_error, ("XYZ",))
    pool = initializer_pool(make_pool, fn, *args)

    futures = [pool.submit(work.square, i) for i in range(5)]

    errors = [error_of(future) for future in futures]
    for error in errors:
        assert isinstance(error, PoolBroken)
        assert isinstance(error.__cause__, SystemExit if fault == "sys.exit" else ValueError)
        assert ("XYZ" in str(error)) == (fault == "raise")
    assert len(set(map(id, errors))) == 5  # everybody gets an error of his own
    with pytest.raises(PoolBroken):
        pool.submit(work.square, 1)
    with pytest.raises(PoolBroken):
        list(pool.map(work.square, [1]))


@covers("in the initializer", tuple(DIES))
@pytest.mark.parametrize("fault", DIES)
def test_initializer_that_kills_every_worker_breaks_the_pool(
    make_pool: MakePool, tmp_path: Path, fault: str
) -> None:
    fn, args, exitcode = DIES[fault]
    started = tmp_path / "started"
    pool = initializer_pool(make_pool, work.append_then, str(started), fn, *args)

    futures = [pool.submit(work.square, i) for i in range(5)]

    for future in futures:
        error = error_of(future)
        assert isinstance(error, PoolBroken)
        assert isinstance(error.__cause__, WorkerDied)
        assert error.__cause__.exitcode == exitcode
    assert len(lines(started)) <= 6  # no endless row of crashing workers
    pool.shutdown()


@covers("in the initializer", tuple(HANGS))
@pytest.mark.parametrize("fault", HANGS)
def test_hanging_initializer_ends_with_cancel_and_shutdown(
    make_pool: MakePool, tmp_path: Path, fault: str
) -> None:
    started = tmp_path / "started"
    pool = initializer_pool(make_pool, work.append_then, str(started), HANGS[fault])
    futures = [pool.submit(work.square, i) for i in range(2)]
    wait_until(lambda: len(lines(started)) == 2, "two initializers")

    assert futures[0].cancel()
    pool.shutdown(wait=True, cancel_futures=True)

    assert all(future.cancelled() for future in futures)
    wait_gone(*map(int, lines(started)))


@covers("in the initializer", "fork bomb child")
@pytest.mark.parametrize("end", ["raise", "shutdown"])
def test_children_of_the_initializer_end_with_the_worker(
    make_pool: MakePool, tmp_path: Path, end: str
) -> None:
    tree = tmp_path / "tree"
    pool = make_pool(
        1,
        initializer=work.start_tree_and,
        initargs=(str(tree), work.raise_value_error if end == "raise" else work.nothing),
    )

    future = pool.submit(work.square, 3)

    if end == "raise":
        assert isinstance(error_of(future), PoolBroken)
    else:
        assert future.result(LIMIT) == 9
        assert len(lines(tree)) == 16
        pool.kill_workers()
    pool.shutdown()
    wait_gone(*map(int, lines(tree)))


@covers("in the initializer", "large value")
def test_large_initargs_arrive(make_pool: MakePool) -> None:
    pool = initializer_pool(make_pool, work.remember, "large", b"x" * (64 * MB))

    assert pool.submit(work.recall_length, "large").result(LIMIT) == 64 * MB


@covers("in the initializer", ("too many files", "forked child returns", "terminal stop"))
@pytest.mark.parametrize(
    "act",
    [(work.exhaust_descriptors,), (work.fork_into_the_loop,), (work.signal_self, signal.SIGTSTP)],
    ids=["too many files", "forked child returns", "terminal stop"],
)
def test_odd_initializer_does_no_harm(make_pool: MakePool, tmp_path: Path, act: tuple[Any, ...]) -> None:
    pool = initializer_pool(make_pool, work.append_then, str(tmp_path / "started"), *act)

    futures = [pool.submit(work.square, i) for i in range(50)]

    assert [future.result(LIMIT) for future in futures] == [i * i for i in range(50)]
    assert list(pool.map(work.length, [b"x" * 300_000] * 10)) == [300_000] * 10
    wait_until(lambda: len(lines(tmp_path / "started")) == len(workers(pool)), "the second worker")
    pool.shutdown()


@covers("in the initializer", "raise")
@pytest.mark.parametrize("arg", [work.Unpicklable(), work.Poison(work.raise_value_error)], ids=["to", "from"])
def test_initargs_that_cannot_travel_break_the_pool(
    make_pool: MakePool, start_method: str, arg: object
) -> None:
    if start_method == "fork":
        pytest.skip("a forked worker inherits its initargs, nothing is pickled")
    pool = initializer_pool(make_pool, work.nothing, arg)

    error = error_of(pool.submit(work.square, 3))

    assert isinstance(error, PoolBroken)
    assert isinstance(error.__cause__, BaseException)
    assert "boom" in str(error) or "refuses to travel" in str(error)


meaningless("in the initializer", "too many processes", NO_START)

# ------------------------------------------------------------------------------------- callbacks


@covers("in a callback", ("raise", "sys.exit"))
@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_error_in_a_callback_hurts_no_other(
    stage: Stage, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []
    gate = Gate(stage.folder, "callbacks")
    future = stage.pool.submit(work.pass_gate, *gate.args())

    def bad(_: object) -> None:
        raise error("callback")

    future.add_done_callback(bad)
    future.add_done_callback(lambda f: seen.append(f.result()))
    later = [stage.pool.submit(work.square, i) for i in range(6)]
    for each in later:
        each.add_done_callback(bad)
        each.add_done_callback(lambda f: seen.append(f.result()))
    with caplog.at_level(logging.ERROR):
        gate.open()
        wait_until(lambda: len(seen) == 7, "all callbacks")

    assert seen[0] == stage.victim
    assert sorted(seen[1:]) == [0, 1, 4, 9, 16, 25]
    assert caplog.records
    stage.check_after(replaced=False, runs=None)


@covers("in a callback", "hang in Python")
def test_hanging_callback_delays_callbacks_only(stage: Stage) -> None:
    seen: list[int] = []
    hang_begun.clear()
    hang_ends.clear()
    gate = Gate(stage.folder, "callbacks")
    future = stage.pool.submit(work.pass_gate, *gate.args())
    future.add_done_callback(lambda _: hang_here())
    future.add_done_callback(lambda f: seen.append(f.result()))
    gate.open()
    try:
        assert hang_begun.wait(LIMIT)

        assert [stage.pool.submit(work.square, i).result(LIMIT) for i in range(6)] == [0, 1, 4, 9, 16, 25]
        assert list(stage.pool.map(work.square, range(9))) == [i * i for i in range(9)]
        assert seen == []
    finally:
        hang_ends.set()
    wait_until(lambda: seen, "the second callback")
    stage.check_after(replaced=False, runs=None)


def test_callback_may_use_the_pool_and_wait_for_it(stage: Stage) -> None:
    seen: list[int] = []
    gate = Gate(stage.folder, "callbacks")
    future = stage.pool.submit(work.pass_gate, *gate.args())
    future.add_done_callback(lambda _: seen.append(stage.pool.submit(work.square, 3).result(LIMIT)))
    future.add_done_callback(lambda _: seen.extend(stage.pool.map(work.square, range(3))))

    gate.open()

    wait_until(lambda: len(seen) == 4, "both callbacks")
    assert seen == [9, 0, 1, 4]
    stage.check_after(replaced=False, runs=None)


meaningless(
    "in a callback",
    (
        "os._exit",
        "SIGKILL",
        "SIGTERM",
        "SIGSTOP",
        "segfault",
        "hang in C",
        "fork bomb child",
        "large value",
        "too many files",
        "too many processes",
        "forked child returns",
        "terminal stop",
    ),
    OWN,
)

# ------------------------------------------------------------------------------------- half-way through a message

OUTSIDE = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "segfault": signal.SIGSEGV}
"""Faults that can come from outside the worker."""


def stopped_half_way(stage: Stage) -> Future[int]:
    """Give a call whose argument is only half written, because the worker that reads it is stopped."""
    os.kill(stage.victim, signal.SIGSTOP)
    link = next(each for each in stage.pool._engine._links.values() if each.child.pid == stage.victim)
    with work.no_shared_memory():  # so that it goes through the socket
        future = stage.pool.submit(work.append_length, str(stage.started), b"x" * (16 * MB))
    wait_until(lambda: link.watching_out, "a full socket")
    return future


@covers("half-way to the worker", tuple(OUTSIDE))
@pytest.mark.parametrize("fault", OUTSIDE)
def test_call_that_was_half_sent_runs_elsewhere(stage: Stage, fault: str) -> None:
    victim = stage.victim
    future = stopped_half_way(stage)

    os.kill(victim, OUTSIDE[fault])
    with suppress(ProcessLookupError):  # what ends a stopped process has ended it, and it is reaped
        os.kill(victim, signal.SIGCONT)

    assert future.result(LIMIT) == 16 * MB  # it had not started, so it does not fail
    stage.check_after(replaced=True)


@covers("half-way to the worker", "SIGSTOP")
def test_call_that_is_half_sent_to_a_stopped_worker_can_be_cancelled(stage: Stage) -> None:
    future = stopped_half_way(stage)
    behind = [stage.pool.submit(work.square, i) for i in range(3)]

    assert future.cancel()

    assert [f.result(LIMIT) for f in behind] == [0, 1, 4]
    stage.check_after(replaced=True, runs=0)


def test_stopped_worker_that_goes_on_loses_nothing(stage: Stage) -> None:
    future = stopped_half_way(stage)

    os.kill(stage.victim, signal.SIGCONT)

    assert future.result(LIMIT) == 16 * MB
    stage.check_after(replaced=False)


@pytest.mark.parametrize("end", ["kill_workers", "terminate_workers"])
def test_pool_ends_in_the_middle_of_a_message(stage: Stage, end: str) -> None:
    future = stopped_half_way(stage)

    getattr(stage.pool, end)()
    if end == "terminate_workers":
        os.kill(stage.victim, signal.SIGCONT)
    stage.pool.shutdown()

    assert future.done()
    assert stage.innocent.done()
    wait_gone(*stage.pids)


meaningless(
    "half-way to the worker",
    (
        "raise",
        "sys.exit",
        "os._exit",
        "hang in Python",
        "hang in C",
        "fork bomb child",
        "too many files",
        "too many processes",
        "forked child returns",
        "terminal stop",
    ),
    NO_USER_CODE,
)

CUTS = [1, HEADER.size - 1, HEADER.size, HEADER.size + 1, 3 * MB]
"""Bytes written when the fault strikes."""


@covers("half-way from the worker", tuple(DIES))
@pytest.mark.parametrize("fault", DIES)
def test_half_an_answer_is_none(stage: Stage, fault: str) -> None:
    fn, args, exitcode = DIES[fault]
    for nth, cut in enumerate(CUTS):
        error = error_of(stage.pool.submit(work.answer_partly, cut, *stage.act(fn, *args)))

        assert len(lines(stage.started)) == nth + 1
        check_death(error, int(lines(stage.started)[-1]), exitcode)
    stage.check_after(replaced=True, runs=len(CUTS))


@covers("half-way from the worker", tuple(HANGS))
@pytest.mark.parametrize("end", ["limit", "cancel"])
@pytest.mark.parametrize("fault", HANGS)
def test_half_an_answer_ends_at_limit_or_cancel(stage: Stage, fault: str, end: str) -> None:
    limit = SHORT if end == "limit" else None
    future = post(stage.pool, work.answer_partly, 2 * MB, *stage.act(HANGS[fault]), limit=limit)
    behind = [stage.pool.submit(work.square, i) for i in range(3)]
    stage.wait_acted()

    if end == "cancel":
        assert future.cancel()
    else:
        assert isinstance(error_of(future), CallTimeout)

    assert [f.result(LIMIT) for f in behind] == [0, 1, 4]
    stage.check_after(replaced=True)


@covers("half-way from the worker", "SIGKILL")
def test_results_that_were_sent_survive_the_death_that_follows(stage: Stage) -> None:
    gate = Gate(stage.folder, "before")
    first = stage.pool.submit(work.pass_gate, *gate.args())
    done = [stage.pool.submit(work.square, i) for i in range(20)]
    last = stage.pool.submit(work.kill_self)
    gate.open()

    assert first.result(LIMIT) == stage.victim
    assert [f.result(LIMIT) for f in done] == [i * i for i in range(20)]
    check_death(error_of(last), stage.victim, -signal.SIGKILL)
    stage.check_after(replaced=True, runs=None)


meaningless(
    "half-way from the worker",
    (
        "raise",
        "sys.exit",
        "fork bomb child",
        "too many files",
        "too many processes",
        "forked child returns",
        "terminal stop",
    ),
    NO_USER_CODE,
)

# ------------------------------------------------------------------------------------- between claim and start


def claimed(stage: Stage, act: tuple[Any, ...], limit: float | None = None) -> list[Future[int]]:
    """Give calls, one of which meets a fault after the worker has claimed and before it has begun it."""
    gate = Gate(stage.folder, "claim")
    assert stage.pool.submit(work.act_after_second_claim, *act).result(LIMIT) == stage.victim
    stage.pool.submit(work.pass_gate, *gate.args())
    gate.wait_arrived()
    runs = str(stage.folder / "runs")
    futures = [post(stage.pool, work.append_and_give, runs, i, limit=limit) for i in range(40)]
    gate.open()
    return futures


def check_claimed(stage: Stage, futures: list[Future[int]]) -> BaseException:
    """All but the claimed call ran, once; give the error of that one."""
    concurrent.futures.wait(futures, LIMIT)
    bad = [i for i, f in enumerate(futures) if f.cancelled() or f.exception(0) is not None]
    assert len(bad) == 1
    good = [i for i in range(40) if i not in bad]
    assert [futures[i].result(0) for i in good] == good
    stage.check_after(replaced=True)
    assert sorted(map(int, lines(stage.folder / "runs"))) == good
    future = futures[bad[0]]
    return concurrent.futures.CancelledError() if future.cancelled() else error_of(future)


@covers("between claim and start", tuple(DIES))
@pytest.mark.parametrize("fault", DIES)
def test_claimed_call_is_blamed_and_never_run_again(stage: Stage, fault: str) -> None:
    fn, args, exitcode = DIES[fault]

    futures = claimed(stage, stage.act(fn, *args))

    check_death(check_claimed(stage, futures), stage.victim, exitcode)


@covers("between claim and start", tuple(HANGS))
@pytest.mark.parametrize("end", ["limit", "cancel"])
@pytest.mark.parametrize("fault", HANGS)
def test_hang_between_claim_and_start_ends_at_limit_or_cancel(stage: Stage, fault: str, end: str) -> None:
    futures = claimed(stage, stage.act(HANGS[fault]), 4 * SHORT if end == "limit" else None)
    stage.wait_acted()

    if end == "cancel":
        stage.gate.open()  # the other worker takes what the stuck one has not claimed
        wait_until(lambda: sum(future.done() for future in futures) == 39, "all but one")
        assert next(future for future in futures if not future.done()).cancel()

    error = check_claimed(stage, futures)
    assert isinstance(error, CallTimeout if end == "limit" else concurrent.futures.CancelledError)


@covers("between claim and start", "SIGKILL")
@pytest.mark.parametrize("rounds", [10, pytest.param(200, marks=pytest.mark.stress)])
def test_kill_with_many_calls_queued_blames_one_at_most(
    make_pool: MakePool, tmp_path: Path, rounds: int
) -> None:
    pool = make_pool(2)
    rng = random.Random(1)
    for nth in range(rounds):
        pids = warm(pool, 2, tmp_path, f"warm-{nth}")
        runs = tmp_path / f"runs-{nth}"
        futures = [pool.submit(work.append_and_give, str(runs), i) for i in range(300)]
        some = futures[rng.randrange(250)]
        wait_until(some.done, "some results")
        os.kill(rng.choice(sorted(pids)), signal.SIGKILL)

        errors = [future.exception(LIMIT) for future in futures]

        blamed = [i for i, error in enumerate(errors) if error is not None]
        assert len(blamed) <= 1
        assert all(isinstance(errors[i], WorkerDied) for i in blamed)
        ran = sorted(map(int, lines(runs)))
        assert len(ran) == len(set(ran))  # none twice
        assert set(range(300)) - set(ran) <= set(blamed)  # none lost


@covers("between claim and start", "SIGKILL")
@pytest.mark.parametrize("rounds", [20, pytest.param(300, marks=pytest.mark.stress)])
def test_kill_of_an_idle_worker_fails_nothing(make_pool: MakePool, tmp_path: Path, rounds: int) -> None:
    pool = make_pool(1)
    for _ in range(rounds):
        pid = pool.submit(work.pid).result(LIMIT)

        os.kill(pid, signal.SIGKILL)

        assert pool.submit(work.pid).result(LIMIT) != pid


meaningless(
    "between claim and start",
    (
        "raise",
        "sys.exit",
        "fork bomb child",
        "large value",
        "too many files",
        "too many processes",
        "forked child returns",
        "terminal stop",
    ),
    NO_USER_CODE,
)

# ------------------------------------------------------------------------------------- during shutdown


@covers("during shutdown", ("raise", "sys.exit", *DIES, *HANGS, "fork bomb child", "forked child returns"))
@pytest.mark.parametrize("cancel_futures", [False, True])
@pytest.mark.parametrize(
    "fault", ["raise", "sys.exit", *DIES, *HANGS, "fork bomb child", "forked child returns"]
)
def test_fault_during_shutdown_ends_as_at_any_time(stage: Stage, fault: str, cancel_futures: bool) -> None:
    tree = stage.folder / "tree"
    acts: dict[str, tuple[Any, ...]] = {
        "raise": (work.raise_value_error,),
        "sys.exit": (work.sys_exit, 3),
        "fork bomb child": (work.start_tree_and, str(tree), work.exit_at_once, 7),
        "forked child returns": (work.fork_into_the_loop,),
        **{name: (fn, *args) for name, (fn, args, _) in DIES.items()},
        **{name: (fn,) for name, fn in HANGS.items()},
    }
    gate = Gate(stage.folder, "shutdown")
    act = stage.act(*acts[fault])
    limit = 4 * SHORT if fault in HANGS else None  # the clock runs while it waits for the gate
    future = post(stage.pool, work.then, act[0], act[1:], *gate.args(), limit=limit)
    gate.wait_arrived()
    behind = [stage.pool.submit(work.append_and_give, str(stage.folder / "runs"), i) for i in range(20)]

    stage.pool.shutdown(wait=False, cancel_futures=cancel_futures)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        stage.pool.submit(work.square, 1)
    gate.open()
    stage.gate.open()
    stage.pool.shutdown(wait=True)

    assert future.done()
    assert stage.innocent.result(0) == stage.sibling
    if cancel_futures:
        assert all(f.cancelled() for f in behind)
        assert lines(stage.folder / "runs") == []
    else:
        assert [f.result(0) for f in behind] == list(range(20))
    if fault == "forked child returns":
        assert future.result(0) == "forked"
    elif fault in ("raise", "sys.exit"):
        check_raised("during the call", fault, error_of(future))
    elif fault in DIES:
        check_death(error_of(future), stage.victim, DIES[fault][2])
    else:
        assert isinstance(error_of(future), CallTimeout if fault in HANGS else WorkerDied)
    wait_gone(*stage.pids, *map(int, lines(tree)))


@covers("during shutdown", "large value")
def test_large_values_arrive_during_shutdown(stage: Stage) -> None:
    to = [stage.pool.submit(work.length, b"x" * (16 * MB)) for _ in range(3)]
    back = [stage.pool.submit(work.big, 16 * MB) for _ in range(3)]

    stage.gate.open()
    stage.pool.shutdown()

    assert [f.result(0) for f in to] == [16 * MB] * 3
    assert [len(f.result(0)) for f in back] == [16 * MB] * 3


LATE = [("terminate_workers", "SIGSTOP"), ("terminate_workers", "refuse to end")]
"""SIGTERM is not enough; they end after a patience of seconds."""


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        pytest.param(how, fault, marks=[pytest.mark.slow] if (how, fault) in LATE else [])
        for how in ("kill_workers", "terminate_workers")
        for fault in (*HANGS, "refuse to end")
    ],
)
def test_stopping_the_workers_ends_every_call(stage: Stage, fault: str, how: str) -> None:
    fn = work.refuse_to_end if fault == "refuse to end" else HANGS[fault]
    future = stage.pool.submit(*stage.act(fn))
    behind = [stage.pool.submit(work.square, i) for i in range(20)]
    stage.wait_acted()

    getattr(stage.pool, how)()
    stage.pool.shutdown(wait=True)

    for each in (future, stage.innocent, *behind):
        assert each.done()
    wait_gone(*stage.pids)


meaningless(
    "during shutdown", ("too many files", "too many processes"), "a shutdown starts and opens nothing"
)
meaningless("during shutdown", "terminal stop", NO_TERMINAL)

# ------------------------------------------------------------------------------------- while starting


@covers("while starting", tuple(DIES))
@pytest.mark.parametrize("fault", DIES)
def test_worker_that_dies_while_starting_is_replaced(make_pool: MakePool, tmp_path: Path, fault: str) -> None:
    fn, args, _ = DIES[fault]
    pool = make_pool(2, initializer=work.first_time_only, initargs=(str(tmp_path / "first"), fn, *args))

    futures = [pool.submit(work.square, i) for i in range(10)]

    assert [future.result(LIMIT) for future in futures] == [i * i for i in range(10)]
    assert (tmp_path / "first").exists()
    assert len(warm(pool, 2, tmp_path)) == 2


@covers("while starting", tuple(HANGS))
@pytest.mark.parametrize("fault", HANGS)
def test_worker_that_hangs_while_starting_holds_up_nobody(
    make_pool: MakePool, tmp_path: Path, fault: str
) -> None:
    pool = make_pool(2, initializer=work.first_time_only, initargs=(str(tmp_path / "first"), HANGS[fault]))

    futures = [pool.submit(work.square, i) for i in range(10)]

    assert [future.result(LIMIT) for future in futures] == [i * i for i in range(10)]
    pool.shutdown(wait=True)  # and not for ever


@contextmanager
def no_room(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no descriptor be opened, or no process be made, in this process."""
    if kind == "too many files":
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = max(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, hard))
        taken = []
        try:
            while True:
                try:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
                except OSError:
                    break
            yield
        finally:
            for fd in taken:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return
    # The limit of processes does not bind root, so what the system would say is said here.
    from ezflow._engine.child import Starter

    def refuse(self: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    with monkeypatch.context() as patch:
        patch.setattr(Starter, "_start", refuse, raising=True)
        patch.setattr(Starter, "start", refuse)
        yield


SHORTAGES = ["too many files", "too many processes"]


@covers("while starting", tuple(SHORTAGES))
@pytest.mark.parametrize("fault", SHORTAGES)
def test_pool_goes_on_with_the_workers_it_has(
    pool: ProcessPoolExecutor, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = pool.submit(work.pid).result(LIMIT)
    mark, gate = tmp_path / "mark", tmp_path / "gate"

    with no_room(fault, monkeypatch):
        future = pool.submit(work.mark_and_wait, str(mark), str(gate))
        behind = [pool.submit(work.pid) for _ in range(10)]
        wait_until(mark.exists, "the first call")  # looking and making a folder need no descriptor
        gate.mkdir()
        assert future.result(LIMIT) == pid
        assert [f.result(LIMIT) for f in behind] == [pid] * 10  # no second worker could be started

    after = warm(pool, 2, tmp_path)  # room again, and it is used
    assert pid in after


@covers("while starting", tuple(SHORTAGES))
@pytest.mark.parametrize("fault", SHORTAGES)
def test_pool_that_never_had_a_worker_breaks_with_the_cause(
    pool: ProcessPoolExecutor, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = pool._open_engine()  # its own descriptors and threads are there; the first worker is not
    wait_until(lambda: engine._hungry, "a dispatcher that waits")

    with no_room(fault, monkeypatch):
        future = pool.submit(work.square, 3)
        error = error_of(future)

    assert isinstance(error, PoolBroken)
    assert isinstance(error.__cause__, OSError)
    assert error.__cause__.errno == (errno.EMFILE if fault == "too many files" else errno.EAGAIN)


def template_pid(pool: ProcessPoolExecutor) -> int:
    """Give the process that forks the workers of a pool."""
    if pool._mp_context.get_start_method() == "spawn":
        pytest.skip("start method spawn has no template")
    if pool._mp_context.get_start_method() == "fork":
        return pool._engine._starter._template.pid
    return template._shared.pid


@covers("while starting", "template killed")
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_template_killed_before_a_start(
    pool: ProcessPoolExecutor, start_method: str, tmp_path: Path, signum: int
) -> None:
    pid = pool.submit(work.pid).result(LIMIT)
    template_ = template_pid(pool)

    os.kill(template_, signum)
    wait_gone(template_)

    if start_method == "forkserver":  # a new one is started
        assert pid in warm(pool, 2, tmp_path)
    else:  # the parent's past cannot be forked again, so the pool lives as long as its workers
        assert [f.result(LIMIT) for f in [pool.submit(work.pid) for _ in range(10)]] == [pid] * 10
        os.kill(pid, signal.SIGKILL)
        wait_gone(pid)
        error = error_of(pool.submit(work.pid))
        assert isinstance(error, PoolBroken)
        assert str(template_) in str(error)


@covers(
    (*IN_WORKER, "in a callback", "half-way from the worker", "between claim and start"), "template killed"
)
def test_template_killed_under_a_running_call(stage: Stage, start_method: str) -> None:
    gate = Gate(stage.folder, "template")
    future = stage.pool.submit(work.then, work.big, (MB,), *gate.args())
    seen: list[int] = []
    future.add_done_callback(lambda f: seen.append(len(f.result())))
    behind = [stage.pool.submit(work.square, i) for i in range(10)]
    gate.wait_arrived()
    template_ = template_pid(stage.pool)

    os.kill(template_, signal.SIGKILL)
    wait_gone(template_)
    gate.open()

    assert len(future.result(LIMIT)) == MB
    assert [f.result(LIMIT) for f in behind] == [i * i for i in range(10)]
    wait_until(lambda: seen == [MB], "the callback")
    assert stage.pool.submit(work.pid).result(LIMIT) == stage.victim
    stage.gate.open()
    assert stage.innocent.result(LIMIT) == stage.sibling
    assert workers(stage.pool) == stage.pids
    if start_method == "forkserver":
        os.kill(stage.victim, signal.SIGKILL)
        wait_gone(stage.victim)
        assert stage.sibling in warm(stage.pool, 2, stage.folder, "after")


@covers("during shutdown", "template killed")
def test_template_killed_during_shutdown(stage: Stage) -> None:
    behind = [stage.pool.submit(work.square, i) for i in range(10)]
    template_ = template_pid(stage.pool)
    stage.pool.shutdown(wait=False)

    os.kill(template_, signal.SIGKILL)
    stage.gate.open()
    stage.pool.shutdown(wait=True)

    assert [f.result(0) for f in behind] == [i * i for i in range(10)]
    wait_gone(*stage.pids, template_)


@covers("in the initializer", "template killed")
def test_template_killed_under_an_initializer(make_pool: MakePool, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    pool = make_pool(1, initializer=work.pass_gate, initargs=gate.args())
    future = pool.submit(work.square, 3)
    gate.wait_arrived()
    template_ = template_pid(pool)

    os.kill(template_, signal.SIGKILL)
    wait_gone(template_)
    gate.open()

    assert future.result(LIMIT) == 9


meaningless("while starting", ("raise", "sys.exit", "fork bomb child", "large value"), "'in the initializer'")
meaningless("while starting", ("forked child returns", "terminal stop"), "'in the initializer'")
meaningless(
    (*IN_PARENT, "half-way to the worker", "inside submit", "inside cancel", "in a finaliser"),
    "template killed",
    TEMPLATE,
)

# ------------------------------------------------------------------------------------- inside submit, cancel, finalisers


class Struck(BaseException):
    """Raised by a signal handler in the middle of something."""


@contextmanager
def strikes(handler: Callable[[], object], seed: int = 1) -> Iterator[Callable[[], None]]:
    """Run a handler at random moments of the main thread; the block says when it is ready for the next one."""
    rng = random.Random(seed)

    def on_signal(*_: object) -> None:
        handler()

    before = signal.signal(signal.SIGALRM, on_signal)
    try:
        yield lambda: signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 4e-4)) and None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def submit_many(pool: ProcessPoolExecutor, accepted: list[Future[Any]], n: int) -> None:
    """Submit until something strikes."""
    for i in range(n):
        accepted.append(pool.submit(work.square, i % 100))  # noqa: PERF401  # what was accepted must be known


def cancel_many(pool: ProcessPoolExecutor, accepted: list[Future[Any]], n: int) -> None:
    """Submit and cancel until something strikes."""
    for i in range(n):
        future = pool.submit(work.square, i % 100)
        accepted.append(future)
        future.cancel()


INSIDE = {"inside submit": submit_many, "inside cancel": cancel_many}
ROUNDS = [60, pytest.param(3000, marks=pytest.mark.stress)]


# What strikes inside a finaliser goes nowhere: Python reports it, and the round goes on.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@covers(tuple(INSIDE), ("raise", "sys.exit"))
@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("error", [Struck, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("moment", INSIDE)
def test_exception_out_of_a_signal_handler_tears_nothing(
    stage: Stage, moment: str, error: type[BaseException], rounds: int
) -> None:
    def strike() -> None:
        raise error

    accepted: list[Future[Any]] = []
    with strikes(strike) as arm:
        for _ in range(rounds):
            with suppress(error):
                while True:
                    arm()
                    INSIDE[moment](stage.pool, accepted, 100)

    concurrent.futures.wait(accepted, LIMIT)
    assert all(future.done() for future in accepted)
    stage.check_after(replaced=False, runs=None) if moment == "inside submit" else check_works(stage)


def check_works(stage: Stage) -> None:
    """The pool works and the innocent call's worker lives; cancels may have cost the other one."""
    assert stage.pool.submit(work.square, 7).result(LIMIT) == 49
    stage.gate.open()
    assert stage.innocent.result(LIMIT) == stage.sibling
    assert stage.sibling in warm(stage.pool, 2, stage.folder, "after")


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("moment", INSIDE)
def test_signal_handler_may_submit_and_cancel(stage: Stage, moment: str, rounds: int) -> None:
    accepted: list[Future[Any]] = []
    by_handler: list[Future[Any]] = []

    def strike() -> None:
        by_handler.append(stage.pool.submit(work.square, 3))
        future = stage.pool.submit(work.square, 4)
        future.cancel()
        by_handler.append(future)

    with strikes(strike) as arm:
        for _ in range(rounds):
            n = len(by_handler)
            arm()
            while len(by_handler) == n:
                INSIDE[moment](stage.pool, accepted, 10)

    concurrent.futures.wait(accepted + by_handler, LIMIT)
    assert all(future.done() for future in accepted + by_handler)
    assert [f.result(0) for f in by_handler[::2]] == [9] * (len(by_handler) // 2)
    check_works(stage)


@covers(tuple(INSIDE), ("SIGKILL", "SIGTERM", "segfault"))
@pytest.mark.parametrize("fault", OUTSIDE)
@pytest.mark.parametrize("moment", INSIDE)
def test_worker_killed_inside_submit_or_cancel(stage: Stage, moment: str, fault: str) -> None:
    accepted: list[Future[Any]] = []
    killed: list[int] = []

    def strike() -> None:
        for pid in workers(stage.pool) - {stage.sibling} - set(killed):
            killed.append(pid)
            os.kill(pid, OUTSIDE[fault])

    with strikes(strike) as arm:
        while len(killed) < 10:
            arm()
            INSIDE[moment](stage.pool, accepted, 20)

    concurrent.futures.wait(accepted, LIMIT)
    assert all(future.done() for future in accepted)
    errors = [f.exception(0) for f in accepted if not f.cancelled()]
    died = [error for error in errors if error is not None]
    assert all(isinstance(error, WorkerDied) for error in died)
    assert len(died) <= len(killed)
    check_works(stage)


@covers(tuple(INSIDE), "SIGSTOP")
@pytest.mark.parametrize("moment", INSIDE)
def test_submit_and_cancel_never_wait_for_a_stopped_worker(stage: Stage, moment: str) -> None:
    os.kill(stage.victim, signal.SIGSTOP)
    accepted: list[Future[Any]] = []

    INSIDE[moment](stage.pool, accepted, 2000)
    for future in accepted:
        future.cancel()

    assert all(future.done() for future in accepted)
    with suppress(ProcessLookupError):  # a cancel may have ended it
        os.kill(stage.victim, signal.SIGCONT)
    check_works(stage)


@covers(tuple(INSIDE), ("too many files", "too many processes"))
@pytest.mark.parametrize("fault", SHORTAGES)
@pytest.mark.parametrize("moment", INSIDE)
def test_submit_and_cancel_need_no_new_descriptor(
    stage: Stage, moment: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted: list[Future[Any]] = []

    with no_room(fault, monkeypatch):
        INSIDE[moment](stage.pool, accepted, 500)
        concurrent.futures.wait(accepted, LIMIT)

    assert all(future.done() for future in accepted)
    assert all(f.cancelled() or f.exception(0) is None for f in accepted)
    check_works(stage)


class Garbage:
    """Runs a function when it is collected; a cycle, so only the collector ends it, at any allocation."""

    def __init__(self, fn: Callable[[], object]) -> None:
        self.me = self
        self.fn = fn

    def __del__(self) -> None:
        self.fn()


@covers("in a finaliser", ("raise", "sys.exit"))
@pytest.mark.parametrize("what", ["submit", "cancel", "map", "raise", "sys.exit"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_finaliser_inside_the_pool_s_own_code(stage: Stage, what: str) -> None:
    by_finaliser: list[Any] = []

    def act() -> None:
        if what == "submit":
            by_finaliser.append(stage.pool.submit(work.square, 3))
        elif what == "cancel":
            future = stage.pool.submit(work.square, 3)
            future.cancel()
            by_finaliser.append(future)
        elif what == "map":
            next(stage.pool.map(work.square, range(3), buffersize=1))
        elif what == "raise":
            raise ValueError("finaliser")
        else:
            raise SystemExit(3)

    before = gc.get_threshold()
    accepted: list[Future[Any]] = []
    gc.set_threshold(50, 2, 2)  # so that they strike everywhere, on our threads as well
    try:
        for i in range(300):
            Garbage(act)
            accepted.append(stage.pool.submit(work.echo, i, [i], {"i": i}))
    finally:
        gc.set_threshold(*before)
    gc.collect()

    assert [f.result(LIMIT)[0][0] for f in accepted] == list(range(300))
    concurrent.futures.wait(by_finaliser, LIMIT)
    assert all(future.done() for future in by_finaliser)
    check_works(stage)


@covers("in a finaliser", "hang in Python")
def test_finaliser_of_a_discarded_result_may_take_long(stage: Stage) -> None:
    # The worker's finalisers run in the worker: a slow one delays its own worker only.
    future = stage.pool.submit(work.leave_slow_garbage, str(stage.folder / "garbage"))
    assert future.result(LIMIT) == stage.victim

    wait_until((stage.folder / "garbage").exists, "the finaliser")
    assert [stage.pool.submit(work.square, i).result(LIMIT) for i in range(3)] == [0, 1, 4]
    stage.check_after(replaced=False, runs=None)


@covers("in a finaliser", tuple(DIES))
@pytest.mark.parametrize("fault", DIES)
def test_finaliser_that_ends_the_worker_between_calls(stage: Stage, fault: str) -> None:
    fn, args, _ = DIES[fault]

    future = stage.pool.submit(work.keep_garbage, *stage.act(fn, *args))
    assert future.result(LIMIT) == stage.victim
    error = stage.pool.submit(work.drop_garbage).exception(LIMIT)

    assert isinstance(error, WorkerDied)
    stage.check_after(replaced=True)


meaningless(
    tuple(INSIDE),
    (
        "os._exit",
        "hang in Python",
        "hang in C",
        "fork bomb child",
        "large value",
        "forked child returns",
        "terminal stop",
    ),
    OWN,
)
meaningless(
    "in a finaliser",
    (
        "SIGSTOP",
        "hang in C",
        "fork bomb child",
        "large value",
        "too many files",
        "too many processes",
        "forked child returns",
        "terminal stop",
    ),
    "a finaliser in a worker is part of the call that triggers it: 'during the call'; in the parent: " + OWN,
)

# ------------------------------------------------------------------------------------- not yet

meaningless(MOMENTS, "full /dev/shm", NO_SHM)
meaningless("holding a shared segment", FAULTS, NO_SHM)


def test_every_pair_has_a_test_or_a_reason() -> None:
    missing = [(moment, fault) for moment in MOMENTS for fault in FAULTS if (moment, fault) not in PAIRS]

    assert missing == []
