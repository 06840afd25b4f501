"""What a worker is doing now, in its own words: `faulthandler` writes them from a C signal handler.

::

    dispatcher ── STACKS_SIGNAL ──▶ worker ── dump ──▶ pipe ──▶ dispatcher ──▶ whoever asked

The handler needs neither the interpreter nor its lock, so a worker that hangs in C answers, too; one that is
stopped does not.  A dump has no end mark.  But its last thread is the oldest one, which runs the worker's loop: the
dump is complete with the frame of that loop, or when `faulthandler` cuts it short.

When the handler is in place, the worker writes the number of that thread; before, the signal would end it.  Both ends
of the pipe are non-blocking: what does not fit is lost, and nobody waits.
"""

from __future__ import annotations

import os
import re
from _thread import allocate_lock

from .._wire.messages import STACKS_SIGNAL
from .poller import IN

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .._call import Call
    from .child import Child
    from .link import Link
    from .poller import Poller

# Compiled when one is met: few programs ask.
_HEADER = rb"(?:Current thread|Thread) 0x([0-9a-f]+) "
_LOOP = rb'  File ".*_engine.worker\.py", line \d+ in main$'
_CUT = (b"  ...", b"...")


class StackPipe:
    """The parent's end: asks, and finds the answer in what arrives.  Owned by the dispatcher."""

    __slots__ = ("_child", "_in_last", "_lines", "_rest", "_thread", "is_asking", "is_closed", "is_complete")

    def __init__(self, child: Child) -> None:
        self._child = child
        self._thread: bytes | None = None  # number of the thread that runs the loop
        self._rest = b""  # the beginning of a line
        self._lines: list[bytes] = []  # of the dump that is wanted
        self._in_last = False  # what arrives is about the thread that comes last
        self.is_complete = False
        self.is_asking = False
        self.is_closed = False

    def ask(self) -> bool:
        """Ask, unless the answer to an earlier question is on its way; say whether there will be one."""
        if self.is_asking:
            return True
        self._receive()  # what is left of the last dump
        if self._thread is None or self.is_closed:
            return False
        self._lines.clear()
        self._in_last = self.is_complete = False
        self.is_asking = True
        self._child.signal(STACKS_SIGNAL)
        return True

    def read(self) -> bytes | None:
        """Read what has arrived; give the dump if it is complete, or as much of it as there will ever be."""
        self._receive()
        if not self.is_asking or not (self.is_complete or self.is_closed):
            return None
        return self.give_up()

    def give_up(self) -> bytes:
        """Give what has arrived, and wait for no more."""
        self.is_asking = False
        return b"\n".join(self._lines)

    def _receive(self) -> None:
        data = self._rest
        while True:
            try:
                more = os.read(self._child.stacks_read, 1 << 16)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                more = b""
            if not more:
                self.is_closed = True
                break
            data += more
        *lines, self._rest = data.split(b"\n")
        for line in lines:
            self._take(line)

    def _take(self, line: bytes) -> None:
        if self._thread is None:
            self._thread = line
            return
        if self.is_complete:
            return  # frames below the loop
        header = re.match(_HEADER, line)
        if header is not None:
            self._in_last = header[1] == self._thread
            line = (b"Call" if self._in_last else b"Thread 0x" + header[1]) + b" (most recent call first):"
        self._lines.append(line)
        is_end = self._in_last and (line == _CUT[0] or re.match(_LOOP, line) is not None)
        self.is_complete = is_end or line == _CUT[1]


class Inquiry:
    """One question to all workers of a pool: the dispatcher fills it in, another thread waits for it."""

    __slots__ = ("_answered", "found", "is_over", "n_missing")

    def __init__(self) -> None:
        self._answered = allocate_lock()
        self._answered.acquire()
        self.found: dict[int, tuple[str, bytes | None]] = {}
        """By pid: what the worker is about, and its dump if it was asked for one and has answered."""
        self.n_missing = 0
        self.is_over = False  # nobody waits any more

    def expect(self, pid: int, state: str) -> None:
        """Note a worker that was asked (dispatcher only)."""
        self.found[pid] = state, None
        self.n_missing += 1

    def note(self, pid: int, state: str) -> None:
        """Note a worker of which all is known (dispatcher only)."""
        self.found[pid] = state, b""

    def answer(self, pid: int, dump: bytes) -> None:
        """Take an answer (dispatcher only)."""
        self.found[pid] = self.found[pid][0], dump
        self.n_missing -= 1
        self.check()

    def check(self) -> None:
        """Let the one who waits go on if nothing is missing (dispatcher only)."""
        if not self.n_missing and not self.is_over:
            self.is_over = True
            self._answered.release()

    def wait(self, seconds: float) -> dict[int, str]:
        """Wait for the answers, but not for ever; give what is known then."""
        from .._dump import readable

        self._answered.acquire(timeout=seconds)
        self.is_over = True
        texts = {}
        for pid, (state, dump) in list(self.found.items()):
            if dump is None:
                texts[pid] = f"{state}; it gave no answer within {seconds:g} s, so it may be stopped"
            elif dump:
                texts[pid] = f"{state} (most recent call last):\n{readable(dump)}"
            else:
                texts[pid] = state
        return texts


class Asker:
    """Asks workers, and passes their answers on; the dispatcher's alone.

    Parameters
    ----------
    poller : Poller
        Waits for the answers.
    flight : callable
        Gives the calls of a worker, the running one first.
    """

    def __init__(self, poller: Poller, flight: Callable[[int], Mapping[int, Call]]) -> None:
        self._poller = poller
        self._flight = flight
        self.asked: dict[int, Link] = {}  # fd → link that was asked

    def inquire(self, inquiry: Inquiry, links: Iterable[Link]) -> None:
        """Ask all workers that run something; it answers for the others."""
        for link in links:
            pid = link.child.pid
            call = next(iter(self._flight(link.worker).values()), None)
            if call is None and link.is_ready:
                inquiry.note(pid, "idle")
                continue
            state = "starting" if call is None else f"runs {call.label}"
            if self.ask(link):
                inquiry.expect(pid, state)
                link.inquiries = [one for one in link.inquiries if not one.is_over]
                link.inquiries.append(inquiry)
            else:
                inquiry.note(pid, state)
        inquiry.check()

    def ask(self, link: Link) -> bool:
        """Ask one worker; say whether there will be an answer."""
        if not link.stacks.ask():
            return False
        fd = link.child.stacks_read
        if fd not in self.asked:
            self.asked[fd] = link
            self._poller.register(fd, IN)
        return True

    def pass_on(self, link: Link, dump: bytes) -> bool:
        """Take this as the worker's answer, if it was asked; say whether its stop waits for it."""
        fd = link.child.stacks_read
        if self.asked.pop(fd, None) is None:
            return False
        self._poller.unregister(fd)
        for inquiry in link.inquiries:
            inquiry.answer(link.child.pid, dump)
        link.inquiries = []
        if link.looked_for is None:
            return False
        link.last_look = dump
        return True
