"""Find which part of an object cannot be pickled, and say so.

Runs only after a pickle has failed. Parts are pickled one by one, which runs
the user's ``__reduce__`` once more; it stops at a time limit, with the deepest
path found so far.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType

from ..errors import _ADVICE as ADVICE  # read by `unpicklable`
from ..errors import PicklingError, unpicklable
from .where import is_default, is_executor, is_future

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

LIMIT: Final = 0.3
"""Seconds to search. Larger: an error takes longer to arrive. Smaller: a coarser path for large objects (chosen)."""

_MAX_DEPTH: Final = 50


@contextmanager
def kept(error: Exception) -> Iterator[None]:
    """Keep an error as it is while the search raises, perhaps, the very same object again."""
    notes: list[str] = list(getattr(error, "__notes__", ()))
    traceback, context = error.__traceback__, error.__context__
    yield
    if notes or getattr(error, "__notes__", None):
        error.__notes__ = notes
    error.__traceback__, error.__context__ = traceback, context


def find_path(roots: Mapping[str, object], attempt: Callable[[object], object]) -> str:
    """Return the path of the deepest part that fails, beginning with one of the roots' names.

    Parameters
    ----------
    roots : mapping of str to object
        The parts to begin with, by the name their path begins with.
    attempt : callable
        Pickles an object, raises if it cannot.
    """
    end = monotonic() + LIMIT
    for name, root in roots.items():
        if _fails(root, attempt):
            return _descend(name, root, attempt, end)
    return next(iter(roots), "")


def _descend(path: str, obj: object, attempt: Callable[[object], object], end: float) -> str:
    seen: set[int] = set()
    for _ in range(_MAX_DEPTH):
        seen.add(id(obj))
        if _refuses(obj):
            return path
        try:
            for step, part in _parts(obj):
                if monotonic() > end:
                    return path
                if id(part) not in seen and _fails(part, attempt):
                    path, obj = path + step, part
                    break
            else:
                return path
        except Exception:  # an object that will not be looked at
            return path
    return path


def _fails(obj: object, attempt: Callable[[object], object]) -> bool:
    try:
        attempt(obj)
    except Exception:
        return True
    return False


def _refuses(obj: Any) -> bool:
    """Say whether the object itself says no, as a pool or a future does: then no part of it is to blame."""
    if is_executor(obj) or is_future(obj):
        return True
    kind = type(obj)
    if is_default(kind, "__reduce__") and is_default(kind, "__reduce_ex__"):
        return False
    try:
        obj.__reduce_ex__(5)
    except Exception:
        return True
    return False


def _parts(obj: Any) -> Iterator[tuple[str, object]]:
    """Yield the parts of an object, each with the step of the path that leads to it."""
    if isinstance(obj, str | bytes | int | float | type(None)):
        return
    if isinstance(obj, Mapping):
        for key, value in list(obj.items()):
            yield f"[{_short(key)}]", value
            yield f" key {_short(key)}", key
    elif isinstance(obj, list | tuple):
        names = getattr(obj, "_fields", None)
        for index, value in enumerate(obj):
            yield f".{names[index]}" if names and index < len(names) else f"[{index}]", value
    elif isinstance(obj, set | frozenset):
        for value in list(obj):
            yield f" item {_short(value)}", value
    elif isinstance(obj, FunctionType):
        yield from _parts_of_function(obj)
    elif isinstance(obj, functools.partial):
        yield ".func", obj.func
        for index, value in enumerate(obj.args):
            yield f".args[{index}]", value
        for key, value in obj.keywords.items():
            yield f".keywords[{key!r}]", value
    elif isinstance(obj, MethodType):
        yield ".__self__", obj.__self__
        yield ".__func__", obj.__func__
    elif isinstance(obj, BuiltinFunctionType):
        if not isinstance(obj.__self__, ModuleType | type(None)):
            yield ".__self__", obj.__self__
        return
    elif isinstance(obj, CellType):
        yield ".cell_contents", obj.cell_contents
    yield from _state(obj)


def _parts_of_function(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            content = cell.cell_contents
        except ValueError:
            continue
        yield f".__closure__[{name!r}]", content
    for index, value in enumerate(function.__defaults__ or ()):
        yield f".__defaults__[{index}]", value
    for key, value in (function.__kwdefaults__ or {}).items():
        yield f".__kwdefaults__[{key!r}]", value


def _state(obj: Any) -> Iterator[tuple[str, object]]:
    """Yield what is in the attributes of an object."""
    kind = type(obj)
    state: Any = None
    if not isinstance(obj, type) and not is_default(kind, "__getstate__"):
        try:
            state = obj.__getstate__()
        except Exception:
            return  # the object itself refuses: no part is to blame
        if not isinstance(state, dict):
            if state is not None:
                yield ".__getstate__()", state
            return
    own = state if state is not None else getattr(obj, "__dict__", None)
    if isinstance(own, Mapping):
        for name, value in list(own.items()):
            if not (isinstance(obj, type) and name in ("__dict__", "__weakref__", "_abc_impl")):
                yield f".{name}", value
    if state is None:
        for cls in kind.__mro__:
            slots = cls.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                try:
                    yield f".{name}", getattr(obj, name)
                except AttributeError:
                    continue
    if not isinstance(own, Mapping) or not own:
        try:
            reduced = obj.__reduce_ex__(5)
        except Exception:
            return
        if isinstance(reduced, tuple):
            arguments = reduced[1]
            for index, value in enumerate(arguments if isinstance(arguments, tuple) else ()):
                yield f".__reduce__()[1][{index}]", value


def _short(key: object) -> str:
    try:
        text = repr(key)
    except Exception:
        text = type(key).__name__
    return text if len(text) <= 40 else text[:37] + "..."


def note_path(error: Exception, path: str) -> Exception:
    """Say on the error itself where the culprit is: in a note, and in its attribute `path`."""
    error.add_note(f"while pickling {path}")
    if not isinstance(getattr(error, "path", None), str):
        try:
            error.path = path  # type: ignore[attr-defined]  # read by errors.unpicklable
        except AttributeError:
            pass
    return error


_REFUSALS: Final = ("between processes through inheritance", "containing pointers cannot be pickled")
"""What multiprocessing says of its locks and queues in a RuntimeError, and ctypes in a ValueError."""


def is_pickling_trouble(error: Exception) -> bool:
    """Say whether it is of the kinds that pickle itself raises, or the standard library's own objects do."""
    if type(error) in (RuntimeError, ValueError):
        return any(text in str(error) for text in _REFUSALS)
    return isinstance(error, TypeError | AttributeError | pickle.PicklingError)


