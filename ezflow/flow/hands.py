"""Where jobs of a run are done: on a pool of ours, on another executor, in workers of a stage's own, or here.

A hand starts a job and brings the end to the listener, from any thread; it can stop what it has started.
"""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from .._map import Slot
from .._plan import Plan
from .._sealed import SealedError
from .._through import Relayed
from ..executor import ProcessPoolExecutor
from ..graph import lanes
from ..graph.handles import Value
from ..options import NOTHING
from .living import run_living, set_up, tear_down
from .nodes import Living
from .program import MAP, run_items, run_timed

if TYPE_CHECKING:
    from ..options import Options
    from .machine import Job, Machine, Work
    from .run import Listener

ON_STAGE = ("timeout", "within", "retry", "priority")


class Hands:
    """All that a run needs to have its jobs done."""

    def __init__(self, on: Any, listener: Listener) -> None:
        self._listener = listener
        self._on = on
        self._context = copy_context()
        self._hands: dict[Any, Any] = {}
        self._main = self._make(on)

    @property
    def n_workers(self) -> int:
        """How many jobs of a stage can be done at the same time."""
        n: int = self._main.n_workers
        return n

    def start(self, job: Job, machine: Machine) -> None:
        """Start a job."""
        self._hand_of(job.op).start(job, machine)

    def _hand_of(self, work: Work) -> Any:
        extra = work.extra
        if extra is None:
            return self._main
        if isinstance(extra, Living):
            hand = self._hands.get(work)
            if hand is None:
                hand = self._hands[work] = LivingHand(extra, self._main, self._listener, self._context)
            return hand
        if "on" not in extra or isinstance(self._main, HereHand):
            return self._main
        on = extra.get("on")
        hand = self._hands.get(id(on))
        if hand is None:
            hand = self._hands[id(on)] = self._make(on)
        return hand

    def _make(self, on: Any) -> Any:
        lane = lanes.lane_of(on)
        if isinstance(lane, lanes.PoolLane):
            return PoolHand(lane.pool, self._listener, self._context)
        if isinstance(lane, lanes.InlineLane):
            return HereHand(self._listener)
        return OtherHand(lane._executor, self._listener)  # type: ignore[attr-defined]  # the third kind

    def finish(self) -> None:
        """End what is the run's own, after its last item; raises what a teardown raises."""
        for hand in self._hands.values():
            if isinstance(hand, LivingHand):
                hand.finish()

    def close(self) -> None:
        """Stop all jobs, and end what is the run's own."""
        for hand in (self._main, *self._hands.values()):
            hand.close()


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
        known = self._plans.get(work)
        if known is None:
            options = self._options
            if work.extra is not None and not isinstance(work.extra, Living):
                options = options.under(work.extra.without("on"))
            known = self._plans[work] = options, Plan.of(options) if len(options) else None
        plan = known[1]
        self.post(
            job,
            run_items,
            (work.program, job.base, work.keep, work.handler, job.items, machine.settings.names),
            f"flow stage {work.note}",
            plan,
        )

    def post(self, job: Any, fn: Any, args: tuple[Any, ...], label: str, plan: Plan | None = None) -> None:
        """Post a call whose end belongs to a job."""
        slot = Slot(self._listener)
        self._listener.expect(slot, job, self)
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


class LivingHand:
    """Workers that a `Stage` has for itself: a pool of one process for each of its copies."""

    def __init__(self, node: Living, main: Any, listener: Listener, context: Any) -> None:
        stage = node.stage
        self._here = isinstance(main, HereHand)
        self._pools: list[ProcessPoolExecutor] = []
        self._free: list[PoolHand] = []
        self._hands: list[PoolHand] = []
        self._busy: dict[Any, PoolHand] = {}
        self._used: set[int] = set()
        self._note = node.name
        self._listener = listener
        self._stage: Any = None
        stage.initialize()
        if self._here:  # inside a worker, or for a debugger
            import copy

            self._stage = copy.deepcopy(stage)
            self._stage.setup()
            return
        context_of = main.pool._mp_context if isinstance(main, PoolHand) else None
        for _ in range(node.n):
            pool = ProcessPoolExecutor(1, context_of, set_up, (stage,))
            self._pools.append(pool)
            self._hands.append(PoolHand(pool, listener, context))
        self._free = self._hands[::-1]

    def start(self, job: Job, machine: Machine) -> None:
        """Post the job to a worker that is free."""
        work = job.op
        rest = work.program[1:]
        args = job.base, work.keep, work.handler, job.items, machine.settings.names
        if self._here:
            HereHand(self._listener).run(job, ((MAP, self._stage.do, work.note), *rest), *args)
            return
        hand = self._free.pop()
        self._busy[job] = hand
        self._used.add(id(hand))
        slot = Slot(self._listener)
        self._listener.expect(slot, job, self)
        hand._slots[job] = slot
        hand.pool._post(
            slot,
            run_living,
            (work.note, rest, *args),
            {},
            label=f"flow stage {work.note}",
            context=hand._context,
        )

    def ended(self, job: Job) -> None:
        """Let its worker be free."""
        hand = self._busy.pop(job)
        hand.ended(job)
        self._free.append(hand)

    def finish(self) -> None:
        """Tear down, after the last item."""
        if self._here:
            stage, self._stage = self._stage, None
            if stage is not None:
                stage.teardown()
            return
        futures = [hand.pool.submit(tear_down) for hand in self._hands if id(hand) in self._used]
        for future in futures:
            future.result()
        for pool in self._pools:
            pool.shutdown()
        self._pools = []
        self._hands = []

    def close(self) -> None:
        """Stop what runs; workers that are left tear down, but nobody waits for them for long."""
        if self._here:
            self.finish()
            return
        from concurrent.futures import wait

        pools, self._pools = self._pools, []
        hands, self._hands = self._hands, []
        for hand in hands:
            hand.close()
        futures = []
        for hand in hands:
            if id(hand) in self._used:
                try:
                    futures.append(hand.pool.submit(tear_down))
                except Exception:  # its pool is broken: there is nothing to tear down
                    pass
        wait(futures, timeout=0.7)
        for pool in pools:
            pool.kill_workers()
            pool.shutdown()


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
        future = self._executor.submit(
            run_timed, work.program, job.base, work.keep, work.handler, job.items, machine.settings.names
        )
        self._futures[job] = future
        future.add_done_callback(_PassOn(slot))

    def ended(self, job: Job) -> None:
        """Forget a job."""
        self._futures.pop(job, None)

    def close(self) -> None:
        """Cancel what has not started; what runs in threads goes on to its end."""
        futures, self._futures = self._futures, {}
        for future in futures.values():
            future.cancel()


class _PassOn:
    """Passes the end of a future on to a slot."""

    __slots__ = ("_slot",)

    def __init__(self, slot: Slot) -> None:
        self._slot: Slot | None = slot

    def __call__(self, future: Any) -> None:
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
        self.run(job, work.program, job.base, work.keep, work.handler, job.items, machine.settings.names)

    def run(self, job: Job, *args: Any) -> None:
        """Run a program for a job."""
        slot = Slot(self._listener)
        self._listener.expect(slot, job, self)
        try:
            outcome, micros = run_timed(*args)
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
