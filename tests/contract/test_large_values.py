"""Values of every size travel whole, many at a time, and their memory comes back."""

from __future__ import annotations

import concurrent.futures
import gc
import hashlib
import random
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from ezflow import ProcessPoolExecutor
from tests import work
from tests.contract.gates import LIMIT, Gate, wait_until, warm, workers

MakePool = Callable[..., ProcessPoolExecutor]

MB = 1 << 20

# Around every size at which something changes: a header, a socket read, a joined write, a pipe, a socket buffer.
EDGES = (1 << 12, 1 << 16, 212_992, 1 << 18, 1 << 20)
SIZES = [0, 1, 2, *(edge + d for edge in EDGES for d in (-64, -1, 0, 1, 64)), 8 * MB, 64 * MB]


def noise(n: int, seed: int = 0) -> bytes:
    """Give n bytes that no mistake leaves the same."""
    rng = random.Random(seed)
    block = rng.randbytes(min(n, 99_991))
    return (block * (n // len(block) + 1))[:n] if n else b""


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", SIZES)
def test_value_arrives_whole_both_ways(pool: ProcessPoolExecutor, size: int) -> None:
    data = noise(size)

    assert pool.submit(work.digest, data).result(LIMIT) == digest(data)
    back = pool.submit(work.same, data).result(LIMIT)
    assert type(back) is bytes
    assert back == data


def test_many_sizes_in_a_row_keep_apart(pool: ProcessPoolExecutor) -> None:
    rng = random.Random(5)
    values = [noise(int(10 ** rng.uniform(0, 6)), seed=i) for i in range(300)]

    futures = [pool.submit(work.same, value) for value in values]

    for future, value in zip(futures, values, strict=True):
        assert future.result(LIMIT) == value


def test_many_large_values_at_once_both_ways(pool: ProcessPoolExecutor) -> None:
    data = noise(8 * MB)

    futures = [pool.submit(work.same, data) for _ in range(16)]

    for future in concurrent.futures.as_completed(futures, LIMIT):
        assert future.result(0) == data


def test_large_values_of_many_threads(make_pool: MakePool) -> None:
    pool = make_pool(3)
    good: list[bool] = []

    def use(seed: int) -> None:
        data = noise(3 * MB, seed)
        good.extend(pool.submit(work.same, data).result(LIMIT) == data for _ in range(4))

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)

    assert good == [True] * 16


def test_large_argument_for_a_busy_worker_holds_up_nobody(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(2)
    warm(pool, 2, tmp_path)
    gate = Gate(tmp_path)
    blocker = pool.submit(work.pass_gate, *gate.args())
    gate.wait_arrived()

    large = [pool.submit(work.length, b"x" * (32 * MB)) for _ in range(3)]
    small = [pool.submit(work.square, i) for i in range(50)]

    assert [future.result(LIMIT) for future in large] == [32 * MB] * 3
    assert [future.result(LIMIT) for future in small] == [i * i for i in range(50)]
    gate.open()
    blocker.result(LIMIT)


def test_worker_writes_a_large_answer_while_a_large_call_comes_in(make_pool: MakePool) -> None:
    pool = make_pool(1)  # both directions full at once: nobody may wait for the other
    data = noise(16 * MB)

    futures = [pool.submit(work.same, data) for _ in range(6)]

    assert all(future.result(LIMIT) == data for future in futures)


@pytest.mark.parametrize("way", ["argument", "result"])
def test_memory_of_large_values_comes_back(make_pool: MakePool, way: str) -> None:
    pool = make_pool(1)
    size = 32 * MB
    process = psutil.Process()

    def once() -> None:
        if way == "argument":
            assert pool.submit(work.length, b"x" * size).result(LIMIT) == size
        else:
            assert len(pool.submit(work.big, size).result(LIMIT)) == size

    for _ in range(3):
        once()
    gc.collect()
    (pid,) = workers(pool)
    before = process.memory_info().rss, psutil.Process(pid).memory_info().rss
    for _ in range(20):
        once()
    gc.collect()
    after = process.memory_info().rss, psutil.Process(pid).memory_info().rss

    assert after[0] - before[0] < 3 * size  # of 20 that came by
    assert after[1] - before[1] < 3 * size


def test_finished_call_holds_its_large_argument_no_longer(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ezflow._engine.holdings.SPARE_SECONDS", 0.1)
    pool = make_pool(1)
    process = psutil.Process()
    size = 64 * MB
    before = process.memory_info().rss

    futures = [pool.submit(work.length, b"x" * size) for _ in range(4)]
    assert [future.result(LIMIT) for future in futures] == [size] * 4
    gc.collect()

    # The futures are kept, the payloads are not; nor is the memory that they travelled in, after a while.
    wait_until(lambda: process.memory_info().rss - before < size, "the memory")


@pytest.mark.slow
def test_a_gigabyte_each_way(pool: ProcessPoolExecutor) -> None:
    assert pool.submit(work.length, b"x" * (1 << 30)).result(LIMIT) == 1 << 30
    assert len(pool.submit(work.big, 1 << 30).result(LIMIT)) == 1 << 30


def test_arrays_arrive_whole(pool: ProcessPoolExecutor) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(2_000_000, dtype="f8").reshape(1000, 2000)

    for sent in (array, array[::3, ::-1], numpy.asfortranarray(array), array[:0]):
        back = pool.submit(work.same, sent).result(LIMIT)

        assert numpy.array_equal(back, sent)
        assert back.flags.writeable


def test_large_values_through_map(pool: ProcessPoolExecutor) -> None:
    values = [noise(MB, seed) for seed in range(20)]

    assert list(pool.map(work.same, values)) == values
    assert list(pool.map(work.same, values, chunksize=3)) == values
    assert list(pool.map(work.digest, values, buffersize=2)) == list(map(digest, values))
