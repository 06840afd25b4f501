"""A source that may wait for the world, advanced by a thread of its own, never further than it is allowed to."""

from __future__ import annotations

from collections import deque
from threading import Semaphore, Thread
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .run import Listener


class Feeder:
    """Takes as many items as were granted, and rings for each."""

    def __init__(self, source: Any, listener: Listener) -> None:
        self._source = source
        self._listener = listener
        self._items: deque[Any] = deque()
        self._permits = Semaphore(0)
        self._n_granted = 0
        self._is_stopped = False
        self._error: BaseException | None = None
        self._is_done = False
        self.nanos = 0  # that the source took
        self._thread = Thread(target=self._work, name="ezflow-source", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def take(self, n: int) -> list[Any] | None:
        """Give up to `n` items that are there, and let it take as many; None at the end (the mover's thread)."""
        is_done = self._is_done  # looked at first: what comes before the end is there by then
        items = self._items
        found = [items.popleft() for _ in range(min(n, len(items)))]
        self._n_granted -= len(found)
        if not found and is_done and not items:
            if self._error is not None:
                raise self._error
            return None
        more = n - len(found) - self._n_granted
        if more > 0 and not is_done:
            self._n_granted += more
            self._permits.release(more)
        return found

    def close(self) -> None:
        """End the thread, when the source lets it go on; then it closes the source."""
        self._is_stopped = True
        self._permits.release()

    def _work(self) -> None:
        source, listener = self._source, self._listener
        try:
            while True:
                self._permits.acquire()
                if self._is_stopped:
                    break
                began = perf_counter_ns()
                try:
                    item = next(source)
                except StopIteration:
                    break
                finally:
                    self.nanos += perf_counter_ns() - began
                self._items.append(item)
                listener.tell()
        except BaseException as error:
            self._error = error
        finally:
            self._is_done = True
            listener.tell()
            close = getattr(source, "close", None)
            if close is not None and hasattr(source, "gi_frame"):
                close()
