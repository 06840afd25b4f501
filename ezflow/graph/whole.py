"""Graphs that run as one: repeated if they fail, within limits of their own, once or for each element of a list."""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Iterable, Mapping
from contextvars import copy_context
from time import monotonic
from typing import TYPE_CHECKING, Any

from .._plan import unpack
from .._sealed import SealedError
from . import wording
from .conductor import conductor
from .handles import Failure, Joined, Noted, Value, opened, snapshot
from .run import NO_LIMITS, Limits, Run, after, plan_of, repeats

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextvars import Context

    from .._call import Sealed
    from ..options import Options, Retry
    from .nodes import Node
    from .plan import Plan, Step
    from .run import Lane, Leg, Sink


class Attempts:
    """The runs of one graph, one after the other, until one succeeds.

    Parameters
    ----------
    retry : Retry
        How often, over what, and when.
    """

    def __init__(
        self,
        plan: Plan,
        lane: Lane,
        sink: Sink,
        inputs: Sequence[Sealed],
        retry: Retry,
        limits: Limits,
        keep: bool,
        context: Context | None,
    ) -> None:
        self._context = copy_context() if context is None else context
        self._plan = plan
        self._lane = lane
        self._sink = sink
        self._inputs = [snapshot(one) for one in inputs] if lane.passes_on else inputs
        self._retry = retry
        self._limits = limits
        self._keep = keep
        self._n_run = 0
        self._failure: Sealed | None = None
        self._stopped = False
        self.run: Run | None = None

    def start(self) -> None:
        """Start the next run."""
        if self._stopped:
            return
        self._n_run += 1
        limits = Limits(self._limits.timeout, self._limits.within, self._limits.deadline)
        self.run = Run(self._plan, self._lane, self, keep=self._keep, limits=limits, context=self._context)
        self.run.start(self._inputs)

    def _again(self) -> None:
        try:
            self.start()
        except BaseException as error:
            self._sink._deliver(SealedError(error))

    def _deliver(self, sealed: Sealed) -> None:
        """Take the end of a run; a failure is looked at where user code may run."""
        if not sealed.failed:
            self._sink._deliver(Noted(sealed, "", self._n_run) if self._n_run > 1 else sealed)
            return
        self._failure = sealed
        conductor().put(self)

    def work(self) -> None:
        """Look at the failure, and run once more or give up."""
        sealed, self._failure = self._failure, None
        if sealed is None:
            return
        error = None
        try:
            _, error = sealed.open()
            assert error is not None
            deadline = self._limits.deadline
            if (
                self._n_run > self._retry.n
                or self._stopped
                or (deadline is not None and deadline <= monotonic())
                or not repeats(self._retry, error)
            ):
                self._sink._deliver(SealedError(error, pid=sealed.pid, attempts=self._n_run))
                return
        finally:
            error = None
        if self.run is not None:
            self.run.cancel()
        delay = self._retry.delay * self._retry.backoff ** (self._n_run - 1)
        after(delay, self._again)

    def _drop(self) -> None:
        self._sink._drop()

    @property
    def place(self) -> int | None:
        """Where it is, as a call says it."""
        return None if self.run is None else self.run.place

    def cancel(self, *, waiting_only: bool = False) -> None:
        """Cancel the present run, and start no other."""
        self._stopped = True
        if self.run is None:
            self._sink._drop()
        else:
            self.run.cancel(waiting_only=waiting_only)


