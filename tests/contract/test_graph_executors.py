"""What a graph does is the same on every executor that can be had here."""

from __future__ import annotations

import concurrent.futures
import importlib
import multiprocessing
import os
from collections.abc import Iterator
from typing import Any

import pytest

from ezflow import EZ, GraphError, ProcessPoolExecutor, Zip, each, pack, same, task
from tests import graphwork as work

pytestmark = pytest.mark.dealt

LIMIT = 60.0


def loky() -> Any:
    module = pytest.importorskip("loky")
    return module.ProcessPoolExecutor(2)


def distributed() -> Any:
    module = pytest.importorskip("distributed")
    free_port = ":0"  # without a word all clusters want the same
    client = module.Client(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=free_port)
    executor = client.get_executor()
    executor.end = client.close
    return executor


def mpi() -> Any:
    pytest.importorskip("mpi4py")
    # When a program ends without MPI_Finalize, MPICH's launcher kills its whole process group. pytest-xdist kills
    # test processes that do not end in 10 s: without a group of its own, such a one takes the whole run with it.
    if "PYTEST_XDIST_WORKER" in os.environ and os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    return importlib.import_module("mpi4py.futures").MPIPoolExecutor(2)


EXECUTORS = {
    "ours": lambda: ProcessPoolExecutor(2),
    "threads": lambda: concurrent.futures.ThreadPoolExecutor(2),
    "standard": lambda: concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")),
    "loky": loky,
    "distributed": distributed,
    "mpi": mpi,
    "inline": lambda: "inline",
}

LEAVING = ("loky", "distributed", "mpi")
"""Libraries whose helpers live on."""


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.leaks] * (name in LEAVING)) for name in EXECUTORS]
)
def executor(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = EXECUTORS[request.param]()
    yield made
    if hasattr(made, "shutdown"):
        made.shutdown(wait=True)
    if hasattr(made, "end"):
        made.end()


def test_every_executor_gives_the_same(executor: Any) -> None:
    def on(*stages: Any) -> Any:
        return EZ(*stages).on(executor)

    assert on(work.load, {work.mean, work.std}, work.report)("data.csv") == "mean 3.66667, std 7"
    assert on((work.inc, work.double), {"x": work.add, "y": work.add}, work.add)(3, 4) == 24
    assert on(work.numbers, each([work.inc, {"n": same}, pack(len)]), sum)(3) == 3
    assert on(Zip(work.inc, work.double), work.add)(1) == 4
    assert on(work.soon, len)(1) == 3
    assert on(work.items, len)(1) == 2
    assert on("operator.neg")(1) == -1
    assert list(on(work.inc, work.inc).map(range(3))) == [2, 3, 4]
    assert on(task(work.raising).otherwise(3), work.inc)(1) == 4
    assert on(task(work.raising).catch(work.say))(1) == "handled ZeroDivisionError"
    assert on(work.inc, EZ(work.raising, work.inc).otherwise(3))(1) == 3


def test_every_executor_gives_the_error_and_names_the_stage(executor: Any) -> None:
    for graph in (
        EZ(work.inc, work.raising),
        EZ(work.inc, {"a": work.raising, "b": work.inc}, work.take_all),
    ):
        with pytest.raises(ZeroDivisionError) as caught:
            graph.on(executor)(1)
        assert "ezflow: in stage 2" in "".join(caught.value.__notes__)


def test_every_executor_repeats(executor: Any, tmp_path: Any) -> None:
    path = str(tmp_path / "x")

    assert EZ(task(work.fail_twice).retry(2, on=ConnectionError), work.inc).on(executor)(path) == 4


def test_every_executor_shows_the_parts(executor: Any) -> None:
    run = EZ(work.load, {work.mean, work.std}, work.report).on(executor).submit("data.csv")

    assert run.result(LIMIT) == "mean 3.66667, std 7"
    assert run["std"].result(LIMIT) == 7
    assert set(run.states().values()) == {"done"}


def test_only_ours_keeps_limits(executor: Any) -> None:
    graph = EZ(work.inc, task(work.inc).timeout(30))
    if executor == "inline" or isinstance(executor, ProcessPoolExecutor):
        assert graph.on(executor)(1) == 3
        return
    with pytest.raises(GraphError, match=r"\.timeout\(\) cannot be kept by"):
        graph.on(executor)


def test_lambdas_run_wherever_they_can_be_sent(executor: Any) -> None:
    if isinstance(executor, concurrent.futures.ProcessPoolExecutor) and not isinstance(
        executor, ProcessPoolExecutor
    ):
        pytest.skip("the standard pool cannot send them")
    if type(executor).__module__.startswith("mpi4py"):
        pytest.skip("mpi4py sends by plain pickle")

    assert EZ(lambda x: x + 1, {"a": lambda x: 2 * x, "b": same}).on(executor)(1) == {"a": 4, "b": 2}


def test_inline_runs_in_this_thread_and_is_done_at_once() -> None:
    run = EZ(work.inc, {"thread": work.thread_name, "x": work.inc}).on("inline").submit(1)

    assert run.done()
    assert run.result()["thread"] == __import__("threading").current_thread().name
    with pytest.raises(ZeroDivisionError) as caught:
        EZ(work.inc, work.raising).on("inline")(1)
    assert caught.traceback[-1].name == "raising"  # for a debugger
    with pytest.raises(KeyboardInterrupt):
        EZ(_interrupted).on("inline")(1)


def _interrupted(_: Any) -> None:
    raise KeyboardInterrupt
