"""What type checkers say of handles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_type

from ezflow import Future, ProcessPoolExecutor, Ref, put


def double(n: int) -> int:
    return 2 * n


def check(pool: ProcessPoolExecutor) -> None:
    assert_type(put(3), Ref[int])
    assert_type(put("x").get(), str)
    assert_type(pool.submit.sealed()(double, 1), Future[Ref[int]])
    assert_type(pool.submit.timeout(1).sealed()(double, 1).result().get(), int)
    assert_type(pool.map.sealed()(double, [1]), Iterator[Ref[int]])
    assert_type(pool.map.sealed().background()(double, [1]), Future[list[Ref[int]]])
