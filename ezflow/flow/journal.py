"""Which inputs of a run are done, written down, so that a later run need not do them again.

::

    source ── remaining ──▶ inputs that are not noted ──▶ the run ──▶ spans whose every output was taken ── note ──▶ file

The file is text, a line for each stretch of inputs that is done, each line with a checksum of its own; the first says
whose journal it is.  It is appended to, and now and then written anew with the stretches put together, so it stays as
small as what is under way at a time.

A line is written when the consumer asks for what comes after, with one call of the system, so it survives the end of this
process at any moment; within a second it is told to the disk, so it survives the end of the machine, mostly.  A line that
was lost costs that its inputs are done once more: that is all.
"""

from __future__ import annotations

import json
import os
import re
from bisect import bisect_left
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any
from zlib import crc32

from ..errors import JournalError
from .collectors import Writes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

    from ..graph.nodes import Node
    from .machine import Machine

SYNC_PAUSE: Final = 1.0
"""Seconds between two times that the disk is waited for.  Larger: a power cut costs more; smaller: slower (chosen)."""

MOST_LINES: Final = 1000
"""Lines after which the file is written anew.  Larger: a larger file; smaller: more files are written (chosen)."""

_VERSION: Final = "ezflow journal 1"
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
_PLAIN: Final = (str, bytes, int, float, bool, type(None), os.PathLike)
_END: Final = object()
_open: set[tuple[int, int] | None] = set()
"""Device and number of journals that are in use here: the lock below is one of processes."""


class Span:
    """A stretch of inputs that travel together.

    Attributes
    ----------
    start, stop : int
        Their positions in the source.
    mark : int
        Checksum of the last of them, by which another source is found out.
    n_left : int
        Packets under way in which something of them is.
    """

    __slots__ = ("mark", "n_left", "start", "stop")

    def __init__(self, start: int, stop: int, mark: int) -> None:
        self.start = start
        self.stop = stop
        self.mark = mark
        self.n_left = 0


