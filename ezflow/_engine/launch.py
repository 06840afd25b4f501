"""Start something once, however often Ctrl-C tears the attempt.

A KeyboardInterrupt strikes the main thread between any two instructions, and
only that one.  So the caller's thread does no more than start a *launcher* by
one call into C; the launcher does the work.  An attempt that was torn is
repeated by whoever comes next; of several launchers the first does the work.
"""

from __future__ import annotations

import threading
from _thread import allocate_lock, start_new_thread

from .._rest import rest

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Launch:
    """Work that is done once, on a thread that no KeyboardInterrupt strikes."""

    def __init__(self) -> None:
        self.done = False
        self._lock = threading.RLock()
        self._is_entered = False  # some frame is in `run`
        self._claim = allocate_lock()  # held by the launcher that does the work, for ever if it succeeds
        self._error: BaseException | None = None
        self._sleepers: list[Any] = []
        self._thread_id = 0

    def run(self, work: Callable[[], None]) -> None:
        """Have the work done, and return when it is; raise what it raised.

        All or nothing: work that raises is called again by the next `run`.
        Returns at once in the launcher itself, and in a finaliser or signal
        handler that interrupts this very function: the frame below goes on.
        """
        if self.done or threading.get_ident() == self._thread_id:
            return
        with self._lock:
            if self._is_entered:
                return
            self._is_entered = True
            try:
                while not self.done:
                    self._error = None
                    start_new_thread(self._launch, (work,))
                    sleeper = allocate_lock()
                    sleeper.acquire()
                    self._sleepers.append(sleeper)  # before the look, so the launcher cannot be missed
                    if not self.done and self._error is None:
                        rest(sleeper, None)
                    if self._error is not None:
                        raise self._error
            finally:
                self._is_entered = False
                self._error = None  # its traceback holds our callers, among them whoever owns this

    def _launch(self, work: Callable[[], None]) -> None:
        if not self._claim.acquire(blocking=False):
            return  # an earlier launcher does it; its caller was torn
        self._thread_id = threading.get_ident()
        try:
            work()
            self.done = True
        except BaseException as error:
            self._error = error
            self._claim.release()
        finally:
            self._thread_id = 0
        sleepers, self._sleepers = self._sleepers, []
        for sleeper in sleepers:
            sleeper.release()
