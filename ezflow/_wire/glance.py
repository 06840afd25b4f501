"""Look at big values cheaply at each call, and in full only every so often.

A list of a million numbers that a function of ``__main__`` names would be pickled at
each call, only to find that it is what it was. A *glance* remembers what can be seen of such
values without looking at all of them: which objects, of which type and size, small
containers whole, of large ones a sample, of arrays the address and a sample of the memory.

A value whose definition is smaller than `BIG` has no glance: it is always looked at in full.
A value that has one is looked at in full when the glance differs, and when the next full look
is due: `SHARE` times what the last one took, after it, so that full looks take at
most one part in `SHARE` of the time. What a glance overlooks is therefore seen late, but it is seen.

What is remembered is kept alive, so no identity is used twice.
"""

from __future__ import annotations

import time
from collections import deque
from itertools import islice
from operator import is_

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Final, TypeAlias

    Check: TypeAlias = Callable[[], bool]

BIG: Final = 1 << 15
"""Bytes of a definition from which on it gets a glance. Larger: such calls cost more to submit; pickling this much takes
about 0.3 ms, which is what the standard pool takes for any call. Smaller: changes inside smaller things are seen late."""

SHARE: Final = 50
"""A full look is due this many times its own duration after the last one. Larger: changes that a glance overlooks are
seen later. Smaller: calls that name big values cost more (2 % of all time now; chosen)."""

_WHOLE: Final = 1024
"""Elements that are compared one by one, 20 ns each, in all containers together (chosen)."""

_SAMPLE: Final = 32  # elements of a container that is too large for that (chosen)

_INSIDE: Final = 4  # of a sample, only each such one is looked into (chosen)

_CHECKS: Final = 64  # containers, about 1 µs each (chosen)

_MANY: Final = 2048  # elements from which on a container is taken for big before it has been pickled (chosen)

_PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes})

_KEYS: Final = frozenset({str, int, bytes})  # looking up others would run the user's code

_ABSENT: Final = object()

clock = time.perf_counter
"""Tests replace it."""


def seems_big(value: object) -> bool:
    """Say, before a value has been pickled, whether it will need a glance; False may also mean: not known."""
    if isinstance(value, list | tuple | dict | set | frozenset | bytearray | deque):
        return len(value) >= _MANY
    if _is_array(type(value)):
        return int(value.nbytes) >= BIG  # type: ignore[attr-defined]  # an array
    return False


