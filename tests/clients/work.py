"""What the clients' workers run: importable, tiny."""

from __future__ import annotations

import os
import time
from typing import Any


def square(x: Any) -> Any:
    return x * x


def increment(x: int) -> int:
    return x + 1


def total(xs: list[int]) -> int:
    return sum(xs)


def fail(x: object) -> None:
    raise ValueError(f"no {x}")


def log_gauss(theta: Any) -> float:
    return -0.5 * float((theta**2).sum())


def sphere(x: Any) -> float:
    return float((x**2).sum())


def peak(x: float) -> float:
    return x + 0.01 / (0.0001 + x * x)


def pid_after(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def count_ones(individual: list[int]) -> tuple[int]:
    return (sum(individual),)
