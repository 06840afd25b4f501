"""The process object of a worker, and what happens in the worker between its first instruction and its main function.

The classes fit `multiprocessing`: `current_process`, `parent_process`, `active_children`, locks and queues among the
initializer's arguments, and nested pools behave as in a process of the standard start methods.  But the user's
``__main__`` is never run again, and starting one worker touches no other child of the program.
"""

from __future__ import annotations

import os
import signal
import socket
from multiprocessing import process, reduction, resource_tracker

from . import descriptors, lifeline, surroundings
from .popen import Popen, SpawnPopen, TemplatePopen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, ClassVar

    from .popen import Order
    from .template import Template

# What multiprocessing keeps to itself or typeshed does not know: read these lines for every new Python.
_process: Any = process  # _children; parent_process()._sentinel
_BaseProcess: Any = process.BaseProcess  # _config, _name, _popen, _sentinel, _start_method, _Popen
_reduction: Any = reduction  # DupFd
resource_tracker_state: Any = resource_tracker._resource_tracker  # type: ignore[attr-defined,unused-ignore]

inherited: object = None
"""What `Starter` was given as `fork_args`: set in the template that was forked from the parent, so its workers see it."""


def known_tracker() -> int | None:
    """Return the descriptor of the resource tracker, if it runs."""
    fd: int | None = resource_tracker_state._fd
    return fd


class WorkerEnds:
    """What a worker holds of its channels; every number is above 2 and not inherited by programs it starts."""

    __slots__ = ("control_read", "desk", "lifeline", "outputs", "sock", "stacks_write", "token_read")

    def __init__(
        self,
        sock: socket.socket,
        token_read: int,
        control_read: int,
        stacks_write: int,
        desk: socket.socket,
        outputs: tuple[int, ...],
        lifeline: int,
    ) -> None:
        self.sock = sock
        self.token_read = token_read
        self.control_read = control_read
        self.stacks_write = stacks_write
        self.desk = desk  # over which descriptors come and go
        self.outputs = outputs  # to be standard output and error; empty if those are the parent's
        self.lifeline = lifeline


def own_sentinel() -> int:
    """Return the descriptor that becomes readable when the parent of this process ends, moved above 2."""
    parent = _process.parent_process()
    parent._sentinel = descriptors.raise_above_stdio(parent._sentinel)
    return int(parent._sentinel)


class Process(_BaseProcess):  # type: ignore[misc]  # standard library, but without stubs
    """A child of this engine: like a `multiprocessing.Process`, and started without touching other children."""

    _Popen: ClassVar[type[Popen]]
    _popen: Popen  # None before the start, says the standard library
    shares_tracker = True  # take part in the parent's resource tracker

    def __init__(self) -> None:
        super().__init__()
        # A pool works in a daemonic process too: the lifeline ends its workers.
        self._config["daemon"] = False

    def start(self) -> None:
        """Start the process.

        Not the standard method: that one also polls every other child of the program, and races with the user's
        own `join` in another thread; and it refuses to work in a daemonic process.
        """
        self._popen = self._Popen(self)
        self._sentinel = self._popen.sentinel


class WorkerProcess(Process):
    """The process of one worker; `pack` is called when the object is pickled, with the new process known."""

    _packed: bytes  # these three exist in the worker only
    _tracker: Any
    _surroundings: surroundings.Surroundings

    def __init__(
        self,
        main: Callable[[WorkerEnds, bytes, Any], None],
        pack: Callable[[], bytes],
        fds: tuple[int, ...],
        environ_defaults: Mapping[str, str],
        template: Template | None = None,
        order: Order | None = None,
    ) -> None:
        super().__init__()
        self._main = main
        self._pack = pack
        self._fds: tuple[Any, ...] = fds  # numbers here, things to be detached in the worker
        self._environ_defaults = environ_defaults
        self.template = template
        self.order = order

    def start(self) -> None:
        super().start()
        # as the standard does: no reference cycles through arguments
        del self._main, self._pack, self.template, self.order, self._fds
        _process._children.add(self)

    def terminate(self) -> None:
        """Send SIGTERM to the worker and to all it has started."""
        self._check_closed()
        self._popen.send_signal_to_group(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the worker and all it has started."""
        self._check_closed()
        self._popen.send_signal_to_group(signal.SIGKILL)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for name in ("_pack", "template", "order", "_environ_defaults"):
            state.pop(name, None)
        state["_fds"] = tuple(_reduction.DupFd(fd) for fd in self._fds)
        state["_tracker"] = self._tracker_fd()
        state["_surroundings"] = surroundings.Surroundings.capture(self._environ_defaults)
        state["_packed"] = self._pack()
        return state

    def _tracker_fd(self) -> Any:
        """Return the resource tracker's descriptor, to be sent along; None when it goes another way."""
        return None

    def run(self) -> None:
        """Become a worker, then run its main function (in the worker)."""
        watched = own_sentinel()  # before the numbers below 3 are filled
        surroundings.isolate()
        lifeline.arm(watched)
        if self._tracker is not None:
            resource_tracker_state._fd = self._tracker.detach()
        elif (shared := resource_tracker_state._fd) is not None:
            os.set_inheritable(shared, False)
        fds = [descriptors.raise_above_stdio(fd.detach()) for fd in self._fds]
        for fd in fds:
            os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fds[0])
        desk = socket.socket(fileno=fds[4])
        ends = WorkerEnds(sock, fds[1], fds[2], fds[3], desk, tuple(fds[5:]), watched)
        self._surroundings.apply()
        packed, self._packed = self._packed, b""
        try:
            self._main(ends, packed, inherited)
        finally:
            desk.close()
            sock.close()  # not left to the interpreter's end, which would warn under -W error


class SpawnProcess(WorkerProcess):
    """A worker in a fresh interpreter."""

    _start_method = "spawn"
    _Popen = SpawnPopen


class ForkServerProcess(WorkerProcess):
    """A worker forked from a template that is a fresh interpreter."""

    _start_method = "forkserver"
    _Popen = TemplatePopen

    def _tracker_fd(self) -> Any:
        return _reduction.DupFd(resource_tracker.getfd())


class ForkProcess(WorkerProcess):
    """A worker forked from a template that was forked from the parent."""

    _start_method = "fork"
    _Popen = TemplatePopen

    def _tracker_fd(self) -> Any:
        fd = known_tracker()
        return None if fd is None else _reduction.DupFd(fd)
