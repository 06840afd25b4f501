"""Options hung on executors, methods and tasks: what they do, and that nothing else of these changes."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import gc
import importlib
import inspect
import os
import pickle
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ezflow import CallTimeout, ProcessPoolExecutor, Result, WorkerDied, task
from tests import work
from tests.contract import called
from tests.contract.gates import KEPT, LIMIT, Gate, wait_gone, wait_until, wait_written, warm, workers

MakePool = Callable[..., ProcessPoolExecutor]

EXCLUDED = r"background.*asynced|asynced.*background"


def _frames(error: BaseException | None) -> list[str]:
    """Give the names of the functions in which an error was raised."""
    assert error is not None
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


# ---------------------------------------------------------------- views


def test_view_is_the_same_pool_with_other_defaults(pool: ProcessPoolExecutor) -> None:
    view = pool.timeout(30).retry(1).priority(2).named("x").within(60)

    assert type(view) is type(pool)
    assert isinstance(view, concurrent.futures.Executor)
    assert view.submit(work.pid).result(LIMIT) in workers(pool)
    assert workers(view) == workers(pool)
    assert list(view.map(work.square, range(5))) == [0, 1, 4, 9, 16]
    with pytest.raises(CallTimeout):
        pool.timeout(0.1).submit(work.wait_for_file, "/nowhere").result(LIMIT)
    assert pool.submit(work.square, 3).result(LIMIT) == 9


def test_views_share_what_is_set_on_either(pool: ProcessPoolExecutor) -> None:
    view = pool.timeout(30)

    view.note = 1  # type: ignore[attr-defined]
    pool.other = 2  # type: ignore[attr-defined]

    assert pool.note == 1  # type: ignore[attr-defined]
    assert view.other == 2  # type: ignore[attr-defined]


def test_view_of_a_subclass_has_its_class_slots_and_overridden_methods(
    make_pool: MakePool, context: Any
) -> None:
    with called.Slotted(1, context) as slotted:
        slotted.label = "loud"
        view = slotted.timeout(30)
        assert type(view) is called.Slotted
        assert view.shout == "LOUD"
        assert view.submit(work.square, 2).result(LIMIT) == 4
    with called.Recording(1, context) as pool:
        assert pool.timeout(30).submit(work.square, 2).result(LIMIT) == 4
        assert pool.submit.timeout(30)(work.square, 3).result(LIMIT) == 9
        assert list(pool.map(work.square, [4])) == [16]
        assert list(pool.map.timeout(30)(work.square, [5])) == [25]
        assert pool.results().submit(work.square, 6).result(LIMIT) == Result(36)
        assert pool.seen == [(2,), (3,), (4,), (5,), (6,)]  # type: ignore[attr-defined]


def test_options_reach_the_call_through_an_overridden_submit(context: Any) -> None:
    with called.Recording(1, context) as pool:
        with pytest.raises(CallTimeout):
            pool.submit.timeout(0.1)(work.wait_for_file, "/nowhere").result(LIMIT)
        with pytest.raises(CallTimeout):
            list(pool.map.timeout(0.1)(work.wait_for_file, ["/nowhere"]))
        with pytest.raises(CallTimeout):
            list(pool.timeout(0.1).map(work.wait_for_file, ["/nowhere"]))


def test_view_ends_the_pool(make_pool: MakePool) -> None:
    pool = make_pool(1)
    with pool.timeout(30) as view:
        assert view.submit(work.square, 3).result(LIMIT) == 9
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(work.square, 3)

    pool = make_pool(1)
    (pid,) = {pool.submit(work.pid).result(LIMIT)}
    pool.timeout(30).kill_workers()
    wait_gone(pid)
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(work.square, 3)

    pool = make_pool(1)
    pool.submit(work.square, 3)
    pool.priority(1).shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.map(work.square, [3])


def test_pool_lives_as_long_as_a_view_and_is_freed_without_the_collector(context: Any) -> None:
    gc.disable()
    try:
        pool = ProcessPoolExecutor(1, context)
        view = pool.timeout(30).priority(1)
        pid = pool.submit(work.pid).result(LIMIT)
        thread = pool._executor_manager_thread
        life = weakref.ref(pool._life)
        del pool
        assert view.submit(work.pid).result(LIMIT) == pid
        method = view.submit.named("x")
        del view
        assert method(work.pid).result(LIMIT) == pid
        assert life() is not None
        del method
        assert life() is None
        assert thread is not None
        thread.join(LIMIT)
        assert not thread.is_alive()
    finally:
        gc.enable()


def test_loop_runs_calls_in_a_view(pool: ProcessPoolExecutor) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(pool.timeout(30), work.square, 3) == 9
        with pytest.raises(CallTimeout):
            await loop.run_in_executor(pool.timeout(0.1), work.wait_for_file, "/nowhere")

    asyncio.run(main())


def test_front_is_no_executor(pool: ProcessPoolExecutor) -> None:
    front = pool.star()

    assert not isinstance(front, concurrent.futures.Executor)
    assert not hasattr(front, "shutdown")
    assert list(front.map(called.add, [(1, 2), [3, 4], {"a": 5}])) == [3, 7, 5]
    assert front.submit(called.add, (1, 2)).result(LIMIT) == 3


# ---------------------------------------------------------------- what goes in and comes out


def test_star_unpacks_and_passes_keywords_on(pool: ProcessPoolExecutor) -> None:
    assert pool.submit.star()(called.add, (1, 2), times=10).result(LIMIT) == 30
    assert pool.submit.star()(called.add, {"a": 1, "b": 2}, times=2).result(LIMIT) == 6
    assert list(pool.map.star()(called.add, [(1, 2), [3], {"a": 1, "times": 5}])) == [3, 3, 5]
    for item in (3, "ab", {1, 2}, None, iter([1])):
        with pytest.raises(TypeError, match=r"unpack|star"):
            pool.submit.star()(called.add, item).result(LIMIT)
    with pytest.raises(TypeError, match="one iterable"):
        pool.map.star()(called.add, [(1,)], [(2,)])


def test_error_of_one_item_that_cannot_be_unpacked_is_its_own(pool: ProcessPoolExecutor) -> None:
    first, second, third = pool.map.star().results()(called.add, [(1, 2), 3, (4,)])

    assert (first.ok, third.ok) == (3, 4)
    assert isinstance(second.err, TypeError)


def test_results_are_one_per_input_in_order(pool: ProcessPoolExecutor) -> None:
    results = list(pool.map.results()(called.invert, [1, 0, 2, 0]))

    assert [result.index for result in results] == [0, 1, 2, 3]
    assert [result.ok for result in results if result] == [1.0, 0.5]
    assert [type(result.err) for result in results if not result] == [ZeroDivisionError] * 2
    assert all(result.pid in workers(pool) and result.attempts == 1 for result in results)
    assert all(result.seconds is not None and result.seconds >= 0 for result in results)
    assert _frames(results[1].err)[-1] == "invert"


def test_results_of_submit(pool: ProcessPoolExecutor) -> None:
    good, bad = pool.submit.results()(called.invert, 2), pool.submit.results()(called.invert, 0)

    assert good.result(LIMIT).unwrap() == 0.5
    assert isinstance(bad.result(LIMIT).err, ZeroDivisionError)
    assert bad.exception(LIMIT) is None
    assert bad.result() == bad.result()


def test_faults_of_workers_are_enveloped(pool: ProcessPoolExecutor) -> None:
    results = list(pool.map.results()(work.exit_at_once, [3])) + list(
        pool.map.results()(work.square, [work.Unpicklable(), 2])  # type: ignore[list-item]
    )

    assert isinstance(results[0].err, WorkerDied)
    assert isinstance(results[1].err, pickle.PicklingError)
    assert results[1].attempts == 0
    assert results[2].ok == 4


def test_errors_of_the_inputs_are_raised_not_enveloped(pool: ProcessPoolExecutor) -> None:
    def inputs() -> Any:
        yield 1
        raise KeyError("inputs")

    with pytest.raises(KeyError, match="inputs"):
        list(pool.map.results()(work.square, inputs()))


def test_unordered_gives_what_is_ready(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    results = pool.map.unordered()(work.wait_for_file, [str(gate.path), "/"])

    assert next(results) == "/"
    gate.open()
    assert list(results) == [str(gate.path)]


def test_unordered_envelopes_tell_their_input(pool: ProcessPoolExecutor) -> None:
    results = list(pool.map.unordered().results()(called.invert, range(20)))

    assert sorted(result.index for result in results) == list(range(20))
    assert all(result.err is not None or result.ok == 1 / result.index for result in results)


def test_background_map_is_a_future_of_the_list(pool: ProcessPoolExecutor) -> None:
    future = pool.map.background()(work.square, range(5))

    assert isinstance(future, concurrent.futures.Future)
    assert future.result(LIMIT) == [0, 1, 4, 9, 16]
    assert pool.map.background()(work.square, []).result(LIMIT) == []
    with pytest.raises(ZeroDivisionError):
        pool.map.background()(called.invert, [1, 0]).result(LIMIT)
    first, second = pool.map.background().results()(called.invert, [1, 0]).result(LIMIT)
    assert (first.ok, type(second.err)) == (1.0, ZeroDivisionError)


def test_first_error_of_a_background_map_cancels_what_waits(
    pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    traces = [tmp_path / str(i) for i in range(300)]

    def items() -> Any:
        yield None
        for trace in traces:
            yield str(trace)

    future = pool.map.background()(work.mark, items())

    with pytest.raises(TypeError):
        future.result(LIMIT)
    assert pool.submit(work.square, 3).result(LIMIT) == 9


def test_cancelling_a_background_map_stops_all(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    future = pool.map.background()(work.pass_gate, *zip(*[gate.args()] * 6, strict=True))
    pids = gate.wait_arrived(2)

    assert future.cancel()
    assert future.cancelled()
    wait_gone(*pids)
    assert pool.submit(work.square, 3).result(LIMIT) == 9
    assert len(gate.arrived()) == 2


def test_callback_of_a_background_map_may_block_for_ever(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate, blocked = Gate(tmp_path, "calls"), Gate(tmp_path, "callback")
    future = pool.map.background()(work.pass_gate, *[[arg] * 2 for arg in gate.args()])
    # Added before the end, or it would run here.
    future.add_done_callback(lambda _: work.wait_for_file(str(blocked.path)))
    gate.open()

    assert len(future.result(LIMIT)) == 2
    assert pool.submit(work.square, 3).result(LIMIT) == 9  # the dispatcher lives
    blocked.open()


# ---------------------------------------------------------------- who wins


def name_of(future: Any) -> Any:
    return future.result(LIMIT)[2]


def test_nearest_wins(pool: ProcessPoolExecutor) -> None:
    view, named = pool.named("view"), task(called.about).named("task")

    assert name_of(pool.submit(called.about)) is None
    assert name_of(view.submit(called.about)) == "view"
    assert name_of(view.named("later").submit(called.about)) == "later"
    assert name_of(view.submit(named)) == "task"
    assert name_of(named.named("last") and view.submit(named.named("last"))) == "last"
    assert name_of(view.submit.named("method")(named)) == "method"
    assert next(iter(view.map(named, [0])))[2] == "task"
    assert next(iter(view.map.named("method")(named, [0])))[2] == "method"


def test_limit_is_lifted_by_none(pool: ProcessPoolExecutor) -> None:
    view = pool.timeout(30)

    assert view.submit(called.about).result(LIMIT)[3] is not None
    assert view.timeout(None).submit(called.about).result(LIMIT)[3] is None
    assert view.submit.timeout(None)(called.about).result(LIMIT)[3] is None
    assert view.submit(task(called.about).timeout(None)).result(LIMIT)[3] is None


def test_task_s_limit_holds_in_every_way(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(CallTimeout, match="limited"):
        pool.submit(called.limited, 300).result(LIMIT)
    with pytest.raises(CallTimeout, match="limited"):
        list(pool.map(called.limited, [300]))
    with pytest.raises(CallTimeout, match="limited"):
        called.limited.on(pool)(300)
    assert called.limited.fn(0.3) == 0.3
    assert pool.submit.timeout(None)(called.limited, 0.3).result(LIMIT) == 0.3


@pytest.mark.parametrize("method", ["submit", "map"])
def test_repeating_between_name_and_parentheses_is_an_error(pool: ProcessPoolExecutor, method: str) -> None:
    for name, args in (("timeout", (1,)), ("retry", (1,)), ("star", ()), ("results", ()), ("named", ("x",))):
        hung = getattr(getattr(pool, method), name)(*args)
        with pytest.raises(TypeError, match=f"{name}.*twice"):
            getattr(hung, name)(*args)
    with pytest.raises(TypeError, match=EXCLUDED):
        getattr(pool, method).background().asynced()
    with pytest.raises(TypeError, match=EXCLUDED):
        getattr(pool, method).asynced().background()


def test_background_with_asynced_is_an_error_on_tasks_and_fronts(pool: ProcessPoolExecutor) -> None:
    for start in (task(work.square), pool):
        with pytest.raises(TypeError, match=EXCLUDED):
            start.background().asynced()
        with pytest.raises(TypeError, match=EXCLUDED):
            start.asynced().background()


def test_submit_has_no_order_to_lose(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(TypeError, match="unordered"):
        pool.submit.unordered()


# ---------------------------------------------------------------- nothing else changes


@pytest.mark.parametrize("method", ["submit", "map"])
def test_signature_is_the_method_s_own(pool: ProcessPoolExecutor, method: str) -> None:
    bound = getattr(pool, method)
    plain = getattr(ProcessPoolExecutor, method)

    for each in (bound, bound.timeout(3), getattr(pool.timeout(3), method)):
        assert list(inspect.signature(each).parameters) == list(inspect.signature(plain).parameters)[1:]
        assert each.__name__ == method
        assert each.__qualname__ == f"ProcessPoolExecutor.{method}"
        assert inspect.getdoc(each) == inspect.getdoc(plain)
        assert each.__self__ is not None
    assert bound == getattr(pool, method)
    assert bound != bound.timeout(3)
    assert bound.timeout(3) == bound.timeout(3.0)
    assert len({bound, getattr(pool, method)}) == 1


def test_user_s_own_keywords_reach_the_function(pool: ProcessPoolExecutor) -> None:
    words = ["timeout", "within", "retry", "priority", "named", "star", "results", "background", "asynced"]
    given = dict.fromkeys([*words, "fn", "self", "args", "kwargs", "executor", "plan", "sink", "index"], 1)

    assert pool.submit(called.keywords, **given).result(LIMIT) == given
    assert pool.submit.timeout(30).results()(called.keywords, **given).result(LIMIT).ok == given
    assert pool.timeout(30).submit(called.keywords, **given).result(LIMIT) == given
    assert pool.star().submit(called.keywords, {"a": 1}, **given).result(LIMIT) == {"a": 1, **given}
    assert pool.submit(task(called.keywords), **given).result(LIMIT) == given
    assert task(called.keywords).on(pool)(**given) == given
    assert asyncio.run(pool.submit.asynced()(called.keywords, **given)) == given


def test_map_s_own_timeout_limits_the_waiting_only(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    results = pool.map.results()(work.wait_for_file, [str(gate.path)], timeout=0.05)

    with pytest.raises(TimeoutError) as caught:
        list(results)

    assert not isinstance(caught.value, CallTimeout)
    gate.open()


def test_tasks_are_functions(pool: ProcessPoolExecutor) -> None:
    assert called.doubled.on(pool)(3) == 6
    assert called.doubled.__name__ == "doubled"
    assert called.doubled.__doc__ == "Give the double."
    assert list(inspect.signature(called.doubled).parameters) == ["x"]
    assert called.doubled.fn(3) == 6
    assert pool.submit(called.doubled, 3).result(LIMIT) == 6
    assert list(pool.map(called.doubled.results(), [1])) == [Result(2)]
    assert called.Adder(3).add_task.on(pool)(4) == 7
    assert pool.submit(called.Adder(3).add_task, 4).result(LIMIT) == 7
    assert pool.submit(task(called.Adder(3).add).timeout(30), 4).result(LIMIT) == 7


def test_task_travels_by_name_or_with_its_options() -> None:
    assert pickle.loads(pickle.dumps(called.doubled)) is called.doubled
    limited = task(called.add).timeout(3)
    assert pickle.loads(pickle.dumps(limited)) == limited
    assert pickle.loads(pickle.dumps(called.doubled.timeout(3))) == called.doubled.timeout(3)
    assert pickle.loads(pickle.dumps(called.doubled.timeout(3))).fn is called.doubled.fn
    assert pickle.loads(pickle.dumps(task(called.add))) == task(called.add)
    bound = called.Adder(3).add_task
    assert pickle.loads(pickle.dumps(task(abs).retry(2))) == task(abs).retry(2)
    assert bound.fn(4) == 7


def test_task_can_be_an_argument(pool: ProcessPoolExecutor) -> None:
    (got,), _ = pool.submit(work.echo, called.doubled).result(LIMIT)

    assert got is called.doubled


def test_decorated_function_travels_by_name(pool: ProcessPoolExecutor) -> None:
    assert pool.submit(called.doubled, 3).result(LIMIT) == 6

    payload, needs = pool._codec.pack_call(called.doubled.fn, (3,), {})
    (got,), _ = pool.submit(work.echo, called.doubled.fn).result(LIMIT)

    assert len(payload) < 100
    assert not needs
    assert got is called.doubled.fn


@pytest.mark.parametrize("decorate", [task, lambda fn: functools.wraps(fn)(lambda *args: 0)])
def test_function_that_is_wrapped_in_the_parent_only_is_found_there(
    pool: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch, decorate: Callable[..., Any]
) -> None:
    plain = called.add
    pool.submit(plain, 1, 2).result(LIMIT)

    monkeypatch.setattr(called, "add", decorate(plain))

    assert pool.submit(plain, 1, 2).result(LIMIT) == 3
    assert pool.submit(task(plain), 1, 2).result(LIMIT) == 3


def test_task_of_a_task_has_the_options_of_both() -> None:
    both = task(task(called.add).timeout(3).retry(1)).timeout(4)

    assert both == task(called.add).retry(1).timeout(4)
    assert both.fn is called.add


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize("way", ["submit", "map", "results", "asynced"])
@pytest.mark.parametrize("stubborn", called.STUBBORN, ids=lambda fn: fn.__name__)
def test_limit_ends_whatever_runs(
    pool: ProcessPoolExecutor, tmp_path: Path, stubborn: Callable[..., Any], way: str
) -> None:
    pids = warm(pool, 2, tmp_path)
    gate, started = Gate(tmp_path, "sibling"), tmp_path / "started"
    sibling = pool.submit(work.pass_gate, *gate.args())
    (sibling_pid,) = gate.wait_arrived(1)
    (pid,) = pids - {sibling_pid}
    limited = pool.timeout(0.3)

    if way == "submit":
        error = limited.submit(stubborn, str(started)).exception(LIMIT)
    elif way == "map":
        with pytest.raises(CallTimeout) as caught:
            list(limited.map(stubborn, [str(started)]))
        error = caught.value
    elif way == "results":
        ((error,),) = [[result.err for result in limited.map.results()(stubborn, [str(started)])]]
    else:

        async def main() -> BaseException | None:
            return (await limited.submit.asynced().results()(stubborn, str(started))).err  # type: ignore[no-any-return]

        error = asyncio.run(main())

    assert isinstance(error, CallTimeout)
    assert error.seconds == 0.3
    assert error.call == stubborn.__qualname__
    if started.exists():  # else the machine was so busy that it had not begun
        assert int(started.read_text()) == pid
    wait_gone(pid)
    wait_until(lambda: not _group(pid), "the end of what it started")
    gate.open()
    assert sibling.result(LIMIT) == sibling_pid
    assert pool.submit(work.square, 3).result(LIMIT) == 9
    assert sibling_pid in workers(pool)


def _group(leader: int) -> list[int]:
    """Give the living processes of a worker's group."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    state, _, group = file.read().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(group) == leader and state not in "ZX":
                found.append(int(name))
    return found


