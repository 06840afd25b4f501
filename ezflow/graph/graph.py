"""What users hold: a graph that can be called, submitted, mapped, changed by words, and put into another graph."""

from __future__ import annotations

import os
from functools import partial
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from .. import errors
from .._call import Call as CallRecord
from .._mapping import async_results, check_sizes, check_words, closing, open_bar, results
from .._plan import Plan as CallPlan
from .._plan import unpack
from ..modifiers import HowItRuns, Method, WhatGoesIn
from ..options import NOTHING, Options
from . import lanes
from .check import check
from .drawn import Drawn
from .future import GraphFuture
from .handles import Value
from .nodes import Call, Chain, Node, Stage, Whole, flatten, text, unflatten, words_of
from .run import plan_of
from .whole import start_graph

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator
    from concurrent.futures import Executor
    from typing import Self

    from typing_extensions import ParamSpec

    from .._amap import AsyncMap
    from .._map import Slot
    from .._progress import Meter
    from ..future import Future
    from ..result import Result
    from .check import Flow
    from .picture import Picture
    from .plan import Step
    from .run import Lane, Run
    from .whole import Attempts

    P = ParamSpec("P")
else:
    P = TypeVar("P")

R = TypeVar("R")

_OF_A_RUN = ("timeout", "within", "retry", "star")
"""Options of a graph of several stages that mean a whole run of it."""

_WORDS = ("process", "thread", "inline")

_RESCUES = ("otherwise", "catch")

_NOT_OF_GRAPHS = {
    "stream": "it has one result",
    "sealed": "its result is opened where it ends",
}
"""Words that only a call of a pool can keep, and why."""

_UNKNOWN: Any = object()

_READ_AHEAD = 16
"""Runs that `map.asynced` starts ahead of what is read if its inputs are asynchronous and may not end."""


