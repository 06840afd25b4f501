"""A function with options of its own, as a graph of one stage; and words for how a stage takes what arrives."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar, overload

from .._task import Carrier
from ..options import NOTHING, Options
from .graph import Graph
from .nodes import Call, Each, Node, Same, Stage
from .parse import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Final, Self

    from typing_extensions import ParamSpec

    P = ParamSpec("P")
else:
    P = TypeVar("P")

R = TypeVar("R")


class Task(Graph[P, R], Carrier[P, R]):
    """A graph of one stage: a function and how it is to be run; made by `task`.

    Called, it runs where graphs run, with its options.  Submitted to a pool, or given to its `map`, it brings them along.

    Parameters
    ----------
    fn : callable
        The function, or another task, whose options these overrule.
    options : Options
        How it is to be run.

    Attributes
    ----------
    fn : callable
        The function itself.
    """

    def __init__(self, fn: Callable[P, R], options: Options = NOTHING) -> None:
        if not callable(fn):
            raise TypeError(f"task takes a function, not {fn!r}")
        inner: Any = fn
        if isinstance(inner, Task):
            fn, options = inner.fn, inner._options.under(options)
        Graph.__init__(self, Call((), fn, options), options)
        self._look_like(fn)

    def _look_like(self, fn: Callable[..., Any]) -> None:
        put = object.__setattr__
        put(self, "fn", fn)
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            value = getattr(fn, name, None)
            if value is not None:
                put(self, name, value)
        put(self, "__wrapped__", fn)

    def _giving(self, name: str, value: Any = True) -> Any:
        return self._having(name, value)  # also what only a pool can keep, to which it may be submitted

    def _with(self, options: Options) -> Self:
        made = super()._with(options)
        made._look_like(self.fn)
        return made

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Task[..., R]: ...

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Bind as a method does."""
        if instance is None:
            return self
        return Task(self.fn.__get__(instance, owner), self._options)

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Travel by name where a task of the function stands under the function's name, as ``@task`` leaves it."""
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


@overload
def task(fn: Callable[P, Coroutine[Any, Any, R]]) -> Task[P, R]: ...


@overload
def task(fn: Callable[P, R]) -> Task[P, R]: ...


def task(fn: Callable[..., Any]) -> Task[..., Any]:
    """Make a function a graph of one stage, which carries options.

    Parameters
    ----------
    fn : callable
        The function; ``task`` is a decorator, too.

    Returns
    -------
    Task
        Called, it runs in a pool; submitted, it brings its options along; the function itself is its ``fn``.

    Examples
    --------
    >>> limited = task(pow).timeout(5).retry(2)
    >>> limited.fn(2, 3)
    8
    >>> limited.on("inline")(2, 3)
    8
    """
    return Task(fn)


def star(fn: Any) -> Graph[[Any], Any]:
    """Unpack what arrives: a tuple or list into positional, a mapping into keyword arguments.

    Parameters
    ----------
    fn : callable or graph
        What gets the arguments.

    Returns
    -------
    Graph
        A stage that takes one tuple, list or mapping.

    Examples
    --------
    >>> star(pow).on("inline")((2, 5))
    32
    """
    return fn.star() if isinstance(fn, Graph) else Task(fn).star()


def pack(fn: Callable[[Any], R]) -> Graph[..., R]:
    """Pack all that arrives into one tuple, or into one dict if it has names.

    Parameters
    ----------
    fn : callable
        What gets the tuple or dict.

    Returns
    -------
    Graph
        A stage that takes anything.

    Examples
    --------
    >>> pack(sum).on("inline")(1, 2, 3)
    6
    """
    if isinstance(fn, Task):
        return Graph(Call((), fn.fn, fn._options, "pack"), fn._options)
    if not callable(fn) or isinstance(fn, Graph):
        raise TypeError(f"pack takes a function, not {fn!r}")
    return Graph(Call((), fn, NOTHING, "pack"))


def each(stage: Any) -> Graph[[Any], list[Any]]:
    """Call a stage with each element of a list, side by side, and give the list of results.

    Parameters
    ----------
    stage : callable, literal or graph
        Takes one element.

    Returns
    -------
    Graph
        A stage that takes one list or another iterable.

    Examples
    --------
    >>> each(abs).on("inline")([-1, 2])
    [1, 2]
    """
    return Graph(Each((parse(stage, ("1", "each")),)))


class _Same(Stage):
    """Passes on what arrives."""

    __slots__ = ()

    __name__ = "same"

    def _node(self) -> Node:
        return Same()

    def __getattr__(self, name: str) -> str:
        if name == "__qualname__":
            return "same"
        raise AttributeError(f"'same' has no attribute {name!r}")

    def __repr__(self) -> str:
        """Show the word."""
        return "same"

    def __reduce__(self) -> str:
        return "same"


same: Final = _Same()
"""Passes on what arrives: ``EZ({"original": same, "copy": f})``."""
