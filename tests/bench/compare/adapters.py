"""One adapter per library: `submit` gives a function that waits for the result, `map` yields in order."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.bench.compare.work import add, double, inc, multiply

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


ADAPTERS: dict[str, type[Adapter]] = {
    "ezflow": Ezflow,
    "stdlib": Stdlib,
    "loky": Loky,
    "pebble": Pebble,
    "mpire": Mpire,
    "mp.Pool": Pool,
}
