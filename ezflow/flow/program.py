"""What runs inside a worker: plain stages as one program, run over the items of one call.

A worker imports this module and what it needs, and no other of the package.  A program is a tuple of steps
``(kind, what, note)``; the note names the stage in errors.
"""

from __future__ import annotations

from types import AsyncGeneratorType, CoroutineType, GeneratorType

from .._engine.current import ItemState, running
from .._memory.cargo import ASIDE_FROM
from ..graph.inside import finished
from .items import BATCH, DROP, Carried, Drop, Failure, To, noted
from .packed import apart
from .weight import LARGE, LIGHT, nbytes_of

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import Any, Final

    Step = tuple[int, Any, str]
    Program = tuple[Step, ...]
    Outcome = tuple[list[Any], list[int] | None, int]
    Extra = tuple[list[tuple[str, Any]], bool, int, bool]
    Answer = tuple[list[Any], list[int] | None, int, Extra | None]

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
"""A table of branches, the programs, the items that each gets of one round of the table, and branches by name."""

ROUTE: Final = 6
"""A function that gives a key, programs by key, and the program of all other keys or None."""

NEXT: Final = 7
"""The end of a program whose outputs may be `To`: what comes next takes them.  Nothing is run."""


class State(ItemState):
    """What holds for the items of one call; `meta` is that of the value which is on its way at the moment."""

    __slots__ = ("handler", "is_packed", "keep", "n_left", "nbytes")

    def __init__(
        self, keep: bool, handler: Callable[..., object] | None, names: tuple[str, ...] = ()
    ) -> None:
        super().__init__(names)
        self.keep = keep
        self.handler = handler
        self.n_left = 0
        self.nbytes = 0
        self.is_packed = False  # some outputs stay packed

    def extra(self) -> Extra | None:
        """Give what else there is to tell, if anything."""
        if self.emitted or self.has_meta or self.n_left or self.is_packed:
            return self.emitted, self.has_meta, self.n_left, self.is_packed
        return None


_UNFINISHED: Final = frozenset({GeneratorType, AsyncGeneratorType, CoroutineType})

_SPECIAL: Final = _UNFINISHED | {Drop, Failure, To}

_SAME: Final = frozenset({int, float, str, bytes, bool, type(None), complex})
"""Of these a copy is the thing itself."""


def run_items(
    steps: Program,
    base: int,
    keep: bool,
    handler: Callable[..., object] | None,
    items: list[Any],
    names: tuple[str, ...] = (),
    to_pack: int = 0,
) -> Answer:
    """Run a program over items; `base` is the position of the first, for a split at its head.

    Gives the outputs, how many each item has (None: one each), how many of them are failures, and, if there is any of it,
    what was emitted into the side streams `names`, whether items have a meta, and how many items at the end were not
    begun, because the outputs have become large, and whether some stay packed, as large ones do if they are to.  Without
    `keep` the first error is raised.
    """
    state = State(keep, handler, names)
    token = running.item.set(state)
    try:
        outs, counts, n_failed = _run(steps, base, items, state)
    finally:
        running.item.reset(token)
    return pack_large(outs, state, to_pack), counts, n_failed, state.extra()


def told_as(
    steps: Program, _: int, keep: bool, handler: object, items: object, *__: object
) -> tuple[str, dict[str, object]]:
    """Say what a call of a flow is called, and what of the user's it takes: for messages about one that was not sent."""
    notes = [note for _, _, note in steps if note]
    place = notes[0] if len(notes) == 1 else f"{notes[0]} to {notes[-1]}"
    fns = [fn for kind, fn, _ in steps if kind != NEXT]
    return f"flow stage {place}", {"items": items, "fn": fns if len(fns) > 1 else fns[0], "handler": handler}


run_items.__dict__["told_as"] = told_as


def pack_large(outs: list[Any], state: State, to_pack: int) -> list[Any]:
    """Give the outputs, the large ones to stay packed if they are to; `state` knows how large they are together."""
    state.is_packed = to_pack != 0 and state.nbytes >= ASIDE_FROM
    return [out if type(out) in LIGHT else apart(out, to_pack) for out in outs] if state.is_packed else outs


