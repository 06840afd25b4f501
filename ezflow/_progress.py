"""Progress bars: counting what has ended, and drawing it.

::

    dispatcher ── tick ──▶ Meter ◀── looks, ten times a second ── the drawing thread ──▶ face (`_faces`)
    consumer ── opens and closes it, which draws the first and the last state at once

Ownership: a meter's counts are written by whoever ends a call, by simple assignments, so the dispatcher never draws
nor waits.  Faces are touched under the one lock of the drawer only.  The thread lives as long as a bar is open.
"""

from __future__ import annotations

import atexit
import os
import threading
from _thread import allocate_lock, get_ident
from collections.abc import Sized
from itertools import count, cycle, repeat
from time import monotonic
from types import GeneratorType
from typing import TYPE_CHECKING, Any, Final

from ._amap import AsyncMap
from ._faces import choose_face

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from typing import Self, TextIO

    from ._faces import Face
    from ._map import Slot
    from .future import Future
    from .options import Bar

PAUSE: Final = 0.1
"""Seconds between two looks: smooth to the eye, and nothing to the machine."""

CLOCK_PAUSE: Final = 1.0
"""Seconds after which a bar is drawn anew though nothing has ended: it shows the time, too."""


class Meter:
    """What one bar shows; made by `open_meter`.

    Attributes
    ----------
    n : int
        Items that have ended.
    n_failed : int
        Those among them that ended in an error or were cancelled.
    total : int or None
        How many there will be.
    """

    def __init__(self, total: int | None, face: Face | None) -> None:
        self.n = 0
        self.n_failed = 0
        self.total = total
        self._is_closed = False
        self._opener = get_ident()
        self._is_exact = False  # `total` is what was submitted, not a guess from lengths
        self._face = face
        self._drawn: tuple[float, int, int | None] = (0.0, -1, None)  # when, and what

    def tick(self, *, failed: bool = False) -> None:
        """Count an item that has ended (any thread)."""
        self.n += 1  # no call between reading and writing, so the interpreter switches no thread there
        if failed:
            self.n_failed += 1
        if self.is_over:
            _drawer.ring()

    def expect(self, total: int) -> None:
        """Say how many items there are; when as many have ended, the bar closes by itself."""
        self.total = total
        self._is_exact = True

    def close(self) -> None:
        """Draw the last state; safe to repeat.

        At once in the thread that opened it.  Elsewhere the drawing thread does it: the garbage collector may close a
        bar on the dispatcher.
        """
        self._is_closed = True
        if get_ident() == self._opener:
            _drawer.close(self)
        else:
            _drawer.ring()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the drawer's

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to come."""
        return self._is_closed or (self._is_exact and self.total is not None and self.n >= self.total)

    def draw(self) -> None:
        """Draw if there is something new."""
        when, *what = self._drawn
        now = monotonic()
        if self._face is not None and (what != [self.n, self.total] or now - when >= CLOCK_PAUSE):
            self._drawn = now, self.n, self.total
            self._try(self._face.show)

    def end(self) -> None:
        """Draw for the last time."""
        if self._face is not None:
            self._try(self._face.end)
            self._face = None

    def _try(self, draw: Any) -> None:
        """Draw; a stream that cannot be written to any more ends the bar, never the work."""
        try:
            draw(self.n, self.n_failed, self.total)
        except Exception:
            self._face = None


class _Drawer:
    """The thread that draws, and all open meters."""

    def __init__(self) -> None:
        # Reentrant: the garbage collector may close a bar in the middle of drawing.
        self._lock = threading.RLock()
        self._meters: list[Meter] = []
        self._bell = allocate_lock()
        self._bell.acquire()
        self._thread: threading.Thread | None = None

    def open(self, meter: Meter) -> None:
        """Draw a meter from now on."""
        with self._lock:
            try:
                meter.draw()
                self._meters.append(meter)
                if self._thread is None:
                    self._start()
            except BaseException:  # Ctrl-C
                if meter in self._meters:
                    self._meters.remove(meter)
                raise

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="ezflow-progress", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter ends: only the last state will be drawn
            return
        # Not earlier: after a Ctrl-C in `start` nobody can tell whether it runs.  If it does, it finds nothing to draw,
        # or draws beside the next one until there is nothing.
        self._thread = thread

    def close(self, meter: Meter) -> None:
        """Draw a meter's last state, if nobody has."""
        with self._lock:
            if meter in self._meters:
                self._meters.remove(meter)
                meter.end()
            if not self._meters:
                self.ring()

    def ring(self) -> None:
        """Have the thread look at once; never waits."""
        try:
            self._bell.release()
        except RuntimeError:
            pass  # rung already

    def _run(self) -> None:
        while True:
            self._bell.acquire(timeout=PAUSE)
            with self._lock:
                for meter in list(self._meters):
                    if meter.is_over:
                        self._meters.remove(meter)
                        meter.end()
                    else:
                        meter.draw()
                if not self._meters:
                    if self._thread is threading.current_thread():
                        self._thread = None
                    return

    def end(self) -> None:
        """Draw everything for the last time: the program ends."""
        with self._lock:
            while self._meters:
                self._meters.pop().end()
            thread = self._thread
            self.ring()
        if thread is not None:
            thread.join(CLOCK_PAUSE)


