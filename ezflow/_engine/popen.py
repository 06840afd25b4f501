"""The parent's handle of one OS process: make it, notice its end, collect its exit code, send it signals.

Owned here, per process: the lifeline's write end, the status pipe and the pidfd.

Two ways to make a process: execute a fresh interpreter (`SpawnPopen`), or let a template process fork
(`TemplatePopen`, see `template`).  Either way the worker reads one pipe: preparation data, then the process object,
both pickled.  After that nothing is written any more, and the pipe goes on as the worker's lifeline and
`multiprocessing.parent_process().sentinel`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal's own wrappers make enum members: 0.3 ms for all signals
import errno
import io
import multiprocessing.context as mp_context
import os
import select
import signal
import struct
import sys
import threading
import time
from multiprocessing import popen_fork, reduction, resource_tracker, spawn, util

from . import descriptors, surroundings
from .descriptors import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, Final

    from .template import Template

# What multiprocessing keeps to itself or typeshed does not know: read these lines for every new Python.
_util: Any = util  # spawnv_passfds
_context: Any = mp_context  # set_spawning_popen
_PopenBase: Any = popen_fork.Popen

# Chosen: how long a start may take before it is given up.  Larger: a stopped template holds a pool's start for longer.
# Smaller: a machine that is swapping cannot start workers.
START_LIMIT_SECONDS = 60.0

# Chosen: after a death, how long to wait for the template to say the exit code; it takes about 0.1 ms.  Larger: a
# stopped template delays the report of a death.  Smaller: a busy machine reports deaths without their reason.
EXIT_CODE_SECONDS = 0.5

UNKNOWN_EXIT = 255  # what multiprocessing reports when nobody can tell

STATUS = struct.Struct("q")  # a pid, a negative errno or an exit code on the status pipe

_PIDFD_SIGNAL_PROCESS_GROUP = 4  # linux/pidfd.h, Linux 6.9


class Popen(_PopenBase):  # type: ignore[misc]  # standard library, but without stubs
    """Common to both ways: notices the end, collects the exit code, sends signals.

    Any thread may use it.  The lock is held while a signal is sent and while descriptors are closed, so a signal can
    never reach whoever got the same number next.
    """

    def __init__(self, process_obj: Any) -> None:
        # not super().__init__(): it flushes stdout, which may block this thread and is of use only when forking
        self.returncode: int | None = None
        self.is_known = True  # False when the end is certain and the exit code is not
        self.pid = 0
        self.lifeline: Descriptor | None = None
        self.status: Descriptor | None = None
        self.pidfd: Descriptor | None = None
        self.finalizer = None
        self._fds: list[int] = []
        self._lock = threading.RLock()
        try:
            self._launch(process_obj)
            self.finalizer = util.Finalize(self, _close_all, (self.lifeline, self.status, self.pidfd))
        except BaseException:
            self._abandon()
            raise

    @property
    def sentinel(self) -> int:
        """A descriptor that becomes readable when the process has ended."""
        best = self.pidfd or self.status
        return -1 if best is None else best.fd

    def duplicate_for_child(self, fd: int) -> int:
        self._fds.append(fd)
        return len(self._fds) - 1

    def is_dead(self) -> bool:
        """Tell whether the process has ended, whether or not its exit code can be had."""
        return self.returncode is not None or self._is_readable(0)

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        if flag == 0:
            return self.wait()
        with self._lock:
            if self.returncode is None:
                self._collect()
            return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        if self.poll() is None and self._is_readable(timeout):
            self.exit_code(EXIT_CODE_SECONDS)
        return self.returncode

    def exit_code(self, limit: float) -> int | None:
        """Return the exit code if it is known within `limit` seconds after the end; never wait for the end."""
        deadline = time.monotonic() + limit
        while self.poll() is None and self.is_dead():
            left = deadline - time.monotonic()
            if left <= 0:
                with self._lock:
                    if self.returncode is None:
                        self.returncode, self.is_known = UNKNOWN_EXIT, False
            self._await_status(left)
        return self.returncode if self.is_known else None

    def send_signal(self, signum: int) -> bool:
        """Send a signal to this process and no other; False when it has gone."""
        with self._lock:
            try:
                if self.pidfd is not None:
                    signal.pidfd_send_signal(self.pidfd.fd, signum)  # type: ignore[attr-defined,unused-ignore]
                elif self.returncode is None:
                    os.kill(self.pid, signum)
                else:
                    return False
            except (ProcessLookupError, PermissionError):
                return False
            except OSError as error:
                if error.errno != errno.EBADF:  # closed
                    raise
                return False
            return True

    _send_signal = send_signal  # what terminate(), kill() and interrupt() of the standard class call

    def send_signal_to_group(self, signum: int) -> None:
        """Send a signal to the worker's process group, or to it alone as long as it has none of its own."""
        with self._lock:
            if not self._signal_group(signum):
                self.send_signal(signum)

    def _signal_group(self, signum: int) -> bool:
        if self.pidfd is not None and self.pidfd.fd >= 0:
            try:  # names the group by the kernel's own object, so the number may have been used again
                signal.pidfd_send_signal(self.pidfd.fd, signum, None, _PIDFD_SIGNAL_PROCESS_GROUP)  # type: ignore[attr-defined,unused-ignore]
                return True
            except (ProcessLookupError, PermissionError):
                return False
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):  # Linux before 6.9
                    raise
        try:
            # A group keeps its number from being used again.  So: the leader is there and leads it, or no process has
            # that number and whoever is in the group belonged to the worker.
            if os.getpgid(self.pid) != self.pid or self.returncode is not None:
                return False
        except ProcessLookupError:
            pass
        try:
            os.killpg(self.pid, signum)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def close(self) -> None:
        """Close every descriptor; a living worker is killed by its lifeline."""
        with self._lock:
            if self.finalizer is not None:
                self.finalizer()

    # --- for the subclasses --------------------------------------------------------------------------------------

    def _collect(self) -> None:
        """Set `returncode` if it can be had now."""
        raise NotImplementedError

    def _await_status(self, seconds: float) -> None:
        """Wait until there may be a status to collect."""
        time.sleep(min(0.001, max(0.0, seconds)))

    def _abandon(self) -> None:
        """Undo a start that failed: no process, no zombie, no descriptor."""
        raise NotImplementedError

    def _is_readable(self, timeout: float | None) -> bool:
        sentinel = self.sentinel
        if sentinel < 0:
            return True
        poller = select.poll()
        poller.register(sentinel, select.POLLIN)
        return bool(poller.poll(None if timeout is None else max(0, int(timeout * 1000 + 0.999))))

    def _pickle(self, process_obj: Any) -> memoryview:
        buffer = io.BytesIO()
        _context.set_spawning_popen(self)
        try:
            reduction.dump(surroundings.preparation_data(process_obj.name), buffer)
            reduction.dump(process_obj, buffer)
        finally:
            _context.set_spawning_popen(None)
        return memoryview(
            buffer.getvalue()
        )  # shares the buffer's memory, and unlike getbuffer() can outlive it


