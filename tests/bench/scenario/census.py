"""Count what a program holds: processes, threads, descriptors, shared-memory entries, resident memory."""

from __future__ import annotations

import gc
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Census:
    """What this process and its descendants hold at one moment."""

    processes: int
    threads: int
    descriptors: int
    shm: int
    rss_mb: float

    def row(self) -> str:
        return (
            f"processes {self.processes:3}  threads {self.threads:3}  descriptors {self.descriptors:4}"
            f"  /dev/shm {self.shm:3}  RSS {self.rss_mb:7.1f} MB"
        )


def descendants(pid: int) -> set[int]:
    """Return the pids of all children, grandchildren … of `pid`."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found: set[int] = set()
    while more := {p for p, parent in parents.items() if parent == pid or parent in found} - found:
        found |= more
    return found


def _count() -> Census:
    rss_pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Census(
        processes=len(descendants(os.getpid())),
        threads=threading.active_count(),
        descriptors=len(os.listdir("/proc/self/fd")) - 1,  # the listing itself uses one
        shm=len(os.listdir("/dev/shm")),
        rss_mb=rss_pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
    )


def census(settle: float = 5.0) -> Census:
    """Count when things have come to rest: the same counts three times in a row, or after `settle` s."""
    end = time.monotonic() + settle
    steady, last = 0, None
    while True:
        gc.collect()
        now = _count()
        counts = (now.processes, now.threads, now.descriptors, now.shm)
        steady, last = (steady + 1 if counts == last else 0), counts
        if steady >= 3 or time.monotonic() > end:
            return now
        time.sleep(0.1)
