"""Operations that have branches: they send items into them, and join what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._engine.current import running
from .early import EarlyJoin
from .items import DROP, Carried, Failure, To, bare, noted
from .packed import plain, told
from .packet import Gate, Operation, Packet
from .program import State, branch_of, no_route, one_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .machine import Machine
    from .packet import Origin


class Fork(Operation):
    """Sends a packet into each branch, and joins what comes back; what exactly, its subclasses say."""

    def __init__(self, machine: Machine, after: Operation | None, note: str) -> None:
        super().__init__(machine, after)
        self.note = note
        self.branches: list[Operation] = []
        self.waiting: dict[int, tuple[Packet, Any, list[Packet | None]]] = {}
        self.gate: Gate | None = None
        self.early: EarlyJoin | None = None

    def join_early(self, n_branches: int) -> None:
        """Let outputs of the branches leave before the packet of their items."""
        self.early = EarlyJoin(self, n_branches)
        self.gate = Gate(ordered=self.machine.settings.ordered)

    def take(self, packet: Packet) -> None:
        """Take a packet."""
        if self.gate is None:
            self.enter(packet)
        else:
            for one in self.gate.admit(packet):
                self.enter(one)

    def enter(self, packet: Packet) -> None:
        """Send a packet into the branches."""
        raise NotImplementedError

    def send(self, packet: Packet, items: list[list[Any]], memo: Any) -> None:
        """Send each branch its items."""
        home = None
        if self.early is None:
            self.waiting[packet.number] = packet, memo, [None] * len(items)
        else:
            home = [(self.early.expect(packet, memo, len(items)), 1)]
        origins = self.origins_in(packet, memo)
        for i, (branch, some) in enumerate(zip(self.branches, items, strict=True)):
            part = Packet(packet.number, some, is_end=packet.is_end)
            part.origins = None if origins is None else origins[i]
            part.home = home
            part.carry(packet.spans)
            self.machine.moving.append((branch, part))
        if self.early is not None:
            self.early.move()

    def branches_of(self, i: int, memo: Any) -> Any:
        """Give the branches that have an item, in the order of their outputs."""
        raise NotImplementedError

    def instead(self, i: int, memo: Any) -> list[Any] | None:
        """Give what stands for an item that no branch has."""

    def returned(self, branch: int, part: Packet) -> None:
        """Learn that a branch has worked off a part, if its outputs leave before."""

    def origins_in(self, packet: Packet, memo: Any) -> list[list[Origin]] | None:
        """Give what the items in each branch came of, if that has to be known."""
        if packet.origins is None:
            return None
        found: list[list[Origin]] = [[] for _ in self.branches]
        for i, (item, origin) in enumerate(zip(packet.items, packet.origins, strict=True)):
            if not packet.has_failures or type(item) is not Failure:
                for branch in self.branches_of(i, memo):
                    found[branch].append(origin)
        return found

    def back(self, branch: int, packet: Packet) -> None:
        """Take a packet from a branch."""
        if self.early is not None:
            self.early.back(branch, packet)
            return
        parent, memo, parts = self.waiting[packet.number]
        parts[branch] = packet
        parent.inherit(packet.spans)
        if any(part is None for part in parts):
            return
        del self.waiting[packet.number]
        outs: list[Any] = []
        counts: list[int] = []
        reads = [GroupReader(part) for part in parts if part is not None]
        origins: list[Origin] | None = None if parent.origins is None else []
        for i, item in enumerate(parent.items):
            n = len(outs)
            if parent.has_failures and type(item) is Failure:
                outs.append(item)
            else:
                self.join(i, item, memo, reads, outs)
            n = len(outs) - n
            counts.append(n)
            if origins is not None and parent.origins is not None:
                came = [one for read in reads for one in read.came_of()]
                origins += came if len(came) == n else [parent.origins[i]] * n
        if parent.is_end:
            if parent.counts is None:
                parent.counts = [1] * len(parent.items)
            for read in reads:
                outs += read.rest()
            if origins is not None:
                origins += [one for read in reads for one in read.came_of()]
        failures = parent.has_failures or any(part is not None and part.has_failures for part in parts)
        if self.machine.settings.keep and not failures:
            failures = any(type(out) is Failure for out in outs)  # a row that failed
        self.replace(parent, outs, counts, failures=failures)
        parent.origins = origins
        self.give(parent)

    def join(self, i: int, item: Any, memo: Any, reads: list[GroupReader], outs: list[Any]) -> None:
        """Add what came of one item."""
        raise NotImplementedError

    def sent(self, item: To) -> Any:
        """Give the branch that an item names; a list stands for what failed."""
        try:
            return branch_of(item.target, self.targets)
        except LookupError as error:
            return self.failed(error, told(item.item))

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


class GroupReader:
    """Reads what a branch gave, group by group."""

    __slots__ = ("_counts", "_i", "_items", "_origins", "_start", "_told")

    def __init__(self, packet: Packet) -> None:
        self._items = packet.items
        self._origins = packet.origins
        self._told = 0
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
        rest = self._items[self._start :]
        self._start = len(self._items)
        return rest

    def came_of(self) -> list[Origin]:
        """Give the origins of what it gave since it was asked for them."""
        told, self._told = self._told, self._start
        return [] if self._origins is None else self._origins[told : self._start]


class Sends(Fork):
    """Sends each item to one branch; of those that could not be sent, the memo has what stands for them."""

    def choose(self, item: Any, packet: Packet) -> Any:
        """Give the branch for an item; a list stands for what failed."""
        raise NotImplementedError

    def enter(self, packet: Packet) -> None:
        """Send a packet into the branches."""
        items: list[list[Any]] = [[] for _ in self.branches]
        memo: list[Any] = []
        for item in packet.items:
            if packet.has_failures and type(item) is Failure:
                memo.append(-1)
                continue
            found = self.choose(item, packet)
            memo.append(found)
            if type(found) is not list:
                items[found].append(item.item if type(item) is To else item)
        self.send(packet, items, memo)

    def branches_of(self, i: int, memo: Any) -> Any:
        """Give the one."""
        found = memo[i]
        return () if isinstance(found, list) else (found,)

    def instead(self, i: int, memo: Any) -> list[Any] | None:
        """Give what the memo has."""
        found = memo[i]
        return found if isinstance(found, list) else None

    def join(self, i: int, item: Any, memo: Any, reads: list[GroupReader], outs: list[Any]) -> None:
        """Add what came of one item."""
        found = memo[i]
        outs += found if isinstance(found, list) else reads[found].next()


class Deals(Sends):
    """Sends each item to one branch, in turn."""

    def __init__(self, machine: Machine, after: Operation | None, note: str, table: tuple[int, ...]) -> None:
        super().__init__(machine, after, note)
        self._table = table
        self._n = 0
        self.gate = Gate(ordered=machine.settings.ordered)

    def choose(self, item: Any, packet: Packet) -> Any:
        """Give the branch whose turn it is, or that the item names."""
        branch = self._table[self._n % len(self._table)]
        self._n += 1
        return self.sent(item) if type(item) is To else branch


class Sorts(Sends):
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

    def choose(self, item: Any, packet: Packet) -> Any:
        """Give the branch of the item's key, or that it names."""
        return self.sent(item) if type(item) is To else self._branch_of(item, packet)

    def _branch_of(self, item: Any, packet: Packet) -> Any:
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
            self.machine.note(state.extra(), packet)
        return branch


