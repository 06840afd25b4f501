"""What threads wait with, such that a Ctrl-C at any instruction leaves no lock behind.

`threading.Condition.__enter__` and its kin are Python code: a KeyboardInterrupt
between the acquiring and the return leaves the lock held for ever, and whoever
comes next, be it the dispatcher, hangs.  A ``with`` on a lock made in C cannot
be torn like that.  Where the standard library's own functions bring such locks
along, they are replaced (`Waiters`) or survived (`Gate.acquire_or_give_up`).

Except under 3.14, at least up to 3.14.10: there the interpreter may raise the
KeyboardInterrupt after the lock was acquired and before the ``with`` sees to its
release (https://github.com/python/cpython/issues/148874; repaired in 3.15).  So
every lock that the main thread may hold is reentrant: Ctrl-C strikes no other
thread, and that one still gets through.
"""

from __future__ import annotations

import sys
import threading
from _thread import RLock as _RLock
from _thread import allocate_lock
from concurrent.futures import _base
from time import monotonic

from ._hints import Any
from ._rest import rest

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from typing import Final

_PATIENCE: Final = 10.0
"""Seconds to wait for a gate that is in use: nobody holds one longer than a few assignments take, or `wait` on very
many futures.  One that nobody uses is given up at once.
"""


class Gate(_RLock):  # type: ignore[misc]  # final in typeshed only
    """A condition whose `with` is a single C call.  Cheaper, too: a future costs one object less."""

    __slots__ = ("_sleepers",)

    _sleepers: list[Any]

    def let_sleep(self, sleeper: Any) -> None:
        """Note a locked lock that `notify_all` is to unlock; the gate must be held.

        The sleeper itself waits outside: a KeyboardInterrupt in a wait that has
        to give the gate back and take it again would leave it in either state.
        """
        try:
            self._sleepers.append(sleeper)
        except AttributeError:
            self._sleepers = [sleeper]

    def acquire_or_give_up(self) -> bool:
        """Lock; False if the gate is locked for ever, so that nobody else ever will.

        `concurrent.futures.wait` locks its futures in a Python loop; a
        KeyboardInterrupt in it leaves those locked that it had reached.  They
        are told from a gate in use by the stacks of all threads: nobody is in
        the code that locks gates.
        """
        if self.acquire(blocking=False):
            return True
        end = monotonic() + _PATIENCE
        while not self.acquire(timeout=0.001):
            if monotonic() > end or not is_anybody_inside():
                return False
        return True

    def forget(self, sleeper: Any) -> None:
        """Strike a sleeper that has given up; the gate must be held."""
        if sleeper in self._sleepers:
            self._sleepers.remove(sleeper)

    def notify_all(self) -> None:
        """Wake everybody who waits."""
        sleepers = getattr(self, "_sleepers", None)
        if sleepers:
            self._sleepers = []
            for sleeper in sleepers:
                sleeper.release()

    def notify(self, n: int = 1) -> None:
        """Wake everybody: a future is done for all."""
        self.notify_all()


_INSIDE: Final = frozenset({_base.__file__, __file__, __file__.replace("_gate.py", "future.py")})


def is_anybody_inside() -> bool:
    """Tell whether some other thread is in the code that locks gates, and does not merely wait for results there."""
    here = threading.get_ident()
    for thread, top in sys._current_frames().items():
        frame: Any = top if thread != here and top.f_code is not rest.__code__ else None
        while frame is not None:
            if frame.f_code.co_filename in _INSIDE:
                return True
            frame = frame.f_back
    return False


class Event:
    """A `threading.Event` without a lock: each step is one atomic operation."""

    __slots__ = ("_is_set", "_sleepers")

    def __init__(self, *, is_set: bool = False) -> None:
        self._is_set = is_set
        self._sleepers: list[Any] = []

    def is_set(self) -> bool:
        """Tell whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Let all go on who wait."""
        self._is_set = True
        while self._sleepers:
            try:
                self._sleepers.pop().release()
            except IndexError:
                return  # another thread was faster

    def clear(self) -> None:
        """Let those wait who come from now on."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; say whether it is."""
        sleeper = allocate_lock()
        sleeper.acquire()
        self._sleepers.append(sleeper)  # before the look, so `set` cannot miss it
        if self._is_set:
            return True
        return rest(sleeper, timeout)


class Waiters(list[Any]):
    """The waiters of `concurrent.futures.wait` and `as_completed` at a future.

    Each gets an event that no KeyboardInterrupt can lock for ever: the
    dispatcher sets it.  A waiter is added before anybody waits with it.
    """

    __slots__ = ()

    def append(self, waiter: Any) -> None:
        """Add a waiter."""
        event = getattr(waiter, "event", None)
        if type(event) is threading.Event:
            waiter.event = Event(is_set=event.is_set())
        super().append(waiter)
