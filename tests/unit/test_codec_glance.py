"""Big values are looked at in full only now and then, and no change stays unseen."""

from __future__ import annotations

import sys
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ezflow._wire import glance
from ezflow._wire.codec import Codec
from ezflow._wire.glance import SHARE, Glance
from ezflow._wire.mirror import ABSENT, Built
from tests.unit.codec_harness import run_main

N = 50_000


class CountingCodec(Codec):
    """Notes which names' values were pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[str] = []

    def build(self, obj: object, owner: Any, *, root: object = ABSENT) -> Built:
        """Note values of variables, and changing parts of classes and functions."""
        built = super().build(obj, owner, root=root)
        is_whole = (
            type(obj) is tuple and type(obj[0]) is int
        )  # the definition, around what has been looked at
        if len(built.data) > 10_000 and not is_whole:
            self.looks.append(owner[1])
        return built


class Slotted:
    __slots__ = ("flag", "rows")

    def __init__(self) -> None:
        self.flag = 1
        self.rows = [0] * 10


@pytest.fixture
def space(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Give the globals of a module that workers cannot import."""
    module = ModuleType("made_by_hand")
    sys.modules["made_by_hand"] = module
    yield module.__dict__
    del sys.modules["made_by_hand"]


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each look at the clock take a second, so that a full look takes one and the next is due after `SHARE`."""
    counter = count()
    monkeypatch.setattr(glance, "clock", lambda: float(next(counter)))


def versions(codec: Codec, fn: Any) -> dict[int, int]:
    """Pack a call, return what a worker must have been told."""
    return {each.key: each.version for each in codec.pack_call(fn, (), {})[1]}


@pytest.mark.usefixtures("ticks")
@pytest.mark.parametrize(
    "source",
    [
        f"DATA = list(range({N}))\ndef f(): return DATA",
        f"DATA = {{str(i): [i] for i in range({N})}}\ndef f(): return DATA",
        f"class DATA:\n    table = list(range({N}))\ndef f(): return DATA",
        f"def DATA(x=list(range({N}))): return x\ndef f(): return DATA",
    ],
)
def test_calls_that_name_something_big_look_at_it_in_full_only_now_and_then(
    space: dict[str, Any], source: str
) -> None:
    exec(source, space)
    codec = CountingCodec()

    first = versions(codec, space["f"])
    n_first = codec.looks.count("DATA")
    same = [versions(codec, space["f"]) for _ in range(4 * SHARE)]

    assert all(each == first for each in same)
    assert 1 <= n_first <= 2
    assert 3 <= codec.looks.count("DATA") - n_first <= 4


def test_what_is_small_is_looked_at_in_full_at_each_call(space: dict[str, Any]) -> None:
    exec("DATA = list(range(2000))\ndef f(): return DATA", space)
    codec = Codec()
    seen = set()

    for place in range(0, 2000, 50):
        space["DATA"][place] = "changed"
        seen.add(tuple(versions(codec, space["f"]).values()))

    assert len(seen) == 40


@pytest.mark.usefixtures("ticks")
def test_a_change_that_a_glance_overlooks_is_seen_when_the_next_full_look_is_due(
    space: dict[str, Any],
) -> None:
    exec(f"DATA = list(range({N}))\ndef f(): return DATA", space)
    codec = Codec()
    before = versions(codec, space["f"])
    overlooked = next(
        place
        for place in range(N // 2, N)
        if place not in glance._places(N)  # the one way to find such a place
    )

    space["DATA"][overlooked] = "changed"
    then = [versions(codec, space["f"]) for _ in range(2 * SHARE)]

    assert then[0] == before
    assert then[-1] != before


@pytest.mark.parametrize(
    "change",
    [
        "DATA.append(0)",
        "DATA.pop()",
        "DATA[0] = 'changed'",
        "DATA[-1] = 'changed'",
        "DATA.reverse()",
        "DATA.clear()",
        "DATA = [9] * 50_000",
        "DATA = 3",
        "del DATA",
    ],
)
def test_other_changes_are_seen_at_the_next_call(space: dict[str, Any], change: str) -> None:
    exec(f"DATA = list(range({N}))\ndef f(): return DATA", space)
    codec = Codec()
    before = versions(codec, space["f"])
    assert versions(codec, space["f"]) == before

    exec(change, space)

    assert versions(codec, space["f"]) != before


def test_the_small_parts_of_something_big_are_never_stale(space: dict[str, Any]) -> None:
    exec(f"DATA = {{'rows': list(range({N})), 'flag': 1, 'names': ['a', 'b']}}\ndef f(): return DATA", space)
    codec = Codec()
    seen = [versions(codec, space["f"])]

    for change in ("DATA['flag'] = 2", "DATA['names'][1] = 'c'", "DATA['rows'].append(1)", "DATA['new'] = 0"):
        exec(change, space)
        seen.append(versions(codec, space["f"]))

    assert len({tuple(each.values()) for each in seen}) == 5


def _set(obj: Any, name: str, value: object) -> None:
    setattr(obj, name, value)


CHANGES: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "list": (lambda: [0] * 500, lambda v: v.__setitem__(250, 1)),
    "long list": (lambda: [0] * N, lambda v: v.append(0)),
    "list in list": (lambda: [[0] * 5 for _ in range(20)], lambda v: v[11].__setitem__(3, 1)),
    "list in tuple": (lambda: ([0] * 5, 7), lambda v: v[0].append(1)),
    "dict": (lambda: dict.fromkeys(range(300), 0), lambda v: v.__setitem__(150, 1)),
    "long dict": (lambda: dict.fromkeys(range(N), 0), lambda v: v.__setitem__(-1, 1)),
    "replaced key": (lambda: dict.fromkeys(range(N), 0), lambda v: (v.popitem(), v.__setitem__(-1, 0))),
    "dict of objects": (lambda: {object(): 0 for _ in range(N)}, lambda v: v.__setitem__(1, 1)),
    "set": (lambda: set(range(N)), lambda v: v.add(-1)),
    "deque": (lambda: deque(range(N)), lambda v: v.rotate()),
    "bytearray": (lambda: bytearray(N), lambda v: v.__setitem__(-1, 1)),
    "array": (lambda: array("d", bytes(8 * N)), lambda v: v.__setitem__(0, 1.0)),
    "attribute": (lambda: SimpleNamespace(a=1, b=[1]), lambda v: _set(v, "a", 2)),
    "in an attribute": (lambda: SimpleNamespace(a=1, b=[1]), lambda v: v.b.append(2)),
    "new attribute": (lambda: SimpleNamespace(a=1), lambda v: _set(v, "c", 2)),
    "slot": (Slotted, lambda v: _set(v, "flag", 2)),
    "in a slot": (Slotted, lambda v: v.rows.append(1)),
}


@pytest.mark.parametrize(("make", "change"), CHANGES.values(), ids=CHANGES)
def test_a_glance_sees(make: Callable[[], Any], change: Callable[[Any], object]) -> None:
    value = make()
    look = Glance((value,))
    assert look.same()

    change(value)

    assert not look.same()


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.fill(1),
        lambda a: a.resize(20_000, refcheck=False),
        lambda a: a.__iadd__(1),
    ],
)
@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")  # of NumPy 2.5
def test_a_glance_sees_an_array_change(change: Callable[[Any], object]) -> None:
    numpy = pytest.importorskip("numpy")
    value = numpy.zeros(10_000)
    look = Glance(([value],))
    assert look.same()

    change(value)

    assert not look.same()


def test_a_glance_runs_no_lookup_or_comparison_of_the_users() -> None:
    class Key:
        def __hash__(self) -> int:
            return 1 if quiet else 1 // 0

        def __eq__(self, other: object) -> bool:
            return self is other if quiet else bool(1 // 0)

    quiet = True
    value = [{Key(): Key() for _ in range(20)}, [Key()], *range(N)]
    quiet = False

    assert Glance((value,)).same()


FORK = """
from ezflow._wire.codec import Codec
codec = Codec(inherits=True)
def nbytes(fn):
    return sum(len(each.data) for each in codec.pack_call(fn, (0,), {})[1])
