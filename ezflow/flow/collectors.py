"""Stages that see items in order: small objects with ``feed(item) -> outputs`` and ``flush() -> outputs``."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from .packed import spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Collector(Protocol):
    """What a collecting stage makes for each run."""

    def feed(self, item: Any) -> Sequence[Any]:
        """Take an item; give what it completes."""
        raise NotImplementedError

    def flush(self) -> Sequence[Any]:
        """Give what is left: at the end, or when it has waited long enough."""
        raise NotImplementedError


class Batches:
    """Lists of `n` items; the last one may be shorter."""

    gathers = True

    def __init__(self, n: int) -> None:
        self._n = n
        self._items: list[Any] = []

    @property
    def holds(self) -> bool:
        """Whether something waits."""
        return bool(self._items)

    @property
    def n_held(self) -> int:
        """Items, the last ones, that something may still come of."""
        return len(self._items)

    def feed(self, item: Any) -> Sequence[Any]:
        """Take an item; give the batch that it completes."""
        items = self._items
        items.append(item)
        if len(items) < self._n:
            return ()
        self._items = []
        return (items,)

    def flush(self) -> Sequence[Any]:
        """Give the batch that is not full."""
        items, self._items = self._items, []
        return (items,) if items else ()


class Rebatches(Batches):
    """Batches of other batches' items."""

    takes_lists = True

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self._lengths: deque[int] = deque()  # of the batches that items are held of

    @property
    def n_held(self) -> int:
        """Batches, the last ones, that something may still come of."""
        return len(self._lengths)

    def feed(self, item: Any) -> Sequence[Any]:
        """Take a batch; give the batches that it completes."""
        outs: list[Any] = []
        n = 0
        for n, one in enumerate(spread(item), 1):  # noqa: B007  # it is used below
            outs.extend(super().feed(one))
        lengths, n_items = self._lengths, len(self._items)
        lengths.append(n)
        while lengths and sum(lengths) - lengths[0] >= n_items:
            lengths.popleft()
        return outs


class Windows:
    """Lists of `n` neighbours, beginning at every `step`-th item; no item is left out at the end."""

    gathers = True

    def __init__(self, n: int, step: int) -> None:
        self._items: deque[Any] = deque()
        self._n = n
        self._step = step
        self._fresh = 0  # items that no window has held
        self._skip = 0  # items before the next window, if windows do not touch

    @property
    def n_held(self) -> int:
        """Items, the last ones, that something may still come of."""
        return len(self._items)

    def feed(self, item: Any) -> Sequence[Any]:
        """Take an item; give the window that it completes."""
        if self._skip:
            self._skip -= 1
            return ()
        items = self._items
        items.append(item)
        self._fresh += 1
        if len(items) < self._n:
            return ()
        window = list(items)
        self._fresh = 0
        for _ in range(min(self._step, self._n)):
            items.popleft()
        self._skip = max(self._step - self._n, 0)
        return (window,)

    def flush(self) -> Sequence[Any]:
        """Give a shorter window of what no window has held."""
        items, self._items = list(self._items), deque()
        fresh, self._fresh = self._fresh, 0
        return (items,) if fresh else ()


class Taps:
    """Calls a function with each item, and passes the item on."""

    calls_user = True
    looks = True

    def __init__(self, fn: Callable[[Any], object]) -> None:
        self._fn = fn

    def feed(self, item: Any) -> Sequence[Any]:
        """Show an item."""
        self._fn(item)
        return (item,)

    def flush(self) -> Sequence[Any]:
        """Nothing is left."""
        return ()


class Prints:
    """Prints each item, with something before it."""

    looks = True

    def __init__(self, before: str | None) -> None:
        self._before = before

    def feed(self, item: Any) -> Sequence[Any]:
        """Print an item."""
        print(*(() if self._before is None else (self._before,)), item)  # noqa: T201  # that is what it is for
        return (item,)

    def flush(self) -> Sequence[Any]:
        """Nothing is left."""
        return ()


class Writes:
    """Writes each item as a line of a file, and passes it on."""

    looks = True

    def __init__(self, path: Any, mode: str) -> None:
        self._file: Any = open(path, mode, encoding=None if "b" in mode else "utf-8")  # noqa: SIM115  # closed below
        self._is_binary = "b" in mode

    def feed(self, item: Any) -> Sequence[Any]:
        """Write an item."""
        if self._is_binary:
            self._file.write(item)
        else:
            line = str(item)
            self._file.write(line if line.endswith("\n") else line + "\n")
        return (item,)

    def flush(self) -> Sequence[Any]:
        """Close the file, at the end."""
        self.close()
        return ()

    def sync(self) -> None:
        """Have what was written leave this process."""
        if not self._file.closed:
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class InOrder:
    """Passes items on in the order of the input."""

    def feed(self, item: Any) -> Sequence[Any]:
        """Pass it on."""
        return (item,)

    def flush(self) -> Sequence[Any]:
        """Nothing is left."""
        return ()
