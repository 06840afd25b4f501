"""Arrays travel in shared memory: what arrives is equal, one's own, and nothing is left of it."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ezflow import PicklingError, ProcessPoolExecutor, Ref, WorkerDied, put
from ezflow._memory import lending, segments
from tests import work
from tests.contract.gates import LIMIT, Gate, wait_gone, wait_until

np = pytest.importorskip("numpy")
from tests.contract import shapes  # noqa: E402

MB = 1 << 20

MakePool = Callable[..., ProcessPoolExecutor]


def n_lent(pool: ProcessPoolExecutor) -> int:
    """Count the loans that workers have not returned."""
    assert pool._engine is not None
    links = list(pool._engine._links.values())
    return sum(link.holdings._lending.n_loans for link in links if link.holdings._lending is not None)


def memory_maps() -> int:
    """Count the shared segments that this process has mapped."""
    return Path("/proc/self/maps").read_text().count("memfd:ezflow")


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 300_000, 5 * MB, 40 * MB])
def test_array_there_and_back_is_equal_and_its_own(pool: ProcessPoolExecutor, size: int) -> None:
    array = np.arange(size, dtype=np.uint8)

    for _ in range(3):
        back = pool.submit(shapes.echo, array).result(LIMIT)
        assert np.array_equal(array, back)
        assert back.flags.writeable
        back += 1
        assert np.array_equal(array, np.arange(size, dtype=np.uint8))


@pytest.mark.parametrize("size", [100_000, 6_000_000])
def test_call_writes_to_what_arrived_and_nobody_else_sees_it(pool: ProcessPoolExecutor, size: int) -> None:
    array = np.zeros(size)

    futures = [pool.submit(shapes.add_one, array) for _ in range(6)]

    assert [future.result(LIMIT) for future in futures] == [size] * 6
    assert not array.any()


@pytest.mark.parametrize("size", [100_000, 6_000_000])
def test_array_may_be_changed_as_soon_as_submit_returns(pool: ProcessPoolExecutor, size: int) -> None:
    array = np.zeros(size)
    futures = []
    for i in range(6):
        array[:] = i
        futures.append(pool.submit(shapes.total, array))

    assert [future.result(LIMIT) for future in futures] == [i * size for i in range(6)]


def test_retried_call_gets_its_array_as_it_was(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    array = np.zeros(200_000)

    got = pool.submit.retry(2)(_add_one_and_fail_twice, array, str(tmp_path / "runs")).result(LIMIT)

    assert got == 200_000


def _add_one_and_fail_twice(array: Any, path: str) -> float:
    array += 1
    with open(path, "a") as file:
        file.write("x")
    if os.path.getsize(path) < 3:
        raise OSError("once more")
    return float(array.sum())


def test_memory_is_used_again(make_pool: MakePool) -> None:
    pool = make_pool(1)
    array = np.arange(1_000_000.0)
    for _ in range(3):
        pool.submit(shapes.echo, array).result(LIMIT)
    made = segments.arena_now().n_made

    for i in range(30):
        array[0] = i
        assert pool.submit(shapes.echo, array).result(LIMIT)[0] == i

    assert segments.arena_now().n_made <= made + 1
    assert n_lent(pool) <= 1


def test_worker_uses_the_memory_of_its_results_again(make_pool: MakePool) -> None:
    pool = make_pool(1)
    for _ in range(5):
        assert pool.submit(shapes.ones, 300_000).result(LIMIT).sum() == 300_000
    before = pool.submit(shapes.n_segments_made).result(LIMIT)
    for _ in range(20):
        assert pool.submit(shapes.ones, 300_000).result(LIMIT).sum() == 300_000

    assert pool.submit(shapes.n_segments_made).result(LIMIT) <= before + 1


@pytest.mark.parametrize("size", [200_000, 3_000_000])
def test_calls_that_wait_with_the_same_array_hold_it_twice_at_most(make_pool: MakePool, size: int) -> None:
    pool = make_pool(1)
    array = np.zeros(size)
    made = segments.arena_now().n_made

    futures = [pool.submit(shapes.add_one, array) for _ in range(50)]  # each writes to what it gets

    assert segments.arena_now().n_made <= made + 2
    array += 7  # whoever waits has what was sent
    assert [future.result(LIMIT) for future in futures] == [size] * 50
    assert pool.submit(shapes.add_one, array).result(LIMIT) == 8 * size


def test_array_that_changes_between_calls_is_sent_as_it_is(make_pool: MakePool) -> None:
    pool = make_pool(2)
    array = np.zeros(1_000_000)
    futures = []
    for number in range(20):
        array[number // 2 * 50_000] = number  # some rounds change what a sample does not see
        futures.append(pool.submit(shapes.total, array))
    sums = [future.result(LIMIT) for future in futures]

    expected = np.zeros(1_000_000)
    for number, found in enumerate(sums):
        expected[number // 2 * 50_000] = number
        assert found == expected.sum()


def test_what_a_call_keeps_stays_as_it_is(make_pool: MakePool) -> None:
    pool = make_pool(1)

    for i in range(10):
        assert pool.submit(shapes.keep, np.full(50_000, float(i))).result(LIMIT) == i

    assert pool.submit(shapes.kept_totals).result(LIMIT) == [i * 50_000.0 for i in range(10)]
    assert n_lent(pool) == 10
    assert pool.submit(shapes.let_go).result(LIMIT) == 10
    assert pool.submit(work.square, 2).result(LIMIT) == 4
    wait_until(lambda: n_lent(pool) == 0, "the loans")


def test_results_that_are_kept_stay_as_they_are(make_pool: MakePool) -> None:
    pool = make_pool(1)

    kept = [pool.submit(shapes.echo, np.full(100_000, float(i))).result(LIMIT) for i in range(20)]
    views = [array[::7].reshape(2, -1) for array in kept if array.size % 2 == 0][:3]
    del kept[10:]
    for _ in range(20):
        pool.submit(shapes.echo, np.full(100_000, -1.0)).result(LIMIT)

    assert [float(array.sum()) for array in kept] == [i * 100_000.0 for i in range(10)]
    del views


def test_more_segments_than_a_receiver_maps(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lending, "MOST_KNOWN", 3)
    pool = make_pool(1)

    for n in (70_000, 200_000, 500_000, 1_000_000, 3_000_000, 7_000_000) * 3:
        array = np.full(n, 1, dtype=np.uint8)
        assert pool.submit(shapes.total, array).result(LIMIT) == n
        pool.submit(work.square, 2).result(LIMIT)  # brings the word that the array is not in use any more

    assert pool._engine is not None
    (link,) = pool._engine._links.values()
    assert link.holdings._lending is not None
    assert len(link.holdings._lending._known) <= 4


def test_many_arrays_of_one_call_share_a_segment(make_pool: MakePool) -> None:
    pool = make_pool(1)
    frame = shapes.Frame(**{f"c{i}": np.full(20_000, i) for i in range(200)})

    back = pool.submit(shapes.echo, frame).result(LIMIT)

    assert back == frame
    assert pool._engine is not None
    (link,) = pool._engine._links.values()
    assert link.holdings._lending is not None
    assert link.holdings._lending.n_fds == 1


def test_error_that_carries_an_array(pool: ProcessPoolExecutor) -> None:
    error = pool.submit(shapes.raise_with, np.ones(300_000)).exception(LIMIT)

    assert isinstance(error, ValueError)
    assert error.args[0].sum() == 300_000


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_every_kind(pool: ProcessPoolExecutor, kind: Callable[[bytes], Any]) -> None:
    data = os.urandom(3 * MB)

    assert bytes(pool.submit(work.same, kind(data)).result(LIMIT)) == data


def test_array_in_a_closure_and_in_a_partial(pool: ProcessPoolExecutor) -> None:
    array = np.ones(200_000)

    assert pool.submit(lambda: float(array.sum())).result(LIMIT) == 200_000
    assert pool.submit(functools.partial(shapes.total, array)).result(LIMIT) == 200_000
    assert list(pool.map(functools.partial(np.dot, array), [array] * 3)) == [200_000.0] * 3


def test_array_of_a_cancelled_and_of_a_killed_call_comes_back(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    array = np.ones(200_000)
    pool.submit(work.square, 1).result(LIMIT)

    running = pool.submit(work.nothing_for, LIMIT, array)
    wait_until(running.running, "the call")
    waiting = [pool.submit(shapes.total, array) for _ in range(4)]
    assert all(future.cancel() for future in waiting)
    assert running.cancel()
    with pytest.raises(WorkerDied):
        pool.submit(work.kill_self_with, signal.SIGKILL, array).result(LIMIT)

    assert pool.submit(shapes.total, array).result(LIMIT) == 200_000
    assert pool.submit(work.square, 2).result(LIMIT) == 4
    wait_until(lambda: n_lent(pool) == 0, "the loans")


def test_result_can_be_read_after_its_worker_has_died(make_pool: MakePool) -> None:
    pool = make_pool(1)
    future = pool.submit(shapes.ones, 300_000)
    assert future.exception(LIMIT) is None
    again = pool.submit(shapes.ones, 300_000)
    assert isinstance(pool.submit(work.kill_self, signal.SIGKILL).exception(LIMIT), WorkerDied)

    assert again.result(LIMIT).sum() == 300_000
    assert future.result(0).sum() == 300_000


def test_no_memory_for_segments_costs_speed_only(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool(1)

    def refuse() -> int:
        raise OSError(28, "no space")

    segments.arena_now().trim()
    monkeypatch.setattr(segments, "_open_memory", refuse)
    for n in (20_000, 6_000_000):
        array = np.arange(float(n))
        assert np.array_equal(pool.submit(shapes.echo, array).result(LIMIT), array)
    data = os.urandom(MB)
    assert pool.submit(work.same, data).result(LIMIT) == data
    assert pool.submit(shapes.total, put(np.ones(100_000))).result(LIMIT) == 100_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_child_that_a_call_has_forked_sees_what_it_saw_then(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    go = tmp_path / "go"

    assert pool.submit(shapes.fork_and_hold, np.ones(100_000), str(go)).result(LIMIT) == 100_000
    for i in range(10):
        pool.submit(shapes.total, np.full(100_000, float(-i))).result(LIMIT)
    go.touch()

    done = Path(f"{go}.done")
    wait_until(done.exists, "the child")
    assert done.read_text() == "100000.0"


def test_child_forked_here_sees_a_result_as_it_was(make_pool: MakePool) -> None:
    pool = make_pool(1)
    back = pool.submit(shapes.echo, np.ones(100_000)).result(LIMIT)
    r, w = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            os.read(r, 1)
            os._exit(0 if back.sum() == 100_000 else 1)
        finally:
            os._exit(2)
    os.close(r)
    del back
    for _ in range(10):
        pool.submit(shapes.echo, np.zeros(100_000)).result(LIMIT)
    os.write(w, b"x")
    os.close(w)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_child_forked_here_writes_to_a_copy(make_pool: MakePool) -> None:
    pool = make_pool(1)
    back = pool.submit(shapes.echo, np.ones(100_000)).result(LIMIT)
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        back[:] = 5
        os._exit(0 if back.sum() == 500_000 else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert back.sum() == 100_000


def test_results_that_nobody_reads_give_their_memory_back(make_pool: MakePool) -> None:
    pool = make_pool(1)
    futures = [pool.submit(shapes.ones, 1_000_000) for _ in range(6)]
    assert all(future.exception(LIMIT) is None for future in futures[::2])

    del futures

    assert pool.submit(shapes.n_lent_here).result(LIMIT) >= 0
    wait_until(lambda: pool.submit(shapes.n_lent_here).result(LIMIT) == 0, "the loans")


def in_child(look: Callable[[], bool], meanwhile: Callable[[], object]) -> bool:
    """Fork, do something here, then let the child say whether all is well."""
    r, w = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            os.read(r, 1)
            os._exit(0 if look() else 1)
        finally:
            os._exit(2)
    os.close(r)
    meanwhile()
    os.write(w, b"x")
    os.close(w)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_fork_parts_what_both_write(make_pool: MakePool) -> None:
    pool = make_pool(1)
    back = pool.submit(shapes.echo, np.ones(100_000)).result(LIMIT)
    pool.shutdown()

    def write() -> None:
        back[:] = 9

    assert in_child(lambda: back.sum() == 100_000, write)
    assert back.sum() == 900_000


def test_child_sees_what_a_handle_stood_for(make_pool: MakePool) -> None:
    pool = make_pool(1)
    handle = put(np.ones(300_000))
    pool.submit(shapes.total, handle).result(LIMIT)
    held = [handle.get()]
    handles = [handle]
    del handle

    def refill() -> None:
        held.clear()
        handles.clear()
        for i in range(5):
            pool.submit(shapes.total, put(np.full(300_000, 2.0 + i))).result(LIMIT)

    seen = held[0]
    assert in_child(lambda: seen.sum() == 300_000, refill)


def test_calls_that_are_taken_back_and_sent_again_keep_their_arrays(make_pool: MakePool) -> None:
    pool = make_pool(1)
    for _ in range(3):
        for future in [pool.submit(work.square, i) for i in range(2_000)]:
            future.result(LIMIT)
        slow = pool.submit(work.nothing_for, 0.1, None)  # what was sent behind it is taken back
        held = [pool.submit(shapes.keep, np.full(10_000, float(i))) for i in range(7)]
        slow.result(LIMIT)
        assert [future.result(LIMIT) for future in held] == list(range(7))
        for i in range(20):
            pool.submit(shapes.total, np.full(10_000, -1.0 - i)).result(LIMIT)
        assert pool.submit(shapes.kept_totals).result(LIMIT) == [10_000.0 * i for i in range(7)]
        pool.submit(shapes.let_go).result(LIMIT)


def test_sealed_list_of_arrays_leaves_no_descriptor_behind(make_pool: MakePool) -> None:
    pool = make_pool(1)
    counts = []
    for _ in range(30):
        handle = pool.submit.sealed()(shapes.several, 5, 20_000).result(LIMIT)
        counts.append(pool.submit(shapes.n_segments_open, handle).result(LIMIT))

    assert max(counts[10:]) <= max(counts[:10])  # some are kept for the next results


def test_hundreds_of_segments_in_one_message(make_pool: MakePool) -> None:
    pool = make_pool(1)
    arrays = pool.submit(shapes.several_apart, 300, 70_000).result(LIMIT)

    assert [float(each[0]) for each in arrays] == list(range(300))
    assert pool.submit(work.square, 2).result(LIMIT) == 4


def test_many_results_that_are_kept_leave_descriptors_for_others(make_pool: MakePool) -> None:
    pool = make_pool(1)

    kept = list(pool.map(shapes.ones, [10_000] * 600))

    assert len(os.listdir("/proc/self/fd")) < 500
    assert {float(each.sum()) for each in kept} == {10_000.0}


def test_worker_without_descriptors_takes_the_same_handle_again(make_pool: MakePool) -> None:
    pool = make_pool(1)
    assert pool.submit(shapes.total, np.ones(40_000)).result(LIMIT) == 40_000  # what that imports
    handle = put(np.ones(50_000))
    assert pool.submit(work.exhaust_descriptors).result(LIMIT) > 0

    assert [future.result(LIMIT) for future in [pool.submit(shapes.keep, handle) for _ in range(20)]] == [
        1.0
    ] * 20


def test_worker_without_descriptors_has_a_copy_for_each_call(make_pool: MakePool) -> None:
    pool = make_pool(1)
    assert pool.submit(shapes.ones, 2).result(LIMIT).sum() == 2  # imports numpy
    handle = put(np.zeros(50_000))
    assert pool.submit(work.exhaust_descriptors).result(LIMIT) > 0

    futures = [pool.submit(shapes.add_one, handle) for _ in range(20)]  # some are sent with one descriptor
    assert [future.result(LIMIT) for future in futures] == [50_000] * 20


def test_interrupt_while_a_large_result_is_opened_loses_nothing(make_pool: MakePool) -> None:
    pool = make_pool(1)
    future = pool.submit(shapes.interrupting, 40_000)
    with pytest.raises(KeyboardInterrupt):
        future.result(LIMIT)

    assert future.result(LIMIT).array.sum() == 40_000


def test_long_error_of_an_initializer_is_the_cause(make_pool: MakePool) -> None:
    pool = make_pool(1, initializer=shapes.raise_long, initargs=(300_000,))

    error = pool.submit(work.square, 2).exception(LIMIT)

    assert error is not None
    assert isinstance(error.__cause__, ValueError)
    assert len(error.__cause__.args[0]) == 300_000


def test_handles_without_a_pool_give_their_memory_back() -> None:
    handles = [put(np.ones(200_000)) for _ in range(5)]
    before = len(segments._open_segments)

    del handles
    gc.collect()

    assert len(segments._open_segments) <= before - 5


# ------------------------------------------------------------------------------------- handles


def test_handle_is_the_value_in_a_call_at_any_depth(pool: ProcessPoolExecutor) -> None:
    array = np.arange(100_000.0)
    handle = put(array)
    array[:] = 0  # what was put stays

    assert pool.submit(shapes.total, handle).result(LIMIT) == sum(range(100_000))
    nested = pool.submit(shapes.echo, {"a": [handle, handle], "b": (put("x"), 3)}).result(LIMIT)
    assert nested["a"][0] is nested["a"][1]
    assert nested["a"][0][99_999] == 99_999
    assert nested["b"] == ("x", 3)
    assert list(pool.map(functools.partial(np.add, handle), [1, 2]))[1][0] == 2
    assert pool.submit(lambda: float(np.asarray(handle).sum())).result(LIMIT) == sum(range(100_000))


def test_each_call_has_its_own_copy_of_a_handle_s_value(make_pool: MakePool) -> None:
    pool = make_pool(1)
    for size in (10, 100_000, 6_000_000):
        handle = put(np.zeros(size))
        assert [pool.submit(shapes.add_one, handle).result(LIMIT) for _ in range(3)] == [size] * 3
        assert not handle.get().any()
        mine = handle.get()
        mine += 5
        assert not handle.get().any()


def test_handle_of_a_main_program_s_class_and_function(pool: ProcessPoolExecutor) -> None:
    def helper(x: int) -> int:
        return x + 1

    handle = put([lambda x: helper(x) * 2])

    assert pool.submit(lambda fns: fns[0](4), handle).result(LIMIT) == 10
    assert handle.get()[0](4) == 10


def test_sealed_result_goes_to_other_calls(make_pool: MakePool) -> None:
    pool = make_pool(2)
    for n in (10, 300_000, 6_000_000):
        handle = pool.submit.sealed()(shapes.ones, n).result(LIMIT)
        assert isinstance(handle, Ref)
        assert [pool.submit(shapes.total, handle).result(LIMIT) for _ in range(5)] == [n] * 5
        assert [pool.submit(shapes.add_one, handle).result(LIMIT) for _ in range(3)] == [2 * n] * 3
        assert handle.get().sum() == n
    assert [each.get() for each in pool.map.sealed()(work.square, range(4))] == [0, 1, 4, 9]
    error = pool.submit.sealed()(work.raise_value_error).exception(LIMIT)
    assert isinstance(error, ValueError)


def test_sealed_result_outlives_its_worker(make_pool: MakePool) -> None:
    pool = make_pool(1)
    handle = pool.submit.sealed()(shapes.ones, 300_000).result(LIMIT)
    assert isinstance(pool.submit(work.kill_self, signal.SIGKILL).exception(LIMIT), WorkerDied)

    assert pool.submit(shapes.total, handle).result(LIMIT) == 300_000
    assert handle.get().sum() == 300_000


def test_sealed_value_is_never_rebuilt_here(make_pool: MakePool) -> None:
    pool = make_pool(1)

    handle = pool.submit.sealed()(work.poison, work.raise_value_error).result(LIMIT)  # unpickling it raises

    assert isinstance(handle, Ref)
    with pytest.raises(ValueError, match="boom"):
        handle.get()


def test_sealed_result_that_cannot_be_pickled_names_the_culprit(make_pool: MakePool) -> None:
    error = make_pool(1).submit.sealed()(work.unpicklable).exception(LIMIT)

    assert isinstance(error, PicklingError)
    assert error.path is not None
    assert error.path.startswith("result")


def test_handle_elsewhere_says_what_to_do(pool: ProcessPoolExecutor) -> None:
    import pickle

    with pytest.raises(TypeError, match=r"get\(\)"):
        pickle.dumps(put(1))
    with pytest.raises(TypeError, match="stream"):
        pool.submit.sealed().stream()(range, 3)


@pytest.mark.parametrize(
    ("size", "most", "n_fds"),
    [
        (32 * MB, 2.4, 16),  # the first call has one of its own
        (128 * MB, 1.3, 8),  # each worker is given the memory once, and once more for the handle
    ],
)
def test_hundred_calls_share_one_array(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, size: int, most: float, n_fds: int
) -> None:
    monkeypatch.setattr("ezflow._engine.holdings.SPARE_SECONDS", 100.0)
    array = np.ones(size, dtype=np.uint8)
    pool = make_pool(4)
    list(pool.map(work.square, range(50)))
    base = shapes.pss()

    for what in (array, put(array)):
        found = list(pool.map(shapes.pss_of, [what] * 100))
        assert {total for _, _, total in found} == {size}
        assert shapes.pss() - base < most * size  # beside the array itself, which is in `base`
        sent = sum(
            link.holdings._lending.n_fds
            for link in pool._engine._links.values()  # type: ignore[union-attr]
            if link.holdings._lending is not None
        )
        assert sent <= n_fds


# ------------------------------------------------------------------------------------- nothing is left


def test_memory_goes_back_to_the_system(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezflow._engine.holdings.SPARE_SECONDS", 0.1)
    pool = make_pool(1)
    handle = put(np.ones(500_000))
    assert pool.submit(shapes.echo, handle).result(LIMIT).sum() == 500_000

    del handle
    gc.collect()

    wait_until(lambda: not segments._open_segments, "the segments")
    wait_until(lambda: n_lent(pool) == 0, "the loans")


def test_worker_gives_memory_back_also_when_a_call_it_has_was_taken_back(
    make_pool: MakePool, tmp_path: Path
) -> None:
    pool = make_pool(1, initializer=shapes.set_spare_seconds, initargs=(0.1,))
    gate = Gate(tmp_path)
    array = pool.submit(shapes.echo, np.ones(500_000)).result(LIMIT)
    (pid,) = pool._processes
    list(pool.map(abs, range(200)))  # quick calls, so others are sent ahead
    running, *sent_ahead = [
        pool.submit(work.pass_gate, *gate.args()),
        *(pool.submit(abs, i) for i in range(20)),
    ]
    gate.wait_arrived()
    assert all(future.cancel() for future in sent_ahead)
    engine: Any = pool._engine
    [worker] = engine._machine.workers.values()
    wait_until(lambda: len(worker.flight) == 1, "the others to be taken back")
    assert segments_of(pid)  # it has some of the calls, and will wait for the word to begin

    gate.open()
    running.result(LIMIT)
    del array
    gc.collect()

    wait_until(lambda: not segments_of(pid), "the segments of the worker")


def segments_of(pid: int) -> list[str]:
    """Give the open segments of a process."""
    found = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(os.readlink(fd))
    return [name for name in found if "memfd" in name]


PROGRAM = """
import os, signal, sys, numpy as np
from ezflow import ProcessPoolExecutor, put
from tests.contract import shapes

pool = ProcessPoolExecutor(2)
array = np.ones(3_000_000)
handle = put(array)
results = list(pool.map(shapes.echo, [array, handle]))
pool.submit(shapes.keep, array).result()
print(*pool._processes, flush=True)
how = sys.argv[1]
if how == "raise":
    raise SystemExit(3)
if how == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if how == "interrupt":
    os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.parametrize("how", ["end", "raise", "interrupt", "kill"])
def test_no_end_of_a_program_leaves_anything(how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(PROGRAM), how],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )

    assert not [name for name in os.listdir("/dev/shm") if "ezflow" in name]
    assert "resource_tracker" not in done.stderr
    assert "leaked" not in done.stderr
    wait_gone(*map(int, done.stdout.split()))
