"""Workers and the life of their parent: kills, exits, forks, Ctrl-C, ``__main__``; each parent a program of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.child_mains import is_alive, until
from tests.unit.test_child import START_METHODS

ROOT = Path(__file__).parents[2]

GONE_WITHIN = 10.0
"""Seconds in which a worker must follow its parent; it takes 1 to 7 ms, and a busy machine gets more."""

PRELUDE = """
import multiprocessing, os, signal, sys, threading, time
from ezflow._engine.child import Starter
from tests import child_mains
from tests.child_mains import Remote, wait_dead, until, is_alive
signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background ignores it
method = sys.argv[1]
def make(**options):
    global starter
    starter = Starter(multiprocessing.get_context(method), child_mains.serve, bytes, **options)
    starter.prepare()
    return Remote(starter.start())
"""


class Program:
    """A program that starts workers."""

    def __init__(self, path: Path, method: str, *flags: str, **options: Any) -> None:
        path_list = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path_list)}
        self.process = subprocess.Popen(
            [sys.executable, *flags, str(path), method],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
            **options,
        )

    def pids(self) -> list[int]:
        """Read one line of pids."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            pytest.fail(self.process.communicate(timeout=60)[1])
        return [int(word) for word in line.split()]

    def finish(self) -> tuple[str, str, int]:
        """Wait for the end; give what it wrote and its exit code."""
        out, err = self.process.communicate(timeout=90)
        return out, err, self.process.returncode

    def close(self) -> None:
        """End it in any case."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture(params=START_METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def program(tmp_path: Path, method: str) -> Iterator[Callable[..., Program]]:
    """A maker of programs; `code` follows the prelude."""
    programs: list[Program] = []

    def run(code: str, *flags: str, prelude: str = PRELUDE, **options: Any) -> Program:
        path = tmp_path / f"program{len(programs)}.py"
        path.write_text(prelude + code)
        programs.append(Program(path, method, *flags, **options))
        return programs[-1]

    yield run
    for each in programs:
        each.close()


STATES = {
    "sleeping": "time.sleep(1000)",
    "busy in Python": "burn_python()",
    "busy in C with the lock": "burn_c()",
    "stopped": "stop_self()",
    "deaf": "block_signals_and_sleep()",
    "waiting for work": "1",
}


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere a thread watches, and needs the interpreter lock"
)
@pytest.mark.parametrize("state", STATES)
def test_worker_dies_with_its_killed_parent(program: Callable[..., Program], state: str) -> None:
    parent = program(f"""
remote = make()
pids = [remote.child.pid, remote.ask("fork_sleeper()"), remote.ask("run_sleeper()")]
if starter._template: pids.append(starter._template.pid)
remote.tell({STATES[state]!r})
time.sleep(0.1)  # to let it begin; nothing depends on it
print(*pids, flush=True)
time.sleep(1000)
""")
    pids = parent.pids()
    assert all(map(is_alive, pids))

    parent.process.kill()

    assert until(lambda: not any(map(is_alive, pids)), GONE_WITHIN)


def test_worker_dies_although_a_fork_of_its_parent_lives(program: Callable[..., Program]) -> None:
    """A child the user forked would hold the lifeline open, had the registry not closed it there."""
    parent = program("""
remote = make()
early = os.fork()
if early == 0: time.sleep(1000)
other = Remote(starter.start())
late = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,))
late.start()
print(early, late.pid, remote.child.pid, other.child.pid, flush=True)
time.sleep(1000)
""", "-W", "ignore")  # fmt: skip
    early, late, *workers = parent.pids()
    try:
        parent.process.kill()

        assert until(lambda: not any(map(is_alive, workers)), GONE_WITHIN)
        assert is_alive(early)
        assert is_alive(late)
    finally:
        os.kill(early, signal.SIGKILL)
        os.kill(late, signal.SIGKILL)


def test_worker_dies_although_threads_fork_all_the_time(program: Callable[..., Program]) -> None:
    """No fork falls between the opening of a descriptor and its registration."""
    parent = program("""
forked = []
def fork_often():
    while len(forked) < 60:
        pid = os.fork()
        if pid == 0:
            time.sleep(1000)
        forked.append(pid)
forking = threading.Thread(target=fork_often)
starter = Starter(multiprocessing.get_context(method), child_mains.serve, bytes)
starter.prepare()
forking.start()
children = [starter.start() for _ in range(8)]
forking.join()
remotes = [Remote(child) for child in children]
assert [remote.ask("1") for remote in remotes] == [1] * 8
print(*forked, flush=True)
print(*(child.pid for child in children), flush=True)
time.sleep(1000)
""", "-W", "ignore")  # fmt: skip
    forked, workers = parent.pids(), parent.pids()
    try:
        parent.process.kill()

        assert until(lambda: not any(map(is_alive, workers)), GONE_WITHIN)
        assert all(map(is_alive, forked))
    finally:
        for pid in forked:
            os.kill(pid, signal.SIGKILL)


def test_main_is_never_run_again(program: Callable[..., Program], tmp_path: Path) -> None:
    counter = tmp_path / "runs"
    parent = program(f"""
