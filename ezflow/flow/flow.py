"""What users hold: a flow, the iterator over its outputs, and the record of a run."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterable, Iterable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

from ..graph.nodes import OfFlows
from ..options import whole_number
from .counting import NOTHING_YET
from .items import Failure
from .kit import Origin
from .parse import chain_of, shown
from .piece import check_on
from .plan import source_of
from .run import Run, result_of
from .shown import VIEWS, Shown
from .words import HOOKS, Words, side_roots, written

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from typing import Self

    from ..future import Future
    from ..graph.nodes import Node
    from .counting import FlowStatistics
    from .journal import Journal
    from .run import Listener


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run.

    Attributes
    ----------
    n_in, n_out, n_failed : int
        Items of the source, outputs, and items that failed.
    n_dropped : int
        Items that a stage gave nothing for, because it said so.
    seconds : float
        How long it took.
    failures : list of Failure
        The items that failed, each with its error: a dead-letter list.
    statistics : FlowStatistics
        Counts and times of each stage; printed, a table.
    n_skipped : int
        Inputs that an earlier run with the same journal had done; none of the other counts has them.
    """

    n_in: int
    n_out: int
    n_failed: int
    n_dropped: int
    seconds: float
    failures: list[Failure] = field(default_factory=list, repr=False)
    statistics: FlowStatistics = field(default=NOTHING_YET, repr=False)
    n_skipped: int = 0


