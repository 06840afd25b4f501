"""What workers run in the tests of modifiers, coroutines and `current_call`: importable, tiny."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from ezflow import ProcessPoolExecutor, current_call, task
from tests.work import kill_self, wait_for_file

VARIABLE: contextvars.ContextVar[Any] = contextvars.ContextVar("VARIABLE", default="default")


# ---------------------------------------------------------------- plain functions


def add(a: int, b: int = 0, *, times: int = 1) -> int:
    """Give the sum, some times."""
    return (a + b) * times


def keywords(**given: Any) -> dict[str, Any]:
    """Give back what came by name."""
    return given


def invert(x: int) -> float:
    return 1 / x


def flaky(path: str, n: int) -> int:
    """Fail n times, then give how often it was run."""
    with open(path, "a") as file:
        file.write("x")
    runs = os.path.getsize(path)
    if runs <= n:
        raise OSError(f"run {runs}")
    return runs


def dying(path: str, n: int) -> int:
    """Die n times, then give how often it was run."""
    with open(path, "a") as file:
        file.write("x")
    runs = os.path.getsize(path)
    if runs <= n:
        kill_self()
    return runs


def slow_at_first(path: str) -> int:
    """Hang in the first run."""
    with open(path, "a") as file:
        file.write("x")
    runs = os.path.getsize(path)
    if runs == 1:
        time.sleep(300)
    return runs


def leave_order(path: str, number: int) -> int:
    """Write down that it is run."""
    with open(path, "a") as file:
        file.write(f"{number}\n")
    return number


class Adder:
    """Has methods, one a task."""

    def __init__(self, n: int) -> None:
        self.n = n

    def add(self, x: int) -> int:
        return self.n + x

    @task
    def add_task(self, x: int) -> int:
        return self.n + x


@task
def doubled(x: int) -> int:
    """Give the double."""
    return 2 * x


@functools.partial(lambda fn: task(fn).timeout(0.2))
def limited(seconds: float) -> float:
    """Sleep; has a limit of its own."""
    time.sleep(seconds)
    return seconds


class Recording(ProcessPoolExecutor):
    """Notes what is submitted, in a dict it shares with its views."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        self.__dict__.setdefault("seen", []).append(args)
        return super().submit(fn, *args, **kwargs)


class Slotted(ProcessPoolExecutor):
    """Has a slot and a property."""

    __slots__ = ("label",)

    @property
    def shout(self) -> str:
        return str(self.label).upper()


# ---------------------------------------------------------------- what a limit has to end


def say(started: str) -> None:
    """Say who runs, in one step."""
    tmp = Path(f"{started}.tmp")
    tmp.write_text(str(os.getpid()))
    tmp.rename(started)


def sleep_long(started: str) -> None:
    say(started)
    time.sleep(300)


def loop_in_python(started: str) -> None:
    say(started)
    while True:
        pass


def loop_in_c(started: str) -> None:
    say(started)
    sum(range(10**12))


def swallow_exceptions(started: str) -> None:
    say(started)
    while True:
        try:
            time.sleep(0.01)
        except Exception:
            pass


