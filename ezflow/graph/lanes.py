"""Executors as a run sees them: start this call for this leg, stop it.

A lane says which options it keeps.  Ours keeps all; one of another library keeps what can be done inside the call.
"""

from __future__ import annotations

import concurrent.futures
import os
import sys
import threading
from time import monotonic
from types import FunctionType
from typing import TYPE_CHECKING, Any

from .._context import travelling
from .._engine.current import running
from .._plan import Plan as CallPlan
from .._sealed import SealedError
from .._task import Carrier
from .._through import Relayed
from .._wire.forms import LONGEST, Form
from ..executor import ProcessPoolExecutor
from ..modifiers import Front
from ..options import NOTHING, Options
from . import wording
from .conductor import conductor
from .handles import Value
from .inside import add_note, run_chain, run_packed, run_patiently
from .nodes import Call, Node, Whole, each_node, label_of_node
from .plan import is_by_name
from .run import NO_LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from typing import Final

    from .plan import Step
    from .run import Lane, Leg, Limits, Run

_LIMITS: Final = ("timeout", "within", "priority")
"""Options that only our own pool keeps."""

_SWITCH_FUSION_OFF: Final = ("timeout", "within", "retry", "priority")


def lane_of(on: object) -> Lane:
    """Give the lane of what `.on` was given."""
    if isinstance(on, ProcessPoolExecutor):
        if type(on).submit is not ProcessPoolExecutor.submit or "submit" in on.__dict__:
            return OtherLane(on, is_ours=True)
        return PoolLane(on)
    if isinstance(on, concurrent.futures.Executor):
        return OtherLane(on)
    if on == "inline":
        return InlineLane()
    if on == "thread":
        return OtherLane(default_threads())
    if on == "process" or on is None:
        return InlineLane() if is_inside_worker() else PoolLane(default_pool())
    if isinstance(on, Front):
        raise wording.is_a_front()
    if on == "async":
        raise wording.async_is_of_flows()
    executor = getattr(on, "executor", None)  # our `Pool`
    if isinstance(executor, ProcessPoolExecutor):
        return PoolLane(executor)
    if callable(getattr(on, "submit", None)) and not isinstance(on, type):
        return OtherLane(on)  # looks like one: mpi4py's before version 4, pools of old libraries
    raise wording.no_executor(on)


def check_kept(node: Node, options: Options, on: object) -> None:
    """Complain about options that the executors of a graph cannot keep."""
    if on == "inline":
        return  # limits are off there
    if on is not None:
        _check_kept(options, on, "the graph")
    for one in each_node(node):
        own = one.options if isinstance(one, Call | Whole) else None
        if own is not None and len(own):
            where = own.get("on", on)
            if where is not None:
                _check_kept(own, where, f"stage {label_of_node(one)[0] or type(one).__name__}")


def _check_kept(options: Options, on: object, where: str) -> None:
    if isinstance(on, ProcessPoolExecutor) or on in ("process", "inline") or hasattr(on, "executor"):
        return
    for word in _LIMITS:
        if options.get(word):
            who = (
                "threads"
                if on == "thread"
                else f"a {type(on).__module__.partition('.')[0]} {type(on).__name__}"
            )
            raise wording.option_not_kept(
                where,
                word,
                who,
                "it cannot stop or order running work. Run it on an ezflow.ProcessPoolExecutor.",
            )


def is_inside_worker() -> bool:
    """Tell whether this is a worker of ours, or another process that may have no children: it starts no pool."""
    if running.on_interrupt is not None:
        return True
    process = sys.modules.get("multiprocessing.process")
    return process is not None and bool(process.current_process().daemon)


# ---------------------------------------------------------------- default executors

_defaults: dict[str, tuple[int, Any]] = {}
_lock = threading.RLock()


def default_pool() -> ProcessPoolExecutor:
    """Give the pool of graphs without an executor, made on first use."""
    pool: ProcessPoolExecutor = _default("process", ProcessPoolExecutor)
    return pool


def default_threads() -> concurrent.futures.ThreadPoolExecutor:
    """Give the threads of ``.on("thread")``, made on first use."""

    def make() -> concurrent.futures.ThreadPoolExecutor:
        return concurrent.futures.ThreadPoolExecutor(thread_name_prefix="ezflow-thread")

    threads: concurrent.futures.ThreadPoolExecutor = _default("thread", make)
    return threads


def _default(name: str, make: Callable[[], Any]) -> Any:
    found = _defaults.get(name)
    if found is not None and found[0] == os.getpid() and not _is_over(found[1]):
        return found[1]
    with _lock:
        found = _defaults.get(name)
        if found is None or found[0] != os.getpid() or _is_over(found[1]):
            found = _defaults[name] = os.getpid(), make()
        return found[1]


