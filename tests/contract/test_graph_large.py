"""Large results go from stage to stage without the parent looking at them; inputs are what they were at the call."""

from __future__ import annotations

import ctypes  # noqa: F401  # now: where it keeps a descriptor of its library, this is no leak of a test's
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ezflow import EZ, ProcessPoolExecutor, Zip, each, pack, same, task
from ezflow._memory import segments
from ezflow._memory.borrowing import Shipment
from ezflow._memory.segments import Segment
from tests import graphwork as work
from tests.contract.gates import wait_until

LIMIT = 60.0
MB = 1 << 20


def apart(fn: Any) -> Any:
    """Give a stage that is not fused with its neighbours."""
    return task(fn).priority(0)


@pytest.fixture
def touched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What in the parent reads, fills or maps large memory."""
    names: list[str] = []

    def watch(owner: Any, name: str) -> None:
        inner = getattr(owner, name)

        def outer(*args: Any, **kwargs: Any) -> Any:
            names.append(name)
            return inner(*args, **kwargs)

        monkeypatch.setattr(owner, name, outer)

    watch(Segment, "fill")
    watch(Segment, "read")
    watch(segments, "read_memory")
    watch(segments, "open_here")
    watch(Shipment, "open")
    return names


def bytes_through_sockets(pool: ProcessPoolExecutor) -> int:
    engine: Any = pool._engine
    return sum(link.writer.nbytes + link.reader.nbytes for link in list(engine._links.values()))


# ---------------------------------------------------------------- passing on


def test_100_mb_pass_through_a_chain_untouched(make_pool: Callable[..., Any], touched: list[str]) -> None:
    pool = make_pool(2)
    graph = EZ(apart(work.big), apart(work.longer), apart(work.longer), apart(work.size)).on(pool)

    assert graph(100 * MB) == 100 * MB + 2

    assert touched == []
    assert bytes_through_sockets(pool) < 20_000
    assert (
        pool.statistics().bytes_received > 300 * MB
    )  # which another process lent, and nobody here looked at


@pytest.mark.parametrize("make", [work.big, work.big_buffer])
def test_large_results_pass_whatever_the_shape(
    pool: ProcessPoolExecutor, touched: list[str], make: Any
) -> None:
    n = MB
    inner = EZ(apart(work.longer), apart(work.size)).retry(1)
    for graph, value in (
        (EZ(make, {"x": work.size, "y": work.size}, pack(dict)), {"x": n, "y": n}),
        (EZ(make, Zip(same, work.longer), work.size), 2 * n + 1),
        (EZ({"x": make, "y": make}, work.size_of_all), 2 * n),
        (EZ(Zip(make, make), {"x": work.size, "y": work.size}, pack(dict)), {"x": 2 * n, "y": 2 * n}),
        (EZ({"x": {"u": make, "v": make}, "y": make}, work.size_of_all), n + 2),
        (EZ(make, inner), n + 1),
    ):
        assert graph.on(pool)(n) == value

    assert touched == []


def test_kept_parts_are_opened_when_they_are_looked_at(pool: ProcessPoolExecutor, touched: list[str]) -> None:
    run = EZ(work.big_buffer, {"n": work.size, "again": work.longer}).on(pool).submit(MB)

    assert run["n"].result(LIMIT) == MB
    assert touched == []
    assert len(run.result(LIMIT)["again"]) == MB + 1
    first, second = run["1"].result(LIMIT), run.partial()["1"]
    memoryview(first)[:] = bytes(MB)
    assert bytes(second) == bytes(run["1"].result(LIMIT)) == b"x" * MB
    assert touched


def test_large_results_are_opened_for_another_executor(pool: ProcessPoolExecutor, touched: list[str]) -> None:
    graph = EZ(work.big, task(work.longer).on("thread"), apart(work.size)).on(pool)
    try:
        assert graph(MB) == MB + 1
    finally:
        from ezflow.graph.lanes import close_defaults

        close_defaults()
    assert touched


def test_what_only_the_parent_can_rebuild_goes_through_it(
    pool: ProcessPoolExecutor, touched: list[str]
) -> None:
    assert EZ(apart(work.with_code), apart(work.call_first)).on(pool)(MB) == (MB, MB)
    assert touched


def test_parts_of_a_large_tuple_and_list_arrive(pool: ProcessPoolExecutor) -> None:
    assert EZ(apart(work.large_pair), (work.size, work.size)).on(pool)(MB) == (MB, MB)
    assert EZ(apart(work.large_pair), each(work.size)).on(pool)(MB) == [MB, MB]


def test_memory_that_was_passed_on_is_free_again(make_pool: Callable[..., Any]) -> None:
    pool = make_pool(2)
    graph = EZ(apart(work.big), apart(work.longer), apart(work.size)).on(pool)

    assert set(graph.map([MB] * 40)) == {MB + 1}

    def is_free() -> bool:
        assert sum(pool.map(work.inc, range(100))) == 5050  # a worker says it with its next answer
        lendings = [link.holdings._lending for link in list(pool._engine._links.values())]
        return not any(lending is not None and lending.n_loans for lending in lendings)

    wait_until(is_free, "the loans to end")


def test_stage_that_dies_with_a_large_input_fails_alone(pool: ProcessPoolExecutor) -> None:
    graph = EZ(work.big, {"dead": task(work.die).otherwise(-1), "n": work.size}).on(pool)

    assert graph(MB) == {"dead": -1, "n": MB}
    repeated = EZ(apart(work.big), task(work.size).retry(1)).on(pool)
    assert repeated(MB) == MB


def test_large_errors_arrive(pool: ProcessPoolExecutor) -> None:
    run = EZ(apart(work.raise_large), apart(work.size)).on(pool).submit(MB)

    error = run.exception(LIMIT)
    assert isinstance(error, work.LargeError)
    assert len(error.args[0]) == MB


# ---------------------------------------------------------------- inputs of later stages


def test_later_stages_get_the_inputs_as_they_were(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    data = {"path": str(gate), "values": [1, 2, 3]}
    waits = EZ(lambda data: data["path"], work.after)
    graph = EZ({"x": same, "y": waits}, work.take_late).on(pool)

    run = graph.submit(data)
    data["values"].append("late")  # type: ignore[attr-defined]  # it is a list
    data["path"] = ""
    gate.touch()

    assert run.result(LIMIT) == ({"path": str(gate), "values": [1, 2, 3]}, None)


def test_repeated_runs_get_the_inputs_as_they_were(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    counted = tmp_path / "runs"
    data = [str(counted)]
    graph = EZ(apart(lambda data: work.fail_twice(data[0])), work.inc).retry(2).on(pool)

    run = graph.submit(data)
    data.clear()

    assert run.result(LIMIT) == 4


def test_input_that_only_passes_is_the_object_itself(pool: ProcessPoolExecutor) -> None:
    data = [1]

    assert EZ({"in": same, "n": len}).on(pool)(data)["in"] is data
    assert EZ(same).on(pool)(data) is data


def test_input_that_cannot_be_packed_is_an_error_where_it_is_needed(pool: ProcessPoolExecutor) -> None:
    import threading

    lock = [threading.Lock()]
    assert EZ({"x": same, "y": lambda x: 1}, lambda x, y: y).on("inline")(lock) == 1
    with pytest.raises(Exception, match="lock"):
        EZ({"x": same, "y": EZ(lambda x: 1)}, lambda x, y: y).on(pool)(lock)
