"""Awaiting a future under trio, without a thread for each await."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .future import Future


def is_running() -> bool:
    """Tell whether the calling code is a task of trio; it is not imported for that."""
    trio: Any = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_task())


async def wait(future: Future[Any]) -> Any:
    """Wait in a task of trio; cancelling the task cancels the call."""
    trio: Any = sys.modules["trio"]
    done = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def wake(_: object) -> None:
        try:
            token.run_sync_soon(done.set)
        except trio.RunFinishedError:
            pass  # nobody waits any more

    future.add_done_callback(wake)
    try:
        await done.wait()
    except trio.Cancelled:
        future.cancel()
        raise
    return future.result()
