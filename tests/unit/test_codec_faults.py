"""What cannot be sent is named; whatever goes wrong, the next call works."""

from __future__ import annotations

import pytest

from tests.unit.codec_harness import run_main

# What is there, the call, the path that the error must name.
CULPRITS = {
    "argument": ("", "len, LOCK", "args[0]"),
    "in a list": ("", "len, 1, [2, {'a': LOCK}]", "args[1][1]['a']"),
    "keyword": ("", "len, k=(1, LOCK)", "kwargs['k'][1]"),
    "attribute": ("class C: pass\nc = C(); c.inner = C(); c.inner.lock = LOCK", "len, c", "args[0].inner.lock"),
    "slot": ("class C:\n    __slots__ = ['s']\nc = C(); c.s = LOCK", "len, c", "args[0].s"),
    "state": (
        "class C:\n    def __getstate__(self): return {'db': LOCK}\nc = C()", "len, c", "args[0].db"
    ),
    "reduce": (
        "class C:\n    def __reduce__(self): return (C, (LOCK,))\nc = C()", "len, c", "args[0].__reduce__()[1][0]"
    ),
    "named tuple": (
        "from typing import NamedTuple, Any\nclass C(NamedTuple):\n    a: Any\n    b: Any\nc = C(1, LOCK)",
        "len, c", "args[0].b",
    ),
    "dict subclass": ("class D(dict): pass\nd = D(a=LOCK)", "len, d", "args[0]['a']"),
    "function closure": (
        "def make():\n    conn = LOCK\n    return lambda: conn\nf = make()", "f", "fn.__closure__['conn']"
    ),
    "closure's inside": (
        "def make():\n    conn = {'db': [LOCK]}\n    return lambda: conn\nf = make()",
        "f", "fn.__closure__['conn']['db'][0]",
    ),
    "argument's closure": (
        "def make():\n    conn = LOCK\n    return lambda: conn\nf = make()", "len, f", "args[0].__closure__['conn']"
    ),
    "default": ("f = lambda x, y=LOCK: 1", "f, 1", "fn.__defaults__[0]"),
    "keyword default": ("f = lambda *, y=LOCK: 1", "f", "fn.__kwdefaults__['y']"),
    "partial": ("from functools import partial\nf = partial(len, LOCK)", "f", "fn.args[0]"),
    "bound method of a lock": ("f = LOCK.acquire", "f", "fn.__self__"),
    "method of an object": (
        "class C:\n    def m(self): pass\nc = C(); c.lock = LOCK", "c.m", "fn.__self__.lock"
    ),
    "class attribute": ("class C:\n    gen = (i for i in ())\ndef f(): C", "f", "fn.__globals__['C'].gen"),
}  # fmt: skip


def test_an_error_names_the_path_of_the_culprit() -> None:
    cases = "\n".join(f"CASES[{label!r}] = {case!r}" for label, case in CULPRITS.items())
    run_main(
        """
        import pickle, threading
        from ezflow import errors
        LOCK = threading.Lock()
        bad = []
        for label, (before, call, path) in CASES.items():
            exec(before, globals())
            try:
                eval(f"worker({call})")
            except errors.PicklingError as error:
                assert isinstance(error, TypeError), type(error)
                assert isinstance(error.__cause__, TypeError) and not isinstance(error.__cause__, errors.EzflowError)
                assert error.direction == ("function" if path.startswith("fn") else "argument")
                if error.path != path or path not in str(error):
                    bad.append((label, error.path, str(error)))
            else:
                bad.append((label, "was sent"))
        assert not bad, "\\n".join(map(str, bad))
        assert worker(len, "abc") == 3
        try:
            worker.codec.pack_call(len, ((i for i in ()),), {})
        except pickle.PicklingError as error:
            assert "len was not sent" in str(error) and "generator" in str(error)
        """,
        head=f"CASES = {{}}\n{cases}",
    )


def test_the_search_for_the_culprit_leaves_sockets_and_refusing_objects_alone() -> None:
    """Reducers of multiprocessing start a thread that hands out duplicates; nobody would fetch them."""
    run_main(
        """
        import multiprocessing, socket, threading
        from multiprocessing import reduction
        from ezflow import errors
        reduced = []
        def count(obj):
            reduced.append(obj)
            return bool, ()
        a, b = multiprocessing.Pipe()
        c, d = socket.socketpair()
        for kind in (type(a), socket.socket):
            reduction.ForkingPickler.register(kind, count)
        class Refuses:
            def __init__(self, *parts):
                self.parts = parts
            def __reduce__(self):
                raise TypeError("never")
        lock = threading.Lock()

        for arg, path, at_most in (
            ([a, c, lock], "args[0][2]", 2),
            ([a, [c, {"x": lock}]], "args[0][1][1]['x']", 2),
            (Refuses(a, c, lock), "args[0]", 0),
            ({"pool": Refuses(lock, a)}, "args[0]['pool']", 0),
        ):
            reduced.clear()
            try:
                worker.codec.pack_call(len, (arg,), {})
            except errors.PicklingError as error:
                assert error.path == path, (error.path, path)
                assert len(reduced) <= at_most, (path, reduced)
            else:
                raise AssertionError
        """
    )


