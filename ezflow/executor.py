"""The drop-in executor."""

from __future__ import annotations

import concurrent.futures
import copyreg
import multiprocessing
import operator
import os
import pickle
import signal
import sys
import threading
import weakref
from contextvars import copy_context
from functools import partial
from itertools import count, islice
from time import monotonic
from types import CoroutineType, FunctionType

from . import _through, errors
from ._call import Call, label_of, run_chunk
from ._context import travelling
from ._cpus import thread_caps, usable_cpus
from ._engine import exit as engine_exit
from ._engine import worker
from ._engine.child import Starter
from ._engine.engine import Engine
from ._engine.machine import Machine
from ._engine.outlet import Levels, new_mark
from ._hints import Any, TypeVar, cast
from ._map import Slot
from ._mapping import async_results, check_sizes, check_words, closing, entered, open_bar, results
from ._notebook import is_notebook
from ._plan import Plan, unpack
from ._sealed import SealedError
from ._task import Carrier
from ._wire.codec import Codec
from .future import Future
from .modifiers import ExecutorWords, Method, map_method, submit_method
from .options import NOTHING, Options

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from contextvars import Context
    from multiprocessing.context import BaseContext
    from typing import Self

    from typing_extensions import ParamSpec

    from ._amap import AsyncMap
    from ._memory.cargo import Part
    from ._progress import Meter
    from ._stream import Inbox, ItemStream
    from ._wire.codec import Definition
    from .graph.run import Leg, Run
    from .statistics import Statistics

    P = ParamSpec("P")

T = TypeVar("T")

_PRELOADED = (
    "ezflow._engine.worker",
    "ezflow._memory.borrowing",
    "ezflow._tracebacks",
    "ezflow._wire.workspace",
)
"""What workers need sooner or later, and this process perhaps never."""

_numbers = count()
_NO_KEYWORDS: dict[str, Any] = {}


