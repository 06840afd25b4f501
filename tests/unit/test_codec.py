"""Calls reach a worker and values come back, whatever kind of callable or value they are."""

from __future__ import annotations

import pytest

from tests.unit.codec_harness import run_main

METHODS = ["spawn", "fork"]

DEFINITIONS = """
import dataclasses, enum, functools, math, operator, typing
from collections import namedtuple

OFFSET = 10

def add(a, b=1, *, c=0):
    return a + b + c + OFFSET

def even(n):
    return n == 0 or odd(n - 1)

def odd(n):
    return n != 0 and even(n - 1)

def logged(fn):
    calls = []
    @functools.wraps(fn)
    def wrapper(*args):
        calls.append(args)
        return fn(*args), len(calls)
    return wrapper

@logged
def decorated(a):
    return a + OFFSET

@functools.lru_cache(maxsize=None)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

class Base:
    registry: list[type] = []
    scale = 2
    def __init_subclass__(cls, /, kind="none", **kw):
        super().__init_subclass__(**kw)
        cls.kind = kind
        Base.registry.append(cls)
    def __init__(self, x):
        self.x = x
    def scaled(self):
        return self.x * self.scale
    def __eq__(self, other):
        return type(self) is type(other) and self.x == other.x

class Sub(Base, kind="sub"):
    class Inner:
        def hello(self):
            return "inner", Sub.Inner is type(self)
    def scaled(self):
        return super().scaled() + 1
    @property
    def twice(self):
        return 2 * self.x
    @functools.cached_property
    def thrice(self):
        return 3 * self.x
    @staticmethod
    def static(a):
        return a + 1
    @classmethod
    def made(cls, x):
        return cls(x)
    def __call__(self, y):
        return self.x + y

Base.favourite = Sub(7)

@dataclasses.dataclass
class Point:
    x: int
    y: int = 0
    tags: list[str] = dataclasses.field(default_factory=list)

@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    x: int
    y: tuple[int, ...] = ()

class Manual:
    __slots__ = ("__private", "open")
    def __init__(self, a, b):
        self.__private = a
        self.open = b
    def both(self):
        return self.__private, self.open

class Color(enum.Enum):
    RED = 1
    GREEN = 2
    CRIMSON = 1
    def shout(self):
        return self.name + "!"

class Planet(enum.Enum):
    EARTH = (5.9, 6.3)
    MARS = (0.6, 3.3)
    def __init__(self, mass, radius):
        self.mass = mass
        self.radius = radius

class Perm(enum.Flag):
    R = 4
    W = 2
    RW = 6

class Level(enum.IntEnum):
    LOW = 1

class Pair(typing.NamedTuple):
    a: int
    b: int = 7
    def total(self):
        return self.a + self.b

Old = namedtuple("Old", "p q", defaults=[3])

class Child(namedtuple("Hidden", "u v")):
    def total(self):
        return self.u + self.v

T = typing.TypeVar("T")

class Box(typing.Generic[T]):
    def __init__(self, item):
        self.item = item
    def get(self):
        return self.item

class Opened(typing.Protocol):
    def get(self): ...

class Movie(typing.TypedDict):
    title: str

import abc
class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...

class Square(Shape):
    def __init__(self, a):
        self.a = a
    def area(self):
        return self.a ** 2

Shape.register(int)

class Meta(type):
    def __new__(mcls, name, bases, namespace, **kw):
        namespace["tagged"] = name
        return super().__new__(mcls, name, bases, namespace, **kw)
    def cls_hello(cls):
        return "hello " + cls.tagged

class Tagged(metaclass=Meta):
    pass

class Oops(Exception):
    def __init__(self, code, *, detail=None):
        super().__init__(code)
        self.code = code
        self.detail = detail

def same(x):
    return x

def identity_of(x):
    return type(x).__name__, type(x).__module__
"""


