"""Counts of what a pool has done; written by the dispatcher, read by anybody.

Durations are counted in classes that are an eighth of an octave wide, so a label costs 2 kB for ever, whatever comes.
A snapshot taken in another thread may be torn by the calls of one moment; nothing is locked for it.
"""

from __future__ import annotations

from .events import Place, StopReason

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from .._call import Call
    from .._sealed import SealedAnswer

MAX_LABELS: Final = 256
"""Labels that are timed on their own.  A program that names every call anew would fill the memory."""

OTHERS: Final = "others"
"""Label of all calls beyond."""

MAX_LOOKED_AT: Final = 8
"""Answers of one read whose durations are looked at.  Larger: exacter; smaller: less work for the dispatcher."""

N_CLASSES: Final = 272
"""Durations are at most 32 bits of microseconds; see `class_of`."""

_EXACT: Final = 40
"""Classes below stand for a single number of microseconds."""


def class_of(micros: int) -> int:
    """Give the number of the class of a duration: its octave, and which eighth of it."""
    n = micros.bit_length()
    return (n << 3) + ((micros << 4) >> n) - 8 if n else 0


def bounds(number: int) -> tuple[float, float]:
    """Give the least duration of a class, and that of the next, in microseconds."""
    n, eighth = divmod(number, 8)
    width = 2.0 ** (n - 4)
    return (8 + eighth) * width, (9 + eighth) * width


class Timing:
    """Durations of the calls of one label, in microseconds; whoever asks for more classes may use a finer unit."""

    __slots__ = ("classes", "micros")

    def __init__(self, n_classes: int = N_CLASSES) -> None:
        self.classes = [0] * n_classes
        self.micros = 0

    def quantiles(self, *shares: float) -> list[float]:
        """Give the durations in microseconds that these shares of the calls do not exceed, to about 5 %."""
        classes = list(self.classes)
        return [_quantile(classes, share * sum(classes)) for share in shares]


def _quantile(classes: list[int], rank: float) -> float:
    for number, n in enumerate(classes):
        if n and rank <= n:
            low, high = bounds(number) if number else (0.0, 0.0)
            return low if number < _EXACT else low + (high - low) * rank / n
        rank -= n
    return 0.0


class Tally:
    """Counts of one pool."""

    def __init__(self) -> None:
        self.n_done = 0
        self.n_failed = 0
        self.n_cancelled = 0
        self.n_restarts = 0
        self.n_sent = 0  # bytes, of workers that are gone
        self.n_received = 0
        self.timings: dict[str, Timing] = {}
        self._n_left = 0  # workers that end and have no successor yet

    def answered(self, answers: Sequence[tuple[Call, SealedAnswer]], *, all_well: bool) -> None:
        """Count the answers that came with one read, after the machine has heard of them.

        Of many that came together only some are timed, and stand for their neighbours: they are quick, and timing
        them must not cost what they do.
        """
        n = len(answers)
        step = -(-n // MAX_LOOKED_AT)
        for at in range(0, n, step):
            call, sealed = answers[at]
            timing = self.timings.get(call.label) or self._timing(call.label)
            weight = step if at + step <= n else n - at
            micros = sealed.micros or 0
            timing.micros += micros * weight
            timing.classes[class_of(micros)] += weight
        if all_well:
            self.n_done += n
            return
        for call, sealed in answers:
            if call.place is not Place.SETTLED:
                continue  # it is to run once more
            if not sealed.failed and not call.interrupted:
                self.n_done += 1
            elif call.stop is StopReason.CANCEL and not call.expired:
                self.n_cancelled += 1
            else:
                self.n_failed += 1

    def _timing(self, label: str) -> Timing:
        if len(self.timings) >= MAX_LABELS:
            label = OTHERS
        return self.timings.setdefault(label, Timing())

    def worker_came(self) -> None:
        """Count a process that was made; it is a restart if another has left a place."""
        if self._n_left:
            self._n_left -= 1
            self.n_restarts += 1

    def worker_leaves(self) -> None:
        """Count a process that ends; once for each."""
        self._n_left += 1
