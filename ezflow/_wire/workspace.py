"""What a worker knows of the parent's program: its replica of ``__main__`` and the code it was sent.

The parent's main program never runs here. Its top-level names arrive one by
one as definitions, each under a number (key) of its own, and only when a call
needs them::

    define(key, data)      kept as bytes; nothing of the user's runs
    unpack_call(payload)   applies the definitions this call needs, then opens the call
    pack_value(value)      what is known to the parent by name goes home by name

Definitions are applied inside `unpack_call`, because rebuilding an object may
run the user's code and import modules: that belongs to the call, which can be
interrupted, and whose error it is. A definition that fails stays and is tried
again by the next call that needs it.

They refer to each other by name and may do so in circles (two functions that
call each other, a class that holds an instance of its subclass), so each is
applied in stages: first an empty function or class stands under its name, then
its content is put in; then come variables, and last what holds the same objects
as variables do. What fails because a name is not
there yet is tried again as long as anything else succeeds, and once more without the
``__new__`` of classes that are not complete.

One workspace per process. Only the worker's main thread uses it.
"""

from __future__ import annotations

import marshal
import sys
from _pickle import dumps, loads
from struct import Struct
from types import CellType, FunctionType, ModuleType

from . import rebuild
from .messages import FREE, N_KEPT, PARTLY_KEPT

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from .._memory import cargo
    from .pickling import ResultPickling

    Part = Callable[[], None]

COUNT: Final = Struct("=H")
"""A payload that needs definitions begins with this number of keys; a plain pickle begins with 0x80 0x05."""

NO_COUNT: Final = 0x80
"""First byte of a plain pickle. The keys' marker below differs from it."""

WITH_KEYS: Final = b"K"

CODE: Final = 0
FUNCTION: Final = 1
CLASS: Final = 2
VARIABLE: Final = 3
REMOVED: Final = 4
INHERITED: Final = 5
"""A variable that cannot be sent, or need not be; a forked worker has its own."""

MISSING: Final = 6
"""A variable that cannot be sent; a worker gets a stand-in, unless its own code has made one."""

_ABSENT: Final = object()


