"""Graphs on a pool: calling, parts, errors, rescues, limits, cancelling, and what outlives what."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from ezflow import (
    EZ,
    CallTimeout,
    GraphFuture,
    PicklingError,
    ProcessPoolExecutor,
    Result,
    WorkerDied,
    Zip,
    each,
    pack,
    same,
    star,
    task,
)
from ezflow.graph.lanes import close_defaults, default_pool
from tests import graphwork as work
from tests.contract.gates import KEPT, LIMIT

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def seen(_: Any) -> str:
    return variable.get()


def notes(error: BaseException | None) -> str:
    return "\n".join(getattr(error, "__notes__", ()))


# ---------------------------------------------------------------- calling


def test_graph_is_called_submitted_awaited_and_mapped(pool: ProcessPoolExecutor) -> None:
    graph = EZ(work.load, {work.mean, work.std}, work.report).on(pool)

    assert graph("data.csv") == "mean 3.66667, std 7"
    run = graph.submit("data.csv")
    assert isinstance(run, GraphFuture)
    assert run.result(LIMIT) == "mean 3.66667, std 7"

    async def main() -> Any:
        return await graph.submit("data.csv"), await graph.asynced()("data.csv")

    assert asyncio.run(main()) == ("mean 3.66667, std 7",) * 2
    added = EZ((work.inc, work.inc), work.add).on(pool)
    assert list(added.map([1, 2], [10, 20])) == [13, 24]
    assert list(added.map([], [])) == []
    assert list(added.map([1, 2], [10, 20], buffersize=1)) == [13, 24]
    with pytest.raises(TypeError, match="buffersize must be an integer"):
        added.map([1], [2], buffersize=1.5)  # type: ignore[arg-type]
    assert sorted(added.unordered().map([1, 2], [10, 20])) == [13, 24]
    assert added.background().map([1, 2], [10, 20]).result(LIMIT) == [13, 24]
    assert added.map.background()([1, 2], [10, 20]).result(LIMIT) == [13, 24]
    assert list(added.star().map([(1, 10), {"x": 2, "y": 20}][:1])) == [13]
    assert added.results()(1, 2) == Result(5)
    assert added.background()(1, 2).result(LIMIT) == 5
    assert added.submit.results()(1, 2).result(LIMIT) == Result(5)

    async def stream() -> Any:
        return [one async for one in added.map.asynced()([1, 2], [10, 20])]

    assert asyncio.run(stream()) == [13, 24]


@pytest.mark.usefixtures("default_executors")
def test_graph_without_an_executor_has_one_default_pool() -> None:
    first = EZ(work.pid)()

    assert first != work.pid()
    assert EZ(work.inc, work.double)(1) == 4
    assert task(work.inc)(1) == 2
    assert default_pool() is default_pool()
    assert EZ(work.thread_name).on("thread")().startswith("ezflow-thread")
    default_pool().shutdown()
    assert EZ(work.inc)(1) == 2  # somebody shut it down: another takes its place


def inner_graph(x: int) -> tuple[int, int]:
    """Run a graph inside a worker."""
    graph = EZ({"pid": work.pid, "sum": [work.inc, work.double]})
    found = graph(x)
    run = graph.submit(x)
    assert run.done()
    return found["pid"] - work.pid(), run.result()["sum"]


def test_graph_inside_a_worker_runs_in_that_worker(pool: ProcessPoolExecutor) -> None:
    assert pool.submit(inner_graph, 2).result(LIMIT) == (0, 6)
    assert pool.submit(EZ(work.inc, work.double), 2).result(LIMIT) == 6


def test_stages_have_executors_of_their_own(pool: ProcessPoolExecutor) -> None:
    graph = EZ({"process": work.pid, "thread": task(work.pid).on("thread")}).on(pool)
    try:
        found = graph(1)
        close_defaults()
        again = graph(1)  # in new threads
    finally:
        close_defaults()

    assert found["thread"] == again["thread"] == work.pid()
    assert found["process"] != work.pid()
    inline = graph.on("inline")(1)
    assert inline["thread"] == inline["process"] == work.pid()


def test_view_of_a_pool_gives_its_limits_to_every_stage(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(CallTimeout, match="hang ran longer"):
        EZ(work.inc, work.hang).on(pool.timeout(KEPT))(1)
    run = EZ(work.inc, work.double).on(pool.timeout(30)).submit(1)
    assert run.result(LIMIT) == 4
    assert run["1"].result(LIMIT) == 2  # not fused


def test_context_variables_reach_every_stage(pool: ProcessPoolExecutor) -> None:
    token = variable.set("set")
    try:
        graph = EZ({"first": seen, "second": [task(seen).retry(1), task(seen).retry(1)]}).on(pool)
        assert graph(1) == {"first": "set", "second": "set"}
    finally:
        variable.reset(token)


def test_replaced_submit_is_used(pool: ProcessPoolExecutor) -> None:
    seen_labels = []
    standard = pool.submit

    def submit(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        seen_labels.append(args)
        return standard(fn, *args, **kwargs)

    pool.submit = submit  # type: ignore[method-assign,misc,assignment]

    assert EZ((work.inc, work.inc), task(work.add).retry(1)).on(pool)(1, 2) == 5
    assert len(seen_labels) == 3


# ---------------------------------------------------------------- parts


def test_run_shows_its_parts(pool: ProcessPoolExecutor) -> None:
    graph = EZ(work.load, {"m": work.mean, "s": [work.std, work.inc]}, work.take_all).on(pool)
    run = graph.submit("data.csv")

    assert run["load"].result(LIMIT) == [1.0, 2.0, 8.0]
    assert run["2/m"].result(LIMIT) == run["mean"].result(LIMIT) == run["m"].result(LIMIT)
    assert run["s"].result(LIMIT) == 8.0
    assert run.result(LIMIT) == {"m": 11 / 3, "s": 8.0}
    assert run.partial() == {"1": [1.0, 2.0, 8.0], "2/m": 11 / 3, "2/s": 8.0, "2/s/2": 8.0, "3": run.result()}
    assert set(run.states().values()) == {"done"}
    with pytest.raises(
        KeyError, match=r"'std' has no result of its own: it runs inside the call 'std → inc'.*'2/s'"
    ):
        run["std"]
    with pytest.raises(KeyError, match="'median' is no part of this run; its parts are 1, 2/m"):
        run["median"]
    twice = EZ(Zip(work.inc, work.inc)).on(pool).submit(1)
    with pytest.raises(KeyError, match="several stages are called 'inc'; name one by its path: '1/1', '1/2'"):
        twice["inc"]


def test_parts_of_graphs_inside_are_parts(pool: ProcessPoolExecutor) -> None:
    inner = EZ(work.inc, {"a": work.inc, "b": task(work.double).retry(1)}, work.take_all)
    run = (
        EZ(work.inc, inner.retry(1), {"last": inner.timeout(LIMIT).otherwise(0), "n": len}).on(pool).submit(1)
    )

    assert run.result(LIMIT)["n"] == 2
    assert run["2/2/b"].result(LIMIT) == 6
    assert run["2/1"].result(LIMIT) == 3
    assert run["3/last/1"].exception(LIMIT) is not None  # a dict has no next number
    assert run.partial()["2"] == run.partial()["2/3"] == {"a": 4, "b": 6}
    states = run.states()
    assert (states["2/2/a"], states["3/last"], states["3/last/1"]) == ("done", "done", "failed")
    with pytest.raises(KeyError, match="several stages are called 'double'; name one by its path: '2/2/b'"):
        run["double"]
    drawn = {box.path: box.state for box in run.picture().boxes}
    assert (drawn["2/2/b"], drawn["3/last/1"], drawn["3/last/3"]) == ("done", "failed", "failed")


def test_branches_go_on_as_soon_as_their_inputs_exist(make_pool: Callable[..., Any], tmp_path: Path) -> None:
    pool, folder = make_pool(2), str(tmp_path)

    def branch(*steps: tuple[str, str]) -> list[Any]:
        from functools import partial

        return [pack(partial(_touch, folder, *step)) for step in steps]

    # The second stage of the one branch comes before the first of the other is over.
    graph = EZ({"slow": branch(("a", "y")), "quick": [task(s).retry(0).priority(1) for s in _steps(folder)]})

    assert graph.on(pool)() == {"slow": "a", "quick": "y"}


def _touch(folder: str, name: str, awaited: str, *_: Any) -> str:
    return work.touch_when(folder, name, awaited)


def _steps(folder: str) -> list[Any]:
    from functools import partial

    return [partial(_first, folder), partial(_second, folder)]


def _first(folder: str) -> str:
    return work.touch_when(folder, "x")


def _second(folder: str, _: str) -> str:
    return work.touch_when(folder, "y")


# ---------------------------------------------------------------- errors


def test_error_is_the_original_one_and_names_the_stage(pool: ProcessPoolExecutor) -> None:
    for fused in (pool, pool.retry(0)):
        with pytest.raises(ZeroDivisionError, match="raised") as caught:
            EZ(work.load, {"m": work.mean, "bad": [work.std, work.raising, work.inc]}, work.take_all).on(
                fused
            )("x")

        assert "ezflow: in stage 2/bad/2 (raising)" in notes(caught.value)
        frames = [entry.name for entry in __import__("traceback").extract_tb(caught.value.__traceback__)]
        assert frames[-1] == "raising"


def test_what_cannot_be_sent_is_named_as_the_user_knows_it(pool: ProcessPoolExecutor) -> None:
    lock = threading.Lock()
    for graph in (EZ(work.size, work.inc), EZ(work.size, lambda n: n)):
        with pytest.raises(PicklingError, match=r"size → .* was not sent: an argument at args\[0\]\[1\]"):
            graph.on(pool)([1, lock])
    with pytest.raises(PicklingError, match=r"size → .*lambda.* was not sent: the function at .*fn\[1\]"):
        EZ(work.size, lambda n: lock).on(pool)([1])


def test_dependents_fail_and_siblings_stay_readable_after_submit(pool: ProcessPoolExecutor) -> None:
    run = (
        EZ({"bad": work.raising, "good": [work.inc, task(work.double).retry(1)]}, work.take_all)
        .on(pool)
        .submit(1)
    )

    with pytest.raises(ZeroDivisionError):
        run.result(LIMIT)
    assert run["good"].result(LIMIT) == 4
    with pytest.raises(ZeroDivisionError):
        run["2"].result(LIMIT)
    with pytest.raises(ZeroDivisionError):
        run["bad"].result(LIMIT)
    assert run.states() == {
        "1/bad": "failed",
        "1/good/1": "done",
        "1/good/2": "done",
        "1/good": "done",
        "2": "failed",
    }


def test_blocking_call_cancels_the_siblings(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        EZ({"bad": work.raising, "long": work.hang}).on(pool)(1)

    assert pool.submit(work.inc, 1).result(LIMIT) == 2  # would wait behind it
    assert pool.submit(work.inc, 1).result(LIMIT) == 2


def test_stages_are_repeated_and_rescued(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    assert EZ(task(work.fail_twice).retry(2), work.inc).on(pool)(path) == 4
    assert EZ(task(work.raising).otherwise(7), work.inc).on(pool)(1) == 8
    assert EZ(task(work.raising).catch(work.say), len).on(pool)(1) == len("handled ZeroDivisionError")
    assert EZ(task(work.raising).catch(lambda e: 1 / 0)).on(pool).results()(1).err.args == (
        "division by zero",
    )
    assert EZ(task(work.die).otherwise(7), work.inc).on(pool)(1) == 8
    assert EZ(task(work.hang).timeout(0.2).otherwise(7), work.inc).on(pool)(1) == 8
    results = EZ({"bad": task(work.raising).results(), "good": task(work.inc).results()}).on(pool)(1)
    assert results["good"] == Result(2)
    assert isinstance(results["bad"].err, ZeroDivisionError)


def test_words_on_a_graph_mean_all_of_it(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    run = (
        EZ(same, {"n": work.fail_twice, "p": work.touch})
        .on(pool)
        .retry(3, on=ConnectionError)
        .results()
        .submit(path)
    )
    assert run.result(LIMIT).ok == {"n": 3, "p": path}
    assert run.result(LIMIT).attempts == 3
    with pytest.raises(ZeroDivisionError) as caught:
        EZ(work.inc, task(work.raising).priority(1)).on(pool).retry(1)(1)
    assert "run 2 times" in notes(caught.value)
    with pytest.raises(CallTimeout) as limited:
        EZ(work.inc, task(work.hang).priority(1)).on(pool).timeout(KEPT)(1)
    assert "in stage 2 (hang)" in notes(limited.value)
    with pytest.raises(CallTimeout):
        EZ(work.inc, task(work.hang).priority(1)).on(pool).within(0.5)(1)
    assert EZ(work.inc, task(work.raising).priority(1)).on(pool).otherwise(3)(1) == 3
    assert (
        EZ(work.inc, task(work.raising).priority(1)).on(pool).catch(work.say)(1)
        == "handled ZeroDivisionError"
    )
    inner = EZ(work.inc, task(work.raising).priority(1))
    assert EZ(work.inc, inner.otherwise(3), work.inc).on(pool)(1) == 4
    with pytest.raises(CallTimeout):
        EZ(work.inc, EZ(work.inc, work.hang).timeout(0.3), work.inc).on(pool)(1)
    assert EZ(work.inc, EZ(work.numbers, each(work.inc)).retry(1), sum).on(pool)(2) == 6
    assert star(EZ((work.inc, work.inc), work.add)).on(pool)((1, 2)) == 5


def test_envelope_of_a_graph_tells_what_happened(pool: ProcessPoolExecutor) -> None:
    found = list(EZ(work.inc, work.inc).on(pool).results().map([1, "x"]))

    assert found[0] == Result(3)
    assert isinstance(found[1].err, TypeError)
    assert [one.index for one in found] == [0, 1]


def test_error_in_an_element_names_it(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(TypeError) as caught:
        EZ(each(work.inc)).on(pool)([1, "x"])

    assert "element 1" in notes(caught.value) or "in stage 1" in notes(caught.value)


# ---------------------------------------------------------------- cancelling


def test_cancelling_a_run_stops_what_runs_and_what_waits(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    left = str(tmp_path / "left")
    run = EZ({"long": work.hang, "more": work.hang}, pack(lambda _: Path(left).touch())).on(pool).submit(1)

    assert run.cancel()
    assert run.cancelled() and run.done()
    with pytest.raises(CancelledError):
        run.result(LIMIT)
    assert [pool.submit(work.inc, i).result(LIMIT) for i in range(4)] == [1, 2, 3, 4]
    assert not Path(left).exists()


def test_cancelling_a_part_cancels_its_dependents_only(pool: ProcessPoolExecutor) -> None:
    run = EZ({"long": work.hang, "short": work.inc}, work.take_all).on(pool).submit(1)

    assert run["long"].cancel()
    with pytest.raises(CancelledError):
        run.result(LIMIT)
    assert run["short"].result(LIMIT) == 2
    assert run.states()["2"] == "cancelled"


def test_asyncio_cancellation_stops_the_run(pool: ProcessPoolExecutor) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await EZ({"a": work.hang, "b": work.hang}).on(pool).submit(1)

    asyncio.run(main())
    assert [pool.submit(work.inc, i).result(LIMIT) for i in range(4)] == [1, 2, 3, 4]


def test_dropping_a_map_starts_no_more(pool: ProcessPoolExecutor) -> None:
    results = EZ({"a": work.inc, "b": work.double}, pack(len)).on(pool).map(range(1000))

    assert next(results) == 2
    results.close()
    assert pool.submit(work.inc, 1).result(LIMIT) == 2


# ---------------------------------------------------------------- ends


def test_leaving_the_pool_waits_for_its_runs(make_pool: Callable[..., Any]) -> None:
    pool = make_pool(2)
    with pool:
        runs = [
            EZ(work.inc, {"a": work.inc, "b": [same, task(work.inc).retry(1)]}, pack(len)).on(pool).submit(i)
            for i in range(50)
        ]

    assert [run.result(0) for run in runs] == [2] * 50
    with pytest.raises(RuntimeError, match=r"after shutdown"):
        EZ(work.inc).on(pool).submit(1)


def test_shutdown_that_cancels_lets_no_further_stage_begin(make_pool: Callable[..., Any]) -> None:
    pool = make_pool(1)
    gate = EZ(time.sleep, {"a": task(work.inc).retry(1)}).on(pool)
    runs = [gate.submit(0.2) for _ in range(3)]

    pool.shutdown(cancel_futures=True)

    assert all(run.done() for run in runs)
    assert runs[-1].cancelled()


def test_killing_the_pool_ends_every_run(make_pool: Callable[..., Any]) -> None:
    pool = make_pool(1)
    runs = [EZ(work.hang, task(work.inc).retry(1)).on(pool).submit(1) for _ in range(3)]

    pool.kill_workers()

    for run in runs:
        with pytest.raises((CancelledError, WorkerDied, RuntimeError)):
            run.result(LIMIT)


def test_callbacks_run_where_they_hold_up_nobody(pool: ProcessPoolExecutor) -> None:
    gate, names = threading.Event(), []

    def slow(_: Any) -> None:
        names.append(threading.current_thread().name)
        gate.wait(LIMIT)

    run = EZ(work.inc).on(pool).submit(1)
    run.add_done_callback(slow)
    try:
        assert EZ(work.inc, {"a": work.inc}).on(pool)(1) == {"a": 3}
    finally:
        gate.set()


def test_many_runs_at_once(pool: ProcessPoolExecutor) -> None:
    graph = EZ((work.inc, work.double), Zip(work.add, work.add), work.add).on(pool)

    runs = [graph.submit(i, i) for i in range(500)]

    assert [run.result(LIMIT) for run in runs] == [2 * (3 * i + 1) for i in range(500)]
    assert list(graph.map(range(500), range(500))) == [2 * (3 * i + 1) for i in range(500)]


def test_values_that_are_no_plain_data_pass_through(pool: ProcessPoolExecutor) -> None:
    graph = EZ(work.Counter, {"n": same, "again": same}, pack(dict)).on(pool)

    assert graph(3) == {"n": work.Counter(3), "again": work.Counter(3)}
    big = EZ({"x": same}, lambda x: x * 2, len).on(pool)
    assert big(b"x" * 1_000_000) == 2_000_000