class Flow(Words, Shown, OfFlows):
    """A pipeline: items stream through stages on a pool, in order and in bounded memory.

    Parameters
    ----------
    *stages : callable, list, tuple, set, Graph, Stage, Flow, or a word of the kit
        One after the other.  A tuple deals items out to its branches in turn, a set copies each item to all of them.
    ordered : bool
        Whether outputs come in the order of the input; False is the word `unordered`.

    Notes
    -----
    Immutable: each word gives a new flow.  Every iteration is a run of its own.

    Examples
    --------
    >>> from ezflow.flow.kit import Batch, Iter
    >>> list(Flow(Iter([1, 2, 3]), str, Batch(2)).on("inline"))
    [['1', '2'], ['3']]
    """

    __slots__ = ("_flow_root", "_settings", "_stages")

    _flow_root: Node
    _stages: tuple[Any, ...]
    _settings: dict[str, Any]

    def __init__(self, *stages: Any, ordered: bool = True) -> None:
        put = object.__setattr__
        put(self, "_stages", stages)
        put(self, "_flow_root", chain_of(stages))
        put(self, "_settings", {} if ordered else {"ordered": False})

    def _with(self, **settings: Any) -> Self:
        made = type(self).__new__(type(self))
        put = object.__setattr__
        put(made, "_stages", self._stages)
        put(made, "_flow_root", self._flow_root)
        put(made, "_settings", {**self._settings, **settings})
        return made

    # ---------------------------------------------------------------- words

    def on(self, executor: Any) -> Self:
        """Say where stages run that do not say it themselves: a pool, another executor, or a word.

        Parameters
        ----------
        executor : Executor or str
            ``"process"``, ``"thread"``, ``"async"``, or ``"inline"``, which overrules what stages say.

        Returns
        -------
        Flow
            A copy; this one stays as it is.
        """
        check_on(executor)
        return self._with(on=executor)

    def results(self) -> Self:
        """Give a `Result` for each output, and one with the error for each item that failed, instead of stopping.

        Returns
        -------
        Flow
            A copy; this one stays as it is.
        """
        return self._with(results=True)

    def catch(self, handler: Callable[[Any], Any]) -> Self:
        """Say what takes the place of an item that failed: what the handler makes of the error; `DROP` drops it.

        Parameters
        ----------
        handler : callable
            Takes the error.  Runs where the stage runs; of a worker that died, here.

        Returns
        -------
        Flow
            A copy; this one stays as it is.
        """
        if not callable(handler):
            raise TypeError(f"catch takes a function of the error, not {handler!r:.60}")
        return self._with(handler=handler)

    def unordered(self) -> Self:
        """Give outputs as they come.

        Returns
        -------
        Flow
            A copy; this one stays as it is.
        """
        return self._with(ordered=False)

    def max_pending(self, n: int) -> Self:
        """Let at most `n` items of the source be on their way.

        Parameters
        ----------
        n : int
            At least 1.

        Returns
        -------
        Flow
            A copy; this one stays as it is.

        Raises
        ------
        TypeError, ValueError
            If `n` is no whole number, or less than 1.
        """
        return self._with(max_pending=whole_number("max_pending", n, 1))

    # ---------------------------------------------------------------- running

    def _begin(self, source: Any, *, has_source: bool, journal: Journal | None = None) -> Run:
        origin, rest = source_of(self._flow_root)
        if has_source and origin is not None:
            raise TypeError(
                f"this flow has a source of its own, {origin.shown}: iterate it, or leave the source out"
            )
        if not has_source and origin is None:
            raise TypeError("this flow has no source: give it to stream or run, or put Iter(...) first")
        if has_source and not isinstance(source, Iterable | AsyncIterable):
            raise TypeError(f"a source is an iterable, not {source!r:.60}")
        items = origin.begin() if origin is not None else Origin(source, "the source").begin()
        if journal is not None:
            if isinstance(items, AsyncIterable):
                raise TypeError(
                    "a run with a journal takes a source that is iterated with for, not async for"
                )
            items = journal.remaining(items)
        settings = dict(self._settings)
        views = {name: settings.pop(name) for name in VIEWS if name in settings}
        on = settings.pop("on", None)
        if settings.pop("results", False):
            settings["keep"] = True
        hooks = {name: settings.pop(name) for name in HOOKS if name in settings}
        sides = side_roots(settings)
        is_live = origin is not None and origin.is_live
        run = Run(
            rest, items, on, settings, 1 if origin is None else 2, is_live=is_live, sides=sides, hooks=hooks
        )
        if journal is not None:
            run.machine.spans_of = journal.spans_of
        n_skipped = 0 if journal is None else journal.n_done
        return self._see(run, views, source if origin is None else origin.items, n_skipped)

    def __iter__(self) -> FlowStream:
        return FlowStream(self._begin(None, has_source=False), enveloped="results" in self._settings)

    def __aiter__(self) -> FlowStream:
        return self.__iter__()

    def stream(self, source: Any) -> FlowStream:
        """Give an iterator over the outputs for a source: for ``for`` and ``async for``.

        Parameters
        ----------
        source : iterable or async iterable
            Gives the items; advanced only as far as the bounds of the flow allow.

        Returns
        -------
        FlowStream
            Closing or dropping it stops the run.
        """
        return FlowStream(self._begin(source, has_source=True), enveloped="results" in self._settings)

    def run(self, source: Any = None, *, journal: str | os.PathLike[str] | None = None) -> Outcome:
        """Run to the end, keep no outputs, and tell what became of the items.

        Parameters
        ----------
        source : iterable, optional
            What to run over, if the flow has no source of its own.
        journal : path-like, optional
            A file in which is written which inputs are done.  A later run with the same journal, flow and source skips
            those, however the earlier one ended.

        Returns
        -------
        Outcome
            Counts, failures and times; of this run only.

        Raises
        ------
        JournalError
            If the journal is of another flow or source, damaged, or in use.

        Notes
        -----
        Each input runs at least once: one that was done and not yet noted, or under way, when a run was killed runs once
        more.  An input is done when all that came of it has left the flow, and what was emitted for it its side stream;
        one whose failure was kept by `results`, or handled by `catch`, is done, too.
        """
        return self._run(source, journal)

    def _run(self, source: Any, journal: Any, begun: Callable[[Run], object] | None = None) -> Outcome:
        """Run to the end; tell `begun` of the run."""
        from .journal import opened

        sides = self._settings.get("xcut", ())
        text = ", ".join(map(shown, self._stages)) + (written("xcut", sides) if sides else "")
        roots = [self._flow_root, *side_roots({"xcut": sides}).values()]
        with opened(journal, roots, text) as book:
            n_skipped = 0 if book is None else book.n_done
            run = self._begin(source, has_source=source is not None, journal=book)
            if begun is not None:
                begun(run)
            return _consumed(run, book, n_skipped)

    def submit(self, source: Any = None, *, journal: str | os.PathLike[str] | None = None) -> Future[Outcome]:
        """Run in a thread of its own; give the future of the outcome.

        Parameters
        ----------
        source : iterable, optional
            What to run over, if the flow has no source of its own.
        journal : path-like, optional
            As for `run`.

        Returns
        -------
        Future
            Of the outcome; cancelling it stops the run, as soon as the source lets it.
        """
        from threading import Thread

        from .._sealed import SealedError
        from ..graph.handles import Value
        from .running import RunFuture

        future: RunFuture[Outcome] = RunFuture()

        def begun(run: Run) -> None:
            future.add_done_callback(partial(_stop_cancelled, run.listener))

        def work() -> None:
            try:
                outcome = self._run(source, journal, begun)
            except BaseException as error:
                future._deliver(SealedError(error))
            else:
                future._deliver(Value(outcome))

        Thread(target=work, name="ezflow-flow", daemon=True).start()
        return future

    # ---------------------------------------------------------------- a value among others

    def __repr__(self) -> str:
        """Show the literal shape."""
        words = "".join(written(name, given) for name, given in self._settings.items())
        return f"Flow({', '.join(map(shown, self._stages))}){words}"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a flow cannot be changed, so {name!r} cannot be set; words give another one")

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._stages, self._settings)


