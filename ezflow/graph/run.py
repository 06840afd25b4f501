"""One run of a plan: its slots, the state of each step, and who may touch them.

::

    pending ──▶ submitted ──▶ done
       │            ├───────▶ failed      and with it all that depend on it
       └────────────┴───────▶ cancelled   the same

Everything that happens to a run is an event in its inbox.  Whoever holds the turn works the inbox off; nobody waits for
the turn, because its holder looks into the inbox once more after giving it back.  So the state needs no lock, an end can
be told from any thread at any instant, and no thread is held up by another.

Who works it off: the thread that starts the run, until it has started what needs only the inputs.  Afterwards whoever
tells an end, the dispatcher of a pool most of the time, as far as that runs no user code: it passes results on, and
starts calls of importable functions with plain data (`handles.is_plain`).  What else is to be done waits for the
conductor, because opening a value or packing a call may run user code.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections import deque
from concurrent.futures._base import LOGGER
from contextvars import Context, copy_context
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from .._sealed import SealedAnswer, SealedError
from . import wording
from .conductor import conductor
from .handles import (
    Cancelled,
    Envelope,
    Failure,
    Joined,
    Noted,
    Value,
    body_in,
    holds_packed,
    is_plain,
    note_stage,
    opened,
    snapshot,
    to_pass,
)
from .plan import CALL, DICT, EACH, TUPLE, UNPACK, by_height, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Final

    from .._call import Call, Sealed
    from .._wire.forms import Form
    from ..options import Options, Retry
    from .nodes import Node
    from .plan import Plan, Step
    from .whole import Attempts

PENDING: Final = "pending"
SUBMITTED: Final = "submitted"
DONE: Final = "done"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"

_ENDED: Final = 0
_WATCHED: Final = 1
_STOPPED: Final = 2
_PART_STOPPED: Final = 3
_WAITING_STOPPED: Final = 4


class Sink(Protocol):
    """Whoever waits for the end of a run, or of a part of it.  Its methods never block."""

    def _deliver(self, sealed: Sealed) -> None:
        """Take the value or the error."""

    def _drop(self) -> None:
        """Learn that it was cancelled."""


class Lane(Protocol):
    """An executor as a run sees it."""

    fuses: bool
    """Whether neighbours may be one call."""
    passes_on: bool
    """Whether its calls take handles of large values."""
    is_quick: bool
    """Whether a call of an importable function with plain data can be started on any thread."""

    def takes_along(self, context: Context) -> bool:
        """Tell whether calls take values of context variables along, whose packing may run user code."""
        raise NotImplementedError

    def form(self, step: Step) -> Form | None:
        """Give the form of a call that can be put together from bytes, on any thread: no user code runs by that."""

    def send(self, leg: Leg, form: Form, args: list[bytes], named: list[bytes]) -> None:
        """Start such a call."""

    def start(self, leg: Leg, step: Step, args: list[Any], kwargs: dict[str, Any], limits: Limits) -> None:
        """Start the call of a step; its end goes to the leg.  May raise, and then nothing was started."""

    def stop(self, leg: Leg, *, running: bool) -> None:
        """Cancel it; stop it if it runs and `running` says so."""

    def begin(self, run: Run) -> None:
        """Learn that a run has begun that may start calls for some time; raise if there can be none."""

    def end(self, run: Run) -> None:
        """Learn that it will start no more."""

    def for_step(self, on: Any) -> Lane:
        """Give the lane of a step with an executor of its own."""
        raise NotImplementedError

    def desk(self) -> Any:
        """Give what futures of runs turn to."""


class Limits:
    """The limits of a whole run, on the monotonic clock.

    `timeout` counts from when the first of its calls starts; until that is known each call gets all of it.
    """

    __slots__ = ("began", "deadline", "timeout", "within")

    def __init__(
        self, timeout: float | None = None, within: float | None = None, deadline: float | None = None
    ) -> None:
        self.timeout = timeout
        self.within = within
        self.began: float | None = None
        self.deadline = deadline

    def note(self, sealed: Sealed) -> None:
        """Learn from an end when the run began."""
        if self.timeout is not None and sealed.micros is not None:
            began = monotonic() - sealed.micros * 1e-6
            self.began = began if self.began is None else min(self.began, began)

    def end(self) -> float | None:
        """Give the time by which all is to be over, as far as it is known."""
        if self.timeout is None or self.began is None:
            return self.deadline
        end = self.began + self.timeout
        return end if self.deadline is None else min(end, self.deadline)


NO_LIMITS: Final = Limits()

_NO_TIMES: Final[dict[int, tuple[float, float]]] = {}


class Leg:
    """A step under way: where its end arrives, and what can be stopped."""

    __slots__ = ("call", "child", "engine", "future", "is_rescue", "lane", "run", "started", "step")

    def __init__(self, run: Run, step: Step) -> None:
        self.run = run
        self.step = step
        self.lane: Lane | None = None
        self.call: Call | None = None
        self.engine: Any = None
        self.future: Any = None
        self.child: Any = None
        self.is_rescue = False
        self.started = 0.0

    def _bind(self, call: Call, engine: Any) -> None:
        self.call = call
        self.engine = engine

    def _deliver(self, sealed: Sealed) -> None:
        self.run.tell((_ENDED, self, sealed))

    def _drop(self) -> None:
        self.run.tell((_ENDED, self, None))

    def _hear(self, sealed: Sealed) -> None:
        """Take word of the call's progress: nobody listens."""

    def stop(self, *, running: bool) -> None:
        """Cancel what it is the leg of."""
        if self.child is not None:
            self.child.cancel(waiting_only=not running)
        elif self.lane is not None:
            self.lane.stop(self, running=running)


