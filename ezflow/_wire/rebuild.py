"""Rebuild what was sent by value: functions, classes, cells, context variables.

The packing side writes references to the functions below into its pickles, so
their names and arguments are part of the wire format. They run in a worker
when it unpacks a call, and in the parent when it opens a result.

A class that is sent by value keeps one identity per process: it carries a
token, and the process that knows the token uses the class it already has.

Imports stay few, because every worker loads this module at its start.
"""

from __future__ import annotations

import marshal
import os
import pickle
import sys
import weakref
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import ContextVar
    from typing import Any, TypeAlias

Space: TypeAlias = "str | int | dict[str, Any] | None"
"""Whose globals: None is ``__main__``, a name is that module, ``=name`` is the replica of a module that exists
in the parent's memory only, a number is the replica of a namespace that some code was exec'd in, a dict is
itself."""

_N_NAMESPACES = (
    256  # chosen: larger keeps more dead exec namespaces in a worker; smaller could drop one in use
)

codes: dict[int, tuple[CodeType, dict[str, Any], dict[str, Any]]] = {}
"""Code slots of this worker: key -> (code, globals, annotations). Written by the workspace only."""

_namespaces: dict[int, dict[str, Any]] = {}
_variables: dict[str, ContextVar[Any]] = {}

_class_of: weakref.WeakValueDictionary[str, type] = weakref.WeakValueDictionary()
_token_of: weakref.WeakKeyDictionary[type, str] = weakref.WeakKeyDictionary()
_given: weakref.WeakKeyDictionary[type, tuple[str, ...]] = weakref.WeakKeyDictionary()
_native: set[str] = set()  # tokens that were given out here: such a class is never overwritten by a copy


def forget_identities() -> None:
    """Start afresh in a forked worker: what it inherited is a copy of the parent's, to be overwritten."""
    for table in (_class_of, _token_of, _given, _native, _namespaces, _variables, codes):
        table.clear()


def globals_of(space: Space) -> dict[str, Any]:
    """Return the globals that code sent from `space` runs in, making them if need be."""
    if space is None:
        return sys.modules["__main__"].__dict__
    if isinstance(space, str):
        if space[0] == "=":
            return module_replica(space[1:]).__dict__
        module = sys.modules.get(space)
        if module is None:
            from importlib import import_module

            module = import_module(space)
        return module.__dict__
    if isinstance(space, dict):  # travels with a result
        space.setdefault("__builtins__", __builtins__)
        return space
    found = _namespaces.get(space)
    if found is None:
        found = _namespaces.setdefault(space, {"__builtins__": __builtins__})
        while len(_namespaces) > _N_NAMESPACES:
            _namespaces.pop(next(iter(_namespaces)), None)
    return found


def module_replica(name: str) -> ModuleType:
    """Return the module of this name, or an empty one made here on first use."""
    module = sys.modules.get(name)
    if module is None:
        module = sys.modules.setdefault(name, ModuleType(name))
    return module


# --- functions


def slot_function(key: int, cells: tuple[CellType, ...] | None) -> FunctionType:
    """Make a function from a code slot; its state follows."""
    code, space, annotations = codes[key]
    function = FunctionType(code, space, code.co_name, None, cells)
    if annotations:
        function.__annotations__ = dict(annotations)
    return function


def inline_function(
    code: bytes | CodeType,
    space: Space,
    annotations: dict[str, Any],
    imports: tuple[str, ...],
    cells: tuple[CellType, ...] | None,
) -> FunctionType:
    """Make a function from code that travels with it; its state follows."""
    import_all(imports)
    if isinstance(code, bytes):
        code = _code(code)
    function = FunctionType(code, globals_of(space), code.co_name, None, cells)
    if annotations:
        function.__annotations__ = annotations
    return function


def _code(data: bytes) -> CodeType:
    code: CodeType = marshal.loads(data)
    return code


def import_all(names: tuple[str, ...]) -> None:
    """Import the submodules that a function reaches through their package."""
    for name in names:
        if name not in sys.modules:
            __import__(name)


FunctionState = tuple[
    tuple[object, ...] | None, "dict[str, Any] | None", "dict[str, Any] | None", "dict[str, Any] | None"
]


def set_function_state(function: FunctionType, state: FunctionState) -> None:
    """Give a function its defaults, keyword defaults, attributes and unusual names."""
    defaults, kwdefaults, attributes, names = state
    function.__defaults__ = defaults
    function.__kwdefaults__ = kwdefaults
    if attributes:
        function.__dict__.update(attributes)
    if names:
        for name, value in names.items():
            setattr(function, name, value)


def new_cell() -> CellType:
    """Make an empty cell; its content follows, so that a function may hold itself."""
    return CellType()