def _is_over(executor: Any) -> bool:
    """Tell whether somebody has shut it down, or it broke: another takes its place."""
    if isinstance(executor, ProcessPoolExecutor):
        return executor._shutdown_thread or bool(executor._broken)
    return bool(executor._shutdown)


def close_defaults() -> None:
    """Shut the default executors down; the next graph makes new ones."""
    while _defaults:
        _, (pid, executor) = _defaults.popitem()
        if pid == os.getpid():
            executor.shutdown(wait=True)


def _forget() -> None:
    global _lock
    _defaults.clear()
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


# ---------------------------------------------------------------- lanes


class _Lane:
    """What lanes have in common: they do nothing about runs, and find the lanes of steps with executors of their own."""

    __slots__ = ("_lanes", "fuses")

    is_quick = passes_on = False

    def __init__(self, *, fuses: bool = True) -> None:
        self.fuses = fuses
        self._lanes: dict[int, Lane] = {}

    def for_step(self, on: Any) -> Lane:
        """Give the lane of a step with an executor of its own."""
        if isinstance(on, str):  # a default executor, which may be another one the next time
            return lane_of(on)
        found = self._lanes.get(id(on))
        if found is None:
            found = self._lanes[id(on)] = lane_of(on)
        return found

    def takes_along(self, context: Context) -> bool:
        """Tell whether calls take values of context variables along."""
        return True

    def form(self, step: Step) -> Form | None:
        """Give the form of a call that can be put together from bytes."""
        return None

    def send(self, leg: Leg, form: Form, args: list[bytes], named: list[bytes]) -> None:
        """Start such a call."""
        raise NotImplementedError

    def begin(self, run: Run) -> None:
        """Learn that a run has begun."""

    def end(self, run: Run) -> None:
        """Learn that it starts no more calls."""

    def desk(self) -> Any:
        """Give what futures of runs turn to."""
        return conductor()


class PoolLane(_Lane):
    """A pool of ours: no future for each call, and every option is the pool's business."""

    __slots__ = ("options", "pool")

    is_quick = passes_on = True

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self.pool = pool
        options = pool._options
        self.options = NOTHING if options is None else options.without("named", "progress")
        super().__init__(fuses=not any(name in self.options for name in _SWITCH_FUSION_OFF))

    def begin(self, run: Run) -> None:
        """Keep the pool open for the run."""
        self.pool._begin_run(run)

    def end(self, run: Run) -> None:
        """Let the pool go."""
        self.pool._end_run(run)

    def desk(self) -> Any:
        """Give what futures of runs turn to."""
        engine = self.pool._engine
        return engine if engine is not None and engine.ready else self.pool._open_engine()

    def takes_along(self, context: Context) -> bool:
        """Tell whether calls take values of context variables along."""
        return bool(travelling(context, self.pool._codec.home_of))

    def form(self, step: Step) -> Form | None:
        """Give the form of a call of an importable function that has no options."""
        prepared = step.packed
        if prepared is None or prepared[0] is not self.options:
            prepared = step.packed = self._prepare(step)
        form: Form | None = prepared[5]
        return form if form is not None and form.is_current() and self.pool._seed is None else None

    def send(self, leg: Leg, form: Form, args: list[bytes], named: list[bytes]) -> None:
        """Post the call."""
        self.pool._post_bytes(leg, form.fill(args, named), leg.step.label, leg.run.context)

    def start(self, leg: Leg, step: Step, args: list[Any], kwargs: dict[str, Any], limits: Limits) -> None:
        """Post the call."""
        prepared = step.packed
        if prepared is None or prepared[0] is not self.options:
            prepared = step.packed = self._prepare(step)
        _, fn, prefix, plan, is_stable, _ = prepared
        if not is_stable:  # whether code is importable may change
            step.packed = None
        deadline = None if plan is None else plan.deadline()
        if limits is not NO_LIMITS and (limits.timeout is not None or limits.deadline is not None):
            plan, deadline = self._limited(plan, step, limits, deadline)
        self.pool._post(
            leg,
            fn,
            (*prefix, *args) if prefix else tuple(args),
            kwargs,
            plan,
            deadline,
            label=step.label,
            late=True,
            context=leg.run.context,
        )

    def post(
        self,
        sink: Any,
        step: Step,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        deadline: float | None,
        index: int,
    ) -> None:
        """Post the only call of a graph, which needs no run."""
        prepared = step.packed
        if prepared is None or prepared[0] is not self.options:
            prepared = self._prepare(step)
            step.packed = prepared if prepared[4] else None
        _, fn, prefix, plan, _, _ = prepared
        if deadline is None and plan is not None:
            deadline = plan.deadline()
        elif deadline is not None and plan is None:
            plan = CallPlan.of(Options(within=max(deadline - monotonic(), 0.0)))
        self.pool._post(sink, fn, (*prefix, *args), kwargs, plan, deadline, index, label=step.label)

    def _prepare(
        self, step: Step
    ) -> tuple[Options, Any, tuple[Any, ...], CallPlan | None, bool, Form | None]:
        fn, prefix, is_stable = sent(step)
        options = self._options_of(step)
        plan = CallPlan.of(options) if len(options) else None
        form = None
        if plan is None and step.is_bare and type(fn) is FunctionType and sum(map(len, prefix)) < LONGEST:
            form = Form(fn, prefix, len(step.args), [name for name, _ in step.names])
        return self.options, fn, prefix, plan, is_stable, form

    def _options_of(self, step: Step) -> Options:
        options = self.options.under(step.options)
        return options.without(*Options.WHAT_GOES_IN, *Options.OF_GRAPHS, "progress")

    def _limited(
        self, plan: CallPlan | None, step: Step, limits: Limits, deadline: float | None
    ) -> tuple[CallPlan, float | None]:
        """Give the plan of a call in a run with limits."""
        options = self._options_of(step)
        if limits.timeout is not None and limits.began is None:
            own = options.get("timeout")
            options = options.having("timeout", limits.timeout if own is None else min(own, limits.timeout))
        end = limits.end()
        if end is not None and (deadline is None or end < deadline):
            deadline = end
            options = options.having("within", limits.within or limits.timeout)
        return CallPlan.of(options), deadline

    def stop(self, leg: Leg, *, running: bool) -> None:
        """Cancel the call."""
        if leg.call is None or leg.engine is None:
            return
        if running:
            leg.engine.stop(leg.call)
        else:
            leg.engine.cancel_waiting([leg.call])


