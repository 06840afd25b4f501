"""The picklers of the parent's direction: one for calls, one for parts of definitions.

In a call, what has a name in ``__main__`` becomes a need, and code without a
name becomes a slot. A definition is self-contained short of names, and what
belongs to a process (locks, the pool, context variables) becomes a new one of
the worker's, as if the worker had run the program itself.
"""

from __future__ import annotations

import copyreg
import sys
from types import CellType, FunctionType, ModuleType

from . import rebuild
from .functions import is_package, plain_annotations, submodules
from .mirror import Mirror
from .pickling import WirePickler, typing_reduce
from .where import is_default, is_executor, is_future, is_importable, is_sent_by_value, named

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from .._memory.cargo import Part
    from .._memory.reference import Ref
    from .codec import Codec
    from .functions import CodeFacts
    from .mirror import Root

_modules = sys.modules


_HANDLES: Final = frozenset({("ezflow._memory.reference", "Ref"), ("ezflow._memory.reference", "Parcel")})


class CallPickler(WirePickler):
    """Pickles the arguments of a call, and its function if there is no shorter form."""

    recognises = True

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.codec = codec
        self.needs: dict[Root, None] = {}
        self.outside: object = None
        """The function that is called, if a short form stands for it."""
        self.refs: list[Ref[Any]] = []
        """Handles that the pickle came across; their parts travel beside it."""
        self.is_inside = False
        """Whether the pickle came across this function or one of its cells all the same."""

    def function_by_value(self, function: FunctionType) -> tuple[Any, ...]:
        """Look whether it is the function that is called."""
        if function is self.outside:
            self.is_inside = True
        return super().function_by_value(function)

    def _cell(self, cell: CellType) -> Any:
        if not self.is_inside and type(self.outside) is FunctionType:
            self.is_inside = any(cell is own for own in self.outside.__closure__ or ())
        return super()._cell(cell)

    def named_here(self, obj: Any, module: str, qualname: str) -> Any:
        """By name, after the top-level name has been defined."""
        if is_sent_by_value(module):
            return None
        mirror = self.codec.mirror_of_module(module, _modules[module])
        self.needs[mirror, qualname.partition(".")[0]] = None
        return qualname

    def code(self, function: FunctionType, facts: CodeFacts) -> tuple[Callable[..., object], tuple[Any, ...]]:
        """Name the slot of the code."""
        slot = self.codec.slot(function)
        self.needs[slot] = None
        return rebuild.slot_function, (slot.definition.key,)

    def dumps_inside(self, obj: object) -> bytes:
        """As the whole; what it needs, the whole needs."""
        inner = CallPickler(self.codec)
        data = inner.dumps(obj)
        self.needs.update(inner.needs)
        return data

    def special(self, obj: Any, kind: type) -> Any:
        """Refuse a pool or a future; give a context variable its twin."""
        if kind_name(kind) == ("_contextvars", "ContextVar"):
            return self.codec.context_variable(obj)
        if kind.__module__ == "ctypes":
            from .foreign import reduce

            return reduce(obj)
        if kind_name(kind) in _HANDLES:  # by name: many programs never make one
            return self.reference(obj)
        if is_executor(obj) or is_future(obj):
            from .. import errors

            raise errors.stays_here(obj, kind)
        return None

    def reference(self, ref: Ref[Any]) -> tuple[object, ...]:
        """Have the value rebuilt in the place of its handle."""
        ref._check()
        if self.is_trial:
            return rebuild.kept_value, (0, 0)
        if not self.aside.is_wanted:
            from .. import errors

            raise errors.handle_not_sent()
        behind = sum(len(each._parts) for each in self.refs)
        self.refs.append(ref)
        for module, name in ref._names:
            home = _modules.get(module)
            if home is not None and not is_importable(module, home) and not is_sent_by_value(module):
                self.needs[self.codec.mirror_of_module(module, home), name] = None
        return rebuild.kept_value, (behind, len(ref._parts))

    def take_aside(self, beside: list[Part]) -> bytes:
        """Give the bytes; put beside them their large buffers, and what handles hold."""
        data = super().take_aside(beside)
        if self.refs:
            at = len(beside) - (not data)  # the stream, if it is long, comes last
            beside[at:at] = [part for ref in reversed(self.refs) for part in ref._parts]
            self.refs = []
        return data

    def text_global(self, obj: Any, name: str) -> Any:
        """By name, after the name has been defined."""
        module = getattr(obj, "__module__", None)  # where pickle will look
        home = _modules.get(module) if isinstance(module, str) else None
        if (
            isinstance(module, str)
            and home is not None
            and named(home, name, obj)
            and not is_importable(module, home)
        ):
            return self.named_here(obj, module, name) or name
        return super().text_global(obj, name)

    def sentinel(self, obj: object) -> Any:
        """By name, if it has one in the main program or in an importable module."""
        main = _modules["__main__"]
        for name, value in list(main.__dict__.items()):
            if value is obj:
                mirror = self.codec.mirror_of_module("__main__", main)
                self.needs[mirror, name] = None
                return rebuild.value_of, (None, name)
        home = self.codec.home_of(obj)
        return (rebuild.attribute, home) if home is not None else NotImplemented

    def module_replica(self, module: ModuleType) -> Any:
        """All names of the module: which of them will be used cannot be known."""
        name = module.__name__
        if is_sent_by_value(name):
            return rebuild.imported, (name,)
        mirror = self.codec.mirror_of_module(name, module)
        for each in list(module.__dict__):
            if not (each.startswith("__") and each.endswith("__")):
                self.needs[mirror, each] = None
        return rebuild.module_replica, (name,)


