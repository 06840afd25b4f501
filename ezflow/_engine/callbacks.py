"""The thread that runs users' callbacks, so that a slow one delays only callbacks."""

from __future__ import annotations

import threading
from concurrent.futures._base import LOGGER
from queue import SimpleQueue

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class CallbackThread:
    """A thread made at the first callback; runs them in order until stopped."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.RLock()  # reentrant: see `_gate` about a Ctrl-C under 3.14
        self._queue: SimpleQueue[tuple[Callable[[Any], object], Any] | None] = SimpleQueue()
        self._stopped = False
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread if it does not run; where that is impossible, callbacks run where they fall due."""
        if self.thread is None and not self._stopped:
            with self._lock:
                if self.thread is None:
                    thread = threading.Thread(target=self._main, name=self._name, daemon=True)
                    try:
                        thread.start()
                    except RuntimeError:
                        return  # interpreter exit, or no thread to be had
                    self.thread = thread

    def run(self, fn: Callable[[Any], object], future: Any) -> None:
        """Run `fn(future)` on the thread."""
        if self.thread is None:
            _run(fn, future)
        else:
            self._queue.put((fn, future))

    def stop(self) -> None:
        """Let the thread end after what was queued."""
        self._stopped = True
        self._queue.put(None)

    def _main(self) -> None:
        while True:
            item = self._queue.get()
            if item is None:
                return
            try:
                _run(*item)
            except BaseException:  # sys.exit in a callback must not end the callbacks of others
                LOGGER.exception("exception calling callback for %r", item[1])
            item = None


def _run(fn: Callable[[Any], object], future: Any) -> None:
    from ..future import run_callback

    run_callback(fn, future)
