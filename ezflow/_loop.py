"""Calls into an event loop of asyncio from other threads."""

from __future__ import annotations

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable
    from typing import Any


def call_in_loop(loop: AbstractEventLoop, fn: Callable[..., object], *args: Any) -> None:
    """Have a function called in the loop's thread; if the loop is closed, nobody waits for it any more."""
    try:
        loop.call_soon_threadsafe(fn, *args)
    except RuntimeError:
        if not loop.is_closed():
            raise
