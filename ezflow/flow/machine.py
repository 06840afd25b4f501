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
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from .._engine.current import running
from ..result import Result
from .gauge import Gauge
from .program import (
    BATCH,
    DROP,
    LARGE,
    ROUTE,
    SPLIT,
    Carried,
    Failure,
    State,
    To,
    branch_of,
    nbytes_in,
    nbytes_of,
    no_route,
    noted,
    one_of,
    run_items,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Final

    from .collect import Collector
    from .journal import Span
    from .program import Answer, Extra, Outcome, Program

QUICK: Final = 2_000
"""Microseconds: calls that take less get more items.  Chosen: a call costs 20 to 50 µs besides its items."""

HEAVY: Final = 512 << 20
"""Bytes of items in the system from which on the source waits, if there is work for every worker (chosen)."""

SLOW: Final = 20_000
"""Microseconds: calls that take more get fewer items.  Larger: first outputs come later; smaller: more calls."""

MOST: Final = 1024
"""Items in a call, at most.  Larger: more memory and later first outputs; smaller: more calls (chosen)."""


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


class Packet:
    """Items that travel together.

    Attributes
    ----------
    counts : list of int or None
        Inside a branch: how many of the items came of each item that entered it; None: one each.  What is beyond their
        sum was collected, and let out at the end.
    n_source : int
        Items of the source that it stands for: credit that comes back when it has left.
    sources : list or None
        Of which items `counts` speaks, if failures have to say what they came of.
    spans : tuple of Span
        For a journal: stretches of the source of which something is in it.
    """

    __slots__ = (
        "asker",
        "counts",
        "has_failures",
        "is_end",
        "items",
        "n_source",
        "number",
        "sources",
        "spans",
        "weight",
    )

    def __init__(
        self,
        number: int,
        items: list[Any],
        n_source: int = 0,
        *,
        is_end: bool = False,
        has_failures: bool = False,
    ) -> None:
        self.number = number
        self.items = items
        self.counts: list[int] | None = None
        self.n_source = n_source
        self.is_end = is_end
        self.has_failures = has_failures
        self.asker: Any = None  # whom to ask for another like it, when it has left
        self.weight = 0  # bytes of its items, where they were most
        self.sources: list[Any] | None = None
        self.spans: tuple[Span, ...] = ()

    def carry(self, spans: Iterable[Span]) -> None:
        """Let something of further stretches be in it."""
        spans = tuple(spans)
        self.spans += spans
        for span in spans:
            span.n_left += 1

    def stamp(self) -> None:
        """Let the failures in it say what they came of."""
        sources = self.sources
        if sources is None or not self.has_failures:
            return
        counts = [1] * len(sources) if self.counts is None else self.counts
        start = 0
        for source, count in zip(sources, counts, strict=False):
            for item in self.items[start : start + count]:
                if type(item) is Failure and item is not source:  # that was told behind an earlier stage
                    item.origin = source
            start += count


class Gate:
    """Lets packets pass in the order of their numbers, or as they come with the end last."""

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered
        self._early: dict[int, Packet] = {}
        self._next = 0

    def admit(self, packet: Packet) -> Iterator[Packet]:
        """Take a packet; give those whose turn it is."""
        early = self._early
        if self._ordered:
            early[packet.number] = packet
            while (found := early.pop(self._next, None)) is not None:
                self._next += 1
                yield found
            return
        if packet.is_end:
            early[packet.number] = packet
        else:
            self._next += 1
            yield packet
        found = early.pop(self._next, None)
        if found is not None:
            self._next += 1
            yield found


class Operation:
    """Takes packets, and passes each on to the next."""

    targets: Any = None
    """By name, the branches that `To` may name, if it has branches."""

    def __init__(self, machine: Machine, after: Operation | None) -> None:
        self.machine = machine
        self.after = after

    def take(self, packet: Packet) -> None:
        """Take a packet."""
        raise NotImplementedError

    def give(self, packet: Packet) -> None:
        """Pass a packet on: by the machine's list, so that many stages are no recursion."""
        self.machine.moving.append((self.after, packet))

    def replace(self, packet: Packet, items: list[Any], counts: list[int] | None, *, failures: bool) -> None:
        """Put outputs into the place of a packet's items."""
        if packet.counts is None:
            packet.counts = counts if counts is None else counts[:]
        elif counts is not None:
            composed, start = [], 0
            for count in packet.counts:
                composed.append(sum(counts[start : start + count]))
                start += count
            packet.counts = composed
        packet.items = items
        packet.has_failures = failures


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
        self.alone = alone
        self.extra = extra
        self.keep = machine.settings.keep
        self.handler = machine.settings.handler
        self.is_enveloped = False  # its failures are data for the next
        self.streams = False  # gives outputs while a call runs
        self.is_async = False  # runs here, many at once, one item in a call
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
            *outcome, extra = run_items(self.program, base, self.keep, self.handler, items)
            split.parts[0] = outcome
            self.machine.note(extra)
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
            self.machine.note(extra)
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
            raise noted(error, self.note, plain(job.items[0])) if len(job.items) == 1 else error
        if len(job.items) > 1:
            job.parts = [None] * len(job.items)
            job.n_left = len(job.items)
            for i, item in enumerate(job.items):
                single = Job(self, job.work, i, [item], job.base + i)
                single.group = job
                self.waiting.append(single)
            return
        (item,) = job.items
        noted(error, self.note, plain(item))
        if self.handler is None:
            outcome: Outcome = [Failure(error, plain(item), self.note)], None, 1
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
    return Carried(Result(out.value), out.meta) if type(out) is Carried else Result(out)


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


class Collect(Operation):
    """Feeds items one after another to a collector.  Outside of branches it numbers what it gives anew."""

    def __init__(
        self,
        machine: Machine,
        after: Operation | None,
        collector: Collector,
        note: str,
        *,
        in_branch: bool,
        max_wait: float | None = None,
    ) -> None:
        super().__init__(machine, after)
        self.collector = collector
        self.note = note
        self._gate = Gate(ordered=machine.settings.ordered or type(collector).__name__ == "InOrder")
        self._in_branch = in_branch
        self._number = 0
        self._n_held = (
            0  # items of the source whose packets have left, and which may be in what is not full yet
        )
        self.max_wait = max_wait
        self.since: float | None = None  # when the first of what waits came
        self.n_in = 0
        self.n_out = 0
        self.n_failed = 0
        self.n_dropped = 0
        self.gauge = Gauge()
        # Stretches of the source that it may hold items of, up to which of its items.
        self._held: deque[tuple[int, Span]] = deque()
        machine.collects.append(self)
        machine.here.append(self)

    def take(self, packet: Packet) -> None:
        """Take a packet."""
        for one in self._gate.admit(packet):
            self._feed(one)

    def _feed(self, packet: Packet) -> None:
        settings = self.machine.settings
        feed = self.collector.feed
        state = token = None
        if self.machine.has_meta or getattr(self.collector, "calls_user", False):
            state = State(settings.keep, settings.handler, settings.names)
            token = running.item.set(state)
            feed = partial(_feed_with_meta, self.collector, state)
        outs: list[Any] = []
        counts: list[int] = []
        failures = packet.has_failures
        n_passing = n_failed = 0
        clock = self.machine.clock
        began = clock()
        try:
            for item in packet.items:
                n = len(outs)
                if failures and type(item) is Failure:
                    n_passing += 1
                    outs.append(item)
                else:
                    try:
                        outs.extend(feed(item))
                    except Exception as error:
                        noted(error, self.note, plain(item))
                        if not settings.keep:
                            raise
                        failures = True
                        if settings.handler is None:
                            n_failed += 1
                            outs.append(Failure(error, plain(item), self.note))
                        elif (value := settings.handler(error)) is not DROP:
                            outs.append(value)
                counts.append(len(outs) - n)
        finally:
            if state is not None and token is not None:
                running.item.reset(token)
                self.machine.note(state.extra())
        if self.max_wait is not None:
            self._note_time(has_given=any(counts))
        if packet.is_end:
            if self._in_branch and packet.counts is None:
                packet.counts = [1] * len(packet.items)
            outs.extend(map(packed, self.collector.flush()))
            self.since = None
        n_own = len(packet.items) - n_passing
        self.gauge.took(n_own, clock() - began)
        self.gauge.n_ended += n_own
        self.n_in += n_own
        self.n_failed += n_failed
        self.n_out += len(outs) - n_passing - n_failed
        if packet.spans or self._held:
            self._hold(packet, has_given=bool(outs))
        gathers = getattr(self.collector, "gathers", False)
        if gathers and not self._in_branch:
            packet.stamp()
        self.replace(packet, outs, counts, failures=failures)
        if gathers and not self._in_branch and settings.keep:
            packet.sources, packet.counts = [plain(out) for out in outs], None
        if not self._in_branch:
            self._account(packet, n_own)
            packet.number = self._number
            self._number += 1
        self.give(packet)

    def _hold(self, packet: Packet, *, has_given: bool) -> None:
        """Keep the stretches that something is held of; others go on with the packet, which has the last of them."""
        held = self._held
        n_old = len(held)
        held.extend((self.n_in, span) for span in packet.spans)
        n_given = self.n_in - (0 if packet.is_end else getattr(self.collector, "n_held", 0))
        while held and held[0][0] <= n_given:
            span = held.popleft()[1]
            if n_old:
                n_old -= 1
                packet.spans += (span,)  # it was counted when it was kept
        if has_given:  # a window holds what it keeps, too
            packet.carry(span for _, span in islice(held, n_old))
        for _, span in islice(held, n_old, None):
            span.n_left += 1

    def _account(self, packet: Packet, n_came: int) -> None:
        """Let a batch stand for all the items of the source that are in it; `n_came` came with this packet.

        While it is not full their packets leave empty, and their credit comes back, or else it would never be full.
        When it is, they are on their way again.
        """
        if not packet.items:
            self._n_held += min(packet.n_source, n_came)
        elif self._n_held:
            packet.n_source += self._n_held
            self.machine.n_pending += self._n_held
            self._n_held = 0

    def _note_time(self, *, has_given: bool) -> None:
        if not getattr(self.collector, "holds", False):
            self.since = None
        elif self.since is None or has_given:
            self.since = self.machine.now

    def due(self) -> float | None:
        """Give the time at which what waits is to be let out."""
        return None if self.since is None or self.max_wait is None else self.since + self.max_wait

    def flush(self) -> None:
        """Let out what waits, as a packet of its own."""
        self.since = None
        items = list(map(packed, self.collector.flush()))
        self.n_out += len(items)
        packet = Packet(self._number, items)
        packet.spans = tuple(span for _, span in self._held)  # counted when they were kept
        self._held.clear()
        self._account(packet, 0)
        if self.machine.settings.keep:
            packet.sources = [plain(item) for item in items]
        self._number += 1
        self.machine.n_packets += 1
        self.give(packet)


def plain(item: Any) -> Any:
    """Give an item without what travels with it."""
    return item.value if type(item) is Carried else item


def packed(batch: Any) -> Any:
    """Give a list of items whose own meta is in the list's."""
    if type(batch) is not list or not any(type(item) is Carried for item in batch):
        return batch
    metas = [item.meta if type(item) is Carried else {} for item in batch]
    return Carried([plain(item) for item in batch], {BATCH: metas})


def _feed_with_meta(collector: Any, state: State, item: Any) -> list[Any]:
    """Feed an item whose meta travels on: with what is made of it, or in the list that it becomes part of."""
    if getattr(collector, "gathers", False):
        if type(item) is Carried and BATCH in item.meta:  # to be taken apart again
            item = [Carried(one, meta) for one, meta in zip(item.value, item.meta[BATCH], strict=False)]
        return [packed(out) for out in collector.feed(item)]
    state.meta = item.meta if type(item) is Carried else None
    outs = collector.feed(plain(item))
    return [Carried(out, state.meta) for out in outs] if state.meta is not None else list(outs)


class Fork(Operation):
    """Sends a packet into each branch, and joins what comes back; what exactly, its subclasses say."""

    def __init__(self, machine: Machine, after: Operation | None, note: str) -> None:
        super().__init__(machine, after)
        self.note = note
        self.branches: list[Operation] = []
        self.waiting: dict[int, tuple[Packet, Any, list[Packet | None]]] = {}

    def send(self, packet: Packet, items: list[list[Any]], memo: Any) -> None:
        """Send each branch its items."""
        self.waiting[packet.number] = packet, memo, [None] * len(items)
        for branch, some in zip(self.branches, items, strict=True):
            part = Packet(packet.number, some, is_end=packet.is_end)
            part.carry(packet.spans)
            self.machine.moving.append((branch, part))

    def back(self, branch: int, packet: Packet) -> None:
        """Take a packet from a branch."""
        parent, memo, parts = self.waiting[packet.number]
        parts[branch] = packet
        parent.spans += packet.spans
        if any(part is None for part in parts):
            return
        del self.waiting[packet.number]
        outs: list[Any] = []
        counts: list[int] = []
        reads = [_Groups(part) for part in parts if part is not None]
        for i, item in enumerate(parent.items):
            n = len(outs)
            if parent.has_failures and type(item) is Failure:
                outs.append(item)
            else:
                self.join(i, item, memo, reads, outs)
            counts.append(len(outs) - n)
        if parent.is_end:
            if parent.counts is None:
                parent.counts = [1] * len(parent.items)
            for read in reads:
                outs += read.rest()
        failures = parent.has_failures or any(part is not None and part.has_failures for part in parts)
        if self.machine.settings.keep and not failures:
            failures = any(type(out) is Failure for out in outs)  # a row that failed
        self.replace(parent, outs, counts, failures=failures)
        self.give(parent)

    def join(self, i: int, item: Any, memo: Any, reads: list[_Groups], outs: list[Any]) -> None:
        """Add what came of one item."""
        raise NotImplementedError

    def sent(self, item: To) -> Any:
        """Give the branch that an item names; a list stands for what failed."""
        try:
            return branch_of(item.target, self.targets)
        except LookupError as error:
            return self.failed(error, plain(item.item))

    def failed(self, error: Exception, item: Any) -> list[Any]:
        """Give what stands for an item that could not be sent anywhere."""
        settings = self.machine.settings
        noted(error, self.note, item)
        if not settings.keep:
            raise error
        if settings.handler is None:
            return [Failure(error, item, self.note)]
        value = settings.handler(error)
        return [] if value is DROP else [value]


class _Groups:
    """Reads what a branch gave, group by group."""

    __slots__ = ("_counts", "_i", "_items", "_start")

    def __init__(self, packet: Packet) -> None:
        self._items = packet.items
        self._counts = packet.counts
        self._start = self._i = 0

    def next(self) -> list[Any]:
        """Give what came of the next item."""
        count = 1 if self._counts is None else self._counts[self._i]
        self._i += 1
        start = self._start
        self._start = start + count
        return self._items[start : self._start]

    def rest(self) -> list[Any]:
        """Give what was let out at the end."""
        return self._items[self._start :]


class Deals(Fork):
    """Sends each item to one branch, in turn."""

    def __init__(self, machine: Machine, after: Operation | None, note: str, table: tuple[int, ...]) -> None:
        super().__init__(machine, after, note)
        self._table = table
        self._n = 0
        self._gate = Gate(ordered=machine.settings.ordered)

    def take(self, packet: Packet) -> None:
        """Take a packet."""
        for one in self._gate.admit(packet):
            items: list[list[Any]] = [[] for _ in self.branches]
            memo: list[Any] = []
            for item in one.items:
                if one.has_failures and type(item) is Failure:
                    memo.append(-1)
                    continue
                branch = self._table[self._n % len(self._table)]
                self._n += 1
                if type(item) is To:
                    found = self.sent(item)
                    if type(found) is list:
                        memo.append(found)
                        continue
                    branch, item = found, item.item
                memo.append(branch)
                items[branch].append(item)
            self.send(one, items, memo)

    def join(self, i: int, item: Any, memo: Any, reads: list[_Groups], outs: list[Any]) -> None:
        """Add what came of one item."""
        found = memo[i]
        outs += found if isinstance(found, list) else reads[found].next()


class Sorts(Fork):
    """Sends each item to the branch of its key."""

    def __init__(
        self,
        machine: Machine,
        after: Operation | None,
        note: str,
        of_key: Callable[[Any], Any],
        keys: dict[Any, int],
        default: int | None,
    ) -> None:
        super().__init__(machine, after, note)
        self._of_key = of_key
        self._keys = self.targets = keys
        self._default = default

    def take(self, packet: Packet) -> None:
        """Take a packet."""
        items: list[list[Any]] = [[] for _ in self.branches]
        memo: list[Any] = []
        for item in packet.items:
            if packet.has_failures and type(item) is Failure:
                memo.append(-1)
                continue
            found: Any
            if type(item) is To:
                found, item = self.sent(item), item.item
            else:
                found = self._branch_of(item)
            memo.append(found)
            if type(found) is not list:
                items[found].append(item)
        self.send(packet, items, memo)

    def join(self, i: int, item: Any, memo: Any, reads: list[_Groups], outs: list[Any]) -> None:
        """Add what came of one item."""
        found = memo[i]
        outs += found if isinstance(found, list) else reads[found].next()

    def _branch_of(self, item: Any) -> Any:
        """Ask the user's function where an item goes; a list stands for what failed."""
        settings = self.machine.settings
        state = State(settings.keep, settings.handler, settings.names)
        if type(item) is Carried:
            state.meta = item.meta
        token = running.item.set(state)
        value = plain(item)
        try:
            branch = (
                self._default if self._of_key is To else self._keys.get(self._of_key(value), self._default)
            )
            if branch is None:
                raise no_route(self._of_key, value, self._keys)
        except Exception as error:
            return self.failed(error, value)
        finally:
            running.item.reset(token)
            self.machine.note(state.extra())
        return branch


class Copying(Fork):
    """Sends each item to every branch; their outputs run on one after the other, or as a row."""

    def __init__(self, machine: Machine, after: Operation | None, note: str, *, is_row: bool) -> None:
        super().__init__(machine, after, note)
        self._is_row = is_row

    def take(self, packet: Packet) -> None:
        """Take a packet."""
        items = packet.items
        if packet.has_failures:
            items = [item for item in items if type(item) is not Failure]
        self.send(packet, [[*map(_own_meta, items)] for _ in self.branches], None)

    def join(self, i: int, item: Any, memo: Any, reads: list[_Groups], outs: list[Any]) -> None:
        """Add what came of one item."""
        groups = [read.next() for read in reads]
        if not self._is_row:
            for group in groups:
                outs += group
            return
        failures = [out for group in groups for out in group if type(out) is Failure]
        if failures:
            outs += failures
            return
        try:
            row = tuple(one_of(group, branch) for branch, group in enumerate(groups))
        except ValueError as error:
            outs += self.failed(error, plain(item))
            return
        if self.machine.has_meta and any(type(out) is Carried for out in row):
            together: dict[Any, Any] = {}
            for out in row:
                together.update(out.meta if type(out) is Carried else ())
            outs.append(Carried(tuple(map(plain, row)), together))
        else:
            outs.append(row)


def _own_meta(item: Any) -> Any:
    """Give a copy of an item, whose meta nobody else writes into."""
    return Carried(item.value, dict(item.meta)) if type(item) is Carried else item


class Back(Operation):
    """The end of a branch."""

    def __init__(self, machine: Machine, fork: Fork, branch: int) -> None:
        super().__init__(machine, None)
        self._fork = fork
        self._branch = branch

    def take(self, packet: Packet) -> None:
        """Take a packet."""
        self._fork.back(self._branch, packet)


class Output(Operation):
    """The end of the flow: packets wait here for the consumer."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine, None)
        self._gate = Gate(ordered=machine.settings.ordered)

    def take(self, packet: Packet) -> None:
        """Take a packet."""
        machine = self.machine
        for one in self._gate.admit(packet):
            if one.has_failures:
                machine.n_failed += sum(type(item) is Failure for item in one.items)
            if one.items:
                one.stamp()
                if machine.has_meta:
                    one.items = [plain(item) for item in one.items]
                machine.outputs.append(one)
            else:
                machine.gone(one)
            if one.is_end:
                machine.has_all = True


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
        self.emitted: list[tuple[str, Any]] = []
        """What is to go into side streams."""
        self.has_meta = False
        """Whether some item has one, so that all are looked at."""
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
        if settings.max_pending is not None:
            size = min(size, max(settings.max_pending - self.n_pending, 0))
        return size

    def note(self, extra: Extra | None) -> None:
        """Note what stages did besides giving outputs."""
        if extra is not None:
            emitted, has_meta, _ = extra
            self.emitted += emitted
            self.has_meta = self.has_meta or has_meta

    def weigh(self, packet: Packet) -> None:
        """Note how much a packet holds."""
        nbytes = nbytes_in(packet.items)
        if nbytes > packet.weight:
            self.n_bytes += nbytes - packet.weight
            packet.weight = nbytes

    def put(self, items: list[Any]) -> None:
        """Take items of the source."""
        n = len(items)
        self.n_source += n
        self.n_pending += n
        packet = Packet(self._number, items, n)
        if self.spans_of is not None:
            packet.carry(self.spans_of(items))
        self.weigh(packet)
        if self.settings.keep:
            packet.sources = items
        self._send(packet)

    def end(self) -> None:
        """Learn that the source has ended."""
        self.has_ended = True
        self._send(Packet(self._number, [], is_end=True))

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
        for span in packet.spans:
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
