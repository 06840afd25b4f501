"""Trivial stages, and stages on images."""

from __future__ import annotations

from typing import Any


def inc(x: int) -> int:
    return x + 1


def double(x: int) -> int:
    return 2 * x


def dec(x: int) -> int:
    return x - 1


def most(x: int) -> bool:
    return x % 10 != 0


def image(i: int, nbytes: int) -> Any:
    import numpy as np

    return np.full(nbytes, i % 250, np.uint8)


def brighter(image: Any) -> Any:
    return image + 1


def mean(image: Any) -> float:
    return float(image[::4096].mean())