def open_meter(bar: Bar, label: str, total: int | None) -> Meter | None:
    """Open a bar; None if nothing is to be drawn."""
    face = choose_face(label if bar.label is None else bar.label, total, always=bar.always, file=bar.file)
    if face is None:
        return None
    meter = Meter(total, face)
    _drawer.open(meter)
    return meter


def open_view(meter: Meter) -> None:
    """Draw a meter that was made elsewhere, until it is closed."""
    _drawer.open(meter)


def bar_for(label: str, total: int, file: TextIO) -> Meter:
    """Open a bar for work that is done without a pool; its user ticks and closes it."""
    meter = Meter(total, choose_face(label, total, always=True, file=file))
    _drawer.open(meter)
    return meter


def total_of(iterables: Sequence[Iterable[Any]]) -> int | None:
    """Give how many items `zip` will give, if that can be known without reading them."""
    lengths = []
    for each in iterables:
        if isinstance(each, Sized):
            lengths.append(len(each))
        elif not isinstance(each, (repeat, cycle, count)):  # those are rarely the shortest
            return None
    return min(lengths, default=None)


class Counted:
    """The `submit` of a map whose items are counted: it also learns how many there are.

    Parameters
    ----------
    submit : callable
        Given a slot, submits the next item for it; False when there is none.
    meter : Meter
        What counts.
    """

    def __init__(self, submit: Callable[[Slot], bool], meter: Meter) -> None:
        self._submit = submit
        self._meter = meter
        self._n = 0

    def __call__(self, slot: Slot) -> bool:
        """Submit the next item."""
        slot.meter = self._meter
        if self._submit(slot):
            self._n += 1
            return True
        self.seal()
        return False

    def seal(self) -> None:
        """Say that no more items come."""
        self._meter.expect(self._n)


def draw(
    open_bar: Callable[[], Meter | None], begin: Callable[[Any], Any], submit: Callable[[Slot], bool]
) -> Any:
    """Begin a map whose items are counted; give what it gives, a future or an iterator."""
    meter = None
    try:
        meter = open_bar()
        if meter is None:
            return begin(submit)
        counted = Counted(submit, meter)
        begun = begin(counted)
    except BaseException:  # the inputs raised, or Ctrl-C
        if meter is not None:
            meter.close()
        raise
    if not isinstance(begun, GeneratorType):
        counted.seal()
        return begun
    results = _with_bar(begun, meter)
    next(results)  # so that its `finally` runs, even if nobody ever asks for a result
    return results


def _with_bar(results: Generator[Any, None, None], meter: Meter) -> Generator[Any, None, None]:
    """Yield nothing once, then the results; the bar closes with them, however they end."""
    try:
        yield None
        yield from results
    finally:
        results.close()
        meter.close()


def draw_async(
    open_bar: Callable[[], Meter | None],
    submit: Callable[[tuple[Any, ...], Meter | None], Future[Any]],
    iterables: tuple[Any, ...],
    buffersize: int | None,
    *,
    unordered: bool,
) -> AsyncMap[Any]:
    """Give an `AsyncMap` with a bar, which appears when the first item is submitted."""
    meters: list[Meter | None] = []

    def submit_one(args: tuple[Any, ...]) -> Future[Any]:
        if not meters:
            meters.append(open_bar())
        return submit(args, meters[0])

    def close() -> None:
        for meter in meters:
            if meter is not None:
                meter.close()

    made = AsyncMap[Any](submit_one, iterables, buffersize, unordered=unordered)
    made.when_it_ends(close)
    return made


_drawer = _Drawer()


def _end() -> None:
    _drawer.end()


def _forget() -> None:
    """Forget the parent's bars in a forked child."""
    global _drawer
    _drawer = _Drawer()


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
