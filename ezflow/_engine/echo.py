"""The parent's side of what workers print and log.

::

    worker ══ pipes, socket ══▶ dispatcher ── lines, records, answers ──▶ thread ──▶ sys.stdout, sys.stderr, logging
                                    ▲                                       │
                                    └────────── there is room again ────────┘

Writing runs code of the user's (a redirected `sys.stdout`, a logging handler),
so it happens on a thread of its own.  The dispatcher reads the pipes and cuts
them into lines.

Invariants
----------
* What a call wrote is written before its future resolves, and before an item
  or a report arrives that it sent later: an answer whose worker has something
  left to be written goes through the same queue.  An answer whose worker has
  not is delivered at once.
* A line is written by one `write`, so lines of different workers never mix.
* `Voice.n_put` and `nbytes_put` are the dispatcher's, `n_done` and
  `nbytes_done` the thread's; each reads the other's.
* Of one worker no more than about `MOST_NBYTES` wait in the parent: above, the
  dispatcher stops reading from it, until the thread has written half of them.
"""

from __future__ import annotations

import codecs
import os
import sys
import threading
from concurrent.futures._base import LOGGER
from queue import SimpleQueue

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from typing import Any, Final

MOST_NBYTES: Final = 1 << 20
"""Bytes of one worker that may wait to be written.

Chosen.  Larger: more memory for a worker that prints without end.  Smaller: a short burst stops it sooner.
"""

READ_NBYTES: Final = 1 << 16
"""Bytes asked for by one read; what a pipe holds on Linux."""

MOST_READS: Final = 4
"""Reads at the end of a call: more than a full pipe needs, so a thread that prints on cannot hold the dispatcher."""

LONGEST_LINE: Final = 1 << 20
"""Bytes after which a line is written without its end."""

STREAMS: Final = ("stdout", "stderr")


