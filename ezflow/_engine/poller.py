"""Wait for descriptors: epoll where there is one, else poll; and a bell to end the wait."""

from __future__ import annotations

import os
import select
from time import monotonic, sleep

from . import descriptors
from .descriptors import Descriptor

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from typing import Final

IN: Final = select.POLLIN
OUT: Final = select.POLLOUT

LONGEST: Final = 86_400.0
"""Seconds of one wait: the system takes no more than 24 days, and a limit may be infinite. The loop waits again."""


class Poller:
    """The descriptors the dispatcher waits for.

    The constants of poll and epoll have the same values; only the unit of the
    time-out differs.
    """

    def __init__(self) -> None:
        if hasattr(select, "epoll"):
            self._epoll = descriptors.keep(select.epoll)
            self._poll: select.epoll | select.poll = self._epoll
            self._scale = 1.0
        else:
            self._poll = select.poll()
            self._scale = 1000.0
        self.register = self._poll.register
        self.modify = self._poll.modify
        self.unregister = self._poll.unregister

    def watch_bell(self, fd: int) -> bool:
        """Wait for the bell, too; say whether it must be hushed.

        Not where epoll tells each ring once and a counter takes any number of them: one system call less.
        """
        must_hush = not (hasattr(select, "epoll") and hasattr(os, "eventfd"))
        self.register(fd, IN if must_hush else IN | select.EPOLLET)
        return must_hush

    def wait(self, seconds: float | None) -> list[tuple[int, int]]:
        """Give the descriptors that are ready, with what they are ready for."""
        if seconds is None:
            return self._poll.poll()
        return self._poll.poll(min(max(0.0, seconds), LONGEST) * self._scale)

    def close(self) -> None:
        """Give the descriptor back."""
        if self._scale == 1.0:
            descriptors.close(self._epoll)


class Bell:
    """Wakes the dispatcher from any thread, signal handler or finaliser: one write, no lock."""

    def __init__(self) -> None:
        self._ends: list[Descriptor] = []
        self._ringing: list[None] = []  # one entry for each ring under way

    @property
    def fd(self) -> int:
        """What becomes readable; -1 before `open` and after `close`."""
        return self._ends[0].fd if self._ends else -1

    def open(self) -> None:
        """Open the descriptors.  Ringing before does nothing."""
        if hasattr(os, "eventfd"):
            self._ends = [
                descriptors.keep(lambda: Descriptor(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)))
            ]
        else:
            ends = list(descriptors.pipe())
            for end in ends:
                os.set_blocking(end.fd, False)
            self._ends = ends

    def ring(self) -> None:
        """End the wait; harmless if rung twice, after the end, or in a forked child of the parent."""
        self._ringing.append(None)
        try:
            # Asked each time: in a forked child the hook has closed it, and its number may be somebody's file.
            ends = self._ends
            fd = ends[-1].fd if ends else -1
            if fd >= 0:
                os.write(fd, b"\1\0\0\0\0\0\0\0")
        except BlockingIOError:
            pass  # it is ringing already
        finally:
            self._ringing.pop()

    def hush(self) -> None:
        """Take the ringing away (dispatcher only)."""
        try:
            os.read(self.fd, 1 << 12)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Give the descriptors back, once nobody can be about to write to their number.

        1. a ringer reads the number  2. we close it  3. somebody else opens a
        file and gets that number  4. the ringer writes into it.  So wait for
        the ringers that are under way; they hold no lock and need microseconds.
        """
        ends, self._ends = self._ends, []
        deadline = monotonic() + 1.0
        while self._ringing and monotonic() < deadline:
            sleep(0)
        if self._ringing:
            return  # a ringer was torn by an exception: leak a number rather than risk a file
        for end in ends:
            end.close()