class DefinitionPickler(CallPickler):
    """Pickles a part of a definition: self-contained, save for names."""

    def __init__(self, codec: Codec, owner: tuple[Mirror, str], root: object) -> None:
        super().__init__(codec)
        self._owner = owner
        self._root = root
        self.identities: dict[str, None] = {}
        self.absent: dict[str, None] = {}
        self.n_modules = 0
        self.is_own = False

    def reducer_override(self, obj: Any) -> Any:
        """Let instances of the main program's classes be made before these are complete."""
        reduced = super().reducer_override(obj)
        kind = type(obj)
        has_new = type(getattr(kind, "__new__", None)) is FunctionType
        if reduced is NotImplemented and has_new and _is_made_by_default(kind):
            make, arguments, *state = obj.__reduce_ex__(5)
            if make is copyreg.__newobj__:  # type: ignore[attr-defined]  # not in typeshed
                return rebuild.made, arguments, *state
        return reduced

    def named_here(self, obj: Any, module: str, qualname: str) -> Any:
        """By name, except what this definition is there to make."""
        mirror, top = self._owner
        if module == mirror.module and qualname.partition(".")[0] == top:
            if obj is self._root:
                return None
            is_made_already = qualname == top or isinstance(obj, type)
            if (
                is_made_already
                and mirror.globals is _modules[module].__dict__
                and not is_sent_by_value(module)
            ):
                return qualname
            return None
        reduced = super().named_here(obj, module, qualname)
        if (
            reduced is not None and type(obj) is not FunctionType
        ):  # a worker keeps a function and changes its code
            self.identities[self.codec.identity_of(obj)] = None
        return reduced

    def code(self, function: FunctionType, facts: CodeFacts) -> tuple[Callable[..., object], tuple[Any, ...]]:
        """Send the code along."""
        where = self.codec.space_of(function)
        if isinstance(where, Mirror):
            needs, absent = where.names_of(facts)
            self.needs.update(dict.fromkeys(needs))
            if where is self._owner[0]:
                self.absent.update(dict.fromkeys(absent))
            place: Any = where.space
        else:
            place = where
        space = function.__globals__
        values = [space[name] for name in facts.names if name in space]
        if any(map(is_package, values)):
            self.n_modules = self.n_modules or len(_modules)
        imports = submodules(facts, values)
        return rebuild.inline_function, (facts.data, place, plain_annotations(function), imports)

    def special(self, obj: Any, kind: type) -> Any:
        """Replace what belongs to a process: fresh locks, a stand-in for the pool."""
        if is_parents_own(obj):
            self.is_own = True
            return rebuild.StandIn, (f"the {kind.__name__} of the main program",)
        name = kind_name(kind)
        make = FRESH_KINDS.get(name)
        if make is not None:
            self.is_own = True
            home = self.codec.home_of(obj)
            return (rebuild.attribute, home) if home is not None else make(obj)
        if name in _NEVER_COPIED:
            raise TypeError(f"cannot pickle {kind.__name__!r} object")
        reduced = super().special(obj, kind)
        self.is_own |= reduced is not None
        return reduced

    def sentinel(self, obj: object) -> Any:
        """By name, save for the one that is being defined."""
        return NotImplemented if obj is self._root else super().sentinel(obj)

    def text_global(self, obj: Any, name: str) -> Any:
        """By value if it is the very thing that is being defined."""
        if obj is self._root:
            kind = type(obj)
            if kind.__module__ == "typing":
                return typing_reduce(obj, kind)
            return copyreg.__newobj__, (kind,), obj.__getstate__()  # type: ignore[attr-defined]  # what __reduce_ex__ does
        return super().text_global(obj, name)


