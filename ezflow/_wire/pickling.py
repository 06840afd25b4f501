"""The pickler of both directions, and how a worker's results are pickled.

One subclass of the C pickler serves every direction. C handles plain data by
itself; `reducer_override` sees each function, class and instance once per
pickle and decides:

- found by name in an importable module: by reference, as plain pickle does;
- found by name in ``__main__`` or in a module that cannot be imported: by
  reference to the worker's replica (what a subclass does about the replica is
  the difference between the directions);
- anything else: by value.

There is no dispatch table of our own, so C looks into ``copyreg``'s live one;
the reducers of multiprocessing (connections, sockets, locks) are asked here.
cloudpickle is imported at the first object of a kind that only it can reduce.

Picklers are reused: making one costs more than a small pickle. One is taken
from a list and put back after success, both in one atomic step. So a second
thread, a ``__reduce__`` that submits a call, or an exception in the middle
can never meet a pickler in use.

Large buffers (protocol 5) are left out of the bytes if whoever pickles asks for
it; `_memory` brings them to the other side.
"""

from __future__ import annotations

import copyreg
import functools
import pickle
import sys
import types
import weakref
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
)

from .._memory.cargo import STREAM_FROM, is_large
from . import rebuild
from .where import is_default, is_importable, named, wrapped

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from .._memory.cargo import Part
    from .functions import CodeFacts

PROTOCOL: Final = 5

KEEP_BELOW: Final = 1 << 16
"""Bytes of a pickle above which its pickler is not reused: emptying a memo that has grown costs more than a new one."""

_modules = sys.modules

_plain: set[type] = {BuiltinFunctionType}
"""Types whose instances C pickles without help."""

_SCALARS: Final = frozenset({int, float, bool, type(None)})
"""Types whose values hold nothing that could need a decision."""

_TEXTS: Final = frozenset({str, bytes})
"""The same, but they may be long."""

_LRU_CACHE: Final = type(functools.lru_cache(lambda: None))

_CLOUDPICKLE_KINDS: Final = frozenset(
    {
        ("builtins", "memoryview"), ("builtins", "dict_keys"), ("builtins", "dict_values"),
        ("builtins", "dict_items"), ("builtins", "odict_keys"), ("builtins", "odict_values"),
        ("builtins", "odict_items"), ("_weakrefset", "WeakSet"), ("weakref", "WeakSet"),
        ("abc", "abstractclassmethod"), ("abc", "abstractstaticmethod"), ("abc", "abstractproperty"),
        ("dataclasses", "_FIELD_BASE"),
    }
)  # fmt: skip
"""Kinds of objects that cloudpickle reduces and pickle does not; by name, to import it only when one appears."""


class Sink:
    """A file that keeps the pieces a pickler writes."""

    __slots__ = ("pieces", "write")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.write = self.pieces.append


class Aside:
    """Large buffers that are left out of the bytes, if that is wanted.

    Apart from the pickler, which would hold itself otherwise, and with it whatever it has met.
    """

    __slots__ = ("buffers", "is_wanted")

    def __init__(self) -> None:
        self.buffers: list[pickle.PickleBuffer] = []
        self.is_wanted = False

    def take(self, buffer: pickle.PickleBuffer) -> bool:
        """Say whether a buffer goes into the bytes."""
        if self.is_wanted and is_large(buffer):
            self.buffers.append(buffer)
            return False
        return True


