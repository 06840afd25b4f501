"""Operations that see items one after another: what is made of several, such as a batch."""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from .._engine.current import running
from .gauge import Gauge
from .items import BATCH, DROP, Carried, Failure, bare, noted
from .packed import spread, told, unpacked
from .packet import Gate, Operation, Packet
from .program import State

if TYPE_CHECKING:
    from .collectors import Collector
    from .journal import Span
    from .machine import Machine
    from .packet import Origin


class Collect(Operation):
    """Feeds items one after another to a collector.

    It numbers what it gives anew, except in a branch where it gives a packet for each that it takes.
    """

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
        self._gathers = getattr(collector, "gathers", False)
        self._number = 0
        self._n_held = (
            0  # items of the source whose packets have left, and which may be in what is not full yet
        )
        self.n_again = 0  # those of them that are on their way once more, as a batch
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
        feed: Any = self.collector.feed
        state = token = None
        origins = packet.origins
        gathered: list[Origin] = []  # what the outputs came of, if it is not the item that completed them
        if not self._gathers:
            if self.machine.has_meta or getattr(self.collector, "calls_user", False):
                state = State(settings.keep, settings.handler, settings.names)
                token = running.item.set(state)
                feed = partial(_feed_with_meta, self.collector, state)
        elif self.machine.has_meta or origins is not None:
            feed = partial(_feed_known, self.collector, gathered)
        outs: list[Any] = []
        counts: list[int] = []
        failures = packet.has_failures
        looks = self.machine.has_packed and getattr(self.collector, "looks", False)
        n_passing = n_failed = 0
        clock = self.machine.clock
        began = clock()
        try:
            for i, item in enumerate(packet.items):
                n = len(outs)
                if failures and type(item) is Failure:
                    n_passing += 1
                    outs.append(item)
                else:
                    try:
                        seen = unpacked(item) if looks else item
                        outs.extend(
                            feed(seen)
                            if origins is None or not self._gathers
                            else feed(Known(seen, origins[i]))
                        )
                    except Exception as error:
                        noted(error, self.note, told(item))
                        if not settings.keep:
                            raise
                        failures = True
                        if settings.handler is None:
                            n_failed += 1
                            outs.append(Failure(error, told(item), self.note))
                        elif (value := settings.handler(error)) is not DROP:
                            outs.append(value)
                counts.append(len(outs) - n)
                if origins is not None and len(gathered) < len(outs):
                    gathered += [origins[i]] * (len(outs) - len(gathered))
        finally:
            if state is not None and token is not None:
                running.item.reset(token)
                self.machine.note(state.extra(), packet)
        if self.max_wait is not None:
            self._note_time(has_given=any(counts))
        if packet.is_end:
            if self._in_branch and packet.counts is None:
                packet.counts = [1] * len(packet.items)
            outs.extend(self._flushed(gathered))
            self.since = None
        n_own = len(packet.items) - n_passing
        self.gauge.took(n_own, clock() - began)
        self.gauge.n_ended += n_own
        self.n_in += n_own
        self.n_failed += n_failed
        self.n_out += len(outs) - n_passing - n_failed
        if packet.spans or self._held:
            self._hold(packet, has_given=bool(outs))
        self.replace(packet, outs, counts, failures=failures)
        if origins is not None:
            packet.origins = gathered
        if not self._in_branch:
            self._account(packet, n_own)
        if not self._in_branch or self.max_wait is not None:
            packet.number = self._number
            self._number += 1
        self.give(packet)

    def _hold(self, packet: Packet, *, has_given: bool) -> None:
        """Keep the stretches that something is held of; others go on with the packet, which has the last of them."""
        held = self._held
        n_old = len(held)
        held.extend((self.n_in, span) for span in packet.spans)
        n_given = self.n_in - (0 if packet.is_end else getattr(self.collector, "n_held", 0))
        given: list[Span] = []
        while held and held[0][0] <= n_given:
            span = held.popleft()[1]
            if n_old:
                n_old -= 1
                given.append(span)  # it was counted when it was kept
        packet.inherit(given)
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
            self.n_again += self._n_held
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
        origins: list[Origin] = []
        items = self._flushed(origins)
        self.n_out += len(items)
        packet = Packet(self._number, items)
        if self.machine.settings.keep:
            packet.origins = origins
        packet.spans = tuple(span for _, span in self._held)  # counted when they were kept
        self._held.clear()
        if self._in_branch:
            packet.is_loose = True
        else:
            self._account(packet, 0)
        self._number += 1
        self.machine.n_packets += 1
        self.give(packet)

    def _flushed(self, origins: list[Origin]) -> list[Any]:
        """Give what waits, and note what it came of."""
        return [_of_known(out, origins) for out in self.collector.flush()]


class Known:
    """An item, and what it came of."""

    __slots__ = ("item", "origin")

    def __init__(self, item: Any, origin: Origin) -> None:
        self.item = item
        self.origin = origin


def packed(batch: Any) -> Any:
    """Give a list of items whose own meta is in the list's."""
    if type(batch) is not list or not any(type(item) is Carried for item in batch):
        return batch
    metas = [item.meta if type(item) is Carried else {} for item in batch]
    return Carried([bare(item) for item in batch], {BATCH: metas})


def _feed_known(collector: Any, origins: list[Origin], item: Any) -> list[Any]:
    """Feed an item whose meta and origin go into those of the list that it becomes part of."""
    if getattr(collector, "takes_lists", False):
        known = item if type(item) is Known else None
        item = _members(item if known is None else known.item)
        if known is not None:
            item = [Known(one, known.origin) for one in item]
    return [_of_known(out, origins) for out in collector.feed(item)]


def _members(batch: Any) -> Any:
    """Give the items of a batch, with the meta that each came with."""
    batch = spread(batch)
    if type(batch) is not Carried:
        return batch
    if BATCH not in batch.meta:
        return [Carried(one, dict(batch.meta)) for one in batch.value]  # as Unbatch does
    return [Carried(one, meta) for one, meta in zip(batch.value, batch.meta[BATCH], strict=False)]


def _of_known(out: Any, origins: list[Origin]) -> Any:
    """Give a list of items for a list of what is known of them."""
    if out and type(out[0]) is Known:
        origins.append([one.origin for one in out])
        out = [one.item for one in out]
    return packed(out)


def _feed_with_meta(collector: Any, state: State, item: Any) -> list[Any]:
    """Feed an item whose meta travels on with what is made of it."""
    state.meta = item.meta if type(item) is Carried else None
    outs = collector.feed(bare(item))
    return [Carried(out, state.meta) for out in outs] if state.meta is not None else list(outs)
