"""One call as the parent keeps it: what the scheduler needs, the bytes, and who waits."""

from __future__ import annotations

from functools import partial

from ._engine.events import Job
from ._hints import Protocol

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextvars import Context

    from ._engine.events import Retry
    from ._memory.cargo import Part
    from ._wire.codec import Definition


class Sink(Protocol):
    """Whoever waits for the end of a call.  Its methods never block.

    They run on the dispatcher's thread, and for a call that could not be sent in
    the one that submits it.
    """

    def _deliver(self, sealed: Sealed) -> None:
        """Take the answer, still in bytes or already as an error."""

    def _drop(self) -> None:
        """Learn that the call was cancelled."""

    def _hear(self, sealed: Sealed) -> None:
        """Take word of the call's progress."""


class Sealed(Protocol):
    """An answer that has not been opened: opening may run user code, so the receiver does it."""

    pid: int | None
    """The worker that answered or died."""
    micros: int | None
    """Microseconds that the call took there."""
    attempts: int
    """How often it was run; 0 if never."""

    @property
    def failed(self) -> bool:
        """Whether it is known to be an error."""
        raise NotImplementedError

    def open(self) -> tuple[object, BaseException | None]:
        """Give the value, or the error, by running user code where unpickling needs it."""
        raise NotImplementedError


class Call(Job):
    """A call from `submit` or `map` until it is settled."""

    __slots__ = (
        "beside",
        "context",
        "index",
        "interrupted",
        "label",
        "needs",
        "payload",
        "sink",
        "within",
    )

    def __init__(
        self,
        number: int,
        payload: bytes,
        needs: tuple[Definition, ...],
        label: str,
        sink: Sink,
        limit: float | None = None,
        deadline: float | None = None,
        priority: int = 0,
        retry: Retry | None = None,
    ) -> None:
        Job.__init__(self, number, len(payload), limit, deadline, priority, retry)
        self.index = 0  # position in its map, counted from 1; 0 for none
        self.within = 0.0  # seconds that the deadline left it when it was made
        self.context: Context | None = None  # of the submitter, where output is forwarded
        self.payload = payload
        self.beside: Sequence[Part] = ()  # large buffers that are not in the payload
        self.needs = needs
        self.label = label
        self.sink = sink
        self.interrupted = False  # it was asked to end because its limit passed


def label_of(fn: object) -> str:
    """Name a callable as error messages show it."""
    name = getattr(fn, "__qualname__", None)
    if isinstance(name, str):
        return name
    return label_of(fn.func) if isinstance(fn, partial) else type(fn).__qualname__


def run_chunk(fn: Callable[..., object], chunk: Iterable[tuple[object, ...]]) -> list[object]:
    """Run one chunk of a `map` in the worker."""
    return [fn(*args) for args in chunk]
