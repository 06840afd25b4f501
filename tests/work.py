"""Functions that workers run in tests: importable, tiny."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NoReturn


def is_imported(name: str) -> bool:
    """Tell whether this process has a module."""
    return name in sys.modules


def square(x: int) -> int:
    """Give the square."""
    return x * x


def echo(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give back what came."""
    return args, kwargs


def fail(error: BaseException) -> NoReturn:
    """Raise the given error."""
    raise error


def fail_on_odd(x: int) -> int:
    """Raise for odd numbers."""
    if x % 2:
        raise ValueError(f"odd: {x}")
    return x


def pid() -> int:
    """Give the worker's process id."""
    return os.getpid()


def pid_of(_: object) -> int:
    """Give the worker's process id, whatever came."""
    return os.getpid()


def wait_for_file(path: str, seconds: float = 60.0) -> str:
    """Wait until a file exists: a gate that tests open."""
    end = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > end:
            raise TimeoutError(f"nobody made {path}")
        time.sleep(0.002)
    return path


def mark_and_wait(mark: str, gate: str) -> int:
    """Say that the call has started, then wait for the gate."""
    Path(mark).write_text(str(os.getpid()))
    wait_for_file(gate)
    return os.getpid()


def mark(path: str) -> str:
    """Leave a trace; leaving it twice is an error."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    return path


def mark_start_and_cleanup(started: str, cleaned: str, seconds: float = 60.0) -> None:
    """Leave a trace at the start, sleep, leave one in ``finally``."""
    try:
        Path(started).write_text(str(os.getpid()))
        time.sleep(seconds)
    finally:
        Path(cleaned).write_text("cleaned")


def kill_self(signum: int = signal.SIGKILL) -> None:
    """End this process by a signal."""
    os.kill(os.getpid(), signum)
    time.sleep(30)


def exit_at_once(code: int) -> NoReturn:
    """End this process without ceremony."""
    os._exit(code)


def sys_exit(code: int) -> NoReturn:
    """Raise SystemExit."""
    sys.exit(code)


def spin_python(started: str) -> None:
    """Loop in Python for ever."""
    Path(started).write_text(str(os.getpid()))
    while True:
        pass


def spin_c(started: str) -> int:
    """Loop in C with the interpreter lock held for ages."""
    Path(started).write_text(str(os.getpid()))
    return sum(range(10**12))


def swallow_interrupts(started: str) -> None:
    """Refuse to end."""
    Path(started).write_text(str(os.getpid()))
    while True:
        try:
            time.sleep(0.05)
        except BaseException:
            pass


def start_child_and_wait(path: str) -> None:
    """Start a process of its own, write its pid, wait."""
    import subprocess

    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    tmp = Path(path + ".tmp")
    tmp.write_text(f"{os.getpid()} {child.pid}")
    tmp.rename(path)
    time.sleep(300)


def start_thread() -> int:
    """Leave a thread behind that never ends."""
    threading.Thread(target=threading.Event().wait, daemon=False).start()
    return os.getpid()


def fork_and_return() -> int:
    """Fork, and let the child return as well."""
    os.fork()
    return os.getpid()


def close_standard_streams() -> int:
    """Close descriptors 0 to 2."""
    for fd in (0, 1, 2):
        try:
            os.close(fd)
        except OSError:
            pass
    return os.getpid()


def print_megabytes(n: int) -> int:
    """Print a lot."""
    line = "x" * 1023
    for _ in range(n * 1024):
        print(line)
    sys.stdout.flush()
    return n


def big(n: int) -> bytes:
    """Give n bytes."""
    return b"x" * n


def length(data: bytes) -> int:
    """Give the length."""
    return len(data)


class Unpicklable:
    """Cannot be sent."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("this object refuses to travel")


class CountsPickling:
    """Counts how often it is pickled; arrives as None."""

    n = 0

    def __reduce__(self) -> tuple[Any, ...]:
        self.n += 1
        return nothing, ()


class Poison:
    """Runs a function of this module when it is unpickled."""

    def __init__(self, fn: Any, *args: Any) -> None:
        self.fn = fn
        self.args = args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.fn, self.args


def unpicklable(_: object = None) -> Unpicklable:
    """Give something that cannot be sent back."""
    return Unpicklable()


def kill_self_with(signum: int, value: Any) -> None:
    """Die with a value in hand."""
    kill_self(signum)


def nothing_for(seconds: float, value: Any) -> None:
    """Hold a value for a while."""
    time.sleep(seconds)