class OtherLane(_Lane):
    """An executor of another library, or a pool of ours whose `submit` somebody replaced."""

    __slots__ = ("_executor", "_is_ours")

    def __init__(self, executor: Any, *, is_ours: bool = False) -> None:
        super().__init__()
        self._executor = executor
        self._is_ours = is_ours

    def start(self, leg: Leg, step: Step, args: list[Any], kwargs: dict[str, Any], limits: Limits) -> None:
        """Submit the call."""
        calls = tuple(step.calls)
        retry = None if step.options is None else step.options.get("retry")
        if self._is_ours:
            options = (step.options or NOTHING).how_it_runs().without(*Options.OF_GRAPHS, "progress")
            fn, prefix, _ = sent(step)
            if len(options):
                fn = Carrier(fn, options)
            future = self._executor.submit(fn, *prefix, *args, **kwargs)
        elif retry is not None and retry.n:
            how = retry.n, retry.on, retry.delay, retry.backoff
            future = self._executor.submit(run_patiently, calls, *how, *args, **kwargs)
        else:
            future = self._executor.submit(run_chain, calls, *args, **kwargs)
        leg.future = future
        future.add_done_callback(_PassOn(leg))

    def stop(self, leg: Leg, *, running: bool) -> None:
        """Cancel the future; what already runs elsewhere goes on."""
        future = leg.future
        if future is not None and (running or not future.running()):
            future.cancel()


class _PassOn:
    """A callback that passes the end of a future on; it only appends to an inbox."""

    __slots__ = ("_leg",)

    def __init__(self, leg: Leg) -> None:
        self._leg: Leg | None = leg

    def __call__(self, future: concurrent.futures.Future[Any]) -> None:
        leg, self._leg = self._leg, None  # a kept future keeps no run
        if leg is None:
            return
        if future.cancelled():
            leg._drop()
        else:
            leg._deliver(Relayed(future))


class InlineLane(_Lane):
    """The thread itself: plain calls, one after the other, for a debugger; and a graph inside a worker."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(fuses=False)

    def for_step(self, on: Any) -> Lane:
        """Give this lane, whatever a step wants."""
        return self

    def start(self, leg: Leg, step: Step, args: list[Any], kwargs: dict[str, Any], limits: Limits) -> None:
        """Call it."""
        retry = None if step.options is None else step.options.get("retry")
        calls = tuple(step.calls)
        try:
            if retry is not None and retry.n:
                value = run_patiently(calls, retry.n, retry.on, retry.delay, retry.backoff, *args, **kwargs)
            else:
                value = run_chain(calls, *args, **kwargs)
        except Exception as error:
            add_note(error, step.note)
            leg._deliver(SealedError(error))
        else:
            leg._deliver(Value(value))

    def stop(self, leg: Leg, *, running: bool) -> None:
        """Nothing runs."""


def sent(step: Step) -> tuple[Callable[..., Any], tuple[Any, ...], bool]:
    """Give the function to send for a step, what goes before its arguments, and whether that stays so.

    A chain of importable functions travels as the bytes of their names, which each worker reads once.
    """
    if len(step.calls) == 1 and not step.calls[0][0]:
        return step.calls[0][1], (), True
    if all(is_by_name(fn) for _, fn, _ in step.calls):
        import pickle

        return run_packed, (pickle.dumps(tuple(step.calls)),), True
    return run_chain, (tuple(step.calls),), False
