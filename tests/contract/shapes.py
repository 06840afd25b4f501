"""Functions about arrays that workers import; numpy is for tests only."""

from __future__ import annotations

import os
from typing import Any

import numpy as np


def echo(value: Any) -> Any:
    """Give it back."""
    return value


def add_one(array: Any) -> float:
    """Write to what arrived."""
    array += 1
    return float(array.sum())


def total(array: Any) -> float:
    """Only look at it."""
    return float(np.asarray(array).sum())


def ones(n: int) -> Any:
    """Make an array."""
    return np.ones(n)


kept: list[Any] = []


def keep(array: Any) -> float:
    """Hold what arrived for ever."""
    kept.append(array)
    return float(array[0])


def kept_totals() -> list[float]:
    """Look at what is held."""
    return [float(array.sum()) for array in kept]


def let_go() -> int:
    """Hold nothing."""
    n = len(kept)
    kept.clear()
    return n


def pss() -> int:
    """Memory of this process in bytes, its share of what is shared."""
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))


def pss_of(array: Any) -> tuple[int, int, float]:
    """Look at the whole array, then at the memory."""
    found = float(array.sum())
    return os.getpid(), pss(), found


def raise_with(array: Any) -> None:
    """Raise an error that carries an array."""
    raise ValueError(array)


def fork_and_hold(array: Any, path: str) -> float:
    """Leave a child behind that looks at the array once `path` exists, and writes there what it sees."""
    import time

    if os.fork() == 0:
        try:
            while not os.path.exists(path):
                time.sleep(0.01)
            with open(path + ".seen", "w") as file:
                file.write(repr(float(array.sum())))
            os.rename(path + ".seen", path + ".done")
        finally:
            os._exit(0)
    return float(array.sum())


def n_lent_here() -> int:
    """Count what this worker has lent to the parent."""
    import gc

    from ezflow._memory.lending import Lending

    return sum(each.n_loans for each in gc.get_objects() if isinstance(each, Lending))


def several(n: int, size: int) -> list[Any]:
    """Make arrays."""
    return [np.full(size, float(i)) for i in range(n)]


def several_apart(n: int, size: int) -> list[Any]:
    """Make arrays that go in a segment each."""
    from ezflow._memory import cargo, segments

    segments.APART_FROM, cargo.MOST_APART = 1 << 16, n  # type: ignore[misc]  # in this worker only
    return several(n, size // 8 + 1)


def n_segments_made() -> int:
    """Count the segments that this process has made."""
    from ezflow._memory import segments

    return segments.arena_now().n_made


def n_segments_open(value: Any) -> int:
    """Count the descriptors of shared memory in this process."""
    folder = "/proc/self/fd"
    links = []
    for name in os.listdir(folder):
        try:
            links.append(os.readlink(f"{folder}/{name}"))
        except OSError:
            continue
    return sum("memfd:ezflow" in link for link in links)


class Interrupting:
    """Raises a KeyboardInterrupt the first time it is rebuilt."""

    times = 0

    def __init__(self, array: Any) -> None:
        self.array = array

    def __setstate__(self, state: dict[str, Any]) -> None:
        Interrupting.times += 1
        if Interrupting.times % 2:
            raise KeyboardInterrupt
        self.__dict__.update(state)


def interrupting(size: int) -> Interrupting:
    """Make one."""
    return Interrupting(np.ones(size))


def raise_long(n: int) -> None:
    """Raise an error with a long text."""
    raise ValueError("x" * n)


class Frame:
    """Something of the user's with arrays in it."""

    def __init__(self, **columns: Any) -> None:
        self.columns = columns

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frame) and same(self.columns, other.columns)

    __hash__ = None  # type: ignore[assignment]


def same(a: Any, b: Any) -> bool:
    """Tell whether two structures of containers and arrays are equal, types, layout and flags included."""
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and a.dtype == b.dtype
            and a.shape == b.shape
            and a.flags.f_contiguous == b.flags.f_contiguous
            and (a.tobytes() == b.tobytes() if not a.dtype.hasobject else a.tolist() == b.tolist())
        )
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def set_spare_seconds(seconds: float) -> None:
    """Have this worker give back sooner what it does not use."""
    from ezflow._engine import worker

    worker.SPARE_SECONDS = seconds  # type: ignore[misc]  # a constant, for everybody else
