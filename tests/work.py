"""Functions that workers run in tests: importable, tiny."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn


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
    Path(started).write_text(str(os.getpid()))
    try:
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
