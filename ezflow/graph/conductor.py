"""The thread that works the inboxes of runs off, where user code may run: values are opened and calls packed here.

One per process, made when the first run starts, and anew in a forked child.  It also waits for what is to happen later:
the delays of retries, and limits that no executor keeps.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures._base import LOGGER
from heapq import heappop, heappush
from itertools import count
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from .._engine.callbacks import CallbackThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..future import Future


class Worked(Protocol):
    """What has an inbox."""

    def work(self) -> None:
        """Work it off."""


class Conductor:
    """A thread, and what it is to do."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._queue: SimpleQueue[Worked | tuple[float, Callable[[], None]]] = SimpleQueue()
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._thread = threading.Thread(target=self._main, name="ezflow-graphs", daemon=True)
        self._thread.start()
        self.callbacks = CallbackThread("ezflow-graph-callbacks")

    def put(self, run: Worked) -> None:
        """Have an inbox worked off; never waits."""
        self._queue.put(run)

    def later(self, when: float, fn: Callable[[], None]) -> None:
        """Call `fn` at a time on the monotonic clock; it must not block."""
        self._queue.put((when, fn))

    @property
    def is_here(self) -> bool:
        """Whether this is its thread."""
        return threading.get_ident() == self._thread.ident

    def _main(self) -> None:
        later = self._later
        while True:
            try:
                item = self._queue.get(timeout=max(0.0, later[0][0] - monotonic()) if later else None)
            except Empty:
                item = None
            try:
                if type(item) is tuple:
                    heappush(later, (item[0], next(self._numbers), item[1]))
                elif item is not None:
                    item.work()  # type: ignore[union-attr]  # the other kind is above
                item = None
                while later and later[0][0] <= monotonic():
                    heappop(later)[2]()
            except BaseException:  # a fault of ours, or a sys.exit where nobody expects one
                LOGGER.exception("exception in the thread of ezflow's graphs")

    # -- desk of futures whose executor has none

    def check_waiting(self) -> None:
        """Raise if nobody would ever answer here."""
        if self.is_here:
            from ..errors import waits_for_itself

            raise waits_for_itself()

    def call_back(self, fn: Callable[[Any], object], future: Future[Any]) -> None:
        """Run a user's callback on a thread of its own."""
        self.callbacks.run(fn, future)

    def prepare_callbacks(self) -> None:
        """Start that thread."""
        self.callbacks.start()


_conductor: Conductor | None = None
_lock = threading.RLock()


def conductor() -> Conductor:
    """Give the conductor of this process."""
    global _conductor
    found = _conductor
    if found is not None and found.pid == os.getpid():
        return found
    with _lock:
        if _conductor is None or _conductor.pid != os.getpid():
            _conductor = Conductor()
        return _conductor


def _forget() -> None:
    """Begin anew in a forked child: its parent's thread is not there, and may have held the lock."""
    global _conductor, _lock
    _conductor = None
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