class Graph(HowItRuns, WhatGoesIn, Drawn, Stage, Generic[P, R]):
    """One call in, one result out, and a graph of calls in between; made by `EZ`.

    Immutable: every word gives a new graph.  It can be called, submitted, mapped, pickled, compared, and put into other
    graphs.

    Parameters
    ----------
    root : Node
        What the literals were parsed to.
    options : Options
        What was hung on it.
    already : Graph, optional
        One of the same parts that was checked.

    Notes
    -----
    Calling it blocks; an error, or Ctrl-C, cancels what else is running of it.  It runs on the executor given by `on`,
    by default on one pool for all graphs, made on first use; inside a worker in that worker itself.
    """

    __slots__ = ("__weakref__", "_lane_here", "_leaves", "_options", "_plans", "_root", "_twin", "_way")

    _root: Node
    _options: Options
    _plans: dict[Any, Any]
    _lane_here: tuple[int, Lane] | None
    _leaves: Flow
    _way: tuple[Node, Options | None] | None
    _twin: Any
    """How `Serial`, `Parallel`, `Broadcast`, or `Zip` was written, for flows."""

    def __init__(
        self, root: Node, options: Options = NOTHING, *, already: Graph[..., Any] | None = None
    ) -> None:
        if isinstance(root, Call) and root.options is not options:
            if len(options):
                root = Call((), root.fn, options, root.mode)
            else:
                options = root.options
        put = object.__setattr__
        put(self, "_root", root)
        put(self, "_options", options)
        put(self, "_plans", {})
        put(self, "_lane_here", None)
        put(self, "_way", None)
        put(self, "_twin", None)
        if already is None:
            leaves = check(root)
        elif already._root is root:
            leaves = already._leaves
        else:
            n_checked = len(already._root.parts) if isinstance(already._root, Chain) else 1
            leaves = check(root, n_checked, already._leaves)
        put(self, "_leaves", leaves)
        if "on" in options or already is None:
            lanes.check_kept(self._steps(), options.without(*_RESCUES), options.get("on"))

    # ---------------------------------------------------------------- words

    if TYPE_CHECKING:  # what type checkers see of the words

        def results(self) -> Graph[P, Result[R]]:
            """Give a `Result`, where an error would be raised."""
            raise NotImplementedError

        def star(self) -> Graph[[Any], R]:
            """Unpack the one argument of the call: a tuple or list, or a mapping."""
            raise NotImplementedError

        @property
        def submit(self) -> Submit[P, R]:
            """Start a run; give its future."""
            raise NotImplementedError

        @property
        def map(self) -> Map[R]:
            """Run it for each element of the iterables; yield the results in order."""
            raise NotImplementedError

    def _having(self, name: str, value: Any) -> Self:
        return self._with(self._options.having(name, value))

    def _giving(self, name: str, value: Any = True) -> Any:
        if name in _NOT_OF_GRAPHS:
            raise errors.misplaced_option(name, "a graph", _NOT_OF_GRAPHS[name])
        return self._having(name, value)

    def _check_words(self) -> None:
        """Complain about words that a task may bring to a pool, but that mean nothing where it runs as a graph."""
        for name, reason in _NOT_OF_GRAPHS.items():
            if self._options.get(name):
                raise errors.misplaced_option(name, "a graph", f"{reason}; submit the task to a pool")

    def _with(self, options: Options) -> Self:
        """Give this graph with other options."""
        made = type(self).__new__(type(self))
        Graph.__init__(made, self._root, options, already=None if isinstance(self._root, Call) else self)
        if "on" not in options:
            lanes.check_kept(made._steps(), options, None)
        return made

    def _view(self, nearest: Options | None = None) -> Self:
        """Give this graph with options from between a method's name and its parentheses."""
        return self._with(self._options.under(nearest))

    def on(self, executor: Executor | str | Any) -> Self:
        """Say where it runs.

        Parameters
        ----------
        executor : Executor or str
            Any `concurrent.futures.Executor`, or a view of a pool, whose limits and retries then hold for every stage;
            ``"process"``, the default pool; ``"thread"``, default threads; or ``"inline"``: plain calls in this thread,
            limits off, for a debugger, whatever the stages say of themselves.  A task that is a stage of a `Flow` may run
            on ``"async"``, too.

        Returns
        -------
        same kind
            A copy with this option.

        Raises
        ------
        GraphError
            If the executor cannot keep an option, such as a limit in threads.
        """
        words = ("process", "thread", "inline", "async") if isinstance(self._root, Call) else _WORDS
        if not isinstance(executor, str) or executor not in words:
            lanes.lane_of(executor)
        return self._having("on", executor)

    def otherwise(self, value: object) -> Self:
        """Say what stands for the result if it fails.

        Parameters
        ----------
        value : object
            The result then, also if a handler given to `catch` fails; cancelling is no failure.

        Returns
        -------
        same kind
            A copy with this option.
        """
        return self._having("otherwise", value)

    def catch(self, handler: Callable[[Any], Any]) -> Self:
        """Say what makes the result if it fails.

        Parameters
        ----------
        handler : callable
            Takes the error; runs where the stage runs.  What it returns is the result, what it raises the error.

        Returns
        -------
        same kind
            A copy with this option.
        """
        if not callable(handler):
            raise TypeError(f"catch takes a function of the error, not {handler!r}")
        return self._having("catch", handler)

    # ---------------------------------------------------------------- calls

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it and give its result.

        Parameters
        ----------
        *args, **kwargs
            The call of its first stage.

        Returns
        -------
        object
            The result of its last stage.

        Raises
        ------
        BaseException
            What the first stage to fail raised, with a note that names the stage.
        """
        options = self._options
        if options.get("background") or options.get("asynced"):
            return self._submit(*args, **kwargs)  # type: ignore[no-any-return]  # see `_typed_graph`
        future = self._start(args, kwargs, keep=False)
        try:
            return future.result()  # type: ignore[no-any-return]
        except BaseException:
            future._cancel_rest()
            raise

    def _submit(self, /, *args: Any, **kwargs: Any) -> Any:
        """Start a run.

        Parameters
        ----------
        *args, **kwargs
            The call of its first stage.

        Returns
        -------
        GraphFuture
            The pending result, and the parts of the run.
        """
        if self._options.get("asynced"):
            return self._asynced(args, kwargs)
        return self._start(args, kwargs, keep=True)

    async def _asynced(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return await self._start(args, kwargs, keep=False)

    def _start(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        keep: bool,
        deadline: float | None = None,
        index: int | None = None,
        meter: Meter | None = None,
    ) -> GraphFuture[Any]:
        """Start a run; give its future."""
        lane = self._lane()
        step = None
        if type(lane) is lanes.PoolLane:
            step = self._only_step(lane, len(args), tuple(kwargs))
        future: GraphFuture[Any] = GraphFuture(self, lane.desk() if step is None else None)
        if "results" in self._options:
            future._is_enveloped = bool(self._options.get("results"))
            future._index = index
        if meter is None and index is None and "progress" in self._options:
            meter = self._bar(1)
        if meter is None:
            self._begin(future, lane, step, args, kwargs, keep, deadline, index)
            return future
        future._meter = meter
        with closing(meter):
            self._begin(future, lane, step, args, kwargs, keep, deadline, index)
            return future

    def _begin(
        self,
        future: GraphFuture[Any],
        lane: Any,
        step: Step | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        keep: bool,
        deadline: float | None,
        index: int | None,
    ) -> None:
        """Begin what a future is of: the only call of a graph, whose future that of the graph is, or a run."""
        if step is not None:
            future._step = step
            lane.post(future, step, args, kwargs, deadline, 0 if index is None else index + 1)
        else:
            future._run = self._run(lane, future, args, kwargs, keep=keep, deadline=deadline)

    def _only_step(self, lane: lanes.PoolLane, n_args: int, keywords: tuple[str, ...]) -> Step | None:
        """Give the step of a graph that is one call, and nothing else."""
        key = n_args, keywords, lane.fuses
        found = self._plans.get(key, _UNKNOWN)
        if found is _UNKNOWN:
            root, options = self._find_way()
            found = None
            if options is None:
                plan = plan_of(self._plans, root, n_args, keywords, fuse=lane.fuses)
                found = plan.only_step()
            self._plans[key] = found
        return found  # type: ignore[no-any-return]

    def _run(
        self,
        lane: Lane,
        sink: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        keep: bool,
        deadline: float | None = None,
    ) -> Run | Attempts:
        """Start a run whose end goes to `sink`."""
        way = self._way
        if way is None:
            way = self._find_way()
            object.__setattr__(self, "_way", way)
        root, options = way
        return start_graph(
            root,
            self._plans,
            options,
            lane,
            sink,
            [Value(arg) for arg in args],
            {name: Value(value) for name, value in kwargs.items()},
            keep=keep,
            deadline=deadline,
        )

    def _find_way(self) -> tuple[Node, Options | None]:
        """Give what a run does, and the options that mean all of it."""
        self._check_words()
        root = self._root
        if isinstance(root, Call):
            return self._steps(), None
        if any(word in self._options for word in _RESCUES):
            return Whole((root,), self._options.without("on", "results", "named", "background")), None
        return root, self._options if any(word in self._options for word in _OF_A_RUN) else None

    def _steps(self) -> Node:
        """Give what runs: of one stage, the stage without words that say what comes out."""
        root = self._root
        if isinstance(root, Call) and len(root.options):
            star = root.options.get("star")
            options = root.options.without(
                *Options.WHAT_GOES_IN, "progress", "on"
            )  # `_lane` sees to the last
            return Call((), root.fn, options.having("star", True) if star else options, root.mode)
        return root

    def _lane(self) -> Lane:
        """Give where it runs."""
        found = self._lane_here
        on = self._options.get("on")
        if found is not None and found[0] == os.getpid() and on is not None and not isinstance(on, str):
            return found[1]
        lane = lanes.lane_of(on)
        object.__setattr__(self, "_lane_here", (os.getpid(), lane))
        return lane

    def _bar(self, inputs: Any) -> Meter | None:
        """Open a bar if one is wanted and there is a place to draw it."""
        label = self._options.get("named") or text(self._root, 8)
        return open_bar(self._options.get("progress"), label, inputs)

    if not TYPE_CHECKING:
        submit = Method(_submit)

    def _map(
        self,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> Any:
        """Run it for each element of the iterables; yield the results in order.

        Parameters
        ----------
        *iterables : iterable
            It takes as many arguments as there are iterables; ends with the shortest.
        timeout : float, optional
            Seconds from now within which each result must be there when it is asked for.
        chunksize : int
            Has no effect; small calls travel together anyway.
        buffersize : int, optional
            Runs started and not yet yielded; the inputs are read no further ahead.
        **keywords
            Keyword arguments of every call, after ``star()``.

        Returns
        -------
        iterator
            Results in the order of the inputs.
        """
        self._check_words()
        check_sizes(chunksize, buffersize)
        plan = CallPlan.of(self._options.without(*Options.OF_GRAPHS))
        check_words(plan, len(iterables), keywords, timeout)
        graph = self._with(self._options.without("star")) if plan.star else self
        deadline, bar = plan.deadline(), partial(self._bar, iterables)
        if plan.asynced:
            numbers = count()

            def submit_one(args: tuple[Any, ...], meter: Meter | None = None) -> GraphFuture[Any]:
                args, kwargs = unpack(args, keywords) if plan.star else (args, {})
                return graph._start(
                    args, kwargs, keep=False, deadline=deadline, index=next(numbers), meter=meter
                )

            return async_results(plan, submit_one, iterables, buffersize, _READ_AHEAD, bar)
        end = None if timeout is None else timeout + monotonic()
        lane = graph._lane()
        step = None
        if type(lane) is lanes.PoolLane and not plan.star:
            step = graph._only_step(lane, len(iterables), ())
        inputs: Iterator[tuple[Any, ...]] = zip(*iterables, strict=False)

        def submit_next(slot: Slot) -> bool:
            for args in inputs:
                if step is not None:
                    lane.post(slot, step, args, {}, deadline, slot.index + 1)  # type: ignore[attr-defined]  # see above
                    return True
                sink = _Whole(slot)
                args, kwargs = unpack(args, keywords) if plan.star else (args, {})
                run = graph._run(lane, sink, args, kwargs, keep=False, deadline=deadline)
                if not slot.done:
                    slot.call = run  # type: ignore[assignment]  # what can be cancelled
                return True
            return False

        desk = lane.desk()
        cancel_waiting, stop = partial(_cancel_waiting, desk), partial(_stop, desk)
        return results(
            plan, submit_next, cancel_waiting, stop, desk, desk.check_waiting, end, buffersize, bar
        )

    if not TYPE_CHECKING:
        map = Method(_map)

    # ---------------------------------------------------------------- looking at it

    def replace(self, name: str, stage: object) -> Graph[..., Any]:
        """Give a graph with another stage in the place of one.

        Parameters
        ----------
        name : str
            Its name, if it is the only one of that name, or its path, such as ``"2/mean"``.
        stage : callable, literal or graph
            What takes its place.

        Returns
        -------
        Graph
            The other graph; this one stays as it is.

        Raises
        ------
        KeyError
            If there is no such stage, or there are several.
        """
        from .replace import replaced

        return Graph(
            replaced(self._root, name, stage), NOTHING if isinstance(self._root, Call) else self._options
        )

    def picture(self) -> Picture:
        """Draw it.

        Returns
        -------
        Picture
            Shown by a notebook as a drawing, printed as text.
        """
        from .picture import picture_of

        return picture_of(self._root)

    # ---------------------------------------------------------------- a value among others

    def _node(self) -> Node:
        if isinstance(self._root, Call) or not len(self._options):
            return self._root
        return Whole((self._root,), self._options)

    @property
    def __signature__(self) -> Any:
        """Parameters of the call that it takes, as far as its first stage tells."""
        from inspect import Parameter, Signature, signature

        first = self._root.parts[0] if isinstance(self._root, Chain) else self._root
        if isinstance(first, Call) and not first.mode and not first.options.get("star"):
            return signature(first.fn)
        anything = [Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)]
        return Signature(anything)

    def __repr__(self) -> str:
        """Show the literal shape."""
        shown = text(self._root)
        if isinstance(self._root, Chain):
            shown = shown[1:-1]
        words = "" if isinstance(self._root, Call) else words_of(self._options)
        return f"EZ({shown}){words}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Graph):
            return NotImplemented
        return self is other or (
            self._options == other._options and flatten(self._root) == flatten(other._root)
        )

    def __hash__(self) -> int:
        return hash((flatten(self._root), self._options))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(
            f"a graph cannot be changed, so {name!r} cannot be set; words and replace() give another one"
        )

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a graph cannot be changed, so {name!r} cannot be deleted")

    def __reduce__(self) -> str | tuple[Any, ...]:
        if self._twin is not None:
            return self._twin.again  # type: ignore[no-any-return]  # flows know what it is
        return _again, (flatten(self._root), self._options)


def _again(flat: tuple[Any, ...], options: Options) -> Graph[..., Any]:
    """Make a graph that was pickled."""
    return Graph(unflatten(flat), options)


class Submit(HowItRuns, Generic[P, R]):
    """`submit` of a graph, as type checkers see it."""

    __slots__ = ()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> GraphFuture[R]:
        """Start a run."""
        raise NotImplementedError

    def results(self) -> Submit[P, Result[R]]:
        """Give a `Result`, where an error would be raised."""
        raise NotImplementedError

    def star(self) -> Submit[[Any], R]:
        """Unpack the one argument of the call."""
        raise NotImplementedError

    def background(self) -> Submit[P, R]:
        """Give the future at once, which is what `submit` does."""
        raise NotImplementedError

    def asynced(self) -> Callable[P, Coroutine[Any, Any, R]]:
        """Give a coroutine."""
        raise NotImplementedError


class Map(HowItRuns, Generic[R]):
    """`map` of a graph, as type checkers see it."""

    __slots__ = ()

    def __call__(
        self,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> Iterator[R]:
        """Run it for each element."""
        raise NotImplementedError

    def results(self) -> Map[Result[R]]:
        """Give a `Result` for each element."""
        raise NotImplementedError

    def star(self) -> Map[R]:
        """Unpack each element."""
        raise NotImplementedError

    def unordered(self) -> Map[R]:
        """Give results as they finish."""
        raise NotImplementedError

    def background(self) -> Callable[..., Future[list[R]]]:
        """Give a future of the list at once."""
        raise NotImplementedError

    def asynced(self) -> Callable[..., AsyncMap[R]]:
        """Give a coroutine of the list that is an async iterator, too."""
        raise NotImplementedError


class _Whole:
    """Passes the end of a run on to a slot of a `map`."""

    __slots__ = ("_slot",)

    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    def _deliver(self, sealed: Any) -> None:
        self._slot._deliver(sealed)

    def _drop(self) -> None:
        self._slot._drop()


def _cancel_waiting(desk: Any, runs: list[Any]) -> None:
    """Cancel what has not started: runs, or calls of graphs that are one call."""
    calls = [one for one in runs if isinstance(one, CallRecord)]
    if calls:
        desk.cancel_waiting(calls)
    for run in runs:
        if not isinstance(run, CallRecord):
            run.cancel(waiting_only=True)


def _stop(desk: Any, run: Any) -> None:
    """Cancel one, even if it runs."""
    if isinstance(run, CallRecord):
        desk.stop(run)
    else:
        run.cancel()
