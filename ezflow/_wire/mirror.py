"""The parent's record of what its workers have been told about one set of globals.

A *mirror* stands for the globals of ``__main__``, of a module that exists in
memory only, or of an exec namespace. Its *entries*, one per name that a call
has needed, hold the name's latest definition and what it needs in turn::

    entry(name)   the entry as of now: unchanged ones are recognised by a watch,
                  or by bytes equal to the last ones; changed ones are built anew

An entry is never changed, only replaced, in one dict assignment (save for its glance: see there). A definition's
version is the hash of its bytes, and of the identities of the classes it names: a
list that holds a class must be sent again when the class was defined anew, though
its bytes are the same. So threads that build the same entry at once
get equal versions, and a content that comes back has the version it had.
"""

from __future__ import annotations

import functools
import sys
from types import (
    BuiltinFunctionType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)

from . import glance as glances
from . import rebuild, workspace
from .classes import take_apart
from .functions import facts_of, is_package, plain_annotations, submodules, unusual_names
from .glance import BIG, Glance, seems_big
from .watch import Watch, can_be_shared
from .where import is_importable, named

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Final, TypeAlias

    from .rebuild import Space

Root: TypeAlias = "tuple[Mirror, str] | Slot"
"""What a payload or definition needs: a name, or code that has none."""

ABSENT: Final = object()
LOOSE: Final = object()

_BODY: Final = (
    FunctionType, staticmethod, classmethod, property, functools.cached_property, str, int, type(None), type,
    MemberDescriptorType, GetSetDescriptorType, WrapperDescriptorType, BuiltinFunctionType,
)  # fmt: skip
"""Kinds of attributes that a class gets before any instance of any class is made in the worker."""


# The records below are never changed once made, and compared by identity.  No dataclasses: that module takes 8 ms to
# import, and 0.5 ms for each of them.


class Definition:
    """What a worker is told once: under `key`, replacing what it was told under it before."""

    __slots__ = ("data", "key", "version")

    def __init__(self, key: int, version: int, data: bytes) -> None:
        self.key = key
        self.version = version
        self.data = data


class Built:
    """Bytes, and what must be defined before they can be used."""

    __slots__ = ("absent", "data", "identities", "is_own", "n_modules", "needs")

    def __init__(
        self,
        data: bytes,
        needs: tuple[Root, ...],
        identities: tuple[str, ...],  # of the classes and the like that it refers to by name
        absent: tuple[str, ...],  # names its code refers to that stand for nothing in its mirror
        n_modules: int,  # as in `Slot`
        is_own: bool = False,  # a worker gets something of its own, such as a new lock, where the parent has another
    ) -> None:
        self.is_own = is_own
        self.data = data
        self.needs = needs
        self.identities = identities
        self.absent = absent
        self.n_modules = n_modules