def _run(steps: Program, base: int, items: list[Any], state: State) -> Outcome:
    outs: list[Any] = []
    counts: list[int] | None = None
    n_failed = 0
    nbytes = 0
    add = outs.append
    fast = tuple((j, kind, what) for j, (kind, what, _) in enumerate(steps) if kind != NEXT)
    for i, item in enumerate(items):
        value = item
        if type(item) is Carried:
            value = item.value
            state.meta = dict(item.meta)
        j = -1
        try:
            for j, kind, what in fast:
                if kind == MAP:
                    taken, value = value, what(value)
                    if type(value) in _SPECIAL:
                        more = _after(steps, j, taken, value, state)
                        break
                elif kind == FILTER:
                    if not what(value):
                        more = iter(())
                        break
                else:
                    more = outputs_of(steps, j, value, base + i, state)
                    break
            else:
                if state.meta is not None:
                    value = Carried(value, state.meta)
                    state.meta = None
                add(value)
                if counts is not None:
                    counts.append(1)
                if type(value) not in LIGHT:
                    nbytes += nbytes_of(value)
                    if nbytes > LARGE and i + 1 < len(items):
                        state.n_left = len(items) - i - 1
                        break
                continue
        except Exception as error:
            if not state.keep:
                noted(error, steps[j][2], value)
                raise
            more = _instead(steps, j, value, error, state)
        n = len(outs)
        for out in more:
            if type(out) is Failure:
                n_failed += 1
            elif state.meta is not None:
                out = carrying(out, state.meta)
            add(out)
            if type(out) not in LIGHT:
                nbytes += nbytes_of(out)
        state.meta = None
        n = len(outs) - n
        if counts is None and n != 1:
            counts = [1] * i
        if counts is not None:
            counts.append(n)
        if nbytes > LARGE and i + 1 < len(items):
            state.n_left = len(items) - i - 1
            break
    state.nbytes = nbytes
    return outs, counts, n_failed


def carrying(out: Any, meta: dict[Any, Any]) -> Any:
    """Give an output with its meta."""
    return To(out.target, Carried(out.item, meta)) if type(out) is To else Carried(out, meta)


def outputs_of(steps: Program, j: int, value: Any, position: int, state: State) -> Generator[Any]:
    """Yield what comes of one item from step `j` on."""
    while j < len(steps):
        kind, what, note = steps[j]
        try:
            if kind == MAP:
                taken, value = value, what(value)
                if type(value) in _SPECIAL:
                    yield from _after(steps, j, taken, value, state)
                    return
                j += 1
                continue
            if kind == FILTER:
                if not what(value):
                    return
                j += 1
                continue
            if kind == NEXT:
                break
            if kind == UNBATCH:
                inner: Iterator[Any] = _elements(value, state)
            elif kind == COPY:
                inner = _copies(what, value, state)
            elif kind == ROW:
                row, failures = _row(what, value, state)
                inner = iter(failures or (row,))
            elif kind == SPLIT:
                table, programs, shares, of_name = what
                rounds, place = divmod(position, len(table))
                if type(value) is To:
                    branch, value = branch_of(value.target, of_name), _unpacked(value, state)
                else:
                    branch = table[place]
                rank = table[:place].count(branch)
                inner = outputs_of(programs[branch], 0, value, rounds * shares[branch] + rank, state)
            else:
                of_key, programs, default = what
                if type(value) is To:
                    program = branch_of(value.target, programs)
                    value = _unpacked(value, state)
                else:
                    program = default if of_key is To else programs.get(of_key(value), default)
                    if program is None:
                        raise no_route(of_key, value, programs)
                inner = outputs_of(program, 0, value, 0, state)
        except Exception as error:
            if not state.keep:
                noted(error, note, value)
                raise
            yield from _instead(steps, j, value, error, state)
            return
        yield from _go_on(steps, j, value, inner, state)
        return
    yield value


def branch_of(target: object, branches: Any) -> Any:
    """Give the branch that a `To` names."""
    try:
        return branches[target]
    except (KeyError, TypeError):
        known = ", ".join(map(repr, branches)) or "none that has a name of its own"
        raise LookupError(f"there is no branch {target!r} to send the item to; there are {known}") from None


