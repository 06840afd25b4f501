"""Random numbers: workers have streams of their own, and a seed makes them those of the call."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ezflow import ProcessPoolExecutor, current_call
from tests.contract import lazy
from tests.contract.gates import LIMIT, warm

MakePool = Callable[..., ProcessPoolExecutor]


def draw(_: object = None) -> tuple[float, float]:
    """Draw one number from each global generator."""
    return random.random(), float(np.random.random())


def draw_own(_: object = None) -> tuple[Any, float]:
    """Draw a number from a generator of this call's."""
    seed = current_call().seed
    return seed, float(np.random.default_rng(seed).random())


def draw_at(folder: str, *gate: str) -> tuple[float, float]:
    from tests.work import pass_gate

    pass_gate(*gate)
    return draw()


def draw_often_and_wrongly(n: int) -> tuple[float, float]:
    """Draw n numbers and fail the first time: retried, the call draws the same."""
    numbers = draw()
    for _ in range(n):
        draw()
    if current_call().attempt == 1:
        raise ValueError(numbers)
    return numbers


def test_workers_have_different_streams(make_pool: MakePool, tmp_path: Path) -> None:
    random.seed(1)
    np.random.seed(1)
    pool = make_pool(4)
    warm(pool, 4, tmp_path)

    numbers = list(pool.map(draw, range(40)))

    assert len({first for first, _ in numbers}) == 40
    assert len({second for _, second in numbers}) == 40


def test_replaced_workers_have_different_streams(make_pool: MakePool) -> None:
    random.seed(1)
    np.random.seed(1)
    pool = make_pool(2, max_tasks_per_child=1)

    numbers = list(pool.map(draw, range(8)))

    assert len({first for first, _ in numbers}) == 8
    assert len({second for _, second in numbers}) == 8


def test_parent_keeps_its_own_stream(make_pool: MakePool) -> None:
    random.seed(5)
    expected = random.Random(5).random()
    pool = make_pool(1, seed=3)
    pool.submit(draw).result(LIMIT)

    assert random.random() == expected


def test_seed_fixes_the_numbers_of_a_call(make_pool: MakePool) -> None:
    runs = []
    for n_workers in (1, 3):
        pool = make_pool(n_workers, seed=42)
        runs.append(list(pool.map(draw, range(30))))

    assert runs[0] == runs[1]
    assert len({first for first, _ in runs[0]}) == 30
    assert len({second for _, second in runs[0]}) == 30


def test_order_of_submission_counts_and_nothing_else(make_pool: MakePool) -> None:
    one, two = make_pool(2, seed=42), make_pool(1, seed=42)

    by_map = list(one.map(draw, range(6)))
    futures = [two.submit(draw) for _ in range(3)]
    futures += [two.timeout(LIMIT).submit(draw), two.submit.priority(5)(draw), two.submit(draw)]

    assert [future.result(LIMIT) for future in futures] == by_map


def test_seeds_give_different_numbers(make_pool: MakePool) -> None:
    numbers = {make_pool(1, seed=seed).submit(draw).result(LIMIT) for seed in (0, 1, 2**32, 2**64, 2**100)}

    assert len(numbers) == 5
    assert len({second for _, second in numbers}) == 5


def test_calls_have_a_seed_for_other_generators(make_pool: MakePool) -> None:
    first, again = make_pool(2, seed=7), make_pool(1, seed=7)

    numbers = list(first.map(draw_own, range(10)))

    assert [seed for seed, _ in numbers] == [(7, index) for index in range(10)]
    assert len({number for _, number in numbers}) == 10
    assert list(again.map(draw_own, range(10))) == numbers


def test_without_a_seed_calls_have_none(make_pool: MakePool) -> None:
    pool = make_pool(1)

    (one, first), (two, second) = pool.map(draw_own, range(2))

    assert one is two is None
    assert first != second


def test_repeated_call_draws_the_same(make_pool: MakePool) -> None:
    pool, other = make_pool(1, seed=9), make_pool(1, seed=9)

    repeated = pool.submit.retry(1)(draw_often_and_wrongly, 3).result(LIMIT)

    assert repeated == other.submit(draw).result(LIMIT)


def test_numpy_that_a_call_imports_itself_is_seeded(make_pool: MakePool) -> None:
    runs = [list(make_pool(2, seed=4).map(lazy.draw, range(8))) for _ in range(2)]

    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 8


def test_numpy_integer_is_a_seed(make_pool: MakePool) -> None:
    one, two = make_pool(1, seed=np.int64(5)), make_pool(1, seed=5)

    assert one.submit(draw).result(LIMIT) == two.submit(draw).result(LIMIT)


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), (1.5, TypeError), ("1", TypeError)])
def test_other_seeds_are_refused(make_pool: MakePool, seed: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make_pool(1, seed=seed)


def test_without_a_seed_nothing_more_is_sent(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = make_pool(1)
    extras: list[dict[str, object] | None] = []
    real = pool._codec.pack_call
    monkeypatch.setattr(pool._codec, "pack_call", lambda *args: extras.append(args[3]) or real(*args))

    pool.submit(draw).result(LIMIT)

    assert [extra for extra in extras if extra and "seed" in extra] == []
