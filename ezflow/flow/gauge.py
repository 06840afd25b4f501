"""What an operation has under way, and how long its items took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._engine.tally import Timing, class_of

if TYPE_CHECKING:
    from typing import Final

LONGEST: Final = (1 << 47) - 1
"""Nanoseconds, 39 h: what takes longer is counted as that."""

N_CLASSES: Final = class_of(LONGEST) + 1


class Gauge:
    """How long the items of one operation took, and how many it has under way."""

    __slots__ = ("n_ended", "n_running", "nanos", "timing")

    def __init__(self) -> None:
        self.n_ended = 0
        self.n_running = 0
        self.nanos = 0
        self.timing = Timing(N_CLASSES)

    def took(self, n: int, nanos: int) -> None:
        """Count items that took so long together."""
        if n:
            self.nanos += nanos
            self.timing.classes[class_of(min(nanos // n, LONGEST))] += n