def poison(fn: Any, *args: Any) -> Poison:
    """Give something that acts when it is unpickled."""
    return Poison(fn, *args)


class BadInit(Exception):
    """Its constructor cannot be called with its args."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")
        self.a, self.b = a, b


class HoldsLock(ValueError):
    """Holds something that cannot be pickled."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


def raise_bad_init() -> NoReturn:
    """Raise an exception that plain pickle cannot rebuild."""
    raise BadInit(1, 2)


def raise_holding_lock() -> NoReturn:
    """Raise an exception that cannot be pickled."""
    raise HoldsLock("locked")


state: dict[str, Any] = {}


def remember(key: str, value: Any) -> None:
    """Keep a value in this process."""
    state[key] = value


def recall(key: str) -> Any:
    """Give a value that this process keeps."""
    return state.get(key)


def use_lock() -> bool:
    """Use a lock that the initializer brought."""
    with state["lock"]:
        return True


def nested(n: int) -> int:
    """Make a pool in the worker and use it."""
    from ezflow import ProcessPoolExecutor

    with ProcessPoolExecutor(1) as pool:
        return pool.submit(square, n).result()


def allocate(n: int) -> int:
    """Hold n bytes for ever."""
    state["held"] = b"x" * n
    return os.getpid()


def pass_gate(arrived: str, gate: str) -> int:
    """Leave a trace of this very call, wait for the gate, give the worker's process id."""
    Path(arrived, f"{os.getpid()}-{time.monotonic_ns()}").touch()
    wait_for_file(gate)
    return os.getpid()


def append(path: str, line: object) -> None:
    """Add a line to a file; short lines of several processes do not mix."""
    fd = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    try:
        os.write(fd, f"{line}\n".encode())
    finally:
        os.close(fd)


def append_and_give(path: str, x: Any) -> Any:
    """Leave a trace of each run."""
    append(path, x)
    return x


def leave_program_running() -> int:
    """Start a program and do not wait for it."""
    import subprocess

    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]).pid


def then(fn: Any, args: tuple[Any, ...], arrived: str, gate: str) -> Any:
    """Wait for a gate, then call a function."""
    pass_gate(arrived, gate)
    return fn(*args)


def at_exit(fn: Any, *args: Any) -> None:
    """Have this worker call a function at its exit."""
    from multiprocessing import util

    util.Finalize(None, fn, args, exitpriority=10)


def at_exit_but_fail(fn: Any, *args: Any) -> NoReturn:
    """Have this worker call a function at its exit, and raise."""
    at_exit(fn, *args)
    raise ValueError("XYZ")


def first_time_only(path: str, fn: Any, *args: Any) -> bool:
    """Call a function, but only the first time that anybody asks; say whether it was."""
    try:
        mark(path)
    except FileExistsError:
        return False
    fn(*args)
    return True


# ---- ways for a call to go wrong


def raise_value_error(text: str = "boom") -> NoReturn:
    """Raise an ordinary error."""
    raise ValueError(text)


def segfault() -> None:
    """Crash in C."""
    import ctypes
    import faulthandler

    faulthandler.disable()  # a forked worker has pytest's, which would tell the whole story each time
    ctypes.string_at(0)


def stop_self() -> None:
    """Stop this process, as a debugger or Ctrl-Z does; nothing in it runs any more."""
    os.kill(os.getpid(), signal.SIGSTOP)


def spin() -> None:
    """Loop in Python for ever."""
    while True:
        pass


def spin_in_c() -> int:
    """Loop in C for ages; the interpreter lock is held and no signal handler runs."""
    return sum(range(10**12))


def start_tree(path: str, depth: int = 4) -> int:
    """Start 2**depth - 1 processes that never end; every process writes its id."""
    root = os.getpid()
    for _ in range(depth):
        os.fork()
    append(path, os.getpid())
    if os.getpid() != root:
        time.sleep(300)
        os._exit(0)
    while Path(path).read_text().count("\n") < 2**depth:
        time.sleep(0.002)
    return root


def start_tree_and(path: str, fn: Any, *args: Any) -> Any:
    """Start processes that never end, then call a function."""
    start_tree(path)
    return fn(*args)


@contextlib.contextmanager
def no_shared_memory() -> Iterator[None]:
    """Let large values of this process go through sockets."""
    from ezflow._memory import segments

    def refuse() -> int:
        raise OSError(errno.ENOSPC, "no shared memory")

    segments.arena_now().trim()
    taken, segments._open_memory = segments._open_memory, refuse
    try:
        yield
    finally:
        segments._open_memory = taken