class WirePickler(pickle.Pickler):
    """The C pickler with our decisions; see the module's text."""

    is_bound = False
    """Whether what was pickled last can be rebuilt by the other side only, or only once."""

    is_trial = False
    """Whether nobody will ever read the pickle: no descriptor is duplicated for a reader then."""

    recognises = False
    """Whether the same large buffer is likely to come again."""

    def __init__(self) -> None:
        sink = Sink()
        self.pieces = sink.pieces
        self.aside = Aside()
        super().__init__(sink, PROTOCOL, buffer_callback=self.aside.take)

    def dumps(self, obj: object) -> bytes:
        """Pickle into one bytes object; after an exception the pickler must not be used again."""
        self.dump(obj)
        data = self.take_bytes()
        self.clear_memo()
        return data

    def take_bytes(self) -> bytes:
        """Give what the last `dump` has written."""
        pieces = self.pieces
        if len(pieces) == 1:
            return pieces.pop()
        data = b"".join(pieces)
        pieces.clear()
        return data

    def take_aside(self, beside: list[Part]) -> bytes:
        """Give what the last `dump` has written; put its large buffers beside it, and the bytes too if they are many."""
        buffers, pieces = self.aside.buffers, self.pieces
        self.aside.is_wanted = False
        if not buffers and (len(pieces) == 1 and len(pieces[0]) < STREAM_FROM):
            return pieces.pop()
        is_long = sum(map(len, pieces)) >= STREAM_FROM
        data = b"" if is_long else self.take_bytes()
        if buffers or is_long:
            from .._memory.cargo import stow

            beside += stow(buffers, pieces if is_long else (), recognise=self.recognises)
            buffers.clear()
            pieces.clear()
        return data

    def take_kept(self) -> list[Part]:
        """Give what the last `dump` has written, and its large buffers behind it, for any number of receivers."""
        from .._memory.cargo import stow

        if sum(map(len, self.pieces)) < STREAM_FROM:
            return [self.take_bytes(), *stow(self.aside.buffers, shared=True)]
        *parts, stream = stow(self.aside.buffers, self.pieces, shared=True)
        return [stream, *parts]

    # The return type is what pickle allows: a reduce value, a global's name, or NotImplemented.
    def reducer_override(self, obj: Any) -> Any:
        """Decide how an object that is not plain data travels."""
        kind = type(obj)
        if kind is FunctionType:
            return self._function(obj)
        if kind in _plain:
            return NotImplemented
        reduce = _OWN.get(kind)
        if reduce is not None:
            return reduce(self, obj)
        return self._other(obj, kind)

    # --- what the directions decide

    def named_here(self, obj: Any, module: str, qualname: str) -> Any:
        """Reduce a function or class that has a name in a module that cannot be imported; None: by value."""
        raise NotImplementedError

    def code(self, function: FunctionType, facts: CodeFacts) -> tuple[Callable[..., object], tuple[Any, ...]]:
        """Return maker and arguments, short of the cells, of a function that travels by value."""
        raise NotImplementedError

    def dumps_inside(self, obj: object) -> bytes:
        """Pickle into bytes that travel in this pickle, and are unpickled by themselves."""
        raise NotImplementedError

    def special(self, obj: Any, kind: type) -> Any:
        """Reduce a thing that belongs to a process (a lock, a pool, ...); None: it is no such thing."""
        return None

    def text_global(self, obj: Any, name: str) -> Any:
        """Reduce an object whose ``__reduce__`` says that it is a global of this name."""
        if type(obj).__module__ == "typing":
            home = _modules.get(obj.__module__)
            if home is None or not named(home, name, obj):  # the T of ``class Box[T]``
                return typing_reduce(obj, type(obj))
        return name

    def sentinel(self, obj: object) -> Any:
        """Reduce a bare ``object()``, which is nothing but its identity."""
        return NotImplemented

    # --- functions and classes

    def _function(self, function: FunctionType) -> Any:
        module = function.__module__
        home = _modules.get(module)
        if home is not None and named(home, function.__qualname__, function):
            if is_importable(module, home):
                return NotImplemented
            reduced = self.named_here(function, module, function.__qualname__)
            if reduced is not None:
                return reduced
        elif (
            home is not None
            and wrapped(home, function.__qualname__, function)
            and is_importable(module, home)
        ):
            return rebuild.wrapped, (module, function.__qualname__)
        return self.function_by_value(function)

    def function_by_value(self, function: FunctionType) -> tuple[Any, ...]:
        """Reduce a function to its code and its state."""
        from .functions import facts_of, unusual_names

        facts = facts_of(function.__code__)
        make, arguments = self.code(function, facts)
        attributes = dict(function.__dict__) or None
        names = unusual_names(function, facts)
        arguments = (*arguments, function.__closure__)
        if attributes or names or function.__defaults__ or function.__kwdefaults__:
            state = (function.__defaults__, function.__kwdefaults__, attributes, names)
            return make, arguments, state, None, None, rebuild.set_function_state
        return make, arguments

    def _class(self, cls: type) -> Any:
        if cls is types.NoneType or cls is types.EllipsisType or cls is types.NotImplementedType:
            return NotImplemented
        module = cls.__module__
        home = _modules.get(module)
        if home is not None and named(home, cls.__qualname__, cls):
            if is_importable(module, home):
                return NotImplemented
            reduced = self.named_here(cls, module, cls.__qualname__)
            if reduced is not None:
                return reduced
        elif type(cls).__module__ == "_ctypes" or module == "_ctypes":
            from .foreign import reduce_type

            reduced = reduce_type(cls)
            if reduced is not None:
                return reduced
        elif module == "builtins":
            for name, value in vars(types).items():
                if value is cls:
                    return rebuild.attribute, ("types", name)
        return self.class_by_value(cls)

    def class_by_value(self, cls: type) -> Any:
        """Reduce a class to an empty class and its content."""
        from .classes import take_apart

        parts = take_apart(cls)
        return parts.make, parts.arguments, parts.state, None, None, rebuild.set_class_state

    # --- everything else

    def _other(self, obj: Any, kind: type) -> Any:
        if issubclass(kind, type):
            return self._class(obj)
        if issubclass(kind, ModuleType):
            return self._module(obj)
        reduced = self.special(obj, kind)
        if reduced is not None:
            return reduced
        reduction = _modules.get("multiprocessing.reduction")
        if reduction is not None and kind is not functools.partial:
            reduce = reduction.ForkingPickler._extra_reducers.get(kind)
            if reduce is not None:
                self.is_bound = True
                return _look_at(obj) if self.is_trial and hasattr(kind, "fileno") else reduce(obj)
        if kind in copyreg.dispatch_table:
            return NotImplemented
        if (kind.__module__, kind.__qualname__) in _CLOUDPICKLE_KINDS:
            return _cloudpickle_reduce(obj, kind)
        if is_default(kind, "__reduce_ex__") and is_default(kind, "__reduce__"):
            if len(_plain) > 1000:  # classes that were made and dropped; chosen
                _plain.clear()
            _plain.add(kind)
            return NotImplemented
        reduce_with = kind.__dict__.get("_reduce_with")  # of a `Result`
        if reduce_with is not None:
            return reduce_with(obj, self.dumps_inside)
        reduced = obj.__reduce_ex__(PROTOCOL)
        if isinstance(reduced, str):
            return self.text_global(obj, reduced)
        return reduced

    def _module(self, module: ModuleType) -> Any:
        name = module.__name__
        if _modules.get(name) is module:
            if name == "__main__" or is_importable(name, module):
                return rebuild.imported, (name,)
            return self.module_replica(module)
        content = {key: value for key, value in module.__dict__.items() if key not in _NOT_OF_A_MODULE}
        return rebuild.dynamic_module, (name, content)

    def module_replica(self, module: ModuleType) -> Any:
        """Reduce a module of `sys.modules` that cannot be imported."""
        return rebuild.imported, (module.__name__,)

    def _method(self, method: MethodType) -> Any:
        """Reduce a bound method to its name if its owner finds it so, else to its parts."""
        function, owner = method.__func__, method.__self__
        name = getattr(function, "__name__", None)
        if isinstance(name, str):
            classes = owner.__mro__ if isinstance(owner, type) else type(owner).__mro__
            for cls in classes:
                if name in cls.__dict__:
                    found = cls.__dict__[name]
                    if found is function or getattr(found, "__func__", None) is function:
                        return getattr, (owner, name)
                    break
        return rebuild.bound_method, (function, owner)

    def _cell(self, cell: CellType) -> Any:
        try:
            content = cell.cell_contents
        except ValueError:  # empty
            return rebuild.new_cell, ()
        return rebuild.new_cell, (), (content,), None, None, rebuild.fill_cell

    def _code_object(self, code: CodeType) -> Any:
        from .functions import facts_of

        data = facts_of(code).data
        if isinstance(data, bytes):
            import marshal

            return marshal.loads, (data,)
        return _cloudpickle_reduce(code, CodeType)

    def _property(self, prop: property) -> Any:
        return property, (prop.fget, prop.fset, prop.fdel, prop.__doc__)

    def _wrapped(self, method: Any) -> Any:
        """Reduce a staticmethod or classmethod."""
        return type(method), (method.__func__,)

    def _cached_property(self, prop: functools.cached_property[Any]) -> Any:
        return rebuild.cached_property, (prop.func, prop.attrname)  # has a lock before 3.12

    def _partialmethod(self, method: Any) -> Any:
        arguments = (method.func, *method.args)
        return rebuild.call, (
            functools.partialmethod,
            arguments,
            method.keywords,
        )  # 3.14 does not do it itself

    def _weak_mapping(self, mapping: Any) -> Any:
        return type(mapping), (dict(mapping),)

    def _descriptor(self, descriptor: Any) -> Any:
        return getattr, (descriptor.__objclass__, descriptor.__name__)

    def _proxy(self, proxy: MappingProxyType[Any, Any]) -> Any:
        return MappingProxyType, (dict(proxy),)

    def _lru_cache(self, wrapper: Any) -> Any:
        module = wrapper.__module__
        home = _modules.get(module)
        qualname = getattr(wrapper, "__qualname__", "")
        if home is not None and named(home, qualname, wrapper):
            if is_importable(module, home):
                return NotImplemented
            reduced = self.named_here(wrapper, module, qualname)
            if reduced is not None:
                return reduced
        attributes = {key: value for key, value in wrapper.__dict__.items() if key != "cache_parameters"}
        return rebuild.lru_cache, (wrapper.__wrapped__, wrapper.cache_parameters(), attributes)

    def _stream(self, stream: Any) -> Any:
        for name in ("stdin", "stdout", "stderr"):
            if stream is getattr(sys, name) or stream is getattr(sys, f"__{name}__"):
                return rebuild.standard_stream, (name,)
        return NotImplemented