class Journal:
    """The journal of one run.

    Parameters
    ----------
    path : path-like
        The file; made if there is none.
    flow : str
        The flow as text: a journal belongs to one flow.

    Raises
    ------
    JournalError
        If the file belongs to another flow, is none of ours, is damaged, or is in use.
    """

    def __init__(self, path: Any, flow: str) -> None:
        self._path = os.path.abspath(os.fspath(path))
        self._head = _line(f"{_VERSION} {json.dumps(_ADDRESS.sub('', flow))}")
        self._ranges: list[tuple[int, int, int]] = []
        self._fd, self._key = _lock(self._path)
        self._synced_at = monotonic()
        try:
            self._read()
        except BaseException:
            self.close()
            raise
        self._done = tuple(self._ranges)  # before this run
        self._position = 0
        self._next = 0  # of the stretches that are done, the one ahead of the position

    @property
    def n_done(self) -> int:
        """Inputs that are noted as done."""
        return sum(stop - start for start, stop, _ in self._ranges)

    # ---------------------------------------------------------------- inputs

    def remaining(self, source: Iterable[Any]) -> Iterator[Any]:
        """Yield the inputs that no earlier run has done."""
        items: Any = iter(source)
        position = 0
        try:
            for start, stop, mark in self._done:
                item: Any = None
                while position < stop:
                    item = next(items, _END)
                    position += 1
                    if item is _END:
                        raise JournalError(
                            f"The journal {self._path} is of another source: it has noted input {stop - 1}, counted from"
                            f" 0, but the source has {position - 1}."
                            " Give the same inputs in the same order, or delete it."
                        )
                    if position <= start:
                        yield item
                if mark_of(item) != mark:
                    raise JournalError(
                        f"The journal {self._path} is of another source: input {stop - 1}, counted from 0, was another"
                        f" one than {item!r:.60}. Give the same inputs in the same order, or delete it."
                    )
            yield from items
        finally:
            if hasattr(items, "gi_frame"):
                items.close()

    def spans_of(self, items: list[Any]) -> list[Span]:
        """Give the stretches that the next inputs are: what is done already lies between them."""
        found: list[Span] = []
        i = 0
        done = self._done
        while i < len(items):
            while self._next < len(done) and done[self._next][0] <= self._position:
                self._position = max(self._position, done[self._next][1])
                self._next += 1
            n = len(items) - i
            if self._next < len(done):
                n = min(n, done[self._next][0] - self._position)
            i += n
            found.append(Span(self._position, self._position + n, mark_of(items[i - 1])))
            self._position += n
        return found

    # ---------------------------------------------------------------- the file

    def note(self, machines: list[Machine]) -> None:
        """Write down which inputs are done, in the main stream and, if there are any, in all side streams."""
        done = machines[0].spans_done
        if not done:
            return
        spans = done[:]
        done.clear()  # side streams have the same list
        for collect in (
            one for machine in machines for one in machine.collects
        ):  # what was written for them must not be lost with this process
            sync = getattr(collect.collector, "sync", None)
            if sync is not None:
                sync()
        for span in spans:
            self._add(span.start, span.stop, span.mark)
        self._write("".join(_line(f"{span.start} {span.stop} {span.mark}") for span in spans).encode())
        self._n_lines += len(spans)
        now = monotonic()
        if self._n_lines > MOST_LINES + 2 * len(self._ranges):
            self._compact()
        elif now - self._synced_at > SYNC_PAUSE:
            os.fsync(self._fd)
            self._synced_at = now

    def close(self) -> None:
        """Have the disk take what was noted; safe to repeat."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            _open.discard(self._key)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _add(self, start: int, stop: int, mark: int) -> None:
        """Put a stretch to the others; neighbours become one."""
        ranges = self._ranges
        i = bisect_left(ranges, (start,))
        if i and ranges[i - 1][1] >= start:
            i -= 1
            start = ranges[i][0]
            if ranges[i][1] > stop:
                stop, mark = ranges[i][1:]
            del ranges[i]
        while i < len(ranges) and ranges[i][0] <= stop:
            if ranges[i][1] > stop:
                stop, mark = ranges[i][1:]
            del ranges[i]
        ranges.insert(i, (start, stop, mark))

    def _read(self) -> None:
        """Read what earlier runs have noted; a last line that was not written to its end is cut off."""
        size = os.fstat(self._fd).st_size
        data = _all(self._fd, size)
        lines = data.split(b"\n")
        torn = lines.pop()
        good = len(data) - len(torn)
        texts = [_checked(line) for line in lines]
        if texts and texts[-1] is None and len(texts) > 1:
            good -= len(lines[-1]) + 1
            texts.pop()
        if not texts:
            if not self._head.encode().startswith(data):
                raise JournalError(
                    f"{self._path} is no journal of ezflow, and is left as it is. Give another path."
                )
            os.ftruncate(self._fd, 0)
            self._write(self._head.encode())
            self._n_lines = 0
            return
        head = texts[0]
        if head is None or not head.startswith(_VERSION + " "):
            raise JournalError(
                f"{self._path} is no journal of ezflow, and is left as it is. Give another path."
            )
        if head != _checked(self._head.rstrip("\n").encode()):
            raise JournalError(
                f"The journal {self._path} belongs to another flow: {json.loads(head.removeprefix(_VERSION))}."
                " Give another path, or delete it to begin anew."
            )
        for number, text in enumerate(texts[1:], 2):
            if text is None:
                raise JournalError(
                    f"Line {number} of the journal {self._path} is damaged, and not the last one, so something else has"
                    " written there. Restore it, or delete it to begin anew."
                )
            start, stop, mark = map(int, text.split(" "))
            self._add(start, stop, mark)
        os.ftruncate(self._fd, good)
        self._n_lines = len(texts)

    def _compact(self) -> None:
        """Write the file anew: at each moment there is a whole one under its name."""
        lines = [self._head, *(_line(f"{start} {stop} {mark}") for start, stop, mark in self._ranges)]
        beside = f"{self._path}.new"
        fd = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o666)
        old, old_key = self._fd, self._key
        try:
            _lock_file(fd)
            self._fd, self._key = fd, _key_of(fd)
            _open.add(self._key)
            self._write("".join(lines).encode())
            os.fsync(fd)
            os.replace(beside, self._path)
        except BaseException:
            _open.discard(self._key)
            self._fd, self._key = old, old_key
            os.close(fd)
            os.unlink(beside)
            raise
        _open.discard(old_key)
        os.close(old)
        self._n_lines = len(lines)
        self._synced_at = monotonic()

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._fd, data) :]


def mark_of(item: object) -> int:
    """Give a checksum of an item that is the same in every process: of plain things their text, else their type."""
    text = ""
    if isinstance(item, str | bytes):
        text = repr(item[:1000])
    elif isinstance(item, _PLAIN):
        text = repr(item)
    elif isinstance(item, tuple | list) and all(isinstance(one, _PLAIN) for one in item[:100]):
        text = repr(item[:100])
    return crc32(f"{type(item).__qualname__} {text[:1000]}".encode(errors="backslashreplace"))


def _line(text: str) -> str:
    return f"{text} {crc32(text.encode()):08x}\n"


def _checked(line: bytes) -> str | None:
    """Give a line without its checksum; None if that is wrong."""
    text, _, check = line.rpartition(b" ")
    try:
        return text.decode() if f"{crc32(text):08x}".encode() == check else None
    except UnicodeDecodeError:
        return None


def _all(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = os.pread(fd, size - len(data), len(data))
        if not more:
            break
        data += more
    return data


def _key_of(file: int | str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _lock(path: str) -> tuple[int, tuple[int, int] | None]:
    """Open a journal that nobody else uses."""
    in_use = f"The journal {path} is in use by another run. Wait for it, or give another path."
    while True:
        # Looked at by its name: closing any descriptor of a file would give up this process's lock on it.
        if _key_of(path) in _open:
            raise JournalError(in_use)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            if not _lock_file(fd):
                raise JournalError(in_use)
            key = _key_of(fd)
            if key is not None and key == _key_of(path):  # else it was written anew while it was opened
                _open.add(key)
                return fd, key
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _lock_file(fd: int) -> bool:
    """Lock a file for this process; the lock ends with it, however that ends, and forked workers have no part in it."""
    try:
        import fcntl
    except ImportError:  # no such locks here
        return True
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def opened(path: Any, roots: list[Node], flow: str) -> Iterator[Journal | None]:
    """Open a journal for a run, if there is to be one."""
    if path is None:
        yield None
        return
    _refuse_emptied_files(roots)
    journal = Journal(path, flow)
    try:
        yield journal
    finally:
        journal.close()


def _refuse_emptied_files(roots: list[Node]) -> None:
    """Complain of a stage that would empty its file when the run is resumed."""
    todo = [*roots]
    for node in todo:
        todo.extend(node.parts)
        if getattr(node, "make", None) is Writes and str(getattr(node, "args", ("", ""))[1]).startswith("w"):
            raise JournalError(
                f"{getattr(node, 'name', 'Write')} would empty its file when the run is resumed."
                " With a journal, write Write(path, 'a')."
            )