class Entry:
    """What was last sent under one name."""

    __slots__ = (
        "absent", "definition", "first", "fixed", "glance", "is_big", "loose", "mirror", "n_modules", "name", "needs",
        "users", "value", "watch",
    )  # fmt: skip

    def __init__(
        self,
        mirror: Mirror,
        name: str,
        value: object,  # kept alive, so that its identity is not used twice; LOOSE if it is not compared
        definition: Definition,
        needs: tuple[Root, ...],
        absent: tuple[str, ...] = (),  # names that its code refers to and that stand for nothing yet
        n_modules: int = 0,  # as in `Slot`
        watch: Watch | None = None,
        loose: bool = False,  # it can change unseen: build it again at each call, save for a glance
        fixed: tuple[Any, ...] = (),  # parts that the watch guards, for the next build
        glance: Glance | None = None,  # if loose and big; the only part that is ever replaced
        size: int = 0,  # bytes that were looked at, if they are not in the definition
        first: tuple[Root, ...] = (),  # needs without which not even an empty class can be made
    ) -> None:
        self.mirror = mirror
        self.name = name
        self.value = value
        self.definition = definition
        self.needs = needs
        self.absent = absent
        self.n_modules = n_modules
        self.watch = watch
        self.loose = loose
        self.fixed = fixed
        self.first = first
        self.is_big = max(size, len(definition.data)) >= BIG
        self.glance = glance if self.is_big else None
        self.users: list[tuple[Root, ...]] = []  # needs that led here; see Builder.forget

    def is_current(self) -> bool:
        """Say, without pickling, that nothing has changed; False may also mean: not known."""
        value, glance = self.value, self.glance
        if self.loose:
            if glance is None:
                return False
            if value is LOOSE:
                value = glance.values[0]
        return (
            self.mirror.globals.get(self.name, ABSENT) is value
            and self.is_watched_part_current()
            and (glance is None or glance.holds())
        )

    def is_watched_part_current(self) -> bool:
        """Say that what `fixed` was made from is as it was."""
        return (
            (self.watch is None or self.watch.same())
            and (not self.absent or self.mirror.globals.keys().isdisjoint(self.absent))
            and (not self.n_modules or self.n_modules == len(sys.modules))
        )


