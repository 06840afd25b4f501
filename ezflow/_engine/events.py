"""The language between the dispatcher and the machine: jobs, events, commands.

The dispatcher says what happened, the machine says what to do; both only ever
exchange these records.  They are plain classes, because a module of dataclasses
costs a user who imports the pool more than the rest of the engine.
"""

from __future__ import annotations

from enum import Enum

from .._hints import Generic, TypeVar

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias


class Place(Enum):
    """Where a job is, when it is not with a worker."""

    NEW = "new"
    WAITING = "waiting"
    DELAYED = "delayed"  # it failed and is to run once more, but not yet
    SETTLED = "settled"


class Retry:
    """When a job that failed runs once more.

    Parameters
    ----------
    n : int
        Runs after the first, at most.
    delay : float
        Seconds before the second run.
    backoff : float
        What the delay is multiplied with for each run after that.
    died, timed_out : bool
        Whether the death of its worker and the end of its limit count; errors that the call raised are the
        worker's to judge.
    """

    __slots__ = ("backoff", "delay", "died", "n", "timed_out")

    def __init__(
        self, n: int, delay: float = 0.0, backoff: float = 1.0, *, died: bool = False, timed_out: bool = True
    ) -> None:
        self.n = n
        self.delay = delay
        self.backoff = backoff
        self.died = died
        self.timed_out = timed_out

    def pause(self, attempt: int) -> float:
        """Give the seconds between this run, counted from 1, and the next."""
        if not self.delay:
            return 0.0
        try:
            return self.delay * self.backoff ** (attempt - 1)
        except OverflowError:
            return float("inf")


class Job:
    """What the scheduler needs to know of a call.

    Attributes
    ----------
    id : int
        Number of the call, unique in its pool, greater than 0.
    nbytes : int
        Size of its payload.
    limit : float or None
        Seconds the call may run.
    deadline : float or None
        Time at which it is to be over, waiting and repeating included.
    priority : int
        Higher runs sooner.
    retry : Retry or None
        Whether and when it runs once more if it fails.
    attempt : int
        Owned by the machine: which run of it this is, from 1.
    expired : bool
        Owned by the machine: its deadline has passed.
    place : Place or int
        Owned by the machine: `Place`, or the number of the worker that has it.
    stop : StopReason or None
        Owned by the machine: why the call is being stopped.
    losses : int
        Owned by the machine: workers that were lost when it was next.
    """

    __slots__ = (
        "attempt",
        "deadline",
        "expired",
        "id",
        "limit",
        "losses",
        "nbytes",
        "place",
        "priority",
        "retry",
        "stop",
    )

    def __init__(
        self,
        number: int,
        nbytes: int = 0,
        limit: float | None = None,
        deadline: float | None = None,
        priority: int = 0,
        retry: Retry | None = None,
    ) -> None:
        self.id = number
        self.nbytes = nbytes
        self.limit = limit
        self.deadline = deadline
        self.priority = priority
        self.retry = retry
        self.attempt = 1
        self.expired = False
        self.place: Place | int = Place.NEW
        self.stop: StopReason | None = None
        self.losses = 0

    def __repr__(self) -> str:
        """Show number and place, which is what a failing test needs."""
        return f"<job {self.id} {self.place}>"


J = TypeVar("J", bound=Job)


class StopReason(Enum):
    """Why a running call is stopped."""

    CANCEL = "cancel"
    LIMIT = "limit"
    DROP = "drop"  # only if it has not started


class Outcome(Enum):
    """How a job ended without a result of its own."""

    CANCELLED = "cancelled"
    NOT_CANCELLED = "not cancelled"  # asked to cancel only what has not started: it has
    TIMED_OUT = "timed out"
    WORKER_DIED = "worker died"
    BROKEN = "broken"


