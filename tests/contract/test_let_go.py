"""A pool that nobody holds finishes what it was given, whatever words were used, and ends without the collector."""

from __future__ import annotations

import gc
import multiprocessing
import weakref
from typing import Any

import pytest

from ezflow import ProcessPoolExecutor
from tests.contract.gates import LIMIT

WAYS = {
    "map": lambda pool: pool.map(abs, range(-5, 5)),
    "results": lambda pool: pool.map.results()(abs, range(-5, 5)),
    "unordered": lambda pool: pool.map.unordered()(abs, range(-5, 5)),
    "background": lambda pool: pool.map.background()(abs, range(-5, 5)),
    "view": lambda pool: pool.timeout(30).map(abs, range(-5, 5)),
    "progress": lambda pool: pool.map.progress("x")(abs, range(-5, 5)),
    "stream": lambda pool: pool.submit.stream()(range, 10),
}


@pytest.mark.parametrize("way", WAYS)
def test_pool_that_nobody_holds_ends(way: str, start_method: str) -> None:
    pool = ProcessPoolExecutor(2, multiprocessing.get_context(start_method))
    gc.disable()
    try:
        results: Any = WAYS[way](pool)
        dispatcher, reference = pool._executor_manager_thread, weakref.ref(pool)
        assert dispatcher is not None
        del pool

        assert reference() is None
        dispatcher.join(LIMIT)
        assert not dispatcher.is_alive()
    finally:
        gc.enable()
    assert len(results.result(LIMIT) if way == "background" else list(results)) == 10