def ignore_sigterm(started: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say(started)
    while True:
        try:
            time.sleep(300)
        except BaseException:
            pass


def wait_for_grandchild(started: str) -> None:
    """Wait for a process that waits for a process."""
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(300)'])"
    with subprocess.Popen([sys.executable, "-c", program]) as child:
        say(started)
        while True:
            try:
                child.wait()
            except BaseException:
                pass


STUBBORN = [sleep_long, loop_in_python, loop_in_c, swallow_exceptions, ignore_sigterm, wait_for_grandchild]


# ---------------------------------------------------------------- coroutines and generators


async def double(x: int) -> int:
    await asyncio.sleep(0)
    return 2 * x


async def fail_later(text: str) -> None:
    await asyncio.sleep(0)
    raise ValueError(text)


def logged(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate in a way that hides that it is a coroutine function."""

    @functools.wraps(fn)
    def wrapper(*args: Any) -> Any:
        return fn(*args)

    return wrapper


@logged
async def decorated(x: int) -> int:
    return await double(x)


class Async:
    """Has coroutine methods, and is one itself."""

    async def method(self, x: int) -> int:
        return await double(x)

    @classmethod
    async def of_class(cls, x: int) -> int:
        return await double(x)

    async def __call__(self, x: int) -> int:
        return await double(x)


async def loop_id() -> tuple[int, int]:
    """Give the worker and the number of its loop."""
    return os.getpid(), id(asyncio.get_running_loop())


async def get_variable_later() -> Any:
    await asyncio.sleep(0)
    return VARIABLE.get()


def get_variable() -> Any:
    return VARIABLE.get()


def set_variable(value: Any) -> Any:
    VARIABLE.set(value)
    return VARIABLE.get()


async def set_variable_later(value: Any) -> Any:
    VARIABLE.set(value)
    await asyncio.sleep(0)
    return VARIABLE.get()


async def tell_cancelled(started: str, told: str) -> None:
    """Wait, and write down how it ends."""
    say(started)
    try:
        await asyncio.sleep(300)
    except BaseException as error:
        Path(told).write_text(type(error).__name__)
        raise


async def block_loop(started: str) -> None:
    say(started)
    while True:
        try:
            time.sleep(300)
        except BaseException:
            pass


async def refuse_to_end(started: str) -> None:
    say(started)
    while True:
        try:
            await asyncio.sleep(300)
        except asyncio.CancelledError:
            pass


async def leave_task_behind(told: str) -> int:
    """End before a task of its own does."""

    async def linger() -> None:
        try:
            await asyncio.sleep(300)
        except BaseException as error:
            Path(told).write_text(type(error).__name__)
            raise

    task = asyncio.get_running_loop().create_task(linger())
    Async.left = task  # type: ignore[attr-defined]  # a task that nobody refers to may vanish
    await asyncio.sleep(0)
    return len(asyncio.all_tasks())


async def n_tasks() -> int:
    return len(asyncio.all_tasks())


async def count_up(n: int) -> AsyncIterator[int]:
    for i in range(n):
        await asyncio.sleep(0)
        yield i


def count(n: int) -> Iterator[int]:
    yield from range(n)


def count_and_fail(n: int) -> Iterator[int]:
    yield from range(n)
    raise ValueError("after the last")


# ---------------------------------------------------------------- current_call


def about(_: object = None) -> tuple[Any, ...]:
    """Tell what the call knows of itself."""
    call = current_call()
    left = None if call.deadline is None else call.deadline - time.monotonic()
    return call.index, call.attempt, call.name, left


def about_in_thread() -> tuple[Any, ...]:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(about()))
    thread.start()
    thread.join()
    return tuple(found[0])


def about_at_attempt(n: int) -> tuple[Any, ...]:
    if current_call().attempt < n:
        raise ValueError(current_call().attempt)
    return about()


async def about_later() -> tuple[Any, ...]:
    await asyncio.sleep(0)
    return about()


def report_and_wait(words: list[Any], gate: str) -> str:
    for word in words:
        current_call().report(word)
    return wait_for_file(gate)


def report_from_thread(word: Any, gate: str) -> str:
    call = current_call()
    thread = threading.Thread(target=call.report, args=(word,))
    thread.start()
    thread.join()
    return wait_for_file(gate)


def report_too_late() -> str:
    """Report from a thread after the end of the call that it belongs to."""
    LATE.append(current_call())
    return "done"


LATE: list[Any] = []


def use_late_call() -> str:
    try:
        LATE.pop().report(1)
    except RuntimeError as error:
        return str(error)
    return "nothing was raised"


def report_from_fork() -> tuple[int, int]:
    """Give what a forked child makes of it."""
    pid = os.fork()
    if not pid:
        try:
            current_call().report(1)
        except RuntimeError:
            os._exit(7)
        os._exit(8)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), current_call().attempt


def cancelled_is_seen(started: str, seen: str) -> None:
    """Watch for the end in a thread, and refuse to end."""
    call = current_call()
    assert not call.cancelled()

    def watch() -> None:
        while not call.cancelled():
            time.sleep(0.001)
        Path(seen).write_text("cancelled")

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        say(started)
        time.sleep(300)
    finally:
        thread.join()


def initializer_that_asks(path: str) -> None:
    try:
        current_call()
    except RuntimeError as error:
        Path(path).write_text(str(error))
