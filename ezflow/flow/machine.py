"""The pure heart of a run: packets go in, jobs and outputs come out.  No I/O, no thread, no clock.

What it owns: the packets in the system, the operations with their places for early ones, credit, and counts.

Invariants, which everything else rests on:

- packets are numbered without a gap, and the end packet has the last number;
- each operation takes each packet once and gives it once, perhaps empty;
- an operation that sees order takes packet *k* after all before it; without order it still takes the end packet last.

One thread at a time moves it.  It calls users' functions only in collecting stages and light programs.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ..errors import unreadable
from .items import Failure
from .packed import plain
from .packet import Gate, Operation, Packet
from .weight import nbytes_in
from .work import MOST, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Final

    from .collect import Collect
    from .journal import Span
    from .program import Answer, Extra
    from .work import Job

HEAVY: Final = 512 << 20
"""Bytes of items in the system from which on the source waits, if there is work for every worker (chosen)."""


class Settings:
    """What holds for a whole run."""

    def __init__(
        self,
        *,
        ordered: bool = True,
        keep: bool = False,
        handler: Callable[..., object] | None = None,
        n_workers: int = 4,
        max_pending: int | None = None,
        names: tuple[str, ...] = (),
        is_async: bool = False,
        is_inline: bool = False,
    ) -> None:
        self.names = names
        self.is_async = is_async  # every stage that does not say where it runs
        self.is_inline = is_inline  # every stage, whatever it says
        self.ordered = ordered
        self.keep = keep or handler is not None
        self.handler = handler
        self.max_pending = max_pending
        self.n_running = (
            4 * n_workers
        )  # jobs under way: enough to be sent ahead, few enough to be stopped soon
        self.n_packets = 8 * n_workers
        self.n_workers = n_workers


class Output(Operation):
    """The end of the flow: packets wait here for the consumer."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine, None)
        self._gate = Gate(ordered=machine.settings.ordered)

    def take(self, packet: Packet) -> None:
        """Take a packet."""
        machine = self.machine
        for one in self._gate.admit(packet):
            if machine.has_meta or machine.has_packed:
                self._unpack(one)
            if one.has_failures:
                machine.n_failed += sum(type(item) is Failure for item in one.items)
            if one.items:
                one.stamp()
                machine.outputs.append(one)
            else:
                machine.gone(one)
            if one.is_end:
                machine.has_all = True

    def _unpack(self, packet: Packet) -> None:
        """Have the items as the consumer sees them; one that cannot be rebuilt is a failure behind the last stage."""
        for i, item in enumerate(packet.items):
            try:
                packet.items[i] = plain(item)
            except Exception as cause:
                error = unreadable("result", "the flow", cause)
                settings = self.machine.settings
                if not settings.keep:
                    raise error from cause
                packet.items[i] = Failure(error, None, "")
                packet.has_failures = True


