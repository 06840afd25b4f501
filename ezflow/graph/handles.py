"""What flows between the steps of a run: values that may be unopened.

A handle has what an answer of a worker has (`_call.Sealed`): facts, whether it is known to be an error, and `open`, which
may run user code.
"""

from __future__ import annotations

from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any

from .._put import put
from .._sealed import SealedAnswer
from .._wire.forms import LONGEST, body_of, body_of_scalar
from . import wording
from .inside import add_note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._call import Sealed
    from .._memory.reference import Ref


class Value:
    """A value that is here."""

    __slots__ = ("value",)

    failed = False
    pid: int | None = None
    micros: int | None = None
    attempts = 1

    def __init__(self, value: object) -> None:
        self.value = value

    def open(self) -> tuple[object, BaseException | None]:
        """Give it."""
        return self.value, None


class Snapshot(Value):
    """A value that is here, and a handle to what it was when the run began: calls of a pool get that."""

    __slots__ = ("ref",)

    def __init__(self, value: object, ref: Ref[object]) -> None:
        super().__init__(value)
        self.ref = ref

    @property
    def body(self) -> bytes | None:
        """The bytes of plain data that can stand in a call."""
        stream, *others = self.ref._parts
        return None if others or not isinstance(stream, bytes) else body_of(stream)


def snapshot(handle: Sealed) -> Sealed:
    """Pack a value that somebody may change before a later call takes it; what cannot be packed stays as it is."""
    if type(handle) is not Value or isinstance(handle.value, _UNCHANGING):
        return handle
    try:
        return Snapshot(handle.value, put(handle.value))
    except Exception:  # the call that takes it says why
        return handle


class Failure:
    """An error, with a note that says in which stage."""

    __slots__ = ("_note", "_sealed", "attempts", "micros", "pid")

    failed = True

    def __init__(self, sealed: Sealed, note: str) -> None:
        self._sealed = sealed
        self._note = note
        self.pid = sealed.pid
        self.micros = sealed.micros
        self.attempts = sealed.attempts

    def open(self) -> tuple[object, BaseException | None]:
        """Rebuild the error."""
        _, error = self._sealed.open()
        if error is not None:
            note_stage(error, self._note)
        return None, error


def note_stage(error: BaseException, note: str) -> None:
    """Say in which stage an error was raised, unless its worker has said so."""
    if not any(str(one).startswith(_MARK) for one in getattr(error, "__notes__", ())):
        add_note(error, note)


_MARK = wording.stage_note("", "").partition(" stage ")[0]


class Noted:
    """An answer whose opening may fail, with a note that says in which stage."""

    __slots__ = ("_note", "_sealed", "attempts", "micros", "pid")

    failed = False

    def __init__(self, sealed: Sealed, note: str, attempts: int = 0) -> None:
        self._sealed = sealed
        self._note = note
        self.pid = sealed.pid
        self.micros = sealed.micros
        self.attempts = attempts or sealed.attempts

    def open(self) -> tuple[object, BaseException | None]:
        """Rebuild the value."""
        value, error = self._sealed.open()
        if error is not None and self._note:
            add_note(error, self._note)
        return value, error


class Joined:
    """A tuple, list or dict of what handles hold."""

    __slots__ = ("handles", "names")

    failed = False
    pid: int | None = None
    micros: int | None = None
    attempts = 1

    def __init__(self, handles: Sequence[Sealed], names: Sequence[str] | type = tuple) -> None:
        self.handles = handles
        self.names = names

    def open(self) -> tuple[object, BaseException | None]:
        """Open each; an error of one is that of all."""
        values = []
        for handle in self.handles:
            value, error = handle.open()
            if error is not None:
                return None, error
            values.append(value)
        return self.join(values), None

    def join(self, values: Sequence[object]) -> object:
        """Put values together."""
        names = self.names
        return names(values) if isinstance(names, type) else dict(zip(names, values, strict=True))


class Envelope:
    """The end of a stage in a `Result`."""

    __slots__ = ("_sealed", "attempts", "micros", "pid")

    failed = False

    def __init__(self, sealed: Sealed) -> None:
        self._sealed = sealed
        self.pid = sealed.pid
        self.micros = sealed.micros
        self.attempts = sealed.attempts

    def open(self) -> tuple[object, BaseException | None]:
        """Put value or error into the envelope."""
        from ..result import envelope

        value, error = self._sealed.open()
        try:
            end = envelope(
                value, error, None, pid=self.pid, micros=self.micros, attempts=self._sealed.attempts
            )
            return end, None
        finally:
            error = None


class Cancelled:
    """What a cancelled step leaves."""

    failed = True
    pid: int | None = None
    micros: int | None = None
    attempts = 0

    def open(self) -> tuple[object, BaseException | None]:
        """Give the standard error."""
        from concurrent.futures import CancelledError

        return None, CancelledError()


_QUICK_BELOW = 1024
"""Bytes of a result that may be unpickled on a dispatcher: more holds up its other work."""

_PLAIN = frozenset({int, float, bool, str, bytes, type(None)})

_UNCHANGING = (int, float, complex, str, bytes, type(None), FunctionType, BuiltinFunctionType, type, Path)


def is_plain(handle: Sealed | None) -> bool:
    """Tell whether opening a handle, and packing what is in it, surely runs no user code.

    A pickle of protocol 4 or later that names no class, function or extension holds plain data only.
    """
    if type(handle) is SealedAnswer:
        if handle.ref is not None:
            return True
        payload = handle._payload
        return (
            handle._beside is None
            and len(payload) < _QUICK_BELOW
            and not (b"\x93" in payload or b"\x82" in payload or b"\x83" in payload or b"\x84" in payload)
        )
    return type(handle) is Value and type(handle.value) in _PLAIN and handle.value.__sizeof__() < _QUICK_BELOW


def body_in(handle: Sealed | None) -> bytes | None:
    """Give the bytes of plain data that a handle holds, to be put into a call; None if it has to be looked at."""
    if type(handle) is SealedAnswer:
        return body_of(handle._payload) if handle._beside is None and not handle.stays_packed else None
    if type(handle) is Value and type(handle.value) in _PLAIN and handle.value.__sizeof__() < LONGEST:
        return body_of_scalar(handle.value)
    return handle.body if type(handle) is Snapshot else None


def holds_packed(handle: Sealed) -> bool:
    """Tell whether a handle holds a value that is to go on as it was packed."""
    if type(handle) is SealedAnswer:
        return handle.ref is not None
    if type(handle) is Snapshot:
        return True
    return type(handle) is Joined and any(map(holds_packed, handle.handles))


def to_pass(handle: Sealed) -> Any:
    """Give what goes into a call of one of our pools: what is packed goes on as it is.

    Raises what opening the others gives as their error.
    """
    if type(handle) is SealedAnswer or type(handle) is Snapshot:
        ref = handle.ref
        return opened(handle) if ref is None else ref
    if type(handle) is Joined:
        return handle.join([to_pass(one) for one in handle.handles])
    return opened(handle)


def opened(handle: Sealed) -> Any:
    """Open a handle here, on its way to another call: the one place where a value between stages is unpickled.

    Raises what opening it gives as its error.
    """
    value, error = handle.open()
    if error is not None:
        try:
            raise error
        finally:
            error = None
    return value