_NOT_OF_A_MODULE: Final = frozenset({"__builtins__", "__loader__", "__spec__", "__name__", "__cached__"})

_OWN: Final[dict[type, Callable[[Any, Any], Any]]] = {
    type: WirePickler._class,
    ModuleType: WirePickler._module,
    MethodType: WirePickler._method,
    CellType: lambda pickler, cell: pickler._cell(cell),
    CodeType: WirePickler._code_object,
    property: WirePickler._property,
    classmethod: WirePickler._wrapped,
    staticmethod: WirePickler._wrapped,
    functools.cached_property: WirePickler._cached_property,
    functools.partialmethod: WirePickler._partialmethod,
    weakref.WeakKeyDictionary: WirePickler._weak_mapping,
    weakref.WeakValueDictionary: WirePickler._weak_mapping,
    object: lambda pickler, obj: pickler.sentinel(obj),
    GetSetDescriptorType: WirePickler._descriptor,
    MemberDescriptorType: WirePickler._descriptor,
    MappingProxyType: WirePickler._proxy,
    _LRU_CACHE: WirePickler._lru_cache,
    MethodWrapperType: lambda _, obj: NotImplemented,  # names its owner by itself
    type(sys.__stdout__): WirePickler._stream,
}
_OWN.pop(types.NoneType, None)  # an interpreter without standard streams


