"""A small single-threaded process that forks workers on request.

Start method *fork*: the template is forked from the parent at the first submit, before any thread of ours runs, and
never again.  So no threaded parent is forked when a worker is replaced.  Workers inherit the parent's memory as of
that moment.  One template per pool.

Start method *forkserver*: the template is a fresh interpreter, shared by all pools of the process and restarted when
it was killed.  (Not `multiprocessing.forkserver`: the loop is needed for fork anyway; this one survives a full process
table and a full descriptor table, makes no folder in the temporary directory, applies the parent's `sys.path`
to what it preloads on every Python, and needs no authentication, as its socket has no address.)

::

    parent ── socket: one byte + descriptors ──▶ template ── fork ──▶ worker
           ◀── status pipe of that worker: pid or -errno ... exit code ──┘
           ── data pipe of that worker: preparation data, process object ──────▶

Invariants: the template runs one thread and no code of the user's; it holds one descriptor per living worker; it ends
when its socket or its lifeline ends, so with the parent.  Workers outlive it; their exit codes are then unknown.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # as in `popen`
import array
import atexit
import errno
import gc
import itertools
import os
import pickle
import select
import signal
import socket
import sys
import threading
from multiprocessing import popen_fork, process, reduction, spawn, util

from . import descriptors, lifeline, surroundings
from . import process as engine_process
from .descriptors import Descriptor
from .popen import START_LIMIT_SECONDS, STATUS, SignalsBlocked, SpawnPopen, received_fds
from .process import Process, own_sentinel, resource_tracker_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

# What multiprocessing keeps to itself or typeshed does not know: read these lines for every new Python.
_process: Any = process  # parent_process()._sentinel, current_process()._inheriting
_reduction: Any = reduction  # DupFd
_util: Any = util  # _flush_std_streams, _exit_function

_MAX_FDS = 250  # Linux refuses more than 253 in one message

_RUNS_EXIT_FUNCTIONS = hasattr(popen_fork, "atexit")  # multiprocessing does in forked children since 3.13

_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Template:
    """The parent's handle of a template process; any thread may use it."""

    def __init__(self, pid: int, requests: socket.socket, popen: SpawnPopen, kind: str) -> None:
        self.pid = pid
        self._requests = requests
        self._popen = popen
        self._kind = kind
        self._lock = threading.Lock()
        self._ending = util.Finalize(self, _end, (requests, popen))  # also when its starter is lost

    def request(self, fds: Sequence[int]) -> None:
        """Ask for a worker: status pipe's write end, data pipe's read end, then whatever it shall receive."""
        if len(fds) > _MAX_FDS:
            raise ValueError(f"a worker cannot be given more than {_MAX_FDS} descriptors, got {len(fds)}")
        with self._lock:
            try:
                self._requests.sendmsg(
                    [b"w"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
                )
            except (ConnectionError, OSError) as error:
                if isinstance(error, ConnectionError) or error.errno == errno.EBADF:
                    raise self.error() from error
                raise

    def error(self) -> TemplateGoneError:
        """Describe what is wrong when a request was not answered."""
        return TemplateGoneError(
            f"the {self._kind} (pid {self.pid}) has ended, so no worker can be started from it"
        )

    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def close(self) -> None:
        """End the template and reap it; safe to repeat.  Workers that live go on."""
        with self._lock:
            self._ending()


class TemplateGoneError(ChildProcessError):
    """The template process was killed or ended."""


# --- start method fork -------------------------------------------------------------------------------------------


class _ForkedTemplate(SpawnPopen):
    """A template that was forked from this process: watched like a spawned one."""

    def _launch(self, process_obj: tuple[int, Descriptor]) -> None:
        self.pid, self.lifeline = process_obj
        self.pidfd = descriptors.pidfd(self.pid)


def fork_template(inherited: object) -> Template:
    """Fork this process, with all it holds, as a template.  The caller's thread is the only one that goes on there.

    Signals are blocked: the template must not run the user's handlers, and a Ctrl-C here must not lose it.
    """
    _util._flush_std_streams()  # or every worker would print what is buffered here
    with SignalsBlocked(*_signal.valid_signals()):
        return _fork_template(inherited)  # a KeyboardInterrupt on the way out drops it, which ends it


def _fork_template(inherited: object) -> Template:
    """Fork; under ``-W error`` Python raises its warning about threads *after* it: that child is ended and reaped."""
    descriptors.require(8)
    lifeline_w: Descriptor | None = None
    ours: socket.socket | None = None
    with descriptors.lock:  # so that no fork in another thread takes the template's ends along
        theirs, lifeline_r = None, -1
        try:
            ours, theirs = descriptors.socketpair()
            descriptors.forget(theirs)  # the template keeps it through the fork
            lifeline_end, lifeline_w = descriptors.pipe()
            lifeline_r = descriptors.forget(lifeline_end)
            pid = os.fork()
            if pid == 0:
                _be_template(theirs, lifeline_r, inherited)
            template = _ForkedTemplate((pid, lifeline_w))
        except BaseException:
            if theirs is not None:
                theirs.close()
            if ours is not None:
                _reap_half_made(ours, lifeline_w)
            raise
        finally:
            if theirs is not None:
                theirs.close()
            if lifeline_r >= 0:
                os.close(lifeline_r)
    return Template(pid, ours, template, "process forked at the first submit")


def _be_template(requests: socket.socket, lifeline_r: int, inherited: object) -> NoReturn:
    """Run the template loop in the freshly forked child; never return into the caller's code."""
    try:
        try:
            requests.send(STATUS.pack(os.getpid()))  # read only if the parent's os.fork raised
        except OSError:
            os._exit(0)  # the parent has given up, or is gone
        gc_was_enabled = gc.isenabled()
        gc.disable()  # a collection here would run finalizers that belong to the parent
        surroundings.drop_handlers()
        engine_process.inherited = inherited
        tracker = resource_tracker_state
        if tracker._fd is not None:  # the current one travels with each start
            os.close(tracker._fd)
            tracker._fd = None
        tracker._pid = None
        tracker._lock._at_fork_reinit()
        serve(requests, lifeline_r, gc_enabled=gc_was_enabled)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        _util._flush_std_streams()
    finally:
        os._exit(0)


def _reap_half_made(ours: socket.socket, lifeline_w: Descriptor | None) -> None:
    """Close the parent's ends, and wait for the child if `os.fork` made one and raised nevertheless."""
    ours.settimeout(5)
    try:
        hello = ours.recv(STATUS.size)
    except OSError:
        hello = b""
    descriptors.close_socket(ours)
    if lifeline_w is not None:
        lifeline_w.close()
    if len(hello) == STATUS.size:
        pid = STATUS.unpack(hello)[0]
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == 0:  # our child, so nobody else has its number
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        except OSError:
            pass  # reaped already


# --- start method forkserver -------------------------------------------------------------------------------------


class _TemplateProcess(Process):
    """The fresh interpreter that serves as template for all pools of this process."""

    _start_method = "forkserver"
    shares_tracker = False  # each worker gets it with its start

    def __init__(self, requests: int, preload: Sequence[str]) -> None:
        # Workers are numbered from 1, as in the standard pool: programs choose a GPU or a line on the screen by that.
        # (A process that another thread makes in this moment may get a number twice, which does no harm.)
        numbers, _process._process_counter = _process._process_counter, itertools.count(0)
        try:
            super().__init__()
        finally:
            _process._process_counter = numbers
        self._name = "ezflow-forkserver"
        self._requests: Any = requests  # a number here, something to be detached in the child
        self._preload = tuple(preload)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state["_requests"] = _reduction.DupFd(self._requests)
        return state

    def run(self) -> None:
        """Import what workers need, then serve (in the template)."""
        watched = own_sentinel()
        fd = descriptors.raise_above_stdio(self._requests.detach())
        os.set_inheritable(fd, False)
        for name in self._preload:
            try:
                __import__(name)
            except Exception:  # whoever needs it sees the error in the worker
                pass
        _util._flush_std_streams()
        try:
            serve(socket.socket(fileno=fd), watched, gc_enabled=True)
        finally:
            os._exit(0)


class _SpawnedTemplate(SpawnPopen):
    mark = "ezflow-forkserver"


_TemplateProcess._Popen = _SpawnedTemplate


def spawn_template(preload: Sequence[str]) -> Template:
    """Start a fresh interpreter as a template; returns while it still boots."""
    ours, theirs = descriptors.socketpair()
    try:
        booting = _TemplateProcess(theirs.fileno(), preload)
        booting.start()
    except BaseException:
        descriptors.close_socket(ours)
        raise
    finally:
        descriptors.close_socket(theirs)
    return Template(booting._popen.pid, ours, booting._popen, "fork server of ezflow")


def _end(requests: socket.socket, popen: SpawnPopen) -> None:
    """End a template in any state, even a stopped one, and reap it."""
    descriptors.close_socket(requests)
    popen.send_signal(signal.SIGKILL)
    popen.wait(START_LIMIT_SECONDS)
    popen.close()


_shared: Template | None = None
_shared_lock = threading.Lock()


def shared_template(preload: Sequence[str], gone: Template | None = None) -> Template:
    """Return the fork server of this process; start it when there is none, or it was killed, or it is `gone`.

    It lives until this process ends, so that the next pool starts warm.
    """
    global _shared
    with _shared_lock:
        if _shared is not None and (_shared is gone or not _shared.is_alive()):
            _shared.close()
            _shared = None
        if _shared is None:
            _shared = spawn_template([*preload, *_users_preload()])
            # The server would end with us anyway, but -W error complains about a socket left open.
            util.Finalize(None, stop_shared_template, exitpriority=-50)
        return _shared


def _users_preload() -> list[str]:
    """Return what the user asked the standard fork server to preload: it means all fork servers, and never __main__."""
    standard: Any = sys.modules.get("multiprocessing.forkserver")
    return [] if standard is None else [m for m in standard._forkserver._preload_modules if m != "__main__"]


def stop_shared_template() -> None:
    """End the fork server of this process, if there is one; the next start makes a new one."""
    global _shared
    with _shared_lock:
        if _shared is not None:
            _shared.close()
            _shared = None


def _after_fork_in_child() -> None:
    """Forget the parent's fork server: its workers would be children of the wrong process."""
    global _shared, _shared_lock
    _shared = None
    _shared_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


# --- in the template ---------------------------------------------------------------------------------------------


def serve(requests: socket.socket, lifeline_r: int, *, gc_enabled: bool) -> None:
    """Fork a worker per request and report the end of each, until the parent's end of the socket is closed."""
    surroundings.isolate()
    with descriptors.StandardNumbersTaken() as taken:
        taken.keep()  # otherwise a worker's pipe may get the number that a print goes to
    # What is garbage here is not the workers': a collection there would run finalisers of the parent's objects, and
    # would copy the pages of all that it looks at.
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lifeline.arm_alone(lifeline_r)
    wake_r, wake_w = os.pipe()
    os.set_blocking(wake_r, False)
    os.set_blocking(wake_w, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_w)
    statuses: dict[int, int] = {}
    poller = select.poll()
    poller.register(requests, select.POLLIN)
    poller.register(wake_r, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poller.poll()}
        if wake_r in ready:
            os.read(wake_r, 65536)
            _report_ends(statuses)
        if requests.fileno() not in ready:
            continue
        received = _receive(requests)
        if received is None:
            requests.close()
            return
        if not received:
            continue
        status_w, data_r, *fds = received
        try:
            pid = os.fork()
        except OSError as error:
            pid = -(error.errno or errno.EAGAIN)
        if pid == 0:
            for fd in (lifeline_r, wake_r, wake_w, status_w, *statuses.values()):
                os.close(fd)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            if gc_enabled:
                gc.enable()
            _be_worker(data_r, fds)
        _write_status(status_w, pid)
        if pid > 0:
            statuses[pid] = status_w
        else:
            os.close(status_w)
        for fd in (data_r, *fds):
            os.close(fd)


def _receive(requests: socket.socket) -> list[int] | None:
    """Read one request; None at the end, an empty list when its descriptors did not fit into this process."""
    size = socket.CMSG_SPACE(_MAX_FDS * 4)
    try:
        data, ancillary, flags, _ = requests.recvmsg(1, size, _CLOEXEC)
    except ConnectionError:
        return None
    if not data:
        return None
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    received = list(fds)
    if not _CLOEXEC:
        for fd in received:
            os.set_inheritable(fd, False)
    if flags & socket.MSG_CTRUNC or len(received) < 2:
        if received:
            _write_status(received[0], -errno.EMFILE)
        for fd in received:
            os.close(fd)
        return []
    return received


def _report_ends(statuses: dict[int, int]) -> None:
    """Reap every worker that has ended and tell its exit code."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        status_w = statuses.pop(pid, None)
        if status_w is not None:
            _write_status(status_w, os.waitstatus_to_exitcode(status))
            os.close(status_w)


def _write_status(fd: int, number: int) -> None:
    try:
        os.write(fd, STATUS.pack(number))
    except OSError:
        pass  # the parent does not want to know any more


def _be_worker(data_r: int, fds: list[int]) -> NoReturn:
    """Run one worker in the freshly forked child, as `multiprocessing` runs a forked process."""
    code = 1
    try:
        received_fds[:] = fds
        parent_sentinel = os.dup(data_r)
        if _RUNS_EXIT_FUNCTIONS:
            atexit._clear()
            atexit.register(_util._exit_function)
        try:
            me: Any = _load(data_r)
        except (EOFError, pickle.UnpicklingError):
            if lifeline.is_cut(parent_sentinel):
                os._exit(1)  # the parent died, or gave this start up
            raise
        code = me._bootstrap(parent_sentinel=parent_sentinel)
        if _RUNS_EXIT_FUNCTIONS:
            atexit._run_exitfuncs()
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        _util._flush_std_streams()
    finally:
        os._exit(code)


def _load(data_r: int) -> object:
    """Read preparation data and process object, as `multiprocessing.spawn` does in a fresh interpreter."""
    current = _process.current_process()
    current._inheriting = True
    try:
        with open(data_r, "rb") as from_parent:
            spawn.prepare(pickle.load(from_parent))
            return pickle.load(from_parent)
    finally:
        del current._inheriting
