"""`Pool`: the methods of `multiprocessing.Pool` and suitkaise, with the executor's words."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ezflow import CallTimeout, Future, Pool, ProcessPoolExecutor, Result, WorkerDied, task
from tests import work

from .gates import KEPT, LIMIT, Gate, lines, wait_gone, wait_until

MakePool = Callable[..., Any]


@pytest.fixture
def make_pool(context: Any) -> Iterator[MakePool]:
    """A maker of pools that are ended after the test."""
    pools: list[Any] = []

    def make(workers: int | None = 2, **options: Any) -> Any:
        pools.append(Pool(workers, mp_context=context, **options))
        return pools[-1]

    yield make
    for pool in pools:
        pool.terminate()
        pool.join()
    pools.clear()


@pytest.fixture
def pool(make_pool: MakePool) -> Any:
    """A pool of two workers."""
    return make_pool()


# ------------------------------------------------------------ making one


def test_it_has_the_executors_options() -> None:
    ours = inspect.signature(Pool).parameters
    theirs = inspect.signature(ProcessPoolExecutor).parameters

    assert next(iter(ours)) == "workers"
    assert all(p.kind is p.KEYWORD_ONLY for p in list(ours.values())[1:])
    assert {p.name: p.default for p in list(ours.values())[1:]} == {
        p.name: p.default for p in list(theirs.values())[1:]
    }


def test_workers_are_as_many_as_the_executors(make_pool: MakePool) -> None:
    assert make_pool(None).executor._max_workers == ProcessPoolExecutor()._max_workers
    assert make_pool(3).executor._max_workers == 3
    for n in (0, -1):
        with pytest.raises(ValueError, match="greater than 0"):
            Pool(n)


def test_options_reach_the_engine(make_pool: MakePool) -> None:
    pool = make_pool(1, initializer=work.remember, initargs=("key", 7), max_tasks_per_child=1)

    assert pool.map(work.recall, ["key"] * 2) == [7, 7]
    assert len(set(pool.map(work.pid_of, range(2)))) == 2


def test_types_are_not_loaded_at_run_time() -> None:
    program = "import sys, ezflow; ezflow.Pool, ezflow.task; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert "ezflow.pool" in done.stdout.split()
    assert not {"ezflow._typed", "ezflow._typed_pool"} & set(done.stdout.split())


# ------------------------------------------------------------ the methods


def test_map_gives_a_list_in_order(pool: Any) -> None:
    assert pool.map(work.square, range(100)) == [i * i for i in range(100)]
    assert pool.map(lambda x: x + 1, (1, 2)) == [2, 3]
    assert pool.map(work.square, []) == []
    assert pool.map(str, {1: "one"}) == ["1"]


@pytest.mark.parametrize("method", ["map", "unordered_map", "imap", "unordered_imap"])
def test_chunksize_is_taken_by_position_too(pool: Any, method: str) -> None:
    call = getattr(pool, method)

    assert sorted(call(work.square, range(20), 7)) == sorted(i * i for i in range(20))
    assert sorted(call(work.square, range(20), chunksize=7)) == sorted(i * i for i in range(20))
    assert sorted(call(work.square, range(20), chunksize=None)) == sorted(i * i for i in range(20))
    with pytest.raises(ValueError, match="chunksize"):
        call(work.square, range(20), chunksize=0)


def test_map_raises_the_first_error_at_once(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(2)
    gate, runs = Gate(tmp_path), tmp_path / "runs"
    items = [
        work.Act(work.pass_gate, *gate.args()),  # still running when the error comes
        work.Act(work.fail, KeyError("second")),
        *(work.Act(_wait_then_append, str(gate.path), str(runs)) for _ in range(50)),
    ]

    with pytest.raises(KeyError, match="second"):
        pool.map(work.call_or_give, items)
    gate.open()
    wait_until(lambda: " 0 pending" in repr(pool), "the end of what had started")
    assert len(lines(runs)) < 50
    assert pool.map(work.square, [3]) == [9]


def _wait_then_append(gate: str, path: str) -> None:
    work.wait_for_file(gate)
    work.append(path, "ran")


def test_an_error_of_the_input_is_raised(pool: Any) -> None:
    def inputs() -> Iterator[int]:
        yield 1
        raise LookupError("input")

    for method in (pool.map, pool.unordered_map, pool.imap, pool.map.results()):
        with pytest.raises(LookupError, match="input"):
            list(method(work.square, inputs()))
    assert pool.map(work.square, [3]) == [9]


def test_unordered_map_gives_what_comes_first(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(2)
    gate = Gate(tmp_path)
    items = [work.Act(work.pass_gate, *gate.args()), 1, work.Act(gate_open, str(gate.path))]

    got = pool.unordered_map(work.call_or_give, items)
    assert got[0] == 1  # the gate is opened after it, by the only worker that is free
    assert "opened" in got[1:]


def gate_open(path: str) -> str:
    """Open a gate from inside a worker."""
    Path(path).mkdir()
    return "opened"


def test_imap_is_lazy(make_pool: MakePool) -> None:
    pool = make_pool(2)
    taken = itertools.count()
    endless = (next(taken) for _ in itertools.count())
    results = pool.imap(work.square, endless)

    assert list(itertools.islice(results, 5)) == [0, 1, 4, 9, 16]
    assert next(taken) <= 5 + 4 * 2 + 1
    results.close()

    taken = itertools.count()
    endless = (next(taken) for _ in itertools.count())
    results = pool.imap(work.square, endless, buffersize=1)
    assert next(results) == 0
    assert next(taken) <= 3
    results.close()


def test_imap_raises_in_place(pool: Any) -> None:
    results = pool.imap(work.fail_on_odd, range(4))

    assert next(results) == 0
    with pytest.raises(ValueError, match="odd: 1"):
        next(results)


def test_unordered_imap_is_lazy_and_gives_what_comes_first(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(2)
    gate = Gate(tmp_path)
    items = itertools.chain([work.Act(work.pass_gate, *gate.args())], itertools.count())
    results = pool.unordered_imap(work.call_or_give, items)

    assert sorted(itertools.islice(results, 20)) == list(range(20))
    gate.open()
    results.close()


def test_submit_gives_a_future(pool: Any) -> None:
    future = pool.submit(work.echo, 1, self=2, fn=3, timeout=4)

    assert isinstance(future, Future)
    assert future.result(LIMIT) == ((1,), {"self": 2, "fn": 3, "timeout": 4})


def test_names_of_multiprocessing_lead_on(pool: Any) -> None:
    for name in ("apply", "apply_async", "map_async", "starmap", "starmap_async", "imap_unordered"):
        with pytest.raises(AttributeError, match=rf"no attribute '{name}'; write pool\.\w+"):
            getattr(pool, name)
    with pytest.raises(AttributeError, match=r"no attribute 'nonsense'$"):
        _ = pool.nonsense


# ------------------------------------------------------------ words

WORDS: dict[str, Callable[[Any], Any]] = {
    "timeout": lambda x: x.timeout(50),
    "star": lambda x: x.star(),
    "results": lambda x: x.results(),
    "background": lambda x: x.background(),
}
CHAINS = [chain for n in range(1, 5) for chain in itertools.permutations(WORDS, n)]


@pytest.mark.parametrize("method", ["map", "unordered_map", "imap", "unordered_imap"])
def test_every_chain_means_the_same_wherever_it_hangs(pool: Any, method: str) -> None:
    for chain in CHAINS:
        for n_on_pool in range(len(chain) + 1):
            target = pool
            for word in chain[:n_on_pool]:
                target = WORDS[word](target)
            target = getattr(target, method)
            for word in chain[n_on_pool:]:
                target = WORDS[word](target)
            got = target(work.echo, [(1, 2)], key=3) if "star" in chain else target(work.echo, [(1, 2)])
            if "background" in chain:
                assert isinstance(got, Future), chain
                got = got.result(LIMIT)
            elif method in ("map", "unordered_map"):
                assert isinstance(got, list), chain
            (one,) = got
            if "results" in chain:
                assert isinstance(one, Result), chain
                one = one.unwrap()
            assert one == (((1, 2), {"key": 3}) if "star" in chain else (((1, 2),), {})), chain


def test_star_unpacks_tuples_lists_and_mappings(pool: Any) -> None:
    items = [(1, 2), [3], {"a": 4}]

    assert pool.star().map(work.echo, items) == [((1, 2), {}), ((3,), {}), ((), {"a": 4})]
    with pytest.raises(TypeError):
        pool.map.star()(work.echo, [5])


def test_keywords_need_star(pool: Any) -> None:
    for method in (pool.map, pool.unordered_map, pool.imap, pool.unordered_imap, pool.map.results()):
        with pytest.raises(TypeError, match="unexpected keyword argument 'key'"):
            method(work.echo, [1], key=2)


def test_results_gives_one_for_each(pool: Any) -> None:
    got = pool.map.results()(work.fail_on_odd, range(4))

    assert [one.ok for one in got] == [0, None, 2, None]
    assert [one.index for one in got] == [0, 1, 2, 3]


def test_timeout_limits_each_call(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    started = str(tmp_path / "started")
    items = [1, work.Act(work.wait_for_ever, started), 2]

    with pytest.raises(CallTimeout):
        pool.map.timeout(0.3)(work.call_or_give, items)
    got = pool.timeout(KEPT).results().map(work.call_or_give, items)
    assert [one.ok for one in got] == [1, None, 2]
    assert isinstance(got[1].err, CallTimeout)


def test_within_limits_the_whole_map(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    items = [work.Act(work.wait_for_ever, str(tmp_path / f"started{i}")) for i in range(3)]

    got = pool.map.within(0.3).results()(work.call_or_give, items)
    assert all(isinstance(one.err, CallTimeout) for one in got)
    assert not (tmp_path / "started2").exists()


def test_words_on_the_pool_are_defaults(pool: Any, tmp_path: Path) -> None:
    runs = str(tmp_path / "runs")
    view = pool.retry(2).named("again")

    assert type(view) is Pool
    assert repr(view) == repr(pool)
    (got,) = view.results().map(_append_and_fail, [runs])
    assert got.attempts == 3
    assert len(lines(tmp_path / "runs")) == 3
    (got,) = view.map.retry(0).results()(_append_and_fail, [runs])
    assert got.attempts == 1


def _append_and_fail(path: str) -> None:
    work.append_then(path, work.fail, OSError())


def test_tasks_bring_their_words(pool: Any) -> None:
    assert [type(one) for one in pool.map(task(work.square).results(), [2])] == [Result]
    assert pool.map(task(work.square).background(), [2]).result(LIMIT) == [4]


def test_repeated_and_contrary_words_are_refused(pool: Any) -> None:
    with pytest.raises(TypeError, match="twice"):
        pool.map.timeout(1).timeout(2)
    with pytest.raises(TypeError):
        pool.map.background().asynced()
    with pytest.raises(TypeError):
        pool.background().asynced()
    with pytest.raises(TypeError):
        pool.map.stream()
    with pytest.raises(TypeError):
        pool.submit.unordered()
    with pytest.raises(TypeError):
        pool.stream().map(work.square, [1])


def test_asynced(pool: Any) -> None:
    async def source() -> Any:
        for i in range(3):
            yield i

    async def main() -> None:
        assert await pool.map.asynced()(work.square, range(3)) == [0, 1, 4]
        assert [one.index for one in await pool.map.asynced().results()(work.square, range(3))] == [0, 1, 2]
        assert await pool.asynced().submit(work.square, 3) == 9
        assert [x async for x in pool.imap.asynced()(work.square, source())] == [0, 1, 4]
        assert {x async for x in pool.unordered_imap.asynced()(work.square, source())} == {0, 1, 4}
        assert sorted(await pool.unordered_map.asynced()(work.square, range(3))) == [0, 1, 4]

    asyncio.run(main())


# ------------------------------------------------------------ the end


def test_a_dead_worker_fails_one_item(pool: Any) -> None:
    got = pool.map.results()(work.call_or_give, [1, work.Act(work.kill_self), 2])

    assert [one.ok for one in got] == [1, None, 2]
    assert isinstance(got[1].err, WorkerDied)
    assert pool.map(work.square, [2]) == [4]


def test_with_finishes_what_was_submitted(context: Any, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    with Pool(1, mp_context=context) as pool:
        futures = [pool.submit(work.pass_gate, *gate.args()) for _ in range(3)]
        gate.wait_arrived()
        gate.open()

    assert all(future.done() and not future.cancelled() for future in futures)
    with pytest.raises(RuntimeError):
        pool.map(work.square, [1])


def test_with_stops_after_an_exception(context: Any, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    futures: list[Any] = []

    def stop() -> None:
        with Pool(1, mp_context=context) as pool:
            futures.extend(pool.submit(work.pass_gate, *gate.args()) for _ in range(3))
            gate.wait_arrived()
            raise LookupError

    with pytest.raises(LookupError):
        stop()
    pids = gate.arrived()
    wait_gone(*pids)
    assert all(future.done() for future in futures)


def test_async_with(context: Any, tmp_path: Path) -> None:
    async def finish() -> None:
        async with Pool(1, mp_context=context) as pool:
            future = pool.submit(work.square, 3)
        assert future.result(0) == 9

    async def stop() -> None:
        async with Pool(1, mp_context=context) as pool:
            futures.append(pool.submit(work.pass_gate, *gate.args()))
            await asyncio.to_thread(gate.wait_arrived)
            raise LookupError

    futures: list[Any] = []
    gate = Gate(tmp_path)
    asyncio.run(finish())
    with pytest.raises(LookupError):
        asyncio.run(stop())
    assert futures[0].done()


def test_close_and_join(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    gate = Gate(tmp_path)
    future = pool.submit(work.pass_gate, *gate.args())

    with pytest.raises(ValueError, match="close"):
        pool.join()
    pool.close()
    assert not future.done()
    with pytest.raises(RuntimeError):
        pool.submit(work.square, 1)
    gate.open()
    pool.join()
    assert future.done()
    pool.close()


def test_terminate_and_join(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    gate = Gate(tmp_path)
    futures = [pool.submit(work.pass_gate, *gate.args()) for _ in range(3)]
    pids = gate.wait_arrived()

    pool.terminate()
    pool.join()
    wait_gone(*pids)
    assert all(future.done() for future in futures)
    with pytest.raises(RuntimeError):
        pool.submit(work.square, 1)


def test_it_stays_here(pool: Any) -> None:
    with pytest.raises(TypeError, match="Pool cannot be pickled"):
        pickle.dumps(pool)


def test_it_works_in_a_worker(pool: Any) -> None:
    assert pool.submit(_map_in_a_worker, 3).result(LIMIT) == [0, 1, 4]


def _map_in_a_worker(n: int) -> list[int]:
    with Pool(1) as pool:
        return pool.map(work.square, range(n))


def test_it_shows_its_state(pool: Any) -> None:
    assert repr(pool).startswith("<Pool open, ")
    pool.close()
    assert repr(pool).startswith("<Pool shut down, ")


def test_subclasses_keep_what_they_have(context: Any) -> None:
    class Mine(Pool):
        def __init__(self, note: str) -> None:
            super().__init__(1, mp_context=context)
            self.note = note

        def twice(self, *args: Any) -> Any:
            return self.map(*args) * 2

    with Mine("here") as pool:
        view = pool.timeout(50)
        assert (type(view), view.note) == (Mine, "here")
        assert view.twice(work.square, [3]) == [9, 9]
