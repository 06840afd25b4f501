"""Operations that run a program over items, in calls or here, and put what came of the calls together."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ..result import Result
from .gauge import Gauge
from .items import DROP, Carried, Failure, noted
from .packed import plain, spread, told
from .packet import Gate, Operation, Packet
from .program import ROUTE, SPLIT, run_items
from .weight import LARGE, nbytes_in, nbytes_of

if TYPE_CHECKING:
    from typing import Final

    from .machine import Machine
    from .program import Answer, Outcome, Program

QUICK: Final = 2_000
"""Microseconds: calls that take less get more items.  Chosen: a call costs 20 to 50 µs besides its items."""

SLOW: Final = 20_000
"""Microseconds: calls that take more get fewer items.  Larger: first outputs come later; smaller: more calls."""

MOST: Final = 1024
"""Items in a call, at most.  Larger: more memory and later first outputs; smaller: more calls (chosen)."""


class Job:
    """Items for one call."""

    __slots__ = (
        "base",
        "before",
        "group",
        "instance",
        "items",
        "micros",
        "n_left",
        "op",
        "parts",
        "place",
        "work",
    )

    def __init__(self, op: Work, work: _Split, place: int, items: list[Any], base: int) -> None:
        self.op = op
        self.work = work
        self.place = place
        self.items = items
        self.base = base
        self.instance = 0
        self.before: list[Outcome] = []  # of items that were its own, and are done
        self.group: Job | None = None  # that failed as a whole, and of which this is one item
        self.parts: list[Outcome | None] = []
        self.n_left = 0
        self.micros: int | None = None


class _Split:
    """A packet that is cut into jobs."""

    __slots__ = ("n_left", "packet", "parts", "places")

    def __init__(self, packet: Packet, places: list[int] | None, n_jobs: int) -> None:
        self.packet = packet
        self.places = places  # of the items that have not failed before, if some have
        self.parts: list[Any] = [None] * n_jobs
        self.n_left = n_jobs


class Work(Operation):
    """Runs a program over the items, in calls or, if it is light, here."""

    def __init__(
        self,
        machine: Machine,
        after: Operation | None,
        program: Program,
        note: str,
        *,
        sees_order: bool = False,
        is_light: bool = False,
        limit: int | None = None,
        alone: bool = False,
        extra: Any = None,
    ) -> None:
        super().__init__(machine, after)
        self.program = program
        self.note = note
        self.gate = Gate(ordered=machine.settings.ordered) if sees_order else None
        self.is_light = is_light
        self.limit = limit
        self.max_pending: int | None = None  # items of the source that may be before its end
        self.n_passed = 0  # items of the source that are behind it
        self.n_behind = 0  # collecting stages behind it
        self.alone = alone
        self.extra = extra
        self.keep = machine.settings.keep
        self.handler = machine.settings.handler
        self.is_enveloped = False  # its failures are data for the next
        self.streams = False  # gives outputs while a call runs
        self.is_async = False  # runs here, many at once, one item in a call
        self.to_pack: int | None = None  # whether its large outputs stay packed, as another call takes them
        kind, what, _ = program[0]
        if kind in (SPLIT, ROUTE):
            self.targets = what[3] if kind == SPLIT else what[1]
        self.chunk = 1
        self.most = MOST  # items in a call, less if their outputs were large
        self.n_in = 0
        self.n_out = 0
        self.n_failed = 0
        self.n_dropped = 0
        self.n_running = 0
        self.gauge = Gauge()
        self.waiting: deque[Job] = deque()
        self.free: list[int] = []  # of a stateful stage: workers that wait
        if is_light:
            machine.here.append(self)
        else:
            machine.works.append(self)

    def give(self, packet: Packet) -> None:
        """Pass a packet on, with its items of the source."""
        self.n_passed += packet.n_source
        super().give(packet)

    def n_before_end(self) -> int:
        """Count the items of the source that are on their way to the end of this stage, or in it."""
        machine = self.machine
        n_again = sum(one.n_again for one in machine.collects[self.n_behind :])
        return machine.n_source + n_again - self.n_passed

    def take(self, packet: Packet) -> None:
        """Take a packet."""
        if self.gate is None:
            self._enter(packet)
        else:
            for one in self.gate.admit(packet):
                self._enter(one)

    def _enter(self, packet: Packet) -> None:
        items = packet.items
        places: list[int] | None = None
        if packet.has_failures:
            places = [i for i, item in enumerate(items) if type(item) is not Failure]
            items = [items[i] for i in places]
        base = self.n_in
        n = len(items)
        self.n_in += n
        if not n:
            self.give(packet)
        elif self.is_light:
            split = _Split(packet, places, 1)
            clock = self.machine.clock
            began = clock()
            if self.machine.has_packed:
                items = list(map(spread, items))
            *outcome, extra = run_items(self.program, base, self.keep, self.handler, items)
            split.parts[0] = outcome
            self.machine.note(extra, packet)
            self.gauge.took(n, clock() - began)
            self.gauge.n_ended += n
            self._leave(split)
        else:
            pieces = cut(items, 1 if self.is_async else self.chunk)
            split = _Split(packet, places, len(pieces))
            for place, some in enumerate(pieces):
                self.waiting.append(Job(self, split, place, some, base))
                base += len(some)

    def done(self, job: Job, answer: Answer, micros: int | None) -> None:
        """Take what came of a job."""
        n = len(job.items)
        self.n_running -= 1
        self.gauge.n_running -= n
        if micros is not None:
            self.gauge.took(n, 1000 * micros)
        outs, counts, n_failed, extra = answer
        if extra is not None:
            self.machine.note(extra, job.work.packet)
            if extra[2]:
                self._go_on(job, (outs, counts, n_failed), extra[2])
                return
        if micros is not None and not self.alone and not self.is_async:
            if micros < QUICK and n >= self.chunk:
                self.chunk = min(self.chunk * 2, self.most)
            elif micros > SLOW and self.chunk > 1 and n * 2 > self.chunk:
                self.chunk //= 2
        self._settle(job, (outs, counts, n_failed))

    def _go_on(self, job: Job, outcome: Outcome, n_left: int) -> None:
        """Take the first part of a job whose outputs are so large that the others are left for another call."""
        n_done = len(job.items) - n_left
        self.most = self.chunk = max(1, n_done)
        self.gauge.n_ended += n_done
        rest = Job(self, job.work, job.place, job.items[n_done:], job.base + n_done)
        rest.before = [*job.before, outcome]
        self.waiting.appendleft(rest)

    def _settle(self, job: Job, outcome: Outcome) -> None:
        self.gauge.n_ended += len(job.items)
        group = job.group
        if group is not None:
            group.parts[job.place] = outcome
            group.n_left -= 1
            if group.n_left:
                return
            job, outcome = group, _together(group.parts)
        if job.before:
            outcome = _together([*job.before, outcome])
        split = job.work
        split.parts[job.place] = outcome
        split.n_left -= 1
        if not split.n_left:
            self._leave(split)

    def failed(self, job: Job, error: BaseException) -> None:
        """Take the failure of a job as a whole: raise, or repeat it item by item."""
        self.n_running -= 1
        self.gauge.n_running -= len(job.items)
        if not self.keep:
            raise noted(error, self.note, told(job.items[0])) if len(job.items) == 1 else error
        if len(job.items) > 1:
            job.parts = [None] * len(job.items)
            job.n_left = len(job.items)
            for i, item in enumerate(job.items):
                single = Job(self, job.work, i, [item], job.base + i)
                single.group = job
                self.waiting.append(single)
            return
        (item,) = job.items
        noted(error, self.note, told(item))
        if self.handler is None:
            outcome: Outcome = [Failure(error, told(item), self.note)], None, 1
        else:
            value = self.handler(error)
            outcome = ([], [0], 0) if value is DROP else ([value], None, 0)
        self._settle(job, outcome)

    def _leave(self, split: _Split) -> None:
        packet = split.packet
        outs, counts, n_failed = split.parts[0] if len(split.parts) == 1 else _together(split.parts)
        self.n_out += len(outs) - n_failed
        self.n_failed += n_failed
        if counts is not None:
            self.n_dropped += counts.count(0)
        if self.is_enveloped:
            outs, n_failed = [_enveloped(out) for out in outs], 0
        if split.places is not None:
            outs, counts = _with_failures(packet.items, split.places, outs, counts)
        self.replace(packet, outs, counts, failures=bool(n_failed) or split.places is not None)
        if packet.n_source:
            self.machine.weigh(packet)
        self.give(packet)


def cut(items: list[Any], size: int) -> list[list[Any]]:
    """Cut items into pieces for one call each: at most `size`, and not more than what is large together."""
    if size == 1 or nbytes_in(items) <= LARGE:
        return [items[start : start + size] for start in range(0, len(items), size)]
    pieces: list[list[Any]] = []
    nbytes = 0
    for item in items:
        nbytes += nbytes_of(item)
        if not pieces or len(pieces[-1]) == size or nbytes > LARGE:
            pieces.append([])
            nbytes = nbytes_of(item)
        pieces[-1].append(item)
    return pieces


def _enveloped(out: Any) -> Any:
    """Give the `Result` of an output or failure, which is data."""
    if type(out) is Failure:
        return Result[object](err=out.error, item=out.item, stage=out.note)
    return Carried(Result(plain(out)), out.meta) if type(out) is Carried else Result(plain(out))


def _together(parts: list[Any]) -> Outcome:
    """Put the outcomes of several calls together."""
    outs: list[Any] = []
    n_failed = 0
    for part, _, n in parts:
        outs += part
        n_failed += n
    if all(counts is None for _, counts, _ in parts):
        return outs, None, n_failed
    together: list[int] = []
    for part, counts, _ in parts:
        together += [1] * len(part) if counts is None else counts
    return outs, together, n_failed


def _with_failures(
    items: list[Any], places: list[int], outs: list[Any], counts: list[int] | None
) -> tuple[list[Any], list[int]]:
    """Put failures that passed by back between the outputs."""
    all_counts = [1] * len(items)
    for i, place in enumerate(places):
        all_counts[place] = 1 if counts is None else counts[i]
    passing = set(range(len(items))).difference(places)
    merged: list[Any] = []
    start = 0
    for i, count in enumerate(all_counts):
        if i in passing:
            merged.append(items[i])
        else:
            merged += outs[start : start + count]
            start += count
    return merged, all_counts
