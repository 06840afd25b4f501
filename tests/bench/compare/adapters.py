"""One adapter per library: `submit` gives a function that waits for the result, `map` yields in order."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

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