def test_cleanup_runs_when_a_limit_passes(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    started, cleaned = tmp_path / "started", tmp_path / "cleaned"

    future = pool.submit.timeout(1.0)(work.mark_start_and_cleanup, str(started), str(cleaned), 300.0)

    error = future.exception(LIMIT)
    assert isinstance(error, CallTimeout)
    assert wait_written(cleaned) == "cleaned"
    assert "mark_start_and_cleanup" in _frames(error.__cause__)


def test_limit_of_a_map_is_each_call_s(make_pool: MakePool) -> None:
    pool = make_pool(2, initializer=importlib.import_module, initargs=(work.__name__,))  # not within a limit
    results = list(pool.map.timeout(KEPT).results()(work.wait_for_file, ["/", "/nowhere", "/", "/nowhere"]))

    assert [type(result.err) for result in results] == [type(None), CallTimeout, type(None), CallTimeout]


def test_within_counts_the_waiting(make_pool: MakePool, tmp_path: Path) -> None:
    pool, gate = make_pool(1), Gate(tmp_path)
    first = pool.submit(work.pass_gate, *gate.args())
    gate.wait_arrived(1)

    with pytest.raises(CallTimeout):
        pool.submit.within(0.1)(work.mark, str(tmp_path / "never")).result(LIMIT)
    results = list(pool.within(0.1).map.results()(work.square, range(3)))
    assert [type(result.err) for result in results] == [CallTimeout] * 3

    gate.open()
    assert first.result(LIMIT)
    assert pool.submit(work.square, 2).result(LIMIT) == 4
    assert not (tmp_path / "never").exists()


def test_within_stops_what_runs(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    started, cleaned = tmp_path / "started", tmp_path / "cleaned"

    future = pool.submit.within(1.0)(work.mark_start_and_cleanup, str(started), str(cleaned), 300.0)

    assert isinstance(future.exception(LIMIT), CallTimeout)
    assert not started.exists() or wait_written(cleaned) == "cleaned"


@pytest.mark.parametrize("seconds", [1e9, 1e100, float("inf")])
def test_very_long_limits_are_as_good_as_none(pool: ProcessPoolExecutor, seconds: float) -> None:
    assert pool.timeout(seconds).within(seconds).submit(work.square, 3).result(LIMIT) == 9
    assert list(pool.map.within(seconds).timeout(seconds)(work.square, [3])) == [9]


def test_higher_priority_runs_sooner(make_pool: MakePool, tmp_path: Path) -> None:
    pool, gate, path = make_pool(1), Gate(tmp_path), tmp_path / "order"
    pool.submit(work.pass_gate, *gate.args())
    gate.wait_arrived(1)
    futures = [pool.submit.priority(n % 3)(called.leave_order, str(path), n) for n in range(9)] + [
        pool.submit.priority(-1)(called.leave_order, str(path), 9),
        pool.submit(called.leave_order, str(path), 10),
    ]

    gate.open()
    concurrent.futures.wait(futures, LIMIT)

    assert path.read_text().split() == list(map(str, [2, 5, 8, 1, 4, 7, 0, 3, 6, 10, 9]))


# ---------------------------------------------------------------- retry


def test_flaky_call_ends_in_its_value(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    assert pool.submit.retry(3)(called.flaky, str(tmp_path / "a"), 2).result(LIMIT) == 3
    (result,) = pool.map.retry(3).results()(called.flaky, [str(tmp_path / "b")], [2])
    assert (result.ok, result.attempts, result.index) == (3, 3, 0)
    assert (
        pool.submit.results()(task(called.flaky).retry(1), str(tmp_path / "c"), 1).result(LIMIT).attempts == 2
    )
    assert (
        pool.submit.retry(2, delay=0.01, backoff=3)(called.flaky, str(tmp_path / "d"), 2).result(LIMIT) == 3
    )


def test_call_that_always_fails_ends_in_its_last_error(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    result = pool.submit.retry(2).results()(called.flaky, str(tmp_path / "a"), 99).result(LIMIT)

    assert isinstance(result.err, OSError)
    assert result.err.args == ("run 3",)
    assert result.attempts == 3
    assert any("3" in note for note in result.err.__notes__)
    assert (tmp_path / "a").stat().st_size == 3


def test_only_named_errors_are_retried(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    result = pool.submit.retry(5, on=(KeyError, ValueError)).results()(called.flaky, str(tmp_path / "a"), 99)

    assert result.result(LIMIT).attempts == 1
    assert (
        pool.submit.retry(5, on=(KeyError, OSError))(called.flaky, str(tmp_path / "b"), 1).result(LIMIT) == 2
    )


def test_death_is_retried_only_if_it_is_named(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    with pytest.raises(WorkerDied):
        pool.submit.retry(5)(called.dying, str(tmp_path / "a"), 1).result(LIMIT)
    assert (tmp_path / "a").stat().st_size == 1

    assert pool.submit.retry(2, on=WorkerDied)(called.dying, str(tmp_path / "b"), 2).result(LIMIT) == 3
    result = (
        pool.submit.retry(1, on=WorkerDied).results()(called.dying, str(tmp_path / "c"), 99).result(LIMIT)
    )
    assert isinstance(result.err, WorkerDied)
    assert result.attempts == 2


def test_each_run_has_its_own_limit(make_pool: MakePool, tmp_path: Path) -> None:
    # Every new worker imports the module of the function before its first call, not in it: that may take a second.
    pool = make_pool(2, initializer=importlib.import_module, initargs=(called.__name__,))
    result = (
        pool.submit.timeout(1.0).retry(30).results()(called.slow_at_first, str(tmp_path / "a")).result(LIMIT)
    )

    # On an overloaded machine the limit of a run may pass before its first line.
    assert 2 <= result.ok <= result.attempts


def test_cancelled_call_is_not_run_again(make_pool: MakePool, tmp_path: Path) -> None:
    pool, path = make_pool(1), tmp_path / "a"
    future = pool.submit.retry(9, on=(BaseException,))(called.slow_at_first, str(path))
    wait_written(path)

    assert future.cancel()

    assert pool.submit(work.square, 3).result(LIMIT) == 9
    assert path.read_text() == "x"


def test_call_can_be_cancelled_during_the_delay(make_pool: MakePool, tmp_path: Path) -> None:
    pool, path = make_pool(1), tmp_path / "a"
    future = pool.submit.retry(9, delay=1e300, backoff=1e300)(called.flaky, str(path), 99)
    wait_written(path)
    assert pool.submit(work.square, 3).result(LIMIT) == 9  # its worker is free

    assert future.cancel()

    with pytest.raises(concurrent.futures.CancelledError):
        future.result(LIMIT)
    pool.shutdown()
    assert path.read_text() == "x"
