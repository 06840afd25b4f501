"""A function with options of its own."""

from __future__ import annotations

from ._hints import Generic, TypeVar
from .options import NOTHING, Options

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from typing_extensions import ParamSpec

    P = ParamSpec("P")
else:
    P = TypeVar("P")

T = TypeVar("T")


class Carrier(Generic[P, T]):
    """A function that brings options along; called, it is the function.

    What travels to a `submit` that somebody replaced.  The public `Task` is one, and a graph.
    """

    fn: Callable[P, T]
    _options: Options

    def __init__(self, fn: Callable[P, T], options: Options = NOTHING) -> None:
        self.fn = fn
        self._options = options

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Carrier):
            return NotImplemented
        return bool(self.fn == other.fn) and self._options == other._options

    def __hash__(self) -> int:
        return hash((self.fn, self._options))

    def __repr__(self) -> str:
        """Show it as it is written."""
        return f"task({getattr(self.fn, '__qualname__', self.fn)}){self._options.written()}"

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function here; the options have no part in it."""
        return self.fn(*args, **kwargs)

    def __reduce__(self) -> str | tuple[Any, ...]:
        return Carrier, (self.fn, self._options)
