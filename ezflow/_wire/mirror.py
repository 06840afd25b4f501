"""The parent's record of what its workers have been told about one set of globals.

A *mirror* stands for the globals of ``__main__``, of a module that exists in
memory only, or of an exec namespace. Its *entries*, one per name that a call
has needed, hold the name's latest definition and what it needs in turn::

    entry(name)   the entry as of now: unchanged ones are recognised by a watch,
                  or by bytes equal to the last ones; changed ones are built anew

An entry is never changed, only replaced, in one dict assignment. A definition's
version is the hash of its bytes. So threads that build the same entry at once
get equal versions, and a content that comes back has the version it had.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from . import workspace
from .classes import take_apart
from .functions import facts_of, plain_annotations, submodules, unusual_names
from .watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .rebuild import Space

    Root = tuple["Mirror", str] | "Slot"

ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Definition:
    """What a worker is told once: under `key`, replacing what it was told under it before."""

    key: int
    version: int
    data: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """Bytes, and what must be defined before they can be used."""

    data: bytes
    needs: tuple[Root, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """What was last sent under one name."""

    mirror: Mirror
    name: str
    value: object  # kept alive, so that its identity is not used twice
    definition: Definition
    needs: tuple[Root, ...]
    absent: tuple[str, ...] = ()  # names that its code refers to and that stand for nothing yet
    watch: Watch | None = None
    loose: bool = False  # it can change unseen: build it again at each call
    fixed: tuple[Any, ...] = ()  # parts that the watch guards, for the next build

    def is_current(self) -> bool:
        """Say, without pickling, that nothing has changed; False may also mean: not known."""
        return (
            not self.loose
            and self.mirror.globals.get(self.name, ABSENT) is self.value
            and (self.watch is None or self.watch.same())
            and (not self.absent or self.mirror.globals.keys().isdisjoint(self.absent))
        )


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """Code that has no name of its own, as it was last sent."""

    mirror: Mirror | None  # None: globals of an importable module
    definition: Definition
    needs: tuple[Root, ...]
    absent: tuple[str, ...]
    n_modules: int  # 0, or: when there are more, it may reach another submodule of a package it uses
    facts: Any = field(repr=False)

    @property
    def roots(self) -> tuple[Root, ...]:
        """The slot, as the needs of a call."""
        return (self,)

    def is_current(self) -> bool:
        """Say whether it still refers to the same names and submodules."""
        return (not self.n_modules or len(sys.modules) == self.n_modules) and (
            self.mirror is None or not self.absent or self.mirror.globals.keys().isdisjoint(self.absent)
        )


class GlobalFailure(Exception):  # noqa: N818  # never leaves this package
    """A name could not be packed: which, what it stands for, and why."""

    def __init__(self, name: str, value: object, error: Exception) -> None:
        super().__init__(name)
        self.name = name
        self.value = value
        self.error = error


class Builder:
    """What a mirror needs of its codec."""

    inherits: bool

    def build(self, obj: object, owner: tuple[Mirror, str], *, root: object = ABSENT) -> Built:
        """Pickle a part of a definition."""
        raise NotImplementedError

    def key_of(self, mirror: Mirror, name: str) -> int:
        """Number a name."""
        raise NotImplementedError

    def is_by_identity(self, value: object) -> bool:
        """Say whether a value is a thing without content, such as a lock."""
        raise NotImplementedError


class Mirror:
    """Entries of one set of globals.

    Parameters
    ----------
    builder : Builder
        The codec.
    space : Space
        How workers call these globals.
    module : str
        ``__module__`` of the functions and classes that live here.
    globals : dict
        The globals.
    """

    def __init__(self, builder: Builder, space: Space, module: str, globals: dict[str, Any]) -> None:  # noqa: A002  # as Python calls it
        self._builder = builder
        self.space = space
        self.module = module
        self.globals = globals
        self._entries: dict[str, Entry] = {}

    def entry(self, name: str) -> Entry:
        """Return the entry of a name as of now; raises `GlobalFailure`."""
        old = self._entries.get(name)
        if old is not None and old.is_current():
            return old
        value = self.globals.get(name, ABSENT)
        if old is not None and old.value is not value:
            reusable = None
        else:
            reusable = old if old is not None and (old.watch is None or old.watch.same()) else None
        try:
            new = self._build(name, value, reusable)
        except GlobalFailure:
            raise
        except Exception as error:
            new = self._fallback(name, value, error)
        if (
            old is not None
            and old.value is value
            and old.definition.version == new.definition.version
            and old.needs == new.needs
            and old.absent == new.absent
            and reusable is not None
        ):
            return old
        self._entries[name] = new
        return new

    def names_of(self, facts: Any) -> tuple[tuple[Root, ...], tuple[str, ...]]:
        """Split the names that code refers to into those that stand for something here and those that do not."""
        present = self.globals
        return (
            tuple((self, name) for name in facts.names if name in present),
            tuple(name for name in facts.names if name not in present),
        )

    # --- building

    def _build(self, name: str, value: object, old: Entry | None) -> Entry:
        if value is ABSENT:
            return self._entry(name, value, (workspace.REMOVED,), ())
        if isinstance(value, FunctionType):
            if self._lives_here(value, name) and value.__globals__ is self.globals:
                return self._function(name, value, old)
        elif isinstance(value, type) and self._lives_here(value, name) and not isinstance(self.space, int):
            return self._class(name, value, old)
        return self._variable(name, value)

    def _lives_here(self, value: Any, name: str) -> bool:
        return value.__module__ == self.module and value.__qualname__ == name

    def _entry(
        self, name: str, value: object, parts: tuple[Any, ...], needs: Iterable[Root], **more: Any
    ) -> Entry:
        kind, *rest = parts
        here = (self, name)
        data = self._builder.build((kind, self.space, name, *rest), here).data
        definition = Definition(self._builder.key_of(self, name), hash(data), data)
        unique = dict.fromkeys(needs)
        unique.pop(here, None)
        return Entry(self, name, value, definition, tuple(unique), **more)

    def _variable(self, name: str, value: object) -> Entry:
        watch = Watch()
        steady = self._builder.is_by_identity(value) or watch.add(value)
        built = self._builder.build(value, (self, name), root=value)
        return self._entry(
            name,
            value,
            (workspace.VARIABLE, built.data),
            built.needs,
            watch=watch.freeze() if steady else None,
            loose=not steady,
        )

    def _fallback(self, name: str, value: object, error: Exception) -> Entry:
        """Define a name whose value cannot be pickled: by where else it is to be found."""
        home = find_home(value)
        if home is not None:
            from . import rebuild

            built = self._builder.build(Call(rebuild.attribute, home), (self, name))
            return self._entry(name, value, (workspace.VARIABLE, built.data), ())
        if self._builder.inherits:
            return self._entry(
                name, value, (workspace.INHERITED, f"{name!r} of the main program: {error}"), ()
            )
        raise GlobalFailure(name, value, error) from error

    def _function(self, name: str, function: FunctionType, old: Entry | None) -> Entry:
        here = (self, name)
        facts = facts_of(function.__code__)
        needs, absent = self.names_of(facts)
        if old is not None and old.fixed:
            watch, steady, parts = old.watch, not old.loose, old.fixed
        else:
            watch = Watch()
            steady = watch.add(function, owner=True)
            watch.freeze()
            imports = submodules(facts, (self.globals[n] for n in facts.names if n in self.globals))
            parts = (workspace.FUNCTION, facts.data, plain_annotations(function), imports)
        contents = [_content(cell) for cell in function.__closure__ or ()]
        attributes = dict(function.__dict__) or None
        names = unusual_names(function, facts)
        state: bytes | None = None
        if contents or function.__defaults__ or function.__kwdefaults__ or attributes or names:
            built = self._builder.build(
                (contents, (function.__defaults__, function.__kwdefaults__, attributes, names)), here
            )
            state = built.data
            needs = (*needs, *built.needs)
        return self._entry(
            name, function, (*parts, state), needs, absent=absent, watch=watch, loose=not steady, fixed=parts
        )

    def _class(self, name: str, cls: type, old: Entry | None) -> Entry:
        here = (self, name)
        build = self._builder.build
        classes = list(_with_inner(cls))
        if old is not None and old.fixed:
            watch, absent = old.watch, old.absent
            skeletons, body, loose_names, fixed_needs = old.fixed
        else:
            watch = Watch()
            loose_names = {each: watch.add_class(each) for each in classes}
            watch.freeze()
            needs: list[Root] = []
            skeletons = []
            bodies = []
            for each in classes:
                parts = take_apart(each)
                skeleton = build(Call(parts.make, parts.arguments), here)
                needs += skeleton.needs
                skeletons.append((each.__qualname__, skeleton.data))
                inner = {c.__qualname__ for c in classes}
                attributes = {
                    key: value
                    for key, value in parts.attributes.items()
                    if key not in loose_names[each]
                    and not (isinstance(value, type) and getattr(value, "__qualname__", None) in inner)
                }
                bodies.append((each, (attributes, parts.registered, parts.members)))
            built = build(bodies, here)
            needs += built.needs
            body = built.data
            fixed_needs = tuple(dict.fromkeys(needs))
            absent = ()
        loose: bytes | None = None
        all_needs: tuple[Root, ...] = fixed_needs
        if any(loose_names.values()):
            built = build(
                [
                    (each, ({key: each.__dict__[key] for key in keys if key in each.__dict__}, (), {}))
                    for each, keys in loose_names.items()
                ],
                here,
            )
            loose = built.data
            all_needs = (*fixed_needs, *built.needs)
        return self._entry(
            name,
            cls,
            (workspace.CLASS, skeletons, body, loose),
            all_needs,
            absent=absent,
            watch=watch,
            loose=loose is not None,
            fixed=(skeletons, body, loose_names, fixed_needs),
        )


class Call:
    """Pickles as a call whose value stands in its place."""

    __slots__ = ("_reduced",)

    def __init__(self, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._reduced = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Any, ...]]:
        return self._reduced


def _content(cell: Any) -> tuple[object, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def _with_inner(cls: type) -> Iterable[type]:
    """Yield a class and the classes defined inside it, outer ones first."""
    yield cls
    for name, value in list(cls.__dict__.items()):
        if (
            isinstance(value, type)
            and value.__module__ == cls.__module__
            and value.__qualname__ == f"{cls.__qualname__}.{name}"
        ):
            yield from _with_inner(value)


def find_home(value: object) -> tuple[str, str] | None:
    """Find an importable module that holds this very object under some name: slow, for rare objects."""
    from .where import is_importable

    for module_name, module in list(sys.modules.items()):
        space = getattr(module, "__dict__", None)
        if module is None or space is None or module_name in ("__main__", "__mp_main__"):
            continue
        for name, found in list(space.items()):
            if found is value:
                if is_importable(module_name, module):
                    return module_name, name
                break
    return None