def _consumed(run: Run, book: Journal | None, n_skipped: int) -> Outcome:
    """Move a run to its end, keep no outputs, and tell what became of the items."""
    failures: list[Failure] = []
    machine = run.machine
    keep = machine.settings.keep
    try:
        while (items := run.take()) is not None:
            if book is not None:
                book.note(run.machines)
            if keep:
                failures += [item for item in items if type(item) is Failure]
            run.advance_ahead()
    finally:
        try:
            if book is not None:
                book.note(run.machines)
        finally:
            run.close()
    n_dropped = sum(work.n_dropped for work in machine.works)
    n_out = machine.n_out - len(failures)
    seconds = perf_counter() - run.began
    found = run.ledger.statistics()
    return Outcome(machine.n_source, n_out, len(failures), n_dropped, seconds, failures, found, n_skipped)


def _stop_cancelled(listener: Listener, future: Future[Outcome]) -> None:
    if future.cancelled():
        listener.stop()


def _unstopped(error: Exception) -> RuntimeError:
    """Give what is raised for an error that would end the consumer's loop as if all were well, as generators do."""
    made = RuntimeError(f"a flow raised {type(error).__name__}")
    for note in getattr(error, "__notes__", ()):
        made.add_note(note)
    return made


def _again(stages: tuple[Any, ...], settings: dict[str, Any]) -> Flow:
    return Flow(*stages)._with(**settings)


class FlowStream:
    """The outputs of a run; iterate with ``for`` or ``async for``.  Closing or dropping it stops the run.

    Parameters
    ----------
    run : Run
        The run.
    enveloped : bool
        Whether to give `Result` envelopes.
    """

    def __init__(self, run: Any, *, enveloped: bool) -> None:  # that is no public type
        self._run = run
        self._inbox = run.listener.inbox
        self._items: Iterator[Any] = iter(())
        self._enveloped = enveloped
        self._is_closed = False
        self._close = weakref.finalize(self, run.close)
        self._close.atexit = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        while True:
            try:
                if self._inbox:
                    self._run.advance_ahead()
                for item in self._items:
                    return result_of(item) if self._enveloped else item
                found = self._run.take()
            except BaseException as error:
                self._items = iter(())  # behind an error comes nothing
                if self._is_closed and isinstance(error, CancelledError):
                    raise StopIteration from None  # by another thread
                if isinstance(error, StopIteration):
                    raise _unstopped(error) from error
                raise
            if found is None:
                self._close.detach()
                raise StopIteration
            self._items = iter(found)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while True:
            for item in self._items:
                return result_of(item) if self._enveloped else item
            try:
                found = await self._run.take_async()
            except (StopIteration, StopAsyncIteration) as error:
                raise _unstopped(error) from error
            if found is None:
                self._close.detach()
                raise StopAsyncIteration
            self._items = iter(found)

    def statistics(self) -> FlowStatistics:
        """Give what the run has done so far.

        Returns
        -------
        FlowStatistics
            Counts and times of each stage; printed, a table.
        """
        found: FlowStatistics = self._run.ledger.statistics()
        return found

    def close(self) -> None:
        """Stop the run: the calls under way, the source, workers of its own.

        While another thread waits for an output, that thread does it, as soon as the source lets it, and gets no more.
        """
        self._is_closed = True
        self._items = iter(())
        if not self._run.stop_elsewhere():
            self._close()

    async def aclose(self) -> None:
        """Stop the run, and wait until an async source is closed."""
        self.close()
        closing = self._run.closing
        if closing is not None:
            await closing

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
