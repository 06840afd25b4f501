"""What runs inside a worker: plain stages as one program, run over the items of one call.

A worker imports this module and nothing else of the package.  A program is a tuple of steps ``(kind, what, note)``; the
note names the stage in errors.
"""

from __future__ import annotations

from types import AsyncGeneratorType, CoroutineType, GeneratorType

from ..graph.inside import add_note, finished

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import Any, Final

    Step = tuple[int, Any, str]
    Program = tuple[Step, ...]
    Outcome = tuple[list[Any], list[int] | None, int]

MAP: Final = 0
"""A function; what it returns is the one output, unless it is unfinished or the word `DROP`."""
FILTER: Final = 1
"""A function; the item goes on if it is true."""
UNBATCH: Final = 2
"""Each element of the item is an output."""
COPY: Final = 3
"""Programs: every one gets the item, the outputs run on one after the other."""
ROW: Final = 4
"""Programs: every one gets the item, and the outputs become one tuple."""
SPLIT: Final = 5
"""A table of branches, the programs, and the items that each gets of one round of the table."""
ROUTE: Final = 6
"""A function that gives a key, programs by key, and the program of all other keys or None."""


class Drop:
    """The word that drops an item."""

    __slots__ = ()
    __name__ = "DROP"

    def __getattr__(self, name: str) -> str:
        if name == "__qualname__":
            return "DROP"
        raise AttributeError(f"'DROP' has no attribute {name!r}")

    def __repr__(self) -> str:
        """Show the word."""
        return "DROP"

    def __reduce__(self) -> str:
        return "DROP"


DROP: Final = Drop()
"""Returned for an item, it drops it; in a row of `Zip` it stands for a branch without an output."""