class Glance:
    """What values look like from afar.

    Parameters
    ----------
    values : tuple
        What to look at; before it is pickled, so that no change falls between the two.
    """

    __slots__ = ("_checks", "_due", "_left", "_pause", "values")

    def __init__(self, values: tuple[object, ...]) -> None:
        self.values = values
        self._due = 0.0
        self._pause = 0.0
        self._left = _WHOLE
        self._checks: list[Check] = []
        todo = deque(values)
        seen: set[int] = set()
        while todo and len(self._checks) < _CHECKS:
            value = todo.popleft()
            if type(value) in _PLAIN or id(value) in seen:
                continue
            seen.add(id(value))
            try:
                todo.extend(islice(self._add(value), _CHECKS))
            except Exception:  # it will not be looked at this way, so in full only
                continue

    def looked(self, seconds: float) -> None:
        """Note that a full look took this long."""
        self._pause = seconds * SHARE
        self._due = clock() + self._pause

    def holds(self) -> bool:
        """Say that nothing else is to be seen, and that no full look is due."""
        if not self.same():
            return False
        now = clock()
        if now < self._due:
            return True
        self._due = now + self._pause  # who asks looks; other threads need not
        return False

    def same(self) -> bool:
        """Say whether the values look as they did."""
        try:
            return all(check() for check in self._checks)
        except Exception:  # another thread is at it, a sampled element is gone, a `len` of the user's raises
            return False

    # --- kinds of values; each returns what is inside and worth a look of its own

    def _add(self, value: Any) -> Iterable[object]:
        kind = type(value)
        if isinstance(value, dict):
            return self._add_dict(value)
        if isinstance(value, list):
            return self._add_list(value)
        if isinstance(value, tuple):
            return _sampled(value)[:: _INSIDE if len(value) > _SAMPLE else 1]
        if isinstance(value, set | frozenset):
            first = list(islice(value, self._take(len(value))))
            self._checks.append(_size_and(value.__len__, lambda: islice(value, len(first)), first))
            return first
        if isinstance(value, deque):
            ends = [i for i in range(-8, 8) if -len(value) <= i < len(value)]
            then = [value[i] for i in ends]
            self._checks.append(_size_and(value.__len__, lambda: [value[i] for i in ends], then))
            return then
        if _is_array(kind):
            return self._add_array(value)
        if kind is bytearray or (kind.__module__, kind.__qualname__) == ("array", "array"):
            some = _places(len(value))
            self._checks.append(_equal(lambda: (len(value), [value[i] for i in some])))
            return ()
        return self._add_object(value, kind)

    def _add_list(self, value: list[Any]) -> Iterable[object]:
        if len(value) <= self._left:
            then = value.copy()
            self._take(len(then))
            self._checks.append(_size_and(value.__len__, lambda: list.__iter__(value), then))
            return then
        some = _places(len(value))
        then = [list.__getitem__(value, i) for i in some]
        self._checks.append(
            _size_and(value.__len__, lambda: [list.__getitem__(value, i) for i in some], then)
        )
        return then[::_INSIDE]

    def _add_dict(self, value: dict[Any, Any]) -> Iterable[object]:
        if len(value) <= self._left // 2:
            keys, then = list(dict.keys(value)), list(dict.values(value))
            self._take(2 * len(then))
            self._checks.append(_size_and(lambda: dict.__len__(value), lambda: dict.keys(value), keys))
            self._checks.append(_size_and(lambda: dict.__len__(value), lambda: dict.values(value), then))
            return then
        step = max(1, len(value) // _SAMPLE)
        sample = [key for key in islice(dict.__iter__(value), 0, None, step) if type(key) in _KEYS]
        then = [dict.get(value, key, _ABSENT) for key in sample]
        last = next(dict.__reversed__(value))
        self._checks.append(
            _size_and(
                lambda: dict.__len__(value),
                lambda: [next(dict.__reversed__(value)), *[dict.get(value, key, _ABSENT) for key in sample]],
                [last, *then],
            )
        )
        return then[::_INSIDE]

    def _add_array(self, value: Any) -> Iterable[object]:
        some = _places(value.size)
        self._checks.append(
            _equal(
                lambda: (
                    value.shape,
                    value.strides,
                    value.dtype,
                    value.__array_interface__["data"][0],
                    value.flat[some].tobytes(),
                )
            )
        )
        return ()

    def _add_object(self, value: Any, kind: type) -> Iterable[object]:
        if isinstance(value, type):
            return ()  # its content is the story of the name it has
        inside: list[object] = []
        own = getattr(value, "__dict__", None)
        if type(own) is dict:
            inside.append(own)
            self._checks.append(lambda: type(value) is kind and value.__dict__ is own)
        for cls in kind.__mro__:
            slots = cls.__dict__.get("__slots__", ())
            names = [name for name in ((slots,) if isinstance(slots, str) else slots) if name[:2] != "__"]
            if names:
                then = [getattr(value, name, _ABSENT) for name in names]
                self._checks.append(_slots_are(value, names, then))
                inside += then
        if hasattr(kind, "__len__"):
            self._checks.append(_equal(lambda: len(value)))
        if hasattr(kind, "shape"):
            self._checks.append(_equal(lambda: tuple(value.shape)))
        return inside

    def _take(self, n: int) -> int:
        """Spend some of the elements that may be compared one by one; say how many."""
        n = min(n, self._left)
        self._left -= n
        return n


def _is_array(kind: type) -> bool:
    return any(cls.__module__ == "numpy" and cls.__qualname__ == "ndarray" for cls in kind.__mro__)


def _places(n: int) -> list[int]:
    """Return indices of a sample: both ends, and some in between."""
    if n <= _SAMPLE:
        return list(range(n))
    ends = _SAMPLE // 4
    step = n / (2 * ends)
    return sorted({*range(ends), *range(n - ends, n), *[int(i * step) for i in range(2 * ends)]})


def _sampled(values: Sequence[Any]) -> list[object]:
    return [tuple.__getitem__(values, i) for i in _places(len(values))]  # type: ignore[call-overload]  # it is a tuple


def _size_and(size: Callable[[], int], elements: Callable[[], Iterable[object]], then: list[object]) -> Check:
    """Compare a size, and the identities of some elements."""
    n = size()
    return lambda: size() == n and all(map(is_, elements(), then))


def _equal(look: Callable[[], object]) -> Check:
    """Compare what is computed."""
    then = look()
    return lambda: look() == then


def _slots_are(value: object, names: list[str], then: list[object]) -> Check:
    return lambda: all(map(is_, [getattr(value, name, _ABSENT) for name in names], then))
