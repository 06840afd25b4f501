"""Starting, watching and ending one worker process, for each start method."""

from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import psutil
import pytest

from ezflow._engine import descriptors, template
from ezflow._engine.child import Child, Starter
from tests import child_mains
from tests.child_mains import Remote, is_alive, until, wait_dead

START_METHODS = multiprocessing.get_all_start_methods()


@pytest.fixture(scope="module", autouse=True)
def warm_up() -> None:
    """Start what lives as long as the process before leaks are counted."""
    if "forkserver" in START_METHODS:
        template.shared_template(())
    resource_tracker.ensure_running()


@pytest.fixture(params=START_METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return request.param


class Making:
    """Makes workers, and ends them after the test."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.starters: list[Starter] = []
        self.remotes: list[Remote] = []

    def starter(self, pack: Callable[[], bytes] = bytes, args: object = None, **options: Any) -> Starter:
        starter = Starter(multiprocessing.get_context(self.method), child_mains.serve, pack, args, **options)
        starter.prepare()
        self.starters.append(starter)
        return starter

    def remote(self, starter: Starter | None = None, **options: Any) -> Remote:
        remote = Remote((starter or self.starter(**options)).start())
        self.remotes.append(remote)
        return remote

    def end(self) -> None:
        for remote in self.remotes:
            remote.hang_up()
            remote.child.close()
        for starter in self.starters:
            starter.close()


@pytest.fixture
def making(method: str) -> Iterator[Making]:
    made = Making(method)
    yield made
    made.end()


def forget_handlers() -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)


# --- talking and ending ------------------------------------------------------------------------------------------


def test_worker_talks_and_ends(making: Making, method: str) -> None:
    remote = making.remote(pack=lambda: b"packed", args=("kept", object))

    assert remote.ask("os.getpid()") == remote.child.pid == remote.child.process.pid
    assert remote.ask("config") == b"packed"
    assert remote.ask("inherited") == (("kept", object) if method == "fork" else None)
    assert remote.child.exit_code() is None
    assert not remote.child.is_dead()
    assert remote.child.process in multiprocessing.active_children()
    assert remote.end() == 0
    assert remote.child.process not in multiprocessing.active_children()
    assert remote.child.process.exitcode == 0
    remote.child.close()  # a second time


def test_worker_knows_itself_and_its_parent(making: Making, method: str) -> None:
    remote = making.remote()
    mp = "__import__('multiprocessing')"

    assert remote.ask(f"{mp}.current_process().name") == remote.child.process.name
    assert remote.ask(f"{mp}.current_process().pid") == remote.child.pid
    assert remote.ask(f"{mp}.parent_process().pid") == os.getpid()
    assert remote.ask(f"{mp}.parent_process().name") == multiprocessing.current_process().name
    assert remote.ask(f"{mp}.parent_process().is_alive()")
    assert remote.ask(f"{mp}.active_children()") == []
    assert not remote.ask(f"{mp}.current_process().daemon")
    assert remote.ask(f"{mp}.get_start_method()") == method
    assert remote.ask("threads()") == 1


def test_worker_has_a_session_and_no_terminal(making: Making) -> None:
    remote = making.remote()

    assert remote.ask("os.getsid(0), os.getpgrp()") == (remote.child.pid, remote.child.pid)
    assert remote.ask("read_stdin()") == ""


def test_worker_has_plain_signal_handlers(making: Making, method: str) -> None:
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: None)
    wake_r, wake_w = os.pipe()
    os.set_blocking(wake_w, False)
    signal.set_wakeup_fd(wake_w)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGALRM])
    try:
        remote = making.remote()

        assert remote.ask("signal.getsignal(signal.SIGUSR1)") == signal.SIG_DFL
        assert remote.ask("signal.getsignal(signal.SIGTERM)") == signal.SIG_DFL
        assert remote.ask("signal.getsignal(signal.SIGINT) is signal.default_int_handler")
        assert remote.ask("signal.getsignal(signal.SIGCHLD)") == signal.SIG_DFL
        assert remote.ask("signal.pthread_sigmask(signal.SIG_BLOCK, [])") == set()
        assert remote.ask("signal.set_wakeup_fd(-1)") == -1
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.close(wake_r)
        os.close(wake_w)


def test_workers_ends_are_private(making: Making) -> None:
    remote = making.remote()
    fds = remote.ask("[ends.sock.fileno(), ends.token_read, ends.control_read, ends.lifeline]")

    assert min(fds) > 2
    assert len(set(fds)) == 4
    assert not any(remote.ask(f"[os.get_inheritable(fd) for fd in {fds}]"))
    assert remote.ask("ends.sock.gettimeout()") is None


def test_parents_ends_are_private(making: Making) -> None:
    child = making.remote().child
    fds = [child.sock.fileno(), child.token_write, child.token_read, child.control_write, child.sentinel]

    assert min(fds) > 2
    assert not any(map(os.get_inheritable, fds))
    assert not any(os.get_blocking(fd) for fd in fds[:4])


def test_pipes_lead_to_the_worker(making: Making) -> None:
    remote = making.remote()

    os.write(remote.child.token_write, b"tokens")
    os.write(remote.child.control_write, b"control")

    assert remote.ask("os.read(ends.control_read, 100)") == b"control"
    assert os.read(remote.child.token_read, 3) == b"tok"
    assert remote.ask("os.read(ends.token_read, 100)") == b"ens"
    with pytest.raises(BlockingIOError):
        os.read(remote.child.token_read, 1)


def test_large_config_arrives(making: Making) -> None:
    remote = making.remote(pack=lambda: bytes(10_000_000))

    assert remote.ask("len(config)") == 10_000_000


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("os._exit(7)", 7),
        ("os.kill(os.getpid(), 9)", -9),
        ("os.kill(os.getpid(), 15)", -15),
        ("os.kill(os.getpid(), 1)", -1),
        ("sys.exit(3)", 3),
    ],
)
def test_exit_code_is_known(making: Making, ending: str, code: int) -> None:
    child = making.remote().child
    making.remotes[0].tell(ending)
    wait_dead(child)

    assert child.exit_code() == code
    assert child.process.exitcode == code
    assert not child.process.is_alive()
    child.process.join()


def test_join_waits_for_the_end(making: Making) -> None:
    remote = making.remote()
    remote.child.process.join(0.01)
    assert remote.child.process.exitcode is None

    remote.child.process.terminate()
    remote.child.process.join()

    assert remote.child.process.exitcode == -15


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_signals_to_the_group_go_through_the_process_object(making: Making, how: str) -> None:
    """Programs, and CPython's own tests, watch these methods."""
    remote = making.remote()
    sleeper = remote.ask("run_sleeper()")
    called: list[str] = []
    original = getattr(remote.child.process, how)
    setattr(remote.child.process, how, lambda: (called.append(how), original())[1])

    if how == "terminate":
        remote.child.signal_group(signal.SIGTERM)
    else:
        remote.child.kill()
    wait_dead(remote.child)

    assert called == [how]
    assert remote.child.exit_code() == (-15 if how == "terminate" else -9)
    assert until(lambda: not is_alive(sleeper))
    remote.child.signal_group(signal.SIGTERM)  # reaped: nothing happens
    remote.child.kill()
    remote.child.close()
    remote.child.signal_group(signal.SIGTERM)
    remote.child.kill()
    assert called == [how]


def test_exit_code_is_none_when_somebody_else_reaped(making: Making, method: str) -> None:
    if method != "spawn":
        pytest.skip("the worker is not a child of the parent")
    child = making.remote().child
    making.remotes[0].tell("os._exit(7)")
    os.waitpid(child.pid, 0)

    assert child.exit_code() is None
    assert child.process.exitcode is not None  # joined, not alive
    child.close()


def test_works_while_child_signals_are_ignored(making: Making) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        remote = making.remote()
        assert remote.ask("1") == 1
        remote.tell("os._exit(7)")
        wait_dead(remote.child)

        assert remote.child.exit_code() in (7, None)
        remote.child.close()
        assert remote.child.process not in multiprocessing.active_children()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_kill_ends_what_the_worker_started(making: Making) -> None:
    remote = making.remote()
    pids = [remote.ask("run_sleeper()"), remote.ask("fork_sleeper()")]

    remote.child.kill()
    wait_dead(remote.child)

    assert remote.child.exit_code() == -9
    assert until(lambda: not any(map(is_alive, pids)))


def test_signal_reaches_the_group(making: Making) -> None:
    remote = making.remote()
    pid = remote.ask("run_sleeper()")

    remote.child.signal_group(signal.SIGTERM)
    wait_dead(remote.child)

    assert remote.child.exit_code() == -15
    assert until(lambda: not is_alive(pid))


def test_group_can_be_killed_after_its_leader(making: Making) -> None:
    remote = making.remote()
    pid = remote.ask("run_sleeper()")
    remote.child.signal(signal.SIGKILL)
    wait_dead(remote.child)
    assert remote.child.exit_code() == -9
    assert is_alive(pid)

    remote.child.kill()

    assert until(lambda: not is_alive(pid))


def test_signals_after_the_end_are_harmless(making: Making) -> None:
    remote = making.remote()
    remote.end()

    remote.child.kill()
    remote.child.signal(signal.SIGTERM)
    remote.child.signal_group(signal.SIGTERM)
    remote.child.process.kill()


def test_old_kernels_signal_by_number(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(signal, "pidfd_send_signal"):
        pytest.skip("no pidfd here anyway")
    send = signal.pidfd_send_signal

    def old(fd: int, signum: int, info: None = None, flags: int = 0) -> None:
        if flags:
            raise OSError(errno.EINVAL, "flags")
        send(fd, signum)

    monkeypatch.setattr(signal, "pidfd_send_signal", old)
    first, second = making.remote(), making.remote()
    pids = [first.ask("run_sleeper()"), second.ask("run_sleeper()")]

    first.child.kill()
    second.child.signal(signal.SIGKILL)
    wait_dead(second.child)
    second.child.kill()
    wait_dead(first.child)

    assert until(lambda: not any(map(is_alive, pids)))


def test_without_pidfd(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "HAVE_PIDFD", False)
    remote, other = making.remote(), making.remote()
    child = remote.child

    assert child.pidfd is None
    assert remote.ask("1") == 1
    assert not child.is_dead()
    remote.tell("os._exit(5)")
    wait_dead(child)
    assert child.is_dead()
    assert child.exit_code() == 5
    child.close()
    pid = other.ask("run_sleeper()")
    other.child.kill()
    wait_dead(other.child)
    assert other.child.exit_code() == -9
    assert until(lambda: not is_alive(pid))


def test_close_kills_a_living_worker(making: Making) -> None:
    remote = making.remote()
    pid = remote.ask("run_sleeper()")

    remote.child.close()

    assert not is_alive(remote.child.pid)
    assert until(lambda: not is_alive(pid))
    assert remote.child.process not in multiprocessing.active_children()


def test_death_is_seen_while_a_forked_child_lives(making: Making) -> None:
    remote = making.remote()
    pid = remote.ask("fork_sleeper()")

    remote.tell("os._exit(4)")
    wait_dead(remote.child, 5)

    assert remote.child.exit_code() == 4
    assert is_alive(pid)
    remote.child.kill()
    assert until(lambda: not is_alive(pid))


def test_lost_child_is_killed(making: Making) -> None:
    child = making.starter().start()
    pid = child.pid

    del child

    assert until(lambda: not is_alive(pid))
    assert until(lambda: not multiprocessing.active_children())


def test_end_of_a_multiprocessing_child_kills_and_closes_nothing(making: Making) -> None:
    """Its finalisers run while the dispatcher of a pool is alive, and waits for the death on these descriptors."""
    child = making.remote().child
    pid = child.pid
    at_exit = _at_exit(child)
    assert at_exit

    for finalizer in at_exit:
        finalizer()

    wait_dead(child)
    assert child.sock.fileno() >= 0
    assert os.fstat(child.sentinel)
    assert child.exit_code() == -9
    child.close()
    assert not is_alive(pid)


def _at_exit(child: Child) -> list[Any]:
    """Return what multiprocessing would call for `child` at the end of the process."""
    from multiprocessing import util

    registry: dict[Any, Any] = util._finalizer_registry  # type: ignore[attr-defined]
    mine = [each for each in vars(child).values() if isinstance(each, util.Finalize)]
    return [each for (priority, _), each in registry.items() if priority is not None and each in mine]


def test_start_from_a_short_lived_thread(making: Making) -> None:
    starter = making.starter()
    thread = threading.Thread(target=making.remote, args=(starter,))
    thread.start()
    thread.join()

    assert making.remotes[0].ask("6 * 7") == 42
    assert making.remotes[0].end() == 0


def test_everything_from_a_short_lived_thread(making: Making) -> None:
    thread = threading.Thread(target=lambda: making.remote(making.starter()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        thread.start()
        thread.join()

    assert making.remotes[0].ask("signal.signal(signal.SIGUSR1, lambda *_: None)") == signal.SIG_DFL
    assert making.remotes[0].ask("__import__('threading').current_thread().name")
    assert making.remotes[0].end() == 0


def test_starts_in_many_threads_at_once(making: Making) -> None:
    starter = making.starter()
    many = [threading.Thread(target=making.remote, args=(starter,)) for _ in range(6)]
    for thread in many:
        thread.start()
    for thread in many:
        thread.join()

    assert len({remote.ask("os.getpid()") for remote in making.remotes}) == 6
    assert [remote.end() for remote in making.remotes] == [0] * 6


@pytest.mark.parametrize("inner", START_METHODS)
def test_workers_start_workers(making: Making, inner: str) -> None:
    remote = making.remote(args="outer")

    (_, parent, inherited), code = remote.ask(f"nested({inner!r})")

    assert parent == remote.child.pid
    assert inherited == ("inner" if inner == "fork" else None)
    assert code == 0


def test_daemonic_processes_start_workers(method: str) -> None:
    context = multiprocessing.get_context("spawn")
    answer = context.SimpleQueue()
    process = context.Process(target=child_mains.in_daemonic_process, args=(method, answer), daemon=True)
    process.start()

    facts, code = answer.get()

    assert facts[1] == process.pid
    assert code == 0
    process.join()
    process.close()
    answer.close()


def test_locks_and_queues_travel_in_the_config(making: Making, method: str) -> None:
    if method == "fork":
        pytest.skip("inherited in memory")
    from multiprocessing.reduction import ForkingPickler

    context = multiprocessing.get_context(method)
    lock, queue = context.Lock(), context.SimpleQueue()
    lock.acquire()
    remote = making.remote(pack=lambda: bytes(ForkingPickler.dumps((lock, queue))))

    assert not remote.ask("globals().setdefault('box', pickle.loads(config))[0].acquire(timeout=0.01)")
    remote.tell("box[1].put(box[0].acquire(timeout=60))")
    lock.release()
    assert queue.get() is True
    assert remote.hear() is None
    queue.close()


def test_config_is_packed_anew_for_each_start(making: Making) -> None:
    numbers = iter([b"1", b"2"])
    starter = making.starter(pack=lambda: next(numbers))

    assert [making.remote(starter).ask("config") for _ in range(2)] == [b"1", b"2"]


def test_error_while_packing_reaches_the_caller(making: Making) -> None:
    def refuse() -> bytes:
        raise TypeError("no")

    starter = making.starter(pack=refuse)

    with pytest.raises(TypeError, match="no"):
        starter.start()


# --- surroundings ------------------------------------------------------------------------------------------------


def test_worker_sees_the_environment_of_its_start(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EZFLOW_OLD", "old")
    starter = making.starter(environ_defaults={"EZFLOW_CAP": "2", "EZFLOW_OWN": "3"})
    making.remote(starter)
    monkeypatch.setenv("EZFLOW_NEW", "new \udcff")
    monkeypatch.delenv("EZFLOW_OLD")
    monkeypatch.setenv("EZFLOW_OWN", "user's")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    remote = making.remote(starter)

    expected = {**os.environ, "EZFLOW_CAP": "2"}
    seen = remote.ask("dict(os.environ)")

    assert seen == expected
    shell = remote.ask("subprocess.run(['env', '-0'], capture_output=True).stdout")
    assert b"EZFLOW_NEW=new \xff" in shell.split(b"\0")
    assert b"EZFLOW_OLD" not in shell
    assert remote.ask("time.tzname")[0] == "JST"


def test_worker_sees_path_arguments_and_directory(
    making: Making, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    starter = making.starter()
    making.remote(starter)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path / "somewhere"), *sys.path])
    monkeypatch.setattr(sys, "argv", ["prog", "--flag"])
    monkeypatch.chdir(tmp_path)
    remote = making.remote(starter)

    assert remote.ask("sys.path") == sys.path
    assert remote.ask("sys.argv") == ["prog", "--flag"]
    assert remote.ask("os.getcwd()") == str(tmp_path)


def test_worker_starts_in_a_deleted_directory(
    making: Making, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert making.remote().ask("1 + 1") == 2


def test_files_in_the_directory_shadow_nothing(
    making: Making, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("socket", "signal", "pickle", "array"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(f'{__file__} was imported')")
    monkeypatch.chdir(tmp_path)

    assert making.remote().ask("1 + 1") == 2


def test_worker_has_the_umask(making: Making) -> None:
    if not os.path.exists("/proc/self/status"):
        pytest.skip("the umask can only be read by changing it")
    starter = making.starter()
    before = os.umask(0o027)
    try:
        assert making.remote(starter).ask("os.umask(0)") == 0o027
    finally:
        os.umask(before)


class LocalWarning(UserWarning):
    """Lives in a module that workers do not import."""


class NarrowerWarning(LocalWarning):
    """Is one as well."""


def test_worker_has_the_warning_filters(making: Making) -> None:
    starter = making.starter()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "spec.*", LocalWarning, "some_module", 0)
        remote = making.remote(starter)
        filters = [(f[0], f[2].__qualname__, f[4]) for f in warnings.filters]

    assert remote.ask("[(f[0], f[2].__qualname__, f[4]) for f in __import__('warnings').filters]") == filters
    assert remote.ask("__import__('warnings').filters[0][1].pattern") == "spec.*"
    module = f"__import__({__name__!r}, fromlist=['x'])"
    explicit = "__import__('warnings').warn_explicit({}, {}, 'f', 1, {!r})"
    with pytest.raises(NarrowerWarning):
        remote.ask(explicit.format("'special'", f"{module}.NarrowerWarning", "some_module"))
    remote.ask("__import__('warnings').filters.__delitem__(slice(1, None))")
    assert remote.ask(explicit.format("'other'", f"{module}.NarrowerWarning", "some_module")) is None


def test_workers_draw_different_random_numbers(making: Making, method: str) -> None:
    numpy = pytest.importorskip("numpy")
    numpy.random.random()
    random.seed(1)
    starter = making.starter()
    remotes = [making.remote(starter) for _ in range(3)]

    assert len({remote.ask("__import__('random').random()") for remote in remotes}) == 3
    assert len({remote.ask("__import__('numpy').random.random()") for remote in remotes}) == 3


# --- what goes wrong ---------------------------------------------------------------------------------------------


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_no_start_leaks_at_the_descriptor_limit(making: Making) -> None:
    starter = making.starter()
    making.remote(starter).end()
    before = open_descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    failures = 0
    try:
        for room in range(40):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, before)) + 1 + room, hard))
            try:
                child = starter.start()
            except OSError as error:
                if error.errno != errno.EMFILE:
                    raise
                failures += 1
            else:
                child.close()
            assert open_descriptors() == before
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert 0 < failures < 40


def test_each_step_of_a_start_can_fail(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    starter = making.starter()
    making.remote(starter).end()
    before = open_descriptors()
    children = set(multiprocessing.active_children())
    steps = 0
    for name in ("pipe", "socketpair", "pidfd", "duplicate"):
        real = getattr(descriptors, name)
        for nth in range(5):
            calls = iter(range(100))

            def fail(*args: Any, real: Any = real, nth: int = nth, calls: Iterator[int] = calls) -> Any:
                if next(calls) == nth:
                    raise OSError(errno.EMFILE, "injected")
                return real(*args)

            monkeypatch.setattr(descriptors, name, fail)
            try:
                starter.start().close()
            except OSError as error:
                if "injected" not in str(error):
                    raise
                steps += 1
            monkeypatch.setattr(descriptors, name, real)
            assert open_descriptors() == before
            assert set(multiprocessing.active_children()) == children
    assert steps >= 5


def test_start_fails_when_the_interpreter_is_missing(making: Making, method: str) -> None:
    if method != "spawn":
        pytest.skip("executes nothing")
    starter = making.starter(pack=lambda: bytes(1_000_000))
    before = open_descriptors()
    from multiprocessing import spawn

    executable = spawn.get_executable()
    spawn.set_executable("/nonexistent/python")
    try:
        with pytest.raises(ChildProcessError, match="/nonexistent/python"):
            starter.start()
    finally:
        spawn.set_executable(executable)
    assert open_descriptors() == before
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("n", [1, 2])  # the first worker of a fork pool is ordered in `prepare`
def test_full_process_table_is_an_error_of_that_start(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    making = Making("fork")
    forks = iter(range(100))
    real = os.fork

    def fork() -> int:
        if next(forks) == n:  # 0 is the template itself, which counts on in its own copy
            raise OSError(errno.EAGAIN, "injected")
        return real()

    monkeypatch.setattr(os, "fork", fork)
    n_before = len(open_descriptors())
    starter = making.starter()
    if n == 1:
        n_before += len(descriptors_of_template(starter))
    else:
        making.remote(starter)
        n_before = len(open_descriptors())

    with pytest.raises(BlockingIOError, match="cannot fork"):
        starter.start()

    assert len(open_descriptors()) == n_before
    assert making.remote(starter).ask("1") == 1
    making.end()


def descriptors_of_template(starter: Starter) -> list[int]:
    made: Any = starter._template
    ends = made._requests, made._popen.lifeline, made._popen.pidfd
    return [end.fileno() for end in ends if end is not None]


@pytest.mark.parametrize("end", ["closed", "lost", "collected in a cycle"])
def test_worker_that_was_ordered_and_never_started_goes_with_its_starter(end: str) -> None:
    before, processes = open_descriptors(), set(psutil.Process().children(recursive=True))
    starter: Any = Starter(multiprocessing.get_context("fork"), child_mains.serve, bytes)
    starter.prepare()
    made = set(psutil.Process().children(recursive=True)) - processes
    assert made

    if end == "closed":
        starter.close()
    elif end == "lost":
        del starter
    else:
        starter.itself = starter
        del starter
        gc.collect()

    assert open_descriptors() == before
    assert until(lambda: not set(psutil.Process().children(recursive=True)) - processes)


def test_order_that_does_not_fit_any_more_is_replaced() -> None:
    """Here the resource tracker was started after the order was placed, so it did not travel with it."""
    making = Making("fork")
    state: Any = resource_tracker._resource_tracker
    real, state._fd = state._fd, None
    try:
        starter = making.starter()
    finally:
        state._fd = real
    before = open_descriptors()
    remote = making.remote(starter)

    assert remote.ask("__import__('multiprocessing').resource_tracker._resource_tracker._fd") is not None
    assert remote.end() == 0
    making.remotes.clear()
    assert len(open_descriptors()) < len(before)
    making.end()


def test_template_without_room_for_descriptors_says_so() -> None:
    making = Making("fork")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, open_descriptors())) + 12, hard))
    try:
        starter = making.starter()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    before = open_descriptors()
    children: list[Child] = []

    def fill() -> None:
        while True:
            children.append(starter.start())

    with pytest.raises(OSError, match="open files") as caught:
        fill()

    assert caught.value.errno == errno.EMFILE
    for child in children:
        child.close()
    assert (
        open_descriptors() <= before
    )  # without those of the worker that was ordered ahead, where there was room
    making.end()


