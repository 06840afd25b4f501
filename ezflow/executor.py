"""The drop-in executor."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import weakref
from collections import deque
from functools import partial
from itertools import count, islice
from time import monotonic
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from . import errors
from ._call import Call, label_of, run_chunk
from ._cpus import thread_caps, usable_cpus
from ._engine import exit as engine_exit
from ._engine import worker
from ._engine.child import Starter
from ._engine.dispatcher import Engine
from ._engine.machine import Machine
from ._map import Slot, Stream
from ._sealed import SealedError
from ._wire.codec import Codec
from .future import Future

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from multiprocessing.context import BaseContext

    from typing_extensions import ParamSpec

    from ._wire.codec import Definition

    P = ParamSpec("P")

T = TypeVar("T")

_numbers = count()


class ProcessPoolExecutor(concurrent.futures.ProcessPoolExecutor):
    """Run calls in a pool of worker processes.

    A drop-in subclass of `concurrent.futures.ProcessPoolExecutor` on an engine
    of its own.  Functions and classes of ``__main__``, lambdas and closures
    travel by value, no ``if __name__ == "__main__"`` is needed, a worker that
    dies fails only the call it was running, and cancelling stops running work.

    Parameters
    ----------
    max_workers : int, optional
        Processes that work at the same time; by default the CPUs this process
        may use (affinity, cgroup quota, ``PYTHON_CPU_COUNT``).  Started on demand.
    mp_context : multiprocessing context, optional
        Chooses the start method.  By default the one that `multiprocessing` has
        settled on, else ``forkserver``.  Before Python 3.14 the first lock, queue
        or standard pool of a program settles it on ``fork``.
    initializer : callable, optional
        Called once in every worker before its first call.  If it raises, the
        pool breaks, and every pending call fails with that error as cause.
    initargs : tuple
        Arguments of `initializer`; may hold multiprocessing locks and queues.
    max_tasks_per_child : int, optional
        Calls after which a worker is replaced; with any start method.
    cancel_running : bool
        Whether `Future.cancel` stops a call that is already running (default).
        False restores the standard behaviour.
    idle_timeout : float, optional
        Seconds after which a worker without work is ended.  By default never.
    max_memory_per_child : int, optional
        Resident bytes; a worker that holds more after a call is replaced
        between calls.
    grace : float
        Seconds a stopped call has for its ``finally`` blocks, before its worker
        and everything it started are killed.

    Raises
    ------
    ValueError
        If `max_workers` or `max_tasks_per_child` is less than 1, or another
        limit is not positive.
    TypeError
        If `initializer` is not callable, `mp_context` is no context, or
        `max_workers` or `max_tasks_per_child` is no integer.

    Notes
    -----
    Any thread may use the pool.  A forked child of the process that made it may
    not, nor may a call that runs in it: both get `WrongProcess`.

    Workers start with the environment, directory, ``sys.path`` and ``sys.argv``
    that the parent has at that moment, and with BLAS and OpenMP threads capped
    to cores ÷ workers unless the environment says otherwise.

    Examples
    --------
    >>> with ProcessPoolExecutor(max_workers=2) as pool:
    ...     list(pool.map(pow, [2, 3], [10, 4]))
    [1024, 81]
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        cancel_running: bool = True,
        idle_timeout: float | None = None,
        max_memory_per_child: int | None = None,
        grace: float = 0.2,
    ) -> None:
        # The standard initialiser is not called: it makes the queues and locks
        # of an engine that is not used here.
        if sys.platform == "win32":
            raise errors.platform_unsupported(sys.platform)
        if max_workers is None:
            max_workers = usable_cpus()
        elif not hasattr(max_workers, "__index__"):
            raise TypeError(f"max_workers must be an integer, not {max_workers!r}")
        elif max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if max_tasks_per_child is not None:
            if not isinstance(max_tasks_per_child, int):
                raise TypeError("max_tasks_per_child must be an integer")
            if max_tasks_per_child <= 0:
                raise ValueError("max_tasks_per_child must be >= 1")
        for name, number in (("idle_timeout", idle_timeout), ("max_memory_per_child", max_memory_per_child)):
            if number is not None and not number > 0:  # nan is neither
                raise ValueError(f"{name} must be greater than 0")
        if not grace >= 0:
            raise ValueError("grace must not be negative")
        if mp_context is None:
            method = multiprocessing.get_start_method(allow_none=True) or "forkserver"
            mp_context = multiprocessing.get_context(method)
        elif not hasattr(mp_context, "get_start_method"):
            raise TypeError(
                "mp_context must be a context such as multiprocessing.get_context('spawn'),"
                f" not {mp_context!r}"
            )
        self._max_workers = max_workers
        self._mp_context: BaseContext = mp_context
        self._initializer = initializer  # type: ignore[assignment]  # the stubs want a result of None
        self._initargs = tuple(initargs)
        self._max_tasks_per_child = max_tasks_per_child
        self._cancel_running = cancel_running
        self._idle_timeout = idle_timeout
        self._max_memory_per_child = max_memory_per_child
        self._grace = grace
        self._codec = Codec(inherits=mp_context.get_start_method() == "fork")
        self._engine: Engine | None = None
        self._engine_lock = threading.RLock()
        self._shutdown_thread = False
        self._pid = os.getpid()

    # ------------------------------------------------------------ calls

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule ``fn(*args, **kwargs)`` in a worker.

        Parameters
        ----------
        fn : callable
            Any callable that pickle or cloudpickle can send.
        *args, **kwargs
            Its arguments; every keyword reaches the function.

        Returns
        -------
        Future
            The pending result.  An error of pickling the call is found there.

        Raises
        ------
        RuntimeError
            If the pool was shut down, or is used in a process that does not own it.
        BrokenProcessPool
            If the pool is broken.
        TypeError
            If `fn` is a coroutine object or not callable.

        Notes
        -----
        Arguments are pickled before `submit` returns, so changing them later is
        safe.  Never waits for a worker.
        """
        future: Future[T] = Future()
        self._post(future, fn, args, kwargs)
        return future

    def _post(
        self,
        sink: Future[Any] | Slot,
        fn: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        limit: float | None = None,
    ) -> None:
        """Pack a call and hand it to the engine; its end goes to `sink`."""
        if not callable(fn):
            self._refuse_uncallable(fn)  # type: ignore[unreachable]
        engine = self._engine
        if engine is None or not engine.ready or self._shutdown_thread or engine.is_broken:
            engine = self._open_engine()
        try:
            payload, needs = self._codec.pack_call(fn, args, kwargs)
        except Exception as error:
            sink._deliver(SealedError(error))
            return
        call = Call(engine.next_id(), payload, needs, label_of(fn), sink, limit)
        if type(sink) is Slot:
            sink.call = call
        else:
            sink._bind(call, engine)  # type: ignore[union-attr]  # subclasses of Future come here
        if not engine.post(call):
            raise errors.cannot_submit(interpreter=not self._shutdown_thread and engine_exit.is_exiting())

    def _refuse_uncallable(self, fn: object) -> None:
        if isinstance(fn, CoroutineType):
            fn.close()
        raise errors.not_a_function(fn)

    def _open_engine(self) -> Engine:
        """Give the running engine, made at the first call; raise if there can be none."""
        if os.getpid() != self._pid:
            raise errors.wrong_process(self._pid)
        if self._engine is not None and self._engine.is_broken:
            raise self._engine.break_error()
        if self._shutdown_thread:
            raise errors.cannot_submit()
        if engine_exit.is_exiting():
            raise errors.cannot_submit(interpreter=True)
        engine = self._engine
        if engine is None:
            with self._engine_lock:  # reentrant: a finaliser or signal handler may submit in the middle
                if self._engine is None:
                    made = self._make_engine()
                    if self._engine is None:
                        self._engine = made
                engine = self._engine
        engine.start()
        return engine

    def _make_engine(self) -> Engine:
        method = self._mp_context.get_start_method(allow_none=False)
        machine: Machine[Call] = Machine(
            self._max_workers,
            max_tasks=self._max_tasks_per_child,
            idle_timeout=self._idle_timeout,
            grace=self._grace,
        )
        package = _Package(self._codec, self._initializer, self._initargs, self._max_memory_per_child, method)
        starter = Starter(
            self._mp_context,
            worker.main,
            package.pack,
            (self._initializer, self._initargs),
            preload=("ezflow._engine.worker",),
            environ_defaults=thread_caps(self._max_workers, os.environ),
        )
        engine = Engine(
            machine,
            starter,
            package.needs,
            name=f"ezflow-{next(_numbers)}",
            cancel_running=self._cancel_running,
        )
        # A pool that nobody holds any more finishes its calls and ends.
        weakref.finalize(self, engine.close, cancel=False).atexit = False
        return engine

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Call `fn` with the elements of the iterables; yield the results in order.

        Parameters
        ----------
        fn : callable
            Takes as many arguments as there are iterables.
        *iterables : iterable
            Ends with the shortest.
        timeout : float, optional
            Seconds from now within which each result must be there when it is
            asked for.  Limits the waiting; running calls are not stopped.
        chunksize : int
            Items per call.  With 1, the default, small calls still travel
            together, and errors, order and cancelling stay per item.
        buffersize : int, optional
            Calls submitted and not yet yielded; the inputs are read no further
            ahead.  None reads all inputs at once.

        Returns
        -------
        iterator
            Results in the order of the inputs.  Closing or dropping it cancels
            what has not started.

        Raises
        ------
        TimeoutError
            While iterating, if a result is not there in time.
        Exception
            While iterating, at the position of the call that raised it.
        ValueError
            If `chunksize` or `buffersize` is less than 1.
        TypeError
            If `buffersize` is no integer.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None:
            if not isinstance(buffersize, int):
                raise TypeError("buffersize must be an integer or None")
            if buffersize < 1:
                raise ValueError("buffersize must be None or > 0")
        end = None if timeout is None else timeout + monotonic()
        inputs: Iterator[tuple[Any, ...]] = zip(*iterables, strict=False)
        if chunksize > 1:
            chunks = iter(lambda: list(islice(inputs, chunksize)), [])
            chunked = self._results(partial(run_chunk, fn), ((chunk,) for chunk in chunks), end, buffersize)
            return _entered(_flatten(chunked))
        return self._results(fn, inputs, end, buffersize)

    def _results(
        self,
        fn: Callable[..., Any],
        inputs: Iterator[tuple[Any, ...]],
        end: float | None,
        buffersize: int | None,
    ) -> Generator[Any, None, None]:
        """Submit now, as far as `buffersize` allows, and give the iterator of results."""
        if "submit" in self.__dict__ or type(self).submit is not ProcessPoolExecutor.submit:
            # Somebody replaced `submit` (tqdm's process_map does): every item goes through it.
            return _results_by_future(self.submit, fn, inputs, end, buffersize)
        engine = self._open_engine()

        def submit_next(slot: Slot) -> bool:
            for args in inputs:
                self._post(slot, fn, args, {})
                return True
            return False

        stream = Stream[Any](submit_next, engine.cancel_waiting, buffersize, end, engine.check_waiting)
        return _entered(stream.results())

    # ------------------------------------------------------------ the end

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and end the workers when the accepted ones are done.

        Parameters
        ----------
        wait : bool
            Whether to return only when every worker is gone.
        cancel_futures : bool
            Whether to cancel the calls that have not started.
        """
        self._shutdown_thread = True
        engine = self._engine
        if engine is None or os.getpid() != self._pid:
            return
        engine.close(cancel=cancel_futures)
        if wait:
            engine.join()

    def terminate_workers(self) -> None:
        """Cancel what waits, send every worker SIGTERM, and take no more calls."""
        self._force_shutdown(operation="terminate")

    def kill_workers(self) -> None:
        """Cancel what waits, kill every worker and what it started, and take no more calls."""
        self._force_shutdown(operation="kill")

    def _force_shutdown(self, operation: str) -> None:
        """End the workers by force; the standard class has this under the same name."""
        signum = {"terminate": signal.SIGTERM, "kill": signal.SIGKILL}.get(operation)
        if signum is None:
            raise ValueError(f"unsupported operation: {operation!r}")
        self._shutdown_thread = True
        if self._engine is not None and os.getpid() == self._pid:
            self._engine.kill(signum)

    def __exit__(self, exc_type: object, exc_val: object, exc_tb: object) -> None:
        """Shut down; after Ctrl-C without finishing what nobody will read."""
        if isinstance(exc_type, type) and issubclass(exc_type, KeyboardInterrupt):
            self.kill_workers()
        try:
            self.shutdown(wait=True)
        except KeyboardInterrupt:
            self.kill_workers()
            self.shutdown(wait=True)
            raise

    def __reduce__(self) -> str:
        """Refuse to travel: a pool lives in the process that made it."""
        raise TypeError("a ProcessPoolExecutor cannot be pickled; make a pool of its own where one is needed")

    # ------------------------------------------------------------ looking in

    def __repr__(self) -> str:
        """Show the start method, workers and pending calls."""
        engine = self._engine
        numbers = engine.counts() if engine is not None else {"workers": 0, "pending": 0}
        state = "broken" if self._broken else "shut down" if self._shutdown_thread else "open"
        return (
            f"<{type(self).__name__} {state}, {self._mp_context.get_start_method()},"
            f" {numbers['workers']} of {self._max_workers} workers, {numbers['pending']} pending>"
        )

    @property
    def _broken(self) -> str | bool:  # type: ignore[override]  # read only here
        """Why the pool is broken, as the standard class keeps it."""
        engine = self._engine
        return str(engine.break_error()) if engine is not None and engine.is_broken else False

    @property
    def _processes(self) -> dict[int, Any]:  # type: ignore[override]  # read only here
        """The living processes by pid; debuggers and tests look here."""
        return self._engine.workers() if self._engine is not None else {}

    @property
    def _pending_work_items(self) -> _Pending:  # type: ignore[override]  # read only here
        """What stands where the standard class keeps its pending calls; programs look at its length."""
        engine = self._engine
        return _Pending(engine.counts()["pending"] if engine is not None else 0)

    @property
    def _call_queue(self) -> _NoQueue:  # read only here
        """What stands where the standard class keeps its queue of calls."""
        return _NoQueue()

    @property
    def _executor_manager_thread(self) -> threading.Thread | None:  # type: ignore[override]  # read only here
        """The thread that runs the pool, under the standard's name."""
        return self._engine.dispatcher if self._engine is not None else None


