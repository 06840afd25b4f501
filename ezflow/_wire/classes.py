"""Take a class apart: an empty class, what goes into it, what was registered with it."""

from __future__ import annotations

import sys
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType

from . import foreign, rebuild
from .functions import plain_annotations
from .where import is_importable, named

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

NOT_STATE: Final = frozenset(
    {
        "__module__", "__qualname__", "__slots__", "__classcell__",  # given when the class is made
        "__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__",  # handled apart
        "_abc_impl",  # belongs to the process
    }
)  # fmt: skip

MADE_BY_ENUM: Final = frozenset(
    {
        "_generate_next_value_", "_member_names_", "_member_map_", "_member_type_", "_value2member_map_",
        "_hashable_values_", "_unhashable_values_", "_unhashable_values_map_", "_value_repr_", "_use_args_",
        "_new_member_", "__new_member__", "__new__", "_inverted_", "_flag_mask_", "_singles_mask_",
        "_all_bits_", "_boundary_",
    }
)  # fmt: skip

MADE_BY_NAMEDTUPLE: Final = frozenset(
    {
        "__new__", "_make", "_replace", "__replace__", "_asdict", "__getnewargs__", "__match_args__",
        "_fields", "_field_defaults", "__slots__",
    }
)  # fmt: skip

MEMBER_ATTRIBUTES_OF_ENUM: Final = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_"})


class ClassParts:
    """A class in pieces.  Never changed."""

    __slots__ = ("arguments", "attributes", "make", "members", "registered")

    def __init__(
        self,
        make: Callable[..., type],
        arguments: tuple[Any, ...],
        attributes: dict[str, Any],
        registered: tuple[type, ...],
        members: dict[str, dict[str, Any]],
    ) -> None:
        self.make = make
        self.arguments = arguments
        self.attributes = attributes
        self.registered = registered
        self.members = members

    @property
    def state(self) -> rebuild.ClassState:
        """What `rebuild.set_class_state` takes."""
        return self.attributes, self.registered, self.members, tuple(self.attributes)


def take_apart(cls: type) -> ClassParts:
    """Take a class apart. Neither metaclass nor class code runs, save for annotations of Python 3.14."""
    token = rebuild.token_of(cls)
    if _is_enum(cls):
        return _enum_parts(cls, token)
    if _is_namedtuple(cls):
        return _namedtuple_parts(cls, token)
    own = cls.__dict__
    namespace: dict[str, Any] = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    if "__slots__" in own:
        slots = own["__slots__"]
        namespace["__slots__"] = slots if isinstance(slots, str) else tuple(slots)
    if isinstance(own.get("__dict__"), property):
        namespace["__dict__"] = own["__dict__"]
    attributes = _attributes(cls, NOT_STATE)
    if "_ctypes" in sys.modules and foreign.is_foreign(cls):
        namespace |= foreign.namespace(cls)
        attributes = {
            name: value
            for name, value in attributes.items()
            if name not in namespace and not foreign.is_field(value)
        }
    bases = own.get("__orig_bases__", cls.__bases__)
    return ClassParts(
        rebuild.make_class,
        (
            type(cls),
            _creator(type(cls)),
            cls.__name__,
            tuple(bases),
            namespace,
            token,
            tuple(
                each
                for each in cls.__mro__[1:]
                if "__init_subclass__" in each.__dict__ and not _is_importable(each)
            ),
        ),
        attributes,
        _registered(cls),
        {},
    )


def _is_importable(cls: type) -> bool:
    home = sys.modules.get(cls.__module__)
    return home is not None and named(home, cls.__qualname__, cls) and is_importable(cls.__module__, home)


def _creator(meta: type) -> type:
    """Return the first importable class among a metaclass and its bases."""
    return next(each for each in meta.__mro__ if _is_importable(each) or each.__module__ == "_ctypes")


def _attributes(cls: type, without: frozenset[str]) -> dict[str, Any]:
    """Return the attributes to be set on the empty class."""
    found: dict[str, Any] = {}
    for name, value in list(cls.__dict__.items()):
        if name in without:
            continue
        if isinstance(value, GetSetDescriptorType | MemberDescriptorType) and (
            value.__objclass__ is cls or name in ("__dict__", "__weakref__")  # since 3.15 they are object's
        ):
            continue  # made with the class, as are slots
        found[name] = value
    annotations = plain_annotations(cls) if _has_annotations(cls) else None
    if annotations:
        found["__annotations__"] = annotations
    return found


def _has_annotations(cls: type) -> bool:
    own = cls.__dict__
    return "__annotations__" in own or "__annotate_func__" in own or "__annotate__" in own


def _registered(cls: type) -> tuple[type, ...]:
    """Return the virtual subclasses of an abstract base class."""
    if "_abc_impl" not in cls.__dict__:
        return ()
    from abc import _get_dump  # type: ignore[attr-defined]  # what cloudpickle uses, too; there is no public way

    found = (reference() for reference in _get_dump(cls)[0])
    return tuple(sorted((each for each in found if each is not None), key=_full_name))


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _is_enum(cls: type) -> bool:
    enum = sys.modules.get("enum")
    return enum is not None and isinstance(cls, enum.EnumMeta) and cls is not enum.Enum


def _enum_parts(cls: Any, token: str) -> ClassParts:
    members = {name: member.value for name, member in cls.__members__.items()}
    attributes = {
        name: value
        for name, value in _attributes(cls, NOT_STATE | MADE_BY_ENUM).items()
        if name not in members
    }
    boundary = getattr(cls, "_boundary_", None)  # flags have one
    extra = {
        name: {key: value for key, value in member.__dict__.items() if key not in MEMBER_ATTRIBUTES_OF_ENUM}
        for name, member in cls.__members__.items()
    }
    return ClassParts(
        rebuild.make_enum,
        (
            cls.__bases__,
            cls.__name__,
            cls.__qualname__,
            members,
            cls.__module__,
            token,
            {"boundary": boundary} if boundary is not None else {},
        ),
        attributes,
        (),
        {name: values for name, values in extra.items() if values},
    )


def _is_namedtuple(cls: type) -> bool:
    own = cls.__dict__
    return tuple in cls.__bases__ and "_field_defaults" in own and "_make" in own and "_fields" in own


def _namedtuple_parts(cls: Any, token: str) -> ClassParts:
    import collections

    defaults = cls._field_defaults
    fields = tuple(cls._fields)
    attributes = {
        name: value
        for name, value in _attributes(cls, NOT_STATE | MADE_BY_NAMEDTUPLE).items()
        if not (isinstance(value, FunctionType) and value.__globals__ is collections.__dict__)
    }
    return ClassParts(
        rebuild.make_namedtuple,
        (
            cls.__name__,
            fields,
            tuple(defaults[name] for name in fields if name in defaults),
            cls.__bases__,
            {"__module__": cls.__module__, "__qualname__": cls.__qualname__},
            token,
        ),
        attributes,
        (),
        {},
    )
