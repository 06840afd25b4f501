"""A program full of the things people write at the top level of a main program; each must work in a worker.

Run by test_codec_zoo.py, as a main program.
"""

# mypy: ignore-errors
# ruff: noqa: E731, PLW1641, RUF012, UP007, UP028

from __future__ import annotations

import abc
import asyncio
import collections
import contextlib
import dataclasses
import datetime
import decimal
import enum
import functools
import itertools
import logging
import operator
import os.path as osp
import pathlib
import random
import re
import sys
import types
import typing
import weakref
from dataclasses import KW_ONLY, InitVar, dataclass, field
from functools import singledispatch, total_ordering, wraps
from typing import Any

from tests.unit.codec_harness import Worker

CASES: dict[str, tuple[Any, Any]] = {}


def case(expected):

    def deco(f):
        CASES[f.__name__] = (f, expected)
        return f

    return deco


try:
    import attrs

    @attrs.define
    class A:
        x: int
        y: list = attrs.field(factory=list)

    @attrs.frozen
    class AF:
        x: int

    @case((A(1), AF(2), True))
    def use_attrs():
        return (A(1), AF(2), A(1) == A(1))
except ImportError:
    pass


@singledispatch
def sd(x):
    return "obj"


@sd.register
def _(x: int):
    return "int"


@sd.register(str)
def _s(x):
    return "str"


@case(["obj", "int", "str"])
def use_sd():
    return [sd(1.0), sd(1), sd("a")]


@total_ordering
class TO:
    def __init__(s, v):
        s.v = v

    def __eq__(s, o):
        return s.v == o.v

    def __lt__(s, o):
        return s.v < o.v


@case(True)
def use_to():
    return TO(2) >= TO(1)


@contextlib.contextmanager
def cm():
    yield 5


@case(5)
def use_cm():
    with cm() as x:
        return x


def gen(n):
    for i in range(n):
        yield i


@case([0, 1, 2])
def use_gen():
    return list(gen(3))


async def co():
    return 7


@case(7)
def use_co():
    return asyncio.run(co())


class Desc:
    def __set_name__(s, o, n):
        s.n = n

    def __get__(s, o, t):
        return (s.n, o is None)


class UD:
    d = Desc()


@case(("d", False))
def use_desc():
    return UD().d


@dataclass
class DB:
    a: int
    b: str = "b"
    _: KW_ONLY
    k: int = 3
    iv: InitVar[int] = 9

    def __post_init__(self, iv):
        self.iv2 = iv


@dataclass
class DC(DB):
    c: list = field(default_factory=lambda: [OFF])


OFF = 4


@case((DC(1, "z", [4], k=5), 9, ["a", "b", "k", "c"]))
def use_dc():
    return (DC(1, "z", k=5), DC(1).iv2, [f.name for f in dataclasses.fields(DC)])


@dataclass(order=True)
class DO:
    x: int


@case(True)
def use_do():
    return DO(1) < DO(2)


class SE(enum.StrEnum):
    A = enum.auto()
    B = "bb"


class CN(enum.Enum):
    def __new__(cls, v, label):
        o = object.__new__(cls)
        o._value_ = v
        o.label = label
        return o

    X = (1, "ex")
    Y = (2, "why")

    @classmethod
    def _missing_(cls, v):
        return cls.X


class FK(enum.Flag, boundary=enum.KEEP):
    A = 1
    B = 2


class IE(enum.IntFlag):
    A = 1
    B = 2


class MX(float, enum.Enum):
    P = 3.5


@case((SE.A, "a", CN.Y, "why", CN.X, FK.A | FK.B, IE.A | IE.B, MX.P, 4.5, 8))
def use_enum():
    return (
        SE.A,
        SE.A.value,
        CN(2),
        CN.Y.label,
        CN(77),
        FK.A | FK.B,
        IE.A | IE.B,
        MX.P,
        MX.P + 1,
        FK(8).value,
    )


T = typing.TypeVar("T")


class GN(typing.NamedTuple, typing.Generic[T]):
    x: T


class PR(typing.Protocol):
    def m(self) -> int: ...


@typing.runtime_checkable
class PR2(typing.Protocol):
    def m(self) -> int: ...


class IM(PR):
    def m(self):
        return 3


@case((3, True, 1))
def use_typing():
    return (IM().m(), isinstance(IM(), PR2), GN[int](1).x)


class Slots:
    __slots__ = ("__weakref__", "a")


class Slots2(Slots):
    __slots__ = ("b",)

    def __init__(s):
        s.a = 1
        s.b = 2


@case((1, 2, False, True))
def use_slots():
    s = Slots2()
    return (s.a, s.b, hasattr(s, "__dict__"), weakref.ref(s)() is s)


class Prop:
    _v = 1

    @property
    def v(self):
        return self._v

    @v.setter
    def v(self, x):
        self._v = x * 2


@case(10)
def use_prop():
    p = Prop()
    p.v = 5
    return p.v


class Single(type):
    _i = {}

    def __call__(cls, *a):
        if cls not in cls._i:
            cls._i[cls] = super().__call__(*a)
        return cls._i[cls]


class S1(metaclass=Single):
    pass


@case(True)
def use_single():
    return S1() is S1()


class GI:
    def __class_getitem__(cls, k):
        return k

    def __getattr__(self, n):
        if n.startswith("_"):
            raise AttributeError(n)
        return n


@case((3, "zed"))
def use_gi():
    return (GI[3], GI().zed)


