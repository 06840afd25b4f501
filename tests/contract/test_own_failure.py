"""What happens when the pool's own code fails: calls end all the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from ezflow import PoolBroken, ProcessPoolExecutor
from tests import work
from tests.contract.gates import LIMIT


@pytest.mark.parametrize("where", ["_machine.handle", "_tally.answered"])
def test_dispatcher_that_fails_over_an_answer_ends_every_call(
    make_pool: Callable[..., ProcessPoolExecutor], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    pool = make_pool(1)
    assert pool.submit(work.square, 2).result(LIMIT) == 4
    part, method = where.split(".")
    gone_wrong = getattr(pool._engine, part)
    taken: Callable[..., Any] = getattr(gone_wrong, method)

    def fail(*args: Any, **kwargs: Any) -> Any:
        if part == "_tally" or type(args[0]).__name__ == "Returned":
            raise ZeroDivisionError("a bug of ours")
        return taken(*args, **kwargs)

    monkeypatch.setattr(gone_wrong, method, fail)

    futures: list[Any] = []
    with suppress(PoolBroken):  # the pool may have noticed before the last
        futures.extend(pool.submit(work.square, i) for i in range(20))

    for i, future in enumerate(futures):
        error = future.exception(LIMIT)
        assert future.result(0) == i * i if error is None else isinstance(error, PoolBroken)
    with pytest.raises(PoolBroken, match="a bug of ours"):
        pool.submit(work.square, 1)