def pickle_by(kind: type, reduce: Callable[[Any, Any], Any]) -> None:
    """Have objects of a class of ours pickled by a function of pickler and object."""
    _OWN[kind] = reduce


def typing_reduce(obj: Any, kind: type) -> Any:
    """Reduce a type variable, new type or type alias by value."""
    keywords: dict[str, Any] = {}
    arguments: tuple[Any, ...] = (obj.__name__,)
    if kind.__name__ == "NewType":
        arguments = (obj.__name__, obj.__supertype__)
    elif kind.__name__ == "TypeAliasType":
        arguments = (obj.__name__, obj.__value__)
        keywords["type_params"] = obj.__type_params__
    elif kind.__name__ in ("TypeVar", "ParamSpec"):
        arguments = (obj.__name__, *getattr(obj, "__constraints__", ()))
        for name in ("bound", "covariant", "contravariant", "infer_variance"):
            value = getattr(obj, f"__{name}__", None)
            if value:
                keywords[name] = value
    has_default = getattr(obj, "has_default", None)
    if has_default is not None and has_default():
        keywords["default"] = obj.__default__
    return rebuild.typing_object, (kind.__name__, arguments, keywords, obj.__module__)


def _cloudpickle_reduce(obj: object, kind: type) -> Any:
    """Let cloudpickle reduce an object of a kind that it knows."""
    import cloudpickle

    return cloudpickle.Pickler.dispatch_table[kind](obj)


