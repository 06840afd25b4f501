"""Queues of jobs: those that no worker has, higher priority first, then the older one; and those that a time is set for."""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush

from .._hints import Generic
from .events import J

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class Waiting(Generic[J]):
    """A deque for each priority; with only the usual one in use it costs no more than that deque.

    Settled jobs stay in it until they are met; whoever takes from `front` skips them.
    """

    def __init__(self) -> None:
        self._usual: deque[J] = deque()  # priority 0
        self._others: dict[int, deque[J]] = {}
        self._order: list[int] = []  # the priorities in `_others` and 0, highest first

    def __len__(self) -> int:
        return len(self._usual) + sum(map(len, self._others.values()))

    def __iter__(self) -> Iterator[J]:
        for queue in self._queues():
            yield from queue

    def _queues(self) -> list[deque[J]]:
        if not self._others:
            return [self._usual]
        return [self._others[p] if p else self._usual for p in self._order]

    def _queue(self, priority: int) -> deque[J]:
        if not priority:
            return self._usual
        found = self._others.get(priority)
        if found is None:
            found = self._others[priority] = deque()
            self._order = sorted({0, *self._others}, reverse=True)
        return found

    def front(self) -> deque[J]:
        """Give the queue from which to take next; it is empty only if all are."""
        if not self._others:
            return self._usual
        for priority in list(self._order):
            queue = self._queue(priority)
            if queue:
                return queue
            if priority:
                del self._others[priority]
                self._order.remove(priority)
        return self._usual

    def extend(self, jobs: Iterable[J]) -> None:
        """Add jobs behind all of their priority."""
        usual = self._usual
        for job in jobs:
            if job.priority:
                self._queue(job.priority).append(job)
            else:
                usual.append(job)

    def put_back(self, jobs: list[J]) -> None:
        """Add jobs in front of all of their priority, in their order."""
        for job in reversed(jobs):
            self._queue(job.priority).appendleft(job)

    def replace(self, jobs: Iterable[J]) -> None:
        """Hold these jobs and no others; they come in order."""
        jobs = list(jobs)
        self.clear()
        self.extend(jobs)

    def clear(self) -> None:
        """Hold nothing."""
        self._usual.clear()
        self._others.clear()
        self._order.clear()


class Timed(Generic[J]):
    """Jobs that something is to happen to, each at its time, the earliest first.

    A job for which `still` no longer holds stays until it is met or `trim` finds too many of them: whoever ends a job
    need not look here, and what its caller holds is not kept for hours all the same.
    """

    def __init__(self, still: Callable[[J], bool]) -> None:
        self._still = still
        self.heap: list[tuple[float, int, J]] = []

    def __len__(self) -> int:
        return len(self.heap)

    def add(self, when: float, job: J) -> None:
        """Note what is to happen at a time."""
        heappush(self.heap, (when, job.id, job))

    def next_time(self) -> float:
        """Give the earliest time; there must be one."""
        return self.heap[0][0]

    def due(self, now: float) -> J | None:
        """Give the first job whose time has come, without removing it; None if there is none."""
        heap = self.heap
        while heap and heap[0][0] <= now:
            job = heap[0][2]
            if self._still(job):
                return job
            heappop(heap)
        return None

    def pop(self) -> None:
        """Remove the job that `due` gave."""
        heappop(self.heap)

    def trim(self, most: int) -> None:
        """Forget jobs that nothing is to happen to any more, if there are more jobs than so many."""
        if len(self.heap) > most:
            self.heap = [entry for entry in self.heap if self._still(entry[2])]
            heapify(self.heap)

    def take_all(self) -> list[J]:
        """Give all that are left, the earliest first, and hold nothing."""
        entries, self.heap = sorted(self.heap, key=_when), []
        return [job for _, _, job in entries if self._still(job)]


def _when(entry: tuple[float, int, object]) -> tuple[float, int]:
    return entry[:2]
