"""The language between the dispatcher and the machine: jobs, events, commands.

The dispatcher says what happened, the machine says what to do; both only ever
exchange these records.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class Place(Enum):
    """Where a job is, when it is not with a worker."""

    NEW = "new"
    WAITING = "waiting"
    SETTLED = "settled"


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
    place : Place or int
        Owned by the machine: `Place`, or the number of the worker that has it.
    stop : StopReason or None
        Owned by the machine: why the call is being stopped.
    """

    __slots__ = ("id", "limit", "nbytes", "place", "stop")

    def __init__(self, number: int, nbytes: int = 0, limit: float | None = None) -> None:
        self.id = number
        self.nbytes = nbytes
        self.limit = limit
        self.place: Place | int = Place.NEW
        self.stop: StopReason | None = None

    def __repr__(self) -> str:
        """Show number and place, which is what a failing test needs."""
        return f"<job {self.id} {self.place}>"


J = TypeVar("J", bound=Job)


class StopReason(Enum):
    """Why a running call is stopped."""

    CANCEL = "cancel"
    LIMIT = "limit"


class Outcome(Enum):
    """How a job ended without a result of its own."""

    CANCELLED = "cancelled"
    NOT_CANCELLED = "not cancelled"  # asked to cancel only what has not started: it has
    TIMED_OUT = "timed out"
    WORKER_DIED = "worker died"
    BROKEN = "broken"


# ---------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Submitted(Generic[J]):
    """New jobs were accepted, oldest first."""

    jobs: Sequence[J]
    now: float


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The process of a worker could not be made."""

    worker: int
    now: float


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has run its initializer and waits for calls."""

    worker: int
    now: float


@dataclass(frozen=True, slots=True)
class InitFailed:
    """The initializer raised in a worker."""

    worker: int


@dataclass(frozen=True, slots=True)
class Returned:
    """Answers to these calls were read from a worker, in one go."""

    worker: int
    calls: Sequence[int]
    now: float
    heavy: bool = False  # it holds more memory than it may


@dataclass(frozen=True, slots=True)
class Revoked:
    """The answer to `Revoke`: these calls had not been claimed and now never will be."""

    worker: int
    calls: Sequence[int]
    now: float


@dataclass(frozen=True, slots=True)
class Collected:
    """The answer to `Collect`: all that the worker had sent has been reported."""

    worker: int
    now: float


@dataclass(frozen=True, slots=True)
class Blocked:
    """A `Send` did not fit in the socket; the rest follows, then `Flushed`."""

    worker: int


@dataclass(frozen=True, slots=True)
class Flushed:
    """All bytes for a worker have been written."""

    worker: int
    now: float


@dataclass(frozen=True, slots=True)
class CancelAsked(Generic[J]):
    """Somebody cancels a job; `stop` says whether it is stopped if it runs."""

    job: J
    stop: bool
    now: float


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""

    now: float


@dataclass(frozen=True, slots=True)
class Died:
    """A worker's process is gone; everything it sent has been reported before."""

    worker: int
    unclaimed: Sequence[int]
    now: float


@dataclass(frozen=True, slots=True)
class CloseAsked:
    """The pool is to end: after all calls, or after those that have started."""

    cancel: bool
    now: float


@dataclass(frozen=True, slots=True)
class KillAsked:
    """The pool is to end now."""

    now: float


@dataclass(frozen=True, slots=True)
class BreakAsked:
    """The engine itself failed: every job fails."""


Event: TypeAlias = (
    "Submitted[J] | StartFailed | Ready | InitFailed | Returned | Revoked | Collected | Blocked"
    " | Flushed | CancelAsked[J] | Ticked | Died | CloseAsked | KillAsked | BreakAsked"
)

# ---------------------------------------------------------------- commands


@dataclass(frozen=True, slots=True)
class Start:
    """Make the process of worker number `worker`."""

    worker: int


@dataclass(frozen=True, slots=True)
class Send(Generic[J]):
    """Write these jobs to a worker; all need a claim but the first one to an idle worker."""

    worker: int
    jobs: Sequence[J]
    idle: bool


@dataclass(frozen=True, slots=True)
class Revoke:
    """Take unclaimed calls back and answer with `Revoked`.

    With `only`, that call alone; else all but the `keep` oldest.
    """

    worker: int
    only: int | None = None
    keep: int = 0


@dataclass(frozen=True, slots=True)
class Collect:
    """Read and report all that a worker has sent, then answer with `Collected`."""

    worker: int


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Ask a worker to end this call, if it is still the one that runs."""

    worker: int
    call: int


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill a worker and everything it started."""

    worker: int


@dataclass(frozen=True, slots=True)
class Retire:
    """Tell an idle worker to exit."""

    worker: int


@dataclass(frozen=True, slots=True)
class Settle(Generic[J]):
    """End a job without a result of its own."""

    job: J
    outcome: Outcome
    worker: int | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing is left to do, ever."""


Command: TypeAlias = "Start | Send[J] | Revoke | Collect | Interrupt | Kill | Retire | Settle[J] | Finish"
