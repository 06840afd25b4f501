"""Functions and stages for flows, which workers import."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ezflow.flow.program import DROP
from ezflow.flow.stage import Stage


def inc(x: int) -> int:
    return x + 1


def double(x: int) -> int:
    return 2 * x


def negate(x: Any) -> Any:
    return -x


def shown(x: Any) -> str:
    return f"<{x}>"


def listed(x: Any) -> Any:
    return [x]


def two(x: Any) -> Iterator[Any]:
    yield x
    yield ("again", x)


def some(x: Any) -> Iterator[Any]:
    """Yield 0 to 3 outputs."""
    for i in range(len(str(x)) % 4):
        yield (i, x)


def odd(x: Any) -> bool:
    return bool(sum(map(ord, str(x))) % 2)


def drop_some(x: Any) -> Any:
    return DROP if sum(map(ord, str(x))) % 3 == 0 else x


def nothing(_: Any) -> None:
    return None


async def soon(x: Any) -> Any:
    return ("soon", x)


def third(x: Any) -> int:
    return sum(map(ord, str(x))) % 3


def picky(x: Any) -> Any:
    """Fail for some."""
    if sum(map(ord, str(x))) % 5 == 0:
        raise ValueError(f"picky about {x}")
    return x


def pid(_: Any) -> int:
    return os.getpid()


def die_at_3(x: int) -> int:
    if x == 3:
        os._exit(7)
    return x


def unsendable_at_3(x: int) -> Any:
    return (i for i in ()) if x < 0 else (lambda: x) if x == 3 else x


def sleep_a_little(x: Any) -> Any:
    time.sleep(0.01)
    return x


def hang_at_3(x: int) -> int:
    if x == 3:
        time.sleep(300)
    return x


class Counting(Stage):
    """Counts the items it has seen, and writes down its life."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def _note(self, word: str) -> None:
        with (Path(self.folder) / f"{os.getpid()}").open("a") as file:
            file.write(word + "\n")

    def setup(self) -> None:
        self.n = 0
        self._note("setup")

    def do(self, item: Any) -> Any:
        self.n += 1
        return item, self.n

    def teardown(self) -> None:
        self._note(f"teardown {self.n}")


class BadSetup(Stage):
    def setup(self) -> None:
        raise OSError("no such model")


class CountingUntil3(Counting):
    def do(self, item: Any) -> Any:
        if item == 3:
            os._exit(3)
        return super().do(item)


class BadTeardown(Stage):
    def teardown(self) -> None:
        raise OSError("cannot clean up")