def test_what_the_users_own_reduce_raises_comes_through() -> None:
    run_main(
        """
        import pickle
        from ezflow import errors
        class Odd(Exception):
            pass
        class Refuses:
            def __init__(self, error):
                self.error = error
            def __reduce__(self):
                raise self.error
        for error in (ValueError("v"), Odd("o"), RuntimeError("r"), OSError(5, "io")):
            try:
                worker(len, [Refuses(error)])
            except type(error) as caught:
                assert caught is error and "while pickling args[0][0]" in caught.__notes__, caught.__notes__
            else:
                raise AssertionError
        for error, cls in (
            (TypeError("t"), errors.PicklingTypeError),
            (AttributeError("a"), errors.PicklingAttributeError),
            (pickle.PicklingError("p"), errors.PicklingError),
        ):
            try:
                worker(len, [Refuses(error)])
            except cls as caught:
                assert caught.__cause__ is error and caught.path == "args[0][0]"
            else:
                raise AssertionError
        try:
            worker(len, Refuses(KeyboardInterrupt()))
        except KeyboardInterrupt:
            pass
        assert worker(len, "abc") == 3
        """
    )


def test_a_result_that_cannot_be_sent_is_named_and_the_worker_goes_on() -> None:
    run_main(
        """
        import threading
        def lock():
            return {"a": [1, threading.Lock()]}
        class Refuses:
            def __reduce__(self):
                raise ValueError("no")
        def refuses():
            return [Refuses()]
        for fn, kind, path in ((lock, "TypeError", "result['a'][1]"), (refuses, "ValueError", "result[0]")):
            try:
                worker(fn)
            except Failure as error:
                assert (error.stage, error.kind, error.path) == ("pack", kind, path), (error.kind, error.path)
            else:
                raise AssertionError
        assert worker(len, "abc") == 3
        """
    )


def test_what_cannot_be_rebuilt_fails_its_own_call_only(tmp_path: object) -> None:
    run_main(
        """
        import sys, types
        from ezflow import errors
        def explode(n):
            if n:
                raise ValueError("cannot rebuild")
            return Bomb(0)
        class Bomb:
            def __init__(self, n):
                self.n = n
            def __reduce__(self):
                return explode, (self.n,)
        G = Bomb(1)
        def uses():
            return G.n
        def does_not():
            return 5
        for call in ((len, Bomb(1)), (uses,), (uses,)):
            try:
                worker(*call)
            except Failure as error:
                assert (error.stage, error.kind) == ("unpack", "ValueError"), error
            else:
                raise AssertionError
            assert worker(does_not) == 5
        G = Bomb(0)
        assert worker(uses) == 0
        def bomb():
            return Bomb(1)
        try:
            worker(bomb)
        except errors.UnpicklingError as error:
            assert isinstance(error.__cause__, ValueError) and error.direction == "result"
        else:
            raise AssertionError
        open("vanishing.py", "w").write("x = 1")
        sys.path.insert(0, ".")
        import vanishing
        import os
        def uses_vanished():
            return vanishing.x
        worker.codec.pack_call(uses_vanished, (), {})  # from now on it is known to be importable
        os.remove("vanishing.py")
        try:
            worker(uses_vanished)
        except Failure as error:
            assert error.stage == "unpack" and error.kind == "ModuleNotFoundError", error
        else:
            raise AssertionError
        assert worker(does_not) == 5
        """,
        folder=tmp_path,
    )


