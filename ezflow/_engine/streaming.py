"""How a worker sends the items of a generator one by one.

The parent grants credit: so many items may be on their way or wait for their
consumer.  It rides with the call, and more comes on the socket, as frames of
kind CREDIT behind the calls that were sent ahead; a grant of 0 asks for the end.

    generator → item → credit left? → ITEM frame → …
                       no: wait for a CREDIT frame, with the interrupt window open
"""

from __future__ import annotations

from types import AsyncGeneratorType

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable
    from typing import Any, Protocol

    class Credit(Protocol):
        """Where grants come from."""

        def fileno(self) -> int:
            """Give the descriptor that is readable when a grant may have come."""
            raise NotImplementedError

        def take(self, *, wait: bool) -> list[int]:
            """Give the grants that have come, after waiting for one if asked to; 0 asks for the end."""
            raise NotImplementedError


class Streamer:
    """Sends the items of one call.

    Parameters
    ----------
    credit : int
        Items that may be sent before the first grant.
    source : Credit
        Where further grants come from.
    send : callable
        Sends one item.
    """

    def __init__(self, credit: int, source: Credit, send: Callable[[Any], None]) -> None:
        self._credit = credit
        self._source = source
        self._send = send
        self._is_closed = False

    def run(self, value: Any) -> Any:
        """Send each item of what a call returned; give what is left to be finished: a coroutine, or None."""
        if isinstance(value, AsyncGeneratorType) or hasattr(type(value), "__aiter__"):
            return self._run_async(value)
        if hasattr(type(value), "__await__"):
            return self._run_awaited(value)
        self._run(iter(value))
        return None

    def _run(self, items: Iterable[Any]) -> None:
        try:
            for item in items:
                self._add(self._source.take(wait=self._credit <= 0))
                if self._is_closed:
                    return
                self._credit -= 1
                self._send(item)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()  # as soon as nobody wants more, and not when it is collected

    async def _run_async(self, items: AsyncIterable[Any]) -> None:
        try:
            async for item in items:
                self._add(self._source.take(wait=False))
                while self._credit <= 0 and not self._is_closed:
                    await self._readable()
                    self._add(self._source.take(wait=False))
                if self._is_closed:
                    return
                self._credit -= 1
                self._send(item)
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()

    async def _run_awaited(self, coroutine: Any) -> None:
        rest = self.run(await coroutine)
        if rest is not None:
            await rest

    async def _readable(self) -> None:
        from asyncio import get_running_loop

        loop = get_running_loop()
        future = loop.create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        loop.add_reader(self._source.fileno(), wake)
        try:
            await future
        finally:
            loop.remove_reader(self._source.fileno())

    def _add(self, grants: list[int]) -> None:
        for grant in grants:
            if grant:
                self._credit += grant
            else:
                self._is_closed = True
