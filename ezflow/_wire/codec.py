"""Calls of the parent to bytes, and results back.

A call becomes a payload and the definitions it needs. The payload is a pickle
of ``(what, args, kwargs)``; the definitions carry what is sent once per worker
and version: top-level names of ``__main__``, and code that has no name::

    pack_call ──▶ payload ───────────────────────────▶ every call
              └─▶ Definition(key, version, data), … ──▶ a worker that was not sent this version yet

``what`` is the function itself, or a short form of it that costs less than
pickling a function: ``(module, name)`` of an importable one, and with True
behind them of one that a decorator has wrapped there, the key of a name
of ``__main__`` or of code without state, ``(key, closure contents[, defaults,
keyword defaults])`` of code with state. A payload with needs begins with their keys
(`workspace.WITH_KEYS`), because a worker must apply them before it unpickles.

Never stale: at each call every name that the call needs, directly or through
others, is compared with what was last sent (see `mirror` and `watch`).

One codec per pool, used by many threads at once. There is no lock: all state is
dicts whose entries are replaced in one step, and immutable records. An
exception at any point, Ctrl-C included, leaves at worst a record unmade.
"""

from __future__ import annotations

import os
import pickle
import sys
from itertools import count
from types import BuiltinFunctionType, FunctionType, ModuleType

from .._memory.cargo import STREAM_FROM
from . import rebuild, workspace
from .closure import Closure
from .functions import facts_of, is_package, plain_annotations, submodules
from .mirror import ABSENT, Builder, Built, Entry, GlobalFailure, Mirror, Slot, find_home
from .mirror import Definition as Definition  # noqa: PLC0414  # whoever uses a codec needs the name
from .outbound import FRESH_KINDS, CallPickler, DefinitionPickler, is_parents_own, kind_name
from .pickling import KEEP_BELOW, PROTOCOL, WirePickler
from .where import by_value_modules, is_importable, is_sent_by_value, wrapped

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import CodeType
    from typing import Any, Final, TypeAlias

    from .._memory.cargo import Part
    from .functions import CodeFacts
    from .mirror import Root

Packed: TypeAlias = tuple[bytes, tuple[Definition, ...]]
"""Payload of a call, and what a worker must have been told before it."""

_N_SLOTS: Final = 4096
"""Code objects without a name that workers remember. Larger: programs that make code all the time fill
memory on both sides. Smaller: such code is sent again more often (chosen)."""

_N_SPACES: Final = 64  # exec namespaces that are remembered (chosen, as above)

_N_PLANS: Final = 1024  # call sites and sets of needs that are remembered (chosen, as above)

_PLAIN: Final = frozenset({int, float, complex, bool, str, bytes, type(None)})
"""Types of arguments that pickle alone packs as we do, if they are short."""

_modules = sys.modules

_n_forks = 0  # how often this process has begun to fork