def no_route(of_key: Callable[[Any], Any], value: object, branches: Any) -> LookupError:
    """Say that no branch takes an item."""
    known = ", ".join(map(repr, branches))
    if of_key is To:
        return LookupError(
            f"the item {value!r:.60} does not say where it goes; there are {known}."
            " Let the stage before return To(name, item), or give Route a default."
        )
    return LookupError(
        f"no route for the key {of_key(value)!r}; there are {known}."
        " Give Route a default, or DROP the item before."
    )


def _unpacked(sent: To, state: State) -> Any:
    """Give the item of a `To` that came from the call before."""
    item = sent.item
    if type(item) is Carried:
        state.meta = dict(item.meta)
        return item.value
    return item


def _after(steps: Program, j: int, taken: Any, value: Any, state: State) -> Iterator[Any]:
    """Yield what comes of an item for which step `j` gave no plain value."""
    if type(value) is Drop:
        return iter(())
    if type(value) is Failure:
        return iter((value,))
    if type(value) is GeneratorType:
        return _go_on(steps, j, taken, value, state)
    if type(value) is To:
        return _go_on(steps, j, taken, iter((value,)), state)
    is_one = type(value) is CoroutineType
    try:
        value = finished(value)
    except Exception as error:
        if not state.keep:
            noted(error, steps[j][2], taken)
            raise
        return _instead(steps, j, taken, error, state)
    return _go_on(steps, j, taken, iter((value,) if is_one else value), state)


def _go_on(steps: Program, j: int, taken: Any, values: Iterator[Any], state: State) -> Generator[Any]:
    """Yield what comes of the values that step `j` made of one item; each goes on with a copy of the meta as it then is."""
    meta = state.meta
    while True:
        state.meta = meta
        try:
            value = next(values)
            if type(value) is To:
                _check_to(steps, j, value)
        except StopIteration:
            return
        except Exception as error:
            if not state.keep:
                noted(error, steps[j][2], taken)
                raise
            yield from _instead(steps, j, taken, error, state)
            return
        meta = state.meta
        if type(value) is Failure:
            yield value
        elif type(value) is not Drop:
            if meta is not None:
                state.meta = dict(meta)
            yield from outputs_of(steps, j + 1, value, 0, state)


def _check_to(steps: Program, j: int, value: To) -> None:
    """Complain of a `To` behind which nothing has branches."""
    kind, what, _ = steps[j + 1] if j + 1 < len(steps) else (MAP, None, "")
    if kind == NEXT:
        if what is not None:
            branch_of(value.target, what)
    elif kind not in (SPLIT, ROUTE):
        raise LookupError(
            f"nothing takes {value!r:.60}: the next stage has no branches."
            " Put a tuple or Route(To, {...}) right behind the stage that returns it."
        )


def _elements(value: Any, state: State) -> Iterator[Any]:
    """Yield the elements of a list; those of a batch have the meta again that they came with."""
    metas = None if state.meta is None else state.meta.get(BATCH)
    if metas is None:
        yield from value
        return
    for i, one in enumerate(value):
        state.meta = metas[i] if i < len(metas) else None
        yield one


def _copies(programs: tuple[Program, ...], value: Any, state: State) -> Generator[Any]:
    meta = state.meta
    for copy, program in _each_copy(programs, value):
        state.meta = meta if meta is None else dict(meta)
        yield from outputs_of(program, 0, copy, 0, state)


def _row(programs: tuple[Program, ...], value: Any, state: State) -> tuple[tuple[Any, ...], list[Failure]]:
    """Give a row, or the failures that stand for it; what the branches wrote into their meta is put together."""
    row: list[Any] = []
    failures: list[Failure] = []
    meta = state.meta
    together: dict[Any, Any] = dict(meta or ())
    for copy, program in _each_copy(programs, value):
        state.meta = meta if meta is None else dict(meta)
        outs: list[Any] = []
        for out in outputs_of(program, 0, copy, 0, state):
            outs.append(out)
            together.update(state.meta or ())
        failures.extend(out for out in outs if type(out) is Failure)
        row.append(one_of(outs, len(row)))
    state.meta = together or meta
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


def _instead(steps: Program, j: int, item: Any, error: Exception, state: State) -> Iterator[Any]:
    """Yield what stands for an item that failed in step `j`: a failure, or what comes of what the handler gives."""
    note = steps[j][2]
    if state.handler is None:
        return iter((Failure(noted(error, note, item), item, note),))
    return _go_on(steps, j, item, iter((state.handler(noted(error, note, item)),)), state)
