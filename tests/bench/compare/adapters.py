"""One adapter per library: `submit` gives a function that waits for the result, `map` yields in order."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.bench.compare.work import add, double, inc, last_of, multiply, one_more, ones

Wait = Callable[[], Any]


class Adapter:
    """A pool of `workers` processes; `method` is a start method, where the library lets one choose."""

    distribution = ""  # whose version stands in the report

    def __init__(self, workers: int, method: str) -> None:
        self.pool: Any = self.make(workers, method)

    def make(self, workers: int, method: str) -> Any:
        raise NotImplementedError

    def submit(self, fn: Callable[..., Any], *args: Any) -> Wait:
        return self.pool.submit(fn, *args).result  # type: ignore[no-any-return]

    def map(self, fn: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
        return self.pool.map(fn, items, chunksize=1)  # type: ignore[no-any-return]

    def diamonds(self, n: int) -> Iterator[Any]:
        """Give the results of `n` graphs of four calls: two, and two that need the results of both."""
        first = [(self.submit(inc, i), self.submit(double, i)) for i in range(n)]
        second = []
        for left, right in first:
            x, y = left(), right()
            second.append((self.submit(add, x, y), self.submit(multiply, x, y)))
        return ((left(), right()) for left, right in second)

    def pass_on(self, nbytes: int) -> float:
        """Make an array in one call, change it in the next, look at it in the third."""
        return float(self.submit(last_of, self.submit(one_more, self.submit(ones, nbytes)())())())

    def close(self) -> None:
        self.pool.shutdown()


class Stdlib(Adapter):
    def make(self, workers: int, method: str) -> Any:
        from concurrent.futures import ProcessPoolExecutor

        return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(method))


class Ezflow(Adapter):
    distribution = "ezflow-futures"

    def make(self, workers: int, method: str) -> Any:
        from ezflow import ProcessPoolExecutor

        return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(method))

    def diamonds(self, n: int) -> Iterator[Any]:
        from ezflow import EZ, Zip

        graph = EZ(Zip(inc, double), Zip(add, multiply)).on(self.pool)
        runs = [graph.submit(i) for i in range(n)]
        return (run.result() for run in runs)

    def pass_on(self, nbytes: int) -> float:
        from ezflow import EZ, task

        apart = [task(fn).priority(0) for fn in (ones, one_more, last_of)]  # not fused into one call
        return float(EZ(*apart).on(self.pool)(nbytes))


class Loky(Adapter):
    distribution = "loky"

    def make(self, workers: int, method: str) -> Any:
        import loky

        return loky.ProcessPoolExecutor(workers)  # its own start method


class Pebble(Adapter):
    distribution = "pebble"

    def make(self, workers: int, method: str) -> Any:
        import pebble

        return pebble.ProcessPool(workers, context=multiprocessing.get_context(method))

    def submit(self, fn: Callable[..., Any], *args: Any) -> Wait:
        return self.pool.schedule(fn, args=args).result  # type: ignore[no-any-return]

    def map(self, fn: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
        return self.pool.map(fn, items, chunksize=1).result()  # type: ignore[no-any-return]

    def close(self) -> None:
        self.pool.close()
        self.pool.join()


class Mpire(Adapter):
    distribution = "mpire"

    def make(self, workers: int, method: str) -> Any:
        import mpire

        return mpire.WorkerPool(workers, start_method=method, keep_alive=True)

    def submit(self, fn: Callable[..., Any], *args: Any) -> Wait:
        return self.pool.apply_async(fn, args).get  # type: ignore[no-any-return]

    def map(self, fn: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
        return self.pool.imap(fn, items, chunk_size=1)  # type: ignore[no-any-return]

    def close(self) -> None:
        self.pool.stop_and_join()


class Pool(Adapter):
    def make(self, workers: int, method: str) -> Any:
        return multiprocessing.get_context(method).Pool(workers)

    def submit(self, fn: Callable[..., Any], *args: Any) -> Wait:
        return self.pool.apply_async(fn, args).get  # type: ignore[no-any-return]

    def map(self, fn: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
        return self.pool.imap(fn, items, chunksize=1)  # type: ignore[no-any-return]

    def close(self) -> None:
        self.pool.close()
        self.pool.join()


class Dask(Adapter):
    distribution = "distributed"

    def make(self, workers: int, method: str) -> Any:
        import dask
        import distributed

        dask.config.set({"distributed.worker.multiprocessing-method": method})
        return distributed.Client(n_workers=workers, threads_per_worker=1, dashboard_address=None)

    def submit(self, fn: Callable[..., Any], *args: Any) -> Wait:
        return self.pool.submit(fn, *args, pure=False).result  # type: ignore[no-any-return]

    def diamonds(self, n: int) -> Iterator[Any]:
        submit = self.pool.submit
        runs = []
        for i in range(n):
            x, y = submit(inc, i, pure=False), submit(double, i, pure=False)
            runs.append((submit(add, x, y, pure=False), submit(multiply, x, y, pure=False)))
        return ((left.result(), right.result()) for left, right in runs)

    def pass_on(self, nbytes: int) -> float:
        made = self.pool.submit(ones, nbytes, pure=False)
        return float(self.pool.submit(last_of, self.pool.submit(one_more, made, pure=False)).result())

    def close(self) -> None:
        self.pool.close()


class Ray(Adapter):
    distribution = "ray"

    def make(self, workers: int, method: str) -> Any:
        import ray

        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
        return ray

    def submit(self, fn: Callable[..., Any], *args: Any) -> Wait:
        answer = self.pool.remote(fn).remote(*args)
        return lambda: self.pool.get(answer)

    def diamonds(self, n: int) -> Iterator[Any]:
        first, second, third, fourth = map(self.pool.remote, (inc, double, add, multiply))
        runs = []
        for i in range(n):
            x, y = first.remote(i), second.remote(i)
            runs.append([third.remote(x, y), fourth.remote(x, y)])
        return (tuple(self.pool.get(run)) for run in runs)


ADAPTERS: dict[str, type[Adapter]] = {
    "ezflow": Ezflow,
    "stdlib": Stdlib,
    "loky": Loky,
    "pebble": Pebble,
    "mpire": Mpire,
    "mp.Pool": Pool,
    "dask": Dask,
    "ray": Ray,
}

OF_GRAPHS = ("dask", "ray")
"""Libraries that are measured where graphs are."""
