"""What a call learns of itself, what it says while it runs, and which context variables it sees."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import importlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ezflow import ProcessPoolExecutor, current_call
from tests import work
from tests.contract import called
from tests.contract.gates import LIMIT, Gate, wait_gone, wait_until, wait_written

MakePool = Callable[..., ProcessPoolExecutor]


def test_index_attempt_and_name(pool: ProcessPoolExecutor) -> None:
    assert pool.submit(called.about).result(LIMIT) == (None, 1, None, None)
    assert [about[0] for about in pool.map(called.about, range(3))] == [0, 1, 2]
    assert [about[0] for about in pool.map.timeout(30)(called.about, range(3))] == [0, 1, 2]
    assert pool.submit.named("x")(called.about).result(LIMIT)[2] == "x"
    assert pool.submit.retry(3)(called.about_at_attempt, 3).result(LIMIT)[1] == 3

    async def main() -> None:
        assert [about[0] for about in await pool.map.asynced()(called.about, range(3))] == [0, 1, 2]

    asyncio.run(main())


def test_deadline_is_the_nearer_limit(pool: ProcessPoolExecutor) -> None:
    def left(**limits: float) -> float:
        view = pool
        for name, seconds in limits.items():
            view = getattr(view, name)(seconds)
        found: float = view.submit(called.about).result(LIMIT)[3]
        return found

    assert 0 < left(timeout=100) <= 100
    assert 0 < left(within=100) <= 100
    assert 0 < left(timeout=100, within=5000) <= 100
    assert 0 < left(timeout=5000, within=100) <= 100


def test_nothing_of_a_call_reaches_the_next(make_pool: MakePool) -> None:
    pool = make_pool(1)
    list(pool.map.named("x").timeout(30)(called.about, range(3)))

    assert pool.submit(called.about).result(LIMIT) == (None, 1, None, None)


def test_threads_and_coroutines_of_the_call_see_it(pool: ProcessPoolExecutor) -> None:
    assert pool.submit.named("x")(called.about_in_thread).result(LIMIT)[2] == "x"
    assert pool.submit.named("x")(called.about_later).result(LIMIT)[2] == "x"


def test_there_is_none_outside_of_calls(make_pool: MakePool, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="call"):
        current_call()

    pool = make_pool(1, initializer=called.initializer_that_asks, initargs=(str(tmp_path / "said"),))
    assert pool.submit(work.square, 3).result(LIMIT) == 9
    assert "call" in (tmp_path / "said").read_text()


@pytest.mark.parametrize("report", ["main", "thread"])
def test_latest_report_is_the_progress(pool: ProcessPoolExecutor, tmp_path: Path, report: str) -> None:
    gate = Gate(tmp_path)
    if report == "main":
        future = pool.submit(called.report_and_wait, [0.1, "half", {"done": 3}], str(gate.path))
    else:
        future = pool.submit(called.report_from_thread, {"done": 3}, str(gate.path))

    wait_until(lambda: future.progress() == {"done": 3}, "the progress")
    assert not future.done()
    gate.open()

    assert future.result(LIMIT) == str(gate.path)
    assert future.progress() == {"done": 3}


def test_no_report_is_none(pool: ProcessPoolExecutor) -> None:
    future = pool.submit(work.square, 3)
    future.result(LIMIT)

    assert future.progress() is None


def test_many_and_large_reports_harm_nobody(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    gate.open()
    words = [*range(2000), "x" * 1_000_000]

    futures = [pool.submit(called.report_and_wait, words, str(gate.path)) for _ in range(4)]

    assert [future.result(LIMIT) for future in futures] == [str(gate.path)] * 4
    assert all(len(future.progress()) == 1_000_000 for future in futures)


def test_report_that_cannot_be_pickled_is_the_call_s_own_error(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(Exception, match="lock"):
        pool.submit(lambda: current_call().report(threading.Lock())).result(LIMIT)
    assert pool.submit(work.square, 3).result(LIMIT) == 9


def test_report_after_the_end_is_an_error(make_pool: MakePool) -> None:
    pool = make_pool(1)
    assert pool.submit(called.report_too_late).result(LIMIT) == "done"

    future = pool.submit(called.use_late_call)

    assert "ended" in future.result(LIMIT)
    assert future.progress() is None


def test_forked_child_of_a_call_cannot_report(pool: ProcessPoolExecutor) -> None:
    future = pool.submit(called.report_from_fork)

    assert future.result(LIMIT) == (7, 1)
    assert future.progress() is None


def test_cancelled_tells_threads_of_the_call(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1, grace=LIMIT)  # a thread that gets no turn for a while is to see it all the same
    started, seen = tmp_path / "started", tmp_path / "seen"
    future = pool.submit(called.cancelled_is_seen, str(started), str(seen))
    pid = int(wait_written(started))

    assert future.cancel()

    assert wait_written(seen) == "cancelled"
    wait_gone(pid)


def test_pickled_reports_of_cancelled_calls_are_not_torn(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    for i in range(10):
        started = tmp_path / str(i)

        def report_for_ever(path: str) -> None:
            called.say(path)
            while True:
                current_call().report("x" * 10_000)

        future = pool.submit(report_for_ever, str(started))
        wait_written(started)
        assert future.cancel()
        assert pool.submit(work.square, i).result(LIMIT) == i * i


# ---------------------------------------------------------------- context variables


def test_context_variables_are_visible(pool: ProcessPoolExecutor) -> None:
    token = called.VARIABLE.set({"user": 7})
    try:
        assert pool.submit(called.get_variable).result(LIMIT) == {"user": 7}
        assert list(pool.map(lambda _: called.get_variable(), [1])) == [{"user": 7}]
        assert pool.submit.timeout(30)(called.get_variable).result(LIMIT) == {"user": 7}
    finally:
        called.VARIABLE.reset(token)
    assert pool.submit(called.get_variable).result(LIMIT) == "default"


def test_value_that_cannot_be_pickled_stays_behind_and_costs_the_arguments_nothing(
    pool: ProcessPoolExecutor,
) -> None:
    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("of no module")
    argument = work.CountsPickling()

    def submit(value: object) -> Any:
        variable.set(value)
        return pool.submit(lambda _: variable.get("nothing"), argument).result(LIMIT)

    assert contextvars.copy_context().run(submit, work.Unpicklable()) == "nothing"
    argument.n = 0
    seen = [contextvars.copy_context().run(submit, value) for value in (work.Unpicklable(), 3)]

    assert seen == ["nothing", 3]
    assert argument.n == 2


def test_variable_of_a_library_that_the_worker_has_not_imported_imports_nothing(
    pool: ProcessPoolExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"library_of_test_{abs(hash(tmp_path)):x}"  # forked workers have what other tests have imported
    (tmp_path / f"{name}.py").write_text(
        "import contextvars\nVARIABLE = contextvars.ContextVar('VARIABLE')\n"
    )
    pool.submit(work.square, 3).result(LIMIT)  # workers that began before the parent imported it
    monkeypatch.syspath_prepend(str(tmp_path))
    library = importlib.import_module(name)
    token = library.VARIABLE.set(1)
    try:
        assert not pool.submit(work.is_imported, name).result(LIMIT)
    finally:
        library.VARIABLE.reset(token)
        del sys.modules[name]


def test_context_of_a_task_of_asyncio_is_its_own(pool: ProcessPoolExecutor) -> None:
    async def one(value: int) -> Any:
        called.VARIABLE.set(value)
        await asyncio.sleep(0)
        return await pool.submit(called.get_variable)

    async def main() -> list[Any]:
        return await asyncio.gather(*map(one, range(20)))

    assert asyncio.run(main()) == list(range(20))


def test_context_never_leaks_to_the_next_call(make_pool: MakePool) -> None:
    pool = make_pool(1)

    assert pool.submit(called.set_variable, "theirs").result(LIMIT) == "theirs"

    assert pool.submit(called.get_variable).result(LIMIT) == "default"


def test_context_of_the_initializer_is_where_calls_begin(make_pool: MakePool) -> None:
    pool = make_pool(1, initializer=called.set_variable, initargs=("initial",))

    assert pool.submit(called.get_variable).result(LIMIT) == "initial"
    assert pool.submit(called.set_variable, "changed").result(LIMIT) == "changed"
    assert pool.submit(called.get_variable).result(LIMIT) == "initial"


def test_value_that_cannot_be_pickled_stays_behind(pool: ProcessPoolExecutor) -> None:
    other: contextvars.ContextVar[Any] = contextvars.ContextVar("other")

    def run() -> Any:
        called.VARIABLE.set("kept")
        other.set(threading.Lock())
        return pool.submit(called.get_variable).result(LIMIT)

    assert contextvars.copy_context().run(run) == "kept"


def test_decimal_context_travels(pool: ProcessPoolExecutor) -> None:
    def third() -> str:
        return str(decimal.Decimal(1) / 3)

    with decimal.localcontext(prec=5):
        assert pool.submit(third).result(LIMIT) == "0.33333"
    assert len(pool.submit(third).result(LIMIT)) > 20