RX = re.compile("a+")
P = pathlib.Path("/tmp")
D = decimal.Decimal("1.5")
DT = datetime.date(2020, 1, 1)
LOG = logging.getLogger(__name__)
RND = random.Random(3)
CNT = collections.Counter("aab")
DD = collections.defaultdict(list)
OD = collections.OrderedDict(a=1)
DQ = collections.deque([1])
NS = types.SimpleNamespace(a=1)
MP = types.MappingProxyType({"a": 1})


@case(("aa", "/tmp", decimal.Decimal("1.5"), 2020, "__main__", 2, [], 1, 1, 1, 1))
def use_vals():
    return (
        RX.match("aab").group(),
        str(P),
        D,
        DT.year,
        LOG.name,
        CNT["a"],
        DD["q"],
        OD["a"],
        DQ[0],
        NS.a,
        MP["a"],
    )


@case("a/b")
def use_osp():
    return osp.join("a", "b")


@case(True)
def use_file():
    return __file__.endswith("codec_zoo.py") and __name__ == "__main__"


class Meth:
    def __init__(self):
        self.cb = self.hello
        self.me = self

    def hello(self):
        return "hi"


M = Meth()


@case("hi")
def use_meth():
    return M.cb() if M.cb.__self__ is M.me else "bad"


class ABP(abc.ABC):
    @property
    @abc.abstractmethod
    def p(self): ...

    @classmethod
    def make(cls):
        return cls()


class ABI(ABP):
    p = 3


@case(3)
def use_abp():
    return ABI.make().p


def deco_args(n):

    def d(f):

        @wraps(f)
        def w(*a, **k):
            return f(*a, **k) * n

        return w

    return d


@deco_args(3)
def thrice(x):
    return x


@case(6)
def use_thrice():
    return thrice(2)


class CallDeco:
    def __init__(self, f):
        functools.update_wrapper(self, f)
        self.f = f
        self.n = 0

    def __call__(self, *a):
        self.n += 1
        return (self.f(*a), self.n)


@CallDeco
def cd(x):
    return x


@case((4, 1))
def use_cd():
    return cd(4)


class Outer:
    class E(enum.Enum):
        A = 1

    @dataclass
    class D:
        x: int = 1

    class Err(Exception):
        pass

    F = staticmethod(lambda: 5)
    G = lambda self: 6


@case((Outer.E.A, Outer.D(1), 5, 6))
def use_outer():
    return (Outer.E.A, Outer.D(), Outer.F(), Outer().G())


def recur(x):
    return 1 if x <= 0 else x * globals()["recur"](x - 1)


@case(24)
def use_recur():
    return recur(4)


class Weird:
    def __eq__(self, o):
        raise RuntimeError("eq")

    def __hash__(self):
        raise RuntimeError("hash")

    def __bool__(self):
        raise RuntimeError("bool")


WE = Weird()


@case("Weird")
def use_weird():
    return type(WE).__name__


class Cls:
    total = 0
    items = []

    def add(self):
        Cls.total += 1
        Cls.items.append(1)
        return (Cls.total, len(Cls.items))


@case((1, 1))
def use_cls():
    return Cls().add()


def outerfn():
    x = 1

    class L:
        y = x

        def m(self):
            return (x, L.y)

    def inner():
        return L().m()

    return inner


inn = outerfn()


@case((1, 1))
def use_inn():
    return inn()


Alias = typing.Union[int, str]
NTp = typing.NewType("NTp", int)
PS = typing.ParamSpec("PS")


@case((3, "NTp", "PS"))
def use_alias():
    return (NTp(3), NTp.__name__, PS.__name__)


part = functools.partial(operator.mul, 3)
pm = functools.partialmethod


class PM:
    def f(self, a, b):
        return (a, b)

    g = functools.partialmethod(f, 1)


@case((6, (1, 2)))
def use_part():
    return (part(2), PM().g(2))


class Ex(Exception):
    def __init__(self, a, b):
        super().__init__(a)
        self.b = b


@case("b")
def use_ex():
    try:
        raise Ex("a", "b")
    except Ex as e:
        return e.b


_x = 0


def nl():
    global _x
    _x += 1
    return _x


@case(1)
def use_nl():
    return nl()


def star(*a, k=1, **kw):
    return (a, k, kw)


@case(((1,), 2, {"z": 3}))
def use_star():
    return star(1, k=2, z=3)


cc = itertools.chain
ac = operator.attrgetter("a")
SENT = object()


def has_sent(x=SENT):
    return x is SENT


@case(True)
def use_sent():
    return has_sent()


if sys.version_info >= (3, 12):
    exec(
        '\nclass G12[T]:\n    def __init__(self,x:T): self.x=x\ntype Al[T]=list[T]\ndef f12[T](x:T)->T: return x\n@case((1,2,"Al",("T",)))\ndef use_312(): return G12[int](1).x,f12(2),Al.__name__,tuple(p.__name__ for p in f12.__type_params__)\n'
    )
HAS_STATE = {"use_cd", "use_nl", "use_cls"}


def main():
    worker = Worker(sys.argv[1])
    for name, (fn, expected) in CASES.items():
        found = worker(fn)
        assert found == expected, (name, found)
        found = worker(fn)
        assert found == expected or name in HAS_STATE, (name, found)
        assert not worker.sent, (name, "was sent again")
    worker.close()


if __name__ == "__main__":
    main()
