"""Classes that override `submit` and `map`. Read by mypy and pyright in `nox -s types`, never run.

pyright accepts plain methods.  mypy does not: to it `submit` is an attribute with the words, which a plain method lacks,
and each such class needs a ``# type: ignore[override]``; here that error is off, so that no comment hides any of pyright's.
At run time every override has the words.
"""

# mypy: disable-error-code="override"

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, assert_type

from ezflow import Future, ProcessPoolExecutor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

P = ParamSpec("P")
T = TypeVar("T")


class Counting(ProcessPoolExecutor):
    """Plain methods that call ours."""

    n = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Count."""
        self.n += 1
        return super().submit(fn, *args, **kwargs)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[T]:
        """Never in chunks."""
        return super().map.timeout(9)(fn, *iterables, timeout=timeout)


def overridden_methods_have_their_own_types(pool: Counting) -> None:
    """And views are of that class."""
    assert_type(pool.submit(len, "a"), Future[int])
    assert_type(pool.timeout(2).submit(len, "a"), Future[int])
    assert_type(pool.timeout(2).n, int)
