"""The words of the machine: the states of a worker, why calls are asked back, and the numbers it goes by."""

from __future__ import annotations

from enum import Enum

from .._hints import Generic
from .events import J

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from typing import Final

MAX_AHEAD: Final = 64
"""Calls a worker may hold, the running one included.

Larger: fewer writes for tiny calls, more work to take back.  Chosen: beyond 64
the throughput of trivial calls no longer grew.
"""

MAX_AHEAD_BYTES: Final = 1 << 18
"""Bytes of payload sent ahead to one worker; a large call is sent alone."""

AHEAD_SECONDS: Final = 0.01
"""Seconds of work that a worker may hold, judged by its latest calls.

Chosen: a hundred times what a round trip costs, and below what people notice.
"""

HOSTAGE_SECONDS: Final = 0.02
"""Seconds without an answer after which the calls behind the running one are taken back."""

CLAIM_SECONDS: Final = 0.5
"""Seconds that a worker gets to begin with a call once the limit of that call has passed.

One that is stopped, or stuck outside any call, never does; on a machine that is
overloaded a limit of milliseconds can pass before a sound worker has woken up.
"""

LOOK_SECONDS: Final = 0.5
"""Seconds that a worker which did not react to the interrupt gets to say where it is, before it is killed.

It answers from a signal handler in C, so in a millisecond unless the machine is overloaded or it is stopped.
"""

HOME_SECONDS: Final = 60.0
"""Seconds that a worker has to end after it was told to.

Chosen: longer than exit functions take that write something down, and the end
of a program that hangs because a library left a thread running in a worker;
the standard pool then waits for ever.
"""

MAX_LOSSES: Final = 3
"""Workers that may die or hang with the same call first in line and not begun, until it is to blame.

Receiving its bytes may be what kills them, for want of memory.
"""

MAX_EARLY_DEATHS: Final = 3
"""Workers that may die one after another before any was ready, until the pool gives up.

One can be bad luck (the out-of-memory killer, a user's kill); three are a cause.
"""

RETRY_START: Final = 1.0
"""Seconds to wait after a worker could not be started while others live."""


class State(Enum):
    """State of a worker; see the table above."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    STOPPING = "stopping"
    RETIRING = "retiring"
    ENDING = "ending"


LEAVING: Final = frozenset({State.RETIRING, State.ENDING, State.STOPPING})


class Purpose(Enum):
    """Why calls were asked back."""

    STEAL = "steal"
    CANCEL = "cancel"
    STOP = "stop"
    SHARE = "share"
    GIVE_UP = "give up"


class Worker(Generic[J]):
    """One worker as the machine sees it."""

    __slots__ = (
        "asked",
        "blocked",
        "cancel_stop",
        "deadline",
        "failed",
        "flight",
        "id",
        "late",
        "looked",
        "n_taken",
        "since",
        "state",
        "target",
        "window",
        "worn",
    )

    def __init__(self, number: int) -> None:
        self.id = number
        self.state = State.STARTING
        self.flight: dict[int, J] = {}  # sent and not answered, oldest first
        self.window = 1  # calls it may hold
        self.since = 0.0  # when it was last heard of or given work
        self.n_taken = 0  # calls that count against its budget
        self.deadline: float | None = None
        self.blocked = False  # bytes for it still wait in the parent
        self.late = False  # it let the limit of a call pass without beginning with it
        self.looked = False  # it was asked where it is, before it is killed
        self.failed = False  # its initializer raised
        self.worn = False  # to be retired as soon as it holds nothing
        self.asked: Purpose | None = None
        self.target: J | None = None  # the job a cancel or a stop is about
        self.cancel_stop = True