def exhaust_descriptors() -> int:
    """Leave no free descriptor in this process; give how many were taken."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 128), hard))
    taken = []
    while True:
        try:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            state["taken"] = taken
            return len(taken)


def fork_into_the_loop() -> str:
    """Fork, and let the child return as well."""
    os.fork()
    return "forked"


class PickleBomb:
    """Runs a function when it is pickled; arrives as None."""

    def __init__(self, fn: Any, *args: Any) -> None:
        self.fn, self.args = fn, args

    def __reduce__(self) -> tuple[Any, ...]:
        self.fn(*self.args)
        return nothing, ()


def nothing(*_: object) -> None:
    """Do nothing."""


def pickle_bomb(fn: Any, *args: Any) -> PickleBomb:
    """Make, here, what runs a function when it is pickled."""
    return PickleBomb(fn, *args)


class ErrorBomb(ValueError):
    """An exception that runs a function when it is pickled."""

    def __init__(self, fn: Any, *args: Any) -> None:
        super().__init__("tick")
        self.fn, self.fn_args = fn, args

    def __reduce__(self) -> tuple[Any, ...]:
        self.fn(*self.fn_args)
        return ValueError, ("tick",)


class ErrorPoison(ValueError):
    """An exception that runs a function when it is unpickled."""

    def __init__(self, fn: Any, *args: Any) -> None:
        super().__init__("tick")
        self.fn, self.fn_args = fn, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.fn, self.fn_args


def raise_error_bomb(fn: Any, *args: Any) -> NoReturn:
    """Raise an exception that runs a function when it is pickled."""
    raise ErrorBomb(fn, *args)


def raise_error_poison(fn: Any, *args: Any) -> NoReturn:
    """Raise an exception that runs a function when it is unpickled."""
    raise ErrorPoison(fn, *args)


def raise_big(n: int) -> NoReturn:
    """Raise an exception that holds n bytes."""
    raise ValueError(b"x" * n)


def answer_partly(nbytes: int, fn: Any, *args: Any) -> bytes:
    """Make this worker call a function after `nbytes` of its next answer, a long one, have been written."""
    from ezflow._engine import worker
    from ezflow._wire.messages import HEADER

    def send(
        self: Any, call: int, kind: int, flags: int, micros: int, payload: bytes, beside: Any = ()
    ) -> None:
        payload = payload or pickle.dumps(b"x" * (1 << 22))  # in shared memory otherwise
        data = HEADER.pack(len(payload), call, kind, flags, micros) + payload
        self._sock.sendall(data[:nbytes])
        fn(*args)
        self._sock.sendall(data[nbytes:])

    worker._Loop._send = send  # type: ignore[method-assign]  # in this process only, which is to end
    return b"x" * (1 << 22)


def act_after_second_claim(fn: Any, *args: Any) -> int:
    """Make this worker call a function between the claim after the next one and the start of the claimed call."""
    from ezflow._engine import worker

    claim = worker.Intake._claim
    seen: list[int] = []

    def claim_and_act(self: Any) -> int:
        number = claim(self)
        seen.append(number)
        if len(seen) == 2:
            worker.Intake._claim = claim  # type: ignore[method-assign]
            fn(*args)
        return number

    worker.Intake._claim = claim_and_act  # type: ignore[method-assign]
    return os.getpid()


def append_then(path: str, fn: Any, *args: Any) -> Any:
    """Leave a trace of each run, then call a function."""
    append(path, os.getpid())
    return fn(*args)


def signal_self(signum: int) -> str:
    """Send a signal to this process and go on."""
    os.kill(os.getpid(), signum)
    return "went on"


class Act:
    """An item of a `map` that is to be called."""

    def __init__(self, fn: Any, *args: Any) -> None:
        self.fn, self.args = fn, args


def call_or_give(item: Any) -> Any:
    """Call an `Act`, give anything else back."""
    return item.fn(*item.args) if isinstance(item, Act) else item


def append_length(path: str, data: bytes) -> int:
    """Leave a trace, give the length."""
    append(path, os.getpid())
    return len(data)


def recall_length(key: str) -> int:
    """Give the length of a value that this process keeps."""
    return len(state[key])


def refuse_to_end() -> None:
    """Let no interrupt and no SIGTERM end this."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            time.sleep(0.05)
        except BaseException:
            pass


