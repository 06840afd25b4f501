"""The words of flows."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from functools import partial
from itertools import repeat
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ..graph.nodes import Node, OfFlows, chain, text_of
from ..options import seconds_or_none, whole_number
from .collectors import Batches, InOrder, Prints, Rebatches, Taps, Windows, Writes
from .items import To
from .nodes import Collecting, Copies, Deal, Limited, Living, Plain, Routes, Rows, Source
from .parse import Piece, parse, shown, wrong
from .program import FILTER, MAP, UNBATCH
from .stage import Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


class Bound:
    """A function with arguments that follow the item."""

    __slots__ = ("args", "fn", "kwargs")

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.fn = fn
        self.args = args
        self.kwargs = kwargs

    def __call__(self, item: Any) -> Any:
        """Call it with an item."""
        return self.fn(item, *self.args, **self.kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return Bound, (self.fn, self.args, self.kwargs)


def _bound(word: str, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not callable(fn):
        raise TypeError(f"{word} takes a function, not {fn!r:.60}")
    return Bound(fn, args, kwargs) if args or kwargs else fn


def Map(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Piece:  # noqa: N802  # words of the kit
    """Call ``fn(item, *args, **kwargs)``.

    Parameters
    ----------
    fn : callable
        Runs in a worker; what it returns is one item, unless it is a generator, whose items are all outputs.
    *args, **kwargs : object
        Further arguments, after the item.

    Returns
    -------
    Piece
        A stage for a flow.
    """
    return Piece(Plain(fn=_bound("Map", fn, args, kwargs), name=text_of(fn)), f"Map({text_of(fn)})")


def Filter(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Piece:  # noqa: N802
    """Pass an item on if ``fn(item, *args, **kwargs)`` is true.

    Parameters
    ----------
    fn : callable
        Runs in a worker.
    *args, **kwargs : object
        Further arguments, after the item.

    Returns
    -------
    Piece
        A stage for a flow.
    """
    written = f"Filter({text_of(fn)})"
    return Piece(Plain((), FILTER, _bound("Filter", fn, args, kwargs), written), written)


def Unbatch() -> Piece:  # noqa: N802
    """Pass on the elements of each item.

    Returns
    -------
    Piece
        A stage for a flow.
    """
    return Piece(Plain((), UNBATCH, None, "Unbatch()"), "Unbatch()")


def Batch(n: int, max_wait: float | None = None) -> Piece:  # noqa: N802
    """Make lists of `n` items; after `max_wait` seconds a shorter one.

    Parameters
    ----------
    n : int
        Length of a list; the last one may be shorter.
    max_wait : float, optional
        Seconds after which a list is let out that is not full, counted from its first item.  A thread of its own then
        advances the source, which may be waiting.

    Returns
    -------
    Piece
        A stage for a flow.
    """
    n = whole_number("Batch", n, 1)
    max_wait = seconds_or_none("Batch(max_wait=...)", max_wait)
    written = f"Batch({n})" if max_wait is None else f"Batch({n}, max_wait={max_wait:g})"
    return _collecting(written, Batches, n, max_wait=max_wait)


def Rebatch(n: int) -> Piece:  # noqa: N802
    """Make lists of `n` items out of lists of other lengths.

    Parameters
    ----------
    n : int
        Length of a list; the last one may be shorter.

    Returns
    -------
    Piece
        A stage for a flow.
    """
    return _collecting(f"Rebatch({n})", Rebatches, whole_number("Rebatch", n, 1))


def Window(n: int, step: int = 1) -> Piece:  # noqa: N802
    """Make lists of `n` neighbours.

    Parameters
    ----------
    n : int
        Length of a list.
    step : int
        Items from the beginning of one list to that of the next.

    Returns
    -------
    Piece
        A stage for a flow.

    Notes
    -----
    Items at the end that no list has held make a last one, which is shorter.
    """
    return _collecting(
        f"Window({n}, {step})", Windows, whole_number("Window", n, 1), whole_number("Window", step, 1)
    )


def Seq(*stages: Any) -> Piece:  # noqa: N802
    """Restore the order of the input behind the stages, where a flow is unordered.

    Parameters
    ----------
    *stages : stage
        Behind which it is restored; none: here.

    Returns
    -------
    Piece
        A stage for a flow.
    """
    node = _collecting("Seq()", InOrder).node
    if stages:
        node = chain((*(parse(stage, (f"Seq {i}",)) for i, stage in enumerate(stages, 1)), node))
    return Piece(node, f"Seq({', '.join(map(shown, stages))})")


def Tap(fn: Callable[[Any], object]) -> Piece:  # noqa: N802
    """Call a function with each item, and pass the item on.

    Parameters
    ----------
    fn : callable
        Runs in this process, in the thread that takes the outputs, in order; what it returns is dropped.

    Returns
    -------
    Piece
        A stage for a flow.
    """
    return _collecting(f"Tap({text_of(fn)})", Taps, _bound("Tap", fn, (), {}))


def Print(before: str | None = None) -> Piece:  # noqa: N802
    """Print each item, and pass it on.

    Parameters
    ----------
    before : str, optional
        What is printed before it.

    Returns
    -------
    Piece
        A stage for a flow.
    """
    return _collecting("Print()" if before is None else f"Print({before!r})", Prints, before)


def Stamp(before: str = "Processing item") -> Piece:  # noqa: N802
    """Print each item after a text, and pass it on.

    Parameters
    ----------
    before : str
        The text.

    Returns
    -------
    Piece
        A stage for a flow.
    """
    return _collecting(f"Stamp({before!r})", Prints, before)


def Write(path: Any, mode: str = "w") -> Piece:  # noqa: N802
    """Write each item as a line of a file, and pass it on.

    Parameters
    ----------
    path : path-like
        The file, opened when a run begins and closed when it ends.
    mode : str
        ``"w"`` empties it, ``"a"`` goes on at its end, as a run with a journal must; with ``"b"`` items are bytes, and
        written as they are.

    Returns
    -------
    Piece
        A stage for a flow.
    """
    return _collecting(f"Write({path!r})", Writes, path, mode)


def _collecting(written: str, make: Any, *args: Any, max_wait: float | None = None) -> Piece:
    return Piece(Collecting((), make, args, written, max_wait), written)


def Zip(*branches: Any) -> Piece:  # noqa: N802
    """Copy each item to every branch, and join what they give to one tuple.

    Parameters
    ----------
    *branches : stage
        In the order of the tuple.  Each gives one output per item; for one that gives none, `DROP` stands in the tuple.

    Returns
    -------
    Piece
        A stage for a flow.
    """
    return Piece(Rows(_branches("Zip", branches)), _listed("Zip", branches))


def Broadcast(*branches: Any) -> Piece:  # noqa: N802
    """Copy each item to every branch, in the written order: what a set means.

    Parameters
    ----------
    *branches : stage
        Their outputs for an item run on one after the other.

    Returns
    -------
    Piece
        A stage for a flow.
    """
    return Piece(Copies(_branches("Broadcast", branches)), _listed("Broadcast", branches))


def Parallel(*branches: Any, weights: Iterable[int] = (), balance: str = "turn") -> Piece:  # noqa: N802
    """Deal items out to the branches in turn, what a tuple means, or to whichever is free.

    Parameters
    ----------
    *branches : stage
        At least one.
    weights : iterable of int, optional
        How many items of a round each branch gets; the turns are spread evenly.
    balance : {'turn', 'free'}
        Whether a branch gets an item because it is its turn, or because it has room.

    Returns
    -------
    Piece
        A stage for a flow.
    """
    weights = tuple(whole_number("Parallel(weights=...)", one, 1) for one in weights)
    if weights and len(weights) != len(branches):
        raise ValueError(f"Parallel has {len(branches)} branches and {len(weights)} weights")
    if balance not in ("turn", "free"):
        raise ValueError(f"Parallel(balance=...) takes 'turn' or 'free', not {balance!r:.60}")
    if weights and balance == "free":
        raise ValueError("Parallel takes weights or balance='free', not both: weights say whose turn it is")
    node = Deal(_branches("Parallel", branches), weights, balance == "free")
    words = f", weights={weights}" if weights else ", balance='free'" if node.is_free else ""
    return Piece(node, _listed("Parallel", branches, words))


def Serial(*stages: Any) -> Piece:  # noqa: N802
    """Put stages one after the other: what a list means.

    Parameters
    ----------
    *stages : stage
        At least one.

    Returns
    -------
    Piece
        A stage for a flow.
    """
    return Piece(chain(_branches("Serial", stages)), _listed("Serial", stages))


def _branches(word: str, branches: tuple[Any, ...]) -> tuple[Node, ...]:
    if not branches:
        raise wrong((), f"{word}() is empty", "Put a stage into it, or leave it out.")
    return tuple(parse(branch, (f"{word} {i}",)) for i, branch in enumerate(branches, 1))


def _listed(word: str, branches: tuple[Any, ...], words: str = "") -> str:
    return f"{word}({', '.join(map(shown, branches))}{words})"


def As(n: int, fn: Any, /, *args: Any, **kwargs: Any) -> Piece:  # noqa: N802
    """Run at most `n` calls of a stage at once; a `Stage` lives in `n` workers of its own.

    Parameters
    ----------
    n : int
        How many.
    fn : callable, stage, or subclass of Stage
        What runs.
    *args, **kwargs : object
        Further arguments of a function, after the item, or those of the class.

    Returns
    -------
    Piece
        A stage for a flow.
    """
    n = whole_number("As", n, 1)
    written = f"As({n}, {shown(fn)})"
    if isinstance(fn, type) and issubclass(fn, Stage):
        return Piece(Living((), fn(*args, **kwargs), n, fn.__name__), written)
    fn = _with_arguments("As", fn, args, kwargs)
    if isinstance(fn, Stage):
        return Piece(Living((), fn, n, type(fn).__name__), written)
    return Piece(Limited((parse(fn, ("As",)),), n), written)


def By(n: int, fn: Any, /, *args: Any, **kwargs: Any) -> Piece:  # noqa: N802
    """Make `n` copies of each item, one for each copy of a stage.

    Parameters
    ----------
    n : int
        How many.
    fn : callable, stage, or subclass of Stage
        What runs.
    *args, **kwargs : object
        Further arguments of a function, after the item, or those of the class.

    Returns
    -------
    Piece
        A stage for a flow.
    """
    n = whole_number("By", n, 1)
    written = f"By({n}, {shown(fn)})"
    if isinstance(fn, type) and issubclass(fn, Stage):
        return Piece(
            Copies(tuple(Living((), fn(*args, **kwargs), 1, fn.__name__) for _ in range(n))), written
        )
    fn = _with_arguments("By", fn, args, kwargs)
    return Piece(Copies((parse(fn, ("By",)),) * n), written)


def _with_arguments(word: str, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Give a function its further arguments; what is a stage already has had them."""
    if not args and not kwargs:
        return fn
    if isinstance(fn, OfFlows) or not callable(fn):
        raise TypeError(
            f"{word}(n, fn, ...) gives further arguments to a function or a subclass of Stage; {shown(fn)} takes none"
        )
    return Map(fn, *args, **kwargs)


