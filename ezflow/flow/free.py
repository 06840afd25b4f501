"""Items go to whichever branch is free: `Parallel(f, g, balance="free")`.

A branch gets no more than it can work on, so what comes next is left for the branch that has room first.  Therefore the
items of one packet leave at different times: each branch numbers the packets that it gets by itself, and the fork notes
where every item has its place.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from .forks import Fork, GroupReader
from .items import Failure, To
from .packet import Packet

if TYPE_CHECKING:
    from .early import EarlyJoin
    from .machine import Machine
    from .packet import Operation, Origin


class _Parent:
    """A packet whose items are away."""

    __slots__ = ("groups", "has_failures", "n_left", "origins", "packet", "rest", "spans")

    def __init__(self, packet: Packet, n_branches: int) -> None:
        self.packet = packet
        self.spans = packet.spans  # of what goes into the branches; others may come back with it
        self.groups: list[list[Any] | None] = [None] * len(packet.items)
        self.n_left = len(packet.items) + (n_branches if packet.is_end else 0)
        self.rest: list[list[Any]] = [[] for _ in range(n_branches)]
        # Of each group, then of what is left of each branch.
        self.origins: list[list[Origin]] | None = None
        if packet.origins is not None:
            self.origins = [[one] for one in packet.origins] + [[] for _ in range(n_branches)]
        self.has_failures = packet.has_failures


class Frees(Fork):
    """Sends each item to the branch that has the least to do, as soon as one has room.

    Where outputs leave before the packet of their items, they are read in the order in which items are sent.  So an item
    that names its branch waits then, too, until it is its turn.
    """

    def __init__(self, machine: Machine, after: Operation | None, note: str) -> None:
        super().__init__(machine, after, note)
        # Packet, place, item, and the branch that it names, if it does.
        self._backlog: deque[tuple[Any, int, Any, int | None]] = deque()
        self._away: list[dict[int, list[tuple[_Parent, int]]]] = []
        self._n_away: list[int] = []
        self._numbers: list[int] = []
        self._end: Any = None  # of either kind, as in the backlog
        self._is_ended = False
        self._n_taken = 0
        self._rooms: list[Any] = []

    def open(self, rooms: list[Any]) -> None:
        """Learn of each branch the work that says how much it can do, None: as much as any."""
        n = len(self.branches)
        self._rooms = rooms
        self._away = [{} for _ in range(n)]
        self._n_away = [0] * n
        self._numbers = [0] * n

    def enter(self, packet: Packet) -> None:
        """Take a packet."""
        if self.early is not None:
            self._enter_early(self.early, packet)
            return
        parent = _Parent(packet, len(self.branches))
        self._n_taken += 1
        if packet.is_end:
            self._end = parent
        for i, item in enumerate(packet.items):
            found = None
            if packet.has_failures and type(item) is Failure:
                found = [item]
            elif type(item) is To:
                found = self.sent(item)
                if type(found) is not list:
                    self._send(found, [(parent, i)], [item.item])
                    continue
            if found is None:
                self._backlog.append((parent, i, item, None))
            else:
                parent.groups[i] = found
                if parent.origins is not None:
                    parent.origins[i] *= len(found)
                parent.n_left -= 1
        self._hand_out()
        self._settle(parent)

    def _enter_early(self, early: EarlyJoin, packet: Packet) -> None:
        memo: list[Any] = []
        waiting = []
        for i, item in enumerate(packet.items):
            found: Any = [item] if packet.has_failures and type(item) is Failure else None
            if type(item) is To:
                found, item = self.sent(item), item.item
            memo.append(found if type(found) is list else None)
            if type(found) is not list:
                waiting.append((i, item, found))
        parent = early.expect(packet, memo, len(waiting) + (len(self.branches) if packet.is_end else 0))
        self._n_taken += 1
        if packet.is_end:
            self._end = parent
        self._backlog += [(parent, *one) for one in waiting]
        self._hand_out()
        early.subtract(parent, 0)  # perhaps nothing of it is away
        early.move()

    def branches_of(self, i: int, memo: Any) -> Any:
        """Give the one, if it is known."""
        return None if memo[i] is None else (memo[i],)

    def instead(self, i: int, memo: Any) -> list[Any] | None:
        """Give what the memo has."""
        return memo[i] if type(memo[i]) is list else None

    def returned(self, branch: int, part: Packet) -> None:
        """Learn that a branch has room again."""
        self._n_away[branch] -= sum(n for _, n in part.home or ()) - part.is_end
        self._hand_out()

    def _room(self, branch: int) -> int:
        """Tell how many more items a branch can work on: twice what it does at once, so that it does not wait for us."""
        work = self._rooms[branch]
        n: int = self.machine.settings.n_workers
        if work is not None:
            n = (n if work.limit is None else min(work.limit, n)) * work.chunk
        return 2 * n - self._n_away[branch]

    def _hand_out(self) -> None:
        """Send on what a branch has room for."""
        backlog = self._backlog
        while backlog:
            named = backlog[0][3]
            if named is not None:
                parent, i, item, _ = backlog.popleft()
                self._send(named, [(parent, i)], [item])
                continue
            rooms = [self._room(branch) for branch in range(len(self.branches))]
            best = max(range(len(rooms)), key=lambda branch: (rooms[branch], -self._n_away[branch], -branch))
            if rooms[best] <= 0:
                return
            work = self._rooms[best]
            n = min(rooms[best], 1 if work is None else work.chunk)
            some: list[Any] = []
            while backlog and len(some) < n and backlog[0][3] is None:
                some.append(backlog.popleft())
            self._send(best, [(parent, i) for parent, i, _, _ in some], [item for _, _, item, _ in some])
        # Packets that come by arrival may be here before the end, but never behind it.
        end = self._end
        if end is not None and not self._is_ended and self._n_taken == end.packet.number + 1:
            self._is_ended = True
            for branch in range(len(self.branches)):
                self._send(branch, [], [], is_end=True)

    def _send(
        self,
        branch: int,
        places: list[tuple[Any, int]],
        items: list[Any],
        *,
        is_end: bool = False,
    ) -> None:
        number = self._numbers[branch]
        self._numbers[branch] = number + 1
        self._n_away[branch] += len(items)
        packet = Packet(number, items, is_end=is_end)
        if self.machine.settings.keep:
            packet.origins = [parent.packet.origins[i] for parent, i in places if parent.packet.origins]
        if self.early is None:
            self._away[branch][number] = places
        else:
            counts = Counter(parent for parent, _ in places)
            if is_end and self._end is not None:
                counts[self._end] += 1
            packet.home = list(counts.items())
            for parent, i in places:
                parent.memo[i] = branch
        for parent in dict.fromkeys(parent for parent, _ in places):
            packet.carry(parent.spans)
        self.machine.moving.append((self.branches[branch], packet))

    def back(self, branch: int, packet: Packet) -> None:
        """Take a packet from a branch."""
        if self.early is not None:
            self.early.back(branch, packet)
            return
        places = self._away[branch].pop(packet.number)
        self._n_away[branch] -= len(places)
        read = GroupReader(packet)
        touched = []
        for parent, i in places:
            parent.groups[i] = read.next()
            if parent.origins is not None:
                parent.origins[i] = read.came_of()
            parent.n_left -= 1
            parent.has_failures = parent.has_failures or packet.has_failures
            if not parent.n_left:
                touched.append(parent)
        if packet.spans:
            self._pass_on(packet, places)
        if packet.is_end:
            end = self._end
            assert end is not None
            end.rest[branch] = read.rest()
            if end.origins is not None:
                end.origins[len(end.groups) + branch] = read.came_of()
            end.has_failures = end.has_failures or packet.has_failures
            end.n_left -= 1
            if not end.n_left:
                touched.append(end)
        self._hand_out()
        for parent in touched:
            self._settle(parent)

    def _pass_on(self, packet: Packet, places: list[tuple[_Parent, int]]) -> None:
        """Let every packet in which something of this one has its place carry its stretches."""
        parents = dict.fromkeys(parent for parent, _ in places)
        if packet.is_end and self._end is not None:
            parents[self._end] = None
        for parent in parents:
            parent.packet.carry(packet.spans)
        for span in packet.spans:
            span.n_left -= 1
        packet.spans = ()

    def _settle(self, parent: _Parent) -> None:
        """Pass a packet on, all of whose items are back."""
        if parent.n_left:
            return
        packet = parent.packet
        outs: list[Any] = []
        counts: list[int] = []
        for group in parent.groups:
            assert group is not None
            outs += group
            counts.append(len(group))
        if packet.is_end:
            if packet.counts is None:
                packet.counts = [1] * len(packet.items)
            for rest in parent.rest:
                outs += rest
        self.replace(packet, outs, counts, failures=parent.has_failures)
        if parent.origins is not None:
            packet.origins = [one for some in parent.origins for one in some]
        self.give(packet)