class Garbage:
    """Calls a function when it is collected."""

    def __init__(self, fn: Any, *args: Any) -> None:
        self.me = self
        self.fn, self.args = fn, args

    def __del__(self) -> None:
        self.fn(*self.args)


def keep_garbage(fn: Any, *args: Any) -> int:
    """Keep an object that acts when it is dropped."""
    state["garbage"] = Garbage(fn, *args)
    state["garbage"].me = None
    return os.getpid()


def drop_garbage() -> None:
    """Drop it."""
    del state["garbage"]


def leave_slow_garbage(path: str) -> int:
    """Leave garbage whose end takes a while."""
    import gc

    Garbage(finish_slowly, path)
    gc.collect()
    return os.getpid()


def finish_slowly(path: str) -> None:
    """Take a while, leave a trace."""
    time.sleep(0.2)
    Path(path).touch()


def finish_when_interrupted(started: str, gate: str, finished: str) -> None:
    """Take one's time to clean up after an interrupt."""
    try:
        Path(started).write_text(str(os.getpid()))
        time.sleep(300)
    finally:
        wait_for_file(gate)
        Path(finished).touch()


def add_up(n: int) -> int:
    """Be busy for a while in Python."""
    total = 0
    for i in range(n):
        total += i
    return total


def ignore_sigterm_and_spin(started: str) -> None:
    """Loop for ever, deaf to SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    spin_python(started)


def catch_exceptions_for_ever(started: str) -> None:
    """Catch every ordinary exception and go on."""
    Path(started).write_text(str(os.getpid()))
    while True:
        try:
            time.sleep(0.01)
        except Exception:
            pass


def wait_for_ever(started: str) -> None:
    """Wait for a lock that nobody releases."""
    Path(started).write_text(str(os.getpid()))
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def spin_deep_inside(started: str) -> None:
    """Be stuck in a function of a function."""

    def innermost() -> None:
        while True:
            pass

    Path(started).write_text(str(os.getpid()))
    innermost()


def return_when_interrupted(started: str) -> str:
    """Turn the interrupt into a value."""
    try:
        Path(started).write_text(str(os.getpid()))
        time.sleep(300)
    except BaseException:
        return "never mind"
    return "slept"


def fail_when_interrupted(started: str) -> None:
    """Fail while cleaning up."""
    try:
        Path(started).write_text(str(os.getpid()))
        time.sleep(300)
    finally:
        1 / 0  # noqa: B018


def count_interrupts(started: str) -> int:
    """Give how often this call was interrupted within a while."""
    n = 0
    end = time.monotonic() + 60.0

    # A call of its own: in 3.13 the jump back of a loop is not covered by the `try` around it.
    def spin_on() -> None:
        Path(started).touch()
        while time.monotonic() < end:
            pass

    while time.monotonic() < end:
        try:
            spin_on()
        except KeyboardInterrupt:
            n += 1
            end = min(end, time.monotonic() + 0.005)
    return n


def append_and_sleep(path: str, line: str, seconds: float) -> None:
    """Leave a trace, take a while."""
    append(path, line)
    time.sleep(seconds)


def same(x: Any) -> Any:
    """Give what came."""
    return x


class Value:
    """Can be referred to weakly."""

    def __init__(self, x: Any) -> None:
        self.x = x


def make_value(x: Any) -> Value:
    """Give something that can be referred to weakly."""
    return Value(x)


def append_pid_and_remember(path: str, key: str, value: Any) -> None:
    """Leave a trace of this process, keep a value."""
    append(path, os.getpid())
    state[key] = value


def remember_all(values: dict[str, Any]) -> None:
    """Keep values in this process."""
    state.update(values)


def put_pid() -> int:
    """Put the process id into the queue that the initializer brought."""
    state["queue"].put(os.getpid())
    return os.getpid()


def try_lock() -> bool:
    """Try to take the lock that the initializer brought."""
    taken: bool = state["lock"].acquire(block=False)
    if taken:
        state["lock"].release()
    return taken


def surroundings() -> tuple[int, dict[str, str], str, list[str], list[str]]:
    """Give process id, environment, directory, path and arguments as they are here."""
    return os.getpid(), dict(os.environ), os.getcwd(), list(sys.path), list(sys.argv)


def import_and_get(module: str, name: str) -> Any:
    """Import a module and give one of its names."""
    import importlib

    return getattr(importlib.import_module(module), name)


def random_after_gate(arrived: str, gate: str) -> tuple[float, float]:
    """Give a random number of Python's and one of numpy's, each worker once."""
    import random

    import numpy.random

    pass_gate(arrived, gate)
    return random.random(), float(numpy.random.random())  # the legacy stream is the point


def session() -> tuple[int, int, int, str]:
    """Give process id, session, group and what standard input is."""
    return os.getpid(), os.getsid(0), os.getpgrp(), os.readlink("/proc/self/fd/0")


def fail_three_deep(text: str) -> NoReturn:
    """Raise in a function of a function."""

    def second() -> NoReturn:
        third(text)

    second()


def third(text: str) -> NoReturn:
    """Raise."""
    raise KeyError(text)  # the place


def fail_with_history(_: object) -> NoReturn:
    """Raise an error with cause, context and notes."""
    try:
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            raise KeyError("middle")  # noqa: B904  # the context is wanted
    except KeyError as error:
        top = ValueError("top", 3)
        top.add_note("first note")
        top.add_note("second note")
        raise top from error


def fail_in_a_group(_: object) -> NoReturn:
    """Raise a group that holds a group; its members were raised."""
    members: list[Exception] = []
    for error in (ValueError("outer"), KeyError("inner")):
        try:
            raise error
        except Exception as raised:
            members.append(raised)
    raise ExceptionGroup("several", [members[0], ExceptionGroup("inside", [members[1]])])


def raise_bad_init_for(_: object) -> NoReturn:
    """Raise an exception that plain pickle cannot rebuild."""
    raise BadInit(1, 2)


def raise_unknown_class() -> NoReturn:
    """Raise an exception of a class that exists in this process only."""
    import types

    module = types.ModuleType("exists_only_in_the_worker")
    sys.modules[module.__name__] = module
    local = type("Local", (LookupError,), {"__module__": module.__name__})
    module.Local = local  # type: ignore[attr-defined]
    raise local("only here")


def fail_with_long_chain(n: int) -> NoReturn:
    """Raise an error with n causes."""
    error = ValueError("first")
    for i in range(n):
        link = ValueError(i)
        link.__cause__ = error
        error = link
    raise error


def recurse() -> Any:
    """Recurse for ever."""
    return recurse()


def fail_in_made_up_source() -> None:
    """Raise in source that is in no file and in this process only."""
    import linecache

    source = "def made_up(x):\n    y = x + 1\n    return y / 0  # in no file\n"
    space: dict[str, Any] = {}
    filename = f"<made up in {os.getpid()}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    exec(compile(source, filename, "exec"), space)
    space["made_up"](1)


def close_all_descriptors() -> None:
    """Close every descriptor, those of the pool as well."""
    os.closerange(0, 4096)


def take_all_signals() -> int:
    """Handle every signal in Python, doing nothing."""
    for number in signal.valid_signals():
        try:
            signal.signal(number, nothing)
        except (OSError, ValueError):
            pass
    return os.getpid()


def take_all_signals_and_wait(started: str) -> None:
    """Handle every signal in Python, wait."""
    take_all_signals()
    append(started, os.getpid())
    while True:
        time.sleep(1)


def block_all_signals_and_wait(started: str) -> None:
    """Let no signal through, wait."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    append(started, os.getpid())
    while True:
        time.sleep(1)


