"""Every message between parent and worker: a fixed header, then the payload.

Both sides run the same version of ezflow, so the format needs no versions.
"""

from __future__ import annotations

import signal
from struct import Struct

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from typing import Final

HEADER: Final = Struct("=QQBBxxI")
"""Bytes of payload, number of the call (or key of the definition), kind, flags; in a call the flags are which run of
it this is, from 1, at most 255.

Last, in answers: microseconds that the call took in its worker, at most `MAX_MICROS`; in calls: position in its
`map`, counted from 1, or 0.
"""

MAX_MICROS: Final = (1 << 32) - 1

# parent → worker
CALL: Final = 1
DEFINE: Final = 2
EXIT: Final = 3
CREDIT: Final = 4
"""So many more items of a stream are wanted; the payload is a `GRANT`, 0 asks for the end."""
GRANT: Final = Struct("=I")

# worker → parent
READY: Final = 10
INIT_FAILED: Final = 11
VALUE: Final = 12
ERROR: Final = 13
"""The call raised; the payload is a packed exception."""
UNREADABLE: Final = 14
"""Function or arguments could not be rebuilt; the payload is a packed exception."""
UNSENDABLE: Final = 15
"""The result could not be pickled; the payload is a packed exception."""
ANSWERS: Final = frozenset({VALUE, ERROR, UNREADABLE, UNSENDABLE})
"""What ends a call."""
REPORT: Final = 16
"""Word of a running call's progress; the payload is a packed value."""
LOG: Final = 17
"""A log record, of a call or of none; the payload is a pickled dictionary."""

# both ways; see `_memory`
LOAN: Final = 30
"""Large buffers of the next message with this number; the payload is a table of `_memory.cargo`."""
RETURN: Final = 31
"""Loans that the receiver has no more use for."""
FORGET: Final = 32
"""Segments that the lender has given up."""
SHARED: Final = frozenset({LOAN, RETURN, FORGET})
"""What concerns shared memory."""

ITEM: Final = 20
"""One item of a generator that is streamed; the payload is a packed value."""

# flags of answers
HEAVY: Final = 1
"""The worker holds more memory than it may."""
AGAIN: Final = 2
"""The call raised an error over which it is to be repeated."""
FREE: Final = 8
"""The value came with large buffers, and any process can rebuild it."""
KEPT: Final = 4
"""The value is to stay packed: the payload is what must be there to rebuild it, the pickle travels beside it."""

TOKEN: Final = Struct("=Q")
"""One claim, or one interrupt, on its pipe: the number of the call.

A worker finds the number of a call in its claims pipe before it starts it.
"""

PARTLY_KEPT: Final = 16
"""Parts of the value are to stay packed; the payload begins with how many of the last pieces beside it are theirs."""

N_KEPT: Final = Struct("=I")

NO_MORE: Final = 0
"""In the place of a claim: the worker is to exit."""

INTERRUPT_SIGNAL: Final = signal.SIGRTMIN + 7 if hasattr(signal, "SIGRTMIN") else signal.SIGINT
"""Asks a worker to look into its control pipe.  Chosen from the middle of the
real-time signals: the first few belong to the C library, users like the ends."""

STACKS_SIGNAL: Final = signal.SIGRTMIN + 8 if hasattr(signal, "SIGRTMIN") else signal.SIGUSR2
"""Asks a worker to write down what each of its threads does."""
