"""What the workers run: importable, and as good as nothing."""

from __future__ import annotations

import time


def same(x: object) -> object:
    return x


def nap(seconds: float) -> None:
    time.sleep(seconds)


def inc(x: int) -> int:
    return x + 1


def double(x: int) -> int:
    return 2 * x


def add(x: int, y: int) -> int:
    return x + y


def multiply(x: int, y: int) -> int:
    return x * y