class Slot:
    """Code that has no name of its own, as it was last sent."""

    __slots__ = ("absent", "definition", "facts", "mirror", "n_modules", "needs")

    def __init__(
        self,
        mirror: Mirror | None,  # None: globals of an importable module
        definition: Definition,
        needs: tuple[Root, ...],
        absent: tuple[str, ...],
        n_modules: int,  # 0, or: when there are more, it may reach another submodule of a package it uses
        facts: Any,
    ) -> None:
        self.mirror = mirror
        self.definition = definition
        self.needs = needs
        self.absent = absent
        self.n_modules = n_modules
        self.facts = facts

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

    def has_forked(self) -> bool:
        """Say whether workers may have been forked already; False: what is seen now they will inherit."""
        raise NotImplementedError

    def key_of(self, mirror: Mirror, name: str) -> int:
        """Number a name."""
        raise NotImplementedError

    def is_by_identity(self, value: object) -> bool:
        """Say whether a value is a thing without content, such as a lock."""
        raise NotImplementedError

    def reason(self, name: str, value: object, error: Exception) -> tuple[str, str, bool] | None:
        """Say why a global cannot be sent: text, path, whether it is a TypeError; None: that is the user's own error."""
        raise NotImplementedError

    def forget(self, entry: Entry) -> None:
        """Drop what is held because of an entry that has been replaced, so that its old value can be freed."""
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
        self._at_fork: dict[str, int | None] = {}
        """Hashes of big contents that forked workers have inherited, None where they have been sent another one."""
        self._once_absent: set[str] = set()
        """Names that calls have needed when they stood for nothing: what they stand for later is a change,
        and so comes before what a worker's own code has put there."""

    def entry(self, name: str) -> Entry:
        """Return the entry of a name as of now; raises `GlobalFailure`."""
        old = self._entries.get(name)
        if old is not None and old.is_current():
            return old
        value = self.globals.get(name, ABSENT)
        reusable = old
        if old is not None and (old.value is not value or not old.is_watched_part_current()):
            reusable = None
        began = glances.clock()
        try:
            new = self._build(name, value, reusable)
        except GlobalFailure:
            raise
        except Exception as error:
            new = self._fallback(name, value, error)
        if new.glance is not None:
            new.glance.looked(glances.clock() - began)
        if old is not None:
            if old.value is new.value and _equal(old, new) and (reusable is not None or new.value is LOOSE):
                old.glance = new.glance
                return old
            self._builder.forget(old)
        self._entries[name] = new
        return new

    def names_of(self, facts: Any) -> tuple[tuple[Root, ...], tuple[str, ...]]:
        """Split the names that code refers to into those that stand for something here and those that do not."""
        present = self.globals
        absent = tuple(name for name in facts.names if name not in present)
        self._once_absent.update(absent)
        return tuple((self, name) for name in facts.names if name not in absent), absent

    # --- building

    def _build(self, name: str, value: object, old: Entry | None) -> Entry:
        if value is ABSENT:
            self._once_absent.add(name)
            return self._entry(name, value, (workspace.REMOVED,))
        if isinstance(value, FunctionType):
            home = sys.modules.get(value.__module__)
            is_elsewhere = home is not None and named(home, value.__qualname__, value)
            if value.__globals__ is self.globals and (self._lives_here(value, name) or not is_elsewhere):
                return self._function(name, value, old)
        elif isinstance(value, type) and self._lives_here(value, name) and not isinstance(self.space, int):
            return self._class(name, value, old)
        return self._variable(name, value)

    def _lives_here(self, value: Any, name: str) -> bool:
        return bool(value.__module__ == self.module and value.__qualname__ == name)

    def _glance(self, name: str, values: tuple[object, ...]) -> Glance | None:
        """Look at what can change unseen, before it is pickled, if it is big or was so the last time."""
        last = self._entries.get(name)
        return Glance(values) if (last is not None and last.is_big) or any(map(seems_big, values)) else None

    def _entry(self, name: str, value: object, parts: tuple[Any, ...], *made: Built, **more: Any) -> Entry:
        """Put an entry together from what is sent and from what went into it."""
        kind, *rest = parts
        here = (self, name)
        data = self._builder.build((kind, self.space, name, *rest), here).data
        identities = tuple(dict.fromkeys(each for built in made for each in built.identities))
        needs = dict.fromkeys(need for built in made for need in built.needs)
        needs.pop(here, None)
        return Entry(
            self,
            name,
            value,
            Definition(self._builder.key_of(self, name), hash((data, identities)), data),
            tuple(needs),
            absent=tuple(dict.fromkeys(each for built in made for each in built.absent)),
            n_modules=min((built.n_modules for built in made if built.n_modules), default=0),
            **more,
        )

    def _variable(self, name: str, value: object) -> Entry:
        watch = Watch()
        steady = self._builder.is_by_identity(value) or watch.add(value)
        glance = None if steady else self._glance(name, (value,))
        what = value if value is not sys.modules else Call(rebuild.attribute, ("sys", "modules"))
        built = self._builder.build(what, (self, name), root=value)
        if self._is_inherited(name, built):
            parts: tuple[Any, ...] = (workspace.INHERITED, f"{name!r} of the main program is gone")
        else:
            parts = workspace.VARIABLE, built.data, name in self._once_absent
        return self._entry(
            name,
            value if steady else LOOSE,
            parts,
            built,
            watch=watch.freeze() if steady else None,
            loose=not steady,
            glance=glance,
            size=len(built.data),
        )

    def _is_inherited(self, name: str, built: Built) -> bool:
        """Say whether forked workers have this content already: big data, as it was when they were forked.

        Data only: what names classes of the main program must hold those that the worker was sent, and a lock must
        be a new one.
        """
        if self.space is not None or not self._builder.inherits or len(built.data) < BIG:
            return False
        content = None if built.needs or built.identities or built.is_own else hash(built.data)
        if not self._builder.has_forked():  # asked after the look, so what was seen is what will be inherited
            self._at_fork[name] = content
        elif self._at_fork.get(name) != content:
            self._at_fork[name] = None  # it was sent, so that they have another one
        return content is not None and self._at_fork.get(name) == content

    def _fallback(self, name: str, value: object, error: Exception) -> Entry:
        """Define a name whose value cannot be pickled: by where else it is to be found."""
        home = find_home(value)
        if home is not None:
            built = self._builder.build(Call(rebuild.attribute, home), (self, name))
            return self._entry(name, value, (workspace.VARIABLE, built.data, False), built)
        if self._builder.inherits:
            return self._entry(name, value, (workspace.INHERITED, f"{name!r} of the main program: {error}"))
        reason = self._reason(name, value, error)
        if reason is None:
            raise GlobalFailure(name, value, error) from error
        # It may be mended in place, so it is looked at again from time to time.
        return self._entry(
            name,
            value,
            (workspace.MISSING, *reason),
            loose=True,
            glance=Glance((value,)),
            size=BIG,
            fixed=reason,
        )

    def _reason(self, name: str, value: object, error: Exception) -> tuple[str, str, bool] | None:
        """Say why a worker gets a stand-in for a global; None: the call is not to be sent."""
        if isinstance(value, FunctionType | type):
            return None
        last = self._entries.get(name)
        if last is not None and last.value is value and last.fixed and last.glance is not None:
            return last.fixed  # of a variable that could not be sent it is this
        return self._builder.reason(name, value, error)

    def _function(self, name: str, function: FunctionType, old: Entry | None) -> Entry:
        reused = old.watch if old is not None else None
        if old is not None and reused is not None and old.fixed:
            watch, steady = reused, not old.loose
            parts, code = old.fixed
        else:
            watch = Watch()
            steady = watch.add(function, owner=True)
            facts = facts_of(function.__code__)
            needs, absent = self.names_of(facts)
            n_modules = len(
                sys.modules
            )  # before `submodules` looks: one imported meanwhile must not be missed
            values = [self.globals[each] for each in facts.names if each in self.globals]
            parts = (workspace.FUNCTION, facts.data, plain_annotations(function), submodules(facts, values))
            code = Built(b"", needs, (), absent, n_modules if any(map(is_package, values)) else 0)
        glance = None if steady else self._glance(name, _state_of(function))
        shared = _Shared(self)
        contents = [shared.items(_content(cell)) for cell in function.__closure__ or ()]
        defaults = shared.items(function.__defaults__) if function.__defaults__ else None
        kwdefaults = shared.values(function.__kwdefaults__) if function.__kwdefaults__ else None
        attributes = shared.values(function.__dict__) if function.__dict__ else None
        names = unusual_names(function, facts_of(function.__code__))
        made = [code, *shared.made]
        state: bytes | None = None
        if contents or defaults or kwdefaults or attributes or names:
            built = self._builder.build((contents, (defaults, kwdefaults, attributes, names)), (self, name))
            made.append(built)
            state = built.data
        if watch is not reused:
            shared.freeze(watch)
        return self._entry(
            name,
            function,
            (*parts, state, bool(shared.made)),
            *made,
            watch=watch,
            loose=not steady,
            fixed=(parts, code),
            glance=glance,
        )

    def _class(self, name: str, cls: type, old: Entry | None) -> Entry:
        here = (self, name)
        shared = _Shared(self)
        if old is not None and old.watch is not None and old.fixed:
            watch = old.watch
            parts, loose_names = old.fixed
        else:
            watch = Watch()
            loose_names = {each: watch.add_class(each) for each in _with_inner(cls)}
            parts = self._parts_of_class(loose_names, here, shared)
            shared.freeze(watch)
            parts += shared.made
            shared = _Shared(self)
        built = list(parts)
        loose = glance = None
        if any(loose_names.values()):
            glance = self._glance(
                name, tuple([each.__dict__[key] for each, keys in loose_names.items() for key in keys])
            )
            loose = self._builder.build(
                [
                    (each, (shared.values({key: each.__dict__[key] for key in sorted(keys)}), (), {}, None))
                    for each, keys in loose_names.items()
                ],
                here,
            )
            built += [loose, *shared.made]
        n_classes = len(loose_names)
        skeletons = parts[:n_classes]
        body, late = parts[n_classes : n_classes + 2]
        return self._entry(
            name,
            cls,
            (
                workspace.CLASS,
                [(each.__qualname__, part.data) for each, part in zip(loose_names, skeletons, strict=True)],
                body.data,
                late.data,
                loose.data if loose is not None else None,
                bool(shared.made) or len(parts) > n_classes + 2,
            ),
            *built,
            watch=watch,
            loose=loose is not None,
            fixed=(parts, loose_names),
            glance=glance,
            first=tuple(dict.fromkeys(need for each in skeletons for need in each.needs)),
        )

    def _parts_of_class(
        self, loose_names: dict[type, frozenset[str]], here: tuple[Mirror, str], shared: _Shared
    ) -> list[Built]:
        """Build an empty class for each, then what makes them work, then what may be made of them."""
        build = self._builder.build
        built: list[Built] = []
        bodies: list[tuple[type, object]] = []
        late: list[tuple[type, object]] = []
        for each, loose in loose_names.items():
            parts = take_apart(each)
            built.append(build(Call(parts.make, parts.arguments), here))
            steady = {
                key: value
                for key, value in parts.attributes.items()
                if key not in loose and not (isinstance(value, type) and value in loose_names)
            }
            first = {key: value for key, value in steady.items() if isinstance(value, _BODY)}
            names = tuple(parts.attributes)
            bodies.append((each, (first, parts.registered, {}, names)))
            rest = {key: value for key, value in steady.items() if key not in first}
            late.append((each, (shared.values(rest), (), parts.members, None)))
        return [*built, build(bodies, here), build(late, here)]