assert nbytes(f) < 1000, "looked at before the fork"
again = Worker("fork", codec)
assert again(f, 7) == 7
"""


def test_a_forked_worker_has_big_data_that_has_not_changed_since() -> None:
    run_main(
        f"""
        DATA = list(range({N}))
        BULK = "x" * 100_000
        LATE = list(range({N}))
        def f(i):
            return DATA[i] if BULK else None
        def late(i):
            return LATE[i]
        """
        + FORK.replace("\n", "\n        ")
        + """
        assert again(lambda: id(DATA)) == id(DATA), "the very list that it was born with"
        assert nbytes(f) < 1000
        assert nbytes(late) > 10_000, "how it was at the fork is not known"
        assert again(late, 3) == 3
        DATA[0] = "changed"
        assert nbytes(f) > 10_000
        assert again(f, 0) == "changed"
        DATA[0] = 0
        assert again(f, 0) == 0, "it was sent another one meanwhile"
        again.close()
        """
    )


def test_a_forked_worker_is_sent_what_holds_more_than_data() -> None:
    run_main(
        """
        import threading
        from ezflow._wire.codec import Codec
        class Point:
            pass
        POINTS = [Point() for _ in range(20_000)]
        LOCKS = [threading.Lock(), *range(20_000)]
        LOCKS[0].acquire()
        codec = Codec(inherits=True)
        def points(): return all(isinstance(each, Point) for each in POINTS)
        def locks(): return LOCKS[0].acquire(blocking=False)
        for fn in (points, locks):
            assert sum(len(each.data) for each in codec.pack_call(fn, (), {})[1]) > 10_000
        again = Worker("fork", codec)
        assert again(points)
        assert again(locks)
        again.close()
        """
    )
