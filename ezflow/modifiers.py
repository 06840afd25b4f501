"""The words that are hung on executors, on ``submit`` and ``map``, and on tasks.

Every word sets one option and gives back the same kind of thing, so their order means nothing.  Where they hang decides
who wins: what stands between a method's name and its parentheses, then what the task has, then the executor's.

::

    pool.timeout(2)                    a view: the same pool, with other defaults
    pool.star()                        a front: `submit` and `map` of that pool, and nothing else
    pool.submit.timeout(2)(f, x)       pool.submit is a bound method that has the words
    task(f).timeout(2)                 a function with options

`Word` methods exist once, in `HowItRuns` and `WhatGoesIn`; each class that has them only says how it takes an option.
"""

from __future__ import annotations

from . import errors
from ._hints import Generic, TypeVar, overload
from .options import NOTHING, Bar, Options, Retry, seconds_or_none, text, whole_number

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, Self, TextIO

    from . import _typed

    PlainSubmit = _typed.Submit[_typed.Args, _typed.Value, _typed.Now]
    PlainMap = _typed.Map[_typed.Args, _typed.Value, _typed.Now]

B = TypeVar("B")


class HowItRuns:
    """The words that say how a call runs; each gives back the same kind of thing."""

    __slots__ = ()

    def _having(self, name: str, value: Any) -> Self:
        """Give a copy with one option set."""
        raise NotImplementedError

    def timeout(self, seconds: float | None) -> Self:
        """Limit how long one call may run.

        Parameters
        ----------
        seconds : float or None
            Seconds, counted from when the call starts running, each attempt anew.  None lifts a limit.

        Returns
        -------
        same kind
            A copy with this option.

        Notes
        -----
        A call that runs longer is interrupted, so its ``finally`` blocks run; after the pool's grace its worker and
        everything that it started are killed.  Its future raises `CallTimeout`.
        """
        return self._having("timeout", seconds_or_none("timeout", seconds))

    def within(self, seconds: float | None) -> Self:
        """Limit the time from the call to its end, waiting in the queue and retries included.

        Parameters
        ----------
        seconds : float or None
            Seconds from the moment of `submit` or `map`; a whole `map` ends within them.  None lifts a limit.

        Returns
        -------
        same kind
            A copy with this option.
        """
        return self._having("within", seconds_or_none("within", seconds))

    def retry(
        self,
        n: int,
        on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
        delay: float = 0.0,
        backoff: float = 1.0,
    ) -> Self:
        """Run a call again if it fails.

        Parameters
        ----------
        n : int
            Runs after the first, at most.
        on : exception class or tuple of them
            Errors over which it runs again.  The death of its worker counts only if `WorkerDied` or
            `BrokenProcessPool` is named; cancelling never counts.
        delay : float
            Seconds before the second run.
        backoff : float
            What the delay is multiplied with for each later run.

        Returns
        -------
        same kind
            A copy with this option.
        """
        return self._having("retry", Retry(n, on, delay, backoff))

    def priority(self, n: int) -> Self:
        """Say how urgent a call is.

        Parameters
        ----------
        n : int
            Higher runs sooner; 0 without this.  Ties run in the order of their submission.

        Returns
        -------
        same kind
            A copy with this option.
        """
        return self._having("priority", whole_number("priority", n))

    def named(self, name: str) -> Self:
        """Give a call a label.

        Parameters
        ----------
        name : str
            Shown in errors, statistics and by `current_call`.

        Returns
        -------
        same kind
            A copy with this option.
        """
        return self._having("named", text("named", name))

    def progress(self, label: str | None = None, *, always: bool = False, file: TextIO | None = None) -> Self:
        """Show a progress bar that ticks with each item that ends.

        Parameters
        ----------
        label : str, optional
            What stands beside it; by default the function's name.
        always : bool
            Whether to write lines now and then where there is no terminal and no notebook, such as in a log.
            Without it nothing is drawn there.
        file : text stream, optional
            Where to draw, by default standard error.

        Returns
        -------
        same kind
            A copy with this option.

        Notes
        -----
        One bar for each `map`, and one for each `submit`; with `stream` it ticks with each item that arrives.  Drawn by tqdm if it is installed, else by rich, else as a
        line of text; always by the thread that asks for the results, or one that does nothing else.
        """
        return self._having("progress", Bar(label, always, file))


