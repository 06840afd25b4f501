"""The envelope of one finished call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, final

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from typing_extensions import ParamSpec

    P = ParamSpec("P")

T = TypeVar("T")
U = TypeVar("U")
D = TypeVar("D")


@final
class Result(Generic[T]):
    """The value or the error of one finished call.

    True if the call succeeded, which is when `err` is None; None is a value like any other.

    Parameters
    ----------
    ok : object, optional
        What the call returned.
    err : BaseException, optional
        What it raised.
    index : int, optional
        Position in the input of a `map`, from 0.
    attempts : int, optional
        How often the call was run; 0 if it never was.
    seconds : float, optional
        What its last run took in its worker.
    pid : int, optional
        Process id of that worker.
    item : object, optional
        Of a failure in a flow: what the stage that failed was given.
    stage : str, optional
        Of a failure in a flow: the stage.

    Attributes
    ----------
    ok : object
        What the call returned; None if it failed.
    err : BaseException or None
        What it raised, with the worker's own frames in its traceback.
    index, attempts, seconds, pid, item, stage : object
        Facts that do not take part in comparing; None if they are not known.

    Raises
    ------
    TypeError
        If `err` is not an exception, or both `ok` and `err` are given.

    Examples
    --------
    >>> Result(3).unwrap()
    3
    >>> match Result.capture(int, "x"):
    ...     case Result(err=None, ok=value):
    ...         print(value)
    ...     case Result(err=error):
    ...         print(type(error).__name__)
    ValueError
    """

    __slots__ = ("attempts", "err", "index", "item", "ok", "pid", "seconds", "stage")
    __match_args__ = ("ok", "err")

    ok: T
    err: BaseException | None
    index: int | None
    attempts: int | None
    seconds: float | None
    pid: int | None
    item: object
    stage: str | None

    def __init__(
        self,
        ok: T = None,  # type: ignore[assignment]  # a failed call has no value
        err: BaseException | None = None,
        *,
        index: int | None = None,
        attempts: int | None = None,
        seconds: float | None = None,
        pid: int | None = None,
        item: object = None,
        stage: str | None = None,
    ) -> None:
        if err is not None:
            if not isinstance(err, BaseException):
                raise TypeError(f"err must be an exception or None, not {err!r}")
            if ok is not None:
                raise TypeError("a Result holds a value or an error, not both")
        put = object.__setattr__
        put(self, "ok", ok)
        put(self, "err", err)
        put(self, "index", index)
        put(self, "attempts", attempts)
        put(self, "seconds", seconds)
        put(self, "pid", pid)
        put(self, "item", item)
        put(self, "stage", stage)

    @staticmethod
    def capture(fn: Callable[P, U], /, *args: P.args, **kwargs: P.kwargs) -> Result[U]:
        """Call a function here and put its end into an envelope.

        Parameters
        ----------
        fn : callable
            What to call.
        *args, **kwargs
            Its arguments.

        Returns
        -------
        Result
            Its value, or the error it raised.  KeyboardInterrupt, SystemExit and asyncio's cancellation are raised.
        """
        from time import perf_counter

        began = perf_counter()
        try:
            value = fn(*args, **kwargs)
        except Exception as error:
            if type(error).__name__ == "CancelledError" and is_cancellation(error):
                raise
            failed: Result[Any] = Result(err=error, attempts=1, seconds=perf_counter() - began)
            return failed
        return Result(value, attempts=1, seconds=perf_counter() - began)

    def unwrap(self) -> T:
        """Give the value, or raise the error.

        Returns
        -------
        object
            The value.

        Raises
        ------
        BaseException
            The error.
        """
        if self.err is not None:
            raise self.err
        return self.ok

    def unwrap_or(self, default: D) -> T | D:
        """Give the value, or the default if the call failed.

        Parameters
        ----------
        default : object
            What stands for the value of a failed call.

        Returns
        -------
        object
            The value or the default.
        """
        return default if self.err is not None else self.ok

    def map(self, fn: Callable[[T], U]) -> Result[U]:
        """Apply a function to the value.

        Parameters
        ----------
        fn : callable
            Takes the value.  An exception it raises becomes the error.

        Returns
        -------
        Result
            With the new value, or this error; with the same facts.
        """
        facts = {name: getattr(self, name) for name in _FACTS}
        if self.err is not None:
            return Result(err=self.err, **facts)
        captured = Result.capture(fn, self.ok)
        return Result(captured.ok, captured.err, **facts)

    def __bool__(self) -> bool:
        """Tell whether the call succeeded."""
        return self.err is None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Result):
            return NotImplemented
        if self.err is None or other.err is None:
            return self.err is other.err and bool(self.ok == other.ok)
        mine, others = self.err, other.err
        return mine is others or (type(mine) is type(others) and bool(mine.args == others.args))

    def __hash__(self) -> int:
        return hash((self.ok, type(self.err)))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Result cannot be changed, so {name!r} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Result cannot be changed, so {name!r} cannot be deleted")

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the error's traceback, cause, context and notes when it is pickled."""
        return self._reduce_with(_dumps)

    def _reduce_with(self, dumps: Callable[[object], bytes]) -> tuple[Any, ...]:
        """Reduce, with the help of a pickler that knows what the other side has."""
        facts = tuple(getattr(self, name) for name in _FACTS)
        if self.err is None:
            return _rebuild, (self.ok, None, facts)
        from ._tracebacks import pack_exception

        return _rebuild, (None, pack_exception(self.err, dumps), facts)

    def __repr__(self) -> str:
        """Show the value or the error."""
        if self.err is None:
            return f"Result(ok={self.ok!r})"
        return f"Result(err={self.err!r})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show the error with its remote traceback in a notebook."""
        if self.err is None or cycle:
            printer.text(repr(self))
            return
        import traceback

        printer.text(repr(self) + "\n" + "".join(traceback.format_exception(self.err)).rstrip())


_FACTS: Final = ("index", "attempts", "seconds", "pid", "item", "stage")


def envelope(
    value: Any,
    error: BaseException | None,
    index: int | None,
    *,
    pid: int | None,
    micros: int | None,
    attempts: int,
) -> Result[Any]:
    """Put an end into an envelope, with what the answer says of it."""
    seconds = None if micros is None else micros * 1e-6
    return Result(value, error, index=index, attempts=attempts, seconds=seconds, pid=pid)


def is_cancellation(error: BaseException) -> bool:
    """Tell whether an error is a cancellation, which is never put into an envelope."""
    import sys
    from concurrent.futures import CancelledError

    asyncio = sys.modules.get("asyncio")
    return isinstance(error, CancelledError) or (
        asyncio is not None and isinstance(error, asyncio.CancelledError)
    )


def _dumps(obj: object) -> bytes:
    from cloudpickle import dumps

    return dumps(obj)  # type: ignore[no-any-return]  # it has no types


def _rebuild(ok: Any, packed: bytes | None, facts: tuple[Any, ...]) -> Result[Any]:
    from pickle import loads

    from ._tracebacks import unpack_exception

    err = None if packed is None else unpack_exception(packed, loads)
    return Result(ok, err, **dict(zip(_FACTS, facts, strict=True)))