with open({str(counter)!r}, "a") as file: file.write("x")
remote = make(preload=("tests.child_mains",))
print(remote.ask("sys.modules['__main__'].__dict__.get('starter') is None"), remote.end())
""")
    out, err, code = parent.finish()

    assert (err, code) == ("", 0)
    assert out.split()[1] == "0"
    assert counter.read_text() == "x"


def test_forgotten_worker_does_not_hold_the_exit(program: Callable[..., Program]) -> None:
    parent = program("""
remote = make()
remote.tell("time.sleep(1000)")
print(remote.child.pid, flush=True)
""")
    (pid,) = parent.pids()

    assert parent.finish()[1:] == ("", 0)
    assert until(lambda: not is_alive(pid))


@pytest.mark.parametrize("hook", ["threading._register_atexit", "atexit.register"])
def test_workers_start_in_exit_hooks(program: Callable[..., Program], hook: str) -> None:
    """3.12 can neither fork nor start threads there; executing and asking a template work."""
    parent = program(f"""
import atexit
starter = Starter(multiprocessing.get_context(method), child_mains.serve, bytes)
starter.prepare()
def at_exit():
    remote = Remote(starter.start())
    print(remote.ask("6 * 7"), remote.end(), flush=True)
    starter.close()
{hook}(at_exit)
""")

    assert parent.finish() == ("42 0\n", "", 0)


def test_ctrl_c_during_starts_makes_no_noise(program: Callable[..., Program]) -> None:
    """The terminal sends SIGINT to the whole group, new workers included until they have a session."""
    parent = program("""
seen = []
signal.signal(signal.SIGINT, lambda *_: seen.append(1))
stop = False
def interrupt():
    while not stop:
        os.killpg(0, signal.SIGINT)
        time.sleep(0.001)
remotes = []
starter = Starter(multiprocessing.get_context(method), child_mains.serve, bytes)
starter.prepare()
pressing = threading.Thread(target=interrupt)
pressing.start()
starting = threading.Thread(target=lambda: remotes.extend(Remote(starter.start()) for _ in range(4)))
starting.start()
starting.join()
answers = [remote.ask("1") for remote in remotes]
stop = True
pressing.join()
print(answers, [remote.end() for remote in remotes], bool(seen))
""", start_new_session=True)  # fmt: skip

    assert parent.finish() == ("[1, 1, 1, 1] [0, 0, 0, 0] True\n", "", 0)


def test_ctrl_c_in_a_starting_main_thread_leaves_no_process(program: Callable[..., Program]) -> None:
    """(Pools start workers in a thread of their own.)"""
    parent = program("""
import psutil
make().end()
main_thread = threading.main_thread().ident
before = {process.pid for process in psutil.Process().children(recursive=True)}
interrupted = 0
def report(unraisable):  # one that came while Python removed a dead thread from its set, say
    global interrupted
    assert unraisable.exc_type is KeyboardInterrupt
    interrupted += 1
sys.unraisablehook = report
for n in range(60):
    timer = threading.Timer(0.0001 * n, signal.pthread_kill, (main_thread, signal.SIGINT))
    child = another = None
    try:
        try:
            timer.start()
            if n % 2:
                child = starter.start()
            else:
                another = Starter(multiprocessing.get_context(method), child_mains.serve, bytes)
                another.prepare()
        finally:
            timer.join()
    except KeyboardInterrupt:
        interrupted += 1
    if child is not None:
        child.close()
    if another is not None:
        another.close()
def left():
    processes = [p for p in psutil.Process().children(recursive=True) if p.pid not in before]
    return multiprocessing.active_children() + processes
until(lambda: not left(), 10)
print(interrupted > 0, left(), [p.cmdline() for p in psutil.Process().children()])
""", "-W", "ignore")  # fmt: skip
    out, err, _ = parent.finish()

    assert "Traceback" not in err
    assert out.startswith("True []")


def test_ctrl_c_between_two_lines_of_a_start_waits_for_the_workers_owner(
    program: Callable[..., Program],
) -> None:
    """Between them nobody owns the descriptor that ends the worker, which then waited for ever."""
    parent = program("""
from ezflow._engine import child, descriptors
make().end()
starter.close()
def strike(start):
    def start_interrupted(*args):
        os.kill(os.getpid(), signal.SIGINT)
        made = start(*args)
        pids.append(made.pid)
        os.kill(os.getpid(), signal.SIGINT)
        return made
    return start_interrupted