class WhatGoesIn:
    """The words that say what goes in and what comes out."""

    __slots__ = ()

    def _giving(self, name: str, value: Any = True) -> Any:
        """Give what has one option more."""
        raise NotImplementedError

    def star(self) -> Any:
        """Unpack each item: a tuple or list into positional, a mapping into keyword arguments."""
        return self._giving("star")

    def results(self) -> Any:
        """Give `Result` envelopes, where errors would be raised."""
        return self._giving("results")

    def sealed(self) -> Any:
        """Give a `Ref` to what the call returns, which stays packed; other calls take it as their argument."""
        return self._giving("sealed")

    def unordered(self) -> Any:
        """Give results as they finish (`map` only)."""
        return self._giving("unordered")

    def background(self) -> Any:
        """Give the future at once; for `map` a future of the list."""
        return self._giving("background")

    def asynced(self) -> Any:
        """Give a coroutine; for `map` one that is an async iterator, too."""
        return self._giving("asynced")

    def stream(self, buffersize: int = 16) -> Any:
        """Give an iterator over the items of a generator function while it runs (`submit` only).

        Parameters
        ----------
        buffersize : int
            Items that may be under way before the generator waits for its consumer.

        Returns
        -------
        same kind
            A copy that gives an `ItemStream`, for ``for`` and ``async for``.
        """
        return self._giving("stream", items_under_way(buffersize))


