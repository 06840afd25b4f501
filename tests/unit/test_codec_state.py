"""What a worker sees of the parent's changes, and what of its own."""

from __future__ import annotations

import pytest

from tests.unit.codec_harness import run_main

METHODS = ["spawn", "fork"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("before", ["G = None", "", "G = 5"])
@pytest.mark.parametrize(
    "setter", ["def init(x):\n    global G\n    G = x", "def init(x):\n    globals()['G'] = x"]
)
def test_what_an_initializer_set_is_what_tasks_see(method: str, before: str, setter: str) -> None:
    run_main(
        """
        worker.init(init, 10)
        assert worker(task, 1) == 11
        assert worker(lambda i: G + i, 2) == 12
        globals()["G"] = 100
        assert worker(task, 1) == 101, "the parent's change comes later and wins"
        """,
        method,
        head=f"{before}\n{setter}\ndef task(i):\n    return G + i\n",
    )


@pytest.mark.parametrize("method", METHODS)
def test_an_initializer_of_a_forked_worker_runs_there_by_inheritance(method: str) -> None:
    run_main(
        """
        class Conn:
            pass
        CONN = None
        def init():
            global CONN
            CONN = Conn()
            CONN.calls = 0
        def task():
            CONN.calls += 1
            return CONN.calls
        worker.init(init)
        assert [worker(task) for _ in range(3)] == [1, 2, 3]
        """,
        method,
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_cache_in_main_lives_as_long_as_the_worker(method: str) -> None:
    run_main(
        """
        def task(i):
            global TOTAL
            CACHE[i] = True
            TOTAL += 1
            task.calls += 1
            Counter.n += 1
            return sorted(CACHE), TOTAL, task.calls, Counter.n
        task.calls = 0
        assert worker(task, 1) == ([1], 1, 1, 1)
        assert worker(task, 2) == ([1, 2], 2, 2, 2)
        assert worker(lambda: (len(CACHE), TOTAL)) == (2, 2)
        assert (CACHE, TOTAL, task.calls, Counter.n) == ({}, 0, 0, 0)
        CACHE[9] = 1
        assert worker(lambda: list(CACHE)) == [9], "the parent changed it"
        assert worker(task, 3)[1:] == (3, 3, 3), "and nothing else"
        """,
        method,
        head="CACHE = {}\nTOTAL = 0\nclass Counter:\n    n = 0\n",
    )


# Each line: what is there, the call, its value, the change, its value then.
CHANGES = {
    "int": ("G = 1\ndef f(): return G", "f", 1, "G = 2", 2),
    "equal int": ("G = 1\ndef f(): return G", "f", 1, "G = 1.0", 1.0),
    "None to absent": ("G = None\ndef f(): return 'G' in globals() or G", "f", True, "del G", "NameError"),
    "absent to there": ("def f():\n    try: return G\n    except NameError: return 0", "f", 0, "G = 2", 2),
    "list in place": ("G = [1]\ndef f(): return sum(G)", "f", 1, "G.append(2)", 3),
    "long list in place": ("G = [1] * 99\ndef f(): return sum(G)", "f", 99, "G[50] = 2", 100),
    "nested in place": ("G = {'a': [1]}\ndef f(): return G['a'][0]", "f", 1, "G['a'][0] = 2", 2),
    "set in place": ("G = {1}\ndef f(): return sum(G)", "f", 1, "G.add(2)", 3),
    "instance attribute": (
        "class C: pass\nG = C(); G.x = 1\ndef f(): return G.x", "f", 1, "G.x = 2", 2
    ),
    "instance in a list": (
        "class C: pass\nG = [C()]; G[0].x = 1\ndef f(): return G[0].x", "f", 1, "G[0].x = 2", 2
    ),
    "slot": (
        "class C:\n    __slots__ = ['x']\nG = C(); G.x = 1\ndef f(): return G.x", "f", 1, "G.x = 2", 2
    ),
    "list subclass": (
        "class L(list): pass\nG = L([1])\ndef f(): return sum(G)", "f", 1, "G.append(2)", 3
    ),
    "function redefined": (
        "def g(): return 1\ndef f(): return g()", "f", 1, "def g(): return 2", 2
    ),
    "called function redefined": ("def f(): return 1", "f", 1, "def f(): return 2", 2),
    "function redefined as lambda": ("def g(): return 1\ndef f(): return g()", "f", 1, "g = lambda: 2", 2),
    "alias": ("def g(): return 1\nh = g\ndef f(): return h()", "f", 1, "def g(): return 2\nh = g", 2),
    "alias of what is gone": ("def g(): return 1\nh = g\ndef f(): return h()", "f", 1, "def g(): return 2", 1),
    "code swapped": (
        "def g(): return 1\ndef f(): return g()", "f", 1, "g.__code__ = (lambda: 2).__code__", 2
    ),
    "default swapped": (
        "def g(a=1): return a\ndef f(): return g()", "f", 1, "g.__defaults__ = (2,)", 2
    ),
    "default in place": (
        "def g(a=[1]): return a[0]\ndef f(): return g()", "f", 1, "g.__defaults__[0][0] = 2", 2
    ),
    "keyword default": (
        "def g(*, a=1): return a\ndef f(): return g()", "f", 1, "g.__kwdefaults__['a'] = 2", 2
    ),
    "function attribute": (
        "def g(): return g.x\ng.x = 1\ndef f(): return g()", "f", 1, "g.x = 2", 2
    ),
    "first function attribute": (
        "def g(): return getattr(g, 'x', 1)\ndef f(): return g()", "f", 1, "g.x = 2", 2
    ),
    "closure of a global": ((
        "def make():\n    n = 1\n    def g(): return n\n    def up():\n        nonlocal n; n += 1\n"
        "    return g, up\ng, up = make()\ndef f(): return g()"), "f", 1, "up()", 2,
    ),
    "closure list of a global": (
        "def make():\n    n = [1]\n    return (lambda: n[0]), n\ng, n = make()\ndef f(): return g()",
        "f", 1, "n[0] = 2", 2,
    ),
    "closure of the callee": ((
        "def make():\n    n = 1\n    def g(): return n\n    def up():\n        nonlocal n; n += 1\n"
        "    return g, up\nf, up = make()"), "f", 1, "up()", 2,
    ),
    "decorated by name": ((
        "import functools\ndef deco(fn):\n    box = [1]\n    @functools.wraps(fn)\n    def w(): return fn() * box[0]\n"
        "    w.box = box\n    return w\n@deco\ndef f(): return 3"), "f", 3, "f.box[0] = 2", 6,
    ),
    "class redefined": (
        "class C:\n    x = 1\ndef f(): return C.x", "f", 1, "class C:\n    x = 2", 2
    ),
    "class attribute": ("class C:\n    x = 1\ndef f(): return C.x", "f", 1, "C.x = 2", 2),
    "class attribute in place": (
        "class C:\n    x = [1]\ndef f(): return C.x[0]", "f", 1, "C.x[0] = 2", 2
    ),
    "new class attribute": (
        "class C: pass\ndef f(): return getattr(C, 'x', 1)", "f", 1, "C.x = 2", 2
    ),
    "class attribute removed": (
        "class C:\n    x = 2\nclass D(C):\n    x = 1\ndef f(): return D.x", "f", 1, "del D.x", 2
    ),
    "base's attribute": (
        "class B:\n    x = 1\nclass C(B): pass\ndef f(): return C().x", "f", 1, "B.x = 2", 2
    ),
    "method replaced": (
        "class C:\n    def m(self): return 1\ndef f(): return C().m()", "f", 1, "C.m = lambda self: 2", 2
    ),
    "method's code": (
        "class C:\n    def m(self): return 1\ndef f(): return C().m()", "f", 1,
        "C.m.__code__ = (lambda self: 2).__code__", 2,
    ),
    "property's getter": (
        "class C:\n    @property\n    def m(self): return 1\ndef f(): return C().m", "f", 1,
        "C.m.fget.__code__ = (lambda self: 2).__code__", 2,
    ),
    "inner class": (
        "class C:\n    class D:\n        x = 1\ndef f(): return C.D.x", "f", 1, "C.D.x = 2", 2
    ),
    "global of a method": (
        "G = 1\nclass C:\n    def m(self): return G\ndef f(): return C().m()", "f", 1, "G = 2", 2
    ),
    "global of a global": (
        "G = 1\ndef h(): return G\ndef g(): return h()\ndef f(): return g()", "f", 1, "G = 2", 2
    ),
    "global of a lambda in a dict": (
        "G = 1\nD = {'a': lambda: G}\ndef f(): return D['a']()", "f", 1, "G = 2", 2
    ),
    "lambda in a dict": ("D = {'a': lambda: 1}\ndef f(): return D['a']()", "f", 1, "D['a'] = lambda: 2", 2),
    "function to variable": ("def g(): return 1\ndef f(): return g() if callable(g) else g", "f", 1, "g = 2", 2),
    "class to function": ("class g(int): pass\ndef f(): return int(g())", "f", 0, "def g(): return 2", 2),
    "local class attribute": (
        "def make():\n    class L:\n        x = 1\n    return L\nL = make()\ndef f(): return L.x", "f", 1, "L.x = 2", 2
    ),
    "partial": (
        "import functools\nG = [1]\ndef g(a): return a[0]\np = functools.partial(g, G)\ndef f(): return p()",
        "f", 1, "G[0] = 2", 2,
    ),
    "numpy-free buffer": ("G = bytearray(b'a')\ndef f(): return G[0]", "f", 97, "G[0] = 98", 98),
    "module made by hand": (
        "import sys, types\nM = types.ModuleType('M'); sys.modules['M'] = M; M.x = 1\ndef f(): return M.x",
        "f", 1, "M.x = 2", 2,
    ),
    "enum redefined": (
        "import enum\nclass E(enum.Enum):\n    A = 1\ndef f(): return E.A.value", "f", 1,
        "class E(enum.Enum):\n    A = 2", 2,
    ),
    "back again": (
        "G = 1\ndef f(): return G", "f", 1, "G = 2; worker(f); G = 3; worker(f); G = 2", 2
    ),
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_no_call_sees_anything_stale(method: str) -> None:
    cases = "\n".join(f"CASES[{label!r}] = {case!r}" for label, case in CHANGES.items())
    run_main(
        """
        import types
        main = _sys.modules["__main__"]
        bad = []
        def attempt(fn):
            try:
                return worker(fn)
            except Failure as error:
                return error.kind
        for label, (before, call, first, change, second) in CASES.items():
            for name in [n for n in vars(main) if n in ("G", "C", "D", "L", "M", "E", "f", "g", "h", "p", "n", "up")]:
                del main.__dict__[name]
            exec(before, main.__dict__)
            found = attempt(main.__dict__[call]), attempt(main.__dict__[call])
            if found != (first, first) or worker.sent:
                bad.append((label, "before", found, worker.sent))
            exec(change, main.__dict__)
            found = attempt(main.__dict__[call]), attempt(main.__dict__[call])
            if found != (second, second) or type(found[0]) is not type(second) or worker.sent:
                bad.append((label, "after", found, worker.sent))
        assert not bad, "\\n".join(map(str, bad))
        """,
        method,
        head=f"CASES = {{}}\n{cases}",
    )


@pytest.mark.parametrize("method", METHODS)
def test_instances_in_a_worker_keep_their_class_when_an_attribute_of_it_changes(method: str) -> None:
    run_main(
        """
        class C:
            x = 1
        KEPT = []
        def keep():
            KEPT.append(C())
        def look():
            return isinstance(KEPT[0], C), KEPT[0].x
        worker(keep)
        assert worker(look) == (True, 1)
        C.x = 2
        assert worker(look) == (True, 2)
        class C:
            x = 3
        assert worker(look) == (False, 2)
        """,
        method,
    )


@pytest.mark.parametrize("method", METHODS)
def test_definitions_may_refer_to_each_other_in_circles(method: str) -> None:
    run_main(
        """
        class Node:
            def child(self):
                return Leaf()
        class Leaf(Node):
            def up(self):
                return Node.first
        Node.first = Leaf()
        Node.kinds = [Leaf, Node]
        Node.make = staticmethod(lambda: ROOT)
        class Outer:
            class A:
                x = 1
            class B(A):
                y = 2
        class FromInner(Outer.B):
            def total(self):
                return self.x + self.y + Outer.B.y
        ROOT = {"node": Node(), "f": lambda: walk(3)}
        def walk(n):
            return 0 if n == 0 else 1 + ROOT["f"].__call__() if n > 3 else type(Node.first).__name__
        class Point:
            def __init__(self, x):
                self.x = x
            def __setstate__(self, state):
                self.x = state["x"] * 10
        Point.origin = Point(1)
        def with_default(p=Point(2)):
            return p.x
        assert worker(walk, 2) == "Leaf"
        assert worker(lambda: ROOT["f"]()) == "Leaf"
        assert worker(lambda: [k.__name__ for k in Node.kinds]) == ["Leaf", "Node"]
        assert worker(lambda: type(Leaf().up()) is Leaf) is True
        assert worker(lambda: FromInner().total()) == 5
        assert worker(lambda: Point.origin.x) == 10, "methods are there before instances are made"
        assert worker(with_default) == 20
        assert isinstance(worker(lambda: FromInner()), Outer.A)
        """,
        method,
    )


@pytest.mark.parametrize("method", METHODS)
def test_two_names_of_one_object_are_two_names_of_one_object_there(method: str) -> None:
    run_main(
        """
        MISSING = object()
        REGISTRY = {}
        class Box:
            pass
        BOX = Box()
        class C:
            registry = REGISTRY
            box = BOX
        def make(held):
            def f():
                return held is BOX
            return f
        holds = make(BOX)
        def look(x=MISSING, r=REGISTRY, *, b=BOX):
            return x is MISSING, r is REGISTRY, b is BOX, C.registry is REGISTRY, C.box is BOX, holds()
        look.box = BOX
        def attribute():
            return look.box is BOX
        assert worker(look) == (True,) * 6
        assert worker(attribute) is True
        assert worker(look, 1) == (False, *(True,) * 5)
        assert worker(lambda x: x is MISSING, MISSING) is True, "an argument is the same sentinel"
        assert worker(lambda: MISSING) is MISSING, "and comes home as it"
        assert worker(lambda: (REGISTRY.update(a=1), look()[1])[1]) is True
        REGISTRY["b"] = 2
        assert worker(look) == (True,) * 6, "replaced everywhere"
        assert worker(lambda r=REGISTRY: C.registry) == {"b": 2}
        REGISTRY = {}
        assert worker(look) == (True, False, True, False, True, True), "as here"
        """,
        method,
    )


def test_a_worker_that_starts_later_gets_everything() -> None:
    run_main(
        """
        G = [1]
        class C:
            def m(self):
                return G[0] + helper()
        def helper():
            return 1
        assert worker(lambda c: c.m(), C()) == 2
        second = Worker(codec=worker.codec)
        assert second(lambda c: c.m(), C()) == 2
        G[0] = 5
        assert worker(lambda c: c.m(), C()) == second(lambda c: c.m(), C()) == 6
        assert second.sent and len(second.sent) == 2, "the list, and the code of this lambda"
        second.close()
        """
    )


def test_definitions_of_a_call_that_was_taken_back_are_there_for_the_next_one() -> None:
    run_main(
        """
        from tests.unit.codec_harness import write
        G = 7
        def f():
            return G
        payload, needs = worker.codec.pack_call(f, (), {})
        for d in needs:
            worker.known[d.key] = d.version
            write(worker.outbox, "define", d.key, d.data)
        assert worker(f) == 7 and worker.sent == []
        """
    )


def test_calls_packed_before_a_change_carry_what_was_true_then() -> None:
    run_main(
        """
        G = 1
        def f():
            return G
        first = worker.codec.pack_call(f, (), {})
        G = 2
        second = worker.codec.pack_call(f, (), {})
        assert [worker.run(p) for p in (first, second, first, second, second)] == [1, 2, 1, 2, 2]
        """
    )


@pytest.mark.parametrize("method", METHODS)
def test_things_that_belong_to_a_process_are_made_anew(method: str) -> None:
    run_main(
        """
        import asyncio, concurrent.futures, contextvars, io, logging, queue, socket, sys, threading
        LOCK = threading.Lock(); RLOCK = threading.RLock(); COND = threading.Condition(LOCK)
        EVENT = threading.Event(); SEM = threading.BoundedSemaphore(2); LOCAL = threading.local()
        BARRIER = threading.Barrier(1)
        VAR = contextvars.ContextVar("VAR", default=3); BARE = contextvars.ContextVar("BARE")
        LOG = logging.getLogger("my.log")
        LOCK.acquire(); SEM.acquire(); SEM.acquire()
        def locks():
            with LOCK, RLOCK, SEM:
                pass
            EVENT.set()
            LOCAL.x = getattr(LOCAL, "x", 0) + 1
            BARRIER.wait(1)
            VAR.set(VAR.get() + 1)
            return EVENT.is_set(), LOCAL.x, VAR.get(), BARE.get("none"), LOG.name
        assert worker(locks) == (True, 1, 4, "none", "my.log")
        assert worker(locks) == (True, 2, 5, "none", "my.log"), "once per worker"
        assert not EVENT.is_set() and VAR.get() == 3
        READY = threading.Event()
        def ready():
            return READY.is_set()
        assert worker(ready) is False
        READY.set()
        assert worker(ready) is True
        assert worker(lambda v: v.get(), VAR) == 5, "as an argument it is the same variable"
        def synchronized(fn):
            lock = threading.Lock()
            def w(*a):
                with lock:
                    return fn(*a)
            return w
        @synchronized
        def guarded(x):
            return x
        def use(x):
            return guarded(x)
        assert worker(use, 3) == 3
        def printing(out=sys.stdout):
            return out is sys.stdout and sys.stderr is ERR
        ERR = sys.stderr
        assert worker(printing) is True
        pool = concurrent.futures.ThreadPoolExecutor(1)
        loop = asyncio.new_event_loop()
        def uses_pool():
            return pool.submit(len, "a")
        for use in (uses_pool, lambda: loop.call_soon(print), lambda: [None for _ in iter([pool])][0] or pool.map):
            try:
                worker(use)
            except Failure as error:
                assert error.stage == "call" and error.kind == "WrongProcess", error
                assert "cannot use" in error.message
            else:
                raise AssertionError
        assert "stand-in" in worker(lambda: repr(pool))
        for args in ((pool,), ([{"a": pool}],)):
            try:
                worker(len, *args)
            except TypeError as error:
                assert "pool" in str(error) and "args[0]" in error.path, (error, error.path)
            else:
                raise AssertionError
        loop.close(); pool.shutdown()
        """,
        method,
    )


def test_a_forked_worker_uses_globals_that_cannot_be_sent() -> None:
    run_main(
        """
        assert worker(lambda: a.fileno() >= 0 and not GEN.gi_running) is True
        late = (i for i in [1])
        try:
            worker(lambda: late)
        except Failure as error:
            assert "late" in error.message and error.stage == "unpack", error
        else:
            raise AssertionError
        a.close(); b.close()
        """,
        "fork",
        head="import socket\na, b = socket.socketpair()\nGEN = (i for i in [1])",
    )


def test_objects_of_importable_modules_that_cannot_be_pickled_are_found_there(tmp_path: object) -> None:
    (tmp_path / "db.py").write_text(  # type: ignore[operator]
        "import threading, contextvars\n"
        "engine = (i for i in [1, 2])\nlock = threading.Lock()\nvar = contextvars.ContextVar('v', default=1)\n"
    )
    run_main(
        """
        from db import engine, lock, var
        import db
        assert worker(lambda: next(engine)) == 1
        assert worker(lambda: (lock is db.lock, var is db.var)) == (True, True)
        """,
        folder=tmp_path,
    )
