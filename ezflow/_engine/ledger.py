"""What the machine knows: jobs that wait, workers and what they hold, times that matter."""

from __future__ import annotations

from .._hints import Generic
from .events import J, Place, Revoke
from .states import HOME_SECONDS, HOSTAGE_SECONDS, LEAVING, MAX_AHEAD, Purpose, State, Worker
from .waiting import Timed, Waiting

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .events import Command, Job


class Ledger(Generic[J]):
    """The knowledge of a `Machine`, the questions that it answers, and what is written in several places.

    Parameters
    ----------
    max_workers : int
        Processes that may work at the same time.
    max_tasks : int or None
        Calls after which a worker is replaced.
    idle_timeout : float or None
        Seconds after which an idle worker is ended.
    grace : float
        Seconds between asking a call to stop and killing its worker.
    home_grace : float
        Seconds a worker that was told to exit has for its exit functions.
    exit_grace : float
        Seconds a worker has for its own exit where somebody waits for its end: after a failed initializer, and when
        the pool is killed.
    """

    def __init__(
        self,
        max_workers: int,
        *,
        max_tasks: int | None = None,
        idle_timeout: float | None = None,
        grace: float = 0.2,
        home_grace: float = HOME_SECONDS,
        exit_grace: float = 5.0,
        max_ahead: int = MAX_AHEAD,
    ) -> None:
        self.max_workers = max_workers
        self.max_tasks = max_tasks
        self.idle_timeout = idle_timeout
        self.grace = grace
        self.home_grace = home_grace
        self.exit_grace = exit_grace
        self.max_ahead = max_ahead
        self.waiting: Waiting[J] = Waiting()
        self.workers: dict[int, Worker[J]] = {}
        self.n_waiting = 0  # jobs in `waiting` that are not settled: a cancelled one stays until it is met
        self.n_live = 0  # jobs accepted and not settled
        self.n_done = 0
        self.n_stolen = 0
        self.n_died = 0
        self.closing = False
        self.cancelling = False
        self.broken = False
        self.finished = False
        self._idle: dict[int, Worker[J]] = {}  # the youngest idle one is used first, old ones age out
        self._timed: dict[int, Worker[J]] = {}  # workers that have a deadline
        self._ahead: dict[int, Worker[J]] = {}  # busy workers that hold more than one call
        self._next_id = 0
        self._early_deaths = 0
        self._no_start_before: float | None = None
        self._delayed: Timed[J] = Timed(_is_delayed)  # when they are to run again
        self._doomed: Timed[J] = Timed(_is_open)  # when their time is up
        self._now = 0.0  # of the event that is being handled
        self._out: list[Command[J]] = []

    def n_timed(self) -> int:
        """Count the jobs that are kept for what is to happen to them at some time."""
        return len(self._delayed) + len(self._doomed)

    def next_deadline(self) -> float | None:
        """Give the time at which `Ticked` is wanted next."""
        times = [w.deadline for w in self._timed.values() if w.deadline is not None]
        if self._ahead:
            times.append(min([w.since for w in self._ahead.values()]) + HOSTAGE_SECONDS)
        if self._no_start_before is not None:
            times.append(self._no_start_before)
        if self._delayed.heap:
            times.append(self._delayed.next_time())
        if self._doomed.heap:
            times.append(self._doomed.next_time())
        return min(times) if times else None

    def flight(self, worker: int) -> Mapping[int, J]:
        """Give the jobs a worker has not answered, oldest first."""
        w = self.workers.get(worker)
        return w.flight if w is not None else {}

    def n_running(self) -> int:
        """Count the workers that have a call to run; for any thread."""
        return sum(1 for w in list(self.workers.values()) if w.flight)

    def is_going_home(self, worker: int) -> bool:
        """Tell whether a worker is ending by itself, as it was told: it runs its exit functions."""
        w = self.workers.get(worker)
        return w is not None and w.state is State.RETIRING

    def wants_submits(self) -> bool:
        """Tell whether a new job would lead to a command at once."""
        if self._idle or self.closing or self.broken:
            return True
        return self._no_start_before is None and self._n_working() < self.max_workers

    def _n_working(self) -> int:
        """Count the processes that work or will.

        A worker that is being stopped is among them until it is interrupted: its call may have ended by itself.
        """
        return sum(
            1
            for w in self.workers.values()
            if w.state not in LEAVING or (w.state is State.STOPPING and w.deadline is None)
        )

    def _n_coming(self) -> int:
        """Count the workers that are being made or initialised."""
        return sum(1 for w in self.workers.values() if w.state is State.STARTING)

    def _has_ready(self) -> bool:
        return any(w.state in (State.IDLE, State.BUSY) for w in self.workers.values())

    # ------------------------------------------------------------ to write

    def _ask(self, w: Worker[J], purpose: Purpose, *, only: int | None = None, keep: int = 0) -> None:
        w.asked = purpose
        self._out.append(Revoke(w.id, only, keep))

    def _set_deadline(self, w: Worker[J], when: float | None) -> None:
        w.deadline = when
        if when is None:
            self._timed.pop(w.id, None)
        else:
            self._timed[w.id] = w

    def _start_clock(self, w: Worker[J], now: float) -> None:
        """Count the limit of the call that runs from now on, unless the worker is still being sent it."""
        limit = None
        if not w.blocked:
            for job in w.flight.values():
                limit = job.limit
                break
        if limit is not None or w.deadline is not None:
            self._set_deadline(w, None if limit is None else now + limit)


def _is_delayed(job: Job) -> bool:
    return job.place is Place.DELAYED


def _is_open(job: Job) -> bool:
    return job.place is not Place.SETTLED
