"""What worker processes run in the tests of `ezflow._engine.child`, and the parent's side of the conversation."""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

PATIENCE = 60.0
"""Seconds after which a wait has failed; generous, because machines are slow at times."""


def serve(ends: Any, config: bytes, inherited: object) -> None:
    """Evaluate the expressions that come, send back their values."""
    names = {**globals(), "ends": ends, "config": config, "inherited": inherited}
    with ends.sock.makefile("rwb") as stream:
        while True:
            try:
                code = pickle.load(stream)
            except EOFError:
                return
            try:
                value = eval(code, names)
            except SystemExit:
                raise
            except BaseException as error:
                value = error
            pickle.dump(value, stream)
            stream.flush()


class Remote:
    """A conversation with one worker that runs `serve`."""

    def __init__(self, child: Any) -> None:
        self.child = child
        self._sock = child.sock.dup()
        self._sock.settimeout(PATIENCE)
        self._stream = self._sock.makefile("rwb")

    def tell(self, code: str) -> None:
        """Have an expression evaluated."""
        pickle.dump(code, self._stream)
        self._stream.flush()

    def hear(self) -> Any:
        """Get the next value."""
        value = pickle.load(self._stream)
        if isinstance(value, BaseException):
            raise value
        return value

    def ask(self, code: str) -> Any:
        """Have an expression evaluated and get its value."""
        self.tell(code)
        return self.hear()

    def hang_up(self) -> None:
        """Close the conversation; with the child's own socket closed the worker ends."""
        self._stream.close()
        self._sock.close()

    def end(self) -> int | None:
        """End the worker in good manners and give its exit code."""
        self._sock.shutdown(socket.SHUT_RDWR)
        self.hang_up()
        wait_dead(self.child)
        code: int | None = self.child.exit_code()
        self.child.close()
        return code


def wait_dead(child: Any, seconds: float = PATIENCE) -> None:
    """Wait for the end of a worker's process."""
    ready, _, _ = select.select([child.sentinel], [], [], seconds)
    assert ready, f"{child} still lives"


def until(condition: Any, seconds: float = PATIENCE) -> bool:
    """Wait until a condition holds; say whether it did."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def is_alive(pid: int) -> bool:
    """Tell whether a process runs, zombies excluded."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def fork_sleeper() -> int:
    """Fork a child that sleeps; give its pid."""
    pid = os.fork()
    if pid == 0:
        time.sleep(1000)
        os._exit(0)
    return pid


def run_sleeper(**options: Any) -> int:
    """Start a program that sleeps; give its pid."""
    return subprocess.Popen(["sleep", "1000"], **options).pid


def burn_python() -> None:
    """Loop in Python."""
    while True:
        pass


def burn_c() -> int:
    """Loop in C with the interpreter lock held."""
    return sum(range(10**12))


def stop_self() -> None:
    """Stop until somebody sends SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)


def block_signals_and_sleep() -> None:
    """Sleep deaf."""
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    time.sleep(1000)


def nested(method: str) -> Any:
    """Start a worker inside this worker."""
    import multiprocessing

    from ezflow._engine.child import Starter

    starter = Starter(multiprocessing.get_context(method), serve, bytes, "inner")
    starter.prepare()
    remote = Remote(starter.start())
    facts = remote.ask("os.getpid(), __import__('multiprocessing').parent_process().pid, inherited")
    code = remote.end()
    starter.close()
    return facts, code


def read_stdin() -> str:
    """Read everything from standard input, by number and by name."""
    return os.read(0, 1).decode() + (sys.stdin.read() if sys.stdin is not None else "")


def threads() -> int:
    """Give the number of this process's threads."""
    return threading.active_count()


def in_daemonic_process(method: str, answer: Any) -> None:
    """Start a worker in a daemonic process; send what happened."""
    try:
        answer.put(nested(method))
    except BaseException as error:
        answer.put(repr(error))
