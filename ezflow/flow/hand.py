"""Those who do jobs: a pool of ours, an executor of another library, or this thread.

A hand starts a job and brings the end to the listener, from any thread; it can stop what it has started.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from .._map import Slot
from .._plan import Plan
from .._sealed import SealedError
from .._through import Relayed
from ..graph.handles import Value
from ..options import NOTHING
from .calls import run_again, run_in, run_pieces, run_timed
from .nodes import Living
from .packed import unpacked
from .piece import KEPT
from .program import run_items

if TYPE_CHECKING:
    from ..executor import ProcessPoolExecutor
    from ..options import Options
    from .machine import Machine
    from .run import Listener
    from .work import Job, Work


def failing(work: Work) -> tuple[bool, Any]:
    """Say what a call does with items that fail: it raises if it is to be repeated, and the machine keeps them then."""
    if work.alone:
        return False, None
    return work.keep, work.handler


def opened(job: Job) -> list[Any]:
    """Give the items of a job, rebuilt for a function that sees them here or goes elsewhere with them."""
    return [unpacked(item) for item in job.items] if job.op.machine.has_packed else job.items


def again(work: Work) -> tuple[int, Any, float, float] | None:
    """Give how often a call is repeated, for executors that repeat nothing themselves."""
    options = work.extra.options if isinstance(work.extra, Living) else work.extra
    retry = None if options is None else options.get("retry")
    return (retry.n, retry.on, retry.delay, retry.backoff) if retry is not None and retry.n else None


class PoolHand:
    """A pool of ours: no future for each job."""

    def __init__(self, pool: ProcessPoolExecutor, listener: Listener, context: Any) -> None:
        self.pool = pool
        self._listener = listener
        self._context = context
        self._options = (pool._options or NOTHING).without("named", "progress")
        self._plans: dict[Work, tuple[Options, Plan | None]] = {}
        self._slots: dict[Job, Slot] = {}
        self.n_workers = pool._max_workers

    def start(self, job: Job, machine: Machine) -> None:
        """Post the job."""
        work = job.op
        names = machine.settings.names
        args = (work.program, job.base, *failing(work), job.items, names, work.to_pack)
        env = None if work.extra is None else work.extra.get("env")
        label = f"flow stage {work.note}"
        if work.streams:
            plan = self.plan_of(work)
            assert plan is not None
            sink = PieceSink(self._listener, job)
            self._listener.expect(sink, job, self)
            self._slots[job] = sink  # type: ignore[assignment]  # what is asked of it is its call
            args = (work.program, job.base, work.keep, work.handler, job.items[0], names, work.to_pack)
            taker: Any = sink  # it has what an `Inbox` has for the dispatcher
            self.pool._post(
                taker, run_pieces, args, {}, plan, plan.deadline(), label=label, context=self._context
            )
            streams: Any = work
            streams.begun(job, sink)
            return
        if env:
            self.post(job, run_in, (env, *args), label, self.plan_of(work))
        else:
            self.post(job, run_items, args, label, self.plan_of(work))

    def plan_of(self, work: Work) -> Plan | None:
        """Give what is to be done with the calls of a stage."""
        known = self._plans.get(work)
        if known is None:
            options = self._options
            own = work.extra.options if isinstance(work.extra, Living) else work.extra
            if own is not None:
                if "stream" in own:  # nothing that was sent can be repeated
                    options = options.without("retry")
                options = options.under(own.without("on", "env", "max_pending", *KEPT))
            known = self._plans[work] = options, Plan.of(options) if len(options) else None
        return known[1]

    def post(
        self,
        job: Any,
        fn: Any,
        args: tuple[Any, ...],
        label: str,
        plan: Plan | None = None,
        owner: Any = None,
    ) -> None:
        """Post a call whose end belongs to a job."""
        slot = Slot(self._listener)
        self._listener.expect(slot, job, owner or self)
        self._slots[job] = slot
        deadline = None if plan is None else plan.deadline()
        self.pool._post(slot, fn, args, {}, plan, deadline, label=label, context=self._context)

    def ended(self, job: Job) -> None:
        """Forget a job."""
        self._slots.pop(job, None)

    def close(self) -> None:
        """Stop the jobs under way."""
        slots, self._slots = self._slots, {}
        engine = self.pool._engine
        for slot in slots.values():
            call = slot.call
            if call is not None and engine is not None:
                engine.stop(call)


class PieceSink:
    """Where the pieces of a stream come, on the dispatcher's thread."""

    __slots__ = ("_engine", "_listener", "call", "cancelled", "job", "pieces", "sealed")

    def __init__(self, listener: Listener, job: Job) -> None:
        self._listener = listener
        self._engine: Any = None
        self.job = job
        self.call: Any = None
        self.cancelled = False
        self.sealed: Any = None
        self.pieces: deque[Any] = deque()

    def _bind(self, call: Any, engine: Any) -> None:
        self.call = call
        self._engine = engine

    def _hear(self, sealed: Any) -> None:
        """Take word of the call's progress: nobody listens."""

    def take(self, sealed: Any) -> None:
        """Take a piece."""
        self.pieces.append(sealed)
        self._listener.finished(PieceHere(self))

    def _deliver(self, sealed: Any) -> None:
        self.call = None
        self.sealed = sealed
        self._listener.finished(self)

    def _drop(self) -> None:
        self.call = None
        self.cancelled = True
        self._listener.finished(self)

    def ask(self) -> None:
        """Allow another piece (the mover's thread)."""
        call = self.call
        if call is not None:
            self._engine.grant(call, 1)