class Run:
    """A run of a plan.

    Parameters
    ----------
    plan : Plan
        What to do.
    lane : Lane
        Where steps run that name no executor.
    sink : Sink
        Whoever waits for the result.
    keep : bool
        Whether results of steps stay readable.
    limits : Limits
        Of the whole run.
    context : Context, optional
        In which calls are posted; by default the caller's.
    """

    __slots__ = (
        "_bodies",
        "_inbox",
        "_is_quick",
        "_is_sorted",
        "_left",
        "_n_open",
        "_ready",
        "_rescues",
        "_settled",
        "_stopped",
        "_turn",
        "_values",
        "_waits",
        "_watchers",
        "children",
        "context",
        "keep",
        "lane",
        "legs",
        "limits",
        "plan",
        "sink",
        "slots",
        "states",
        "times",
    )

    def __init__(
        self,
        plan: Plan,
        lane: Lane,
        sink: Sink,
        *,
        keep: bool = False,
        limits: Limits = NO_LIMITS,
        context: Context | None = None,
    ) -> None:
        self.plan = plan
        self.lane = lane
        self.sink = sink
        self.keep = keep
        self.limits = limits
        context = copy_context() if context is None else context
        self.context = context if len(context) else _EMPTY
        self.slots: list[Sealed | None] = [None] * plan.n_slots
        self.states = [PENDING] * len(plan.steps)
        self.legs: dict[int, Leg] = {}
        self.times: dict[int, tuple[float, float]] = {} if keep else _NO_TIMES
        self._waits = plan.waits[:]
        self._left = plan.left[:]
        self._values: dict[int, Any] | None = None
        self._bodies: dict[int, bytes | None] | None = None
        self.children: dict[int, Run | Attempts] | None = None  # of graphs inside, by step, if it is kept
        self._watchers: dict[int, list[Sink]] | None = None
        self._ready: list[Step] = []
        self._is_sorted = True
        self._is_quick = lane.is_quick and not (len(self.context) and lane.takes_along(self.context))
        self._rescues: list[tuple[Leg, Options, Sealed]] | None = None
        self._n_open = len(plan.steps)
        self._settled = False
        self._stopped = False
        self._inbox: deque[tuple[Any, ...]] = deque()
        self._turn = allocate_lock()

    # ---------------------------------------------------------------- any thread

    @property
    def place(self) -> int | None:
        """Where it is, as a call says it: a number if it has begun."""
        return 0 if self.legs or self._n_open != len(self.plan.steps) else None

    def with_inner(self) -> Iterator[Run]:
        """Give this run, and those of the graphs inside it that have begun."""
        todo: list[Run] = [self]
        while todo:
            run = todo.pop(0)
            yield run
            for child in (run.children or {}).values():
                inner = child if isinstance(child, Run) else child.run
                if inner is not None:
                    todo.append(inner)

    def start(self, inputs: Sequence[Sealed]) -> None:
        """Begin; returns when everything that needs only the inputs has been started, and the other inputs are packed."""
        conductor()  # made here, because whoever tells an end may not start threads
        self.lane.begin(self)
        self._turn.acquire()
        try:
            self.slots[: len(inputs)] = inputs
            if self.lane.passes_on:
                for slot in self.plan.late:
                    self.slots[slot] = snapshot(inputs[slot])
            self._ready.extend(self.plan.first)  # the most urgent last
            if self.plan.result < self.plan.n_inputs:
                self._settle(inputs[self.plan.result])
            self._advance(may_open=True)
        finally:
            self._turn.release()
        if self._inbox:
            self.work()

    def tell(self, event: tuple[Any, ...]) -> None:
        """Put an event into the inbox, and see to it that somebody works it off."""
        self._inbox.append(event)
        try:
            self._work(may_open=False)
        except BaseException:  # a fault of ours, which is not to end whoever tells; the conductor shows it
            conductor().put(self)

    def cancel(self, *, waiting_only: bool = False) -> None:
        """Cancel the whole run; or only what has not started."""
        self.tell((_WAITING_STOPPED if waiting_only else _STOPPED,))

    def watch(self, slot: int, sink: Sink) -> None:
        """Have the end of a part told to `sink`, too."""
        self.tell((_WATCHED, slot, sink))

    def cancel_part(self, step: Step) -> None:
        """Cancel one step, and so what depends on it."""
        self.tell((_PART_STOPPED, step))

    def work(self) -> None:
        """Do all that can be done, unless somebody does; may run user code."""
        self._work(may_open=True)

    def _work(self, *, may_open: bool) -> None:
        while self._inbox or (may_open and (self._ready or self._rescues)):
            if not self._turn.acquire(blocking=False):
                return
            try:
                self._advance(may_open=may_open)
            except BaseException as error:  # a fault of ours: the run ends in it, and whoever told us goes on
                self._give_up(error)
            finally:
                self._turn.release()
        if not may_open and (self._ready or self._rescues):
            conductor().put(self)

    # ---------------------------------------------------------------- whoever holds the turn

    def _take(self, event: tuple[Any, ...]) -> None:
        """Take an event that is no end."""
        kind = event[0]
        if kind == _WATCHED:
            _, slot, sink = event
            handle = self.slots[slot]
            if handle is not None:
                _tell(sink, handle)
            else:
                if self._watchers is None:
                    self._watchers = {}
                self._watchers.setdefault(slot, []).append(sink)
        elif kind == _PART_STOPPED:
            step = event[1]
            if self.states[step.index] in (PENDING, SUBMITTED):
                under_way = self.legs.pop(step.index, None)
                if under_way is not None:
                    under_way.stop(running=True)
                self._fail(step, Cancelled(), CANCELLED)
        else:
            self._stop(waiting_only=kind == _WAITING_STOPPED)

    def _ended(self, leg: Leg, sealed: Sealed | None) -> None:
        """Take the end of a step."""
        step = leg.step
        del self.legs[step.index]
        if self.keep:
            end = monotonic()
            took = None if sealed is None else sealed.micros
            self.times[step.index] = (leg.started if took is None else end - took * 1e-6, end)
        if sealed is None:
            self._fail(step, Cancelled(), CANCELLED)
            return
        if self.limits is not NO_LIMITS:
            self.limits.note(sealed)
        options = step.options
        if step.treats_end and options is not None:
            is_rescued = "otherwise" in options or ("catch" in options and not leg.is_rescue)
            if is_rescued and (sealed.failed or not is_plain(sealed)):
                if self._rescues is None:
                    self._rescues = []
                self._rescues.append((leg, options, sealed))
                self.legs[step.index] = leg
                return
        self._conclude(step, sealed)

    def _conclude(self, step: Step, sealed: Sealed) -> None:
        """Take what a step has come to."""
        if step.treats_end and step.options is not None and step.options.get("results"):
            sealed = Envelope(Failure(sealed, step.note) if sealed.failed else sealed)
        if sealed.failed:
            self._fail(step, Failure(sealed, step.note), FAILED)
            return
        if type(sealed) is SealedAnswer and sealed._beside is not None:
            sealed.keep()
        self.states[step.index] = DONE
        self._n_open -= 1
        self._put(step, step.outs[0], sealed)

    def _rescue(self, failed: Leg, options: Options, sealed: Sealed) -> None:
        """Put something in the place of a failure, or of a value that cannot be opened."""
        step = failed.step
        if self.legs.get(step.index) is not failed:
            return  # cancelled meanwhile
        value, error = sealed.open()
        if error is None:
            del self.legs[step.index]
            self._conclude(step, Value(value))
            return
        leg = self._leg(step)
        leg.is_rescue = True
        if failed.is_rescue or "catch" not in options:
            leg._deliver(Value(options.get("otherwise")))
            return
        handler = _handler_of(step, options)
        try:
            leg.lane = self._lane(step)
            leg.lane.start(leg, handler, [error], {}, self.limits)
        except BaseException as new:
            leg._deliver(SealedError(new))
        finally:
            error = None

    def _leg(self, step: Step) -> Leg:
        leg = self.legs[step.index] = Leg(self, step)
        self.states[step.index] = SUBMITTED
        if self.keep:
            leg.started = monotonic()
        return leg

    def _lane(self, step: Step) -> Lane:
        return self.lane if step.on is None else self.lane.for_step(step.on)

    def _fill(self, step: Step, handles: Sequence[Sealed]) -> None:
        """Note what a step gives."""
        self.states[step.index] = DONE
        self._n_open -= 1
        for slot, handle in zip(step.outs, handles, strict=True):
            self._put(step, slot, handle)

    def _put(self, step: Step, slot: int, handle: Sealed) -> None:
        """Put a result into its slot, and see who has waited for just that."""
        self.slots[slot] = handle
        if self._watchers is not None:
            for sink in self._watchers.pop(slot, ()):
                _tell(sink, handle)
        plan = self.plan
        if slot == plan.result:
            self._settle(
                Noted(handle, step.note) if step.kind == CALL and type(handle) is not Value else handle
            )
        waits = self._waits
        for user in plan.users[slot]:
            at = user.index
            waits[at] -= 1
            if not waits[at] and self.states[at] is PENDING:
                self._ready.append(user)
                self._is_sorted = False
        if not self.keep and not self._left[slot]:
            self.slots[slot] = None

    def _fail(self, step: Step, handle: Sealed, state: str) -> None:
        """Note that a step gives nothing, and so nothing of what depends on it."""
        todo = [step]
        while todo:
            failed = todo.pop()
            if self.states[failed.index] not in (PENDING, SUBMITTED):
                continue
            self.states[failed.index] = state
            self._n_open -= 1
            for slot in failed.outs:
                self.slots[slot] = handle
                if self._watchers is not None:
                    for sink in self._watchers.pop(slot, ()):
                        _tell(sink, handle)
                if slot == self.plan.result:
                    self._settle(handle)
                todo.extend(self.plan.users[slot])

    def _settle(self, handle: Sealed) -> None:
        """Give the result, once."""
        if not self._settled:
            self._settled = True
            _tell(self.sink, handle)

    def _give_up(self, error: BaseException) -> None:
        """End in an error that no step is to blame for."""
        self._settle(SealedError(error))
        try:
            self._stop(waiting_only=False)
        except Exception:
            LOGGER.exception("exception in a run of a graph")

    def _stop(self, *, waiting_only: bool) -> None:
        """Cancel all that has not ended."""
        cancelled = Cancelled()
        self._stopped = True
        for leg in list(self.legs.values()):
            leg.stop(running=not waiting_only)
            if not waiting_only:
                self.legs.pop(leg.step.index, None)
                self._fail(leg.step, cancelled, CANCELLED)
        for step in self.plan.steps:
            if self.states[step.index] is PENDING:
                self._fail(step, cancelled, CANCELLED)
        self._settle(cancelled)

    # ---------------------------------------------------------------- starting

    def _advance(self, *, may_open: bool) -> None:
        """Work the inbox off, and start what is ready and what becomes so by that; longest way first."""
        inbox, ready = self._inbox, self._ready
        left: list[Step] = []  # that need somebody who may run user code
        while True:
            while inbox:
                event = inbox.popleft()
                if event[0] == _ENDED:
                    ended: Leg = event[1]
                    if self.legs.get(ended.step.index) is ended:
                        self._ended(ended, event[2])
                else:
                    self._take(event)
            if self._rescues and may_open:
                self._rescue(*self._rescues.pop())
                continue
            if not ready:
                break
            if not self._is_sorted:
                self._is_sorted = True
                if len(ready) > 1:
                    ready.sort(key=by_height)
            step = ready.pop()
            if self.states[step.index] is not PENDING:
                continue
            try:
                if not (step.is_bare and self._is_quick and self._begin_quickly(step)):
                    if may_open or self._is_harmless(step):
                        self._begin(step)
                    else:
                        left.append(step)
            except BaseException as error:
                self.legs.pop(step.index, None)
                self._fail(step, Failure(SealedError(error), step.note), FAILED)
                if not isinstance(error, Exception):
                    self._stop(waiting_only=False)
                    raise
        if left:
            ready.extend(left)
            self._is_sorted = False
        if not self._n_open:
            self._n_open = -1
            self.lane.end(self)
            self._values = self._bodies = None
            self._waits = self._left = _NONE  # a run may be kept for long
            # A kept future is to keep its parts alive, but no pool, and there is to be no cycle.
            self.lane, self.sink, self.context = _NO_LANE, _NOBODY, _EMPTY

    def _begin_quickly(self, step: Step) -> bool:
        """Start a call by putting together the bytes that came, if it can be; this runs no user code."""
        lane = self.lane
        form = lane.form(step)
        if form is None or self.limits is not NO_LIMITS:
            return False
        args = []
        for slot in step.args:
            body = self._body(slot)
            if body is None:
                return False
            args.append(body)
        named = []
        for _, slot in step.names:
            body = self._body(slot)
            if body is None:
                return False
            named.append(body)
        leg = self._leg(step)
        leg.lane = lane
        lane.send(leg, form, args, named)
        for slot in step.slots:
            self._used(slot)
        return True

    def _body(self, slot: int) -> bytes | None:
        """Give the bytes of what a slot holds, if they can stand in a call; made once for all who need them."""
        bodies = self._bodies
        if bodies is None:
            bodies = self._bodies = {}
        elif slot in bodies:
            return bodies[slot]
        body = bodies[slot] = body_in(self.slots[slot])
        return body

    def _is_harmless(self, step: Step) -> bool:
        """Tell whether a step can begin without running any user code."""
        if step.kind in (TUPLE, DICT):
            return True
        if not step.is_bare or not self._is_quick:
            return False
        slots = self.slots
        values = self._values or ()
        return all(slot in values or is_plain(slots[slot]) for slot in step.slots)

    def _begin(self, step: Step) -> None:
        kind = step.kind
        if kind == CALL:
            lane = self._lane(step)
            value = self._passed if lane.passes_on else self._value
            args = [value(slot) for slot in step.args]
            kwargs = {name: value(slot) for name, slot in step.names}
            leg = self._leg(step)
            leg.lane = lane
            lane.start(leg, step, args, kwargs, self.limits)
        elif kind in (TUPLE, DICT):
            handles = [self._handle(slot) for slot in step.args or [slot for _, slot in step.names]]
            joined = Joined(handles, [name for name, _ in step.names] if kind == DICT else tuple)
            self._fill(step, (joined,))
        elif kind == UNPACK:
            self._fill(step, self._unpacked(step))
        else:
            self._begin_graph(step)
        for slot in step.slots:
            self._used(slot)

    def _handle(self, slot: int) -> Sealed:
        handle = self.slots[slot]
        assert handle is not None
        return handle

    def _value(self, slot: int) -> Any:
        """Open what a slot holds, once for all who need it."""
        values = self._values
        if values is not None and slot in values:
            return values[slot]
        handle = self._handle(slot)
        try:
            value = handle.value if type(handle) is Value else opened(handle)
        except Exception as error:
            self._is_unreadable(slot, error)
            raise
        if self._left[slot] > 1:
            if values is None:
                values = self._values = {}
            values[slot] = value
        return value

    def _is_unreadable(self, slot: int, error: BaseException) -> None:
        """Blame the step that gave a result which cannot be opened, and not one that needs it."""
        maker = self.plan.makers[slot]
        if maker is None or maker.kind != CALL:
            return
        note_stage(error, maker.note)
        self.states[maker.index] = FAILED
        failure = Failure(SealedError(error), maker.note)
        self.slots[slot] = failure
        for user in self.plan.users[slot]:
            self._fail(user, failure, FAILED)

    def _passed(self, slot: int) -> Any:
        """Give what a slot holds to a call of one of our pools: large values go on unopened."""
        handle = self._handle(slot)
        return to_pass(handle) if holds_packed(handle) else self._value(slot)

    def _used(self, slot: int) -> None:
        self._left[slot] -= 1
        if not self._left[slot]:
            if self._values is not None:
                self._values.pop(slot, None)
            if self._bodies is not None:
                self._bodies.pop(slot, None)
            if not self.keep and slot != self.plan.result:
                self.slots[slot] = None

    def _unpacked(self, step: Step) -> Sequence[Sealed]:
        """Deal one result out."""
        (slot,) = step.args
        handle = self.slots[slot]
        if type(handle) is Joined and handle.names is tuple and len(handle.handles) == len(step.outs):
            return handle.handles
        value = self._value(slot)
        if not isinstance(value, tuple | list) or len(value) != len(step.outs):
            raise wording.not_unpackable(wording.place(tuple(step.path.split("/"))), len(step.outs), value)
        return [Value(one) for one in value]

    def _begin_graph(self, step: Step) -> None:
        """Start the graph inside a step."""
        from .whole import Elements, start_whole

        leg = self._leg(step)
        leg.lane = self.lane
        if step.kind == EACH:
            leg.child = Elements(leg, self.lane, step, self._value(step.args[0]), self.limits)
            leg.child.start()
        else:
            args = [self._handle(slot) for slot in step.args]
            names = {name: self._handle(slot) for name, slot in step.names}
            leg.child = start_whole(leg, self._lane(step), step, args, names, self.limits, keep=self.keep)
            if self.keep:
                self.children = {**(self.children or {}), step.index: leg.child}


