"""The way into the dispatcher: calls and words, from any thread, signal handler or finaliser.

* `inbox`: a deque.  Anybody appends; only the dispatcher pops.  Appending is one atomic operation, so nothing can tear
  it.
* `_hungry`: written by the dispatcher before it sleeps; a submitter that sees it rings the bell.  The dispatcher looks
  into the inbox once more after setting it, so no order of the two steps can lose a call.
* `_wakes`: the same for a call that must be over before the dispatcher would look at the clock again.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from .poller import Bell

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from typing import Any

    from .._call import Call


class Word(Enum):
    """What else than calls lies in the inbox, first in its tuple.  What follows it there stands behind it here."""

    MADE = "made"  # worker, child, definitions that travelled with it
    NOT_MADE = "not made"  # worker, error
    CANCEL = "cancel"  # call, whether to stop it, lock of the one who waits or None
    CLOSE = "close"  # whether to cancel what waits
    DROP = "drop"  # calls
    KILL = "kill"  # signal
    LOOK = "look"  # lock of the one who waits
    STOP = "stop"
    GRANT = "grant"  # call, number of items; 0 closes its stream
    ROOM = "room"  # worker
    STACKS = "stacks"  # inquiry
    RETURN = "return"  # worker
    SPARE = "spare"


class Postbox:
    """What lies before the dispatcher, and the bell that wakes it."""

    def __init__(self) -> None:
        self.inbox: deque[Any] = deque()
        self._bell = Bell()  # closed until the dispatcher opens it, which then looks into the inbox anyway
        self._hungry = False
        self._wakes = 0.0  # when its sleep ends at the latest; 0 while it is awake
        self._has_deadlines = False  # some call had one
        self.closed = False  # the dispatcher has looked into the inbox for the last time

    def post(self, call: Call) -> bool:
        """Accept a call; False if the engine has ended and nobody will take it."""
        deadline = call.deadline
        if deadline is not None:
            self._has_deadlines = True
        self.inbox.append(call)
        if self._hungry or (deadline is not None and deadline < self._wakes):
            self._bell.ring()
        if self.closed:
            try:
                self.inbox.remove(call)
            except ValueError:
                return True  # the dispatcher was faster and has settled it
            return False
        return True

    def mention(self, *words: object) -> None:
        """Say something from a finaliser, which may come after the end."""
        if not self.closed:
            self.tell(*words)

    def tell(self, *words: object) -> None:
        """Say something that is no call; the dispatcher looks at it at once."""
        self.inbox.append(words)
        self._bell.ring()
