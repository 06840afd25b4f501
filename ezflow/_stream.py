"""The items of a remote generator, as they are produced: bounded, in order, for ``for`` and ``async for``.

Who owns what: the dispatcher, or where output is forwarded the thread that writes it, fills the `Inbox`, which the engine holds while the call is unfinished; the consumer
empties it and grants credit for what it took.  The iterator that the user holds is another object, so dropping it is
noticed, and closes the generator.
"""

from __future__ import annotations

import weakref
from _thread import allocate_lock
from collections import deque
from concurrent.futures import CancelledError
from functools import partial

from ._hints import Generic, TypeVar
from ._loop import call_in_loop
from ._rest import rest

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Any, Self

    from ._call import Call, Sealed
    from ._engine.engine import Engine
    from ._progress import Meter

T = TypeVar("T")


class Inbox:
    """Where the dispatcher puts the items."""

    def __init__(self, meter: Meter | None = None) -> None:
        self._meter = meter
        self.items: deque[Sealed] = deque()
        self.end: Sealed | None = None
        self.is_over = False
        self.cancelled = False
        self.call: Call | None = None
        self._bell = allocate_lock()
        self._bell.acquire()
        self._wakers: list[Callable[[], None]] = []

    def _bind(self, call: Call, engine: Engine) -> None:
        """Learn which call it is."""
        self.call = call

    def _hear(self, sealed: Sealed) -> None:
        """Take word of the call's progress: nobody listens."""

    def take(self, sealed: Sealed) -> None:
        """Take an item: on the dispatcher, or on the thread that writes output, behind what was printed before."""
        if not self.is_over:
            self.items.append(sealed)
            if self._meter is not None:
                self._meter.tick()
            self._wake()

    def _deliver(self, sealed: Sealed) -> None:
        """Take the end."""
        if not self.is_over:
            self.end = sealed
            if self._meter is not None and sealed.failed:
                self._meter.tick(failed=True)
            self.finish()

    def _drop(self) -> None:
        """Learn that the call was cancelled."""
        if not self.is_over:
            self.cancelled = True
            self.finish()

    def finish(self) -> None:
        """Give no more items than there are."""
        self.is_over = True
        self.call = None
        if self._meter is not None:
            self._meter.close()
        self._wake()

    def _wake(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # rung already
        wakers, self._wakers = self._wakers, []
        for wake in wakers:
            wake()

    def wait(self) -> None:
        """Wait until there is an item or the end."""
        while not self.items and not self.is_over:
            rest(self._bell, None)

    async def wait_async(self) -> None:
        """Wait in an event loop until there is an item or the end."""
        from asyncio import get_running_loop

        loop = get_running_loop()
        while not self.items and not self.is_over:
            future = loop.create_future()

            self._wakers.append(partial(call_in_loop, loop, _resolve, future))
            if self.items or self.is_over:  # it came before we stood there
                return
            await future


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():  # cancelled
        future.set_result(None)


class ItemStream(Generic[T]):
    """The items of a generator that runs in a worker; iterate with ``for`` or ``async for``.

    At most `buffersize` items are on their way or wait here; then the generator waits, and keeps its worker.  Closing
    or dropping the iterator closes the generator.  An error of the generator is raised after the items that it gave.

    Parameters
    ----------
    engine : Engine
        Of the pool.
    buffersize : int
        Items that may be under way.
    meter : Meter, optional
        Counts the items as they arrive.
    """

    def __init__(self, engine: Any, buffersize: int, meter: Any = None) -> None:  # those are no public types
        self._engine = engine
        self._inbox = Inbox(meter)
        self._grant_every = max(1, buffersize // 2)
        self._taken = 0
        self._close = weakref.finalize(self, _close, engine, self._inbox)
        self._close.atexit = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        inbox = self._inbox
        if not inbox.items and not inbox.is_over:
            self._engine.check_waiting()
            inbox.wait()
        return self._next(StopIteration)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        await self._inbox.wait_async()
        return self._next(StopAsyncIteration)

    def _next(self, stop: type[Exception]) -> T:
        """Give the next item, or raise what is at the end."""
        inbox = self._inbox
        if not inbox.items:
            self._close.detach()
            inbox.finish()  # once more: a bar is drawn for the last time by whoever sees the end
            end, inbox.end = inbox.end, None
            cancelled, inbox.cancelled = inbox.cancelled, False
            error = None if end is None else end.open()[1]
            if error is not None:
                try:
                    raise error
                finally:
                    error = None
            if cancelled:
                raise CancelledError
            raise stop
        sealed = inbox.items.popleft()
        self._taken += 1
        if self._taken >= self._grant_every:
            call = inbox.call
            if call is not None:
                self._engine.grant(call, self._taken)
            self._taken = 0
        value, error = sealed.open()
        if error is not None:
            self.close()
            try:
                raise error
            finally:
                error = None
        return value  # type: ignore[return-value]  # an item that the function has yielded

    def close(self) -> None:
        """Close the generator; its ``finally`` blocks run.  Items that are here already are dropped."""
        self._close()

    async def aclose(self) -> None:
        """Close the generator."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        """Show whether it has ended."""
        state = "ended" if self._inbox.is_over else "running"
        return f"<{type(self).__name__} {state}, {len(self._inbox.items)} items here>"


def _close(engine: Engine, inbox: Inbox) -> None:
    call = inbox.call
    inbox.finish()
    inbox.items.clear()
    inbox.end = None
    if call is not None:
        engine.close_stream(call)
