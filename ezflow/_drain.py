"""The end of a pool in asyncio: waited for without holding up the loop, and without a helper thread."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from ._loop import call_in_loop

if TYPE_CHECKING:
    from ._engine.engine import Engine


async def drain(engine: Engine, seconds: float | None) -> bool:
    """Wait for the end of an engine that takes no more calls; after so long, stop the calls that are left.

    Says whether all calls had ended by then.
    """
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    have_ended = True
    if engine.dispatcher is not None:
        engine.when_ended(partial(call_in_loop, loop, over.set))
        try:
            async with asyncio.timeout(seconds):
                await over.wait()
        except TimeoutError:
            have_ended = not engine.counts()["pending"]  # else only workers have not gone home yet
            engine.stop_all()
            await over.wait()
        engine.dispatcher.join()  # told us with its last breath
    callbacks = engine.callbacks.thread
    if engine.dispatcher is None or (callbacks is not None and callbacks.is_alive()):
        await loop.run_in_executor(None, engine.join)  # callbacks of the user's may take their time
    return have_ended
