"""A handle to a value that is packed already: what calls take it get the value, nobody packs it again."""

from __future__ import annotations

import os
import pickle
import threading

from .._hints import Any, Generic, TypeVar
from .cargo import Span

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .cargo import Part

T = TypeVar("T")


class Ref(Generic[T]):
    """A handle to a value that was packed once and can be given to any number of calls.

    Made by `put`, and by calls with ``.sealed()``.  A call that gets it among its arguments, at any depth, finds the
    value in its place: rebuilt from shared memory, its arrays not copied but mapped, and its own to change.

    Notes
    -----
    What it stands for never changes: it is the value as it was when it was packed.  The memory is free when the last
    copy of the handle and the last call that uses it have gone.  A handle belongs to the process that made it.

    Examples
    --------
    >>> import ezflow
    >>> with ezflow.ProcessPoolExecutor(1) as pool:
    ...     table = ezflow.put(list(range(1_000)))
    ...     pool.submit(sum, table).result(), pool.submit(len, table).result()
    (499500, 1000)
    """

    __slots__ = ("__weakref__", "_names", "_parts", "_pid")

    def __init__(self, parts: Sequence[Part], names: Iterable[tuple[str, str]] = ()) -> None:
        self._parts = tuple(parts)  # the pickle, and its large buffers
        self._names = tuple(names)  # modules and top-level names that a worker must have been told of
        self._pid = os.getpid()

    @property
    def nbytes(self) -> int:
        """Size of the packed value in bytes."""
        return sum(part.nbytes if isinstance(part, Span) else len(part) for part in self._parts)

    def get(self) -> T:
        """Rebuild the value in this process.

        Returns
        -------
        object
            A new one each time; large arrays are mapped, and pages are copied only where it is written to.

        Raises
        ------
        RuntimeError
            In another process than the one that made the handle.
        """
        self._check()
        from .segments import open_here

        stream, *buffers = open_here(self._parts)
        value: T = pickle.loads(stream, buffers=buffers)
        return value

    def _check(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("this handle belongs to the process that made it")

    def __repr__(self) -> str:
        """Show the size."""
        return f"<{type(self).__name__} of {self.nbytes:,} bytes>"

    def __copy__(self) -> Ref[T]:
        """Give the same handle: what it stands for does not change."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Ref[T]:
        """Give the same handle."""
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Refuse to travel in any other way than in a call."""
        raise TypeError(
            "a Ref goes to other processes only in calls of an ezflow pool, which find the value in its place;"
            " elsewhere send what get() gives"
        )


class Parcel(Ref[T]):
    """A part of a result that its worker has packed by itself, on its way to another call of ours."""

    __slots__ = ()


opening = threading.local()
"""While a result is rebuilt: `parts`, those of what in it stays packed."""


def parcel(first: int, n: int, names: list[tuple[str, str]]) -> Parcel[object]:
    """Give a handle to what `n` pieces hold."""
    return Parcel(opening.parts[first : first + n], names)
