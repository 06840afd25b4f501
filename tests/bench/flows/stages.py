"""Trivial stages."""

from __future__ import annotations


def inc(x: int) -> int:
    return x + 1


def double(x: int) -> int:
    return 2 * x


def dec(x: int) -> int:
    return x - 1


def most(x: int) -> bool:
    return x % 10 != 0
