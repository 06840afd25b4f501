"""Awaiting under trio and anyio: no thread for each await, and cancelling stops the work."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from ezflow import ProcessPoolExecutor
from tests import work
from tests.contract.gates import LIMIT, wait_until

anyio = pytest.importorskip("anyio")
trio = pytest.importorskip("trio")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:trio")


def test_futures_can_be_awaited_under_trio(pool: ProcessPoolExecutor) -> None:
    async def main() -> None:
        assert await pool.submit(work.square, 3) == 9
        done = pool.submit(work.square, 4)
        done.result(LIMIT)
        assert await done == 16
        with pytest.raises(ValueError, match="odd"):
            await pool.submit(work.fail_on_odd, 1)
        result = await pool.submit.results()(work.fail_on_odd, 1)
        assert isinstance(result.err, ValueError)

    trio.run(main)


def test_many_awaits_under_trio_need_no_thread_each(pool: ProcessPoolExecutor) -> None:
    seen: list[int] = []

    async def one(i: int) -> None:
        seen.append(await pool.submit(work.square, i))

    async def main() -> int:
        await pool.submit(work.square, 1)
        before = threading.active_count()
        async with trio.open_nursery() as nursery:
            for i in range(200):
                nursery.start_soon(one, i)
            await trio.sleep(0)
            most = threading.active_count()
        return most - before

    assert trio.run(main) <= 1  # the pool's one for callbacks
    assert sorted(seen) == [i * i for i in range(200)]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_cancel_scope_of_anyio_stops_the_work(
    pool: ProcessPoolExecutor, tmp_path: Path, backend: str
) -> None:
    started, cleaned = tmp_path / "started", tmp_path / "cleaned"

    async def call() -> Any:
        return await pool.submit(work.mark_start_and_cleanup, str(started), str(cleaned), 300.0)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            with anyio.fail_after(LIMIT):
                while not started.exists():
                    await anyio.sleep(0.01)
            group.cancel_scope.cancel()

    anyio.run(main, backend=backend)

    wait_until(cleaned.exists, "the call's finally")
    assert pool.submit(work.square, 3).result(LIMIT) == 9
