"""Notice cheaply that a function or class of the parent has changed since it was last sent.

A watch remembers the identities of everything that makes up an object:
code, defaults, closure contents, attributes. Identity is enough for what
cannot change in place; for what can (a list, an instance), `add` answers
False, and its owner pickles it again at each call and compares bytes.

The remembered objects are kept alive, so no identity is used twice.
"""

from __future__ import annotations

import functools
import operator
import sys
from itertools import chain
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)

from .classes import MADE_BY_ENUM
from .where import is_default, is_importable, named

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Final

_FIXED_NAMES: Final = frozenset(
    {
        ("re", "Pattern"), ("decimal", "Decimal"), ("fractions", "Fraction"), ("uuid", "UUID"),
        ("datetime", "datetime"), ("datetime", "date"), ("datetime", "time"), ("datetime", "timedelta"),
        ("datetime", "timezone"), ("pathlib", "PosixPath"), ("pathlib", "WindowsPath"),
        ("pathlib._local", "PosixPath"), ("pathlib._local", "WindowsPath"), ("pathlib", "PurePosixPath"),
        ("logging", "Logger"), ("logging", "RootLogger"), ("operator", "attrgetter"), ("operator", "itemgetter"),
        ("operator", "methodcaller"), ("typing", "TypeVar"), ("typing", "ParamSpec"), ("typing", "TypeVarTuple"),
        ("typing", "NewType"), ("typing", "TypeAliasType"), ("types", "GenericAlias"), ("types", "UnionType"),
        ("typing", "Union"), ("dataclasses", "Field"), ("collections", "_tuplegetter"),
        ("_collections", "_tuplegetter"), ("_ctypes", "CField"), ("ctypes", "CField"),
    }
)  # fmt: skip
"""Types whose instances do not change in place, by name, so that their modules need not be imported.

Loggers travel as their name. A dataclass's fields do not change once the class is made; a `_tuplegetter` is a field of a
named tuple class."""

_FEW: Final = 16
"""Elements up to which a container is watched; above, pickling it again is the cheaper way (chosen)."""

_FIXED: Final = frozenset(
    {
        type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented), range, CodeType,
        ModuleType, BuiltinFunctionType, MemberDescriptorType, GetSetDescriptorType, MethodDescriptorType,
        WrapperDescriptorType, type(object.__subclasshook__), type(functools.reduce), object,
    }
)  # fmt: skip
"""More of them."""

_function_parts: Final[Callable[[Any], tuple[Any, ...]]] = operator.attrgetter(
    "__code__", "__defaults__", "__kwdefaults__", "__closure__"
)

_cell_content: Final[Callable[[CellType], object]] = operator.attrgetter("cell_contents")

_EMPTY: Final = object()

_FIXED_ATTRIBUTES: Final = MADE_BY_ENUM | {
    "__dataclass_fields__", "__dataclass_params__", "__abstractmethods__", "_abc_impl", "__annotations__",
    "__annotate__", "__annotate_func__", "__annotations_cache__", "__dict__", "__weakref__", "__doc__",
    "__orig_bases__", "__parameters__", "__type_params__", "__attrs_attrs__", "__attrs_props__",
    "_field_defaults", "_fields", "_fields_",
}  # fmt: skip
"""Attributes of a class that nobody changes in place once it is made."""

_MADE_BY_CLASS_STATEMENT: Final = 1 << 9
"""Flag of a type that is not built in (Py_TPFLAGS_HEAPTYPE)."""


def can_be_shared(value: object) -> bool:
    """Say whether it matters that two names stand for one and the same object."""
    kind = type(value)
    if kind in _FIXED or (kind.__module__, kind.__qualname__) in _FIXED_NAMES:
        return kind is object
    return not isinstance(value, type) and kind is not FunctionType and kind is not tuple


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