class Codec(Builder):
    """Packs the calls of one pool.

    Parameters
    ----------
    inherits : bool
        Whether workers are forks of this process: a global that cannot be pickled is then not an error,
        the worker uses the one it inherited.

    Notes
    -----
    Any thread may call any method at any time. No user code runs under a lock; there is none.
    """

    def __init__(self, *, inherits: bool = False) -> None:
        self.inherits = inherits
        self._n_forks = _n_forks
        self._idle: list[CallPickler] = []
        self._keys = count(1)
        self._main: Mirror | None = None
        self._modules: dict[str, Mirror] = {}
        self._spaces: dict[int, Mirror] = {}
        self._name_keys: dict[tuple[object, str], int] = {}
        self._slot_keys: dict[object, int] = {}
        self._slots: dict[tuple[int, int], Slot] = {}
        self._closures: dict[tuple[Root, ...], Closure] = {}
        self._variables: dict[int, tuple[Any, tuple[object, ...]]] = {}
        self._homes: dict[int, tuple[object, tuple[str, str] | None]] = {}
        self._identities: dict[int, tuple[Any, str]] = {}
        self._plans: dict[int, tuple[FunctionType, dict[str, Any], str, object, tuple[Root, ...]]] = {}
        """Functions that have a name, by identity: function, globals, name, short form, needs."""

    def pack_call(
        self,
        fn: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        extras: Mapping[str, Any] | None = None,
        beside: list[Part] | None = None,
    ) -> Packed:
        """Pickle a call.

        Parameters
        ----------
        fn : callable
            What to call.
        args : tuple
            Positional arguments.
        kwargs : dict
            Keyword arguments.
        extras : dict, optional
            What else the worker is to know; `Workspace.extras` there.
        beside : list, optional
            Gets what is to travel beside the payload: large buffers.  Without it they are in the payload.

        Returns
        -------
        payload : bytes
            For `Workspace.unpack_call`.
        needs : tuple of Definition
            For `Workspace.define`, before the payload, where the worker was last sent another version.

        Raises
        ------
        PicklingError
            If something cannot be pickled; the cause is pickle's own error.
        Exception
            What the user's ``__reduce__`` or ``__getstate__`` raised, with a note that names the place.
        """
        try:
            plan = self._plans.get(id(fn))
            if plan is not None and (
                plan[0] is not fn or plan[1].get(plan[2]) is not fn or by_value_modules()
            ):
                plan = None
            if plan is not None and extras is None and not kwargs and _PLAIN.issuperset(map(type, args)):
                body = pickle.dumps((plan[3], args, {}), PROTOCOL)  # no decision of ours is asked for
                if len(body) < STREAM_FROM:
                    return self._with_needs(body, plan[4])
            try:
                pickler = self._idle.pop()
            except IndexError:
                pickler = CallPickler(self)
            what: object = fn
            roots: tuple[Root, ...] = ()
            kind = type(fn)
            if kind is FunctionType:
                if plan is not None:
                    what, roots = plan[3], plan[4]
                else:
                    what, roots = self._short_form(fn)  # type: ignore[arg-type]  # its type is `kind`
            elif kind is BuiltinFunctionType:
                name = fn.__name__
                module = fn.__module__
                if module is not None and getattr(_modules.get(module), name, None) is fn:
                    what = module, name
            pickler.outside = fn
            pickler.aside.is_wanted = beside is not None
            pickler.dump((what, args, kwargs) if extras is None else (what, args, kwargs, extras))
            if pickler.is_inside:  # the function is in its own closure, or shares a cell with another one
                pickler = CallPickler(self)
                pickler.aside.is_wanted = beside is not None
                pickler.dump((fn, args, kwargs) if extras is None else (fn, args, kwargs, extras))
                roots = ()
            body = pickler.take_bytes() if beside is None else pickler.take_aside(beside)
            pickler.clear_memo()
            pickler.outside = None  # keeps nothing of the user's alive
            if pickler.needs:
                roots = tuple({**dict.fromkeys(roots), **pickler.needs})
                pickler.needs = {}
            packed = self._with_needs(body, roots)
        except Exception as error:
            explained = self._explain(error, fn, args, kwargs)
            raise explained from explained.__cause__
        if 0 < len(body) < KEEP_BELOW:
            self._idle.append(pickler)
        return packed

    def _with_needs(self, body: bytes, roots: tuple[Root, ...]) -> Packed:
        """Put before a call what it needs."""
        if not roots:
            return body, ()
        closure = self._closures.get(roots)
        if closure is None or not closure.is_current():
            closure = self._close(roots)
        return closure.head + body, closure.definitions

    def pack_initializer(self, initializer: Callable[..., object], initargs: tuple[Any, ...]) -> Packed:
        """Pickle an initializer, while multiprocessing is starting the process it is for.

        Locks, queues and connections of multiprocessing may be among the arguments.
        """
        return self.pack_call(initializer, initargs, {})

    # --- functions

    def _short_form(self, fn: FunctionType) -> tuple[object, tuple[Root, ...]]:
        """Return what stands for a function in the payload, and what it needs."""
        module, name = fn.__module__, fn.__qualname__
        home = _modules.get(module)
        if home is not None and home.__dict__.get(name) is fn:
            what: object
            if is_importable(module, home):
                what = module, name
                roots: tuple[Root, ...] = ()
            elif is_sent_by_value(module):
                return fn, ()
            else:
                mirror = self.mirror_of_module(module, home)
                what, roots = self.key_of(mirror, name), ((mirror, name),)
            if len(self._plans) >= _N_PLANS:
                self._plans.clear()
            self._plans[id(fn)] = fn, home.__dict__, name, what, roots
            return what, roots
        if (
            home is not None
            and name in home.__dict__
            and wrapped(home, name, fn)
            and is_importable(module, home)
        ):
            return (module, name, True), ()
        code = fn.__code__
        if not fn.__dict__ and fn.__name__ == code.co_name and name == code.co_qualname:
            slot = self.slot(fn)
            facts: CodeFacts = slot.facts
            if fn.__doc__ == facts.doc and module == fn.__globals__.get("__name__"):
                key = slot.definition.key
                defaults, kwdefaults = fn.__defaults__, fn.__kwdefaults__
                if fn.__closure__ is None:
                    if defaults is None and kwdefaults is None:
                        return key, slot.roots
                    return (key, None, defaults, kwdefaults), slot.roots
                try:
                    contents = tuple([cell.cell_contents for cell in fn.__closure__])
                except ValueError:  # an empty cell
                    return fn, ()
                if defaults is None and kwdefaults is None:
                    return (key, contents), slot.roots
                return (key, contents, defaults, kwdefaults), slot.roots
        return fn, ()

    def slot(self, function: FunctionType) -> Slot:
        """Return the definition of a function's code."""
        code, space = function.__code__, function.__globals__
        place = id(code), id(space)
        slot = self._slots.get(place)
        if (
            slot is not None
            and slot.facts.code is code
            and (slot.mirror is None or slot.mirror.globals is space)
            and slot.is_current()
        ):
            return slot
        slot = self._make_slot(function, code, space)
        if len(self._slots) >= _N_SLOTS:
            self._slots.clear()
        self._slots[place] = slot
        return slot

    def _make_slot(self, function: FunctionType, code: CodeType, space: dict[str, Any]) -> Slot:
        n_modules = len(_modules)  # before `submodules` looks: one imported meanwhile must not be missed
        facts = facts_of(code)
        where = self.space_of(function)
        mirror = where if isinstance(where, Mirror) else None
        needs: tuple[Root, ...] = ()
        absent: tuple[str, ...] = ()
        if mirror is not None:
            needs, absent = mirror.names_of(facts)
        values = [space[name] for name in facts.names if name in space]
        imports = submodules(facts, values)
        if not any(map(is_package, values)):
            n_modules = 0
        place = where.space if isinstance(where, Mirror) else where
        data = self._dump((workspace.CODE, place, None, facts.data, plain_annotations(function), imports))
        key = self._slot_key((code, code.co_filename, place))
        return Slot(mirror, Definition(key, hash(data), data), needs, absent, n_modules, facts)

    def _slot_key(self, content: object) -> int:
        """Number a code object; above a limit the oldest number is given to the newest code."""
        found = self._slot_keys.get(content)
        if found is not None:
            return found
        fresh = next(self._keys)
        if len(self._slot_keys) >= _N_SLOTS:
            try:
                fresh = self._slot_keys.pop(next(iter(self._slot_keys)))
            except (KeyError, RuntimeError, StopIteration):  # another thread is at it
                pass
        return self._slot_keys.setdefault(content, fresh)

    # --- whose globals

    def mirror_of_module(self, name: str, module: ModuleType) -> Mirror:
        """Return the mirror of ``__main__`` or of a module that cannot be imported."""
        space = module.__dict__
        if name == "__main__":
            mirror = self._main
            if mirror is None or mirror.globals is not space:
                mirror = self._main = Mirror(self, None, "__main__", space)
            return mirror
        found = self._modules.get(name)
        if found is None or found.globals is not space:
            found = self._modules[name] = Mirror(self, "=" + name, name, space)
        return found

    def space_of(self, function: FunctionType) -> Mirror | str:
        """Return whose globals a function uses: a mirror's, or those of an importable module."""
        space = function.__globals__
        name = space.get("__name__")
        home = _modules.get(name) if isinstance(name, str) else None
        if isinstance(name, str) and home is not None and home.__dict__ is space:
            if is_importable(name, home):
                return name
            if not is_sent_by_value(name):
                return self.mirror_of_module(name, home)
        found = self._spaces.get(id(space))
        if found is not None and found.globals is space:
            return found
        while len(self._spaces) >= _N_SPACES:
            try:
                self._spaces.pop(next(iter(self._spaces)))
            except (KeyError, RuntimeError, StopIteration):  # another thread is at it
                continue
        found = Mirror(self, next(self._keys), name if isinstance(name, str) else "", space)
        self._spaces[id(space)] = found
        return found

    # --- definitions

    def key_of(self, mirror: Mirror, name: str) -> int:
        """Number a name of a mirror."""
        place = mirror.space, name
        found = self._name_keys.get(place)
        return found if found is not None else self._name_keys.setdefault(place, next(self._keys))

    def has_forked(self) -> bool:
        """Say whether this process has forked since the codec was made; whom, is not known."""
        return self._n_forks != _n_forks

    def build(self, obj: object, owner: tuple[Mirror, str], *, root: object = ABSENT) -> Built:
        """Pickle a part of the definition of `owner`."""
        pickler = DefinitionPickler(self, owner, root)
        data = pickler.dumps(obj)
        return Built(
            data,
            tuple(pickler.needs),
            tuple(pickler.identities),
            tuple(pickler.absent),
            pickler.n_modules,
            pickler.is_own,
        )

    def forget(self, entry: Entry) -> None:
        """Drop the closures that hold an entry that has been replaced."""
        for roots in entry.users:
            self._closures.pop(roots, None)

    def reason(self, name: str, value: object, error: Exception) -> tuple[str, str, bool] | None:
        """Say why a global cannot be sent: text, path, whether it is a TypeError; None: that is the user's own error."""
        from .diagnose import find_path, is_pickling_trouble, kept

        if not is_pickling_trouble(error):
            return None
        with kept(error):
            path = find_path({f"fn.__globals__[{name!r}]": value}, self._try_global)
        text = (
            f"The global {name!r} is not there in a worker: {path} cannot be pickled"
            f" ({type(error).__name__}: {error}). Make it inside the function, or in the pool's initializer."
        )
        return text, path, isinstance(error, TypeError)

    def home_of(self, obj: object) -> tuple[str, str] | None:
        """Find an importable module that holds this very object."""
        found = self._homes.get(id(obj))
        if found is None or found[0] is not obj:
            if len(self._homes) >= _N_PLANS:
                self._homes.clear()
            found = self._homes[id(obj)] = obj, find_home(obj)
        return found[1]

    def identity_of(self, obj: Any) -> str:
        """Name an object so that no other ever has the name."""
        if isinstance(obj, type):
            return rebuild.token_of(obj)
        found = self._identities.get(id(obj))
        if found is None or found[0] is not obj:
            found = self._identities[id(obj)] = obj, str(next(self._keys))
        return found[1]

    def is_by_identity(self, value: object) -> bool:
        """Say whether a value is a thing without content, such as a lock; an event has one bit of it."""
        kind = kind_name(type(value))
        return (kind in FRESH_KINDS and kind[1] != "Event") or is_parents_own(value)

    def _dump(self, obj: object) -> bytes:
        return WirePickler().dumps(obj)

    def _close(self, roots: tuple[Root, ...]) -> Closure:
        """Collect what the roots need, directly or not, as of now."""
        todo = list(reversed(roots))
        seen: dict[Root, None] = {}
        entries: list[Entry] = []
        slots: list[Slot] = []
        while todo:
            root = todo.pop()
            if root in seen:
                continue
            seen[root] = None
            item: Entry | Slot
            if isinstance(root, Slot):
                item = root
                slots.append(root)
            else:
                mirror, name = root
                item = mirror.entry(name)
                entries.append(item)
            todo += reversed(item.needs)
        closure = Closure(tuple(entries), tuple(slots))
        for entry in entries:
            entry.users.append(roots)
        if len(self._closures) >= _N_PLANS:
            self._closures.clear()
        self._closures[roots] = closure
        return closure

    def context_variable(self, variable: Any) -> tuple[object, ...]:
        """Reduce a context variable: its own in an importable module, else one per worker."""
        found = self._variables.get(id(variable))
        if found is None:
            made = self._reduce_variable(variable)
            found = self._variables.setdefault(
                id(variable), (variable, made)
            )  # holds it: its number stays its own
        return found[1]

    def _reduce_variable(self, variable: Any) -> tuple[object, ...]:
        home = self.home_of(variable)
        if home is not None:
            return rebuild.attribute, home
        from contextvars import Context

        empty = Context()
        if variable.name == "decimal_context":
            from decimal import getcontext

            empty.run(getcontext)
            if variable in empty:  # it is the one of `decimal`, which nobody but that module can name
                return rebuild.decimal_variable, ()
        default: tuple[object, ...] = ()
        try:
            default = (Context().run(variable.get),)
            self._dump(default)
        except Exception:  # it has none, or one that cannot be pickled
            default = ()
        return rebuild.context_variable, (f"{variable.name}/{next(self._keys)}", variable.name, default)

    # --- errors

    def _explain(
        self, error: Exception, fn: Callable[..., object], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Exception:
        """Turn an error of packing into what the caller shall see."""
        from .._call import label_of
        from .diagnose import for_caller, note_culprit

        label = label_of(fn)
        roots: dict[str, object] = {"args": args, "kwargs": kwargs, "fn": fn}
        told_as = fn.__dict__.get("told_as") if isinstance(fn, FunctionType) else None
        if told_as is not None and fn.__module__.startswith("ezflow."):  # one of ours that runs the user's
            label, found = told_as(*args)
            roots = {"kwargs": kwargs, **found}
        attempt = self._try
        if isinstance(error, GlobalFailure):
            roots = {f"fn.__globals__[{error.name!r}]": error.value}
            attempt = self._try_global
            error = error.error
        path = note_culprit(error, roots, attempt)
        return for_caller(error, "function" if path.startswith("fn") else "argument", label, path)

    def can_pack(self, obj: object) -> bool:
        """Tell whether an object can be pickled."""
        try:
            self._try(obj)
        except Exception:
            return False
        return True

    def _try(self, obj: object) -> None:
        pickler = CallPickler(self)
        pickler.is_trial = True
        pickler.dumps(obj)
        if pickler.needs:
            self._close(tuple(pickler.needs))

    def _try_global(self, obj: Any) -> None:
        owner = Mirror(self, None, "", {}), ""
        if isinstance(obj, FunctionType | type):  # look into it, although it has a name
            owner = Mirror(self, None, obj.__module__, {}), obj.__qualname__.partition(".")[0]
        self.build(obj, owner, root=obj)


def _before_fork() -> None:
    global _n_forks
    _n_forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)


def loads(data: bytes | bytearray | memoryview) -> Any:
    """Open bytes that a worker packed: an exception's parts."""
    return pickle.loads(data)


def unpack_value(
    data: bytes | bytearray | memoryview, call: str = "the call", beside: Sequence[memoryview] = ()
) -> Any:
    """Open the result of a call; `call` is its label, `beside` are its large buffers.

    Raises
    ------
    UnpicklingError
        With the original error as its cause.
    """
    try:
        return pickle.loads(data, buffers=beside)
    except Exception as error:
        from .. import errors

        raise errors.unreadable("result", call, error) from error
