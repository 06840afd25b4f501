"""The worker's side of its output: what it prints and logs goes to the parent, as the parent has settled.

Only where the pool forwards output.  File descriptors 1 and 2 are pipes to the
parent, so C code and programs that a call starts are heard as well.  Log
records travel as frames on the socket, whole and in plain values.

A line that Python code leaves unfinished at the end of its call is followed by
a mark, so that the parent can tell it from the beginning of what the next call
writes.  A call that prints whole lines, or nothing, writes no mark.
"""

from __future__ import annotations

import io
import os
import sys

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import LogRecord
    from typing import Any

    from typing_extensions import Buffer


def new_mark() -> bytes:
    """Make what ends an unfinished line: nothing that anybody prints."""
    return b"\0ezflow" + os.urandom(9)


class Outlet:
    """Standard output and error of a worker, and its logging.

    Parameters
    ----------
    fds : tuple of int
        Write ends of the two pipes; used up.
    mark : bytes
        Ends an unfinished line.
    levels : Levels
        What the parent wants to hear.
    send : callable
        Sends the bytes of a log record.
    """

    def __init__(
        self, fds: tuple[int, ...], mark: bytes, levels: Levels, send: Callable[[bytes], None]
    ) -> None:
        self._mark = mark
        self._flush_c: Callable[[None], int] | None = None
        self._raws: list[_Raw] = []
        self._streams: list[io.TextIOWrapper] = []
        for number, (fd, name) in enumerate(zip(fds, ("stdout", "stderr"), strict=True), start=1):
            os.dup2(fd, number)
            os.close(fd)
            raw = _Raw(number, "w", closefd=False)
            stream = io.TextIOWrapper(
                io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True
            )
            self._raws.append(raw)
            self._streams.append(stream)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        _forward_records(levels, send)

    def end_call(self) -> None:
        """Let everything out that was written until now."""
        for stream, raw in zip(self._streams, self._raws, strict=True):
            try:
                stream.flush()
                if raw.is_inside_line:
                    raw.is_inside_line = False
                    os.write(raw.fileno(), self._mark)
            except (OSError, ValueError):
                pass  # the call has closed it
        if self._flush_c is not None:
            self._flush_c(None)
        elif "ctypes" in sys.modules:
            self._flush_c = _c_flush()
            self._flush_c(None)


class _Raw(io.FileIO):
    """A file descriptor that knows whether it was left inside a line."""

    is_inside_line = False

    def write(self, data: Buffer, /) -> int:
        n = super().write(data)
        if n:
            self.is_inside_line = memoryview(data).cast("B")[n - 1] not in b"\r\n"
        return n


def _c_flush() -> Callable[[None], int]:
    """Give what lets out all that C code has printed: to a pipe its library writes in blocks."""
    try:
        import ctypes

        flush: Callable[[None], int] = ctypes.CDLL(None).fflush
    except (ImportError, OSError, AttributeError):
        return lambda _: 0
    return flush


# --- logging -----------------------------------------------------------------------------------------------------


class Levels:
    """The levels of the parent's loggers; plain values, so a worker that never logs imports nothing."""

    __slots__ = ("disabled", "own")

    def __init__(self, disabled: int, own: dict[str, int]) -> None:
        self.disabled = disabled
        self.own = own

    @classmethod
    def capture(cls) -> Levels:
        """Give those that are set in this process; the root logger is named ''."""
        logging = sys.modules.get("logging")
        if logging is None:
            return cls(0, {})
        own = {"": logging.root.level}
        for name, logger in list(logging.root.manager.loggerDict.items()):
            if getattr(logger, "level", 0):  # some are only placeholders
                own[name] = logger.level
        return cls(logging.root.manager.disable, own)


def _forward_records(levels: Levels, send: Callable[[bytes], None]) -> None:
    """Set the parent's levels here, and send what passes them; handlers are the parent's."""
    import logging

    class Forwarder(logging.Handler):
        """Sends records to the parent."""

        def __init__(self) -> None:
            super().__init__()
            self._pid = os.getpid()
            self._formatter = logging.Formatter()

        def emit(self, record: LogRecord) -> None:
            try:
                if os.getpid() == self._pid:
                    send(_pack(record, self._formatter.formatException))
                else:  # a process that a call has forked has nobody to send it to
                    print(self.format(record), file=sys.stderr, flush=True)  # noqa: T201
            except Exception:
                self.handleError(record)

    for logger in [logging.root, *logging.root.manager.loggerDict.values()]:
        if isinstance(logger, logging.Logger):  # handlers and levels that a forked worker has inherited
            logger.handlers.clear()
            logger.propagate = True
            logger.setLevel(logging.NOTSET)
    logging.root.setLevel(logging.WARNING)
    for name, level in levels.own.items():
        logging.getLogger(name or None).setLevel(level)
    logging.disable(levels.disabled)
    logging.root.addHandler(Forwarder())


def _pack(record: LogRecord, format_exception: Callable[[Any], str]) -> bytes:
    """Pickle a record; its message is put together here, where its arguments are what they were."""
    import pickle

    fields = dict(record.__dict__)
    fields["msg"] = record.getMessage()
    fields["args"] = None
    if record.exc_info and not record.exc_text:
        fields["exc_text"] = format_exception(record.exc_info)
    fields["exc_info"] = None
    try:
        return pickle.dumps(fields)
    except Exception:
        return pickle.dumps({name: _sendable(value) for name, value in fields.items()})


def _sendable(value: object) -> object:
    """Give the value, or if it cannot be pickled its text."""
    import pickle

    try:
        pickle.dumps(value)
    except Exception:
        return repr(value)
    return value
