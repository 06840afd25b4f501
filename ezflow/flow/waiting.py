"""Stages that run as coroutines: many at once, in one event loop of this process."""

from __future__ import annotations

from inspect import isasyncgen, isawaitable
from typing import TYPE_CHECKING, Any

from .._engine.current import running
from .._loop import call_in_loop
from .._map import Slot
from .._sealed import SealedError
from ..graph.handles import Value
from .hand import opened
from .items import Carried
from .program import State, run_items

if TYPE_CHECKING:
    import asyncio
    from typing import Final

    from .machine import Machine
    from .run import Listener
    from .work import Job

LEAVE: Final = 0.7
"""Seconds in which cancelled coroutines may clean up; what takes longer is left to itself, in a daemon thread."""


class AsyncHand:
    """An event loop: the consumer's own if he has one, else one in a thread of the run."""

    n_workers = 4

    def __init__(self, listener: Listener, loop: asyncio.AbstractEventLoop | None) -> None:
        self._listener = listener
        self._loop = loop
        self._thread: Any = None
        self._tasks: dict[Job, Any] = {}

    def start(self, job: Job, machine: Machine) -> None:
        """Start a coroutine for the one item of the job."""
        slot = Slot(self._listener)
        self._listener.expect(slot, job, self)
        self._tasks[job] = None
        if self._loop is not None:  # we are in it
            self._begin(job, slot, machine.settings.names)
            return
        if self._thread is None:
            self._thread = _LoopThread()
            self._thread.start()  # not before it is known: it may be interrupted, and is stopped then
        self._thread.loop.call_soon_threadsafe(self._begin, job, slot, machine.settings.names)

    def _begin(self, job: Job, slot: Slot, names: tuple[str, ...]) -> None:
        """Make the task, in the loop."""
        from asyncio import ensure_future

        if job in self._tasks:
            task = self._tasks[job] = ensure_future(_answer(job, names))
            task.add_done_callback(lambda task: _deliver(task, slot))

    def ended(self, job: Job) -> None:
        """Forget a job."""
        self._tasks.pop(job, None)

    def close(self) -> None:
        """Cancel what runs, and end the thread."""
        tasks, self._tasks = self._tasks, {}
        if self._thread is None:
            for task in tasks.values():
                if task is not None:
                    task.cancel()
            return
        thread, self._thread = self._thread, None
        thread.stop()


class _LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        from asyncio import new_event_loop
        from threading import Thread

        self.loop = new_event_loop()
        self._is_stopped = False
        self._thread = Thread(target=self._work, name="ezflow-async", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def _work(self) -> None:
        from asyncio import all_tasks, gather

        loop = self.loop
        try:
            while not self._is_stopped:
                try:
                    loop.run_forever()
                except (SystemExit, KeyboardInterrupt):
                    pass  # a coroutine raised it, which ends any loop; it is the item's error, as in a thread
            tasks = all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()

    def stop(self) -> None:
        """Cancel everything in it, and wait for a while."""
        self._is_stopped = True
        call_in_loop(self.loop, self.loop.stop)
        if self._thread.is_alive():  # else its start was interrupted, and it ends by itself
            self._thread.join(LEAVE)


async def _answer(job: Job, names: tuple[str, ...]) -> Any:
    """Await what the function gives for an item, then do the rest as every other hand does."""
    work = job.op
    (item,) = opened(job)
    (kind, fn, note), *rest = work.program
    state = State(work.keep, work.handler, names)
    running.item.set(state)  # of this task, which has a context of its own
    value = item
    if type(item) is Carried:
        value = item.value
        state.meta = dict(item.meta)
    given: Any = None
    error: Exception | None = None
    try:
        given = fn(value)
        if isasyncgen(given):
            given = (one for one in [one async for one in given])
        elif isawaitable(given):
            given = await given
    except Exception as one:
        error = one

    def found(_: object) -> Any:
        now = running.item.get()
        now.meta, now.has_meta, now.emitted = state.meta, state.has_meta, state.emitted
        if error is not None:
            raise error
        return given

    return run_items(((kind, found, note), *rest), job.base, work.keep, work.handler, [value], names)


def _deliver(task: asyncio.Task[Any], slot: Slot) -> None:
    if task.cancelled():
        slot._drop()
        return
    error = task.exception()
    slot._deliver(Value(task.result()) if error is None else SealedError(error))