def fill_cell(cell: CellType, content: tuple[object]) -> None:
    """Put the content into a cell; it comes in a tuple, because a state of None would not be sent."""
    cell.cell_contents = content[0]


def bound_method(function: Callable[..., object], owner: object) -> object:
    """Bind a function that its owner does not know under its name."""
    return MethodType(function, owner)


# --- classes


def token_of(cls: type) -> str:
    """Return the token under which every process knows this class."""
    token = _token_of.get(cls)
    if token is None:
        fresh = os.urandom(12).hex()
        _native.add(fresh)
        token = _token_of.setdefault(cls, fresh)
        _class_of[token] = cls
    return token


def _known(token: str, make: Callable[[], type]) -> type:
    """Return the class of a token, made at first sight."""
    found = _class_of.get(token)
    if found is not None:
        return found
    cls = make()
    _token_of[cls] = token
    return _class_of.setdefault(token, cls)


def make_class(
    meta: type,
    creator: type,
    name: str,
    bases: tuple[object, ...],
    namespace: dict[str, Any],
    token: str,
    quiet: tuple[type, ...],
) -> type:
    """Make a class that has no methods yet, or return the one this token stands for.

    Parameters
    ----------
    meta : type
        Its metaclass.
    creator : type
        The first class among the metaclass and its bases that is importable; its ``__new__`` is used. What
        a metaclass of the main program did to the class arrives as the class's state.
    name, bases, namespace
        As for a class statement.
    token : str
        The identity of the class.
    quiet : tuple of type
        Ancestors whose ``__init_subclass__`` is not to run, because they are the main program's, too.
    """
    return _known(token, lambda: _new_class(meta, creator, name, bases, namespace, quiet))


def _new_class(
    meta: type,
    creator: type,
    name: str,
    bases: tuple[object, ...],
    namespace: dict[str, Any],
    quiet: tuple[type, ...],
) -> type:
    from types import new_class, resolve_bases

    def fill(target: dict[str, Any]) -> None:
        target.update(namespace)

    hidden = [
        (each, each.__dict__["__init_subclass__"]) for each in quiet if "__init_subclass__" in each.__dict__
    ]
    try:
        for each, _ in hidden:
            del each.__init_subclass__
        if creator is meta:
            return new_class(name, bases, {"metaclass": meta}, fill)
        resolved = resolve_bases(bases)
        content = dict(namespace)
        if resolved is not bases:
            content["__orig_bases__"] = bases
        return creator.__new__(meta, name, tuple(resolved), content)
    except TypeError:
        # An __init_subclass__ of a library may demand keywords, which are gone: do without it.
        noisy = [each for each in _ancestors(bases) if "__init_subclass__" in each.__dict__]
        if quiet or not noisy:
            raise
        return _new_class(meta, creator, name, bases, namespace, tuple(noisy))
    finally:
        for each, method in hidden:
            each.__init_subclass__ = method  # type: ignore[method-assign]  # as it was


def _ancestors(bases: tuple[object, ...]) -> list[type]:
    """Return all classes above, short of the built-in ones."""
    found = {each: None for base in bases if isinstance(base, type) for each in base.__mro__[:-1]}
    return [each for each in found if each.__flags__ & 1 << 9]  # Py_TPFLAGS_HEAPTYPE


def make_namedtuple(
    name: str,
    fields: tuple[str, ...],
    defaults: tuple[object, ...],
    bases: tuple[type, ...],
    namespace: dict[str, Any],
    token: str,
) -> type:
    """Make a named tuple class."""

    def make() -> type:
        from collections import namedtuple

        cls = namedtuple(name, fields, defaults=defaults)  # type: ignore[misc]  # names known at run time
        if bases != (tuple,):  # a generic one
            cls.__bases__ = bases
        for key, value in namespace.items():
            setattr(cls, key, value)
        return cls

    return _known(token, make)


def make_enum(
    bases: tuple[type, ...],
    name: str,
    qualname: str,
    members: dict[str, Any],
    module: str,
    token: str,
    keywords: dict[str, Any],
) -> type:
    """Make an enumeration with its members; methods follow."""

    def make() -> type:
        meta: Any = type(bases[-1])  # an enum's own Enum base always comes last
        namespace = meta.__prepare__(name, bases)
        for key, value in members.items():
            namespace[key] = value
        cls: type = meta.__new__(meta, name, bases, namespace, **keywords)
        cls.__module__ = module
        cls.__qualname__ = qualname
        return cls

    return _known(token, make)


is_last_resort = False
"""Whether what is left to be rebuilt has failed, and nothing else is there that could help. Set by the workspace."""