def leave_thread(daemon: bool) -> int:
    """Leave a thread behind that never ends."""
    threading.Thread(target=threading.Event().wait, daemon=daemon).start()
    return os.getpid()


def print_into(path: str) -> None:
    """Print into a file without end."""
    with open(path, "w") as file:
        while True:
            print("x" * 1000, file=file, flush=True)


def limit_memory(nbytes: int) -> int:
    """Let this process take so many bytes more and no more."""
    import resource

    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + nbytes, used + nbytes))
    return os.getpid()


def length_of_new(nbytes: int) -> int:
    """Take memory, give how much."""
    return len(bytearray(nbytes))


def forget_modules() -> None:
    """Forget every imported module."""
    for name in list(sys.modules):
        if name.startswith(("ezflow", "pickle", "tests")):
            del sys.modules[name]


def _pool_of(method: str, n_workers: int = 1) -> Any:
    """Make a pool here."""
    import multiprocessing

    from ezflow import ProcessPoolExecutor

    return ProcessPoolExecutor(n_workers, multiprocessing.get_context(method))


def nested_with(method: str, n: int) -> int:
    """Make a pool in the worker and use it."""
    with _pool_of(method) as pool:
        result: int = pool.submit(square, n).result()
        assert list(pool.map(square, range(3))) == [0, 1, 4]
    return result


