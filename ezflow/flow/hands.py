"""Where jobs of a run are done: each stage's hand, made when it is needed."""

from __future__ import annotations

from contextlib import ExitStack
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from ..errors import GraphError
from ..graph import lanes
from .collect import Collect
from .forks import Back, Fork
from .hand import HereHand, OtherHand, PoolHand
from .homes import LivingHere, LivingInProcesses, LivingInThreads, StreamHome
from .nodes import Living
from .packed import ELEMENTS, WHOLE
from .waiting import AsyncHand
from .work import Work

if TYPE_CHECKING:
    from ..options import Options
    from .machine import Machine
    from .packet import Operation
    from .run import Listener
    from .work import Job


class Hands:
    """All that a run needs to have its jobs done."""

    def __init__(self, on: Any, listener: Listener) -> None:
        self._listener = listener
        self._on = on
        self._context = copy_context()
        self._hands: dict[Any, Any] = {}
        self.loop: Any = None
        """The event loop of the consumer, if he is in one."""
        self._main = None if on == "async" else self._make(on)

    @property
    def n_workers(self) -> int:
        """How many jobs of a stage can be done at the same time."""
        n: int = 4 if self._main is None else self._main.n_workers
        return n

    @property
    def is_inline(self) -> bool:
        """Whether every stage runs in the thread that moves the run."""
        return isinstance(self._main, HereHand)

    def start(self, job: Job, machine: Machine) -> None:
        """Start a job."""
        work = job.op
        if work.to_pack is None:
            work.to_pack = self._goes_on_packed(work.after)
        self._hand_of(work).start(job, machine)

    def _goes_on_packed(self, after: Operation | None) -> int:
        """Tell what of an output the next call takes in a process of ours, so that nobody here has to look at it."""
        while after is not None:
            if isinstance(after, Fork):
                return max(map(self._goes_on_packed, after.branches))
            if isinstance(after, Collect):
                if getattr(after.collector, "looks", False):
                    return 0
            elif isinstance(after, Work):
                if after.is_light:
                    return ELEMENTS if self._goes_on_packed(after.after) else 0
                return WHOLE if self._is_ours(after) else 0
            after = after.fork.after if isinstance(after, Back) else after.after
        return 0

    def _is_ours(self, work: Work) -> bool:
        """Tell whether the jobs of a stage are done in processes of ours."""
        if self.is_inline:
            return False
        extra = work.extra
        options = extra.options if isinstance(extra, Living) else extra
        on = None if options is None else options.get("on")
        if isinstance(on, str):
            return on == "process"
        if on is not None:
            return isinstance(lanes.lane_of(on), lanes.PoolLane)
        return isinstance(extra, Living) or work.streams or isinstance(self._main, PoolHand)

    def _hand_of(self, work: Work) -> Any:
        extra = work.extra
        if isinstance(extra, Living):
            hand = self._hands.get(work)
            if hand is None:
                hand = self._hands[work] = self._living(work, extra)
            return hand
        if work.streams and not self.is_inline:
            hand = self._hands.get(work)
            if hand is None:
                hand = self._hands[work] = StreamHome(
                    extra, self._context_like(extra.get("on"), work.note), self._listener, self._context
                )
            return hand
        if extra is None or self.is_inline:
            return self._main if self._main is not None else self._hand_on("async")
        on = extra.get("on", "async" if self._main is None else None)
        hand = self._main if on is None else self._hand_on(on)
        self._check(isinstance(hand, PoolHand | HereHand), extra, work.note)
        return hand

    def _hand_on(self, on: Any) -> Any:
        key = on if isinstance(on, str) else id(on)
        hand = self._hands.get(key)
        if hand is None:
            hand = self._hands[key] = self._make(on)
        return hand

    def _living(self, work: Work, node: Living) -> Any:
        """Make the workers of a `Stage`."""
        on = node.options.get("on")
        if self.is_inline or on == "inline":
            return LivingHere(node, self._listener)
        if on == "thread":
            self._check(False, node.options, work.note)
            return LivingInThreads(node, self._listener)
        if on == "async":
            raise GraphError(f"{node.name} is a Stage, which has workers of its own: 'process' or 'thread'.")
        context = self._context_like(on, work.note)
        return LivingInProcesses(node, context, self._listener, self._context)

    def _context_like(self, on: Any, note: str) -> Any:
        """Give how workers of a stage's own start: as those of the pool do."""
        if on in ("thread", "inline", "async"):
            raise GraphError(f"stage {note} streams, which takes a worker process: leave .on({on!r}) out.")
        like = self._main if on is None else self._make(on)
        return like.pool._mp_context if isinstance(like, PoolHand) else None

    def _check(self, is_kept: bool, options: Options, note: str) -> None:
        """Complain of options that a hand cannot keep."""
        for word in () if is_kept else ("timeout", "within", "priority", "env"):
            if options.get(word):
                raise GraphError(
                    f"stage {note} has {'with_env' if word == 'env' else word}(...), which only a pool of ezflow's"
                    " processes can keep. Run it on one: .on('process')."
                )

    def _make(self, on: Any) -> Any:
        if on == "async":
            return AsyncHand(self._listener, self.loop)
        lane = lanes.lane_of(on)
        if isinstance(lane, lanes.PoolLane):
            return PoolHand(lane.pool, self._listener, self._context)
        if isinstance(lane, lanes.InlineLane):
            return HereHand(self._listener)
        return OtherHand(lane._executor, self._listener)  # type: ignore[attr-defined]  # the third kind

    def finish(self) -> None:
        """End what is the run's own, after its last item; raises what a teardown raises."""
        for hand in self._hands.values():
            if isinstance(hand, LivingInProcesses | LivingInThreads | LivingHere | StreamHome):
                hand.finish()

    def close(self) -> None:
        """Stop all jobs, and end what is the run's own."""
        with ExitStack() as closing:  # all of them, whatever one of them raises
            for hand in [self._main, *self._hands.values()][::-1]:
                if hand is not None:
                    closing.callback(hand.close)