def _is_made_by_default(kind: type) -> bool:
    """Say whether pickle makes instances by `__new__`, and this is a class that a worker is sent."""
    home = _modules.get(kind.__module__)
    return (
        is_default(kind, "__reduce_ex__")
        and is_default(kind, "__reduce__")
        and kind not in copyreg.dispatch_table
        and not issubclass(kind, type)
        and home is not None
        and not is_importable(kind.__module__, home)
    )


def kind_name(kind: type) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__


def is_parents_own(obj: object) -> bool:
    """Say whether an object is a pool or an event loop, of which a worker gets a stand-in."""
    if is_executor(obj):
        return True
    events = _modules.get("asyncio.events")
    return events is not None and issubclass(type(obj), events.AbstractEventLoop)


def _reduce_lock(obj: object) -> tuple[object, ...]:
    return rebuild.fresh, ("Lock", ())


def _reduce_rlock(obj: object) -> tuple[object, ...]:
    return rebuild.fresh, ("RLock", ())


def _reduce_condition(obj: Any) -> tuple[object, ...]:
    return rebuild.fresh, ("Condition", (obj._lock,))  # the lock may be shared with another one


def _reduce_event(obj: Any) -> tuple[object, ...]:
    return rebuild.event, (obj.is_set(),)


def _reduce_semaphore(obj: Any) -> tuple[object, ...]:
    return rebuild.fresh, (type(obj).__name__, (getattr(obj, "_initial_value", obj._value),))


def _reduce_barrier(obj: Any) -> tuple[object, ...]:
    return rebuild.fresh, ("Barrier", (obj.parties,))


def _reduce_local(obj: object) -> tuple[object, ...]:
    return type(obj), ()


FRESH_KINDS: Final[dict[tuple[str, str], Callable[[Any], Any]]] = {
    ("_thread", "lock"): _reduce_lock,
    ("_thread", "RLock"): _reduce_rlock,
    ("threading", "_RLock"): _reduce_rlock,
    ("threading", "Condition"): _reduce_condition,
    ("threading", "Event"): _reduce_event,
    ("threading", "Semaphore"): _reduce_semaphore,
    ("threading", "BoundedSemaphore"): _reduce_semaphore,
    ("threading", "Barrier"): _reduce_barrier,
    ("_thread", "_local"): _reduce_local,
}
"""What belongs to one process: a worker gets a new one, as if it had run the program itself."""

_NEVER_COPIED: Final = frozenset(
    {
        ("socket", "socket"), ("multiprocessing.connection", "Connection"),
        ("multiprocessing.connection", "PipeConnection"),
    }
)  # fmt: skip
"""What multiprocessing could send as an argument, and what would be a new copy at each call as a global."""
