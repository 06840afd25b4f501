"""Pickle a value that may be given to any worker later: by `put`, as the result of a sealed call, and as part of one."""

from __future__ import annotations

import sys

from .._memory.reference import parcel
from . import rebuild
from .pickling import ResultPickler, pickle_by

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._memory.cargo import Part
    from .functions import CodeFacts


class KeepingPickler(ResultPickler):
    """Pickles as for the parent, and notes what else than importable modules must be there to rebuild it."""

    def __init__(self, is_known: Callable[[str, str], bool]) -> None:
        super().__init__(is_known)
        self.names: dict[tuple[str, str], None] = {}

    def named_here(self, obj: Any, module: str, qualname: str) -> Any:
        """By name if the parent has it under this name; whoever rebuilds it must have it, too."""
        reduced = super().named_here(obj, module, qualname)
        if reduced is not None:
            self.names[module, qualname.partition(".")[0]] = None
        return reduced

    def code(self, function: Any, facts: CodeFacts) -> tuple[Callable[..., object], tuple[Any, ...]]:
        """Send the code along, and note the globals it will look for."""
        space = function.__globals__
        module = space.get("__name__")
        home = sys.modules.get(module) if isinstance(module, str) else None
        if home is not None and home.__dict__ is space:
            self.names.update(((module, name), None) for name in facts.names if name in space)
        return super().code(function, facts)


class Kept:
    """A part of a result that is rebuilt where it is used: the parent gets a handle in its place."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


def _pickle_kept(pickler: Any, kept: Kept) -> tuple[object, ...]:
    """Pack the value by itself; its pieces go behind those of the result."""
    if pickler.is_trial or not pickler.aside.is_wanted:
        return rebuild.itself, (kept.value,)
    inner = _pickled(kept.value, pickler.is_known, "result")
    first = len(pickler.kept)
    pickler.kept += inner.take_bytes(), *inner.aside.buffers
    return parcel, (first, len(pickler.kept) - first, list(inner.names))


pickle_by(Kept, _pickle_kept)


def keep(
    value: object, is_known: Callable[[str, str], bool], name: str
) -> tuple[list[Part], list[tuple[str, str]]]:
    """Pickle a value: the bytes, its large buffers behind them, and the names that must be there to rebuild it.

    Raises the original error, with the path of the culprit, which begins with `name`, in a note and in `path`.
    """
    pickler = _pickled(value, is_known, name)
    return pickler.take_kept(), list(pickler.names)


def _pickled(value: object, is_known: Callable[[str, str], bool], name: str) -> KeepingPickler:
    """Give the pickler that has pickled a value, and still has what came of it."""
    pickler = KeepingPickler(is_known)
    pickler.aside.is_wanted = True
    try:
        pickler.dump(value)
    except Exception as error:
        from .diagnose import note_culprit

        def attempt(part: object) -> None:
            pickler = KeepingPickler(is_known)
            pickler.is_trial = True
            pickler.dumps(part)

        note_culprit(error, {name: value}, attempt)
        raise
    return pickler