class Copying(Fork):
    """Sends each item to every branch; their outputs run on one after the other, or as a row."""

    def __init__(self, machine: Machine, after: Operation | None, note: str, *, is_row: bool) -> None:
        super().__init__(machine, after, note)
        self._is_row = is_row

    def enter(self, packet: Packet) -> None:
        """Send a packet into the branches."""
        items = packet.items
        if packet.has_failures:
            items = [item for item in items if type(item) is not Failure]
        self.send(packet, [[*map(_own_meta, items)] for _ in self.branches], None)

    def branches_of(self, i: int, memo: Any) -> Any:
        """Give all of them."""
        return range(len(self.branches))

    def join(self, i: int, item: Any, memo: Any, reads: list[GroupReader], outs: list[Any]) -> None:
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
            outs += self.failed(error, told(item))
            return
        if self.machine.has_meta and any(type(out) is Carried for out in row):
            together: dict[Any, Any] = {}
            for out in row:
                together.update(out.meta if type(out) is Carried else ())
            outs.append(Carried(tuple(map(bare, row)), together))
        else:
            outs.append(row)


def _own_meta(item: Any) -> Any:
    """Give a copy of an item, whose meta nobody else writes into."""
    return Carried(item.value, dict(item.meta)) if type(item) is Carried else item


class Back(Operation):
    """The end of a branch."""

    def __init__(self, machine: Machine, fork: Fork, branch: int) -> None:
        super().__init__(machine, None)
        self.fork = fork
        self._branch = branch

    def take(self, packet: Packet) -> None:
        """Take a packet."""
        self.fork.back(self._branch, packet)