def nested_deep(method: str, depth: int) -> int:
    """Make a pool in a worker of a pool in a worker ..., count them."""
    if not depth:
        return 0
    with _pool_of(method) as pool:
        inner: int = pool.submit(nested_deep, method, depth - 1).result()
    return inner + 1


def nested_kept(method: str) -> int:
    """Use a pool that this worker keeps; give its worker."""
    if "pool" not in state:
        state["pool"] = _pool_of(method)
    result: int = state["pool"].submit(os.getpid).result()
    return result


def nested_and_hang(method: str, path: str, end: Any) -> None:
    """Make a pool of two, write all process ids, hang."""
    pool = _pool_of(method, 2)
    append(path, os.getpid())
    for _ in range(2):
        pool.submit(append_then, path, time.sleep, 300)
    while Path(path).read_text().count("\n") < 3:
        time.sleep(0.002)
    if end is not None:
        end(3)
    time.sleep(300)


def nested_into_queue(queue: Any, n: int) -> None:
    """Make a pool here, put its answer into a queue."""
    queue.put(nested(n))


def use_pool(pool: Any) -> Any:
    """Use a pool that came as an argument."""
    return pool.submit(square, 3).result()


def use_pool_of_module() -> Any:
    """Use a pool that this module holds."""
    return state["pool"].submit(square, 3).result()


def digest(data: bytes) -> str:
    """Give the SHA-256 of data."""
    import hashlib

    return hashlib.sha256(data).hexdigest()


# ------------------------------------------------------------------------------------- generators


def yield_around_gate(arrived: str, gate: str) -> Iterator[str]:
    """Yield before and after a gate."""
    yield "before"
    pass_gate(arrived, gate)
    yield "after"


def yield_and_trace(path: str, n: int, closed: str | None = None) -> Iterator[int]:
    """Yield numbers, leave a line for each before it is yielded, and a file when it is closed."""
    try:
        for i in range(n):
            append(path, str(i))
            yield i
    finally:
        if closed is not None:
            Path(closed).touch()


def yield_then_hang(started: str, closed: str) -> Iterator[int]:
    """Yield once, then hang in Python."""
    try:
        yield 1
        Path(started).touch()
        while True:
            time.sleep(0.01)
    finally:
        Path(closed).touch()


def yield_then_fail(n: int) -> Iterator[int]:
    """Yield numbers, then raise."""
    yield from range(n)
    raise ValueError(f"after {n}")


def yield_with(n: int, item: Any) -> Iterator[Any]:
    """Yield numbers, then what `call_or_give` makes of an item, then a word."""
    yield from range(n)
    yield call_or_give(item)
    yield "last"


def yield_around_fork(gate: str, closed: str) -> Iterator[str]:
    """Yield, wait for a gate, fork, let the child go on first."""
    try:
        yield "first"
        wait_for_file(gate)
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
        yield "second"
    finally:
        append(closed, os.getpid())


def yield_a_lock() -> Iterator[object]:
    """Yield what can be pickled, then what cannot."""
    yield 1
    yield threading.Lock()


def yield_then_exit() -> Iterator[int]:
    """Yield once, then end the worker."""
    yield 1
    os._exit(7)


def interrupt_before_it_is_awaited(*_: object) -> Any:
    """Return a coroutine, and have the interrupt strike before anybody awaits it."""
    from ezflow import CallInterrupted
    from ezflow._engine import worker
    from ezflow.graph import inside

    finish = worker.finish

    def strike(*_: object) -> None:
        worker.finish = inside.finish = finish
        raise CallInterrupted("now")

    worker.finish = inside.finish = strike  # type: ignore[assignment]  # the same as far as it is called
    return wait_a_little()


async def wait_a_little(*_: object) -> str:
    import asyncio

    await asyncio.sleep(0)
    return "waited"


complaints: list[str] = []


def note_complaints() -> None:
    """Initialise a worker such that it notes its warnings."""
    import warnings

    warnings.simplefilter("always")
    warnings.showwarning = lambda message, *_: complaints.append(str(message))  # type: ignore[assignment]


def give_complaints() -> list[str]:
    return list(complaints)


async def yield_async(n: int, closed: str | None = None) -> AsyncIterator[int]:
    """Yield numbers from a coroutine."""
    import asyncio

    try:
        for i in range(n):
            await asyncio.sleep(0)
            yield i
    finally:
        if closed is not None:
            Path(closed).touch()