@pytest.mark.parametrize("method", METHODS)
def test_every_kind_of_callable_runs(method: str) -> None:
    run_main(
        DEFINITIONS
        + """
assert worker(math.sqrt, 4) == 2
assert worker(add, 1) == 12
assert worker(add, 1, b=2, c=3) == 16
assert worker(lambda a: a + OFFSET, 1) == 11
assert worker(lambda a, b=[4], *, c={"d": 5}: a + b[0] + c["d"], 1) == 10
assert worker(even, 10) is True
assert worker(decorated, 1)[0] == 11
assert worker(decorated.__wrapped__, 1) == 11
assert worker(fib, 60) == 1548008755920
assert worker(functools.partial(add, b=5), 1) == 16
assert worker(functools.partial(lambda a, b: a - b, 5), 1) == 4
assert worker("abc".upper) == "ABC"
assert worker(Sub(3).scaled) == 7
assert worker(Sub(3), 4) == 7
assert worker(Sub.made, 4) == Sub(4)
assert worker(Sub.static, 4) == 5
assert worker(Sub(3).static, 4) == 5
assert worker(Base.scaled, Base(3)) == 6
assert worker(Point, 1, y=2) == Point(1, 2)
assert worker(operator.attrgetter("x"), Point(8)) == 8
assert worker(operator.itemgetter(1), [1, 2]) == 2
assert worker(operator.methodcaller("scaled"), Sub(1)) == 3
assert worker(int, "12") == 12
assert worker(dict, a=1) == {"a": 1}
assert worker(str.upper, "a") == "A"
assert worker([1, 2].count, 2) == 1
assert worker(type(lambda: 0).__name__.upper) == "FUNCTION"
assert worker(Tagged.cls_hello) == "hello Tagged"
"""
    )


@pytest.mark.parametrize("method", METHODS)
def test_instances_of_main_classes_come_back_as_instances_of_the_same_classes(method: str) -> None:
    run_main(
        DEFINITIONS
        + """
values = [
    Base(1), Sub(2), Point(1, 2, ["t"]), Slotted(1, (2,)), Pair(1), Old(1), Child(1, 2), Square(3),
    Tagged(), Box(5), Sub.Inner(),
]
for value in values:
    back = worker(same, value)
    assert type(back) is type(value), value
for value in [*Color, *Planet, *Level, Perm.R, Perm.RW, Perm.R | Perm.W]:
    assert worker(same, value) is value
for value in [Base(1), Sub(2), Point(1, 2), Slotted(1), Pair(1), Old(1), Child(1, 2)]:
    assert worker(same, value) == value
for value in [Base, Sub, Sub.Inner, Point, Slotted, Color, Pair, Old, Child, Box, Opened, Movie, Shape, Meta, Oops]:
    assert worker(same, value) is value, value
for value in [add, fib, decorated, even, Sub.static, Base.scaled]:
    assert worker(same, value) is value, value
assert worker(same, T) is T
assert worker(same, Box[int]) == Box[int]
""",
        method,
    )