class Failure:
    """A failed item, in the place of its outputs; it passes by all further stages."""

    __slots__ = ("error", "item", "note")

    error: BaseException
    item: object
    note: str

    def __init__(self, error: BaseException, item: object, note: str) -> None:
        self.error = error
        self.item = item
        self.note = note

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel with the frames of the error."""
        from ..result import Result

        return _failure, (Result[object](err=self.error), self.item, self.note)

    def __repr__(self) -> str:
        """Show what failed."""
        return f"Failure({self.error!r}, {self.item!r:.60})"


def _failure(result: Any, item: object, note: str) -> Failure:
    return Failure(result.err, item, note)


_UNFINISHED: Final = frozenset({GeneratorType, AsyncGeneratorType, CoroutineType})
_SPECIAL: Final = _UNFINISHED | {Drop, Failure}
_SAME: Final = frozenset({int, float, str, bytes, bool, type(None), complex})
"""Of these a copy is the thing itself."""


def run_items(
    steps: Program,
    base: int,
    keep: bool,
    handler: Callable[..., object] | None,
    items: list[Any],
) -> Outcome:
    """Run a program over items; `base` is the position of the first, for a split at its head.

    Gives the outputs, how many each item has (None: one each), and how many of them are failures; without `keep` the
    first error is raised.
    """
    outs: list[Any] = []
    counts: list[int] | None = None
    n_failed = 0
    add = outs.append
    fast = tuple((j, kind, what) for j, (kind, what, _) in enumerate(steps))
    for i, item in enumerate(items):
        value = item
        j = -1
        try:
            for j, kind, what in fast:
                if kind == MAP:
                    taken, value = value, what(value)
                    if type(value) in _SPECIAL:
                        more = _after(steps, j, taken, value, keep, handler)
                        break
                elif kind == FILTER:
                    if not what(value):
                        more = iter(())
                        break
                else:
                    more = _outputs(steps, j, value, base + i, keep, handler)
                    break
            else:
                add(value)
                if counts is not None:
                    counts.append(1)
                continue
        except Exception as error:
            if not keep:
                noted(error, steps[j][2], value)
                raise
            more = _instead(steps, j, value, error, handler)
        n = len(outs)
        for out in more:
            add(out)
            n_failed += type(out) is Failure
        n = len(outs) - n
        if counts is None and n != 1:
            counts = [1] * i
        if counts is not None:
            counts.append(n)
    return outs, counts, n_failed


def run_timed(*args: Any) -> tuple[Outcome, int]:
    """Run a program over items, and tell how many microseconds that took: for who is no worker of ours."""
    from time import perf_counter_ns

    began = perf_counter_ns()
    outcome = run_items(*args)
    return outcome, (perf_counter_ns() - began) // 1000


def _outputs(
    steps: Program, j: int, value: Any, position: int, keep: bool, handler: Callable[..., object] | None
) -> Generator[Any]:
    """Yield what comes of one item from step `j` on."""
    while j < len(steps):
        kind, what, note = steps[j]
        try:
            if kind == MAP:
                taken, value = value, what(value)
                if type(value) in _SPECIAL:
                    yield from _after(steps, j, taken, value, keep, handler)
                    return
                j += 1
                continue
            if kind == FILTER:
                if not what(value):
                    return
                j += 1
                continue
            if kind == UNBATCH:
                inner: Iterator[Any] = iter(value)
            elif kind == COPY:
                inner = _copies(what, value, keep, handler)
            elif kind == ROW:
                row, failures = _row(what, value, keep, handler)
                inner = iter(failures or (row,))
            elif kind == SPLIT:
                table, programs, shares = what
                rounds, place = divmod(position, len(table))
                branch = table[place]
                rank = table[:place].count(branch)
                inner = _outputs(programs[branch], 0, value, rounds * shares[branch] + rank, keep, handler)
            else:
                of_key, programs, default = what
                key = of_key(value)
                program = programs.get(key, default)
                if program is None:
                    raise LookupError(
                        f"no route for the key {key!r}; there are {', '.join(map(repr, programs))}."
                        " Give Route a default, or DROP the item before."
                    )
                inner = _outputs(program, 0, value, 0, keep, handler)
        except Exception as error:
            if not keep:
                noted(error, note, value)
                raise
            yield from _instead(steps, j, value, error, handler)
            return
        yield from _go_on(steps, j, value, inner, keep, handler)
        return
    yield value


def _after(
    steps: Program, j: int, taken: Any, value: Any, keep: bool, handler: Callable[..., object] | None
) -> Iterator[Any]:
    """Yield what comes of an item for which step `j` gave no plain value."""
    if type(value) is Drop:
        return iter(())
    if type(value) is Failure:
        return iter((value,))
    if type(value) is GeneratorType:
        return _go_on(steps, j, taken, value, keep, handler)
    is_one = type(value) is CoroutineType
    try:
        value = finished(value)
    except Exception as error:
        if not keep:
            noted(error, steps[j][2], taken)
            raise
        return _instead(steps, j, taken, error, handler)
    return _go_on(steps, j, taken, iter((value,) if is_one else value), keep, handler)


def _go_on(
    steps: Program,
    j: int,
    taken: Any,
    values: Iterator[Any],
    keep: bool,
    handler: Callable[..., object] | None,
) -> Generator[Any]:
    """Yield what comes of the values that step `j` made of one item."""
    while True:
        try:
            value = next(values)
        except StopIteration:
            return
        except Exception as error:
            if not keep:
                noted(error, steps[j][2], taken)
                raise
            yield from _instead(steps, j, taken, error, handler)
            return
        if type(value) is Failure:
            yield value
        elif type(value) is not Drop:
            yield from _outputs(steps, j + 1, value, 0, keep, handler)


def _copies(
    programs: tuple[Program, ...], value: Any, keep: bool, handler: Callable[..., object] | None
) -> Generator[Any]:
    for copy, program in _each_copy(programs, value):
        yield from _outputs(program, 0, copy, 0, keep, handler)


def _row(
    programs: tuple[Program, ...], value: Any, keep: bool, handler: Callable[..., object] | None
) -> tuple[tuple[Any, ...], list[Failure]]:
    """Give a row, or the failures that stand for it."""
    row: list[Any] = []
    failures: list[Failure] = []
    for copy, program in _each_copy(programs, value):
        outs = list(_outputs(program, 0, copy, 0, keep, handler))
        failures.extend(out for out in outs if type(out) is Failure)
        row.append(one_of(outs, len(row)))
    return tuple(row), failures


def one_of(outs: list[Any], branch: int) -> Any:
    """Give the one output of a branch of `Zip`."""
    if len(outs) > 1 and not any(type(out) is Failure for out in outs):
        raise ValueError(
            f"branch {branch + 1} of Zip gave {len(outs)} outputs for one item; a row has room for one."
            " Let the branch return them as one list."
        )
    return outs[0] if outs else DROP


def _each_copy(programs: tuple[Program, ...], value: Any) -> Iterator[tuple[Any, Program]]:
    """Give each program an item of its own, as if it had been sent there; the last one gets the item itself."""
    if type(value) in _SAME:
        for program in programs:
            yield value, program
        return
    from copy import deepcopy

    for program in programs[:-1]:
        yield deepcopy(value), program
    yield value, programs[-1]


def _instead(
    steps: Program, j: int, item: Any, error: Exception, handler: Callable[..., object] | None
) -> Iterator[Any]:
    """Yield what stands for an item that failed in step `j`: a failure, or what comes of what the handler gives."""
    note = steps[j][2]
    if handler is None:
        return iter((Failure(noted(error, note, item), item, note),))
    value = handler(noted(error, note, item))
    return iter(()) if type(value) is Drop else _outputs(steps, j + 1, value, 0, True, handler)


def noted(error: BaseException, note: str, item: object) -> BaseException:
    """Give the error with a note that names the stage and the item, unless an inner stage has left one."""
    if note and not any(str(one).startswith(_MARK) for one in getattr(error, "__notes__", ())):
        try:
            shown = f"{item!r:.200}"
        except Exception:
            shown = f"of type {type(item).__name__}"
        add_note(error, f"{_MARK}{note}, with the item {shown}")
    return error


_MARK: Final = "ezflow: in flow stage "