class ResultPickler(WirePickler):
    """Pickles what a call returned: names known to the parent stay names, all else is self-contained."""

    def __init__(self, is_known: Callable[[str, str], bool]) -> None:
        super().__init__()
        self.is_known = is_known
        self._spaces: dict[int, dict[str, Any]] = {}
        self.kept: list[bytes | pickle.PickleBuffer] = []
        """Of parts that were packed by themselves: the pickle of each, and its large buffers."""
        self.n_kept = 0
        """Pieces of such parts beside the last pickle."""

    def dump(self, obj: object) -> None:
        """Pickle anew."""
        if self._spaces:
            self._spaces = {}
        if self.kept:
            self.kept = []
        self.n_kept = 0
        self.is_bound = False
        super().dump(obj)

    def take_aside(self, beside: list[Part]) -> bytes:
        """Give the bytes; put beside them their large buffers, and what was packed by itself."""
        data = super().take_aside(beside)
        if self.kept:
            at = len(beside) - (not data)  # the stream, if it is long, comes last
            beside[at:at] = self._take_kept_parts()
        return data

    def _take_kept_parts(self) -> list[Part]:
        """Put all that was packed by itself into few segments."""
        from .._memory.cargo import ASIDE_FROM, stow

        pieces, self.kept = self.kept, []
        self.n_kept = len(pieces)
        large = [i for i, one in enumerate(pieces) if type(one) is not bytes or len(one) >= ASIDE_FROM]
        parts: list[Any] = list(pieces)
        stowed = stow([pickle.PickleBuffer(pieces[i]) for i in large], shared=True)
        for i, part in zip(large, stowed, strict=True):
            parts[i] = part
        return parts

    def dumps_inside(self, obj: object) -> bytes:
        """As the whole."""
        inner = ResultPickler(self.is_known)
        data = inner.dumps(obj)
        self.is_bound |= inner.is_bound
        return data

    def named_here(self, obj: Any, module: str, qualname: str) -> Any:
        """By name if the parent has it under this name."""
        if not self.is_known(module, qualname.partition(".")[0]):
            return None
        self.is_bound = True
        return qualname

    def code(self, function: FunctionType, facts: CodeFacts) -> tuple[Callable[..., object], tuple[Any, ...]]:
        """Send the code along; its globals are the parent's own where it has them, else a copy."""
        from .functions import plain_annotations, submodules

        self.is_bound = True
        space = function.__globals__
        name = space.get("__name__")
        home = _modules.get(name) if isinstance(name, str) else None
        where: Any
        if home is not None and home.__dict__ is space:
            where = None if name == "__main__" else name
        else:
            where = self._spaces.setdefault(id(space), {})
            where.update((key, space[key]) for key in facts.names if key in space)
        imports = submodules(facts, (space[key] for key in facts.names if key in space))
        return rebuild.inline_function, (facts.data, where, plain_annotations(function), imports)

    def sentinel(self, obj: object) -> Any:
        """By name if the parent has it under a name."""
        for name, value in list(_modules["__main__"].__dict__.items()):
            if value is obj and self.is_known("__main__", name):
                self.is_bound = True
                return rebuild.value_of, (None, name)
        return NotImplemented


def _look_at(obj: Any) -> Any:
    """Stand in for the reducer of a socket or connection, which would start a thread that hands duplicates out."""
    if obj.fileno() < 0:
        raise OSError(f"this {type(obj).__name__} is closed")
    return bool, ()


class ResultPickling:
    """Pickles the results of one worker."""

    def __init__(self, is_known: Callable[[str, str], bool]) -> None:
        self._is_known = is_known
        self._idle: list[ResultPickler] = []
        self.was_bound = False
        """Whether the last result that was pickled can be rebuilt by the parent only, or only once."""
        self.n_kept = 0
        """Pieces beside the last result that are of parts which stay packed."""

    def dumps(self, value: object, beside: list[Part] | None = None) -> bytes:
        """Pickle a result; raises the original error, with the path of the culprit in a note and in `path`."""
        kind = type(value)
        self.was_bound = False
        self.n_kept = 0
        if kind in _SCALARS or (kind in _TEXTS and len(value) < STREAM_FROM):  # type: ignore[arg-type]  # both have it
            return pickle.dumps(value, PROTOCOL)  # no decision of ours is asked for
        try:
            pickler = self._idle.pop()
        except IndexError:
            pickler = ResultPickler(self._is_known)
        try:
            if beside is None:
                data = pickler.dumps(value)
            else:
                pickler.aside.is_wanted = True
                pickler.dump(value)
                data = pickler.take_aside(beside)
                pickler.clear_memo()
                self.was_bound = pickler.is_bound
                self.n_kept = pickler.n_kept
        except Exception as error:
            from .diagnose import note_culprit

            note_culprit(error, {"result": value}, self._try)
            raise
        if 0 < len(data) < KEEP_BELOW:
            self._idle.append(pickler)
        return data

    def _try(self, value: object) -> None:
        pickler = ResultPickler(self._is_known)
        pickler.is_trial = True
        pickler.dumps(value)
