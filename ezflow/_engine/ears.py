"""The dispatcher's part in what workers print and log: it reads, and hands on to the `Echo`, call by call."""

from __future__ import annotations

from .poller import IN

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Context

    from .._call import Call, Sealed
    from .echo import Echo
    from .link import Link
    from .poller import Poller


class Ears:
    """Listens to the workers of a pool that forwards their output; the dispatcher's alone.

    Parameters
    ----------
    echo : Echo
        Writes what is heard.
    poller : Poller
        Waits for their pipes.
    flight : callable
        Gives the calls of a worker, the running one first.
    watch_socket : callable
        Waits for the events of a link's socket that are wanted now.
    """

    def __init__(
        self,
        echo: Echo,
        poller: Poller,
        flight: Callable[[int], Mapping[int, Call]],
        watch_socket: Callable[[Link], None],
    ) -> None:
        self._echo = echo
        self._poller = poller
        self._flight = flight
        self._watch_socket = watch_socket
        self.pipes: dict[int, Link] = {}  # fd of a pipe for output → link

    def welcome(self, link: Link) -> None:
        """Listen to a worker that was just made."""
        link.voice = self._echo.voice(link.worker, link.child.outputs)
        for pipe in link.child.outputs:
            self.pipes[pipe] = link
            self._poller.register(pipe, IN)

    def bury(self, link: Link) -> None:
        """Listen to a dead worker no more."""
        for fd in [fd for fd, speaker in self.pipes.items() if speaker is link]:
            self._hang_up(fd)

    def _hang_up(self, fd: int) -> None:
        del self.pipes[fd]
        self._poller.unregister(fd)

    def listen(self, fd: int) -> None:
        """Read once from a pipe for output."""
        link = self.pipes[fd]
        if link.voice is not None:
            if self._echo.read(link.voice, fd, self._context_of(link)) < 0:  # the call has closed it
                self._hang_up(fd)
            self._hear_less(link)

    def hear_out(self, link: Link, *, is_last: bool) -> None:
        """Read what a worker wrote before it answered or died; `is_last`: it runs no other call."""
        if link.voice is not None:
            self._echo.drain(link.voice, self._context_of(link), finish=is_last)

    def log(self, link: Link, payload: bytes | bytearray) -> None:
        """Pass on a log record, behind what the worker has printed before."""
        if link.voice is not None:
            context = self._context_of(link)
            self._echo.drain(link.voice, context, finish=False)
            self._echo.log(link.voice, payload, context)
            self._hear_less(link)

    def pass_on(self, act: Callable[[Sealed], None], word: Sealed, link: Link) -> None:
        """Pass on an item or a report of a call that runs, behind what it has printed before."""
        if link.voice is None:
            act(word)
            return
        self._echo.drain(link.voice, self._context_of(link), finish=False)
        self._echo.deliver(link.voice, act, word)
        self._hear_less(link)

    def _context_of(self, link: Link) -> Context | None:
        """Give the context in which the running call was submitted: in a notebook it leads to the cell."""
        for call in self._flight(link.worker).values():
            return call.context
        return None

    def _hear_less(self, link: Link) -> None:
        """Stop reading from a worker of which too much waits to be written."""
        if link.voice is not None and link.voice.is_too_much():
            self._watch(link, 0)

    def hear_again(self, link: Link) -> None:
        """Go on reading from a worker."""
        if link.voice is not None and link.voice.is_paused and link.voice.has_room():
            link.voice.is_paused = False
            self._watch(link, IN)

    def _watch(self, link: Link, events: int) -> None:
        for fd in link.child.outputs:
            if fd in self.pipes:
                self._poller.modify(fd, events)
        self._watch_socket(link)

    def deliver(self, call: Call, sealed: Sealed, link: Link | None) -> None:
        """Give an answer to whoever waits for it, behind what its call has written."""
        self._echo.deliver(None if link is None else link.voice, call.sink._deliver, sealed)