def start_graph(
    node: Node,
    plans: dict[Any, Plan],
    options: Options | None,
    lane: Lane,
    sink: Sink,
    args: Sequence[Sealed],
    names: dict[str, Sealed],
    *,
    outer: Limits = NO_LIMITS,
    keep: bool = False,
    given: str = "call",
    deadline: float | None = None,
    context: Context | None = None,
    path: tuple[str, ...] = (),
) -> Run | Attempts:
    """Start a run of a graph with the options that mean all of it; give what can be cancelled."""
    timeout = within = retry = None
    if options is not None and len(options):
        if options.get("star"):
            args, names = _starred(args, names)
            given = "call"
        timeout, within, retry = options.get("timeout"), options.get("within"), options.get("retry")
    limits = NO_LIMITS
    if within is not None or timeout is not None or outer is not NO_LIMITS or deadline is not None:
        ends = [end for end in (outer.end(), deadline) if end is not None]
        if deadline is None and within is not None:
            ends.append(monotonic() + within)
        if timeout is None:
            timeout = outer.timeout if outer.began is None else None
        limits = Limits(timeout, within or outer.within, min(ends, default=None))
    plan = plan_of(plans, node, len(args), tuple(names), fuse=lane.fuses, given=given, path=path)
    inputs = [*args, *names.values()]
    if retry is not None and retry.n:
        attempts = Attempts(plan, lane, sink, inputs, retry, limits, keep, context)
        attempts.start()
        return attempts
    run = Run(plan, lane, sink, keep=keep, limits=limits, context=context)
    run.start(inputs)
    return run


def _starred(args: Sequence[Sealed], names: dict[str, Sealed]) -> tuple[list[Sealed], dict[str, Sealed]]:
    """Unpack the one argument of a call."""
    more, keywords = unpack(tuple(map(opened, args)), {})
    return [Value(one) for one in more], {**{name: Value(one) for name, one in keywords.items()}, **names}


def start_whole(
    leg: Leg,
    lane: Lane,
    step: Step,
    args: list[Sealed],
    names: dict[str, Sealed],
    outer: Limits,
    *,
    keep: bool,
) -> Run | Attempts:
    """Start the graph in a step; its end goes to the leg."""
    assert step.node is not None
    return start_graph(
        step.node,
        step.plans,
        step.options,
        lane,
        leg,
        args,
        names,
        outer=outer,
        keep=keep,
        given=step.given,
        path=tuple(step.path.split("/")),
        context=leg.run.context,
    )


class Elements:
    """The runs of a graph for each element of a list, side by side."""

    def __init__(self, leg: Leg, lane: Lane, step: Step, elements: object, limits: Limits) -> None:
        if not isinstance(elements, Iterable) or isinstance(elements, str | bytes | bytearray | Mapping):
            raise wording.not_iterable(wording.place(tuple(step.path.split("/"))), elements)
        self._leg = leg
        self._lane = lane
        self._step = step
        self._elements = list(elements)
        self._limits = limits
        self._handles: list[Any] = [None] * len(self._elements)
        self._n_left = len(self._elements)
        self._count = allocate_lock()
        self._runs: list[Run | Attempts] = []
        self._stopped = False

    def start(self) -> None:
        """Start all."""
        if not self._elements:
            self._leg._deliver(Joined([], list))
        for i, element in enumerate(self._elements):
            if self._stopped:
                return
            assert self._step.node is not None
            self._runs.append(
                start_graph(
                    self._step.node,
                    self._step.plans,
                    None,
                    self._lane,
                    _Element(self, i),
                    [Value(element)],
                    {},
                    outer=self._limits,
                    given="one",
                    path=(*self._step.path.split("/"), "each"),
                    context=self._leg.run.context,
                )
            )
        self._elements.clear()

    def ended(self, i: int, sealed: Sealed | None) -> None:
        """Take the end of one; the first that fails ends all, and the others go on."""
        if sealed is None:
            self._leg._drop()
        elif sealed.failed:
            self._leg._deliver(Failure(sealed, f"{self._step.note}, element {i}"))
        else:
            self._handles[i] = sealed
            with self._count:
                self._n_left -= 1
                is_last = not self._n_left
            if is_last:
                self._leg._deliver(Joined(self._handles, list))

    def cancel(self, *, waiting_only: bool = False) -> None:
        """Cancel all."""
        self._stopped = True
        for run in self._runs:
            run.cancel(waiting_only=waiting_only)


class _Element:
    """Where the end of one run arrives."""

    __slots__ = ("_elements", "_i")

    def __init__(self, elements: Elements, i: int) -> None:
        self._elements = elements
        self._i = i

    def _deliver(self, sealed: Sealed) -> None:
        self._elements.ended(self._i, sealed)

    def _drop(self) -> None:
        self._elements.ended(self._i, None)
