"""What the workers of `test_field_notes_5` run and receive: importable, tiny."""

from __future__ import annotations

import copyreg
import os
import signal
from pathlib import Path
from typing import Any

from tests.work import wait_for_file

LOCK: Any = None


class Tattle:
    """Leaves a file named after the process in which it is forgotten."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __del__(self) -> None:
        Path(self.folder, str(os.getpid())).touch()

    def method(self) -> int:
        return os.getpid()


def take(_tattle: Tattle) -> int:
    return os.getpid()


def give(folder: str) -> Tattle:
    return Tattle(folder)


class Thing:
    """Can be referred to weakly."""

    def method(self) -> None: ...


def make_thing(_: object) -> Thing:
    return Thing()


def start_and_wait(folder: str, number: int, gate: str) -> int:
    """Leave a trace named `number`, then wait for the gate."""
    Path(folder, str(number)).touch(exist_ok=False)
    wait_for_file(gate)
    return number


def keep_lock(lock: Any, queue: Any) -> None:
    """Initializer: keep a lock, say hello through a queue."""
    global LOCK
    LOCK = lock
    queue.put(os.getpid())


def use_lock() -> bool:
    with LOCK:
        return True


def crash(_data: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Handle:
    """Cannot be pickled but through copyreg."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError("only copyreg knows how")


def reduce_handle(handle: Handle) -> tuple[Any, ...]:
    return Handle, (handle.number + 1,)  # the sum tells how often it travelled by this way


copyreg.pickle(Handle, reduce_handle)  # type: ignore[arg-type]


def same(handle: Handle) -> Handle:
    return handle
