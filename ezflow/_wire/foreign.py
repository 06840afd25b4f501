"""How things of `ctypes` travel that have no name: libraries, their functions, types of arrays and pointers.

Asked only when such a thing appears, so when `ctypes` is imported already.
"""

from __future__ import annotations

import operator
import sys

from . import rebuild

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from typing import Any, Final

_MADE_WITH: Final = (
    "_type_", "_length_", "_argtypes_", "_restype_", "_flags_", "_pack_", "_anonymous_", "_align_", "_layout_",
    "_swappedbytes_", "_fields_",
)  # fmt: skip
"""What must be there when a class is made; in this order, as fields are laid out when they are set."""

_USE_ERRNO: Final = 0x8


def is_foreign(cls: type) -> bool:
    """Say whether a class describes memory of C."""
    return any(each.__module__ == "_ctypes" for each in cls.__mro__)


def is_field(value: object) -> bool:
    """Say whether an attribute is made with the fields of its class."""
    return type(value).__name__ == "CField" and type(value).__module__ in ("_ctypes", "ctypes")


def namespace(cls: Any) -> dict[str, Any]:
    """Return what a class is to be made with.

    The fields of a class that points to itself are not among it: they can only be set when the class exists.
    """
    own = cls.__dict__
    found = {name: own[name] for name in _MADE_WITH if name in own}
    if "_fields_" in found and _leads_to(cls, [field[1] for field in found["_fields_"]], set()):
        del found["_fields_"]
    return found


def _leads_to(cls: Any, types: list[Any], seen: set[int]) -> bool:
    for each in types:
        if each is cls:
            return True
        if id(each) in seen:
            continue
        seen.add(id(each))
        inside = [field[1] for field in getattr(each, "_fields_", ())]
        target = getattr(each, "_type_", None)
        if isinstance(target, type):
            inside.append(target)
        if _leads_to(cls, inside, seen):
            return True
    return False


def reduce_type(cls: Any) -> Any:
    """Reduce a type that ctypes has made, or a metaclass of its; None: it is neither."""
    import ctypes

    if issubclass(cls, type):
        for base in (ctypes.Structure, ctypes.Union, ctypes.Array, ctypes._Pointer, ctypes._SimpleCData):
            if type(base) is cls:
                return type, (base,)
        return None
    bases = cls.__bases__
    if bases == (ctypes.Array,) and cls.__name__ == f"{cls._type_.__name__}_Array_{cls._length_}":
        return operator.mul, (cls._type_, cls._length_)
    if bases == (ctypes._Pointer,) and ctypes.POINTER(cls._type_) is cls:
        return ctypes.POINTER, (cls._type_,)
    if cls.__name__ == "CFunctionType":
        signature = cls._restype_, *cls._argtypes_
        return (ctypes.CFUNCTYPE, signature) if ctypes.CFUNCTYPE(*signature) is cls else None
    simple = getattr(ctypes, cls.__name__.removesuffix("_be").removesuffix("_le"), None)
    for name in ("__ctype_be__", "__ctype_le__"):
        if getattr(simple, name, None) is cls:
            return getattr, (simple, name)
    return None


def reduce(obj: Any) -> Any:
    """Reduce a library, or a function of one; None: it is neither."""
    ctypes = sys.modules["ctypes"]
    kind = type(obj)
    if issubclass(kind, ctypes.CDLL):
        functions = {
            name: _signature(each) for name, each in list(vars(obj).items()) if isinstance(each, obj._FuncPtr)
        }
        return rebuild.library, (kind, obj._name, bool(obj._FuncPtr._flags_ & _USE_ERRNO), functions)
    kept = getattr(obj, "_objects", None)
    library = kept.get("0") if isinstance(kept, dict) else None
    if kind.__name__ == "_FuncPtr" and isinstance(library, ctypes.CDLL) and isinstance(obj.__name__, str):
        return rebuild.library_function, (library, obj.__name__, _signature(obj))
    return None


def _signature(function: Any) -> tuple[Any, Any, Any]:
    return function.argtypes, function.restype, function.errcheck
