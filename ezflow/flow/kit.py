"""The words of flows."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any

from ..graph.nodes import Node, chain, text_of
from .collect import Batches, InOrder, Prints, Rebatches, Taps, Windows, Writes
from .nodes import Collecting, Copies, Deal, Limited, Living, Plain, Routes, Rows, Source
from .parse import Piece, parse, shown, wrong
from .program import FILTER, MAP, UNBATCH, To
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


def _number(word: str, n: Any, least: int = 1) -> int:
    if not isinstance(n, int) or isinstance(n, bool):
        raise TypeError(f"{word} takes a whole number, not {n!r:.60}")
    if n < least:
        raise ValueError(f"{word} takes {least} or more, not {n}")
    return n


def Map(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Piece:  # noqa: N802  # words of the kit
    """Call ``fn(item, *args, **kwargs)``."""
    return Piece(Plain(fn=_bound("Map", fn, args, kwargs), name=text_of(fn)), f"Map({text_of(fn)})")


def Filter(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Piece:  # noqa: N802
    """Pass an item on if ``fn(item, *args, **kwargs)`` is true."""
    written = f"Filter({text_of(fn)})"
    return Piece(Plain((), FILTER, _bound("Filter", fn, args, kwargs), written), written)


def Unbatch() -> Piece:  # noqa: N802
    """Pass on the elements of each item."""
    return Piece(Plain((), UNBATCH, None, "Unbatch()"), "Unbatch()")


def Batch(n: int, max_wait: float | None = None) -> Piece:  # noqa: N802
    """Make lists of `n` items; after `max_wait` seconds a shorter one."""
    _number("Batch", n)
    if max_wait is not None and not max_wait > 0:
        raise ValueError(f"Batch(max_wait=...) takes more than 0 seconds, not {max_wait!r}")
    return _collecting(f"Batch({n})", Batches, n, max_wait=max_wait)


def Rebatch(n: int) -> Piece:  # noqa: N802
    """Make lists of `n` items out of lists of other lengths."""
    return _collecting(f"Rebatch({n})", Rebatches, _number("Rebatch", n))


def Window(n: int, step: int = 1) -> Piece:  # noqa: N802
    """Make lists of `n` neighbours, one for every `step` items; items at the end that no window holds make a last one."""
    return _collecting(f"Window({n}, {step})", Windows, _number("Window", n), _number("Window", step))


def Seq(*stages: Any) -> Piece:  # noqa: N802
    """Restore the order of the input behind the stages, where a flow is unordered."""
    node = _collecting("Seq()", InOrder).node
    if stages:
        node = chain((*(parse(stage, (f"Seq {i}",)) for i, stage in enumerate(stages, 1)), node))
    return Piece(node, f"Seq({', '.join(map(shown, stages))})")


def Tap(fn: Callable[[Any], object]) -> Piece:  # noqa: N802
    """Call a function with each item, in this process and in order; the item is passed on."""
    return _collecting(f"Tap({text_of(fn)})", Taps, _bound("Tap", fn, (), {}))


def Print(before: str | None = None) -> Piece:  # noqa: N802
    """Print each item, and pass it on."""
    return _collecting("Print()" if before is None else f"Print({before!r})", Prints, before)


def Stamp(before: str = "Processing item") -> Piece:  # noqa: N802
    """Print each item after a text, and pass it on."""
    return _collecting(f"Stamp({before!r})", Prints, before)


def Write(path: Any, mode: str = "w") -> Piece:  # noqa: N802
    """Write each item as a line of a file, and pass it on."""
    return _collecting(f"Write({path!r})", Writes, path, mode)


def _collecting(written: str, make: Any, *args: Any, max_wait: float | None = None) -> Piece:
    return Piece(Collecting((), make, args, written, max_wait), written)


def Zip(*branches: Any) -> Piece:  # noqa: N802
    """Copy each item to every branch, and join what they give to one tuple."""
    return Piece(Rows(_branches("Zip", branches)), _listed("Zip", branches))


def Broadcast(*branches: Any) -> Piece:  # noqa: N802
    """Copy each item to every branch, in the written order: what a set means."""
    return Piece(Copies(_branches("Broadcast", branches)), _listed("Broadcast", branches))


def Parallel(*branches: Any, weights: Iterable[int] = (), balance: str = "turn") -> Piece:  # noqa: N802
    """Deal items out to the branches in turn, what a tuple means, or to whichever is free."""
    weights = tuple(_number("Parallel(weights=...)", one) for one in weights)
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
    """Put stages one after the other: what a list means."""
    return Piece(chain(_branches("Serial", stages)), _listed("Serial", stages))


def _branches(word: str, branches: tuple[Any, ...]) -> tuple[Node, ...]:
    if not branches:
        raise wrong((), f"{word}() is empty", "Put a stage into it, or leave it out.")
    return tuple(parse(branch, (f"{word} {i}",)) for i, branch in enumerate(branches, 1))


def _listed(word: str, branches: tuple[Any, ...], words: str = "") -> str:
    return f"{word}({', '.join(map(shown, branches))}{words})"


def As(n: int, fn: Any, *args: Any, **kwargs: Any) -> Piece:  # noqa: N802
    """Run at most `n` calls of a stage at once; a `Stage` lives in `n` workers of its own."""
    _number("As", n)
    written = f"As({n}, {shown(fn)})"
    if isinstance(fn, type) and issubclass(fn, Stage):
        return Piece(Living((), fn(*args, **kwargs), n, fn.__name__), written)
    if isinstance(fn, Stage):
        return Piece(Living((), fn, n, type(fn).__name__), written)
    if args or kwargs:
        fn = Map(fn, *args, **kwargs)
    return Piece(Limited((parse(fn, ("As",)),), n), written)


def By(n: int, fn: Any, *args: Any, **kwargs: Any) -> Piece:  # noqa: N802
    """Make `n` copies of each item, one for each copy of a stage."""
    _number("By", n)
    written = f"By({n}, {shown(fn)})"
    if isinstance(fn, type) and issubclass(fn, Stage):
        return Piece(
            Copies(tuple(Living((), fn(*args, **kwargs), 1, fn.__name__) for _ in range(n))), written
        )
    if args or kwargs:
        fn = Map(fn, *args, **kwargs)
    return Piece(Copies((parse(fn, ("By",)),) * n), written)


def Route(key: Callable[[Any], Any], branches: Mapping[Any, Any], default: Any = None) -> Piece:  # noqa: N802
    """Send each item to the branch of its key; a key without a branch is an error, unless there is a default.

    The key `To` leaves the choice to the stage before, which returns ``To(key, item)``.
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
        if isinstance(make, AsyncIterable):
            return make.__aiter__()
        if not isinstance(make, Iterable):
            made = make()
            return made.__aiter__() if isinstance(made, AsyncIterable) else iter(made)
        found = iter(make)
        if found is make:
            if self._is_used:
                raise RuntimeError(
                    f"{self.shown} can be iterated once only, and was, by an earlier run of the flow."
                    " Give Iter a list, or a function that makes the iterator."
                )
            self._is_used = True
        return found


def Iter(items: Any, *, live: bool = False) -> Piece:  # noqa: N802
    """Take the items of an iterable, or of one that a function without arguments makes for each run.

    With `live` a thread of its own advances it, so that outputs come while the source waits for the world.
    """
    if not isinstance(items, Iterable | AsyncIterable) and not callable(items):
        raise TypeError(f"Iter takes an iterable, or a function that makes one, not {items!r:.60}")
    written = f"Iter({type(items).__name__})"
    return Piece(Source((), Origin(items, written, is_live=live)), written)


def Const(item: Any, limit: int | None = None) -> Piece:  # noqa: N802
    """Give the same item again and again, `limit` times if that is given."""
    if limit is not None:
        _number("Const(limit=...)", limit, 0)
    make = partial(repeat, item) if limit is None else partial(repeat, item, limit)
    written = f"Const({item!r:.40})"
    return Piece(Source((), Origin(make, written)), written)


def Read(path: Any, mode: str = "r") -> Piece:  # noqa: N802
    """Give the lines of a file, without their ends."""
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
