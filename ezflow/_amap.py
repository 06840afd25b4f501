"""`map` for asyncio: a coroutine of the list, and an async iterator over the results."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Coroutine

from ._hints import Any, Generic, TypeVar

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterable

    from .future import Future

T = TypeVar("T")

_BREATH = 64
"""Items submitted without giving the event loop its turn."""


class AsyncMap(Coroutine[Any, Any, list[T]], AsyncIterator[T], Generic[T]):
    """What ``map.asynced()(f, xs)`` gives: await it for the list, or iterate over it.

    A real coroutine: `asyncio.run` and ``TaskGroup.create_task`` take it.  Nothing is submitted before it is awaited
    or iterated.  Cancelling stops the work.

    Parameters
    ----------
    submit : callable
        Submits one item, given as a tuple of arguments; gives its future.
    iterables : tuple of iterable or async iterable
        The inputs.
    buffersize : int or None
        Items submitted and not yet yielded.
    unordered : bool
        Whether to give results as they finish.
    """

    def __init__(
        self,
        submit: Callable[[tuple[Any, ...]], Future[Any]],
        iterables: tuple[Iterable[Any] | AsyncIterable[Any], ...],
        buffersize: int | None,
        *,
        unordered: bool,
    ) -> None:
        self._source = _Source(submit, iterables, buffersize)
        self._unordered = unordered
        self._is_closed = False
        self._generator: AsyncGenerator[T, None] | None = None
        self._coroutine: Coroutine[Any, Any, list[T]] | None = None

    def __del__(self) -> None:
        """Say so if nothing was done with it, as Python does for a coroutine."""
        if self._generator is None and self._coroutine is None and not self._is_closed:
            from warnings import warn

            warn(
                "what map.asynced() gave was neither awaited nor iterated",
                RuntimeWarning,
                source=self,
                stacklevel=2,
            )

    def when_it_ends(self, fn: Callable[[], None]) -> None:
        """Say what to call when the iteration has ended."""
        self._source.on_end = fn

    # ------------------------------------------------------------ the coroutine

    async def _collect(self) -> list[T]:
        return [value async for value in self]

    def _main(self) -> Coroutine[Any, Any, list[T]]:
        if self._coroutine is None:
            self._coroutine = self._collect()
        return self._coroutine

    def send(self, value: Any) -> Any:
        """Go on, as a coroutine does."""
        return self._main().send(value)

    def throw(self, *error: Any) -> Any:
        """Raise inside, as in a coroutine."""
        return self._main().throw(*error)

    def close(self) -> None:
        """End it, as a coroutine does."""
        self._is_closed = True
        if self._coroutine is not None:
            self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, list[T]]:
        return self._main().__await__()

    # ------------------------------------------------------------ the iterator

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        if self._generator is None:
            # Of another object: a generator that led back here would keep what a broken-off loop has left from ending.
            source = self._source
            self._generator = source.unordered_results() if self._unordered else source.results()
        return await self._generator.__anext__()

    async def aclose(self) -> None:
        """Stop the work and end the iteration."""
        if self._generator is not None:
            await self._generator.aclose()


class _Source:
    """The calls of one `AsyncMap`, as they are submitted and end."""

    def __init__(
        self,
        submit: Callable[[tuple[Any, ...]], Future[Any]],
        iterables: tuple[Iterable[Any] | AsyncIterable[Any], ...],
        buffersize: int | None,
    ) -> None:
        self.on_end: Callable[[], None] | None = None  # what to call when the iteration has ended
        self._submit = submit
        self._iterables = iterables
        self._buffersize = buffersize

    async def results(self) -> AsyncGenerator[Any, None]:
        """Yield the results in the order of the inputs; closing it stops the work."""
        inputs = self._inputs()
        pending: deque[Future[Any]] = deque()
        try:
            is_more = await self._fill(inputs, pending)
            while pending:
                value = await pending[0]
                pending.popleft()
                if is_more:
                    is_more = await self._fill(inputs, pending)
                yield value
                del value
        finally:
            for future in pending:
                future.cancel()
            if self.on_end is not None:
                self.on_end()
            await inputs.aclose()

    async def unordered_results(self) -> AsyncGenerator[Any, None]:
        """Yield the results as they come."""
        import asyncio

        inputs = self._inputs()
        pending: set[asyncio.Future[Any]] = set()
        finished: deque[asyncio.Future[Any]] = deque()
        came = asyncio.Event()
        futures: deque[Future[Any]] = deque()

        def note(future: asyncio.Future[Any]) -> None:
            pending.discard(future)
            finished.append(future)
            came.set()

        try:
            is_more = True
            while True:
                if is_more:
                    is_more = await self._fill(inputs, futures, len(pending) + len(finished))
                    while futures:
                        one = asyncio.wrap_future(futures.popleft())
                        pending.add(one)
                        one.add_done_callback(note)
                if not finished:
                    if not pending:
                        return
                    came.clear()
                    await came.wait()
                yield finished.popleft().result()
        finally:
            for one in pending:
                one.remove_done_callback(note)
                one.cancel()
            for one in finished:
                if not one.cancelled():
                    one.exception()  # seen
            for future in futures:
                future.cancel()
            if self.on_end is not None:
                self.on_end()
            await inputs.aclose()

    async def _fill(
        self, inputs: AsyncGenerator[tuple[Any, ...], None], pending: deque[Future[Any]], n_more: int = 0
    ) -> bool:
        """Submit as far as the buffer allows; say whether there may be more inputs."""
        while self._buffersize is None or len(pending) + n_more < self._buffersize:
            try:
                item = await inputs.__anext__()
            except StopAsyncIteration:
                return False
            pending.append(self._submit(item))
        return True

    async def _inputs(self) -> AsyncGenerator[tuple[Any, ...], None]:
        """Yield the arguments of each call; the shortest input ends it."""
        from asyncio import sleep

        iterators = [_async_iterator(each) for each in self._iterables]
        n = 0
        while iterators:
            item = []
            for iterator in iterators:
                try:
                    if isinstance(iterator, AsyncIterator):
                        item.append(await iterator.__anext__())
                    else:
                        item.append(next(iterator))
                except (StopIteration, StopAsyncIteration):
                    return
            n += 1
            if n % _BREATH == 0:
                await sleep(0)
            yield tuple(item)


def _async_iterator(iterable: Iterable[Any] | AsyncIterable[Any]) -> Any:
    """Give an iterator of either kind."""
    return aiter(iterable) if isinstance(iterable, AsyncIterable) else iter(iterable)