class Workspace:
    """The state of one worker.

    Parameters
    ----------
    forked : bool
        Whether this process is a fork of the parent, with its ``__main__``.
    """

    def __init__(self, *, forked: bool) -> None:
        self._pending: dict[int, bytes] = {}
        self._places: dict[int, tuple[dict[str, Any], str]] = {}
        self._replicated: dict[str, dict[str, object]] = {}
        """Module name -> what was put there under each name, or was inherited by the fork."""
        self._forked = forked
        self._previous = prepare_main(forked)
        self._inherited = dict(sys.modules["__main__"].__dict__)
        """What was there before any of the user's code ran in this worker."""
        self._replicated["__main__"] = {
            name: value for name, value in self._inherited.items() if isinstance(value, type | FunctionType)
        }
        self._pickling: ResultPickling | None = None
        self.extras: dict[str, Any] | None = None
        """What came with the call that was unpacked last, beside function and arguments."""

    def define(self, key: int, data: bytes) -> None:
        """Keep a definition until a call needs it; fails never."""
        self._pending[key] = bytes(data)

    def unpack_call(
        self, payload: bytes | bytearray, beside: list[memoryview] | None = None
    ) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Rebuild a call, `beside` being its large buffers; raises what the user's objects raise."""
        if payload and payload[0] != NO_COUNT:
            count = COUNT.unpack_from(payload, 1)[0]
            start = 3 + 8 * count
            if self._pending:
                view = memoryview(payload)
                keys = view[3:start].cast("Q")
                pending = self._pending
                wanted = [key for key in keys if key in pending]
                if wanted:
                    try:
                        self._apply(wanted)
                    finally:
                        rebuild.is_last_resort = False
                payload = view[start:]  # type: ignore[assignment]  # loads takes any buffer
            else:
                payload = memoryview(payload)[start:]  # type: ignore[assignment]
        if beside is None:
            parts = loads(payload)
        else:
            if not payload:  # it is large itself
                payload = beside.pop()  # type: ignore[assignment]
            rebuild.beside = beside
            try:
                parts = loads(payload, buffers=beside)
            finally:
                rebuild.beside = []
            beside.clear()
            payload = b""
        if len(parts) == 3:
            token, args, kwargs = parts
            self.extras = None
        else:
            token, args, kwargs, self.extras = parts
        parts = None
        kind = type(token)
        if kind is int:  # a name of __main__, or code without any state
            place = self._places.get(token)
            if place is not None:
                space, name = place
                return space[name], args, kwargs
            code, space, annotations = rebuild.codes[token]
            function = FunctionType(code, space)
            if annotations:
                function.__annotations__ = dict(annotations)
            return function, args, kwargs
        if kind is tuple:
            first, second, *state = token
            if type(first) is int:  # code, the contents of its closure, defaults
                code, space, annotations = rebuild.codes[first]
                cells = None if second is None else tuple(map(CellType, second))
                function = FunctionType(code, space, code.co_name, None, cells)
                if annotations:
                    function.__annotations__ = dict(annotations)
                if state:
                    function.__defaults__, function.__kwdefaults__ = state
                return function, args, kwargs
            module = sys.modules.get(first)  # an importable function
            if module is None or second not in module.__dict__:
                from importlib import import_module

                module = import_module(first)
            function = getattr(module, second)
            return rebuild.unwrap(function) if state else function, args, kwargs
        return token, args, kwargs

    def pack_value(self, value: object, beside: list[cargo.Part] | None = None) -> bytes:
        """Pickle what a call returned, for the parent; what goes beside the bytes is added to `beside`.

        Raises the original error; a note and its attribute `path` name the culprit (``result['a'].lock``).
        """
        pickling = self._pickling or self.prepare()
        data = pickling.dumps(value, beside)
        return N_KEPT.pack(pickling.n_kept) + data if pickling.n_kept else data

    def flags(self, beside: list[cargo.Part]) -> int:
        """Give the flags of the answer that was pickled last."""
        pickling = self._pickling
        if not beside or pickling is None:
            return 0
        return (0 if pickling.was_bound else FREE) | (PARTLY_KEPT if pickling.n_kept else 0)

    def keep_value(self, value: object, beside: list[cargo.Part]) -> bytes:
        """Pickle what a call returned such that it can be given to other workers as well."""
        from .keeping import keep

        parts, names = keep(value, self.is_known_to_parent, "result")
        beside += parts
        return dumps(names)

    def prepare(self) -> ResultPickling:
        """Import what pickles results, before the user's code can use up the descriptors which that takes."""
        from .pickling import ResultPickling

        pickling = self._pickling = ResultPickling(self.is_known_to_parent)
        return pickling

    def is_known_to_parent(self, module: str, name: str) -> bool:
        """Say whether the parent has under this top-level name what this worker has there now."""
        replicated = self._replicated.get(module)
        if replicated is None:
            return module != "__main__"
        space = sys.modules[module].__dict__
        return replicated.get(name, _ABSENT) is space.get(name)

    # --- applying definitions

    def _apply(self, keys: list[int]) -> None:
        """Apply definitions, all first stages before all second ones."""
        pending = self._pending
        todo: list[tuple[int, int, Part]] = []
        left: dict[int, int] = {}
        data: dict[int, bytes] = {}
        names: dict[int, str | None] = {}
        for key in keys:
            data[key] = pending[key]
            definition = loads(data[key])
            names[key] = definition[2]
            parts = self._parts(key, definition)
            left[key] = len(parts)
            todo += ((stage, key, part) for stage, part in parts)
            if not parts:
                del pending[key]
        todo.sort(key=_stage)  # stable: within a stage the order of need
        while todo:
            failed: list[tuple[int, int, Part]] = []
            error: Exception | None = None
            culprit: str | None = None
            for item in todo:
                _, key, part = item
                try:
                    part()
                except Exception as exc:
                    failed.append(item)
                    if error is None:
                        error, culprit = exc, names[key]
                else:
                    left[key] -= 1
                    if not left[key] and pending.get(key) is data[key]:
                        del pending[key]
            if error is not None and len(failed) == len(todo):
                if rebuild.is_last_resort:
                    if culprit is not None:
                        error.add_note(f"while rebuilding the global {culprit!r}")
                    raise error
                rebuild.is_last_resort = True
            todo = failed

    def _parts(self, key: int, definition: tuple[Any, ...]) -> list[tuple[int, Part]]:
        """Split a definition into what is to be done at each stage."""
        kind, space, name, *rest = definition
        if kind == CODE:
            return [(0, lambda: self._define_code(key, space, *rest))]
        if kind == FUNCTION:
            return [
                (0, lambda: self._place_function(key, space, name, *rest[:3])),
                (2 + rest[4], lambda: self._fill_function(space, name, rest[3])),
            ]
        if kind == CLASS:
            skeletons, body, late, loose, names_variables = rest
            parts: list[tuple[int, Part]] = [
                (0, lambda: self._place_class(key, space, name, skeletons)),
                (1, lambda: _fill_class(body)),
                (2 + names_variables, lambda: _fill_class(late)),
            ]
            if loose is not None:
                parts.append((2 + names_variables, lambda: _fill_class(loose)))
            return parts
        if kind == VARIABLE:
            return [(2, lambda: self._place_variable(key, space, name, *rest))]
        if kind == REMOVED:
            return [(0, lambda: self._remove(key, space, name))]
        if kind == MISSING:
            return [(0, lambda: self._place_missing(key, space, name, *rest))]
        return [(2, lambda: self._check_inherited(key, space, name, *rest))]

    def _define_code(
        self,
        key: int,
        space: rebuild.Space,
        code: Any,
        annotations: dict[str, Any],
        imports: tuple[str, ...],
    ) -> None:
        rebuild.import_all(imports)
        if isinstance(code, bytes):
            code = marshal.loads(code)
        self._places.pop(key, None)
        rebuild.codes[key] = (code, rebuild.globals_of(space), annotations)

    def _put(self, key: int, space: rebuild.Space, name: str, value: object) -> None:
        """Put a value under its name, and remember that it is the parent's."""
        target = rebuild.globals_of(space)
        target[name] = value
        self._note(key, space, target, name, value)

    def _note(self, key: int, space: rebuild.Space, target: dict[str, Any], name: str, value: object) -> None:
        self._places[key] = (target, name)
        if not isinstance(space, int):
            self._replicated.setdefault(_module_of(space), {})[name] = value

    def _place_function(
        self,
        key: int,
        space: rebuild.Space,
        name: str,
        code: Any,
        annotations: dict[str, Any],
        imports: tuple[str, ...],
    ) -> None:
        if isinstance(code, bytes):
            code = marshal.loads(code)
        rebuild.import_all(imports)
        target = rebuild.globals_of(space)
        function = target.get(name)
        if (
            type(function) is FunctionType
            and self._is_replicated(space, name, function)
            and function.__globals__ is target
            and len(function.__closure__ or ()) == len(code.co_freevars)
        ):
            # Defined anew: changed in place, because variables of ours may hold it.
            function.__code__ = code
            function.__dict__.clear()
            rebuild.set_function_state(function, (None, None, None, _names_of(code)))
        else:
            free = tuple(CellType() for _ in code.co_freevars) or None
            function = FunctionType(code, target, code.co_name, None, free)
        function.__annotations__ = dict(annotations)
        self._put(key, space, name, function)

    def _is_replicated(self, space: rebuild.Space, name: str, value: object) -> bool:
        """Say whether a value is what was put under its name here, or was inherited."""
        if isinstance(space, int):
            return True
        module = _module_of(space)
        return self._replicated.get(module, {}).get(name) is value

    def _fill_function(self, space: rebuild.Space, name: str, state: bytes | None) -> None:
        if state is None:
            return
        contents, rest = loads(state)
        function = rebuild.globals_of(space)[name]
        for cell, content in zip(function.__closure__ or (), contents, strict=True):
            if content:
                cell.cell_contents = content[0]
            else:
                _empty(cell)
        rebuild.set_function_state(function, rest)

    def _place_class(
        self, key: int, space: rebuild.Space, name: str, skeletons: list[tuple[str, bytes]]
    ) -> None:
        for qualname, skeleton in skeletons:
            cls = loads(skeleton)
            owner, _, last = qualname.rpartition(".")
            if not owner:
                self._put(key, space, last, cls)
            else:
                holder: Any = rebuild.globals_of(space)[name]
                for part in owner.split(".")[1:]:
                    holder = getattr(holder, part)
                setattr(holder, last, cls)

    def _place_variable(
        self, key: int, space: rebuild.Space, name: str, value: bytes, is_change: bool
    ) -> None:
        """Set a variable, unless this worker's own code gave it a value before the parent did."""
        target = rebuild.globals_of(space)
        here = target.get(name, _ABSENT)
        if (
            not is_change
            and key not in self._places
            and here is not _ABSENT
            and (space is not None or here is not self._inherited.get(name, _ABSENT))
        ):
            self._places[key] = (target, name)
            return
        try:
            made = loads(value)
        except Exception:
            if not (rebuild.is_last_resort and self._forked and space is None and name in self._inherited):
                raise
            made = self._inherited[name]  # what a forked child of the standard pool would have
        self._put(key, space, name, made)

    def _place_missing(
        self, key: int, space: rebuild.Space, name: str, text: str, path: str, is_type_error: bool
    ) -> None:
        target = rebuild.globals_of(space)
        here = target.get(name, _ABSENT)
        if here is _ABSENT or self._is_replicated(space, name, here):
            self._put(key, space, name, rebuild.Missing(text, path, is_type_error))
        else:
            self._places[key] = (target, name)

    def _remove(self, key: int, space: rebuild.Space, name: str) -> None:
        target = rebuild.globals_of(space)
        replicated = target if isinstance(space, int) else self._replicated.get(_module_of(space), {})
        here = target.get(name, _ABSENT)
        if here is replicated.get(name, _ABSENT) or (
            space is None and here is self._inherited.get(name, _ABSENT)
        ):
            target.pop(name, None)
        replicated.pop(name, None)
        self._places[key] = (target, name)

    def _check_inherited(self, key: int, space: rebuild.Space, name: str, reason: str) -> None:
        target = rebuild.globals_of(space)
        if name not in target:
            raise TypeError(reason)
        self._places[key] = (target, name)  # a later value is a change


