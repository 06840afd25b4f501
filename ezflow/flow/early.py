"""Branches whose outputs may leave before the packet of their items: pieces of a stream, and batches whose time is up.

Other branches give one packet for each that they get, and a fork joins those of the same number.  Here a branch gives more,
so it numbers them anew, and what belongs together is found by counting: the items that a branch gets are its *groups*, one
after the other, and what it gives says how many outputs each of them has.  There are three kinds of packets:

- a *part* is what the fork sent: it comes back once, behind all that came of it before;
- a *piece* comes before: its last group is not finished, and goes on in the next packet;
- what is *loose* belongs to no group: a batch that was let out because its time was up.

In order, a place goes through the items, and reads the next group of the branch that has the item.  What comes when it is
its turn leaves at once, as a packet of its own behind the fork; what comes too early waits, and its generator with it.
Without order all that comes leaves at once.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from .items import Failure
from .packet import Gate, Packet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .forks import Fork
    from .packet import Origin


class Groups:
    """To which groups of a branch the outputs belong that leave before their packet."""

    __slots__ = ("_counts", "_first", "_n", "_of")

    def __init__(self, packet: Packet) -> None:
        n, counts = len(packet.items), packet.counts
        self._of = [*range(n)] if counts is None else [i for i, m in enumerate(counts) for _ in range(m)]
        self._n = n if counts is None else len(counts)
        self._of += [self._n] * (n - len(self._of))  # what was let out at the end
        self._first = 0  # group that no packet has finished
        self._counts: list[int] = []  # outputs that wait, of that and the next ones

    def add(self, i: int, n_outs: int) -> None:
        """Note outputs of the packet's item `i`; behind its last one, what was let out at the end."""
        group = (self._of[i] if i < len(self._of) else self._n) - self._first
        self._counts += [0] * (group + 1 - len(self._counts))
        self._counts[group] += n_outs

    def cut(self) -> list[int]:
        """Let go what waits; the last group is not finished."""
        counts = self._counts
        if counts:
            self._first += len(counts) - 1
            self._counts = [0]
        return counts

    def end(self) -> list[int]:
        """Let go what waits, and finish all groups."""
        n_left = self._n - self._first
        return (self._counts + [0] * n_left)[:n_left]


class _Parent:
    """A packet whose items are away."""

    __slots__ = ("at", "groups", "i", "memo", "n_left", "origins", "outs", "packet", "spans")

    def __init__(self, packet: Packet, memo: Any, n_left: int) -> None:
        self.packet = packet
        self.spans = packet.spans  # of what goes into the branches; others may come back with it
        self.memo = memo
        self.n_left = n_left  # parts, or items, that are not back
        self.outs: list[Any] = []  # that have not left before it
        self.origins: list[Origin] = []
        self.groups = Groups(packet)
        self.i = 0  # the item whose outputs come next
        self.at = 0  # and which of the branches that have it


class _Lane:
    """What a branch has given, until it is read."""

    __slots__ = ("gate", "i", "packets", "start")

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.packets: deque[Packet] = deque()
        self.i = 0  # groups of the first one that were read
        self.start = 0  # and items


