"""Where a function or class lives, and whether another process can find it there by name."""

from __future__ import annotations

import copyreg
import sys

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_NONE: set[str] = set()

_importable: dict[str, ModuleType] = {}
"""Modules known to be importable. A module that was replaced (reload keeps the object) is looked at again."""


def named(module: ModuleType, qualname: str, obj: object) -> bool:
    """Say whether `module` has exactly this object under this dotted name."""
    found: object = module.__dict__.get(qualname)
    if found is obj:
        return True
    if "." not in qualname and found is not None:
        return False
    return _found(module, qualname) is obj


def wrapped(module: ModuleType, qualname: str, function: object) -> bool:
    """Say whether what `module` has under this name is a decorator's work on this very function, such as ``@task``."""
    if "<" in qualname:  # a local function
        return False
    try:
        return getattr(_found(module, qualname), "__wrapped__", None) is function
    except Exception:
        return False


def _found(module: ModuleType, qualname: str) -> object:
    found: object = module
    for part in qualname.split("."):
        try:
            found = getattr(found, part)
        except Exception:  # a module's or class's own __getattr__ may raise anything
            return None
    return found


def is_importable(name: str, module: ModuleType) -> bool:
    """Say whether another process that imports this name gets this module.

    A module that was made by hand, or loaded from a file that is not on the path, is not importable.
    Parts of a package are judged by the package: many make their submodules in memory.
    """
    if _importable.get(name) is module:
        return not is_sent_by_value(name)
    if name in ("__main__", "__mp_main__") or not _can_be_found(name, module):
        return False
    if len(_importable) > 10_000:  # chosen; real programs have a few thousand modules
        _importable.clear()
    _importable[name] = module
    return not is_sent_by_value(name)


def by_value_modules() -> set[str]:
    """Return the names of the modules that the user registered with cloudpickle, empty if it was never imported."""
    cloudpickle = sys.modules.get("cloudpickle.cloudpickle")
    return cloudpickle._PICKLE_BY_VALUE_MODULES if cloudpickle is not None else _NONE


def is_sent_by_value(name: str) -> bool:
    """Say whether the user registered a module, or a package above it, with cloudpickle."""
    registered = by_value_modules()
    if not registered:
        return False
    parts = name.split(".")
    return any(".".join(parts[: n + 1]) in registered for n in range(len(parts)))


def _can_be_found(name: str, module: ModuleType) -> bool:
    """Ask the import system for the module, or for the package it is in."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return True
    spec = getattr(sys.modules.get(top, module), "__spec__", None)
    if spec is not None and spec.origin in ("built-in", "frozen"):
        return True
    found: Any = None
    for finder in sys.meta_path:
        try:
            found = finder.find_spec(top, None)
        except Exception:  # a broken finder of somebody else's: let the worker's import say so
            return True
        if found is not None:
            break
    if found is None:
        return False
    here, there = getattr(spec, "origin", None), found.origin
    return not (here and there and here != there and _differ(here, there))


def _differ(one: str, other: str) -> bool:
    """Say whether two paths are two files."""
    from os.path import realpath

    return realpath(one) != realpath(other)


def is_default(kind: type, method: str) -> bool:
    """Say whether a type has this method from `object`."""
    return getattr(kind, method) is getattr(object, method)


def is_executor(obj: object) -> bool:
    """Say whether an object is a pool of threads or processes."""
    futures = sys.modules.get("concurrent.futures._base")
    # The type, for `isinstance` would ask an object's own __class__, and proxies may raise there.
    return futures is not None and issubclass(type(obj), futures.Executor)


def is_future(obj: object) -> bool:
    """Say whether an object is a future that pickle has no way to send."""
    futures = sys.modules.get("concurrent.futures._base")
    kind = type(obj)
    if futures is None or not issubclass(kind, futures.Future) or kind in copyreg.dispatch_table:
        return False
    return (
        is_default(kind, "__reduce__")
        and is_default(kind, "__reduce_ex__")
        and is_default(kind, "__getstate__")
    )
