"""Things of ctypes in the main program: most have no name, and a forked worker inherits the rest."""

from __future__ import annotations

import sys

import pytest

from tests.unit.codec_harness import run_main

METHODS = ["spawn", "fork"]

HEAD = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.strlen.argtypes = [ctypes.c_char_p]
libc.strlen.restype = ctypes.c_size_t
strlen = libc.strlen
Three = ctypes.c_int * 3
array = Three(1, 2, 3)
number = ctypes.c_int(5)
prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
modules = sys.modules
class Point(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("x", ctypes.c_char), ("y", ctypes.c_double)]
    made = []
    def total(self):
        return self.x[0] + self.y
class Line(ctypes.Structure):
    _fields_ = [("ends", Point * 2), ("n", ctypes.c_int, 4)]
class Longer(Point):
    _fields_ = [("z", ctypes.c_int)]
class Node(ctypes.Structure):
    pass
Node._fields_ = [("next", ctypes.POINTER(Node)), ("value", ctypes.c_int)]
class Either(ctypes.Union):
    _fields_ = [("whole", ctypes.c_int), ("bytes", ctypes.c_ubyte * 4)]
class Big(ctypes.BigEndianStructure):
    _fields_ = [("n", ctypes.c_uint16)]
class Handle(ctypes.c_void_p):
    pass
"""

SIZE_OF_LINE = 24 if sys.version_info < (3, 14) else 20  # there ctypes lays out bit fields as GCC does

CASES = {
    "library": ("lambda: libc.getpid() > 0 and ctypes.get_errno() == 0", True),
    "types of a function": (
        "lambda: (libc.strlen(b'four'), libc.strlen.argtypes == [ctypes.c_char_p])",
        (4, True),
    ),
    "function": ("lambda: strlen(b'four')", 4),
    "array": ("lambda: (list(array), type(array) is Three)", ([1, 2, 3], True)),
    "number": ("lambda: number.value", 5),
    "function type": ("lambda: prototype(abs)(-4)", 4),
    "sys.modules": ("lambda: modules is sys.modules", True),
    "structure": ("lambda: (ctypes.sizeof(Point), Point(b'a', 2.0).total())", (9, 99.0)),
    "structures inside": (
        "lambda: (ctypes.sizeof(Line), Line(n=3).n, Line().ends[1].y)",
        (SIZE_OF_LINE, 3, 0.0),
    ),
    "subclass": ("lambda: (ctypes.sizeof(Longer), Longer(b'a', 1.0, 7).z)", (13, 7)),
    "points to itself": ("lambda: Node(ctypes.pointer(Node(None, 4)), 5).next.contents.value", 4),
    "union": ("lambda: list(Either(258).bytes)[:2]", [2, 1]),
    "the other endian": ("lambda: bytes(Big(258))", b"\x01\x02"),
    "simple": ("lambda: Handle(3).value", 3),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", CASES)
def test_a_worker_has(method: str, case: str) -> None:
    call, value = CASES[case]
    run_main(
        f"""
        fn = {call}
        assert worker(fn) == fn(), worker(fn)
        assert fn() == {value!r}, fn()
        Point.made.append(1)
        assert worker(fn) == fn(), "and when a class is sent again"
        assert worker(lambda: Point.made) == [1]
        """,
        method,
        head=HEAD,
    )


@pytest.mark.parametrize("method", METHODS)
def test_instances_travel_as_arguments_and_results(method: str) -> None:
    run_main(
        """
        def swap(point):
            return Point(b"c", point.total())
        assert worker(swap, Point(b"a", 1.0)).total() == 99 + 98
        """,
        method,
        head=HEAD,
    )


UNREADABLE = """
def broken():
    raise ValueError("cannot be rebuilt")
class Odd:
    def __reduce__(self):
        return broken, ()
odd = Odd()
odd.n = 3
def task():
    return odd.n
"""


def test_a_forked_worker_keeps_what_it_inherited_where_the_copy_cannot_be_rebuilt() -> None:
    run_main("assert worker(task) == 3; assert worker(task) == 3", "fork", head=UNREADABLE)


def test_another_worker_names_the_global_that_cannot_be_rebuilt() -> None:
    run_main(
        """
        try:
            worker(task)
        except Failure as failure:
            assert failure.stage == "unpack" and failure.kind == "ValueError"
            assert "while rebuilding the global 'odd'" in str(failure), failure
        else:
            assert False
        """,
        head=UNREADABLE,
    )
