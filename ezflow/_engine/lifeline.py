"""A worker's life hangs on a pipe whose write end only its parent holds.

When the parent dies, however it dies, the kernel closes the write end.  On Linux the kernel then kills the worker's
whole process group by itself (``O_ASYNC`` with ``F_SETSIG``): it does not matter what the worker is doing, so a C
loop that holds the GIL, a stopped worker and one that blocks every signal die as well, 1 to 7 ms after the parent.
Elsewhere a daemon thread waits for the end of the pipe; it cannot run while C code holds the GIL.

Not reached: a child that made a session or process group of its own.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading

if sys.platform != "win32":
    import fcntl


def arm(fd: int) -> None:
    """Kill this process and its group when the other end of the pipe `fd` is closed.

    Call it after `setsid`: the group at this moment is the one that is killed.  Nothing may be written to the pipe
    any more.
    """
    if not _arm_kernel(fd, -os.getpgrp()):
        threading.Thread(target=_watch, args=(fd,), name="ezflow-lifeline", daemon=True).start()


def arm_alone(fd: int) -> None:
    """Kill this process only, and only where the kernel can do it: for a process that forks, so must have no threads.

    Its newborn children, who are still in its group, watch pipes of their own.
    """
    _arm_kernel(fd, os.getpid())


def _arm_kernel(fd: int, owner: int) -> bool:
    """Ask the kernel to kill a process, or with a negative number a group; False where it cannot."""
    if sys.platform != "linux":
        return False
    try:
        fcntl.fcntl(fd, fcntl.F_SETOWN, owner)
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    except OSError:  # sandboxes such as gVisor
        return False
    # 1. the parent dies  2. we arm: no event will come any more.  So look once, after arming.
    if is_cut(fd):
        _end(owner)
    return True


def is_cut(fd: int) -> bool:
    """Tell whether the other end of the pipe is closed."""
    poller = select.poll()
    poller.register(fd, 0)
    return bool(poller.poll(0))


def _watch(fd: int) -> None:
    while True:
        try:
            if os.read(fd, 1) == b"":
                _end(-os.getpgrp())
        except OSError:
            return  # closed by the user's code; nothing is left to watch


def _end(owner: int) -> None:
    """Do what the kernel would have done."""
    try:
        os.kill(owner, signal.SIGKILL)
    finally:
        os._exit(255)
