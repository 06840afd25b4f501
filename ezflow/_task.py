"""A function with options of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from .modifiers import HowItRuns, WhatGoesIn
from .options import NOTHING, Options

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from typing_extensions import ParamSpec

    P = ParamSpec("P")
else:
    P = TypeVar("P")

T = TypeVar("T")


class Task(HowItRuns, WhatGoesIn, Generic[P, T]):
    """A function and how it is to be run; made by `task`.

    Called, it is the function.  Submitted, or given to `map`, it brings its options along.

    Attributes
    ----------
    fn : callable
        The function.
    """

    fn: Callable[P, T]
    _options: Options

    def __init__(self, fn: Callable[P, T], options: Options = NOTHING) -> None:
        if not callable(fn):
            raise TypeError(f"task takes a function, not {fn!r}")
        inner: Any = fn
        if isinstance(inner, Task):
            fn, options = inner.fn, inner._options.under(options)
        self.fn = fn
        self._options = options
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            value = getattr(fn, name, None)
            if value is not None:
                setattr(self, name, value)
        self.__wrapped__ = fn

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function here; the options have no part in it."""
        return self.fn(*args, **kwargs)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Task[..., T]: ...

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Bind as a method does."""
        if instance is None:
            return self
        return Task(self.fn.__get__(instance, owner), self._options)

    def _having(self, name: str, value: Any) -> Self:
        return type(self)(self.fn, self._options.having(name, value))

    def _giving(self, name: str, value: Any = True) -> Any:
        return self._having(name, value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Task):
            return NotImplemented
        return bool(self.fn == other.fn) and self._options == other._options

    def __hash__(self) -> int:
        return hash((self.fn, self._options))

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Travel by name where a task of the function stands under the function's name, as ``@task`` leaves it."""
        import sys

        module, name = getattr(self, "__module__", None), getattr(self, "__qualname__", None)
        found: Any = sys.modules.get(module) if isinstance(module, str) else None
        for part in name.split(".") if isinstance(name, str) else ():
            found = getattr(found, part, None)
        if module != "__main__":
            if found is self:
                return str(name)
            if isinstance(found, Task) and found.fn is self.fn:  # by itself the function cannot be found
                return _again, (found, self._options)
        return Task, (self.fn, self._options)

    def __repr__(self) -> str:
        """Show it as it is written."""
        words = self._options.written()
        return f"task({getattr(self.fn, '__qualname__', self.fn)}){words}"


def _again(named: Any, options: Options) -> Task[Any, Any]:
    """Give the task of a function that stands as a task under its name."""
    return Task(getattr(named, "fn", named), options)


def task(fn: Callable[P, T]) -> Task[P, T]:
    """Make a function one that carries options.

    Parameters
    ----------
    fn : callable
        The function; ``task`` is a decorator, too.

    Returns
    -------
    Task
        Called, it is the function; submitted, it brings its options along.

    Examples
    --------
    >>> limited = task(pow).timeout(5).retry(2)
    >>> limited(2, 3)
    8
    """
    return Task(fn)