def test_killed_template_is_named(making: Making, method: str) -> None:
    if method != "fork":
        pytest.skip("replaced or not there")
    starter = making.starter()
    remote = making.remote(starter)
    before = open_descriptors()
    os.kill(starter._template.pid, signal.SIGKILL)  # type: ignore[union-attr]

    for _ in range(2):
        with pytest.raises(template.TemplateGoneError, match="has ended"):
            starter.start()

    assert open_descriptors() == before
    assert remote.ask("1") == 1  # the living go on
    remote.tell("os._exit(3)")
    wait_dead(remote.child)
    assert remote.child.exit_code() is None  # nobody is left who knows
    remote.child.close()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("moment", ["before", "just before the request"])
def test_killed_fork_server_is_replaced(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    making = Making("forkserver")
    starter = making.starter()
    remote = making.remote(starter)
    old = template.shared_template(()).pid
    if moment == "before":
        os.kill(old, signal.SIGKILL)
    else:
        request = template.Template.request

        def kill_first(self: template.Template, fds: Any) -> None:
            if self.pid == old:
                os.kill(old, signal.SIGKILL)
            request(self, fds)

        monkeypatch.setattr(template.Template, "request", kill_first)

    assert making.remote(starter).ask("1") == 1
    assert template.shared_template(()).pid != old
    assert remote.ask("1") == 1
    assert not remote.child.is_dead()
    assert remote.child.process.exitcode is None
    making.end()
    template.stop_shared_template()  # the next one gets the lowest numbers again, for the comparison of descriptors
    template.shared_template(())


def test_stopped_template_costs_the_exit_code_only(making: Making, method: str) -> None:
    if method == "spawn":
        pytest.skip("has no template")
    starter = making.starter()
    remote = making.remote(starter)
    pid = starter._template.pid if starter._template else template.shared_template(()).pid
    os.kill(pid, signal.SIGSTOP)
    try:
        remote.tell("os._exit(3)")
        wait_dead(remote.child)
        assert remote.child.exit_code() is None
        remote.child.close()
    finally:
        os.kill(pid, signal.SIGCONT)


def test_stopped_template_is_ended_by_close(making: Making, method: str) -> None:
    if method != "fork":
        pytest.skip("about the template of one pool")
    starter = making.starter()
    pid = starter._template.pid  # type: ignore[union-attr]
    os.kill(pid, signal.SIGSTOP)

    starter.close()

    assert not os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("code", ["time.sleep(1000)", "child_mains.burn_python()"])
def test_thread_kills_where_the_kernel_does_not(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of macOS: a thread watches the lifeline."""
    from ezflow._engine import lifeline

    r, w = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid == 0:
        try:
            os.close(w)
            os.setsid()
            lifeline._arm_kernel = lambda fd, owner: False
            lifeline.arm(r)
            eval(code, {"time": time, "child_mains": child_mains})
        finally:
            os._exit(1)
    os.close(r)
    assert is_alive(pid)

    os.close(w)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9


def test_users_preload_reaches_the_fork_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from multiprocessing import forkserver

    (tmp_path / "ezflow_test_preload.py").write_text("import os; pid = os.getpid()")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(forkserver._forkserver, "_preload_modules", ["__main__", "ezflow_test_preload"])
    template.stop_shared_template()
    making = Making("forkserver")
    try:
        assert (
            making.remote().ask("sys.modules['ezflow_test_preload'].pid") == template.shared_template(()).pid
        )
    finally:
        making.end()
        monkeypatch.undo()
        template.stop_shared_template()
        template.shared_template(())


def test_fork_that_warns_leaves_nothing() -> None:
    if sys.version_info < (3, 12):
        pytest.skip("does not warn")
    making = Making("fork")
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    before = open_descriptors()
    children = multiprocessing.active_children()
    processes = _processes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            making.starter()
        except DeprecationWarning:
            assert open_descriptors() == before
            assert _processes() == processes
    making.end()
    release.set()
    thread.join()
    assert multiprocessing.active_children() == children


def _processes() -> set[int]:
    psutil = pytest.importorskip("psutil")
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_forked_child_of_the_parent_has_no_ends(making: Making, tmp_path: Path) -> None:
    """It closes them all, and what it inherited can close nothing else."""
    starter = making.starter()
    child = making.remote(starter).child
    numbers = [child.token_write, child.token_read, child.control_write, child.sentinel, child.sock.fileno()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for number in numbers:
                try:
                    os.fstat(number)
                except OSError:
                    continue
                os._exit(2)
            files = [os.open(tmp_path, os.O_RDONLY) for _ in range(20)]  # uses the numbers again
            child.close()
            starter.close()
            for file in files:
                os.fstat(file)
            code = 0
        finally:
            os._exit(code)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert making.remotes[0].ask("1") == 1


def test_closed_starter_refuses(making: Making) -> None:
    starter = making.starter()
    starter.close()
    starter.close()

    with pytest.raises(RuntimeError, match="closed"):
        starter.start()


def test_windows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")

    with pytest.raises(NotImplementedError, match="Windows"):
        Starter(None, child_mains.serve, bytes)


def test_default_is_the_fork_server() -> None:
    assert Starter(None, child_mains.serve, bytes).method == "forkserver"


@pytest.mark.slow
def test_hundred_starts_leave_nothing(making: Making) -> None:
    starter = making.starter()
    making.remote(starter).end()
    before = (
        open_descriptors(),
        threading.active_count(),
        len(multiprocessing.active_children()),
        _processes(),
    )
    for n in range(100):
        child: Child = starter.start()
        if n % 3 == 0:
            child.kill()
        elif n % 3 == 1:
            child.sock.close()  # its end of file ends `serve`
        if n % 3 != 2:
            wait_dead(child)
        child.close()
    after = open_descriptors(), threading.active_count(), len(multiprocessing.active_children()), _processes()
    assert after == before


def test_interpreter_flags_reach_a_spawned_worker(making: Making) -> None:
    assert making.remote().ask("sys.flags.optimize") == sys.flags.optimize
    assert subprocess  # the name is used by expressions that workers evaluate
