"""One program, however it is run: functions and classes of `__main__` work, and `__main__` runs once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.life.program import WAYS, has_terminals, start_as

PROGRAM = """
import dataclasses
import enum
import functools
import multiprocessing
import os
import typing

from ezflow import ProcessPoolExecutor

if __name__ == "__main__":
    with open(os.environ["COUNTER"], "a") as file:
        file.write("ran\\n")

BASE = 100
flag = None


def adder(n):
    def add(x):
        return x + n + BASE
    return add


def twice(fn):
    @functools.wraps(fn)
    def wrapper(*args):
        return 2 * fn(*args)
    return wrapper


@twice
def decorated(x):
    return x + 1


def power(base, exponent):
    return base**exponent


class Account:
    rate = 2

    def __init__(self, n):
        self.n = n

    def worth(self, x):
        return self.n + x * self.rate

    def copy(self):
        return Account(self.n)

    @classmethod
    def empty(cls):
        return cls(0)


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: int = 0


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Pair(typing.NamedTuple):
    a: int
    b: int


def swapped(pair):
    return Pair(pair.b, pair.a)


def mirrored(point):
    return Point(point.y, point.x)


def other(colour):
    return Colour.BLUE if colour is Colour.RED else Colour.RED


def set_flag(value):
    global flag
    flag = value


def get_flag():
    return flag


def main():
    class Local:
        def __init__(self, x):
            self.x = x
        def shown(self):
            return f"local {self.x}"
    context = multiprocessing.get_context(os.environ["METHOD"])
    with ProcessPoolExecutor(2, context, initializer=set_flag, initargs=("set",)) as pool:
        assert pool.submit(lambda x: x + BASE, 1).result() == 101
        assert pool.submit(adder(10), 1).result() == 111
        assert pool.submit(decorated, 1).result() == 4
        assert pool.submit(functools.partial(power, 2), 5).result() == 32
        assert pool.submit(Account(1).worth, 5).result() == 11
        assert pool.submit(Account.empty).result().n == 0
        assert type(pool.submit(Account(1).copy).result()) is Account
        assert pool.submit(Local(1).shown).result() == "local 1"
        assert pool.submit(lambda local: local.shown(), Local(2)).result() == "local 2"
        assert pool.submit(mirrored, Point(1, 2)).result() == Point(2, 1)
        assert pool.submit(other, Colour.RED).result() is Colour.BLUE
        assert pool.submit(swapped, Pair(1, 2)).result() == Pair(2, 1)
        assert pool.submit(get_flag).result() == "set"
        assert list(pool.map(adder(1), range(3))) == [101, 102, 103]
    assert flag is None
    print("all is well")
"""


@pytest.mark.parametrize("way", WAYS)
def test_program_works_and_its_main_module_runs_once(way: str, start_method: str, tmp_path: Path) -> None:
    if way == "interactive" and not has_terminals():
        pytest.skip("no pseudo-terminals here")
    counter = tmp_path / "counter"
    env = {"COUNTER": str(counter), "METHOD": start_method}

    with start_as(way, PROGRAM, tmp_path, env=env) as program:
        outcome = program.finish()

    assert any(line.endswith("all is well") for line in outcome.lines), outcome
    outcome.check()
    runs = counter.read_text().count("ran") if counter.exists() else 0
    is_main_itself = way not in ("console script", "test file", "test file outside sys.path")
    assert runs == is_main_itself, outcome