class _Shared:
    """Finds objects of a function or class that a global stands for, too.

    ``_MISSING = object()`` with ``def f(x=_MISSING)``, a registry that is a global and a class attribute: a
    worker must have one object of them as well, so the second place refers to the global by name.
    """

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._names: dict[int, str] | None = None
        self._found: dict[str, None] = {}
        self.made: list[Built] = []

    def items(self, values: tuple[object, ...]) -> tuple[object, ...]:
        """Replace what a global stands for."""
        return tuple([self._item(value) for value in values])

    def values(self, mapping: Mapping[str, Any]) -> dict[str, Any]:
        """Replace what a global stands for among the values."""
        return {key: self._item(value) for key, value in mapping.items()}

    def freeze(self, watch: Watch) -> None:
        """Watch the names that were found, and close the watch."""
        for name in self._found:
            watch.add_name(self._mirror.globals, name)
        watch.freeze()

    def _item(self, value: object) -> object:
        if not can_be_shared(value):
            return value
        if self._names is None:
            self._names = {id(each): name for name, each in list(self._mirror.globals.items())}
        name = self._names.get(id(value))
        if name is None or name.startswith("__"):
            return value
        if name not in self._found:
            self._found[name] = None
            # Its version is part of ours: when it is replaced in a worker, we must be looked up anew.
            version = str(self._mirror.entry(name).definition.version)
            self.made.append(Built(b"", ((self._mirror, name),), (version,), (), 0))
        return Call(rebuild.value_of, (self._mirror.space, name))


class Call:
    """Pickles as a call whose value stands in its place."""

    __slots__ = ("_reduced",)

    def __init__(self, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._reduced = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Any, ...]]:
        return self._reduced


def _equal(old: Entry, new: Entry) -> bool:
    """Say whether two entries of one name tell a worker the same."""
    return (
        old.definition.version == new.definition.version
        and old.needs == new.needs
        and old.absent == new.absent
        and old.n_modules == new.n_modules
    )


def _state_of(function: FunctionType) -> tuple[object, ...]:
    """Return the parts of a function that may hold something big."""
    contents = [each for cell in function.__closure__ or () for each in _content(cell)]
    return (*contents, function.__defaults__, function.__kwdefaults__, function.__dict__)


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
    for module_name, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType) or module_name in ("__main__", "__mp_main__"):
            continue
        space = object.__getattribute__(module, "__dict__")  # a lazy module stays asleep
        for name, found in list(space.items()):
            if found is value:
                if is_importable(module_name, module):
                    return module_name, name
                break
    return None
