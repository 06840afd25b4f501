"""The parent's side of every channel to a child: open, registered, closed once, never inherited by a fork.

Owned here: each descriptor that this process keeps for one of its children (sockets, pipes, pidfds).

Why a registry.  A worker ends when the write end of its lifeline is closed, in *every* process that has a copy.
A child that the user forks from the parent has such a copy, so it would keep orphaned workers alive.  Hence:

1. Opening a descriptor and registering it happen under one lock, and so do closing it and forgetting it.
2. The lock is taken before any fork and released after it, so no fork falls between the two.
3. In the forked child everything registered is closed, by the object that owns the number, so that an
   inherited copy of that object can never close a number which the child has used again.

``subprocess`` and ``os.system`` need nothing of this: the descriptors are not inheritable.
The lock is reentrant, because a signal handler may fork while its own thread holds it.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

TYPE_CHECKING = False  # workers import this file, and typing would cost them milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, Protocol, TypeVar

    class Closable(Protocol):
        """What can be registered."""

        def close(self) -> None:
            """Give the descriptor back; safe to repeat."""

        def fileno(self) -> int:
            """Return the number."""
            ...

    C = TypeVar("C", bound=Closable)

if sys.platform != "win32":
    import fcntl

lock: Final = threading.RLock()

_FIRST = 3  # below are stdin, stdout and stderr, which user code may close, replace and write to


class Descriptor:
    """A descriptor number with one owner; `fd` is -1 after `close`."""

    __slots__ = ("__weakref__", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __repr__(self) -> str:
        return f"<Descriptor {self.fd}>"

    def fileno(self) -> int:
        """Return the number, for `poll`, `select` and the like."""
        return self.fd

    def close(self) -> None:
        """Close and forget it; safe to repeat."""
        with lock:
            _kept.discard(self)
            fd, self.fd = self.fd, -1
            if fd >= 0:
                os.close(fd)


_kept: Final[set[Closable]] = set()


def pipe() -> tuple[Descriptor, Descriptor]:
    """Open a registered pipe: read end, write end."""
    with lock:
        r, w = os.pipe()
        try:
            r = raise_above_stdio(r)
            w = raise_above_stdio(w)
        except OSError:
            os.close(r)
            os.close(w)
            raise
        return _keep(Descriptor(r)), _keep(Descriptor(w))


def socketpair(kind: int = socket.SOCK_STREAM) -> tuple[socket.socket, socket.socket]:
    """Open a registered pair of connected sockets."""
    with lock:
        pair = socket.socketpair(socket.AF_UNIX, kind)
        try:
            a, b = (_raise_socket(s) for s in pair)
        except OSError:
            for s in pair:
                s.close()
            raise
        _kept.update((a, b))
        return a, b


def pidfd(pid: int) -> Descriptor | None:
    """Open a registered pidfd, or return None where the system has none or the process is gone."""
    if not HAVE_PIDFD:
        return None
    with lock:
        try:
            return _keep(Descriptor(os.pidfd_open(pid)))
        except ProcessLookupError:
            return None


def duplicate(fd: int) -> Descriptor:
    """Register a duplicate of `fd`."""
    with lock:
        return _keep(Descriptor(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST)))


def keep(make: Callable[[], C]) -> C:
    """Open what `make` opens, anything with `close` and `fileno`, and register it."""
    with lock:
        opened = make()
        _kept.add(opened)
        return opened


def close(opened: Closable) -> None:
    """Close and forget what `keep` has opened; safe to repeat."""
    with lock:
        _kept.discard(opened)
        opened.close()


def close_socket(sock: socket.socket) -> None:
    """Close and forget a registered socket; safe to repeat."""
    with lock:
        _kept.discard(sock)
        sock.close()


def forget(end: Descriptor | socket.socket) -> int:
    """Take `end` out of the registry without closing it: it is meant for a forked child.  Return its number."""
    with lock:
        _kept.discard(end)
        return end.fileno()


def require(n: int) -> None:
    """Raise the system's own error now if `n` more descriptors cannot be opened.

    Some standard functions lose a descriptor when the limit strikes in their middle; so does any of ours that
    is interrupted there.  Asking first costs about a microsecond each.
    """
    spare: list[int] = []
    with lock:
        try:
            spare.append(os.open(os.devnull, os.O_RDONLY))
            while len(spare) < n:
                spare.append(os.dup(spare[0]))
        finally:
            for fd in spare:
                os.close(fd)


class StandardNumbersTaken:
    """Holds the numbers below 3 that are free, so that nothing opened meanwhile gets them.

    `_posixsubprocess.fork_exec` refuses to work with them, and a program that has closed its standard streams
    would hand them out.
    """

    def __enter__(self) -> StandardNumbersTaken:
        self._held: list[int] = []
        while True:
            fd = os.open(os.devnull, os.O_RDWR)
            if fd >= _FIRST:
                os.close(fd)
                return self
            self._held.append(fd)

    def keep(self) -> None:
        """Leave them open for good."""
        self._held.clear()

    def __exit__(self, *_: object) -> None:
        for fd in self._held:
            os.close(fd)


def raise_above_stdio(fd: int) -> int:
    """Return `fd`, moved above 2 when a program with closed standard streams was given a low number."""
    if fd >= _FIRST:
        return fd
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST)
    os.close(fd)
    return moved


def _raise_socket(sock: socket.socket) -> socket.socket:
    if sock.fileno() >= _FIRST:
        return sock
    return socket.socket(fileno=raise_above_stdio(sock.detach()))


def _keep(descriptor: Descriptor) -> Descriptor:
    _kept.add(descriptor)
    return descriptor


def _has_pidfd() -> bool:
    """Ask the system, because sandboxes refuse what the kernel could do."""
    if not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        import errno

        return error.errno in (errno.EMFILE, errno.ENFILE)  # it exists, there is only no room now
    return True


def _after_fork_in_child() -> None:
    """Drop the parent's ends: this process is not the parent of its parent's workers."""
    lock._at_fork_reinit()  # type: ignore[attr-defined]  # the owner is gone; not in typeshed
    for each in list(_kept):
        try:
            each.close()
        except OSError:
            pass
    _kept.clear()


HAVE_PIDFD: Final = _has_pidfd()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lock.acquire, after_in_parent=lock.release, after_in_child=_after_fork_in_child
    )