def _close_all(*opened: Descriptor | None) -> None:
    for each in opened:
        if each is not None:
            each.close()


# --- a fresh interpreter -----------------------------------------------------------------------------------------


class _SpawnDupFd:
    """A descriptor that the new interpreter inherits under the same number."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def detach(self) -> int:
        return self.fd


class SpawnPopen(Popen):
    """A child of this process, executed as a fresh interpreter by the standard command line."""

    method = "spawn"
    mark = ""
    DupFd = _SpawnDupFd

    def duplicate_for_child(self, fd: int) -> int:
        self._fds.append(fd)
        return fd

    def _launch(self, process_obj: Any) -> None:
        data_r, self.lifeline = descriptors.pipe()
        status_w = None
        try:
            if not descriptors.HAVE_PIDFD:
                self.status, status_w = descriptors.pipe()
                self._fds.append(status_w.fd)
            tracker = resource_tracker.getfd() if process_obj.shares_tracker else None
            if tracker is not None:
                self._fds.append(tracker)
            self._fds.append(data_r.fd)
            payload = self._pickle(process_obj)
            command = spawn.get_command_line(tracker_fd=tracker, pipe_handle=data_r.fd)
            if not getattr(sys, "frozen", False):
                # Without -P a file in the working directory could stand in for a module that the bootstrap imports,
                # before the parent's sys.path arrives; and 3.13.0 imports nothing in a directory that was deleted.
                command.insert(1, "-P")
                if self.mark:
                    command.append(self.mark)  # to be seen in `ps`; nothing reads it
            with SignalsBlocked(signal.SIGINT):
                self.pid = _util.spawnv_passfds(spawn.get_executable(), command, set(self._fds))
        finally:
            # before the payload is written: otherwise a child that dies at once leaves us a pipe nobody reads
            data_r.close()
            if status_w is not None:
                status_w.close()
        self.pidfd = descriptors.pidfd(self.pid)
        try:
            _write_all(self.lifeline.fd, payload)
        except BrokenPipeError:
            raise ChildProcessError(
                f"the new Python process (pid {self.pid}, {os.fsdecode(spawn.get_executable())}) ended while starting"
            ) from None

    def _collect(self) -> None:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # somebody else waited for it
            self.returncode, self.is_known = UNKNOWN_EXIT, False
        else:
            if pid == self.pid:
                self.returncode = os.waitstatus_to_exitcode(status)

    def _abandon(self) -> None:
        if self.pid > 0:
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
        _close_all(self.lifeline, self.status, self.pidfd)


class SignalsBlocked:
    """Blocks signals in this thread, and so in a process that is started meanwhile, until `isolate` there unblocks.

    A Ctrl-C that met a booting interpreter would print a traceback; a signal that met a fork of this process would
    run the user's handler in it.
    """

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers

    def __enter__(self) -> None:
        self._before = _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
        try:
            _signal.pthread_sigmask(_signal.SIG_BLOCK, self._numbers)
        except (
            BaseException
        ):  # the handler of a signal that came before: Python runs it after it has blocked them
            _signal.pthread_sigmask(_signal.SIG_SETMASK, self._before)
            raise

    def __exit__(self, *_: object) -> None:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self._before)


class HandlersHeld:
    """Holds back the handlers of signals that come meanwhile, and runs them at the end: in the main thread.

    What they raise strikes only there, KeyboardInterrupt or a program's own timeout, between any two instructions.  In
    an at-fork hook it would be printed and swallowed, and the lock that the hook was to give back would stay locked;
    elsewhere a descriptor or a process would be lost.  (Blocking the signals is not enough: another thread then takes
    them, and the handlers run in the main thread.)
    """

    def __enter__(self) -> None:
        self._noted: list[tuple[Callable[..., Any], int, FrameType | None]] = []
        self._before: dict[int, Callable[..., Any]] = {}
        if threading.get_ident() != threading.main_thread().ident:
            return
        try:
            for signum in _NUMBERS:
                handler = _signal.getsignal(signum)
                if callable(handler):  # not: ignored, default, or set by C code
                    self._before[signum] = handler
                    _signal.signal(signum, self._note)
        except BaseException:  # raised by a handler that was not held yet
            self._restore()
            raise

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self._noted.append((self._before[signum], signum, frame))

    def _restore(self) -> None:
        # SIGINT last: a handler that is back may raise at once, and that is the one that usually does
        self._restore_each(sorted(self._before, key=_SIGINT_LAST, reverse=True))

    def _restore_each(self, held: list[int]) -> None:
        """Give back all of them, though one may raise."""
        if held:
            signum = held.pop()
            try:
                if _signal.getsignal(signum) == self._note:  # not: an at-fork hook has set another one
                    _signal.signal(signum, self._before[signum])
            finally:
                self._restore_each(held)

    def __exit__(self, *_: object) -> None:
        try:
            self._restore()
        finally:
            self._replay()

    def _replay(self) -> None:
        """Run the handlers of what came, all of them, though one may raise."""
        if self._noted:
            handler, signum, frame = self._noted.pop(0)
            try:
                handler(signum, frame)
            finally:
                self._replay()


_NUMBERS: Final = tuple(sorted(_signal.valid_signals()))
_SIGINT_LAST: Final = int(_signal.SIGINT).__eq__


# --- forked by a template ----------------------------------------------------------------------------------------


class _TemplateDupFd:
    """A descriptor that travels to the template beside the request."""

    def __init__(self, index: int) -> None:
        self.index = index

    def detach(self) -> int:
        return received_fds[self.index]


received_fds: list[int] = []
"""In a worker forked by a template: the descriptors that came with the request for it."""


class Order:
    """A worker that a template was asked for: it waits for its first bytes, or ends with the lifeline.

    Placed ahead of time it is forked and set up while the parent still does other things.
    """

    def __init__(self, template: Template, fds: list[int]) -> None:
        self.fds = fds
        data_r, self.lifeline = descriptors.pipe()
        try:
            self.status, status_w = descriptors.pipe()
            try:
                template.request([status_w.fd, data_r.fd, *fds])
            except BaseException:
                self.status.close()
                raise
            finally:
                status_w.close()
        except BaseException:
            self.lifeline.close()
            raise
        finally:
            data_r.close()

    def close(self) -> None:
        """Give it up; the worker ends."""
        self.lifeline.close()
        self.status.close()


class TemplatePopen(Popen):
    """A child of the template process; the status pipe tells its pid, and at the end its exit code."""

    method = "forkserver"
    DupFd = _TemplateDupFd

    def _launch(self, process_obj: Any) -> None:
        template: Template = process_obj.template
        order: Order | None = process_obj.order
        payload = self._pickle(process_obj)
        if order is None or order.fds != self._fds:  # needs descriptors that were not sent with the order
            order = Order(template, self._fds)
        self.lifeline, self.status = order.lifeline, order.status
        try:
            _write_all(self.lifeline.fd, payload)
        except BrokenPipeError:
            pass  # the status says why
        pid = self._read_status(START_LIMIT_SECONDS)
        if pid is None:
            raise template.error()
        if pid < 0:
            raise OSError(-pid, f"the template process (pid {template.pid}) cannot fork: {os.strerror(-pid)}")
        self.pid = pid
        self.pidfd = descriptors.pidfd(pid)
        os.set_blocking(self.status.fd, False)

    def _read_status(self, limit: float) -> int | None:
        assert self.status is not None
        poller = select.poll()
        poller.register(self.status.fd, select.POLLIN)
        if not poller.poll(int(limit * 1000)):
            raise TimeoutError(f"the template process did not start a worker within {limit:g} s")
        data = os.read(self.status.fd, STATUS.size)  # written at once, and 8 bytes are never torn
        return STATUS.unpack(data)[0] if len(data) == STATUS.size else None

    def _collect(self) -> None:
        if self.status is None or self.status.fd < 0:
            return
        try:
            data = os.read(self.status.fd, STATUS.size)
        except BlockingIOError:
            return
        if len(data) == STATUS.size:
            self.returncode = STATUS.unpack(data)[0]
        elif self.pidfd is None or self._is_readable(0):  # the template has gone: is the worker gone as well?
            if self.pidfd is None and _exists(self.pid):
                return
            self.returncode, self.is_known = UNKNOWN_EXIT, False

    def _await_status(self, seconds: float) -> None:
        if self.status is not None and self.status.fd >= 0 and seconds > 0:
            poller = select.poll()
            poller.register(self.status.fd, select.POLLIN)
            poller.poll(int(seconds * 1000) + 1)

    def close(self) -> None:
        super().close()
        with self._lock:
            if self.returncode is None:  # who has hung up will not be told any more
                self.returncode, self.is_known = UNKNOWN_EXIT, False

    def _abandon(self) -> None:
        if self.pid > 0:
            self.send_signal(signal.SIGKILL)
        _close_all(
            self.lifeline, self.status, self.pidfd
        )  # a worker we know nothing of reads the end of its pipe


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _write_all(fd: int, data: memoryview) -> None:
    """Write everything to a pipe whose reader may be slow, but not for ever."""
    deadline = time.monotonic() + START_LIMIT_SECONDS
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    os.set_blocking(fd, False)
    while data:
        try:
            data = data[os.write(fd, data) :]
            deadline = time.monotonic() + START_LIMIT_SECONDS
        except BlockingIOError:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"a new worker read nothing for {START_LIMIT_SECONDS:g} s") from None
            poller.poll(int(left * 1000) + 1)
