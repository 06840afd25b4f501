"""Side streams of a run: what stages emit goes through a flow of its own, on the same hands."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from .items import Failure
from .machine import Machine
from .plan import build
from .work import MOST

if TYPE_CHECKING:
    from typing import Final

    from ..graph.nodes import Node
    from .journal import Span
    from .machine import Settings

FULL: Final = 4 * MOST
"""Items that may wait for a side stream before the source of the main one has to wait, too (chosen)."""


class Sides:
    """The side streams of a run, in the order in which they were added; each ends after all before it.

    Parameters
    ----------
    main : Machine
        Of the main stream.
    roots : dict of str and Node
        The stages of each.
    settings : Settings
        Of all of them.
    """

    def __init__(self, main: Machine, roots: dict[str, Node], settings: Settings) -> None:
        self.failures: list[Failure] = []
        self._main = main
        self._machines: dict[str, Machine] = {}
        self._backlogs: dict[str, deque[tuple[Any, tuple[Span, ...]]]] = {}
        for name, root in roots.items():
            machine = self._machines[name] = Machine(settings)
            machine.clock = main.clock
            machine.spans_done = main.spans_done
            build(machine, root, path=(name,))
            self._backlogs[name] = deque()

    @property
    def machines(self) -> list[Machine]:
        """Those of the side streams."""
        return list(self._machines.values())

    @property
    def is_full(self) -> bool:
        """Whether the main stream should wait."""
        return any(len(backlog) >= FULL for backlog in self._backlogs.values())

    def move(self) -> None:
        """Send on what was emitted, as far as credit allows."""
        is_moving = True
        while is_moving:
            is_moving = False
            for machine in (self._main, *self._machines.values()):
                emitted, machine.emitted = machine.emitted, []
                for name, item, spans in emitted:
                    if self._machines[name].has_ended:
                        raise RuntimeError(
                            f"{item!r:.60} was emitted into the side stream {name!r} after its end: a side stream can"
                            " emit only into those that were added later"
                        )
                    self._backlogs[name].append((item, spans))
            for name, machine in self._machines.items():
                is_moving = self._feed(machine, self._backlogs[name]) or is_moving

    def _feed(self, machine: Machine, backlog: deque[tuple[Any, tuple[Span, ...]]]) -> bool:
        is_moving = False
        while machine.outputs:
            packet = machine.outputs.popleft()
            self.failures += [item for item in packet.items if type(item) is Failure]
            machine.gone(packet)
        while backlog and (n := machine.wants()) > 0:
            some = [backlog.popleft() for _ in range(min(n, len(backlog)))]
            machine.put([item for item, _ in some], tuple(span for _, spans in some for span in spans))
            is_moving = True
        return is_moving or bool(machine.outputs)

    def end(self) -> bool:
        """End them one after the other, now that the main stream is over; tell whether all have."""
        for name, machine in self._machines.items():
            self.move()
            if not machine.has_ended:
                if self._backlogs[name]:
                    return False
                machine.end()
                self.move()
            if not machine.has_all:
                return False
        return True