def Route(key: Callable[[Any], Any], branches: Mapping[Any, Any], default: Any = None) -> Piece:  # noqa: N802
    """Send each item to the branch of its key.

    Parameters
    ----------
    key : callable
        Gives the key of an item.  `To` leaves the choice to the stage before, which returns ``To(key, item)``.
    branches : mapping
        Stages by key.
    default : stage, optional
        For all other keys; without it such a key is an error of the item.

    Returns
    -------
    Piece
        A stage for a flow.
    """
    if not callable(key):
        raise TypeError(f"Route takes a function that gives a key, not {key!r:.60}")
    if not isinstance(branches, Mapping) or not branches:
        raise TypeError(f"Route takes a dict of branches by key, not {branches!r:.60}")
    parts = [parse(branch, (f"Route {name}",)) for name, branch in branches.items()]
    if default is not None:
        parts.append(parse(default, ("Route default",)))
    return Piece(Routes(tuple(parts), key, tuple(branches)), f"Route({text_of(key)}, ...)")


class Origin:
    """What a source of a flow iterates; one that can be iterated once only remembers that it was."""

    def __init__(self, make: Any, shown: str, *, is_live: bool = False) -> None:
        self.is_live = is_live
        self._make = make
        self._is_used = False
        self.shown = shown

    @property
    def items(self) -> Any:
        """What was given: an iterable, or what makes one."""
        return self._make

    def begin(self) -> Iterator[Any] | AsyncIterator[Any]:
        """Give an iterator for a run."""
        make = self._make
        if not isinstance(make, Iterable | AsyncIterable):
            made = make()
            return made.__aiter__() if isinstance(made, AsyncIterable) else iter(made)
        found = make.__aiter__() if isinstance(make, AsyncIterable) else iter(make)
        if found is make:
            is_generator = isinstance(make, GeneratorType | AsyncGeneratorType)
            if self._is_used or (is_generator and make in _BEGUN):
                raise RuntimeError(
                    f"{self.shown} can be iterated once only, and was, by an earlier run of a flow."
                    " Give Iter a list, or a function that makes the iterator."
                )
            self._is_used = True
            if is_generator:
                _BEGUN.add(make)
        return found


