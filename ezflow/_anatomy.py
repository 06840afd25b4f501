"""What an exception consists of, whatever its class says about itself.

A class may define `__getattribute__`, `__init__`, `__setattr__`, properties or a
metaclass that raise or lie.  Everything here goes past them, by the descriptors
of the builtin classes.
"""

from __future__ import annotations

import builtins
from types import GetSetDescriptorType, MemberDescriptorType

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final, TypeVar

    _E = TypeVar("_E", bound=BaseException)

_FIELDS: Final[dict[str, Any]] = dict(vars(BaseException))
ARGS: Final = _FIELDS["args"]
DICT: Final = _FIELDS["__dict__"]
CAUSE: Final = _FIELDS["__cause__"]
CONTEXT: Final = _FIELDS["__context__"]
SUPPRESS: Final = _FIELDS["__suppress_context__"]
TRACEBACK: Final = _FIELDS["__traceback__"]
GROUP_MESSAGE: Final[Any] = vars(BaseExceptionGroup)["message"]
GROUP_MEMBERS: Final[Any] = vars(BaseExceptionGroup)["exceptions"]

_HEAP_TYPE: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement or PyErr_NewException
_NOT_STATE: Final = frozenset({"__dict__", "__weakref__"})
_BARE: Final = frozenset({object, BaseException, BaseExceptionGroup})
"""Classes whose fields have names of their own above."""


def mro(cls: type) -> tuple[type, ...]:
    """Give a class and its bases, in the order in which they are asked."""
    classes: tuple[type, ...] = type.__getattribute__(cls, "__mro__")
    return classes


def is_builtin(cls: type) -> bool:
    """Tell whether a class stands in `builtins` under its own name."""
    return getattr(builtins, type.__getattribute__(cls, "__name__"), None) is cls


def is_users(cls: type) -> bool:
    """Tell whether a class was written outside the interpreter's core; `ExceptionGroup` only looks like it."""
    return bool(cls.__flags__ & _HEAP_TYPE) and not is_builtin(cls)


def names(cls: type) -> tuple[tuple[str, str], ...]:
    """Give module and qualified name of a class and of its bases that are exceptions, nearest first."""
    named = []
    for base in mro(cls):
        if base is cls or issubclass(base, BaseException):
            module = vars(base).get("__module__", "builtins")
            qualname = type.__getattribute__(base, "__qualname__")
            named.append((module if type(module) is str else "?", str.__str__(qualname)))
    return tuple(named)


def full_name(cls: type) -> str:
    """Name a class as a traceback does."""
    module, qualname = names(cls)[0]
    return qualname if module == "builtins" else f"{module}.{qualname}"


def fields(cls: type) -> Iterator[tuple[str, Any, type]]:
    """Give the slots and C-level fields of a class: name, descriptor and the class that has it.

    Also those that a subclass hides behind a slot or property of the same name.
    """
    known = set()
    for base in mro(cls):
        if base in _BARE:
            continue
        for name, value in vars(base).items():
            kind = type(value)
            if name in _NOT_STATE or not (kind is MemberDescriptorType or kind is GetSetDescriptorType):
                continue
            key = f"{name} of {base.__qualname__}" if name in known else name
            known.add(name)
            yield key, value, base


def field_values(exc: BaseException) -> Iterator[tuple[str, object]]:
    """Give the values of an exception's slots and C-level fields, as far as they are set.

    Left out: ``AttributeError.obj``, the object whose attribute was missing,
    which may be anything of any size (CPython does not pickle it either).
    """
    for name, descriptor, owner in fields(type(exc)):
        if owner is AttributeError and name == "obj":
            continue
        try:
            value = descriptor.__get__(exc)
        except Exception:  # not set
            continue
        # A C-level field that was never set reads as None, and setting None would change str() of an OSError.
        if value is not None or is_users(owner):
            yield name, value


def blank(cls: type[_E], group: tuple[str, tuple[BaseException, ...]] | None = None) -> _E:
    """Make an exception without running any code of its class; the caller sets its state.

    `group` holds message and members of an exception group, which has to have
    them from the start.
    """
    for base in mro(cls):
        if base.__flags__ & _HEAP_TYPE or "__new__" not in vars(base):
            continue
        make = vars(base)["__new__"]
        try:
            made: _E = make(cls, *group) if group and base is BaseExceptionGroup else make(cls)
        except TypeError:  # not the base that decides about the memory layout; a later one does
            continue
        return made
    raise TypeError(f"{cls!r} has no base class that can make a blank instance")