class _Nobody:
    """Whoever waits for the end of a run that has ended."""

    def _deliver(self, sealed: Sealed) -> None:
        """Take nothing."""

    def _drop(self) -> None:
        """Take nothing."""


_NOBODY: Final = _Nobody()
_NO_LANE: Any = None
_NONE: Final[list[int]] = []
_EMPTY: Final = Context()


def _tell(sink: Sink, handle: Sealed) -> None:
    if type(handle) is Cancelled:
        sink._drop()
    else:
        sink._deliver(handle)


def _handler_of(step: Step, options: Options) -> Step:
    """Give the step that calls the handler of another."""
    from .plan import Step as NewStep

    made = NewStep(CALL, (), (), step.path, f"{step.label}.catch")
    made.calls = [("", options.get("catch"), made.note)]
    return made


def plan_of(
    plans: dict[Any, Plan],
    node: Node,
    n_args: int,
    keywords: tuple[str, ...],
    *,
    fuse: bool,
    given: str = "call",
    path: tuple[str, ...] = (),
) -> Plan:
    """Give the plan for calls of one shape, made once."""
    key = n_args, keywords, fuse, given
    found = plans.get(key)
    if found is None:
        found = plans[key] = plan(node, n_args, keywords, fuse=fuse, given=given, path=path)
    return found


def repeats(retry: Retry, error: BaseException) -> bool:
    """Tell whether a run that ended with this error is to be repeated."""
    from concurrent.futures import BrokenExecutor, CancelledError

    from ..errors import WorkerDied

    if isinstance(error, CancelledError) or not isinstance(error, retry.on):
        return False
    if isinstance(error, WorkerDied):
        return any(issubclass(one, BrokenExecutor) for one in retry.on)
    return True


def after(seconds: float, fn: Callable[[], None]) -> None:
    """Call `fn` later."""
    conductor().later(monotonic() + seconds, fn)
