"""How a call ends whose function returned something unfinished: a coroutine or a generator.

The returned value decides, so partials, lambdas and decorated functions need no
marks.  A coroutine is awaited in the worker's one event loop, which is kept for
the next, and a generator is collected into a list.
"""

from __future__ import annotations

from contextvars import copy_context
from types import AsyncGeneratorType, CoroutineType, GeneratorType

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from asyncio import Runner, Task
    from collections.abc import AsyncGenerator, Callable, Coroutine
    from typing import Any, Final

UNFINISHED: Final = frozenset({CoroutineType, GeneratorType, AsyncGeneratorType})
"""Types of values that are not results yet."""

_runner: Runner | None = None


def finish(value: Any, on_interrupt: Callable[[Callable[[], object] | None], None]) -> Any:
    """Give the result that an unfinished value stands for.

    While a coroutine runs, `on_interrupt` is told what to call in place of raising in the middle of the event loop: it
    cancels the task, so the coroutine sees `asyncio.CancelledError` and its ``finally`` blocks run.
    """
    kind = type(value)
    if kind is GeneratorType:
        return list(value)
    if kind is AsyncGeneratorType:
        value = collect(value)
    try:
        return _await(value, on_interrupt)
    finally:
        abandon(value)  # what interrupts a call may strike before it has begun


def abandon(value: Any) -> None:
    """Close a coroutine that is not to be awaited any more, before anybody complains that nobody did."""
    if type(value) is CoroutineType:
        value.close()


async def collect(generator: AsyncGenerator[Any, None]) -> list[Any]:
    """Give the list of what an asynchronous generator yields."""
    return [item async for item in generator]


def _await(
    coroutine: Coroutine[Any, Any, Any], on_interrupt: Callable[[Callable[[], object] | None], None]
) -> Any:
    """Run a coroutine to its end in the loop of this worker."""
    import asyncio

    global _runner
    if _runner is None or _runner.get_loop().is_closed():
        _runner = asyncio.Runner()
    loop = _runner.get_loop()
    was_interrupted = False
    task: Task[Any] | None = None

    async def main() -> Any:
        nonlocal task
        task = asyncio.current_task()
        on_interrupt(interrupt)
        if was_interrupted:
            interrupt()
        before = asyncio.all_tasks()
        try:
            return await coroutine
        finally:
            left = asyncio.all_tasks() - before
            if left:  # as `asyncio.run` ends them: the next call is somebody else's
                for one in left:
                    one.cancel()
                await asyncio.gather(*left, return_exceptions=True)

    def interrupt() -> None:
        nonlocal was_interrupted
        was_interrupted = True
        if task is not None:
            loop.call_soon_threadsafe(task.cancel)

    on_interrupt(interrupt)
    try:
        value = _runner.run(main(), context=copy_context())  # what the call sees, it sees as well
    except asyncio.CancelledError as error:
        if not was_interrupted:
            raise
        from .._interrupt import CallInterrupted

        text = "this call was cancelled or ran longer than its limit"
        raise CallInterrupted(text).with_traceback(error.__traceback__) from None
    finally:
        on_interrupt(None)
    return value
