"""What `map` of a pool and `map` of a graph have in common: complaints, what is given back, and the bar beside it.

What few calls of `map` give is imported when it is wanted, as are progress bars.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from contextlib import contextmanager

from . import errors
from ._hints import Any, TypeVar
from ._map import Stream

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

    from ._amap import AsyncMap
    from ._call import Call
    from ._gather import ListFuture
    from ._map import Slot
    from ._plan import Plan
    from ._progress import Meter
    from .future import Desk, Future
    from .options import Bar

T = TypeVar("T")


# ---------------------------------------------------------------- complaints


def check_sizes(chunksize: int, buffersize: int | None) -> None:
    """Complain about sizes that mean nothing, as the standard `map` does."""
    if chunksize < 1:
        raise ValueError("chunksize must be >= 1.")
    if buffersize is not None:
        if not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize < 1:
            raise ValueError("buffersize must be None or > 0")


def check_words(plan: Plan, n_iterables: int, keywords: Mapping[str, Any], timeout: float | None) -> None:
    """Complain about arguments of `map` that do not go with its words."""
    if plan.star and n_iterables != 1:
        raise TypeError(f"map.star() takes one iterable of tuples, lists or mappings, not {n_iterables}")
    if keywords and not plan.star:
        raise errors.unexpected_keyword("map", keywords)
    if timeout is not None and (plan.asynced or plan.background):
        raise errors.no_waiting_to_limit("asynced" if plan.asynced else "background")


# ---------------------------------------------------------------- what is given back


def results(
    plan: Plan | None,
    submit: Callable[[Slot], bool],
    cancel_waiting: Callable[[list[Call]], None],
    stop: Callable[[Call], None],
    desk: Desk | None,
    check_waiting: Callable[[], None],
    end: float | None,
    buffersize: int | None,
    open_bar: Callable[[], Meter | None] | None,
) -> Any:
    """Submit now, as far as `buffersize` allows; give the iterator of results, or the future of their list."""
    enveloped, unordered = plan is not None and plan.results, plan is not None and plan.unordered

    def begin(submit: Callable[[Slot], bool]) -> ListFuture | Generator[Any, None, None]:
        if plan is not None and plan.background:
            from ._gather import ListFuture

            future = ListFuture(cancel_waiting, stop, desk, enveloped=enveloped, unordered=unordered)
            future.submit_all(submit)
            return future
        stream = Stream[Any](
            submit, cancel_waiting, buffersize, end, check_waiting, enveloped=enveloped, unordered=unordered
        )
        return entered(stream.results())

    if plan is None or plan.progress is None or open_bar is None:
        return begin(submit)
    from ._progress import draw

    return draw(open_bar, begin, submit)


def async_results(
    plan: Plan,
    submit: Callable[..., Future[Any]],
    iterables: tuple[Iterable[Any], ...],
    buffersize: int | None,
    room: int,
    open_bar: Callable[[], Meter | None],
) -> AsyncMap[Any]:
    """Give what is a coroutine and an async iterator; of async inputs at most `room` are read ahead."""
    if buffersize is None and any(isinstance(each, AsyncIterable) for each in iterables):
        buffersize = room  # who knows whether it ends
    if plan.progress is None:
        from ._amap import AsyncMap

        return AsyncMap[Any](submit, iterables, buffersize, unordered=plan.unordered)
    from ._progress import draw_async

    return draw_async(open_bar, submit, iterables, buffersize, unordered=plan.unordered)


def entered(generator: Generator[T, None, None]) -> Generator[T, None, None]:
    """Take the first step, which yields nothing: the `finally` of a generator that never began is not run."""
    next(generator)
    return generator


# ---------------------------------------------------------------- bars


def open_bar(wanted: Bar | None, label: str, inputs: Sequence[Iterable[Any]] | int) -> Meter | None:
    """Open a bar if one is wanted and there is a place to draw it."""
    if wanted is None:
        return None
    from ._progress import open_meter, total_of

    meter = open_meter(wanted, label, inputs if isinstance(inputs, int) else total_of(inputs))
    if meter is not None and isinstance(inputs, int):
        meter.expect(inputs)
    return meter


@contextmanager
def closing(meter: Meter | None) -> Iterator[Meter | None]:
    """Close a bar if what it is to show cannot begin."""
    try:
        yield meter
    except BaseException:
        if meter is not None:
            meter.close()
        raise
