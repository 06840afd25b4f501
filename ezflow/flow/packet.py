"""What moves through the operations of a run: items in packets, whose order can be restored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .items import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .journal import Span
    from .machine import Machine

    Origin = tuple[Any] | list[Any]


class Packet:
    """Items that travel together.

    Attributes
    ----------
    counts : list of int or None
        Inside a branch: how many of the items came of each item that entered it; None: one each.  What is beyond their
        sum was collected, and let out at the end.
    home : list of tuple, optional
        In a branch that gives more packets than it gets: of which packets it is a part, and how much of each.  None: it is
        one of those more.
    is_loose : bool
        In such a branch: it belongs to no item in particular.
    is_unfinished : bool
        In such a branch: the last of its `counts` goes on in the next packet.
    n_source : int
        Items of the source that it stands for: credit that comes back when it has left.
    origins : list or None
        What each of the items came of, if failures have to say that: see `source_items`.
    spans : tuple of Span
        For a journal: stretches of the source of which something is in it.
    """

    __slots__ = (
        "asker",
        "counts",
        "has_failures",
        "home",
        "is_end",
        "is_loose",
        "is_unfinished",
        "items",
        "n_source",
        "number",
        "origins",
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
        self.home: list[tuple[Any, int]] | None = None
        self.is_loose = self.is_unfinished = False
        self.weight = 0  # bytes of its items, where they were most
        self.origins: list[Origin] | None = None
        self.spans: tuple[Span, ...] = ()

    def carry(self, spans: Iterable[Span]) -> None:
        """Let something of further stretches be in it."""
        known = set(self.spans)
        found = [span for span in dict.fromkeys(spans) if span not in known]
        for span in found:
            span.n_left += 1
        self.spans += tuple(found)

    def inherit(self, spans: Iterable[Span]) -> None:
        """Carry what was counted already, for a packet that is no more; what it carries itself is counted once."""
        known = set(self.spans)
        found: list[Span] = []
        for span in spans:
            if span in known:
                span.n_left -= 1  # which is not the last one
            else:
                known.add(span)
                found.append(span)
        self.spans += tuple(found)

    def stamp(self) -> None:
        """Let the failures in it say what they came of."""
        if self.origins is not None and self.has_failures:
            for item, origin in zip(self.items, self.origins, strict=True):
                if type(item) is Failure:
                    found = source_items(origin)
                    item.origin = found[0] if type(origin) is tuple else found


def source_items(origin: Origin) -> list[Any]:
    """Give the items of the source that an item came of.

    Its origin is a tuple with one of them, which is the same tuple for all that came of it, or a list of the origins of
    what was put together.  What is in it several times, because a stage has multiplied it, is given once.
    """
    found: list[Any] = []
    seen: set[int] = set()
    todo: list[Origin] = [origin]
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if type(one) is tuple:
            found += one
        else:
            todo += one[::-1]
    return found


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
        if counts is not None and packet.origins is not None:
            packet.origins = [one for one, n in zip(packet.origins, counts, strict=True) for _ in range(n)]
        packet.items = items
        packet.has_failures = failures