def terminated(*_): raise SystemExit
signal.signal(signal.SIGTERM, terminated)
Starter._start = strike(Starter._start)
fds, pids = len(descriptors._kept), []
starter = Starter(multiprocessing.get_context(method), child_mains.serve, bytes)
starter.prepare()
for _ in range(2):  # under fork the first worker was ordered by prepare
    try:
        starter.start()
        print("swallowed")
    except KeyboardInterrupt:
        print("raised", signal.getsignal(signal.SIGINT) is signal.default_int_handler,
              signal.getsignal(signal.SIGTERM) is terminated)
starter.close()
print(len(pids), until(lambda: not any(map(is_alive, pids))), len(descriptors._kept) - fds)
""", "-W", "ignore")  # fmt: skip

    assert parent.finish() == ("raised True True\n" * 2 + "2 True 0\n", "", 0)


def test_ctrl_c_while_the_template_is_forked_is_held_back(
    program: Callable[..., Program], method: str
) -> None:
    """Raised in an at-fork hook it would be printed and swallowed, and the hook's lock stay locked."""
    if method != "fork":
        pytest.skip("no fork in the main thread")
    parent = program("""
handlers = []
def strike():
    if threading.current_thread() is not threading.main_thread() or handlers:
        return
    handlers.append(signal.getsignal(signal.SIGINT))
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    os.kill(os.getpid(), signal.SIGINT)  # the other thread takes it, as this one has signals blocked
    os.read(reader, 1)
    signal.set_wakeup_fd(-1)
    os.close(reader); os.close(writer)
def other(): time.sleep(1000)
threading.Thread(target=other, daemon=True).start()
os.register_at_fork(before=strike)
starter = Starter(multiprocessing.get_context(method), child_mains.serve, bytes)
fds = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
try:
    starter.prepare()
    print("swallowed")
except KeyboardInterrupt:
    print("raised", handlers[0] != signal.default_int_handler == signal.getsignal(signal.SIGINT))
remote = Remote(starter.start())
print(remote.ask("1"), remote.end())
starter.close()
print((len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0) - fds)
""", "-W", "ignore")  # fmt: skip

    assert parent.finish() == ("raised True\n1 0\n0\n", "", 0)


def test_works_with_closed_standard_streams(program: Callable[..., Program], tmp_path: Path) -> None:
    report = tmp_path / "report"
    parent = program(f"""
for fd in (0, 1, 2): os.close(fd)
remote = make()
child = remote.child
ours = [child.sock.fileno(), child.token_write, child.token_read, child.control_write, child.sentinel]
theirs = remote.ask("[ends.sock.fileno(), ends.token_read, ends.control_read, ends.lifeline]")
text = f"{{min(ours) > 2}} {{min(theirs) > 2}} {{remote.end()}}"
fd = os.open({str(report)!r}, os.O_CREAT | os.O_WRONLY)
os.write(fd, text.encode())
os._exit(0)
""")
    parent.finish()

    assert report.read_text() == "True True 0"


def test_memory_of_the_parent_is_inherited_by_fork_only(program: Callable[..., Program], method: str) -> None:
    parent = program("""
import tests.child_mains
tests.child_mains.treasure = threading.Lock()  # cannot be pickled
remote = make(fork_args=tests.child_mains.treasure)
tests.child_mains.later = 1
print(remote.ask("'treasure' in globals()"), remote.ask("inherited is globals().get('treasure', 0)"),
      Remote(starter.start()).ask("'later' in globals()"))
""")
    kept = method == "fork"

    assert parent.finish()[:2] == (f"{kept} {kept} False\n", "")


def test_finaliser_of_the_parents_garbage_never_runs_in_a_worker(program: Callable[..., Program]) -> None:
    parent = program("""
class Tidy:
    def __del__(self): print("finalised in", os.getpid() == parent, flush=True)
parent = os.getpid()
import gc
gc.disable()
one = Tidy()
one.itself = one
del one
remote = make()
remote.ask("__import__('gc').collect()")
print(remote.end())
gc.collect()
""")

    assert parent.finish() == ("0\nfinalised in True\n", "", 0)


def test_nothing_is_said_under_dev_mode(program: Callable[..., Program]) -> None:
    parent = program("""
remote = make()
print(remote.ask("1"), remote.end())
starter.close()
""", "-X", "dev", "-W", "error")  # fmt: skip

    assert parent.finish() == ("1 0\n", "", 0)


def test_buffered_output_is_printed_once(program: Callable[..., Program]) -> None:
    parent = program("""
print("once", end=" ")  # stays in the buffer, as stdout is a pipe
remotes = [make() for _ in range(2)]
for remote in remotes:
    remote.ask("print('worker', end=' ')")
    remote.end()
""")

    assert sorted(parent.finish()[0].split()) == ["once", "worker", "worker"]
