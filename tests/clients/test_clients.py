"""One test per library: it does its usual job on our pool, in other processes, and ends by itself."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.clients import work
from tests.clients.conftest import STANDARD

# What other people's packages warn about is not ours to turn into errors.
pytestmark = pytest.mark.filterwarnings("default")


def needs(module: str) -> Any:
    """Import a client or skip its test, with the reason."""
    return pytest.importorskip(module, reason=f"{module} is not installed", exc_type=ImportError)


def test_dask_computes_a_graph_on_the_pool(pool: Any) -> None:
    dask = needs("dask")
    squares = [dask.delayed(work.square)(i) for i in range(20)]

    with dask.config.set(scheduler=pool):  # reads pool._max_workers
        (by_config,) = dask.compute(dask.delayed(work.total)(squares))
    (by_argument,) = dask.compute(dask.delayed(work.total)(squares), scheduler=pool)

    assert by_config == by_argument == sum(i * i for i in range(20))


def test_dask_reports_the_error_of_a_task(pool: Any) -> None:
    dask = needs("dask")

    with pytest.raises(ValueError, match="no 3"):
        dask.compute(dask.delayed(work.fail)(3), scheduler=pool)


def test_dask_bag_runs_on_the_pool(pool: Any) -> None:
    bag = needs("dask.bag")
    total = bag.from_sequence(range(100), npartitions=5).map(work.square).sum()

    assert total.compute(scheduler=pool) == sum(i * i for i in range(100))


def test_tqdm_counts_results_of_map(pool: Any) -> None:
    tqdm = needs("tqdm")

    with open(os.devnull, "w") as nowhere:
        bar = tqdm.tqdm(pool.map(work.square, range(30)), total=30, file=nowhere)
        results = list(bar)

    assert results == [i * i for i in range(30)]
    assert bar.n == 30


def test_tqdm_process_map_ticks_once_per_call(
    as_standard: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It replaces pool.submit and expects map to call it; its lock travels in initargs.
    tqdm = needs("tqdm")
    concurrent = needs("tqdm.contrib.concurrent")
    ticks: list[int] = []
    update = tqdm.tqdm.update

    def counting(bar: Any, n: float = 1) -> Any:
        ticks.append(1)
        return update(bar, n)

    monkeypatch.setattr(tqdm.tqdm, "update", counting)
    tqdm.tqdm.set_lock(context.RLock())
    with open(os.devnull, "w") as nowhere:
        results = concurrent.process_map(
            work.square,
            range(30),
            max_workers=2,
            mp_context=context,
            lock_name="",
            tqdm_class=tqdm.tqdm,
            file=nowhere,
        )

    assert results == [i * i for i in range(30)]
    assert len(ticks) == 30


def test_tqdm_process_map_works_with_its_own_lock(as_standard: Any) -> None:
    # No context given: the lock it makes fixes multiprocessing's default, and the pool must agree with that.
    needs("tqdm")
    code = (
        "import concurrent.futures, os\n"
        f"from {as_standard.__module__} import {as_standard.__name__} as Pool\n"
        "concurrent.futures.ProcessPoolExecutor = Pool\n"
        "from tqdm.contrib.concurrent import process_map\n"
        "from tests.clients.work import square\n"
        "if __name__ == '__main__':\n"
        "    print(process_map(square, range(5), max_workers=2, file=open(os.devnull, 'w')))\n"
    )

    assert run_python(code) == "[0, 1, 4, 9, 16]"


def run_python(code: str) -> str:
    """Run a program and return what it printed; its stderr must stay empty."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_scipy_differential_evolution_uses_the_pool_s_map(pool: Any) -> None:
    optimize = needs("scipy.optimize")

    found = optimize.differential_evolution(
        work.sphere, [(-2, 2)] * 2, maxiter=5, popsize=5, workers=pool.map, updating="deferred", seed=1
    )
    alone = optimize.differential_evolution(
        work.sphere, [(-2, 2)] * 2, maxiter=5, popsize=5, updating="deferred", seed=1
    )

    assert found.nfev == alone.nfev
    assert found.fun == alone.fun


def test_scipy_quad_vec_uses_the_pool_s_map(pool: Any) -> None:
    integrate = needs("scipy.integrate")

    value, _error = integrate.quad_vec(work.square, 0.0, 3.0, workers=pool.map)

    assert value == pytest.approx(9.0)


def test_emcee_samples_with_the_pool(pool: Any) -> None:
    emcee = needs("emcee")
    numpy = needs("numpy")
    start = numpy.random.default_rng(1).normal(size=(8, 2))

    sampler = emcee.EnsembleSampler(8, 2, work.log_gauss, pool=pool)
    sampler.run_mcmc(start, 5)

    assert sampler.get_chain().shape == (5, 8, 2)
    assert numpy.isfinite(sampler.get_log_prob()).all()


def test_adaptive_runner_learns_on_the_pool(pool: Any) -> None:
    adaptive = needs("adaptive")
    learner = adaptive.Learner1D(work.peak, bounds=(-1, 1))

    adaptive.BlockingRunner(learner, npoints_goal=20, executor=pool)  # isinstance check, _max_workers

    assert learner.npoints >= 20


def test_adaptive_async_runner_leaves_the_pool_usable(pool: Any) -> None:
    adaptive = needs("adaptive")

    async def run() -> int:
        learner = adaptive.Learner1D(work.peak, bounds=(-1, 1))
        runner = adaptive.AsyncRunner(learner, npoints_goal=20, executor=pool)
        await asyncio.wait_for(runner.task, 60)
        return int(learner.npoints)

    assert asyncio.run(run()) >= 20
    assert pool.submit(work.square, 3).result(timeout=60) == 9