class Watch:
    """What an object was made of when it was sent. Filled by `add`, closed by `freeze`, then never changed."""

    __slots__ = ("_cells", "_empty", "_functions", "_mappings", "_names", "_seen", "_sequences", "_then")

    def __init__(self) -> None:
        self._functions: list[FunctionType] = []
        self._empty: list[Mapping[Any, Any]] = []  # must stay empty
        self._cells: list[CellType] = []
        self._mappings: list[Mapping[Any, Any]] = []
        self._sequences: list[Iterable[Any]] = []
        self._names: list[tuple[dict[str, Any], str]] = []
        self._seen: dict[int, object] = {}
        self._then: list[object] = []

    def freeze(self) -> Watch:
        """Remember how things are now."""
        self._seen = {}
        self._then = self._now()
        return self

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to compare, ever."""
        return not (self._functions or self._cells or self._mappings or self._sequences or self._names)

    def same(self) -> bool:
        """Say whether everything is still as it was."""
        if any(self._empty):
            return False
        now, then = self._now(), self._then
        return len(now) == len(then) and all(map(operator.is_, now, then))

    def _now(self) -> list[object]:
        now: list[object] = list(chain.from_iterable(map(_function_parts, self._functions)))
        if self._cells:
            try:
                now += map(_cell_content, self._cells)
            except ValueError:  # one is empty
                now += map(_content, self._cells)
        for mapping in self._mappings:
            now += mapping
            now += mapping.values()
        for sequence in self._sequences:
            now += sequence
        if self._names:
            now += [space.get(name) for space, name in self._names]
        return now

    def add(self, value: object, *, owner: bool = False) -> bool:
        """Watch a value; False if it can change in a way that a watch does not see.

        `owner` is for the function or class that is being sent: it is looked into, where others are
        references by name.
        """
        kind = type(value)
        if kind in _FIXED:
            return True
        if id(value) in self._seen:
            return True
        self._seen[id(value)] = value
        if kind is FunctionType:
            return (not owner and self._by_reference(value)) or self._add_function(value)  # type: ignore[arg-type]
        if isinstance(value, type):
            return self._by_reference(value) or not self.add_class(value)
        if kind is tuple or kind is frozenset:
            return self._add_all(value)  # type: ignore[arg-type]
        if kind is list or kind is set:
            return self._add_few(value, value, self._sequences)
        if kind is dict:
            return self._add_few(value, [*value, *value.values()], self._mappings)  # type: ignore[misc,attr-defined]
        if kind is staticmethod or kind is classmethod:
            return self.add(value.__func__, owner=True)  # type: ignore[attr-defined]
        if kind is property:
            parts = (value.fget, value.fset, value.fdel)  # type: ignore[attr-defined]
            return self._add_all(parts, owner=True)
        if kind is functools.cached_property:
            return self.add(value.func, owner=True)  # type: ignore[attr-defined]
        if kind is functools.partial:
            pieces = (value.func, value.args, value.keywords, value.__dict__)  # type: ignore[attr-defined]
            return self._add_all(pieces)
        if (kind.__module__, kind.__qualname__) in _FIXED_NAMES:
            return True
        try:
            is_plain = _is_plain_instance(value)
        except Exception:  # a proxy whose __dict__ is a matter of luck
            is_plain = False
        if is_plain and self.add(kind):
            return self._add_few(value.__dict__, value.__dict__.values(), self._mappings)
        return False

    def add_class(self, cls: type) -> frozenset[str]:
        """Watch a class; return the names of the attributes that can change unseen."""
        self._mappings.append(cls.__dict__)
        members = cls.__dict__.get("_member_map_", ())
        prefix = cls.__qualname__ + "."
        loose = set()
        for name, value in list(cls.__dict__.items()):
            if name in _FIXED_ATTRIBUTES or name in members:
                continue
            if isinstance(value, type) and value.__qualname__.startswith(prefix):
                continue  # defined inside this class: watched apart
            if not self.add(value, owner=True):
                loose.add(name)
        return frozenset(loose)

    def add_name(self, space: dict[str, Any], name: str) -> None:
        """Watch which object a global name stands for."""
        self._names.append((space, name))

    def merge(self, others: Iterable[Watch]) -> Watch:
        """Watch what several watches do; they must all be frozen."""
        for other in others:
            self._functions += other._functions
            self._cells += other._cells
            self._empty += other._empty
            self._mappings += other._mappings
            self._sequences += other._sequences
            self._names += other._names
        return self.freeze()

    def _add_all(self, values: Iterable[object], *, owner: bool = False) -> bool:
        """Watch all of them, whatever the first ones say."""
        return not [value for value in values if not self.add(value, owner=owner)]

    def _add_few(self, container: Any, items: Any, group: list[Any]) -> bool:
        if len(container) > _FEW or not self._add_all(items):
            return False
        group.append(container)
        return True

    def _add_function(self, function: FunctionType) -> bool:
        self._functions.append(function)
        (self._mappings if function.__dict__ else self._empty).append(function.__dict__)
        found = [self.add(value) for value in function.__dict__.values()]
        for part in (function.__defaults__, function.__closure__):
            for value in part or ():
                if type(value) is CellType:
                    self._cells.append(value)
                    found.append(self.add(_content(value)))
                else:
                    found.append(self.add(value))
        if function.__kwdefaults__:
            found.append(self.add(function.__kwdefaults__))
        return all(found)

    def _by_reference(self, value: Any) -> bool:
        """Say whether a function or class has a name to be found by; its content is then somebody else's story.

        In ``__main__`` the name may stand for something else tomorrow, so it is watched.
        """
        module = value.__module__
        home = sys.modules.get(module)
        if home is None or not named(home, value.__qualname__, value):
            return False
        if not is_importable(module, home):
            self._names.append((home.__dict__, value.__qualname__.partition(".")[0]))
        return True


def _is_plain_instance(value: Any) -> bool:
    """Say whether an object is nothing but its class and its ``__dict__``."""
    kind = type(value)
    return (
        is_default(kind, "__reduce_ex__")
        and is_default(kind, "__reduce__")
        and is_default(kind, "__getstate__")
        and type(getattr(value, "__dict__", None)) is dict
        and all(
            cls.__flags__ & _MADE_BY_CLASS_STATEMENT and not cls.__dict__.get("__slots__")
            for cls in kind.__mro__[:-1]
        )
    )