@pytest.mark.parametrize("method", METHODS)
def test_main_classes_work_in_the_worker(method: str) -> None:
    run_main(
        DEFINITIONS
        + """
assert worker(lambda: Sub(3).scaled()) == 7
assert worker(lambda: (Sub(3).twice, Sub(3).thrice, Sub.kind, Base.favourite.x)) == (6, 9, "sub", 7)
assert worker(lambda: [c.__name__ for c in Base.registry]) == ["Sub"]
assert worker(lambda: (isinstance(Sub(1), Base), Base.favourite == Sub(7))) == (True, True)
assert worker(lambda: Sub.Inner().hello()) == ("inner", True)
assert worker(lambda p: dataclasses.asdict(p), Point(1)) == {"x": 1, "y": 0, "tags": []}
assert worker(lambda: dataclasses.replace(Slotted(1), x=2)) == Slotted(2)
assert worker(lambda: hasattr(Slotted(1), "__dict__")) is False
assert worker(lambda m: m.both(), Manual(1, 2)) == (1, 2)
assert worker(same, Manual(1, 2)).both() == (1, 2)
assert worker(lambda: (Color.CRIMSON is Color.RED, Color(2).shout(), Color["RED"].name)) == (True, "GREEN!", "RED")
assert worker(lambda: (Planet.MARS.mass, Planet((5.9, 6.3)).radius)) == (0.6, 6.3)
assert worker(lambda: (Perm.R | Perm.W) is Perm.RW) is True
assert worker(lambda: Pair(1).total()) == 8
assert worker(lambda p: p._replace(a=5), Pair(1)) == Pair(5)
assert worker(lambda: Old(1)._asdict()) == {"p": 1, "q": 3}
assert worker(lambda: Child(1, 2).total()) == 3
assert worker(lambda: Box[int](4).get()) == 4
assert worker(lambda: Square(3).area()) == 9
assert worker(lambda: issubclass(int, Shape)) is True
assert worker(lambda: Tagged.cls_hello()) == "hello Tagged"
assert worker(lambda: Movie(title="x")) == {"title": "x"}
def abstract():
    try:
        Shape()
    except TypeError:
        return "abstract"
assert worker(abstract) == "abstract"
def frozen():
    try:
        Slotted(1).x = 2
    except dataclasses.FrozenInstanceError:
        return "frozen"
assert worker(frozen) == "frozen"
def raises():
    try:
        raise Oops(3, detail="d")
    except Oops as e:
        return e
error = worker(raises)
assert type(error) is Oops and (error.code, error.detail) == (3, "d")
""",
        method,
    )


@pytest.mark.parametrize("method", METHODS)
def test_closures_and_local_things_travel_by_value(method: str) -> None:
    run_main(
        DEFINITIONS
        + """
def outer():
    def fact(n):
        return 1 if n < 2 else n * fact(n - 1)
    return fact
assert worker(outer(), 5) == 120
def pair():
    def ping(n):
        return n if n < 1 else pong(n - 1)
    def pong(n):
        return -n if n < 1 else ping(n - 1)
    return ping, pong
assert worker(pair()[0], 4) == 0
def counter():
    n = 0
    def up():
        nonlocal n
        n += 1
        return n
    def read():
        return n
    return up, read
up, read = counter()
def use(up, read):
    up(); up()
    return read()
assert worker(use, up, read) == 2
assert worker(lambda f=up, r=read: use(f, r)) == 2, "two functions share a cell"
assert read() == 0
assert worker(up) == 1 and worker(up) == 1, "state is never shared between calls"
data = [1, 2]
def holder():
    inner = data
    return lambda: sum(inner)
assert worker(holder()) == 3
def with_attribute(x):
    return with_attribute.y + x
with_attribute.y = 5
assert worker(with_attribute, 1) == 6
def local():
    class Local:
        made = 0
        def __init__(self, v):
            self.v = v
        def me(self):
            return Local is type(self), __class__ is Local, self.v
    return Local
Local = local()
back, told = worker(lambda o: (o, o.me()), Local(3))
assert type(back) is Local and told == (True, True, 3)
Local.made = 5
def change(o):
    type(o).made += 1
    return o, type(o).made
back, made = worker(change, Local(3))
assert made == 6 and Local.made == 5, "what comes home does not overwrite"
assert worker(Local, 3).v == 3
def makes_class():
    class Born:
        def hi(self):
            return "hi"
    return Born()
assert worker(makes_class).hi() == "hi"
assert worker(lambda: (lambda a: a + OFFSET))(1) == 11
assert worker(lambda f: f, lambda a: a + OFFSET)(1) == 11
def f(a: "no such thing", b: Point, c: list[Point]) -> OFFSET:
    return 1
assert worker(f, 1, 2, 3) == 1
def g():
    def h(a: Point, b: data = 3):
        "doc of h"
        return a
    return h
h = worker(lambda h: (h(1), h.__doc__, h.__name__, h.__qualname__, h.__module__), g())
assert h == (1, "doc of h", "h", "g.<locals>.h", "__main__"), h
class InFunction:
    def body(self):
        class Nested:
            offset = OFFSET
        return Nested.offset
assert worker(InFunction().body) == 10
""",
        method,
    )