class Record:
    """Named values that are compared and shown by content, and not changed once made."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        """Equal type and values."""
        return type(other) is type(self) and all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__
        )

    __hash__ = None  # type: ignore[assignment]  # some hold lists

    def __repr__(self) -> str:
        """Show all values."""
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({values})"


# ---------------------------------------------------------------- events


class Submitted(Record, Generic[J]):
    """New jobs were accepted, oldest first."""

    __slots__ = ("jobs", "now")

    def __init__(self, jobs: Sequence[J], now: float) -> None:
        self.jobs = jobs
        self.now = now


class StartFailed(Record):
    """The process of a worker could not be made."""

    __slots__ = ("now", "worker")

    def __init__(self, worker: int, now: float) -> None:
        self.worker = worker
        self.now = now


class Ready(Record):
    """A worker has run its initializer and waits for calls."""

    __slots__ = ("now", "worker")

    def __init__(self, worker: int, now: float) -> None:
        self.worker = worker
        self.now = now


class InitFailed(Record):
    """The initializer raised in a worker, which is about to exit by itself."""

    __slots__ = ("now", "worker")

    def __init__(self, worker: int, now: float) -> None:
        self.worker = worker
        self.now = now


class Returned(Record):
    """Answers to these calls were read from a worker, in one go.

    `seconds` is what they took there, all together; `heavy` says that the
    worker holds more memory than it may; `again` are those that raised an
    error over which they are to be repeated.
    """

    __slots__ = ("again", "calls", "heavy", "now", "seconds", "worker")

    def __init__(
        self,
        worker: int,
        calls: Sequence[int],
        now: float,
        seconds: float = 0.0,
        heavy: bool = False,
        again: Sequence[int] = (),
    ) -> None:
        self.again = again
        self.worker = worker
        self.calls = calls
        self.now = now
        self.seconds = seconds
        self.heavy = heavy


class Revoked(Record):
    """The answer to `Revoke`: these calls had not been claimed and now never will be."""

    __slots__ = ("calls", "now", "worker")

    def __init__(self, worker: int, calls: Sequence[int], now: float) -> None:
        self.worker = worker
        self.calls = calls
        self.now = now


class Collected(Record):
    """The answer to `Collect`: all that the worker had sent has been reported."""

    __slots__ = ("now", "worker")

    def __init__(self, worker: int, now: float) -> None:
        self.worker = worker
        self.now = now


class Blocked(Record):
    """A `Send` did not fit in the socket; the rest follows, then `Flushed`."""

    __slots__ = ("worker",)

    def __init__(self, worker: int) -> None:
        self.worker = worker


class Flushed(Record):
    """All bytes for a worker have been written."""

    __slots__ = ("now", "worker")

    def __init__(self, worker: int, now: float) -> None:
        self.worker = worker
        self.now = now


class CancelAsked(Record, Generic[J]):
    """Somebody cancels a job; `stop` says whether it is stopped if it runs."""

    __slots__ = ("job", "now", "stop")

    def __init__(self, job: J, stop: bool, now: float) -> None:
        self.job = job
        self.stop = stop
        self.now = now


class DropAsked(Record, Generic[J]):
    """Somebody does not want these jobs any more; those that have started go on."""

    __slots__ = ("jobs", "now")

    def __init__(self, jobs: Sequence[J], now: float) -> None:
        self.jobs = jobs
        self.now = now


class EndWanted(Record, Generic[J]):
    """A job that runs is to end soon: it was told, and is stopped if it does not within the grace."""

    __slots__ = ("job", "now")

    def __init__(self, job: J, now: float) -> None:
        self.job = job
        self.now = now


class Ticked(Record):
    """Time has passed."""

    __slots__ = ("now",)

    def __init__(self, now: float) -> None:
        self.now = now


class Died(Record):
    """A worker's process is gone; everything it sent has been reported before."""

    __slots__ = ("now", "unclaimed", "worker")

    def __init__(self, worker: int, unclaimed: Sequence[int], now: float) -> None:
        self.worker = worker
        self.unclaimed = unclaimed
        self.now = now


class Looked(Record):
    """The answer to `Look`: the worker has said what it does, or never will."""

    __slots__ = ("now", "worker")

    def __init__(self, worker: int, now: float) -> None:
        self.worker = worker
        self.now = now


class CloseAsked(Record):
    """The pool is to end: after all calls, or after those that have started."""

    __slots__ = ("cancel", "now")

    def __init__(self, cancel: bool, now: float) -> None:
        self.cancel = cancel
        self.now = now


class KillAsked(Record):
    """The pool is to end now."""

    __slots__ = ("now",)

    def __init__(self, now: float) -> None:
        self.now = now


class BreakAsked(Record):
    """The engine itself failed: every job fails."""

    __slots__: tuple[str, ...] = ()


if TYPE_CHECKING:
    Event: TypeAlias = (
        Submitted[J] | StartFailed | Ready | InitFailed | Returned | Revoked | Collected | Blocked | Flushed
        | CancelAsked[J] | DropAsked[J] | EndWanted[J] | Ticked | Died | Looked | CloseAsked | KillAsked | BreakAsked
    )  # fmt: skip

# ---------------------------------------------------------------- commands


class Start(Record):
    """Make the process of worker number `worker`."""

    __slots__ = ("worker",)

    def __init__(self, worker: int) -> None:
        self.worker = worker


class Send(Record, Generic[J]):
    """Write these jobs to a worker, and their numbers to its claims pipe."""

    __slots__ = ("jobs", "worker")

    def __init__(self, worker: int, jobs: Sequence[J]) -> None:
        self.worker = worker
        self.jobs = jobs


class Revoke(Record):
    """Take unclaimed calls back and answer with `Revoked`.

    With `only`, that call alone; else all but the `keep` oldest.
    """

    __slots__ = ("keep", "only", "worker")

    def __init__(self, worker: int, only: int | None = None, keep: int = 0) -> None:
        self.worker = worker
        self.only = only
        self.keep = keep


class Collect(Record):
    """Read and report all that a worker has sent, then answer with `Collected`."""

    __slots__ = ("worker",)

    def __init__(self, worker: int) -> None:
        self.worker = worker


class Interrupt(Record):
    """Ask a worker to end this call, if it is still the one that runs."""

    __slots__ = ("call", "worker")

    def __init__(self, worker: int, call: int) -> None:
        self.worker = worker
        self.call = call


class Look(Record):
    """Ask a worker what it does, for the report on this call, and answer with `Looked`; it is killed next."""

    __slots__ = ("call", "worker")

    def __init__(self, worker: int, call: int) -> None:
        self.worker = worker
        self.call = call


class Kill(Record):
    """Kill a worker and everything it started."""

    __slots__ = ("worker",)

    def __init__(self, worker: int) -> None:
        self.worker = worker


class Retire(Record):
    """Tell an idle worker to exit."""

    __slots__ = ("worker",)

    def __init__(self, worker: int) -> None:
        self.worker = worker


class Settle(Record, Generic[J]):
    """End a job without a result of its own."""

    __slots__ = ("job", "outcome", "worker")

    def __init__(self, job: J, outcome: Outcome, worker: int | None = None) -> None:
        self.job = job
        self.outcome = outcome
        self.worker = worker


class Finish(Record):
    """Nothing is left to do, ever."""

    __slots__: tuple[str, ...] = ()


if TYPE_CHECKING:
    Command: TypeAlias = (
        Start | Send[J] | Revoke | Collect | Interrupt | Look | Kill | Retire | Settle[J] | Finish
    )  # fmt: skip
