"""Start, watch and end the OS processes that run workers, for the start methods fork, forkserver and spawn.

::

    Starter (one per pool) ── start() ──▶ Child (one per worker, in the parent)
                                          sock ═══════════════ WorkerEnds.sock
                                          token_write ───────▶ WorkerEnds.token_read ◀── token_read (a copy)
                                          control_write ─────▶ WorkerEnds.control_read
                                          stacks_read ◀─────── WorkerEnds.stacks_write
                                          desk ═══════════════ WorkerEnds.desk
                                          outputs ◀─────────── WorkerEnds.outputs (if the pool forwards output)
                                          (lifeline) ────────▶ WorkerEnds.lifeline

Who may call what: `prepare` in the thread that submits first, before any thread of ours exists; `start` in any
thread, it blocks until the process exists; a `Child` is owned by one thread, except `signal_group` and `kill`, which any thread
may call.  Everything is all-or-nothing: a start that fails leaves no descriptor and no process.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # as in `popen`
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import process, reduction, util
from multiprocessing.context import BaseContext
from signal import SIGKILL, SIGTERM

from . import descriptors, template
from .descriptors import Descriptor
from .popen import EXIT_CODE_SECONDS, HandlersHeld, Order, Popen, SignalsBlocked
from .process import ForkProcess, ForkServerProcess, SpawnProcess, WorkerEnds, WorkerProcess, known_tracker

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Child", "Starter", "WorkerEnds"]

_process: Any = process  # _children: what active_children() goes through; another set in every forked process

# Chosen: room for this many bytes on the way to a worker before the dispatcher has to wait for it.  The system lowers
# it to its own limit (Linux: net.core.wmem_max, 208 KiB unless raised).
_SOCKET_BUFFER_NBYTES = 1 << 20

# Descriptors open at the worst moment of a start: 7 channel pairs, status pipe, pidfd, exec's error pipe, the tracker's.
_DESCRIPTORS_PER_START = 24


# Streams glue messages together, and what came with each is then hard to tell.  Some systems lack the better kind.
_KEEPS_MESSAGES_APART = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM


class Starter:
    """Makes the workers of one pool.

    Parameters
    ----------
    context : multiprocessing context or None
        Gives the start method.  None: forkserver where there is one, otherwise spawn.
    main : callable
        Importable function that the worker runs: ``main(ends, config, inherited)``.  Its return ends the worker.
    pack : callable
        Called in `start`, while the process object is pickled: what it returns reaches `main` as `config`.  For
        forkserver and spawn, locks, queues and connections may be pickled in it.
    fork_args : object
        Reaches `main` as `inherited` under fork, in memory and never pickled; otherwise `main` gets None.
    preload : sequence of str
        Modules the fork server imports once, instead of each worker.  A module that cannot be imported is left out.
    environ_defaults : mapping of str to str
        Environment variables for the workers, unless the user has set them.
    with_outputs : bool
        Whether workers get pipes for their standard output and error.
    """

    def __init__(
        self,
        context: BaseContext | None,
        main: Callable[[WorkerEnds, bytes, Any], None],
        pack: Callable[[], bytes],
        fork_args: object = None,
        *,
        preload: Sequence[str] = (),
        environ_defaults: Mapping[str, str] | None = None,
        with_outputs: bool = False,
    ) -> None:
        if sys.platform == "win32":
            raise NotImplementedError(
                "ezflow cannot start workers on Windows yet: it needs pipes that can be polled, signals and process "
                "groups. Use concurrent.futures.ProcessPoolExecutor there, or run ezflow under WSL."
            )
        self.method: str = _default_method() if context is None else context.get_start_method()
        self._main = main
        self._pack = pack
        self._fork_args = fork_args
        self._preload = tuple(preload)
        self._environ_defaults = dict(environ_defaults or {})
        self._with_outputs = with_outputs
        self._pid = os.getpid()
        self._template: template.Template | None = None
        self._ahead: tuple[_ParentEnds, Order, util.Finalize] | None = (
            None  # first worker of a fork pool: `prepare`
        )
        self._is_closed = False
        self._lock = threading.RLock()  # reentrant: a finaliser may submit in the middle of `prepare`
        self._is_preparing = False

    def prepare(self) -> None:
        """For fork: fork the template, from which all workers descend.  Otherwise nothing.  Safe to repeat.

        Memory, modules and globals of this process reach workers as they are now.  Any thread may call it; one does it
        and the others wait.
        """
        if self.method != "fork" or self._template is not None:
            return
        with self._lock:
            if self._is_preparing or self._template is not None or self._is_closed:
                return
            self._is_preparing = True
            try:
                with HandlersHeld(), SignalsBlocked(*_signal.valid_signals()):
                    self._template = made = template.fork_template(self._fork_args)
                    self._order_ahead(made)
            finally:
                self._is_preparing = False

    def _order_ahead(self, source: template.Template) -> None:
        """Have the first worker made while the caller goes on; if that is impossible, `start` will say why."""
        ends = _ParentEnds(with_outputs=self._with_outputs)
        try:
            descriptors.require(_DESCRIPTORS_PER_START)
            fds = list(ends.open())
            tracker = known_tracker()
            if tracker is not None:
                fds.append(tracker)
            order = Order(source, fds)
            self._ahead = (
                ends,
                order,
                util.Finalize(self, _cancel, (ends, order)),
            )  # also when the starter is lost
        except BaseException as error:
            ends.close_workers_side()
            ends.close()
            if not isinstance(error, OSError):
                raise

    def start(self) -> Child:
        """Start one process; return when it exists, which is before it is ready.

        Raises
        ------
        OSError
            The system has no room for another process or descriptor, or the process could not be executed.
        TemplateGoneError
            (a `ChildProcessError`) The template was killed, so under fork no worker can be started any more.
        """
        if self._is_closed:
            raise RuntimeError("this starter is closed")
        if os.getpid() != self._pid:
            raise RuntimeError("a forked child cannot start workers for its parent's pool")
        # Pools start workers in a thread of their own, where no handler runs.  In the main thread a KeyboardInterrupt
        # between two lines would lose the descriptor that ends the worker.  When it is raised, the worker has an owner.
        with HandlersHeld():
            descriptors.require(_DESCRIPTORS_PER_START + 4 * self._with_outputs)
            with descriptors.StandardNumbersTaken():
                return self._start_by_method()

    def _start_by_method(self) -> Child:
        if self.method == "spawn":
            return self._start(SpawnProcess, None)
        if self.method == "fork":
            self.prepare()
            ahead, self._ahead = self._ahead, None
            if ahead is None:
                return self._start(ForkProcess, self._template)
            ends, order, when_lost = ahead
            when_lost.cancel()
            return self._start(ForkProcess, self._template, ends, order)
        shared = template.shared_template(self._preload)
        try:
            return self._start(ForkServerProcess, shared)
        except (template.TemplateGoneError, TimeoutError):  # it was killed or stopped a moment ago: once more
            return self._start(ForkServerProcess, template.shared_template(self._preload, gone=shared))

    def close(self) -> None:
        """End the template of a fork pool; living workers go on, their exit codes become unknown.  Idempotent."""
        with self._lock:
            self._is_closed = True
        ours, self._template = self._template, None
        if os.getpid() != self._pid:
            return
        if ours is not None:
            ours.close()
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead[2]()

    def _start(
        self,
        kind: type[WorkerProcess],
        source: template.Template | None,
        ends: _ParentEnds | None = None,
        order: Order | None = None,
    ) -> Child:
        ends = ends or _ParentEnds(with_outputs=self._with_outputs)
        worker: WorkerProcess | None = None
        is_started = False
        try:
            worker = kind(self._main, self._pack, ends.open(), self._environ_defaults, source, order)
            worker.start()
            is_started = order is None or worker._popen.lifeline is order.lifeline
            return Child(worker, ends)
        except BaseException:
            _drop(worker, ends)
            raise
        finally:
            ends.close_workers_side()
            if order is not None and not is_started:
                order.close()


class Child:
    """The parent's handle of one worker process.

    Attributes
    ----------
    pid : int
    sock : socket.socket
        Non-blocking stream socket to the worker.
    desk : socket.socket
        Non-blocking socket over which descriptors of shared memory go to and fro, one with each message.
    token_write, token_read : int
        Write end of the claims pipe, and a copy of its read end; all ends of it are non-blocking, the worker's too.
    control_write : int
        Write end of the interrupt pipe, non-blocking.
    stacks_read : int
        Read end of the pipe on which the worker says what it does, non-blocking; so is the other end.
    outputs : tuple of int
        Read ends of the pipes that are the worker's standard output and error, non-blocking; empty if it has none.
    pidfd : int or None
        Linux only.
    sentinel : int
        Becomes readable when the process has ended: the pidfd where there is one.  Always wait for this one.
    process : multiprocessing process
        `name`, `pid`, `is_alive`, `join`, `terminate`, `kill`, `exitcode`, `sentinel`.
    """

    def __init__(self, process: WorkerProcess, ends: _ParentEnds) -> None:
        self._ends = ends
        self._popen = process._popen
        self._is_closed = False
        self.process = process
        self.pid: int = self._popen.pid
        self.sock: socket.socket = ends.sock
        self.desk: socket.socket = ends.desk
        self.token_write: int = ends.token_write.fd
        self.token_read: int = ends.token_read.fd
        self.control_write: int = ends.control_write.fd
        self.stacks_read: int = ends.stacks_read.fd
        self.outputs: tuple[int, ...] = tuple(end.fd for end in ends.outputs)
        self.pidfd: int | None = None if self._popen.pidfd is None else self._popen.pidfd.fd
        self.sentinel: int = self._popen.sentinel
        # For a child that nobody has closed and nobody can close any more.
        self._when_lost = util.Finalize(self, _drop, (process, ends))
        # For the end of a process of multiprocessing, which would wait for all children to end.  It only kills: the
        # owner's thread may still run then, and must see the death on descriptors that are open.
        self._at_exit = util.Finalize(self, _kill, (self._popen,), exitpriority=100)

    def __repr__(self) -> str:
        return f"<Child pid {self.pid}, {type(self.process).__name__}>"

    def is_dead(self) -> bool:
        """Tell whether the process has ended; never blocks."""
        return self._popen.is_dead()

    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs, or when nobody can tell any more.

        Blocks only between the death and the template's word about it, and then for 0.5 s at most.
        """
        try:
            return self._popen.exit_code(EXIT_CODE_SECONDS)
        except OSError:
            return None

    def signal(self, signum: int) -> None:
        """Send a signal to the worker process alone; nothing happens if it has ended."""
        self._popen.send_signal(signum)

    def signal_group(self, signum: int) -> None:
        """Send a signal to the worker and to all it has started; never to anybody else."""
        if signum == SIGTERM and not self._popen.is_dead():
            self.process.terminate()  # so programs that watch that method see it called
        else:
            self._popen.send_signal_to_group(signum)

    def kill(self) -> None:
        """Kill the worker's whole process group."""
        if not self._popen.is_dead():
            self.process.kill()
        self._popen.send_signal_to_group(SIGKILL)  # also when its leader has gone

    def close(self) -> None:
        """Close every descriptor and reap the process; a worker that still lives is killed.  Idempotent.

        On Linux, processes that the worker forked (and that did not execute another program) die with the lifeline.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._at_exit.cancel()
        self._when_lost.cancel()
        if not self._popen.is_dead():
            self.kill()
            self._popen.wait(EXIT_CODE_SECONDS)
        self._ends.close()
        self.token_write = self.token_read = self.control_write = self.stacks_read = -1
        self.exit_code()
        self._popen.close()
        if self._popen.returncode is not None:
            _process._children.discard(self.process)
        # else: it stays in multiprocessing's list, and is reaped by the next call that looks there


class _ParentEnds:
    """The channels of one worker: the parent's ends, and until it is started the worker's ends as well."""

    def __init__(self, *, with_outputs: bool) -> None:
        self._workers: list[Descriptor | socket.socket] = []
        self._ours: list[Descriptor | socket.socket] = []
        self._with_outputs = with_outputs
        self.outputs: list[Descriptor] = []
        self._numbers: tuple[int, ...] | None = None

    def open(self) -> tuple[int, ...]:
        """Open everything, once; return the worker's ends.

        They are: socket, token read end, control read end, stacks write end, socket for descriptors, and maybe two
        write ends for output.
        """
        if self._numbers is not None:
            return self._numbers
        self.sock, theirs = descriptors.socketpair()
        self._ours.append(self.sock)
        self._workers.append(theirs)
        for sock in (self.sock, theirs):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_NBYTES)
        self.sock.setblocking(False)
        token_read, self.token_write = descriptors.pipe()
        self._ours.append(self.token_write)
        self._workers.append(token_read)
        self.token_read = descriptors.duplicate(token_read.fd)
        self._ours.append(self.token_read)
        control_read, self.control_write = descriptors.pipe()
        self._ours.append(self.control_write)
        self._workers.append(control_read)
        self.stacks_read, stacks_write = descriptors.pipe()
        self._ours.append(self.stacks_read)
        self._workers.append(stacks_write)
        # One description stands behind both copies of the read end, so the worker's is non-blocking as well.
        for end in (self.token_write, self.token_read, self.control_write, self.stacks_read, stacks_write):
            os.set_blocking(end.fd, False)
        self.desk, their_desk = descriptors.socketpair(_KEEPS_MESSAGES_APART)
        self._ours.append(self.desk)
        self._workers.append(their_desk)
        self.desk.setblocking(False)
        self._numbers = (
            theirs.fileno(),
            token_read.fd,
            control_read.fd,
            stacks_write.fd,
            their_desk.fileno(),
        )
        if self._with_outputs:
            self._numbers += (self._open_output(), self._open_output())
        return self._numbers

    def _open_output(self) -> int:
        """Open a pipe for output; the worker's end blocks, so it waits for a parent that is behind."""
        read, write = descriptors.pipe()
        self._ours.append(read)
        self._workers.append(write)
        self.outputs.append(read)
        os.set_blocking(read.fd, False)
        return write.fd

    def close_workers_side(self) -> None:
        _close(self._workers)

    def close(self) -> None:
        _close(self._ours)


def _close(ends: list[Descriptor | socket.socket]) -> None:
    while ends:
        end = ends.pop()
        if isinstance(end, socket.socket):
            descriptors.close_socket(end)
        else:
            end.close()


def _cancel(ends: _ParentEnds, order: Order) -> None:
    order.close()
    ends.close_workers_side()
    ends.close()


def _kill(popen: Popen) -> None:
    popen.send_signal_to_group(SIGKILL)


def _drop(worker: WorkerProcess | None, ends: _ParentEnds) -> None:
    """Kill a worker that nobody will look after and close everything, without waiting."""
    popen: Popen | None = None if worker is None else worker._popen
    if popen is not None:
        _kill(popen)
        popen.close()  # multiprocessing's next look at its children reaps it
    ends.close()


def _default_method() -> str:
    return "forkserver" if reduction.HAVE_SEND_HANDLE else "spawn"
