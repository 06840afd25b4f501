"""What a pool has done so far, as a record."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Durations(NamedTuple):
    """How long the calls of one label took in their workers, unpickling and pickling included.

    Attributes
    ----------
    n : int
        Calls that were answered, also with an error; those that were stopped by force are not among them.
    mean : float
        Seconds.
    p50 : float
        Seconds that half of the calls did not exceed, to about 5 %.
    p95 : float
        The same for 95 of 100 calls.
    """

    n: int
    mean: float
    p50: float
    p95: float


class Statistics(NamedTuple):
    """What a pool has done since it was made, and what it does now; from `ProcessPoolExecutor.statistics`.

    Attributes
    ----------
    queued : int
        Calls that wait, some of them maybe at a worker, behind the one it runs.
    running : int
        Workers that run a call, which is as many as calls that run.
    done : int
        Calls that returned a value.
    failed : int
        Calls that ended in an error: raised, over their limit, or their worker died.  A call that is run once more
        counts when it has ended.  What could not be sent never entered the pool.
    cancelled : int
        Calls that were cancelled, before or while they ran.
    workers : int
        Processes that live.
    restarts : int
        Processes that were started in the place of one that had ended, for whatever reason.
    died : int
        Processes that ended and were not told to.
    bytes_sent, bytes_received : int
        What went to and came from the workers, through their sockets.
    calls : mapping of str to Durations
        By label: the function's qualified name, or what `named` gave.  At most 256 labels; all others are ``"others"``.
    """

    queued: int
    running: int
    done: int
    failed: int
    cancelled: int
    workers: int
    restarts: int
    died: int
    bytes_sent: int
    bytes_received: int
    calls: Mapping[str, Durations]


NOTHING_YET = Statistics(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {})
"""Of a pool that has not begun."""