def made(cls: type, *arguments: object) -> object:
    """Make an instance with the class's own ``__new__``; as a last resort without it.

    A class that keeps an instance of itself reads the attribute where it does so in its ``__new__``, before the worker
    has made that very instance.
    """
    try:
        return cls.__new__(cls, *arguments)
    except Exception:
        if not is_last_resort:
            raise
        for each in cls.__mro__:
            new = each.__dict__.get("__new__")
            if type(new) is BuiltinFunctionType:
                return new(cls) if each is object else new(cls, *arguments)
        raise


ClassState: TypeAlias = (
    "tuple[dict[str, Any], tuple[type, ...], dict[str, dict[str, Any]], tuple[str, ...] | None]"
)
"""Attributes, registered subclasses, attributes of an enum's members; all names the class has now, or None."""


def set_class_state(cls: type, state: ClassState) -> None:
    """Give a class its attributes, its registered subclasses, its members' attributes.

    Names that an earlier state gave it and that are gone are removed; what this process's own code set stays.

    A class that was first sent from here is left alone: the copy that comes home must not undo
    what happened to the original meanwhile.
    """
    if _token_of.get(cls) in _native:
        return
    attributes, registered, members, names = state
    if names is not None:
        for name in _given.get(cls, ()):
            if name not in names and name in cls.__dict__:
                delattr(cls, name)
        _given[cls] = names
    for name, value in attributes.items():
        if name != "_fields_" or name not in cls.__dict__:  # ctypes lays them out once
            setattr(cls, name, value)
    if "__firstlineno__" in attributes:  # setattr of anything may drop it (3.13)
        cls.__firstlineno__ = attributes["__firstlineno__"]  # type: ignore[attr-defined]  # since 3.13
    for subclass in registered:
        cls.register(subclass)  # type: ignore[attr-defined]  # ABCMeta
    for name, values in members.items():
        cls.__members__[name].__dict__.update(values)  # type: ignore[attr-defined]  # EnumMeta


def typing_object(kind: str, arguments: tuple[Any, ...], keywords: dict[str, Any], module: str) -> object:
    """Make a type variable or the like, which pickles by its name in its module."""
    import typing

    made = getattr(typing, kind)(*arguments, **keywords)
    try:
        made.__module__ = module
    except AttributeError:  # a type alias asks the frame that made it, and cannot be told
        pass
    return made


# --- things that have no content to send


def context_variable(token: str, name: str, default: tuple[object, ...]) -> ContextVar[Any]:
    """Return this process's context variable for one of the parent's."""
    found = _variables.get(token)
    if found is None:
        from contextvars import ContextVar

        fresh: ContextVar[Any] = ContextVar(name, default=default[0]) if default else ContextVar(name)
        found = _variables.setdefault(token, fresh)
    return found


class _DecimalVariable:
    """Stands for the context variable of `decimal`, which only that module can reach."""

    @staticmethod
    def set(value: Any) -> None:
        """Make it the current context."""
        from decimal import setcontext

        setcontext(value)


def decimal_variable() -> _DecimalVariable:
    """Return what sets the context of `decimal` here."""
    return _DecimalVariable()


def fresh(name: str, arguments: tuple[Any, ...]) -> object:
    """Make a new lock, semaphore or the like of this process."""
    import threading

    return getattr(threading, name)(*arguments)


def event(is_set: bool) -> object:
    """Make an event of our own, in the state the original is in."""
    from threading import Event

    made = Event()
    if is_set:
        made.set()
    return made


def cached_property(function: Callable[[Any], Any], name: str | None) -> object:
    """Make a functools.cached_property that knows its name already."""
    import functools

    fresh: functools.cached_property[Any] = functools.cached_property(function)
    fresh.attrname = name
    return fresh


def lru_cache(
    function: Callable[..., Any], parameters: Mapping[str, Any], attributes: dict[str, Any]
) -> object:
    """Wrap a function in an empty functools.lru_cache."""
    import functools

    wrapper = functools.lru_cache(**parameters)(function)
    wrapper.__dict__.update(attributes)
    return wrapper


beside: list[memoryview] = []
"""What travels beside the call that is being unpickled.  Set by the workspace."""


def kept_value(behind: int, n: int) -> object:
    """Rebuild what a handle stands for, from the `n` pieces that have so many others behind them."""
    end = len(beside) - behind
    stream, *buffers = beside[end - n : end]
    return pickle.loads(stream, buffers=buffers)


def attribute(module: str, name: str) -> object:
    """Return an object that an importable module holds."""
    return globals_of(module)[name]


def dynamic_module(name: str, attributes: dict[str, Any]) -> ModuleType:
    """Make a module that exists in the sender's memory only."""
    module = ModuleType(name)
    module.__dict__.update(attributes)
    return module


