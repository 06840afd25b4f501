"""A stage whose outputs come in pieces, while its generator still runs: for more outputs of one item than memory holds.

Each item is a call of its own, in a worker that the stage has for itself: it sends a piece when it is large enough or old
enough, and then waits until it is allowed another.  (While it waits it keeps its worker.  In a worker of the pool it would
wait for stages that need just this worker.)  A piece is a packet, numbered anew; the packet of the items themselves follows
empty, and brings the credit back.  What that is in a branch, `early` tells.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from .early import Groups
from .items import DROP, Failure, noted
from .packed import told
from .packet import Packet
from .work import Work

if TYPE_CHECKING:
    from .machine import Machine
    from .packet import Operation
    from .program import Extra, Program
    from .work import Job


class _Line:
    """The pieces of one item, in order."""

    __slots__ = ("groups", "is_done", "origin", "pieces", "place", "sink", "whole")

    def __init__(self, whole: Packet, place: int, groups: Groups) -> None:
        self.whole = whole  # the packet of the item
        self.place = place  # and where in it
        self.groups = groups
        self.origin = None if whole.origins is None else whole.origins[place]
        self.pieces: deque[tuple[list[Any], int]] = deque()
        self.is_done = False
        self.sink: Any = None


class Streams(Work):
    """Runs a program for one item at a time, and gives its outputs as they come."""

    def __init__(self, machine: Machine, after: Operation | None, program: Program, note: str) -> None:
        super().__init__(machine, after, program, note, sees_order=True)
        self.alone = True
        self.streams = True
        self.limit = 1
        self._lines: dict[Job, _Line] = {}
        self._order: deque[_Line | tuple[Packet, Groups]] = deque()
        self._number = 0

    def _enter(self, packet: Packet) -> None:
        from .work import Job, _Split

        groups = Groups(packet)
        for place, item in enumerate(packet.items):
            line = _Line(packet, place, groups)
            self._order.append(line)
            if type(item) is Failure:
                line.pieces.append(([item], 1))
                line.is_done = True
                continue
            job = Job(self, _Split(packet, None, 1), 0, [item], self.n_in)
            self.n_in += 1
            self._lines[job] = line
            self.waiting.append(job)
        packet.items = []
        self._order.append((packet, groups))
        self._give_out()

    def begun(self, job: Job, sink: Any) -> None:
        """Learn whom to ask for more pieces of an item."""
        self._lines[job].sink = sink

    def piece(self, job: Job, outs: list[Any], n_failed: int, extra: Extra | None) -> None:
        """Take a piece."""
        line = self._lines[job]
        self.machine.note(extra, line.whole)
        line.pieces.append((outs, n_failed))
        self._give_out()

    def done(self, job: Job, answer: Any, micros: int | None) -> None:
        """Learn that all pieces of an item are here; where nothing can be streamed, the answer holds them all."""
        self._ended(job)
        line = self._lines.pop(job)
        if micros is not None:
            self.gauge.took(1, 1000 * micros)
        if answer is not None:
            outs, _, n_failed, extra = answer
            self.machine.note(extra, line.whole)
            line.pieces.append((outs, n_failed))
        line.is_done = True
        self._give_out()

    def failed(self, job: Job, error: BaseException) -> None:
        """Take the failure of an item: behind what it has given so far."""
        self._ended(job)
        (item,) = job.items
        noted(error, self.note, told(item))
        if not self.keep:
            raise error
        line = self._lines.pop(job)
        if self.handler is None:
            line.pieces.append(([Failure(error, told(item), self.note)], 1))
        elif (value := self.handler(error)) is not DROP:
            line.pieces.append(([value], 0))
        line.is_done = True
        self._give_out()

    def _ended(self, job: Job) -> None:
        self.n_running -= 1
        self.gauge.n_running -= 1
        self.gauge.n_ended += 1

    def _give_out(self) -> None:
        order = self._order
        while order:
            head = order[0]
            if isinstance(head, _Line):
                while head.pieces:
                    outs, n_failed = head.pieces.popleft()
                    self.n_out += len(outs) - n_failed
                    self.n_failed += n_failed
                    piece = Packet(0, outs, has_failures=bool(n_failed))
                    piece.origins = None if head.origin is None else [head.origin] * len(outs)
                    head.groups.add(head.place, len(outs))
                    piece.counts = head.groups.cut()
                    piece.is_unfinished = True
                    piece.is_loose = head.whole.is_loose
                    piece.asker = None if head.is_done else head.sink
                    piece.carry(head.whole.spans)
                    self.machine.n_packets += 1
                    self.machine.weigh(piece)
                    self._pass(piece)
                if not head.is_done:
                    return
            else:
                whole, groups = head
                whole.counts = groups.end()
                whole.origins = None if whole.origins is None else []
                whole.has_failures = False
                self._pass(whole)
            order.popleft()

    def _pass(self, packet: Packet) -> None:
        packet.number = self._number
        self._number += 1
        self.give(packet)