class EarlyJoin:
    """Joins what comes back from such branches.

    Parameters
    ----------
    fork : Fork
        Whose branches they are.
    n_branches : int
        How many.
    """

    def __init__(self, fork: Fork, n_branches: int) -> None:
        self._fork = fork
        self._machine = fork.machine
        self._ordered = fork.machine.settings.ordered
        self._lanes = [_Lane(Gate(ordered=self._ordered)) for _ in range(n_branches)]
        self._parents: deque[_Parent] = deque()
        self._number = 0

    def expect(self, packet: Packet, memo: Any, n_left: int) -> _Parent:
        """Learn of a packet whose items are sent into the branches; `memo` may still be written into."""
        parent = _Parent(packet, memo, n_left)
        if self._ordered:
            self._parents.append(parent)
        else:
            for i in range(len(packet.items)):
                self._stand_in(parent, i)
        return parent

    def _stand_in(self, parent: _Parent, i: int) -> bool:
        """Put what is known already into the place of an item; tell whether that is so."""
        item = parent.packet.items[i]
        if parent.packet.has_failures and type(item) is Failure:
            found: list[Any] | None = [item]
        else:
            found = self._fork.instead(i, parent.memo)
        if found is None:
            return False
        origins = parent.packet.origins
        self._add(parent, i, found, None if origins is None else [origins[i]] * len(found))
        return True

    def _add(self, parent: _Parent, i: int, outs: list[Any], origins: Iterable[Origin] | None) -> None:
        parent.outs += outs
        parent.origins += origins or ()
        parent.groups.add(i, len(outs))

    def back(self, branch: int, packet: Packet) -> None:
        """Take a packet from a branch."""
        lane = self._lanes[branch]
        for one in lane.gate.admit(packet):
            if self._ordered:
                lane.packets.append(one)
            elif one.home is None:
                self._pass(one)
            else:
                self.settle(one)
            if one.home is not None:
                self._fork.returned(branch, one)
        self.move()

    # ---------------------------------------------------------------- without order

    def settle(self, part: Packet) -> None:
        """Let what is in a part leave with the last packet that it is of; give the packets of which all is back."""
        assert part.home is not None
        last = part.home[-1][0]
        last.packet.inherit(part.spans)
        last.outs += part.items
        last.origins += part.origins or ()
        for parent, n in part.home:
            self.subtract(parent, n)

    def subtract(self, parent: _Parent, n: int) -> None:
        """Learn that so much of a packet is back."""
        parent.n_left -= n
        if not parent.n_left and not self._ordered:
            self._give(parent)

    # ---------------------------------------------------------------- in order

    def move(self) -> None:
        """Read what is there and has its turn."""
        for lane in self._lanes:
            self._skim(lane)
        while self._parents and self._is_read(self._parents[0]):
            self._give(self._parents.popleft())

    def _is_read(self, parent: _Parent) -> bool:
        """Read what came of a packet, as far as it is there; tell whether that is all."""
        items = parent.packet.items
        while parent.i < len(items):
            if not self._stand_in(parent, parent.i):
                branches = self._fork.branches_of(parent.i, parent.memo)
                if branches is None:
                    return False  # it is not sent yet
                while parent.at < len(branches):
                    if not self._has_read_group(parent, self._lanes[branches[parent.at]]):
                        return False
                    parent.at += 1
            parent.i += 1
            parent.at = 0
        while parent.packet.is_end and parent.at < len(self._lanes):
            if not self._has_read_rest(parent, self._lanes[parent.at]):
                return False
            parent.at += 1
        return True

    def _has_read_group(self, parent: _Parent, lane: _Lane) -> bool:
        while lane.packets:
            packet = lane.packets[0]
            counts = packet.counts
            self._read(parent, lane, 1 if counts is None else counts[lane.i])
            lane.i += 1
            is_whole = not (packet.is_unfinished and lane.i == _n_groups(packet))
            self._skim(lane)
            if is_whole:
                return True
        return False

    def _has_read_rest(self, parent: _Parent, lane: _Lane) -> bool:
        """Read what was let out at the end of a branch, all groups of which were read."""
        while lane.packets:
            packet = lane.packets[0]
            self._read(parent, lane, len(packet.items) - lane.start)
            lane.i = _n_groups(packet)
            if packet.is_end:
                self._pop(lane)
                return True
            self._skim(lane)
        return False

    def _read(self, parent: _Parent, lane: _Lane, n: int) -> None:
        packet = lane.packets[0]
        some = slice(lane.start, lane.start + n)
        self._add(
            parent, parent.i, packet.items[some], None if packet.origins is None else packet.origins[some]
        )
        lane.start += n

    def _skim(self, lane: _Lane) -> None:
        """Let go what was read to its end, and what is loose."""
        while lane.packets:
            packet = lane.packets[0]
            if packet.is_end or (not packet.is_loose and lane.i < _n_groups(packet)):
                return
            self._pop(lane)

    def _pop(self, lane: _Lane) -> None:
        """Let the first packet of a lane go; one of its own takes along what was read, so that it does not wait."""
        packet = lane.packets.popleft()
        lane.i = lane.start = 0
        parent = self._parents[0] if self._parents else None
        if packet.home is not None:
            if parent is None:
                self._machine.release(packet.spans)
            else:  # what was in it leaves with that one, or before
                parent.packet.inherit(packet.spans)
        elif packet.is_loose:
            if parent is not None and parent.outs:
                self._machine.n_packets += 1
                self._fill(Packet(0, []), parent)
            self._pass(packet)
        elif parent is None:
            packet.items, packet.counts = [], []
            packet.origins = None if packet.origins is None else []
            self._pass(packet)
        else:
            self._fill(packet, parent)

    def _fill(self, packet: Packet, parent: _Parent) -> None:
        """Let what was read so far leave in a packet."""
        packet.items, parent.outs = parent.outs, []
        origins, parent.origins = parent.origins, []
        packet.origins = None if parent.packet.origins is None else origins
        packet.counts = parent.groups.cut()
        packet.is_unfinished = True
        packet.is_loose = parent.packet.is_loose
        # They stay with the parent, too, which may leave sooner when it is empty.
        packet.carry(parent.packet.spans)
        self._carry_what_is_read(packet)
        self._pass(packet)

    def _carry_what_is_read(self, packet: Packet) -> None:
        """Let a packet carry the stretches of those that are read in part: some of their items may be in it."""
        for lane in self._lanes:
            if lane.start:
                packet.carry(lane.packets[0].spans)

    # ---------------------------------------------------------------- behind the fork

    def _give(self, parent: _Parent) -> None:
        packet = parent.packet
        packet.items = parent.outs
        packet.origins = None if packet.origins is None else parent.origins
        packet.counts = parent.groups.end() if self._ordered else None
        self._carry_what_is_read(packet)
        self._pass(packet)

    def _pass(self, packet: Packet) -> None:
        packet.number = self._number
        self._number += 1
        packet.has_failures = self._machine.settings.keep and any(
            type(item) is Failure for item in packet.items
        )
        self._fork.give(packet)


def _n_groups(packet: Packet) -> int:
    return len(packet.items) if packet.counts is None else len(packet.counts)
