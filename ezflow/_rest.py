"""How threads sleep, such that a Ctrl-C ends the sleep of the main thread even if it did not wake it.

CPython gives the interpreter's lock back before it sleeps on another one, and may
have to wait for a thread that takes it.  A signal that comes just then is noted,
but cuts nothing short: on a busy machine that was one Ctrl-C of eight.  Nor does
one wake the main thread that the kernel gave to another thread.  So the main
thread sleeps in pieces, between which the interpreter runs the handlers.
"""

from __future__ import annotations

import os
import threading
from threading import TIMEOUT_MAX
from time import monotonic, sleep

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

_FIRST_PIECE: Final = 0.05
"""Seconds.  Each piece is twice as long as the one before: a Ctrl-C goes unseen for no longer than the wait lasts already,
and whoever waits for hours is woken a dozen times."""

_LAST_STEPS: Final = 1.0
"""Seconds that a thread may take at most between telling Python of its end and its end; it rarely takes a millisecond."""


def rest(sleeper: Any, seconds: float | None) -> bool:
    """Wait until a locked lock is released, or for so long; say whether it was released."""
    for piece in _pieces(seconds):  # noqa: SIM110  # no frame above this one: `is_anybody_inside` looks for it
        if sleeper.acquire(True, piece):
            return True
    return False


def join(thread: threading.Thread, seconds: float | None) -> bool:
    """Wait until a thread has ended, or for so long; say whether it has."""
    for piece in _pieces(seconds):
        thread.join(piece)
        if not thread.is_alive():
            _see_off(thread)
            return True
    return False


def _see_off(thread: threading.Thread) -> None:
    """Wait until the system, too, is done with an ended thread: until then a fork, of the next pool say, warns of it."""
    task = f"/proc/self/task/{thread.native_id}"
    end = monotonic() + _LAST_STEPS
    while os.path.exists(task) and monotonic() < end:
        sleep(0.0001)


def _pieces(seconds: float | None) -> Iterator[float]:
    """Cut a wait into growing pieces in the main thread; elsewhere it is one."""
    left = TIMEOUT_MAX if seconds is None else max(0.0, min(seconds, TIMEOUT_MAX))
    if threading.get_ident() == threading.main_thread().ident:
        piece = _FIRST_PIECE
        while left > piece:
            yield piece
            left -= piece
            piece *= 2
    yield left
