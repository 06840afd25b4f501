"""What happens to running engines when the interpreter ends.

The rule of the standard pool: accepted calls are finished, then the workers go
home; submitting any later is an error.  Unless the program is ending because of
Ctrl-C: then nobody wants the rest, and everything is killed at once.

The hook runs before the interpreter waits for its threads, in the process that
registered it and in no forked child.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import weakref
from multiprocessing import util

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from .engine import Engine

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_exiting = False
_pid = os.getpid()
_early: util.Finalize | None = None

_FIRST = 1000  # above what anybody uses: the standard library's own go up to 100


def is_exiting() -> bool:
    """Tell whether the interpreter takes no more work."""
    return _exiting


def watch(engine: Engine) -> None:
    """See to it that an engine ends before the interpreter does."""
    global _early
    _engines.add(engine)
    # A child of multiprocessing runs multiprocessing's exit functions first, which would kill or await our workers
    # under the eyes of a dispatcher that still works; so be the first of them.  Such a child also forgets what was
    # registered before it began: hence at each engine.
    if _early is None or not _early.still_active():
        _early = util.Finalize(None, _at_exit, exitpriority=_FIRST)


def _at_exit() -> None:
    global _exiting
    if os.getpid() != _pid:
        return
    _exiting = True
    engines = list(_engines)
    for engine in engines:
        engine.disown()
    ends_by_interrupt = _ends_by_interrupt()
    try:
        for engine in engines:
            if ends_by_interrupt:
                engine.kill(signal.SIGKILL)
            else:
                engine.close(cancel=False)
        for engine in engines:
            engine.join()
    except BaseException:
        for engine in engines:
            engine.kill(signal.SIGKILL)
        raise


def _ends_by_interrupt() -> bool:
    """Tell whether the program ends because of Ctrl-C; a prompt goes on after one and remembers it until the end."""
    if sys.flags.interactive or hasattr(sys, "ps1"):
        return False
    last = getattr(sys, "last_exc", None)
    last_type = type(last) if last is not None else getattr(sys, "last_type", None)
    return isinstance(last_type, type) and issubclass(last_type, KeyboardInterrupt)


def _in_forked_child() -> None:
    global _pid, _exiting
    _pid = os.getpid()
    _exiting = False
    for engine in list(_engines):
        engine.disown()
    _engines.clear()


os.register_at_fork(after_in_child=_in_forked_child)
# Where `concurrent.futures` itself hooks in: before non-daemon threads are joined.
threading._register_atexit(_at_exit)  # type: ignore[attr-defined]  # private, used by concurrent.futures since 3.9
