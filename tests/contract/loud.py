"""What workers print and log in tests: importable, tiny."""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

from tests.work import pass_gate, wait_for_file


def say(text: str, end: str = "\n") -> None:
    print(text, end=end)


def say_both(text: str) -> None:
    print(text)
    print(text, file=sys.stderr)


def say_often(name: str, n_lines: int, length: int) -> None:
    for number in range(n_lines):
        print(f"<{name} {number} ".ljust(length, name) + ">")


def say_much(nbytes: int) -> None:
    block = ("x" * 999 + "\n") * 100
    for _ in range(nbytes // len(block)):
        sys.stdout.write(block)


def say_low(data: bytes) -> None:
    os.write(1, data)


def say_in_c(text: bytes) -> None:
    ctypes.CDLL(None).puts(text)


def say_in_program(text: str) -> None:
    subprocess.run([sys.executable, "-c", f"print({text!r})"], check=True)


def say_in_thread(text: str) -> None:
    thread = threading.Thread(target=print, args=(text,))
    thread.start()
    thread.join()


def say_and_end(text: str, number: int) -> None:
    """Print whole lines, then end by a signal, or by an exit for 0."""
    print(text)
    os.write(1, b"unfinished")
    if number:
        os.kill(os.getpid(), number)
    os._exit(3)


def say_and_fail(text: str) -> None:
    print(text)
    raise ValueError(text)


def say_then(text: str, fn: Any, *args: Any) -> Any:
    print(text)
    return fn(*args)


def say_and_yield(n: int) -> Iterator[int]:
    """Print a line before each number, and one at the end."""
    for number in range(n):
        print(f"before {number};")
        yield number
    print("the end")


def say_and_report(text: str, path: str) -> None:
    """Print, report, wait."""
    from ezflow import current_call

    print(text)
    current_call().report(text)
    wait_for_file(path)


def say_and_wait(text: str, path: str) -> None:
    print(text)
    wait_for_file(path)


def say_if(pid: int, text: str, folder: str) -> int:
    """Wait at this worker's own gate, then speak if it is that worker."""
    here = os.getpid()
    pass_gate(f"{folder}/{here}-arrived", f"{folder}/{here}-open")
    if here == pid:
        print(text)
    return here


def say_without_end(path: str) -> None:
    """Print for ever, after saying so."""
    open(path, "w").close()
    while True:
        print("again and again " * 100)


def close_stdout() -> None:
    os.close(1)


def nothing(*_: object) -> int:
    return os.getpid()


def targets() -> tuple[str, str]:
    """Give what the descriptors for output are here."""
    return os.readlink("/proc/self/fd/1"), os.readlink("/proc/self/fd/2")


def log(name: str, level: int, text: str, *args: Any, **options: Any) -> None:
    logging.getLogger(name).log(level, text, *args, **options)


def log_lock() -> None:
    lock = threading.Lock()
    logging.getLogger("held").warning("a lock: %s", lock, extra={"lock": lock, "number": 7})


def log_error() -> None:
    try:
        raise KeyError("gone")
    except KeyError:
        logging.getLogger("errors").exception("it failed")


def log_often(n: int) -> None:
    for number in range(n):
        logging.getLogger("often").warning("%d", number)


def log_in_signal_handler(n: int) -> None:
    """Log from a handler that strikes while the main thread logs."""
    import signal

    signal.signal(signal.SIGALRM, lambda *_: logging.getLogger("handler").warning("struck"))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        log_often(n)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def log_after_fork() -> int:
    """Log in a process that the call forks; give how it ended."""
    pid = os.fork()
    if pid == 0:
        logging.getLogger("forked").warning("from a forked process")
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def levels(*names: str) -> list[int]:
    return [logging.getLogger(name).getEffectiveLevel() for name in names]


def handlers() -> list[str]:
    """Give the kinds of the root logger's handlers here."""
    return [type(handler).__name__ for handler in logging.getLogger().handlers]


def initialise(text: str) -> None:
    print(text)
    logging.getLogger("start").warning(text)
