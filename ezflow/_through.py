"""`map` through a `submit` that somebody overrode or replaced: every item goes that way, whatever future comes back.

Such a `submit` knows nothing of slots, so the end of each future is passed on to one: what stands behind a slot is a
future here, where it is a call elsewhere, and cancelling it is the future's business.

What goes in and comes out is done on this side, because nobody knows where that `submit` leads.  How a call runs is not
ours to do; it travels as a `Carrier`, which an executor of ours at the other end understands.
"""

from __future__ import annotations

from functools import partial
from itertools import count
from time import monotonic

from ._hints import Any, cast
from ._plan import unpack
from ._sealed import SealedError
from ._task import Carrier
from .future import Future
from .options import NOTHING

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable

    from ._call import Call, Sealed
    from ._map import Slot
    from ._plan import Plan
    from ._progress import Meter
    from .options import Options


class Submitter:
    """Submits the items of one `map`.

    Parameters
    ----------
    submit : callable
        The foreign `submit`.
    fn : callable
        The function.
    how : Options
        How each call is to be run.
    plan : Plan, optional
        What goes in and comes out.
    """

    def __init__(
        self,
        submit: Callable[..., concurrent.futures.Future[Any]],
        fn: Callable[..., Any],
        how: Options,
        plan: Plan | None,
    ) -> None:
        self._submit = submit
        self._fn = fn
        self._how = how
        self._star = plan is not None and plan.star
        self._enveloped = plan is not None and plan.results
        self._end = None if plan is None else plan.deadline()
        self._numbers = count()

    def fill(self, slot: Slot, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """Submit one item; its end goes to the slot."""
        try:
            if self._star:
                args, keywords = unpack(args, keywords)
        except TypeError as error:
            slot._deliver(SealedError(error))
            return
        future = self.submit(args, keywords)
        slot.call = cast("Call", future)
        future.add_done_callback(partial(_pass_on, slot))

    def future(
        self, args: tuple[Any, ...], keywords: dict[str, Any], meter: Meter | None = None
    ) -> Future[Any]:
        """Submit one item; give a future that can be awaited."""
        relayed = _RelayedFuture()
        relayed._meter = meter
        relayed._is_enveloped = self._enveloped
        relayed._index = next(self._numbers)
        try:
            if self._star:
                args, keywords = unpack(args, keywords)
        except TypeError as error:
            relayed._deliver(SealedError(error))
            return relayed
        relayed.origin = future = self.submit(args, keywords)
        future.add_done_callback(partial(_pass_on, relayed))
        return relayed

    def submit(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> concurrent.futures.Future[Any]:
        """Submit one item; give what that `submit` gives."""
        return self._submit(self._function(), *args, **keywords)

    def _function(self) -> Callable[..., Any]:
        """Give the function, with the options that it is to bring along."""
        how = self._how
        if self._end is not None:
            how = how.having("within", max(self._end - monotonic(), 0.0))  # what is left for the whole map
        return self._fn if how == NOTHING else Carrier(self._fn, how)


def cancel_waiting(calls: list[Call]) -> None:
    """Cancel those that have not started."""
    for future in cast("list[concurrent.futures.Future[Any]]", calls):
        if not future.running():
            future.cancel()


def stop(call: Call) -> None:
    """Cancel one, even if it runs."""
    cast("concurrent.futures.Future[Any]", call).cancel()


class _RelayedFuture(Future[Any]):
    """A future of ours that ends as another does."""

    origin: concurrent.futures.Future[Any] | None = None

    def cancel(self) -> bool:
        """Cancel the other one.

        Returns
        -------
        bool
            Whether it is cancelled.
        """
        return super().cancel() if self.origin is None else self.origin.cancel()

    def running(self) -> bool:
        """Tell whether the other one is running.

        Returns
        -------
        bool
            What it says.
        """
        return self.origin is not None and not self.done() and self.origin.running()


class Relayed:
    """The end of a future, as an answer."""

    __slots__ = ("_future", "attempts", "micros", "pid")

    def __init__(self, future: concurrent.futures.Future[Any]) -> None:
        self._future = future
        sealed: Sealed | None = getattr(future, "_sealed", None)  # facts, if it is one of ours
        self.pid = None if sealed is None else sealed.pid
        self.micros = None if sealed is None else sealed.micros
        self.attempts = 1 if sealed is None else sealed.attempts

    @property
    def failed(self) -> bool:
        """Whether it is an error."""
        return self._future.exception() is not None

    def open(self) -> tuple[object, BaseException | None]:
        """Give the value or the error."""
        error = self._future.exception()
        try:
            return (self._future.result(), None) if error is None else (None, error)
        finally:
            error = None


def _pass_on(sink: Slot | Future[Any], future: concurrent.futures.Future[Any]) -> None:
    """Pass the end of a future on (any thread)."""
    if future.cancelled():
        sink._drop()
    else:
        sink._deliver(Relayed(future))