def test_code_is_sent_once_and_state_with_every_call() -> None:
    run_main(
        """
        def make(n):
            return lambda x: x + n
        assert worker(make(1), 1) == 2
        assert len(worker.sent) == 1
        assert worker(make(2), 1) == 3
        assert worker.sent == []
        for _ in range(3):
            assert worker(eval("lambda x: x * 2"), 4) == 8
        assert worker.sent == [], "equal code made again is the same code"
        """
    )


def test_importable_things_go_by_name_and_cloudpickle_is_not_imported(tmp_path: object) -> None:
    (tmp_path / "helper.py").write_text(  # type: ignore[operator]
        "STATE = []\n"
        "def push(x):\n    STATE.append(x)\n    return len(STATE)\n"
        "class C:\n    def m(self):\n        return 'm'\n"
        "anonymous = lambda x: (STATE.append(x), len(STATE))[1]\n"
    )
    run_main(
        """
        import sys, helper
        assert worker(helper.push, 1) == 1
        assert worker(helper.C().m) == "m"
        assert type(worker(helper.C)) is helper.C
        assert worker.sent == []
        assert worker(helper.anonymous, 1) == 2, "code by value, state of the module shared"
        assert worker(lambda: helper.push(5)) == 3
        assert helper.STATE == []
        loaded = worker(lambda: [m for m in ("cloudpickle", "inspect", "asyncio", "dis") if m in __import__("sys").modules])
        assert loaded == [], loaded
        assert "cloudpickle" not in sys.modules
        """,
        folder=tmp_path,
    )


def test_modules_that_cannot_be_imported_are_replicated(tmp_path: object) -> None:
    (tmp_path / "hidden").mkdir()  # type: ignore[operator]
    (tmp_path / "hidden" / "plugin.py").write_text(  # type: ignore[operator]
        "K = 5\ndef f(x):\n    return g(x) + K\ndef g(x):\n    return x\nclass C:\n    v = 1\n"
    )
    run_main(
        """
        import importlib.util, sys, types
        made = types.ModuleType("made")
        exec("Z = 3\\ndef f(x):\\n    return x + Z + h()\\ndef h():\\n    return 1\\nclass C:\\n    k = 4", made.__dict__)
        sys.modules["made"] = made
        assert worker(made.f, 1) == 5
        assert type(worker(made.C)) is made.C
        made.Z = 30
        assert worker(made.f, 1) == 32
        assert worker(lambda: made.h() + made.Z) == 31
        spec = importlib.util.spec_from_file_location("plugin", "hidden/plugin.py")
        plugin = importlib.util.module_from_spec(spec)
        sys.modules["plugin"] = plugin
        spec.loader.exec_module(plugin)
        assert worker(plugin.f, 1) == 6
        assert type(worker(plugin.C)) is plugin.C
        space = {}
        exec("K = 2\\ndef f(x):\\n    return g(x) * K\\ndef g(x):\\n    return x + 1", space)
        assert worker(space["f"], 1) == 4
        space["K"] = 3
        assert worker(space["f"], 1) == 6
        lost = types.ModuleType("lost")
        exec("def f():\\n    return 8", lost.__dict__)
        assert worker(lambda: lost.f()) == 8
        """,
        folder=tmp_path,
    )


def test_modules_registered_with_cloudpickle_travel_by_value(tmp_path: object) -> None:
    (tmp_path / "mine.py").write_text(  # type: ignore[operator]
        "import os\nK = 1\ndef f():\n    return K, os.getpid()\nclass C:\n    def m(self):\n        return K\n"
    )
    run_main(
        """
        import mine, os, cloudpickle
        mine.K = 2
        assert worker(mine.f)[0] == 1, "by name: the worker's own module"
        cloudpickle.register_pickle_by_value(mine)
        value, pid = worker(mine.f)
        assert value == 2 and pid != os.getpid()
        assert worker(mine.C().m) == 2
        assert type(worker(lambda c: c, mine.C())) is mine.C
        cloudpickle.unregister_pickle_by_value(mine)
        assert worker(mine.f)[0] == 1
        """,
        folder=tmp_path,
    )


