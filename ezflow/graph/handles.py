"""What flows between the steps of a run: values that may be unopened.

A handle has what an answer of a worker has (`_call.Sealed`): facts, whether it is known to be an error, and `open`, which
may run user code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._sealed import SealedAnswer
from .._wire.forms import LONGEST, body_of, body_of_scalar
from . import wording
from .inside import add_note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._call import Sealed


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
        names = self.names
        if isinstance(names, type):
            return names(values), None
        return dict(zip(names, values, strict=True)), None


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


def is_plain(handle: Sealed | None) -> bool:
    """Tell whether opening a handle, and packing what is in it, surely runs no user code.

    A pickle of protocol 4 or later that names no class, function or extension holds plain data only.
    """
    if type(handle) is SealedAnswer:
        payload = handle._payload
        return len(payload) < _QUICK_BELOW and not (
            b"\x93" in payload or b"\x82" in payload or b"\x83" in payload or b"\x84" in payload
        )
    return type(handle) is Value and type(handle.value) in _PLAIN and handle.value.__sizeof__() < _QUICK_BELOW


def body_in(handle: Sealed | None) -> bytes | None:
    """Give the bytes of plain data that a handle holds, to be put into a call; None if it has to be looked at."""
    if type(handle) is SealedAnswer:
        return body_of(handle._payload) if handle._beside is None and not handle.stays_packed else None
    if type(handle) is Value and type(handle.value) in _PLAIN and handle.value.__sizeof__() < LONGEST:
        return body_of_scalar(handle.value)
    return None


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
