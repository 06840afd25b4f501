"""Calls that are put together from bytes: what a worker has answered goes to the next worker as it came.

A pickle is a program for a stack machine.  The part of it that makes one value can stand in another pickle, unless it
refers to what was made earlier in its own (by a number, which would be another one there), or makes more than plain
data: then somebody has to look at it.
"""

from __future__ import annotations

import pickle
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from .pickling import PROTOCOL
from .where import by_value_modules

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LONGEST: Final = 1024
"""Bytes of a body: above, it is looked at where it holds nobody up."""

_HEAD: Final = bytes([pickle.PROTO[0], PROTOCOL])
_FRAME: Final = pickle.FRAME[0]

_SCALARS: Final = {
    pickle.BININT1[0]: 2,
    pickle.BININT2[0]: 3,
    pickle.BININT[0]: 5,
    pickle.BINFLOAT[0]: 9,
    pickle.NONE[0]: 1,
    pickle.NEWTRUE[0]: 1,
    pickle.NEWFALSE[0]: 1,
}
"""Length of the bodies that are one opcode with its argument."""

_SHORT_TEXT: Final = pickle.SHORT_BINUNICODE[0]

_DOUBTFUL: Final = re.compile(
    b"["
    + re.escape(
        b"".join(
            (
                pickle.BINGET,
                pickle.LONG_BINGET,
                pickle.EXT1,
                pickle.EXT2,
                pickle.EXT4,
                pickle.STACK_GLOBAL,
                pickle.NEXT_BUFFER,
            )
        )
    )
    + b"]"
)
"""Opcodes of protocol 5 that a body must not have.  The same bytes in its data cost no more than a look at it."""


def body_of(data: bytes | bytearray) -> bytes | None:
    """Give what makes the value in a pickle of ours; None if it cannot stand in another pickle as it is."""
    if not 3 < len(data) < LONGEST or data[:2] != _HEAD:
        return None
    body = bytes(data[11:-1] if data[2] == _FRAME else data[2:-1])
    kind = body[0]
    if _SCALARS.get(kind) == len(body) or (kind == _SHORT_TEXT and body[1] + 3 == len(body)):
        return body
    return None if _DOUBTFUL.search(body) else body


def body_of_scalar(value: object) -> bytes | None:
    """Give what makes a number, a text, or None."""
    return body_of(pickle.dumps(value, PROTOCOL))


class Form:
    """A call of an importable function, into which the bodies of its arguments are put.

    Parameters
    ----------
    fn : function
        Is called; its module has it under its name.
    prefix : tuple of bytes
        What goes before the arguments.
    n_args : int
        How many arguments there are by position.
    names : sequence of str
        Names of the others.
    """

    __slots__ = ("_after", "_before", "_fn", "_name", "_names", "_space")

    def __init__(
        self, fn: Callable[..., Any], prefix: Sequence[bytes], n_args: int, names: Sequence[str]
    ) -> None:
        self._fn = fn
        self._name = fn.__qualname__
        self._space = sys.modules[fn.__module__].__dict__
        n = len(prefix) + n_args
        before = [_HEAD, _body((fn.__module__, fn.__qualname__))]
        tuple_of_few = {1: pickle.TUPLE1, 2: pickle.TUPLE2, 3: pickle.TUPLE3}
        if n not in tuple_of_few:
            before.append(pickle.MARK)
        before += map(_body, prefix)
        self._before = b"".join(before)
        self._names = [_body(name) for name in names]
        after = tuple_of_few.get(n, pickle.TUPLE) + pickle.EMPTY_DICT
        self._after = after + (pickle.MARK if names else pickle.TUPLE3 + pickle.STOP)

    def is_current(self) -> bool:
        """Tell whether a worker that imports the function would still get it."""
        return self._space.get(self._name) is self._fn and not by_value_modules()

    def fill(self, args: Sequence[bytes], named: Sequence[bytes] = ()) -> bytes:
        """Give the call, as `Workspace.unpack_call` takes it."""
        if not self._names:
            return b"".join((self._before, *args, self._after))
        pieces = [self._before, *args, self._after]
        for name, body in zip(self._names, named, strict=True):
            pieces += name, body
        return b"".join((*pieces, pickle.SETITEMS, pickle.TUPLE3, pickle.STOP))


def _body(value: object) -> bytes:
    """Give what makes a value of the form itself: texts and bytes, which refer to nothing."""
    data = pickle.dumps(value, PROTOCOL)
    return data[11:-1] if data[2] == _FRAME else data[2:-1]
