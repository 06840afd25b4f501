"""Where a `Stage` lives: in worker processes of its own, in threads of its own, or here."""

from __future__ import annotations

import copy
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from .._map import Slot
from ..executor import ProcessPoolExecutor
from .calls import run_again, run_timed
from .hand import HereHand, PassOn, PoolHand, again, failing, opened
from .living import environ_with, run_living, set_up, tear_down
from .piece import environment
from .program import MAP

if TYPE_CHECKING:
    from typing import Final

    from ..options import Options
    from .machine import Machine
    from .nodes import Living
    from .run import Listener
    from .work import Job

PATIENCE: Final = 0.7
"""Seconds in which stages may tear down when a run is stopped; then their workers are killed, and threads left to themselves."""


class SetUpFailed(BrokenExecutor):
    """A stage could not be set up; its cause is the stage's own error."""


class LivingInProcesses:
    """A pool of one process for each copy of the stage."""

    def __init__(self, node: Living, mp_context: Any, listener: Listener, context: Any) -> None:
        stage = node.stage
        env = (*environment(stage.env), *node.options.get("env", ()))
        self._busy: dict[Any, PoolHand] = {}
        self._used: set[int] = set()
        self._listener = listener
        stage.initialize()
        self._pools = [ProcessPoolExecutor(1, mp_context, set_up, (stage, env)) for _ in range(node.n)]
        self._hands = [PoolHand(pool, listener, context) for pool in self._pools]
        self._free = self._hands[::-1]

    def start(self, job: Job, machine: Machine) -> None:
        """Post the job to a worker that is free."""
        work = job.op
        names = machine.settings.names
        args = work.note, work.program[1:], job.base, *failing(work), job.items, names, work.to_pack
        hand = self._free.pop()
        self._busy[job] = hand
        self._used.add(id(hand))
        hand.post(job, run_living, args, f"flow stage {work.note}", hand.plan_of(work), owner=self)

    def ended(self, job: Job) -> None:
        """Let its worker be free."""
        hand = self._busy.pop(job)
        hand.ended(job)
        self._free.append(hand)

    def finish(self) -> None:
        """Tear down, after the last item."""
        futures = [hand.pool.submit(tear_down) for hand in self._hands if id(hand) in self._used]
        for future in futures:
            future.result()
        for pool in self._pools:
            pool.shutdown()
        self._pools = []
        self._hands = []

    def close(self) -> None:
        """Let workers tear down behind the call that they are in, but wait for nobody for long.

        A call that is stopped costs its worker, and nobody would be there to tear down.
        """
        pools, self._pools = self._pools, []
        hands, self._hands = self._hands, []
        futures = []
        for hand in hands:
            if id(hand) in self._used:
                try:
                    futures.append(hand.pool.submit(tear_down))
                except Exception:  # its pool is broken: there is nothing to tear down
                    pass
        wait(futures, timeout=PATIENCE)
        for pool in pools:
            pool.kill_workers()
            pool.shutdown()


class StreamHome(PoolHand):
    """A worker for a stage whose outputs come in pieces."""

    def __init__(self, options: Options, mp_context: Any, listener: Listener, context: Any) -> None:
        env = dict(options.get("env", ()))
        super().__init__(ProcessPoolExecutor(1, mp_context, environ_with, (env,)), listener, context)

    def finish(self) -> None:
        """End the worker, after the last item."""
        self.pool.shutdown()

    def close(self) -> None:
        """Stop what runs."""
        super().close()
        self.pool.kill_workers()
        self.pool.shutdown()


class _Home:
    """A copy of the stage in a thread."""

    def __init__(self, stage: Any) -> None:
        self.executor = ThreadPoolExecutor(1, thread_name_prefix=f"ezflow-{type(stage).__name__}")
        self._stage = copy.deepcopy(stage)
        self.is_set_up = False

    def run(self, retry: Any, note: str, rest: Any, *args: Any) -> Any:
        """Run `do` over items."""
        if not self.is_set_up:
            try:
                self._stage.setup()
            except Exception as error:
                raise SetUpFailed(f"{type(self._stage).__name__}.setup failed") from error
            self.is_set_up = True
        steps = (MAP, self._stage.do, note), *rest
        return run_timed(steps, *args) if retry is None else run_again(retry, steps, *args)

    def tear_down(self) -> None:
        """Tear it down, once."""
        if self.is_set_up:
            self.is_set_up = False
            self._stage.teardown()


class LivingInThreads:
    """A thread for each copy of the stage."""

    def __init__(self, node: Living, listener: Listener) -> None:
        self._listener = listener
        self._busy: dict[Any, _Home] = {}
        node.stage.initialize()
        self._homes = [_Home(node.stage) for _ in range(node.n)]
        self._free = self._homes[::-1]

    def start(self, job: Job, machine: Machine) -> None:
        """Give the job to a thread that is free."""
        work = job.op
        home = self._busy[job] = self._free.pop()
        slot = Slot(self._listener)
        self._listener.expect(slot, job, self)
        args = work.note, work.program[1:], job.base, *failing(work), opened(job), machine.settings.names
        home.executor.submit(home.run, again(work), *args).add_done_callback(PassOn(slot))

    def ended(self, job: Job) -> None:
        """Let its thread be free."""
        self._free.append(self._busy.pop(job))

    def finish(self) -> None:
        """Tear down, after the last item."""
        homes, self._homes = self._homes, []
        futures = [home.executor.submit(home.tear_down) for home in homes]
        for home in homes:
            home.executor.shutdown()
        for future in futures:
            future.result()

    def close(self) -> None:
        """Let no more items in; what runs in a thread goes on to its end, for which nobody waits for long."""
        homes, self._homes = self._homes, []
        futures = [home.executor.submit(home.tear_down) for home in homes]
        wait(futures, timeout=PATIENCE)
        for home in homes:
            home.executor.shutdown(wait=False)


class LivingHere:
    """The stage itself, in the thread that moves the run: inside a worker, or for a debugger."""

    def __init__(self, node: Living, listener: Listener) -> None:
        self._hand = HereHand(listener)
        node.stage.initialize()
        self._stage: Any = copy.deepcopy(node.stage)
        self._stage.setup()

    def start(self, job: Job, machine: Machine) -> None:
        """Run the job."""
        work = job.op
        steps = (MAP, self._stage.do, work.note), *work.program[1:]
        self._hand.run(job, steps, job.base, *failing(work), opened(job), machine.settings.names)

    def ended(self, job: Job) -> None:
        """Nothing to forget."""

    def finish(self) -> None:
        """Tear down."""
        stage, self._stage = self._stage, None
        if stage is not None:
            stage.teardown()

    close = finish