class ProcessPoolExecutor(ExecutorWords, concurrent.futures.ProcessPoolExecutor):
    """Run calls in a pool of worker processes.

    A drop-in subclass of `concurrent.futures.ProcessPoolExecutor` on an engine
    of its own.  Functions and classes of ``__main__``, lambdas and closures
    travel by value, no ``if __name__ == "__main__"`` is needed, a worker that
    dies fails only the call it was running, and cancelling stops running work.

    Parameters
    ----------
    max_workers : int, optional
        Processes that work at the same time; by default the CPUs this process
        may use (affinity, cgroup quota, ``PYTHON_CPU_COUNT``).  Started on demand.
    mp_context : multiprocessing context, optional
        Chooses the start method.  By default the one that `multiprocessing` has
        settled on, else ``forkserver``.  Before Python 3.14 the first lock, queue
        or standard pool of a program settles it on ``fork``.
    initializer : callable, optional
        Called once in every worker before its first call.  If it raises, the
        pool breaks, and every pending call fails with that error as cause.
    initargs : tuple
        Arguments of `initializer`; may hold multiprocessing locks and queues.
    max_tasks_per_child : int, optional
        Calls after which a worker is replaced; with any start method.
    cancel_running : bool
        Whether `Future.cancel` stops a call that is already running (default).
        False restores the standard behaviour.
    idle_timeout : float, optional
        Seconds after which a worker without work is ended.  By default never.
    max_memory_per_child : int, optional
        Resident bytes; a worker that holds more after a call is replaced
        between calls.
    grace : float
        Seconds a stopped call has for its ``finally`` blocks, before its worker
        and everything it started are killed.
    output : bool, optional
        Whether what workers print and log arrives in this process: in
        `sys.stdout`, `sys.stderr` and the loggers, whole lines, before the
        future of the call is done.  By default only in notebooks; elsewhere
        workers share the descriptors of this process.
    seed : int, optional
        At least 0.  Every call then begins with `random` and, if it is imported,
        `numpy.random` in a state that only depends on `seed` and on how many
        calls were submitted before.  `CurrentCall.seed` is for other generators.
        By default every worker has random streams of its own.

    Raises
    ------
    ValueError
        If `max_workers` or `max_tasks_per_child` is less than 1, or another
        limit is not positive.
    TypeError
        If `initializer` is not callable, `mp_context` is no context, or
        `max_workers` or `max_tasks_per_child` is no integer.

    Notes
    -----
    Any thread may use the pool.  A forked child of the process that made it may
    not, nor may a call that runs in it: both get `WrongProcess`.

    Workers start with the environment, directory, ``sys.path`` and ``sys.argv``
    that the parent has at that moment, and with BLAS and OpenMP threads capped
    to cores ÷ workers unless the environment says otherwise.

    Examples
    --------
    >>> with ProcessPoolExecutor(max_workers=2) as pool:
    ...     list(pool.map(pow, [2, 3], [10, 4]))
    [1024, 81]
    """

    __slots__ = ("_nearest", "_options")

    _options: Options | None
    """Of a view: the defaults of its calls.  Everything else is in ``__dict__``, which a pool shares with its views."""
    _nearest: Options | None
    """Of a view made for one call: what stood between the method's name and its parentheses."""

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        cancel_running: bool = True,
        idle_timeout: float | None = None,
        max_memory_per_child: int | None = None,
        grace: float = 0.2,
        output: bool | None = None,
        seed: int | None = None,
    ) -> None:
        # The standard initialiser is not called: it makes the queues and locks
        # of an engine that is not used here.
        if sys.platform == "win32":
            raise errors.platform_unsupported(sys.platform)
        if max_workers is None:
            max_workers = usable_cpus()
        elif not hasattr(max_workers, "__index__"):
            raise TypeError(f"max_workers must be an integer, not {max_workers!r}")
        elif max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if max_tasks_per_child is not None:
            if not isinstance(max_tasks_per_child, int):
                raise TypeError("max_tasks_per_child must be an integer")
            if max_tasks_per_child <= 0:
                raise ValueError("max_tasks_per_child must be >= 1")
        for name, number in (("idle_timeout", idle_timeout), ("max_memory_per_child", max_memory_per_child)):
            if number is not None and not number > 0:  # nan is neither
                raise ValueError(f"{name} must be greater than 0")
        if not grace >= 0:
            raise ValueError("grace must not be negative")
        if seed is not None:
            seed = operator.index(seed)
            if seed < 0:
                raise ValueError("seed must not be negative")
        if mp_context is None:
            method = multiprocessing.get_start_method(allow_none=True) or "forkserver"
            mp_context = multiprocessing.get_context(method)
        elif not hasattr(mp_context, "get_start_method"):
            raise TypeError(
                "mp_context must be a context such as multiprocessing.get_context('spawn'),"
                f" not {mp_context!r}"
            )
        self._options = self._nearest = None
        self._life = _Life()
        self._max_workers = max_workers
        self._mp_context: BaseContext = mp_context
        self._initializer = initializer  # type: ignore[assignment]  # the stubs want a result of None
        self._initargs = tuple(initargs)
        self._max_tasks_per_child = max_tasks_per_child
        self._cancel_running = cancel_running
        self._idle_timeout = idle_timeout
        self._max_memory_per_child = max_memory_per_child
        self._grace = grace
        self._output = is_notebook() if output is None else bool(output)
        self._seed = seed
        self._n_submitted = count()
        self._codec = Codec(inherits=mp_context.get_start_method() == "fork")
        self._doubtful: set[object] = set()  # context variables that once had a value that no pickler took
        self._engine: Engine | None = None
        self._engine_lock = threading.RLock()
        self._shutdown_thread = False
        self._pid = os.getpid()
        self._runs: dict[Run, None] = {}  # of graphs, that have not ended

    # ------------------------------------------------------------ calls

    def _submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule ``fn(*args, **kwargs)`` in a worker.

        Parameters
        ----------
        fn : callable
            Any callable that pickle or cloudpickle can send.
        *args, **kwargs
            Its arguments; every keyword reaches the function.

        Returns
        -------
        Future
            The pending result.  An error of pickling the call is found there.

        Raises
        ------
        RuntimeError
            If the pool was shut down, or is used in a process that does not own it.
        BrokenProcessPool
            If the pool is broken.
        TypeError
            If `fn` is a coroutine object or not callable.

        Notes
        -----
        Arguments are pickled before `submit` returns, so changing them later is
        safe.  Never waits for a worker.
        """
        if self._options is None and self._nearest is None and not isinstance(fn, Carrier):
            future: Future[T] = Future()
            self._post(future, fn, args, kwargs)
            return future
        options, fn = self._gather(fn)
        plan = Plan.of(options)
        if plan.stream:
            return self._submit_stream(plan, fn, args, kwargs)  # type: ignore[return-value]  # see `modifiers`
        if plan.asynced:
            return _awaited(partial(self._submit_one, plan, fn, args, kwargs))  # type: ignore[return-value]  # the same
        return self._submit_one(plan, fn, args, kwargs)

    submit = submit_method(_submit)

    def _submit_one(
        self, plan: Plan, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[Any]:
        """Submit one call with options, and with a bar of its own if one is wanted; give its future."""
        meter = _meter(plan, fn, 1)
        if meter is None:
            return self._submit_planned(plan, fn, args, kwargs)
        with closing(meter):
            return self._submit_planned(plan, fn, args, kwargs, meter=meter)

    def _submit_planned(
        self,
        plan: Plan,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        deadline: float | None = None,
        index: int = 0,
        meter: Meter | None = None,
    ) -> Future[Any]:
        """Submit one call with options; give its future."""
        future: Future[Any] = Future()
        future._is_enveloped = plan.results
        future._index = index - 1 if index else None
        future._meter = meter
        self._post(future, fn, args, kwargs, plan, deadline or plan.deadline(), index)
        return future

    def _submit_stream(
        self, plan: Plan, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ItemStream[Any]:
        """Submit a call whose items are wanted as they come."""
        from ._stream import ItemStream

        engine = self._open_engine()
        with closing(_meter(plan, fn, ())) as meter:
            stream = ItemStream[Any](engine, plan.stream, meter)
            self._post(stream._inbox, fn, args, kwargs, plan, plan.deadline())
            return stream

    def _gather(self, fn: Callable[..., Any]) -> tuple[Options, Callable[..., Any]]:
        """Give the options of a call and the bare function: the method's win over the task's, those over ours."""
        options = self._options or NOTHING
        if isinstance(fn, Carrier):
            for word in ("otherwise", "catch"):
                if word in fn._options:
                    raise errors.misplaced_option(word, "submit and map of a pool", "use task.on(pool)")
            options = options.under(fn._options.without(*Options.OF_GRAPHS))
            fn = fn.fn
        return options.under(self._nearest), fn

    def _view(self, options: Options | None = None, nearest: Options | None = None) -> Self:
        """Give the same pool with other defaults."""
        cls = type(self)
        view = cls.__new__(cls)
        view.__dict__ = self.__dict__
        for name in copyreg._slotnames(cls):  # type: ignore[attr-defined]  # of subclasses
            if hasattr(self, name):
                setattr(view, name, getattr(self, name))
        if options is not None:
            view._options = (self._options or NOTHING).under(options)
        view._nearest = nearest if self._nearest is None else self._nearest.under(nearest)
        return view

    def _having(self, name: str, value: Any) -> Self:
        return self._view(Options(**{name: value}))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Hang the words on methods that override ours, too.

        Parameters
        ----------
        **kwargs
            For the next class.
        """
        super().__init_subclass__(**kwargs)
        for name in ("submit", "map"):
            function = cls.__dict__.get(name)
            if isinstance(function, FunctionType):
                setattr(cls, name, Method(function))

    def _post(
        self,
        sink: Future[Any] | Slot | Inbox | Leg,
        fn: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        plan: Plan | None = None,
        deadline: float | None = None,
        index: int = 0,
        *,
        label: str | None = None,
        late: bool = False,
        context: Context | None = None,
    ) -> None:
        """Pack a call and hand it to the engine; its end goes to `sink`.

        `late`: it belongs to a run that began before the pool was shut down; `context`: in which that was.
        """
        if not callable(fn):
            self._refuse_uncallable(fn)  # type: ignore[unreachable]
        engine = self._engine
        if engine is None or not engine.ready or (self._shutdown_thread and not late) or engine.is_broken:
            engine = self._open_engine()
        extras = None if plan is None else plan.extras(deadline)
        if context is None:
            context = copy_context()
        if len(context) and (variables := travelling(context, self._codec.home_of)):
            if self._doubtful:
                variables = [
                    item for item in variables if item[0] not in self._doubtful or self._codec.can_pack(item)
                ]
            extras = {} if extras is None else dict(extras)
            extras["context"] = variables
        if self._seed is not None:
            extras = {} if extras is None else dict(extras)
            extras["seed"] = self._seed, next(self._n_submitted)
        try:
            if plan is not None and plan.star:
                args, kwargs = unpack(args, kwargs)
            beside: list[Part] = []
            payload, needs = self._pack(fn, args, kwargs, extras, beside)
        except Exception as error:
            sink._deliver(SealedError(error))
            return
        call = Call(engine.next_id(), payload, needs, label or label_of(fn), sink)
        call.index = index
        if beside:
            call.beside = beside
        if self._output:
            call.context = context
        if plan is not None:
            plan.mark(call, deadline)
        self._hand_over(engine, call, sink)

    def _post_bytes(
        self, sink: Future[Any] | Slot | Leg, payload: bytes, label: str, context: Context, index: int = 0
    ) -> None:
        """Hand a call to the engine that was put together from bytes, and has no options."""
        engine = self._engine
        if engine is None or not engine.ready or engine.is_broken:
            engine = self._open_engine()
        call = Call(engine.next_id(), payload, (), label, sink)
        call.index = index
        if self._output:
            call.context = context
        self._hand_over(engine, call, sink)

    def _hand_over(self, engine: Engine, call: Call, sink: Future[Any] | Slot | Inbox | Leg) -> None:
        """Tell the sink of its call, and the engine of both."""
        if type(sink) is Slot:
            sink.call = call
        else:
            sink._bind(call, engine)  # type: ignore[union-attr]  # subclasses of Future come here
        if not engine.post(call):
            raise errors.cannot_submit(interpreter=not self._shutdown_thread and engine_exit.is_exiting())

    def _pack(
        self,
        fn: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        extras: dict[str, Any] | None,
        beside: list[Part],
    ) -> tuple[bytes, tuple[Definition, ...]]:
        """Pickle a call; context variables whose values cannot be pickled stay behind."""
        try:
            return self._codec.pack_call(fn, args, kwargs, extras, beside)
        except Exception:
            if extras is None or "context" not in extras:
                raise
            doubtful = {item[0] for item in extras["context"] if not self._codec.can_pack(item)}
            if not doubtful:
                raise
            # From now on they are tried apart and first: the arguments may be large, and are pickled once.
            self._doubtful |= doubtful
            kept = [item for item in extras["context"] if item[0] not in doubtful]
            return self._codec.pack_call(fn, args, kwargs, {**extras, "context": kept}, beside)

    def _refuse_uncallable(self, fn: object) -> None:
        if isinstance(fn, CoroutineType):
            fn.close()
        raise errors.not_a_function(fn)

    def _open_engine(self) -> Engine:
        """Give the running engine, made at the first call; raise if there can be none."""
        if os.getpid() != self._pid:
            raise errors.wrong_process(self._pid)
        if self._engine is not None and self._engine.is_broken:
            raise self._engine.break_error()
        if self._shutdown_thread:
            raise errors.cannot_submit()
        if engine_exit.is_exiting():
            raise errors.cannot_submit(interpreter=True)
        engine = self._engine
        if engine is None:
            with self._engine_lock:  # reentrant: a finaliser or signal handler may submit in the middle
                if self._engine is None:
                    made = self._make_engine()
                    if self._engine is None:
                        self._engine = made
                engine = self._engine
        engine.start()
        return engine

    def _make_engine(self) -> Engine:
        method = self._mp_context.get_start_method(allow_none=False)
        machine: Machine[Call] = Machine(
            self._max_workers,
            max_tasks=self._max_tasks_per_child,
            idle_timeout=self._idle_timeout,
            grace=self._grace,
        )
        mark = new_mark() if self._output else None
        package = _Package(
            self._codec, self._initializer, self._initargs, self._max_memory_per_child, method, mark
        )
        starter = Starter(
            self._mp_context,
            worker.main,
            package.pack,
            (self._initializer, self._initargs),
            preload=_PRELOADED,
            environ_defaults=thread_caps(self._max_workers, os.environ),
            with_outputs=self._output,
        )
        engine = Engine(
            machine,
            starter,
            package.needs,
            name=f"ezflow-{next(_numbers)}",
            cancel_running=self._cancel_running,
            mark=mark,
        )
        # A pool that nobody holds any more finishes its calls and ends.
        weakref.finalize(self._life, engine.close, cancel=False).atexit = False
        return engine

    def _map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> Iterator[T]:
        """Call `fn` with the elements of the iterables; yield the results in order.

        Parameters
        ----------
        fn : callable
            Takes as many arguments as there are iterables.
        *iterables : iterable
            Ends with the shortest.
        timeout : float, optional
            Seconds from now within which each result must be there when it is
            asked for.  Limits the waiting; running calls are not stopped.
        chunksize : int
            Items per call.  With 1, the default, small calls still travel
            together, and errors, order and cancelling stay per item.
        buffersize : int, optional
            Calls submitted and not yet yielded; the inputs are read no further
            ahead.  None reads all inputs at once.

        Returns
        -------
        iterator
            Results in the order of the inputs.  Closing or dropping it cancels
            what has not started.

        Raises
        ------
        TimeoutError
            While iterating, if a result is not there in time.
        Exception
            While iterating, at the position of the call that raised it.
        ValueError
            If `chunksize` or `buffersize` is less than 1.
        TypeError
            If `buffersize` is no integer, or there are other keywords without ``star()``.

        Notes
        -----
        After ``star()`` further keywords are arguments of every call.
        """
        check_sizes(chunksize, buffersize)
        end = None if timeout is None else timeout + monotonic()
        if self._options is not None or self._nearest is not None or isinstance(fn, Carrier):
            options, fn = self._gather(fn)
            return self._map_planned(options, fn, iterables, keywords, end, buffersize)  # type: ignore[no-any-return]
        if keywords:
            raise errors.unexpected_keyword("map", keywords)
        inputs: Iterator[tuple[Any, ...]] = zip(*iterables, strict=False)
        if chunksize > 1:
            chunks = iter(lambda: list(islice(inputs, chunksize)), [])
            chunked = self._results(partial(run_chunk, fn), ((chunk,) for chunk in chunks), end, buffersize)
            return entered(_flatten(chunked))
        return self._results(fn, inputs, end, buffersize)  # type: ignore[no-any-return]

    def _plain_map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Show the signature of `map`, whose other keywords are for the form with ``star()`` only; nobody calls this."""
        raise NotImplementedError

    map = map_method(_map, shown=_plain_map)

    def _map_planned(
        self,
        options: Options,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        keywords: dict[str, Any],
        end: float | None,
        buffersize: int | None,
    ) -> Any:
        """Map with options: each item is a call of its own, whatever the chunksize."""
        plan = Plan.of(options)
        if plan.stream:
            raise errors.misplaced_option("stream", "map", "use submit.stream, or yield from map")
        check_words(plan, len(iterables), keywords, end)
        bar = partial(_meter, plan, fn, iterables)
        if plan.asynced:
            return self._map_asynced(options, plan, fn, iterables, keywords, buffersize, bar)
        inputs = zip(*iterables, strict=False)
        return self._results(fn, inputs, end, buffersize, options, plan, keywords, bar)

    def _map_asynced(
        self,
        options: Options,
        plan: Plan,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        keywords: dict[str, Any],
        buffersize: int | None,
        bar: Callable[[], Meter | None],
    ) -> AsyncMap[Any]:
        """Give what is a coroutine and an async iterator."""
        through = self._through(fn, options, plan)
        numbers = count(1)
        deadline = plan.deadline()

        def submit_one(args: tuple[Any, ...], meter: Meter | None = None) -> Future[Any]:
            if through is not None:
                return through.future(args, keywords, meter)
            return self._submit_planned(plan, fn, args, keywords, deadline, next(numbers), meter)

        return async_results(plan, submit_one, iterables, buffersize, 4 * self._max_workers, bar)

    def _results(
        self,
        fn: Callable[..., Any],
        inputs: Iterator[tuple[Any, ...]],
        end: float | None,
        buffersize: int | None,
        options: Options = NOTHING,
        plan: Plan | None = None,
        keywords: dict[str, Any] = _NO_KEYWORDS,
        bar: Callable[[], Meter | None] | None = None,
    ) -> Any:
        """Submit now, as far as `buffersize` allows; give the iterator of results, or the future of their list."""
        through = self._through(fn, options, plan)
        deadline = None if plan is None else plan.deadline()
        cancel_waiting, stop, desk = _through.cancel_waiting, _through.stop, None
        check_waiting = self._weak_check_waiting()
        if through is None:
            desk = engine = self._open_engine()
            cancel_waiting, stop, check_waiting = engine.cancel_waiting, engine.stop, engine.check_waiting

        def submit_next(slot: Slot) -> bool:
            for args in inputs:
                if through is not None:
                    through.fill(slot, args, keywords)
                else:
                    self._post(slot, fn, args, keywords, plan, deadline, slot.index + 1)
                return True
            return False

        return results(plan, submit_next, cancel_waiting, stop, desk, check_waiting, end, buffersize, bar)

    def _through(
        self, fn: Callable[..., Any], options: Options, plan: Plan | None = None
    ) -> _through.Submitter | None:
        """Give what submits items by a `submit` that somebody replaced (tqdm's process_map does) or overrode."""
        if "submit" not in self.__dict__ and type(self).submit is ProcessPoolExecutor.submit:
            return None
        bare = self._view()
        bare._options = bare._nearest = None
        how = options.how_it_runs().without("progress")  # one bar for the whole, drawn on this side
        return _through.Submitter(bare.submit, fn, how, plan)

    def _with_words(self, name: str, other: Callable[..., Any]) -> Callable[..., Any]:
        """Give what somebody has put in the place of `submit` or `map`, with the options of this view."""
        if self._options is None and self._nearest is None:
            return other
        return partial(self._submit_by if name == "submit" else self._map_by, other)

    def _submit_by(
        self, other: Callable[..., Any], fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        """Submit by a foreign `submit`: what goes in and comes out is done here, the rest travels with the function."""
        options, fn = self._gather(fn)
        plan = Plan.of(options)
        if plan.stream:
            raise errors.misplaced_option("stream", "a submit that was replaced", "who knows what it gives")
        through = self._through(fn, options, plan)
        if through is None:  # it was put back a moment ago
            return self.submit(fn, *args, **kwargs)
        if not (plan.star or plan.results or plan.asynced or plan.progress):
            return through.submit(args, kwargs)

        def begin() -> Future[Any]:
            with closing(_meter(plan, fn, 1)) as meter:
                future = through.future(args, kwargs, meter)
                future._index = None
                return future

        return _awaited(begin) if plan.asynced else begin()

    def _map_by(self, other: Callable[..., Any], fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Map by a foreign `map`: the options travel with the function."""
        options, fn = self._gather(fn)
        for word, given in options:
            if given and word in Options.WHAT_GOES_IN:
                raise errors.misplaced_option(word, "a map that was replaced", "who knows what it gives")
        return other(Carrier(fn, options), *args, **kwargs)

    def _weak_check_waiting(self) -> Callable[[], None]:
        """Give what raises where waiting would never end; it keeps no pool alive that nobody else holds."""
        pool = weakref.ref(self)

        def check() -> None:
            engine = getattr(pool(), "_engine", None)
            if engine is not None:
                engine.check_waiting()

        return check

    # ------------------------------------------------------------ the end

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and end the workers when the accepted ones are done.

        Parameters
        ----------
        wait : bool
            Whether to return only when every worker is gone.
        cancel_futures : bool
            Whether to cancel the calls that have not started.
        """
        self._shutdown_thread = True
        engine = self._engine
        if engine is None or os.getpid() != self._pid:
            return
        if cancel_futures:
            for run in list(self._runs):
                run.cancel(waiting_only=True)
        if not self._runs:
            engine.close(cancel=cancel_futures)
        if wait:
            engine.join()

    def _begin_run(self, run: Run) -> None:
        """Stay open for a run of a graph, which will post calls until it ends."""
        if self._shutdown_thread or self._engine is None:
            self._open_engine()
        self._runs[run] = None

    def _end_run(self, run: Run) -> None:
        """Learn that a run posts no more calls."""
        self._runs.pop(run, None)
        if self._shutdown_thread and not self._runs and self._engine is not None:
            self._engine.close(cancel=False)

    def terminate_workers(self) -> None:
        """Cancel what waits, send every worker SIGTERM, and take no more calls."""
        self._force_shutdown(operation="terminate")

    def kill_workers(self) -> None:
        """Cancel what waits, kill every worker and what it started, and take no more calls."""
        self._force_shutdown(operation="kill")

    def _force_shutdown(self, operation: str) -> None:
        """End the workers by force; the standard class has this under the same name."""
        signum = {"terminate": signal.SIGTERM, "kill": signal.SIGKILL}.get(operation)
        if signum is None:
            raise ValueError(f"unsupported operation: {operation!r}")
        self._shutdown_thread = True
        if self._engine is not None and os.getpid() == self._pid:
            self._engine.kill(signum)

    def __exit__(self, exc_type: object, exc_val: object, exc_tb: object) -> None:
        """Shut down; after Ctrl-C without finishing what nobody will read."""
        if isinstance(exc_type, type) and issubclass(exc_type, KeyboardInterrupt):
            self.kill_workers()
        try:
            self.shutdown(wait=True)
        except KeyboardInterrupt:
            self.kill_workers()
            self.shutdown(wait=True)
            raise

    async def drain(self, seconds: float | None = None) -> bool:
        """Take no more calls and wait for those accepted, without holding up the event loop; then cancel the rest.

        Parameters
        ----------
        seconds : float, optional
            How long to wait.  Calls that have not ended by then are cancelled, and stopped if they run, whatever
            `cancel_running` says.  None waits for all.

        Returns
        -------
        bool
            Whether all calls ended by themselves.

        Notes
        -----
        Returns when every worker is gone.  No thread waits, save for one of the loop's own executor while callbacks
        that were given to `Future.add_done_callback` still run.
        """
        self.shutdown(wait=False)
        engine = self._engine
        if engine is None or os.getpid() != self._pid:
            return True
        from ._drain import drain

        return await drain(engine, seconds)

    async def __aenter__(self) -> Self:
        """Give the pool."""
        return self

    async def __aexit__(self, exc_type: object, exc_val: object, exc_tb: object) -> None:
        """Shut down as `with` does, without holding up the loop; after a cancellation, stop the work at once."""
        from asyncio import CancelledError

        is_cancelled = isinstance(exc_type, type) and issubclass(exc_type, CancelledError | KeyboardInterrupt)
        try:
            await self.drain(0.0 if is_cancelled else None)
        except CancelledError:
            self.kill_workers()
            await self.drain()
            raise

    def __reduce__(self) -> str:
        """Refuse to travel: a pool lives in the process that made it."""
        raise TypeError("a ProcessPoolExecutor cannot be pickled; make a pool of its own where one is needed")

    # ------------------------------------------------------------ looking in

    def statistics(self) -> Statistics:
        """Tell what the pool has done so far and does now.

        Returns
        -------
        Statistics
            Calls by how they ended, processes, bytes, and how long the calls of each function took.

        Notes
        -----
        Costs a few microseconds per label, and waits for nothing.  A call is counted before its future resolves.
        """
        from .statistics import NOTHING_YET

        engine = self._engine
        return engine.statistics() if engine is not None else NOTHING_YET

    def stacks(self) -> dict[int, str]:
        """Tell what every worker is doing now.

        Returns
        -------
        dict of int to str
            By pid: ``"idle"``, or the call it runs and where it is, as lines of a traceback, most recent call last.

        Notes
        -----
        Takes a second at most.  A signal handler in C writes the lines, so a call that hangs in C code is seen as well,
        and Python code notices nothing.  But a system call that the kernel does not resume after a signal, such as
        ``poll``, returns early with EINTR, which C code has to expect.  A worker that is stopped gives no answer, which
        is then said.
        """
        engine = self._engine
        return engine.stacks(1.0) if engine is not None else {}

    def __repr__(self) -> str:
        """Show the start method, workers and pending calls."""
        engine = self._engine
        numbers = engine.counts() if engine is not None else {"workers": 0, "pending": 0}
        state = "broken" if self._broken else "shut down" if self._shutdown_thread else "open"
        return (
            f"<{type(self).__name__} {state}, {self._mp_context.get_start_method()},"
            f" {numbers['workers']} of {self._max_workers} workers, {numbers['pending']} pending>"
        )

    @property
    def _broken(self) -> str | bool:  # type: ignore[override]  # read only here
        """Why the pool is broken, as the standard class keeps it."""
        engine = self._engine
        return str(engine.break_error()) if engine is not None and engine.is_broken else False

    @property
    def _processes(self) -> dict[int, Any]:  # type: ignore[override]  # read only here
        """The living processes by pid; debuggers and tests look here."""
        return self._engine.workers() if self._engine is not None else {}

    @property
    def _pending_work_items(self) -> _Pending:  # type: ignore[override]  # read only here
        """What stands where the standard class keeps its pending calls; programs look at its length."""
        engine = self._engine
        return _Pending(engine.counts()["pending"] if engine is not None else 0)

    @property
    def _call_queue(self) -> _NoQueue:  # read only here
        """What stands where the standard class keeps its queue of calls."""
        return _NoQueue()

    @property
    def _executor_manager_thread(self) -> threading.Thread | None:  # type: ignore[override]  # read only here
        """The thread that runs the pool, under the standard's name."""
        return self._engine.dispatcher if self._engine is not None else None


class _Life:
    """What a pool and its views hold, and nobody else: when it goes, all of them have gone."""

    __slots__ = ("__weakref__",)


class _Pending:
    """How many calls are pending: the calls themselves are kept elsewhere."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n


class _NoQueue:
    """Calls go through sockets here: there is no queue, and no thread that feeds it to wait for."""

    def join_thread(self) -> None:
        """Return at once."""


class _Package:
    """What travels with a new process: settings, initializer, and the definitions that it needs."""

    def __init__(
        self,
        codec: Codec,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
        max_rss: int | None,
        method: str,
        mark: bytes | None,
    ) -> None:
        self._mark = mark
        self._codec = codec
        self._initializer = initializer
        self._initargs = initargs
        self._settings: dict[str, Any] = {"forked": method == "fork", "max_rss": max_rss}
        self._needs: tuple[Definition, ...] = ()

    def pack(self) -> bytes:
        """Pack for one process (starter thread only)."""
        settings = self._settings
        if not settings["forked"] and self._initializer is not None:
            payload, self._needs = self._codec.pack_initializer(self._initializer, self._initargs)
            definitions = [(d.key, d.data) for d in self._needs]
            settings = {**settings, "initializer": payload, "definitions": definitions}
        if self._mark is not None:
            settings = {**settings, "output": (self._mark, Levels.capture())}
        return pickle.dumps(settings)

    def needs(self) -> tuple[Definition, ...]:
        """Give the definitions that went with the last process."""
        return self._needs


def _meter(plan: Plan, fn: Callable[..., object], inputs: Sequence[Iterable[Any]] | int) -> Meter | None:
    """Open the bar of a call or a map."""
    return None if plan.progress is None else open_bar(plan.progress, plan.name or label_of(fn), inputs)


async def _awaited(begin: Callable[[], Future[T]]) -> T:
    """Begin when it is awaited."""
    return await begin()


def _flatten(chunks: Generator[list[T], None, None]) -> Generator[T, None, None]:
    """Yield the items of each chunk; drop each item before the next."""
    try:
        yield cast("T", None)
        for chunk in chunks:
            chunk.reverse()
            while chunk:
                yield chunk.pop()
    finally:
        chunks.close()