class _Pending:
    """How many calls are pending: the calls themselves are kept elsewhere."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n


class _NoQueue:
    """Calls go through sockets here: there is no queue, and no thread that feeds it to wait for."""

    def join_thread(self) -> None:
        """Return at once."""


class _Package:
    """What travels with a new process: settings, initializer, and the definitions that it needs."""

    def __init__(
        self,
        codec: Codec,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
        max_rss: int | None,
        method: str,
    ) -> None:
        self._codec = codec
        self._initializer = initializer
        self._initargs = initargs
        self._settings: dict[str, Any] = {"forked": method == "fork", "max_rss": max_rss}
        self._needs: tuple[Definition, ...] = ()

    def pack(self) -> bytes:
        """Pack for one process (starter thread only)."""
        settings = self._settings
        if not settings["forked"] and self._initializer is not None:
            payload, self._needs = self._codec.pack_initializer(self._initializer, self._initargs)
            definitions = [(d.key, d.data) for d in self._needs]
            settings = {**settings, "initializer": payload, "definitions": definitions}
        return pickle.dumps(settings)

    def needs(self) -> tuple[Definition, ...]:
        """Give the definitions that went with the last process."""
        return self._needs


def _results_by_future(
    submit: Callable[..., concurrent.futures.Future[Any]],
    fn: Callable[..., object],
    inputs: Iterator[tuple[Any, ...]],
    end: float | None,
    buffersize: int | None,
) -> Generator[Any, None, None]:
    """Submit through a `submit` that is not ours; give the iterator of results."""
    futures = deque(submit(fn, *args) for args in islice(inputs, buffersize))

    def results() -> Generator[Any, None, None]:
        try:
            yield None
            while futures:
                result = futures[0].result(None if end is None else end - monotonic())
                futures.popleft()
                if buffersize is not None:
                    futures.extend(submit(fn, *args) for args in islice(inputs, 1))
                out = [result]
                del result
                yield out.pop()
        finally:
            for future in futures:
                if not future.running():
                    future.cancel()

    return _entered(results())


def _flatten(chunks: Generator[list[T], None, None]) -> Generator[T, None, None]:
    """Yield the items of each chunk; drop each item before the next."""
    try:
        yield cast("T", None)
        for chunk in chunks:
            chunk.reverse()
            while chunk:
                yield chunk.pop()
    finally:
        chunks.close()


def _entered(generator: Generator[T, None, None]) -> Generator[T, None, None]:
    """Take the first step, which yields nothing: the `finally` of a generator that never began is not run."""
    next(generator)
    return generator
