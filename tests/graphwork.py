"""Functions for graphs, which workers import."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from pathlib import Path
from typing import Any


def shown(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    return [name, list(args), dict(kwargs)]


def a(*args: Any, **kwargs: Any) -> Any:
    return shown("a", args, kwargs)


def b(*args: Any, **kwargs: Any) -> Any:
    return shown("b", args, kwargs)


def two(*args: Any, **kwargs: Any) -> Any:
    """Give what a tuple of two branches takes."""
    return ("two", shown("two", args, kwargs))


def three(*args: Any, **kwargs: Any) -> Any:
    return ["three", len(args), shown("three", args, kwargs)]


def mapping(*args: Any, **kwargs: Any) -> Any:
    return {"x": len(args), "y": sorted(kwargs)}


async def soon(*args: Any, **kwargs: Any) -> Any:
    return shown("soon", args, kwargs)


def items(*args: Any, **kwargs: Any) -> Any:
    """Yield."""
    yield "items"
    yield len(args) + len(kwargs)


def bad(*args: Any, **kwargs: Any) -> Any:
    raise ValueError("bad")


def worse(*args: Any, **kwargs: Any) -> Any:
    raise KeyError("worse")


def say(error: BaseException) -> Any:
    """Handle."""
    return f"handled {type(error).__name__}"


# ---------------------------------------------------------------- with parameters that are named


def load(path: str) -> list[float]:
    return [1.0, 2.0, float(len(path))]


def mean(table: list[float]) -> float:
    return sum(table) / len(table)


def std(table: list[float]) -> float:
    return max(table) - min(table)


def report(mean: float, std: float) -> str:
    return f"mean {mean:g}, std {std:g}"


def inc(x: int) -> int:
    return x + 1


def double(x: int) -> int:
    return 2 * x


def add(x: int, y: int) -> int:
    return x + y


def take_all(**values: Any) -> dict[str, Any]:
    return values


def numbers(n: int) -> list[int]:
    return list(range(n))


class Counter:
    """Callable, with a method, and itself a stage."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __call__(self, x: int) -> int:
        return self.n + x

    def plus(self, x: int) -> int:
        return self.n + x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counter) and other.n == self.n

    __hash__ = None  # type: ignore[assignment]


# ---------------------------------------------------------------- of which something is wrong


class Poison(Exception):
    """Cannot be rebuilt."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__("poison")


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(*_: Any, **__: Any) -> None:
    os._exit(3)


def hang(*_: Any, **__: Any) -> None:
    time.sleep(300)


def unsendable(*_: Any, **__: Any) -> Any:
    return threading.Lock()


def poisonous(*_: Any, **__: Any) -> Any:
    raise Poison("a", "b")


def raising(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError("raised")


def fail_twice(path: str) -> int:
    """Fail in the first two runs."""
    with open(path, "a") as file:
        file.write("x")
    n = os.path.getsize(path)
    if n < 3:
        raise ConnectionError(n)
    return n


def pid(*_: Any, **__: Any) -> int:
    return os.getpid()


def thread_name(*_: Any, **__: Any) -> str:
    return threading.current_thread().name


def touch(path: str) -> str:
    Path(path).touch()
    return path


def touch_when(folder: str, name: str, awaited: str = "") -> str:
    """Leave a file, after another one is there."""
    end = time.monotonic() + 60
    while awaited and not (Path(folder) / awaited).exists():
        if time.monotonic() > end:
            raise TimeoutError(awaited)
        time.sleep(0.005)
    (Path(folder) / name).touch()
    return name


# ---------------------------------------------------------------- large values


def big(n: int) -> bytes:
    return b"x" * n


def big_buffer(n: int) -> Any:
    """Give what travels beside its message."""
    return pickle.PickleBuffer(bytearray(b"x") * n)


def longer(data: Any) -> Any:
    return bytes(data) + b"x"


def size(*data: Any) -> int:
    return sum(map(len, data))


def size_of_all(**data: Any) -> int:
    return sum(map(len, data.values()))


def with_code(n: int) -> Any:
    """Give something large with a function that only this process has."""
    return lambda: n, b"x" * n


def call_first(pair: Any) -> Any:
    return pair[0](), len(pair[1])


def large_pair(n: int) -> tuple[bytes, bytes]:
    return b"x" * n, b"y" * n


def take_late(x: Any, y: Any) -> Any:
    return x, y


def after(path: str) -> None:
    """Wait until there is a file."""
    touch_when(str(Path(path).parent), Path(path).name + ".seen", Path(path).name)


class LargeError(Exception):
    """Holds much."""


def raise_large(n: int) -> None:
    raise LargeError(b"x" * n)


# ---------------------------------------------------------------- faults

FAULTY = 100
"""Inputs from here on bring a fault about."""


def or_fault(normal: Any, fault: Any, *args: Any, **kwargs: Any) -> Any:
    """Do as a stage does, but with some inputs as a fault does."""
    largest = max([*args, *kwargs.values()])
    return fault() if largest >= FAULTY else normal(*args, **kwargs)


class Unpackable:
    """Cannot be rebuilt."""

    def __reduce__(self) -> Any:
        return look_inside, (None,)


def look_inside(value: Any) -> Any:
    return value.content


def unpackable(*_: Any, **__: Any) -> Any:
    return Unpackable()


class Unsent(Exception):
    """Cannot be sent."""

    def __init__(self) -> None:
        super().__init__("unsent")
        self.lock = threading.Lock()


def raise_unsent(*_: Any, **__: Any) -> Any:
    raise Unsent


def exits(*_: Any, **__: Any) -> Any:
    raise SystemExit(3)
