"""What only type checkers need of `typing`, which costs a program 4 ms to import: they see it, nothing is done here.

Classes can be subscripted as generic ones can (``Future[int]``), and stay the same.
"""

from __future__ import annotations

from types import GenericAlias

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any as Any
    from typing import Generic as Generic
    from typing import ParamSpec as ParamSpec
    from typing import Protocol as Protocol
    from typing import TypeVar as TypeVar
    from typing import cast as cast
    from typing import overload as overload
else:
    Any = object

    def TypeVar(name, **limits):  # noqa: N802
        """Stand in for a type variable."""
        return name

    ParamSpec = TypeVar

    def cast(kind, value):
        """Give the value."""
        return value

    def overload(function):
        """Give the function; the last one of a name stays."""
        return function

    class Generic:
        """Can be subscripted."""

        __slots__ = ()
        __class_getitem__ = classmethod(GenericAlias)

    class Protocol:
        """Says nothing."""

        __slots__ = ()
        __class_getitem__ = classmethod(GenericAlias)
