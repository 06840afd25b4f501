"""Nanoseconds to pack one call, against ``pickle.dumps`` and ``cloudpickle.dumps`` of the same call.

Run it as a program; the numbers are medians over rounds in which the three take turns:

    python tests/bench/micro/codec.py
"""

from __future__ import annotations

import json
import pickle
import statistics
import sys
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import cloudpickle

from ezflow._wire.codec import Codec

ROUNDS = 15
OFFSET = 3
SETTINGS: dict[str, int] = {}


@dataclass
class Point:
    """A class of ``__main__``."""

    x: int
    y: int = 0


def named(x: int) -> int:
    """Add a global to a number."""
    return x + OFFSET


def with_settings(x: int) -> int:
    """Use a global that can change in place."""
    return x + len(SETTINGS)


def closure(step: int) -> Any:
    """Return a function that remembers a number."""

    def inner(x: int) -> int:
        return x + step

    return inner


def big_closure() -> Any:
    """Return a function that remembers a list."""
    steps = [1, 2, 3]
    return lambda x: x + steps[0]


CALLS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "importable function": (json.dumps, (5,)),
    "builtin function": (len, ((),)),
    "__main__ function": (named, (5,)),
    "__main__ function, mutable global": (with_settings, (5,)),
    "__main__ lambda": (lambda x: x, (5,)),
    "closure over a number": (closure(4), (5,)),
    "closure over a list": (big_closure(), (5,)),
    "__main__ dataclass argument": (json.dumps, (Point(1),)),
    "__main__ dataclass and lambda": (lambda p: p, (Point(1),)),
}


def once(pack: Any, fn: Any, args: Any, n: int) -> float:
    """Time `n` packings, in ns each."""
    start = perf_counter_ns()
    for _ in range(n):
        pack(fn, args)
    return (perf_counter_ns() - start) / n


def main() -> None:
    """Print the table."""
    codec = Codec()
    ways: dict[str, tuple[Any, int]] = {
        "ezflow": (lambda fn, args: codec.pack_call(fn, args, {}), 3000),
        "pickle": (lambda fn, args: pickle.dumps((fn, args, {}), 5), 3000),
        "cloudpickle": (lambda fn, args: cloudpickle.dumps((fn, args, {}), 5), 200),
    }
    print(f"Python {sys.version.split()[0]}, ns per call, median of {ROUNDS} rounds")
    print(f"{'':36}{'ezflow':>10}{'pickle':>10}{'cloudpickle':>13}")
    for label, (fn, args) in CALLS.items():
        found: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, (pack, n) in ways.items():
                try:
                    found[way].append(once(pack, fn, args, n))
                except Exception:  # plain pickle refuses lambdas
                    found[way].append(float("nan"))
        row = [statistics.median(found[way]) for way in ways]
        print(f"{label:36}{row[0]:10.0f}{row[1]:10.0f}{row[2]:13.0f}")


if __name__ == "__main__":
    main()