_BEGUN: WeakSet[Any] = WeakSet()
"""Generators that a run has begun, and ends: another one would get nothing, or what an unfinished one has left over."""


def Iter(items: Any, *, live: bool = False) -> Piece:  # noqa: N802
    """Take the items of an iterable.

    Parameters
    ----------
    items : iterable, async iterable, or callable
        A function without arguments makes one for each run.  What can be iterated once only is run once only.
    live : bool
        Whether a thread of its own advances it, so that outputs come while the source waits for the world.

    Returns
    -------
    Piece
        A source for a flow.
    """
    if not isinstance(items, Iterable | AsyncIterable) and not callable(items):
        raise TypeError(f"Iter takes an iterable, or a function that makes one, not {items!r:.60}")
    written = f"Iter({type(items).__name__})"
    return Piece(Source((), Origin(items, written, is_live=live)), written)


def Const(item: Any, limit: int | None = None) -> Piece:  # noqa: N802
    """Give the same item again and again.

    Parameters
    ----------
    item : object
        The item.
    limit : int, optional
        How often; without it, for ever.

    Returns
    -------
    Piece
        A source for a flow.
    """
    if limit is not None:
        limit = whole_number("Const(limit=...)", limit, 0)
    make = partial(repeat, item) if limit is None else partial(repeat, item, limit)
    written = f"Const({item!r:.40})" if limit is None else f"Const({item!r:.40}, limit={limit})"
    return Piece(Source((), Origin(make, written)), written)


def Read(path: Any, mode: str = "r") -> Piece:  # noqa: N802
    """Give the lines of a file, without their ends.

    Parameters
    ----------
    path : path-like
        The file, read anew by each run.
    mode : str
        ``"r"`` for text in UTF-8, ``"rb"`` for bytes.

    Returns
    -------
    Piece
        A source for a flow.
    """
    written = f"Read({path!r})"
    return Piece(Source((), Origin(partial(lines_of, path, mode), written)), written)


def lines_of(path: Any, mode: str) -> Iterator[Any]:
    """Yield the lines of a file."""
    end: Any = b"\n" if "b" in mode else "\n"
    with open(path, mode, encoding=None if "b" in mode else "utf-8") as file:
        for line in file:
            yield line.removesuffix(end)


__all__ = [
    "MAP",
    "As",
    "Batch",
    "Broadcast",
    "By",
    "Const",
    "Filter",
    "Iter",
    "Map",
    "Parallel",
    "Print",
    "Read",
    "Rebatch",
    "Route",
    "Seq",
    "Serial",
    "Stamp",
    "Tap",
    "To",
    "Unbatch",
    "Window",
    "Write",
    "Zip",
]