class Machine:
    """Moves packets through the operations of one run.

    Attributes
    ----------
    outputs : deque of Packet
        What waits for the consumer, who calls `gone` when it has taken all of one.
    works : list of Work
        Operations that need calls; `jobs` gives the next ones.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.works: list[Work] = []
        self.collects: list[Collect] = []
        self.here: list[Work | Collect] = []  # what is done in this process, for counting
        self.moving: deque[tuple[Operation | None, Packet]] = deque()
        self.outputs: deque[Packet] = deque()
        self.first: Operation = Output(self)
        self.n_source = 0
        self.n_out = 0
        self.n_failed = 0
        self.n_pending = 0
        self.n_packets = 0
        self.n_bytes = 0
        self.n_running = 0
        self.now = 0.0
        self.emitted: list[tuple[str, Any, tuple[Span, ...]]] = []
        """What is to go into side streams, and for a journal, of which stretches of the source it is."""
        self.has_meta = False
        """Whether some item has one, so that all are looked at."""
        self.has_packed = False
        """Whether some item is packed."""
        self.clock: Callable[[], int] = int
        """Nanoseconds, for times of what is done here; a run sets one that goes."""
        self.spans_of: Callable[[list[Any]], Iterable[Span]] | None = None
        """Gives the stretches that items of the source are, if there is a journal."""
        self.spans_done: list[Span] = []
        self._number = 0
        self.has_ended = False
        """Whether the source has."""
        self.has_all = False
        """Whether all outputs are there."""

    def wants(self) -> int:
        """Tell by how many items the source may be advanced now."""
        settings = self.settings
        if self.has_ended or self.n_packets >= settings.n_packets:
            return 0
        if self.n_bytes > HEAVY and self.n_packets >= settings.n_workers:
            return 0
        size = MOST if self.works else 256
        n_source = self.n_source + 1
        for work in self.works:
            size = min(size, max(1, work.chunk * n_source // max(work.n_in, 1)))
            if work.max_pending is not None:
                size = min(size, max(work.max_pending - work.n_before_end(), 0))
        if settings.max_pending is not None:
            size = min(size, max(settings.max_pending - self.n_pending, 0))
        return size

    def note(self, extra: Extra | None, packet: Packet) -> None:
        """Note what stages did for a packet besides giving outputs."""
        if extra is not None:
            emitted, has_meta, _, has_packed = extra
            for name, item in emitted:
                for span in packet.spans:
                    span.n_left += 1
                self.emitted.append((name, item, packet.spans))
            self.has_meta = self.has_meta or has_meta
            self.has_packed = self.has_packed or has_packed

    def weigh(self, packet: Packet) -> None:
        """Note how much a packet holds."""
        nbytes = nbytes_in(packet.items)
        if nbytes > packet.weight:
            self.n_bytes += nbytes - packet.weight
            packet.weight = nbytes

    def put(self, items: list[Any], spans: tuple[Span, ...] = ()) -> None:
        """Take items of the source, or of a side stream with the stretches that were counted when they were emitted."""
        n = len(items)
        self.n_source += n
        self.n_pending += n
        packet = Packet(self._number, items, n)
        packet.spans = spans
        if self.spans_of is not None:
            packet.carry(self.spans_of(items))
        self.weigh(packet)
        if self.settings.keep:
            packet.origins = [*zip(items)]  # tuples of one
        self._send(packet)

    def end(self) -> None:
        """Learn that the source has ended."""
        self.has_ended = True
        packet = Packet(self._number, [], is_end=True)
        packet.origins = [] if self.settings.keep else None
        self._send(packet)

    def _send(self, packet: Packet) -> None:
        self._number += 1
        self.n_packets += 1
        self.moving.append((self.first, packet))
        self.move()

    def move(self) -> None:
        """Move packets as far as they go."""
        moving = self.moving
        while moving:
            op, packet = moving.popleft()
            assert op is not None
            op.take(packet)

    def jobs(self) -> Iterator[Job]:
        """Give the jobs that may start now, those of later stages first."""
        most = self.settings.n_running
        for work in reversed(self.works):
            while (
                work.waiting
                and (self.n_running < most or work.is_async)
                and (work.limit is None or work.n_running < work.limit)
            ):
                work.n_running += 1
                self.n_running += not work.is_async
                job = work.waiting.popleft()
                work.gauge.n_running += len(job.items)
                yield job

    def done(self, job: Job, answer: Answer, micros: int | None = None) -> None:
        """Take what came of a job."""
        self.n_running -= not job.op.is_async
        job.op.done(job, answer, micros)
        self.move()

    def failed(self, job: Job, error: BaseException) -> None:
        """Take the failure of a job as a whole; raises if that ends the run."""
        self.n_running -= not job.op.is_async
        job.op.failed(job, error)
        self.move()

    def gone(self, packet: Packet) -> None:
        """Learn that the consumer has taken all of a packet: its credit comes back."""
        self.n_packets -= 1
        self.n_bytes -= packet.weight
        if packet.asker is not None:
            packet.asker.ask()
        self.n_pending -= packet.n_source
        self.n_out += len(packet.items)
        self.release(packet.spans)

    def release(self, spans: Iterable[Span]) -> None:
        """Learn that stretches of the source are in one packet less."""
        for span in spans:
            span.n_left -= 1
            if not span.n_left:
                self.spans_done.append(span)

    def due(self) -> float | None:
        """Give the time at which something has waited long enough."""
        return min((due for one in self.collects if (due := one.due()) is not None), default=None)

    def tick(self, now: float) -> None:
        """Learn the time."""
        self.now = now
        for one in self.collects:
            due = one.due()
            if due is not None and due <= now:
                one.flush()
        self.move()