class Cutter:
    """Cuts what arrives on one pipe into pieces that may be written.

    Parameters
    ----------
    mark : bytes
        What the worker writes behind an unfinished line at the end of a call.
    """

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Take what was read; give all whole lines, and unfinished ones that no later call will finish."""
        if self._rest:
            data = self._rest + data
        *ended, data = data.split(self._mark)
        end = (
            max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        )  # a progress bar goes back to where its line began
        if len(data) - end > LONGEST_LINE:
            end = len(data) - len(self._mark) + 1  # it may end in the beginning of a mark
        self._rest = data[end:]
        return b"".join([*ended, data[:end]])

    def finish(self) -> bytes:
        """Give the unfinished line."""
        rest, self._rest = self._rest, b""
        return rest


class Voice:
    """What one worker says, and how much of it is still to be written (dispatcher only, but for the counts).

    Parameters
    ----------
    worker : int
        Number of the worker.
    fds : tuple of int
        Read ends of its pipes, non-blocking; somebody else closes them.
    """

    def __init__(self, worker: int, fds: tuple[int, ...], mark: bytes) -> None:
        self.worker = worker
        self.cutters = {fd: Cutter(mark) for fd in fds}
        self.decoders = tuple(codecs.getincrementaldecoder("utf-8")("replace") for _ in fds)
        self.streams = {fd: number for number, fd in enumerate(fds)}
        self.n_put = self.n_done = 0
        self.nbytes_put = self.nbytes_done = 0
        self.is_paused = False  # the dispatcher reads no more from the worker

    @property
    def is_written(self) -> bool:
        """Whether all that was read from the worker has been written."""
        return self.n_put == self.n_done

    @property
    def nbytes(self) -> int:
        """How much waits to be written."""
        return self.nbytes_put - self.nbytes_done

    def is_too_much(self) -> bool:
        """Say whether to stop reading; looks again after it has said so, as the thread may have written meanwhile."""
        if not self.is_paused and self.nbytes > MOST_NBYTES:
            self.is_paused = True
            if not self.has_room():
                return True
            self.is_paused = False
        return False

    def has_room(self) -> bool:
        """Tell whether reading may go on."""
        return self.nbytes <= MOST_NBYTES // 2


class Echo:
    """The thread that writes what workers say.

    Parameters
    ----------
    name : str
        Of the thread.
    mark : bytes
        What workers write behind an unfinished line at the end of a call.
    tell_room : callable
        Given the number of a worker, says to the dispatcher that it may be read again.
    """

    def __init__(self, name: str, mark: bytes, tell_room: Callable[[int], None]) -> None:
        self._mark = mark
        self._tell_room = tell_room
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._then: Callable[[], None] = _nothing
        self._has_complained = False
        self._n_put = self._n_done = 0
        self._name = name
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; it is no daemon, so the interpreter's end waits for what is still to be written."""
        thread = threading.Thread(target=self._main, name=self._name, daemon=False)
        thread.start()
        self.thread = thread

    # ------------------------------------------------------------ dispatcher

    def voice(self, worker: int, fds: tuple[int, ...]) -> Voice:
        """Give the record of a new worker."""
        return Voice(worker, fds, self._mark)

    def read(self, voice: Voice, fd: int, context: Context | None) -> int:
        """Read once from a pipe of a worker; give the number of bytes, -1 at its end."""
        try:
            data = os.read(fd, READ_NBYTES)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            return -1
        if not data:
            return -1
        self._say(voice, voice.streams[fd], voice.cutters[fd].feed(data), context)
        return len(data)

    def drain(self, voice: Voice, context: Context | None, *, finish: bool) -> None:
        """Read what is in the pipes of a worker; with `finish`, unfinished lines are given up, too."""
        for fd, number in voice.streams.items():
            for _ in range(MOST_READS):
                if self.read(voice, fd, context) < READ_NBYTES:
                    break
            if finish:
                self._say(voice, number, voice.cutters[fd].finish(), context)

    def _say(self, voice: Voice, number: int, data: bytes, context: Context | None) -> None:
        if data:
            self._put(voice, len(data), context, self._write, (voice, number, data))

    def log(self, voice: Voice, payload: bytes | bytearray, context: Context | None) -> None:
        """Have a log record handled."""
        self._put(voice, len(payload), context, _handle, (payload,))

    def deliver(self, voice: Voice | None, act: Callable[[Any], None], sealed: object) -> None:
        """Deliver an answer: at once if nothing is to be written before it."""
        if self._n_put == self._n_done if voice is None else voice.is_written:
            act(sealed)
        else:
            self._put(voice, 0, None, act, (sealed,))

    def _put(
        self,
        voice: Voice | None,
        nbytes: int,
        context: Context | None,
        act: Callable[..., None],
        args: tuple[Any, ...],
    ) -> None:
        self._n_put += 1
        if voice is not None:
            voice.n_put += 1
            voice.nbytes_put += nbytes
        self._queue.put((voice, nbytes, context, act, args))

    def give_up(self) -> None:
        """End the thread if it was started: nothing will be written."""
        if self.thread is not None:
            self._queue.put(None)
            self.thread = None

    def stop(self, then: Callable[[], None]) -> None:
        """Let the thread end after what was queued; its last act is `then`."""
        self._then = then
        self._queue.put(None)

    # ------------------------------------------------------------ thread

    def _main(self) -> None:
        try:
            while True:
                item = self._queue.get()
                if item is None:
                    return
                self._do(item)
                item = None
        finally:
            self._then()

    def _do(self, item: _Item) -> None:
        voice, nbytes, context, act, args = item
        try:
            if context is None:
                act(*args)
            else:
                context.run(act, *args)
        except BaseException:  # a closed stream, or sys.exit in somebody's `write`
            self._complain()
        self._n_done += 1
        if voice is not None:
            voice.nbytes_done += nbytes
            voice.n_done += 1
            if voice.is_paused and voice.has_room():
                self._tell_room(voice.worker)

    def _complain(self) -> None:
        """Log that something was lost, once; the handler that does it may be what fails."""
        if not self._has_complained:
            self._has_complained = True
            try:
                LOGGER.exception("what a worker wrote could not be written here")
            except BaseException:
                pass

    def _write(self, voice: Voice, number: int, data: bytes) -> None:
        text = voice.decoders[number].decode(data)
        stream = getattr(sys, STREAMS[number])
        if stream is not None and text:
            stream.write(text)


def _handle(payload: bytes) -> None:
    """Give a record to the logger of its name here."""
    import logging
    import pickle

    record = logging.makeLogRecord(pickle.loads(payload))
    logging.getLogger(record.name).handle(record)


def _nothing() -> None:
    """Stand for an end after which nothing is to be done."""


if TYPE_CHECKING:
    _Item = tuple[Voice | None, int, Context | None, Callable[..., None], tuple[Any, ...]]
