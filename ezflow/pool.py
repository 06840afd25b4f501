"""A pool with the methods of `multiprocessing.Pool` and of suitkaise, on the executor's engine.

A thin face: what a method does is said in words of `ProcessPoolExecutor`, and done there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .executor import ProcessPoolExecutor
from .modifiers import Front, HowItRuns, Method, items_under_way
from .options import NOTHING, Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.context import BaseContext
    from typing import ClassVar, NoReturn, Self

    from . import _typed, _typed_pool

    SubmitMethod = _typed.Submit[_typed.Args, _typed.Value, _typed.Now]
    ListMethod = _typed_pool.PoolMap[_typed.Args, _typed.Value, _typed.Now, _typed_pool.Listed]
    LazyMethod = _typed_pool.PoolMap[_typed.Args, _typed.Value, _typed.Now, _typed_pool.Lazy]

AHEAD = 4
"""Items per worker that `imap` reads ahead: more keeps the workers busier when items differ, fewer need less memory."""

_INSTEAD = {
    "apply": "submit(f, *args).result()",
    "apply_async": "submit(f, *args)",
    "map_async": "map.background()(f, xs)",
    "starmap": "map.star()(f, xs)",
    "starmap_async": "map.star().background()(f, xs)",
    "imap_unordered": "unordered_imap(f, xs)",
}
"""What `multiprocessing.Pool` has under other names."""


class Pool(HowItRuns):
    """Run functions in worker processes: an iterable in, a list out.

    For programs that know `multiprocessing.Pool` or suitkaise's `Pool`; a `ProcessPoolExecutor` does the work.

    Parameters
    ----------
    workers : int, optional
        Processes that work at the same time; by default the CPUs this process may use.  Started on demand.
    mp_context, initializer, initargs, max_tasks_per_child, cancel_running : optional
        As of `ProcessPoolExecutor`.
    idle_timeout, max_memory_per_child, grace, output, seed : optional
        As of `ProcessPoolExecutor`.

    Attributes
    ----------
    executor : ProcessPoolExecutor
        The pool as an executor, to hand to libraries.

    Notes
    -----
    A ``with`` block finishes what was submitted; after an exception it stops the work at once.

    Words hang on each method and on the pool, in any order: ``pool.map.timeout(2)(f, xs)``,
    ``pool.star().map.background()(f, pairs)``.  ``timeout`` limits each call; ``within`` limits the whole `map`.

    Examples
    --------
    >>> with Pool(2) as pool:
    ...     pool.map(abs, [-1, 2])
    ...     pool.map.star()(pow, [(2, 3), [3, 2]])
    [1, 2]
    [8, 9]
    """

    executor: ProcessPoolExecutor

    def __init__(
        self,
        workers: int | None = None,
        *,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        max_tasks_per_child: int | None = None,
        cancel_running: bool = True,
        idle_timeout: float | None = None,
        max_memory_per_child: int | None = None,
        grace: float = 0.2,
        output: bool | None = None,
        seed: int | None = None,
    ) -> None:
        self.executor = ProcessPoolExecutor(
            workers,
            mp_context,
            initializer,
            initargs,
            max_tasks_per_child=max_tasks_per_child,
            cancel_running=cancel_running,
            idle_timeout=idle_timeout,
            max_memory_per_child=max_memory_per_child,
            grace=grace,
            output=output,
            seed=seed,
        )

    # ------------------------------------------------------------ calls

    def _submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Schedule one call; give its future.

        Parameters
        ----------
        fn : callable
            Any callable.
        *args, **kwargs
            Its arguments; every keyword reaches the function.

        Returns
        -------
        Future
            The pending result.
        """
        return self.executor.submit(fn, *args, **kwargs)

    def _map(
        self,
        fn: Callable[..., Any],
        iterable: Iterable[Any],
        /,
        chunksize: int | None = None,
        **keywords: Any,
    ) -> Any:
        """Call `fn` with each item; give the list of results, in order.

        Parameters
        ----------
        fn : callable
            Takes one item, after ``star()`` what is in it.
        iterable : iterable
            Read to its end at once.
        chunksize : int, optional
            Items per call, if there are no words.  Small calls travel together without it, too.
        **keywords
            Only after ``star()``: keyword arguments of every call.

        Returns
        -------
        list
            The results.

        Raises
        ------
        Exception
            The first error, as soon as it is there.  Calls that have not started are cancelled then.
        """
        return self._list(fn, iterable, chunksize, keywords)

    def _unordered_map(
        self,
        fn: Callable[..., Any],
        iterable: Iterable[Any],
        /,
        chunksize: int | None = None,
        **keywords: Any,
    ) -> Any:
        """Call `fn` with each item; give the list of results in the order in which they came.

        Parameters
        ----------
        fn, iterable, chunksize, **keywords
            As of `map`.

        Returns
        -------
        list
            The results.

        Raises
        ------
        Exception
            The first error, as of `map`.
        """
        return self._view(nearest=_UNORDERED)._list(fn, iterable, chunksize, keywords)

    def _imap(
        self,
        fn: Callable[..., Any],
        iterable: Iterable[Any],
        /,
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> Any:
        """Call `fn` with each item; yield the results, in order, as they are asked for.

        Parameters
        ----------
        fn, chunksize, **keywords
            As of `map`.
        iterable : iterable
            Read `buffersize` items ahead, so it may be endless.
        buffersize : int, optional
            Items submitted and not yet yielded; by default 4 per worker.

        Returns
        -------
        iterator
            The results, or the error of a call in its place.  Closing or dropping it cancels what has not started.
        """
        return self._lazy(fn, iterable, chunksize, buffersize, keywords)

    def _unordered_imap(
        self,
        fn: Callable[..., Any],
        iterable: Iterable[Any],
        /,
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> Any:
        """Call `fn` with each item; yield the results as they come.

        Parameters
        ----------
        fn, iterable, chunksize, buffersize, **keywords
            As of `imap`.

        Returns
        -------
        iterator
            The results.
        """
        return self._view(nearest=_UNORDERED)._lazy(fn, iterable, chunksize, buffersize, keywords)

    submit: ClassVar[Method[SubmitMethod]] = Method(_submit)
    map: ClassVar[Method[ListMethod]] = Method(_map)
    unordered_map: ClassVar[Method[ListMethod]] = Method(_unordered_map)
    imap: ClassVar[Method[LazyMethod]] = Method(_imap)
    unordered_imap: ClassVar[Method[LazyMethod]] = Method(_unordered_imap)

    def _list(
        self,
        fn: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None,
        keywords: dict[str, Any],
    ) -> Any:
        executor: Any = self.executor
        options, _ = executor._gather(fn)
        each = 1 if chunksize is None else chunksize
        if options.get("asynced") or options.get("background"):
            return executor.map(fn, iterable, chunksize=each, **keywords)
        if each > 1 and options == NOTHING:
            return list(executor.map(fn, iterable, chunksize=each, **keywords))
        future = executor.map.background()(fn, iterable, chunksize=each, **keywords)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C ended the waiting; after an error there is nothing left to cancel
            raise

    def _lazy(
        self,
        fn: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None,
        buffersize: int | None,
        keywords: dict[str, Any],
    ) -> Any:
        executor: Any = self.executor
        each = 1 if chunksize is None else chunksize
        ahead = AHEAD * executor._max_workers if buffersize is None else buffersize
        return executor.map(fn, iterable, chunksize=each, buffersize=ahead, **keywords)

    # ------------------------------------------------------------ words

    def star(self) -> _typed_pool.PoolFront[_typed.Item, _typed.Value, _typed.Now]:
        """Unpack each item: a tuple or list into positional, a mapping into keyword arguments.

        Returns
        -------
        front
            The methods of this pool with that option.
        """
        return self._front("star")  # type: ignore[no-any-return]

    def results(self) -> _typed_pool.PoolFront[_typed.Args, _typed.Envelope, _typed.Now]:
        """Give `Result` envelopes, where errors would be raised.

        Returns
        -------
        front
            The methods of this pool with that option.
        """
        return self._front("results")  # type: ignore[no-any-return]

    def unordered(self) -> _typed_pool.PoolFront[_typed.Args, _typed.Value, _typed.Now]:
        """Give results as they come.

        Returns
        -------
        front
            The methods of this pool with that option.
        """
        return self._front("unordered")  # type: ignore[no-any-return]

    def background(self) -> _typed_pool.PoolFront[_typed.Args, _typed.Value, _typed.Background]:
        """Give the future at once; where there are several results a future of the list.

        Returns
        -------
        front
            The methods of this pool with that option.
        """
        return self._front("background")  # type: ignore[no-any-return]

    def asynced(self) -> _typed_pool.PoolFront[_typed.Args, _typed.Value, _typed.Async]:
        """Give a coroutine; where there are several results one that is an async iterator, too.

        Returns
        -------
        front
            The methods of this pool with that option.
        """
        return self._front("asynced")  # type: ignore[no-any-return]

    def stream(
        self, buffersize: int = 16
    ) -> _typed_pool.PoolFront[_typed.Args, _typed.Value, _typed.Streaming]:
        """Give an iterator over the items of a generator function while it runs (`submit` only).

        Parameters
        ----------
        buffersize : int
            Items that may be under way before the generator waits for its consumer.

        Returns
        -------
        front
            `submit` of this pool with that option.
        """
        return self._front("stream", items_under_way(buffersize))  # type: ignore[no-any-return]

    def _having(self, name: str, value: Any) -> Self:
        return self._view(Options(**{name: value}))

    def _front(self, name: str, value: Any = True) -> Any:
        return _Front(self, Options(**{name: value}))

    def _view(self, options: Options | None = None, nearest: Options | None = None) -> Self:
        """Give the same pool with other defaults."""
        view = type(self).__new__(type(self))
        view.__dict__.update(self.__dict__, executor=self.executor._view(options, nearest))
        return view

    # ------------------------------------------------------------ the end

    def close(self) -> None:
        """Take no more calls, and finish the accepted ones; does not wait for them."""
        self.executor.shutdown(wait=False)

    def terminate(self) -> None:
        """Take no more calls, cancel what waits, and kill every worker and what it started."""
        self.executor.kill_workers()

    def join(self) -> None:
        """Wait until every worker is gone.

        Raises
        ------
        ValueError
            If the pool was not told to end, by `close` or `terminate`.
        """
        if not self.executor._shutdown_thread:
            raise ValueError("join() waits for the end of a pool; call close() or terminate() first")
        self.executor.shutdown(wait=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: object, exc_val: object, exc_tb: object) -> None:
        """Finish what was submitted and wait for it; after an exception stop at once."""
        if exc_type is not None:
            self.terminate()
        self.executor.__exit__(exc_type, exc_val, exc_tb)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exc_type: object, exc_val: object, exc_tb: object) -> None:
        """Do the same without holding up the event loop."""
        if exc_type is not None:
            self.terminate()
        await self.executor.__aexit__(exc_type, exc_val, exc_tb)

    def __reduce__(self) -> NoReturn:
        """Refuse to travel: a pool lives in the process that made it."""
        raise TypeError("a Pool cannot be pickled; make a pool of its own where one is needed")

    # ------------------------------------------------------------ looking in

    def __repr__(self) -> str:
        """Show the start method, workers and pending calls."""
        return repr(self.executor).replace(type(self.executor).__name__, type(self).__name__, 1)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            """Say what stands here for a name of `multiprocessing.Pool`."""
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            if name in _INSTEAD:
                message += f"; write pool.{_INSTEAD[name]}"
            raise AttributeError(message)


_UNORDERED = Options(unordered=True)


class _Front(Front):
    """The methods of a pool with options that change what goes in and what comes out."""

    __slots__ = ()

    @property
    def unordered_map(self) -> Any:
        """`unordered_map` with these options."""
        return self._executor._view(self._options).unordered_map

    @property
    def imap(self) -> Any:
        """`imap` with these options."""
        return self._executor._view(self._options).imap

    @property
    def unordered_imap(self) -> Any:
        """`unordered_imap` with these options."""
        return self._executor._view(self._options).unordered_imap