def test_many_threads_pack_at_once() -> None:
    run_main(
        """
        import marshal, pickle, threading
        class Point:
            def __init__(self, x):
                self.x = x
            def __eq__(self, other):
                return self.x == other.x
        STATE = {"n": 1}
        def plus(a, b):
            return a.x + b + STATE["n"]
        def make(n):
            return lambda a: a + n + STATE["n"]
        class Submits:
            def __reduce__(self):
                worker.codec.pack_call(plus, (Point(1), 2), {})
                return int, ("7",)
        packed, errors = [], []
        gate = threading.Barrier(8)
        def run(seed):
            try:
                gate.wait(20)
                for i in range(60):
                    n = seed * 1000 + i
                    packed.append((n + 3, worker.codec.pack_call(plus, (Point(n), 2), {})))
                    packed.append((n + 3, worker.codec.pack_call(make(n), (2,), {})))
                    packed.append((7, worker.codec.pack_call(int, (Submits(),), {})))
                    packed.append((i, worker.codec.pack_call(eval(f"lambda: {i}"), (), {})))
            except BaseException as error:
                errors.append(error)
        threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert not errors, errors
        assert len(packed) == 8 * 240
        for expected, call in packed:
            assert worker.run(call) == expected
        contents = {}
        for _, (_, needs) in packed:
            for d in needs:
                # Not the bytes: marshal marks what anybody else refers to at that moment, such as another thread.
                parts = pickle.loads(d.data)
                content = *(marshal.loads(one) if type(one) is bytes and one[0] != 0x80 else repr(one) for one in parts),
                contents.setdefault(d.key, set()).add(content)
        assert contents and all(len(v) == 1 for v in contents.values()), contents
        """
    )


@pytest.mark.parametrize("rounds", [300])
def test_an_interrupt_at_any_moment_leaves_the_codec_usable(rounds: int) -> None:
    run_main(
        f"""
        import random, signal, sys, types
        class Point:
            def __init__(self, x):
                self.x = x
        STATE = {{"n": [1]}}
        def helper(p):
            return p.x + STATE["n"][0]
        def make(n):
            return lambda p: helper(p) + n
        struck = hits = lost = 0
        def strike(*_):
            global struck
            struck += 1
            raise KeyboardInterrupt
        def report(unraisable):  # in a callback of Python's own import lock, say: printed, and gone
            global lost
            assert unraisable.exc_type is KeyboardInterrupt, unraisable
            lost += 1
        sys.unraisablehook = report
        signal.signal(signal.SIGALRM, strike)
        def pack_until_struck(i):  # apart: 3.12 and 3.13 forget a `try` around a `while` with a condition at its jump back
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 2e-3))
            while struck == i:
                worker.codec.pack_call(make(i), (Point(i),), {{}})
                worker.codec.pack_call(len, ("abc",), {{}})
                code = helper.__code__.replace(co_name=f"f{{i}}")  # not eval: an interrupt there sets the exit code
                worker.codec.pack_call(types.FunctionType(code, globals()), (Point(i),), {{}})
        for i in range({rounds}):
            STATE["n"] = [i]
            try:
                pack_until_struck(i)
            except KeyboardInterrupt:
                hits += 1
            assert worker(make(i), Point(1)) == 1 + 2 * i
            assert worker(len, "abc") == 3
        assert struck == hits + lost == {rounds}, (struck, hits, lost)
        """
    )


def test_nothing_of_a_finished_call_is_kept_alive() -> None:
    run_main(
        """
        import gc, weakref
        class Thing:
            pass
        class Big:
            pass
        def use(t):
            return 1
        def make(t):
            return lambda u: 1
        gc.disable()
        arg, held = Thing(), Thing()
        fn = make(held)
        ref = weakref.ref(arg), weakref.ref(held), weakref.ref(fn)
        worker(use, arg)
        worker(fn, arg)
        del arg, held, fn
        assert [r() for r in ref] == [None] * 3, ref
        G = Big(); G.data = [0] * 1000
        first = weakref.ref(G)
        for i in range(5):
            assert worker(eval(f"lambda: len(G.data) + {i}")) == 1000 + i
        G = 5
        assert worker(lambda: G) == 5
        assert first() is None, gc.get_referrers(first())
        """
    )


def test_dead_code_and_namespaces_do_not_pile_up() -> None:
    run_main(
        """
        from ezflow._wire import codec as module, rebuild
        module._N_SLOTS, module._N_PLANS = 50, 50
        for i in range(200):
            assert worker(eval(f"lambda: {i}")) == i
        keep = eval("lambda: -1")
        assert worker(keep) == -1
        for i in range(200):
            space = {}
            exec(f"K = {i}\\ndef f():\\n    return K", space)
            assert worker(space["f"]) == i
        assert worker(keep) == -1
        assert len(worker.codec._slots) <= 50 and len(worker.codec._slot_keys) <= 50
        assert len(worker.codec._closures) <= 50 and len(worker.codec._spaces) <= 64
        n = worker(lambda: len(__import__("ezflow._wire.rebuild", fromlist=["x"]).codes))
        assert n <= 60, n
        assert len(worker.known) < 700, len(worker.known)
        """
    )