class PieceHere:
    """Word that a piece of a stream has come."""

    __slots__ = ("sink",)

    def __init__(self, sink: PieceSink) -> None:
        self.sink = sink


class OtherHand:
    """An executor of another library."""

    def __init__(self, executor: Any, listener: Listener) -> None:
        self._executor = executor
        self._listener = listener
        self._futures: dict[Job, Any] = {}
        self.n_workers: int = getattr(executor, "_max_workers", None) or 4

    def start(self, job: Job, machine: Machine) -> None:
        """Submit the job."""
        work = job.op
        slot = Slot(self._listener)
        self._listener.expect(slot, job, self)
        args = work.program, job.base, *failing(work), opened(job), machine.settings.names
        retry = again(work)
        if retry is None:
            future = self._executor.submit(run_timed, *args)
        else:
            future = self._executor.submit(run_again, retry, *args)
        self._futures[job] = future
        future.add_done_callback(PassOn(slot))

    def ended(self, job: Job) -> None:
        """Forget a job."""
        self._futures.pop(job, None)

    def close(self) -> None:
        """Cancel what has not started; what runs in threads goes on to its end."""
        futures, self._futures = self._futures, {}
        for future in futures.values():
            future.cancel()


class PassOn:
    """Passes the end of a future on to a slot."""

    __slots__ = ("_slot",)

    def __init__(self, slot: Slot) -> None:
        self._slot: Slot | None = slot

    def __call__(self, future: Any) -> None:
        """Pass it on."""
        slot, self._slot = self._slot, None
        if slot is None:
            return
        if future.cancelled():
            slot._drop()
        else:
            slot._deliver(_TimedRelay(future))


class _TimedRelay(Relayed):
    """The end of a future whose value brings along how long it took."""

    __slots__ = ()

    def open(self) -> tuple[object, BaseException | None]:
        """Give the value or the error."""
        value: Any
        value, error = super().open()
        if error is not None:
            return None, error
        value, self.micros = value
        return value, None


class _Timed(Value):
    """A value that was made here, and how long that took."""

    __slots__ = ("micros",)


class HereHand:
    """The thread that moves the run."""

    n_workers = 1

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def start(self, job: Job, machine: Machine) -> None:
        """Run the job."""
        work = job.op
        self.run(job, work.program, job.base, *failing(work), opened(job), machine.settings.names)

    def run(self, job: Job, *args: Any) -> None:
        """Run a program for a job."""
        slot = Slot(self._listener)
        self._listener.expect(slot, job, self)
        try:
            retry = again(job.op)
            outcome, micros = run_timed(*args) if retry is None else run_again(retry, *args)
        except Exception as error:
            slot._deliver(SealedError(error))
        else:
            timed = _Timed(outcome)
            timed.micros = micros
            slot._deliver(timed)

    def ended(self, job: Job) -> None:
        """Nothing to forget."""

    def close(self) -> None:
        """Nothing runs."""