class BoundMethod(HowItRuns, WhatGoesIn):
    """`submit` or `map` of one executor, with the options that were hung on it.

    Parameters
    ----------
    executor : ProcessPoolExecutor
        Whose method it is.
    function : callable
        The method's function, maybe one that overrides ours.
    options : Options
        What was given after the method's name.
    """

    __slots__ = ("__func__", "__self__", "_options")

    def __init__(self, executor: Any, function: Callable[..., Any], options: Options | None = None) -> None:
        self.__self__: Any = executor
        self.__func__: Callable[..., Any] = function
        self._options = options

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the method."""
        options = self._options
        if options is None:
            return self.__func__(self.__self__, *args, **kwargs)
        return self.__func__(self.__self__._view(nearest=options), *args, **kwargs)

    def _having(self, name: str, value: Any) -> Self:
        options = self._options or NOTHING
        if name in options:
            raise errors.repeated_option(name)
        return type(self)(self.__self__, self.__func__, options.having(name, value))

    def _giving(self, name: str, value: Any = True) -> Self:
        method = self.__func__.__name__
        if name == "stream" and method != "submit":
            raise errors.misplaced_option("stream", method, "use submit.stream, or yield from map")
        if name == "unordered" and method == "submit":
            raise errors.misplaced_option("unordered", "submit", "it has one result")
        return self._having(name, value)

    @property
    def __wrapped__(self) -> Any:
        """The plain bound method, so that `inspect.signature` shows its parameters."""
        return self.__func__.__get__(self.__self__)

    def __getattr__(self, name: str) -> Any:
        if name in ("__name__", "__qualname__", "__module__"):
            return getattr(self.__func__, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return self.__func__.__doc__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundMethod):
            return NotImplemented
        return (
            self.__self__ is other.__self__
            and self.__func__ is other.__func__
            and self._options == other._options
        )

    def __hash__(self) -> int:
        return hash((id(self.__self__), self.__func__, self._options))

    def __repr__(self) -> str:
        """Show it as it is written."""
        words = (self._options or NOTHING).written()
        return f"<bound method {self.__qualname__}{words} of {self.__self__!r}>"


class Method(Generic[B]):
    """A method that has the words; otherwise like any other, to be overridden and to be called by ``super()``.

    One that is put into its place on an executor (``pool.submit = other``) is given as it is; a view with options of its
    own gives it with those.

    It is not a decorator: pyright takes an undeclared ``submit = submit_method(_submit)`` as no promise about classes
    that override it with a plain method, and takes the type from `ExecutorWords`.
    """

    __slots__ = ("__wrapped__", "_is_replaced")

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__wrapped__: Callable[..., Any] = function
        self._is_replaced = False  # on some executor

    @overload
    def __get__(self, executor: None, owner: type) -> Callable[..., Any]: ...

    @overload
    def __get__(self, executor: object, owner: type | None = None) -> B: ...

    def __get__(self, executor: Any, owner: type | None = None) -> Any:
        if executor is None:
            return self.__wrapped__
        if self._is_replaced:
            other = executor.__dict__.get(self.__wrapped__.__name__)
            if other is not None:
                return executor._with_words(self.__wrapped__.__name__, other)
        return BoundMethod(executor, self.__wrapped__)

    def __set__(self, executor: Any, other: Any) -> None:
        if isinstance(other, BoundMethod) and other == BoundMethod(
            executor, self.__wrapped__
        ):  # it is put back
            executor.__dict__.pop(self.__wrapped__.__name__, None)
            return
        self._is_replaced = True
        executor.__dict__[self.__wrapped__.__name__] = other

    def __delete__(self, executor: Any) -> None:
        try:
            del executor.__dict__[self.__wrapped__.__name__]
        except KeyError:
            raise AttributeError(self.__wrapped__.__name__) from None

    def __set_name__(self, owner: type, name: str) -> None:
        self.__wrapped__.__name__ = name
        self.__wrapped__.__qualname__ = f"{owner.__qualname__}.{name}"


def submit_method(function: Callable[..., Any]) -> Method[PlainSubmit]:
    """Hang the words on `submit`."""
    return Method(function)


def map_method(function: Callable[..., Any], shown: Callable[..., Any]) -> Method[PlainMap]:
    """Hang the words on `map`; `inspect.signature` gives that of `shown`."""
    function.__wrapped__ = shown  # type: ignore[attr-defined]  # where `inspect` looks
    return Method(function)


class Front(HowItRuns, WhatGoesIn):
    """`submit` and `map` of an executor with options that change what goes in and what comes out.

    Not an executor: libraries expect values where this gives envelopes.
    """

    __slots__ = ("_executor", "_options")

    def __init__(self, executor: Any, options: Options) -> None:
        self._executor = executor
        self._options = options

    def _having(self, name: str, value: Any) -> Self:
        return type(self)(self._executor, self._options.having(name, value))

    def _giving(self, name: str, value: Any = True) -> Self:
        return self._having(name, value)

    @property
    def submit(self) -> Any:
        """`submit` with these options."""
        return self._executor._view(self._options).submit

    @property
    def map(self) -> Any:
        """`map` with these options."""
        return self._executor._view(self._options).map

    def __repr__(self) -> str:
        """Show it as it is written."""
        words = self._options.written()
        return f"<{self._executor!r}{words}>"


class ExecutorWords(HowItRuns):
    """The words on an executor, whose `submit` and `map` have them, too."""

    __slots__ = ()

    if TYPE_CHECKING:
        submit: ClassVar[Method[PlainSubmit]]
        map: ClassVar[Method[PlainMap]]

    def star(self) -> _typed.Front[_typed.Item, _typed.Value, _typed.Now]:
        """Unpack each item: a tuple or list into positional, a mapping into keyword arguments.

        Returns
        -------
        front
            `submit` and `map` of this pool with that option.
        """
        return self._front("star")  # type: ignore[no-any-return]

    def results(self) -> _typed.Front[_typed.Args, _typed.Envelope, _typed.Now]:
        """Give `Result` envelopes, where errors would be raised.

        Returns
        -------
        front
            `submit` and `map` of this pool with that option.
        """
        return self._front("results")  # type: ignore[no-any-return]

    def unordered(self) -> _typed.Front[_typed.Args, _typed.Value, _typed.Now]:
        """Give the results of `map` as they finish.

        Returns
        -------
        front
            `submit` and `map` of this pool with that option.
        """
        return self._front("unordered")  # type: ignore[no-any-return]

    def sealed(self) -> _typed.Front[_typed.Args, _typed.Handle, _typed.Now]:
        """Give a `Ref` to what a call returns, which stays packed; other calls take it as their argument.

        Returns
        -------
        front
            `submit` and `map` of this pool with that option.
        """
        return self._front("sealed")  # type: ignore[no-any-return]

    def background(self) -> _typed.Front[_typed.Args, _typed.Value, _typed.Background]:
        """Give the future at once; for `map` a future of the list.

        Returns
        -------
        front
            `submit` and `map` of this pool with that option.
        """
        return self._front("background")  # type: ignore[no-any-return]

    def asynced(self) -> _typed.Front[_typed.Args, _typed.Value, _typed.Async]:
        """Give a coroutine; for `map` one that is an async iterator, too.

        Returns
        -------
        front
            `submit` and `map` of this pool with that option.
        """
        return self._front("asynced")  # type: ignore[no-any-return]

    def stream(self, buffersize: int = 16) -> _typed.Front[_typed.Args, _typed.Value, _typed.Streaming]:
        """Give an iterator over the items of a generator function while it runs (`submit` only).

        Parameters
        ----------
        buffersize : int
            Items that may be under way before the generator waits for its consumer.

        Returns
        -------
        front
            `submit` of this pool with that option.
        """
        return self._front("stream", items_under_way(buffersize))  # type: ignore[no-any-return]

    def _front(self, name: str, value: Any = True) -> Any:
        return Front(self, Options(**{name: value}))


def items_under_way(buffersize: int) -> int:
    """Check what `stream` takes."""
    return whole_number("stream", buffersize, 1)