def itself(value: object) -> object:
    """Return a value, which pickle has rebuilt."""
    return value


def value_of(space: Space, name: str) -> object:
    """Return what a global name stands for here."""
    return globals_of(space)[name]


def call(function: Callable[..., object], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> object:
    """Call with keywords, which a pickle cannot say by itself."""
    return function(*arguments, **keywords)


def imported(name: str) -> ModuleType:
    """Import a module by its full name."""
    globals_of(name)
    return sys.modules[name]


def library(
    kind: Callable[..., Any], name: str | None, use_errno: bool, functions: dict[str, tuple[Any, Any, Any]]
) -> Any:
    """Load a C library as ctypes does, and tell its functions what they take and return."""
    made = kind(name, use_errno=use_errno)
    for each, signature in functions.items():
        library_function(made, each, signature)
    return made


def wrapped(module: str, qualname: str) -> object:
    """Return the function that a decorator has wrapped."""
    from importlib import import_module

    found: object = import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return unwrap(found)


def unwrap(found: Any) -> Any:
    """Return the function itself, also where no decorator is at work: the parent's may have come later."""
    return getattr(found, "__wrapped__", found)


def library_function(owner: Any, name: str, signature: tuple[Any, Any, Any]) -> Any:
    """Return a function of a C library."""
    found = getattr(owner, name)
    found.argtypes, found.restype, errcheck = signature
    if errcheck is not None:
        found.errcheck = errcheck
    return found


def standard_stream(name: str) -> object:
    """Return this process's own sys.stdin, sys.stdout or sys.stderr."""
    return getattr(sys, name)


class StandIn:
    """Stands in a worker for something that only the parent has; says so on any use."""

    __slots__ = ("_ezflow_what",)

    def __init__(self, what: str) -> None:
        object.__setattr__(self, "_ezflow_what", what)

    def __repr__(self) -> str:
        return f"<stand-in for {object.__getattribute__(self, '_ezflow_what')}, which lives in the parent>"

    def __getattribute__(self, name: str) -> object:
        if name in ("__class__", "__doc__", "__reduce_ex__", "__reduce__", "_ezflow_what"):
            return object.__getattribute__(self, name)
        raise _wrong_process(object.__getattribute__(self, "_ezflow_what"))

    def __setattr__(self, name: str, value: object) -> None:
        raise _wrong_process(self._ezflow_what)

    def __enter__(self) -> object:
        raise _wrong_process(self._ezflow_what)

    def __exit__(self, *exc: object) -> None:
        raise _wrong_process(self._ezflow_what)

    def __reduce__(self) -> tuple[object, ...]:
        return StandIn, (self._ezflow_what,)


class Missing:
    """Stands in a worker for a global of the main program that cannot be sent; says so on any use."""

    __slots__ = ("_ezflow_why",)

    def __init__(self, text: str, path: str, is_type_error: bool) -> None:
        object.__setattr__(self, "_ezflow_why", (text, path, is_type_error))

    def __repr__(self) -> str:
        return f"<not there: {object.__getattribute__(self, '_ezflow_why')[0]}>"

    def __getattribute__(self, name: str) -> object:
        if name in ("__class__", "__doc__"):
            return object.__getattribute__(self, name)
        raise _not_sent(self)


def _refuse(self: Missing, *_: object) -> object:
    raise _not_sent(self)


_USES = (
    "bool", "len", "iter", "next", "call", "contains", "getitem", "setitem", "delitem", "setattr",
    "delattr", "enter", "exit", "aenter", "aexit", "await", "aiter", "anext", "reduce_ex", "int", "float",
    "index", "complex", "bytes", "str", "format", "fspath", "buffer", "lt", "le", "gt", "ge", "add", "radd",
    "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "floordiv", "rfloordiv", "mod", "rmod", "pow",
    "rpow", "matmul", "rmatmul", "and", "rand", "or", "ror", "xor", "rxor", "lshift", "rlshift", "rshift",
    "rrshift", "neg", "pos", "invert", "abs", "iadd", "isub", "imul", "iand", "ior",
)  # fmt: skip

for _name in _USES:
    setattr(Missing, f"__{_name}__", _refuse)


def _not_sent(stand_in: Missing) -> Exception:
    from .. import errors

    text, path, is_type_error = object.__getattribute__(stand_in, "_ezflow_why")
    cls = errors.PicklingTypeError if is_type_error else errors.PicklingError
    return cls(text, direction="function", path=path)


def _wrong_process(what: object) -> Exception:
    """Return the error of a call that uses the pool it runs on."""
    from .. import errors

    return errors.parents_own(what)
