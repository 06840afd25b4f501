"""The thread that makes a pool's processes: a cold start takes tens of milliseconds."""

from __future__ import annotations

import threading
from collections import deque
from time import sleep

from .postbox import Word

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .._wire.codec import Definition
    from .child import Starter


class Maker:
    """Makes one process after another.

    Parameters
    ----------
    starter : Starter
        Makes processes.
    needs : callable
        Gives the definitions that travelled with the process made last.
    """

    def __init__(self, starter: Starter, needs: Callable[[], Iterable[Definition]]) -> None:
        self._starter = starter
        self._needs = needs
        self._orders: deque[int | None] = deque()
        self._bell = threading.Semaphore(0)
        self.doomed: set[int] = set()  # workers to be killed as soon as they are made (dispatcher only)
        self.thread: threading.Thread | None = None

    def start(self, name: str, tell: Callable[..., None]) -> None:
        """Start the thread, which tells what it has made."""
        thread = threading.Thread(target=self._main, args=(tell,), name=name, daemon=True)
        thread.start()
        self.thread = thread

    def order(self, worker: int | None) -> None:
        """Have a process made; None ends the thread."""
        self._orders.append(worker)
        self._bell.release()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self.order(None)
        if self.thread is not None:
            self.thread.join()

    def give_up(self) -> None:
        """End the thread and forget that there was one."""
        thread, self.thread = self.thread, None
        self.order(None)
        # Not `join`: before 3.13 a dummy for this thread would stay in `threading`.
        while thread is not None and thread.is_alive():
            sleep(0.001)

    def _main(self, tell: Callable[..., None]) -> None:
        """Make processes until told to stop."""
        while True:
            self._bell.acquire()
            worker = self._orders.popleft()
            if worker is None:
                return
            if worker in self.doomed:
                tell(Word.NOT_MADE, worker, None)
                continue
            try:
                child = self._starter.start()
            except BaseException as error:
                tell(Word.NOT_MADE, worker, error)
            else:
                tell(Word.MADE, worker, child, self._needs())