def _empty(cell: Any) -> None:
    try:
        del cell.cell_contents
    except ValueError:
        pass


def _names_of(code: Any) -> dict[str, Any]:
    """Return what a new function of this code would be called."""
    born = FunctionType(code, {}, None, None, tuple(CellType() for _ in code.co_freevars) or None)
    return {"__name__": born.__name__, "__qualname__": born.__qualname__, "__doc__": born.__doc__}


def _module_of(space: rebuild.Space) -> str:
    """Return the name of the module whose globals these are; not for exec namespaces."""
    return space[1:] if isinstance(space, str) else "__main__"


def _stage(item: tuple[int, int, Part]) -> int:
    return item[0]


def _fill_class(data: bytes) -> None:
    """Set the attributes of a class and of the classes inside it."""
    for cls, state in loads(data):
        rebuild.set_class_state(cls, state)


def prepare_main(forked: bool) -> ModuleType | None:
    """Give this process a ``__main__`` to be filled, and return the one it started with.

    A forked worker keeps the parent's. The old module must be kept alive: the frames at the bottom of
    this process still run in it.
    """
    previous = sys.modules["__main__"]
    if forked:
        rebuild.forget_identities()
        sys.modules["__mp_main__"] = sys.modules["__main__"]
        return None
    main = ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    for name in ("__file__", "__spec__"):  # where the program is; see `surroundings`
        if name in previous.__dict__:
            main.__dict__[name] = previous.__dict__[name]
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    return previous