def test_black_reformats_many_files(
    as_standard: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("black")
    concurrency = needs("black.concurrency")
    import black
    from black.report import Report

    files = {tmp_path / f"f{i}.py" for i in range(12)}
    for path in files:
        path.write_text("x = { 'a':1 }\n")
    (tmp_path / "broken.py").write_text("def (:\n")
    files.add(tmp_path / "broken.py")
    monkeypatch.setattr(concurrency, "ProcessPoolExecutor", as_standard)
    report = Report(quiet=True)

    concurrency.reformat_many(
        files,
        fast=False,
        write_back=black.WriteBack.YES,
        mode=black.Mode(),
        report=report,
        workers=2,
        no_cache=True,
    )

    assert (report.change_count, report.failure_count) == (12, 1)
    assert (tmp_path / "f0.py").read_text() == 'x = {"a": 1}\n'


def test_apscheduler_runs_its_jobs_on_the_pool(as_standard: Any, context: Any) -> None:
    background = needs("apscheduler.schedulers.background")
    pools = needs("apscheduler.executors.pool")
    events = needs("apscheduler.events")
    executor = pools.ProcessPoolExecutor(2, pool_kwargs={"mp_context": context})
    assert isinstance(executor._pool, as_standard)
    scheduler = background.BackgroundScheduler(
        executors={"default": executor},
        job_defaults={
            "misfire_grace_time": None
        },  # else it leaves out jobs that a busy machine begins 1 s late
        timezone="UTC",
    )
    done: list[Any] = []
    enough = threading.Event()

    def listener(event: Any) -> None:
        done.append(event)
        if len(done) == 3:
            enough.set()

    scheduler.add_listener(listener, events.EVENT_JOB_EXECUTED | events.EVENT_JOB_ERROR)
    scheduler.start()
    scheduler.add_job(work.square, args=(3,))
    scheduler.add_job(work.pid_after, args=(0.01,))
    scheduler.add_job(work.fail, args=(3,))
    in_time = enough.wait(60)
    scheduler.shutdown()

    assert in_time
    assert 9 in [event.retval for event in done]
    assert [type(event.exception) for event in done if event.exception] == [ValueError]


def test_tornado_awaits_the_pool(pool: Any) -> None:
    ioloop = needs("tornado.ioloop")

    async def run() -> tuple[Any, ...]:
        loop = ioloop.IOLoop.current()
        first = await loop.run_in_executor(pool, work.square, 3)
        with pytest.raises(ValueError, match="no 4"):
            await loop.run_in_executor(pool, work.fail, 4)
        return first, await loop.run_in_executor(pool, work.pid_after, 0.01)

    square, pid = asyncio.run(run())

    assert square == 9
    assert pid != os.getpid()


def test_asyncio_runs_many_calls_in_the_pool(pool: Any) -> None:
    async def run() -> list[int]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(pool, work.square, i) for i in range(50)))

    assert asyncio.run(run()) == [i * i for i in range(50)]


def test_nevergrad_minimises_on_the_pool(pool: Any) -> None:
    nevergrad = needs("nevergrad")
    optimizer = nevergrad.optimizers.OnePlusOne(parametrization=2, budget=20, num_workers=2)

    found = optimizer.minimize(work.sphere, executor=pool, batch_mode=False)

    assert optimizer.num_tell == 20
    assert found.value.shape == (2,)


def test_deap_evaluates_on_the_pool(pool: Any) -> None:
    # Its classes are made at run time and pickle through copyreg.
    base, creator, tools = needs("deap.base"), needs("deap.creator"), needs("deap.tools")
    if not hasattr(creator, "OneMaxFitness"):
        creator.create("OneMaxFitness", base.Fitness, weights=(1.0,))
        creator.create("OneMax", list, fitness=creator.OneMaxFitness)
    if pool._mp_context.get_start_method() != "fork" and STANDARD:
        pytest.skip("the standard pool sends by reference classes that a fresh worker does not have")
    toolbox = base.Toolbox()
    toolbox.register("map", pool.map)
    population = [tools.initRepeat(creator.OneMax, lambda: 1, n) for n in range(10)]

    assert list(toolbox.map(work.count_ones, population)) == [(n,) for n in range(10)]


def test_compileall_compiles_a_tree(as_standard: Any, tmp_path: Path) -> None:
    import compileall

    for i in range(10):
        (tmp_path / f"m{i}.py").write_text(f"x = {i}\n")

    assert compileall.compile_dir(tmp_path, quiet=2, workers=2)
    assert len(list(tmp_path.glob("__pycache__/*.pyc"))) == 10


def test_pipefunc_maps_on_the_pool(pool: Any) -> None:
    pipefunc = needs("pipefunc")
    pipeline = pipefunc.Pipeline([pipefunc.PipeFunc(work.square, "y", mapspec="x[i] -> y[i]")])

    results = pipeline.map({"x": list(range(6))}, executor=pool, parallel=True, storage="dict")

    assert list(results["y"].output) == [i * i for i in range(6)]


def test_distributed_client_is_not_disturbed() -> None:
    # dask.distributed makes standard pools of its own; ours must not have replaced the class behind its back.
    import concurrent.futures
    import concurrent.futures.process

    assert concurrent.futures.ProcessPoolExecutor is concurrent.futures.process.ProcessPoolExecutor
    assert concurrent.futures.ProcessPoolExecutor.__module__ == "concurrent.futures.process"