def advise(error: Exception) -> None:
    """Say on an error of multiprocessing's what to do about it."""
    if _REFUSALS[0] in str(error):
        setattr(error, ADVICE, "Pass it in initargs, to an initializer that binds a global to it.")


def note_culprit(error: Exception, roots: Mapping[str, object], attempt: Callable[[object], object]) -> str:
    """Find the path of the culprit, as `find_path`, and say it on the error."""
    with kept(error):
        path = find_path(roots, attempt)
    note_path(error, path)
    return path


def for_caller(error: Exception, direction: Any, label: str, path: str | None = None) -> Exception:
    """Turn an error of packing into what the caller shall see, with its cause: the user's own errors stay."""
    if not is_pickling_trouble(error):
        return error
    advise(error)
    return like_cause(unpicklable(direction, label, error, path))


class _PicklingRuntimeError(PicklingError, RuntimeError):
    pass


class _PicklingValueError(PicklingError, ValueError):
    pass


def like_cause(error: PicklingError) -> PicklingError:
    """Return an error that is also a RuntimeError or a ValueError, if its cause is one."""
    cause = error.__cause__
    if isinstance(error, TypeError | AttributeError) or not isinstance(cause, RuntimeError | ValueError):
        return error
    cls = _PicklingRuntimeError if isinstance(cause, RuntimeError) else _PicklingValueError
    made = cls(str(error), path=error.path, call=error.call)
    made.direction = error.direction
    made.__cause__ = cause
    return made