def test_submodules_reached_through_their_package_are_imported() -> None:
    run_main(
        """
        import xml.dom.minidom, os.path, json.decoder
        import xml
        def parse():
            return xml.dom.minidom.parseString("<a/>").documentElement.tagName
        assert worker(parse) == "a"
        assert worker(lambda: json.decoder.JSONDecodeError.__name__) == "JSONDecodeError"
        """
    )


def test_reducers_of_copyreg_and_multiprocessing_are_honoured() -> None:
    run_main(
        """
        import copyreg, multiprocessing, socket
        class Odd:
            def __init__(self, x):
                self.x = x
            def __reduce__(self):
                raise RuntimeError("not me")
        def rebuild(x):
            return Odd(x)
        try:
            worker(lambda o: o.x, Odd(1))
        except RuntimeError as e:
            assert "not me" in str(e) and any("args[0]" in n for n in e.__notes__)
        else:
            raise AssertionError
        copyreg.pickle(Odd, lambda o: (rebuild, (o.x,)))
        assert worker(lambda o: o.x, Odd(4)) == 4
        """
    )


def test_initargs_may_hold_multiprocessing_locks_while_a_process_is_started() -> None:
    run_main(
        """
        import multiprocessing as mp
        from multiprocessing.context import set_spawning_popen
        from ezflow._wire.codec import Codec
        class Popen:
            from multiprocessing.popen_spawn_posix import _DupFd as DupFd
            def __init__(self):
                self.fds = []
            def duplicate_for_child(self, fd):
                self.fds.append(fd)
                return fd
        ctx = mp.get_context("spawn")
        lock, queue = ctx.Lock(), ctx.Queue()
        def init(lock, queue):
            pass
        popen = Popen()
        set_spawning_popen(popen)
        try:
            payload, needs = Codec().pack_initializer(init, (lock, queue))
        finally:
            set_spawning_popen(None)
        assert len(popen.fds) >= 2 and len(needs) == 1
        try:
            Codec().pack_call(init, (lock, queue), {})
        except RuntimeError as e:
            assert "inheritance" in str(e) and e.path == "args[0]" and "initargs" in str(e), e
        else:
            raise AssertionError
        queue.close()
        """
    )


def test_numpy_functions_and_arrays_travel() -> None:
    pytest.importorskip("numpy")
    run_main(
        """
        import numpy as np
        SCALE = np.arange(3)
        assert worker(np.add, 1, 2) == 3
        assert (worker(np.sum, np.ones((2, 2)))) == 4
        assert list(worker(lambda a: a * SCALE, np.ones(3))) == [0, 1, 2]
        SCALE[0] = 9
        assert list(worker(lambda a: a * SCALE, np.ones(3))) == [9, 1, 2]
        big = np.zeros(200_000)
        assert worker(lambda a: a.nbytes, big) == 1_600_000
        assert worker(bytes, 3_000_000) == bytes(3_000_000)
        assert worker(len, bytes(3_000_000)) == 3_000_000
        """
    )


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_error_in_a_result_keeps_its_class_in_both_directions(method: str) -> None:
    run_main(
        """
        from ezflow import Result

        class Wrong(Exception):
            limit = 3

        def fail():
            raise Wrong(7)

        def capture():
            return Result.capture(fail)

        def is_wrong(result):
            return isinstance(result.err, Wrong), result.err.args, result.err.limit

        class Local(Wrong):
            pass

        for result in (worker(capture), worker(lambda: [Result(err=Wrong(7))])[0], Result.capture(fail)):
            assert type(result.err) is Wrong, type(result.err)
            assert worker(is_wrong, result) == (True, (7,), 3)
        assert type(worker(lambda: Result(err=Local())).err) is Local
        KEPT = Result(err=Local(8))
        assert worker(lambda: isinstance(KEPT.err, Local))
        """,
        method,
    )
