"""How a call is to be run, and what goes in and comes out: one immutable record, and what may be in it."""

from __future__ import annotations

from operator import index

from . import errors

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final, TextIO


class Retry:
    """How often, over what and when a failed call runs again.

    Parameters
    ----------
    n : int
        Runs after the first, at most.
    on : exception class or tuple of them
        Errors over which it runs again.  The death of a worker counts only if `WorkerDied` or
        `BrokenProcessPool` is named; cancelling never counts.
    delay : float
        Seconds before the second run.
    backoff : float
        What the delay is multiplied with for each later run.
    """

    __slots__ = ("backoff", "delay", "n", "on")

    def __init__(
        self,
        n: int,
        on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
        delay: float = 0.0,
        backoff: float = 1.0,
    ) -> None:
        n = whole_number("retry", n, 0)
        on = on if isinstance(on, tuple) else (on,)
        for one in on:
            if not (isinstance(one, type) and issubclass(one, BaseException)):
                raise TypeError(f"retry(on=...) takes exception classes, not {one!r}")
        self.n = n
        self.on = on
        self.delay = _at_least_0("retry(delay=...)", delay)
        self.backoff = _at_least_0("retry(backoff=...)", backoff)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Retry):
            return NotImplemented
        return (self.n, self.on, self.delay, self.backoff) == (other.n, other.on, other.delay, other.backoff)

    def __hash__(self) -> int:
        return hash((self.n, self.on, self.delay, self.backoff))

    def __repr__(self) -> str:
        """Show it as it is written."""
        on = ", ".join(one.__name__ for one in self.on)
        return f"Retry({self.n}, on=({on},), delay={self.delay:g}, backoff={self.backoff:g})"


class Bar:
    """A progress bar that was asked for.

    Parameters
    ----------
    label : str or None
        What stands beside it; None: the label of the call.
    always : bool
        Whether to write lines where there is no terminal and no notebook.
    file : text stream or None
        Where to draw; None: standard error.
    """

    __slots__ = ("always", "file", "label")

    def __init__(self, label: str | None = None, always: bool = False, file: TextIO | None = None) -> None:
        self.label = None if label is None else text("progress", label)
        self.always = bool(always)
        self.file = file

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bar):
            return NotImplemented
        return (self.label, self.always) == (other.label, other.always) and self.file is other.file

    def __hash__(self) -> int:
        return hash((self.label, self.always, id(self.file)))

    def __repr__(self) -> str:
        """Show it as it is written."""
        return f"Bar({self.label!r}, always={self.always}, file={self.file!r})"


class Options:
    """Options that were given; immutable.

    What was not given differs from what was given as None: the nearest one that was given wins.
    """

    __slots__ = ("_given",)

    HOW_IT_RUNS: Final = ("timeout", "within", "retry", "priority", "named", "progress")
    WHAT_GOES_IN: Final = ("star", "stream", "results", "sealed", "unordered", "background", "asynced")
    OF_GRAPHS: Final = ("on", "otherwise", "catch", "env", "max_pending")
    """Where a task or a graph runs, and what stands for its failure; executors do not know them."""
    NAMES: Final = (*HOW_IT_RUNS, *WHAT_GOES_IN, *OF_GRAPHS)

    def __init__(self, **given: Any) -> None:
        unknown = given.keys() - set(self.NAMES)
        if unknown:
            raise TypeError(f"there is no option {min(unknown)!r}")
        if given.get("background") and given.get("asynced"):
            raise errors.excluding_options("background", "asynced")
        self._given = given

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Yield the options that were given, by name."""
        return iter(sorted(self._given.items()))

    def __len__(self) -> int:
        return len(self._given)

    def __bool__(self) -> bool:
        return True  # a record, and no container

    def __contains__(self, name: object) -> bool:
        return name in self._given

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Options) and self._given == other._given

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        """Show what was given."""
        return f"Options({', '.join(f'{name}={value!r}' for name, value in self)})"

    def written(self) -> str:
        """Give the words as they are written."""
        return "".join(f".{name}({_arguments(value)})" for name, value in self if value is not False)

    def get(self, name: str, default: Any = None) -> Any:
        """Give the value of an option, or the default if it was not given."""
        return self._given.get(name, default)

    def having(self, name: str, value: Any) -> Options:
        """Give these options with one set, in place of an earlier setting."""
        return Options(**{**self._given, name: value})

    def under(self, nearer: Options | None) -> Options:
        """Give these options overruled by those of a nearer place."""
        if nearer is None or not nearer._given:
            return self
        merged = {**self._given, **nearer._given}
        if merged.get("background") and merged.get("asynced"):  # of different places: the nearer one wins
            merged["asynced" if "background" in nearer._given else "background"] = False
        return Options(**merged)

    def without(self, *names: str) -> Options:
        """Give these options without some of them."""
        return Options(**{name: value for name, value in self._given.items() if name not in names})

    def how_it_runs(self) -> Options:
        """Give these options without those that say what goes in and comes out."""
        return self.without(*self.WHAT_GOES_IN)

    def __reduce__(self) -> tuple[Any, ...]:
        return _options, (self._given,)


def _arguments(value: Any) -> str:
    """Give what stands between a word's parentheses, without what goes without saying."""
    if isinstance(value, Retry):
        on = ", ".join(one.__name__ for one in value.on)
        said = {
            "on": None if value.on == (Exception,) else on if len(value.on) == 1 else f"({on})",
            "delay": f"{value.delay:g}" if value.delay else None,
            "backoff": f"{value.backoff:g}" if value.backoff != 1.0 else None,
        }
        return ", ".join([str(value.n), *(f"{name}={one}" for name, one in said.items() if one is not None)])
    if isinstance(value, Bar):
        parts = [] if value.label is None else [repr(value.label)]
        parts += ["always=True"] * value.always
        return ", ".join(parts if value.file is None else [*parts, f"file={value.file!r}"])
    if value is True:
        return ""
    return f"{value:g}" if isinstance(value, float) else repr(value)


def _options(given: dict[str, Any]) -> Options:
    return Options(**given)


NOTHING: Final = Options()


def seconds_or_none(name: str, seconds: float | None) -> float | None:
    """Check a limit; infinity is none."""
    if seconds is None:
        return None
    checked = _number(name, seconds)
    if not checked > 0.0:  # nan is neither
        raise ValueError(f"{name} takes more than 0 seconds, or None, not {seconds!r}")
    return None if checked == float("inf") else checked


def _at_least_0(name: str, value: float) -> float:
    number = _number(name, value)
    if not number >= 0.0:
        raise ValueError(f"{name} takes 0 or more, not {value!r}")
    return number


def _number(name: str, value: float) -> float:
    try:
        if isinstance(value, str | bytes | bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} takes a number, not {value!r}") from None


def whole_number(name: str, value: int, least: int | None = None) -> int:
    """Check a whole number; one of another type, such as numpy's, becomes an int."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = index(value)
    except TypeError:
        raise TypeError(f"{name} takes a whole number, not {value!r:.60}") from None
    if least is not None and number < least:
        raise ValueError(f"{name} takes {least} or more, not {number}")
    return number


def text(name: str, value: str) -> str:
    """Check a label."""
    if not isinstance(value, str):
        raise TypeError(f"{name} takes a text, not {value!r}")
    return value
