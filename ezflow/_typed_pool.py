"""What type checkers see of `Pool`; never imported at run time.  `_typed` says how it works."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Iterator
from typing import Any, Generic, TypeVar, overload

from ._amap import AsyncMap
from ._typed import Args, Async, Background, Envelope, Item, Now, Streaming, Submit, Value
from .future import Future
from .modifiers import HowItRuns
from .result import Result

T = TypeVar("T")
X = TypeVar("X")


class Listed:
    """A method of `Pool` that gives a list."""


class Lazy:
    """A method of `Pool` that gives an iterator."""


In_co = TypeVar("In_co", covariant=True)
Out_co = TypeVar("Out_co", covariant=True)
Run_co = TypeVar("Run_co", covariant=True)
Shape_co = TypeVar("Shape_co", covariant=True)


class PoolMap(HowItRuns, Generic[In_co, Out_co, Run_co, Shape_co]):
    """A method of `Pool` that maps."""

    def star(self) -> PoolMap[Item, Out_co, Run_co, Shape_co]:
        """Unpack each item: a tuple or list into positional, a mapping into keyword arguments."""
        raise NotImplementedError

    def results(self) -> PoolMap[In_co, Envelope, Run_co, Shape_co]:
        """Give a `Result` for each item, where errors would be raised."""
        raise NotImplementedError

    def unordered(self) -> PoolMap[In_co, Out_co, Run_co, Shape_co]:
        """Give results as they finish."""
        raise NotImplementedError

    def background(self) -> PoolMap[In_co, Out_co, Background, Shape_co]:
        """Give a future of the list at once."""
        raise NotImplementedError

    def asynced(self) -> PoolMap[In_co, Out_co, Async, Shape_co]:
        """Give a coroutine of the list that is an async iterator, too."""
        raise NotImplementedError

    @overload
    def __call__(
        self: PoolMap[Args, Value, Now, Listed],
        fn: Callable[[X], Coroutine[Any, Any, T]],
        iterable: Iterable[X],
        /,
        chunksize: int | None = None,
    ) -> list[T]: ...

    @overload
    def __call__(
        self: PoolMap[Args, Value, Now, Listed],
        fn: Callable[[X], T],
        iterable: Iterable[X],
        /,
        chunksize: int | None = None,
    ) -> list[T]: ...

    @overload
    def __call__(
        self: PoolMap[Args, Envelope, Now, Listed],
        fn: Callable[[X], Coroutine[Any, Any, T]],
        iterable: Iterable[X],
        /,
        chunksize: int | None = None,
    ) -> list[Result[T]]: ...

    @overload
    def __call__(
        self: PoolMap[Args, Envelope, Now, Listed],
        fn: Callable[[X], T],
        iterable: Iterable[X],
        /,
        chunksize: int | None = None,
    ) -> list[Result[T]]: ...

    @overload
    def __call__(
        self: PoolMap[Item, Value, Now, Listed],
        fn: Callable[..., Coroutine[Any, Any, T]],
        iterable: Iterable[Any],
        /,
        chunksize: int | None = None,
        **keywords: Any,
    ) -> list[T]: ...

    @overload
    def __call__(
        self: PoolMap[Item, Value, Now, Listed],
        fn: Callable[..., T],
        iterable: Iterable[Any],
        /,
        chunksize: int | None = None,
        **keywords: Any,
    ) -> list[T]: ...

    @overload
    def __call__(
        self: PoolMap[Item, Envelope, Now, Listed],
        fn: Callable[..., Coroutine[Any, Any, T]],
        iterable: Iterable[Any],
        /,
        chunksize: int | None = None,
        **keywords: Any,
    ) -> list[Result[T]]: ...

    @overload
    def __call__(
        self: PoolMap[Item, Envelope, Now, Listed],
        fn: Callable[..., T],
        iterable: Iterable[Any],
        /,
        chunksize: int | None = None,
        **keywords: Any,
    ) -> list[Result[T]]: ...

    @overload
    def __call__(
        self: PoolMap[Args, Value, Now, Lazy],
        fn: Callable[[X], Coroutine[Any, Any, T]],
        iterable: Iterable[X],
        /,
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
    ) -> Iterator[T]: ...

    @overload
    def __call__(
        self: PoolMap[Args, Value, Now, Lazy],
        fn: Callable[[X], T],
        iterable: Iterable[X],
        /,
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
    ) -> Iterator[T]: ...

    @overload
    def __call__(
        self: PoolMap[Args, Envelope, Now, Lazy],
        fn: Callable[[X], Coroutine[Any, Any, T]],
        iterable: Iterable[X],
        /,
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
    ) -> Iterator[Result[T]]: ...

    @overload
    def __call__(
        self: PoolMap[Args, Envelope, Now, Lazy],
        fn: Callable[[X], T],
        iterable: Iterable[X],
        /,
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
    ) -> Iterator[Result[T]]: ...

    @overload
    def __call__(
        self: PoolMap[Item, Value, Now, Lazy],
        fn: Callable[..., Coroutine[Any, Any, T]],
        iterable: Iterable[Any],
        /,
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> Iterator[T]: ...

    @overload
    def __call__(
        self: PoolMap[Item, Value, Now, Lazy],
        fn: Callable[..., T],
        iterable: Iterable[Any],
        /,
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> Iterator[T]: ...

    @overload
    def __call__(
        self: PoolMap[Item, Envelope, Now, Lazy],
        fn: Callable[..., Coroutine[Any, Any, T]],
        iterable: Iterable[Any],
        /,
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> Iterator[Result[T]]: ...

    @overload
    def __call__(
        self: PoolMap[Item, Envelope, Now, Lazy],
        fn: Callable[..., T],
        iterable: Iterable[Any],
        /,
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> Iterator[Result[T]]: ...

    @overload
    def __call__(
        self: PoolMap[Args, Value, Background, object],
        fn: Callable[[X], Coroutine[Any, Any, T]],
        iterable: Iterable[X],
        /,
        chunksize: int | None = None,
    ) -> Future[list[T]]: ...

    @overload
    def __call__(
        self: PoolMap[Args, Value, Background, object],
        fn: Callable[[X], T],
        iterable: Iterable[X],
        /,
        chunksize: int | None = None,
    ) -> Future[list[T]]: ...

    @overload
    def __call__(
        self: PoolMap[Args, Envelope, Background, object],
        fn: Callable[[X], Coroutine[Any, Any, T]],
        iterable: Iterable[X],
        /,
        chunksize: int | None = None,
    ) -> Future[list[Result[T]]]: ...

    @overload
    def __call__(
        self: PoolMap[Args, Envelope, Background, object],
        fn: Callable[[X], T],
        iterable: Iterable[X],
        /,
        chunksize: int | None = None,
    ) -> Future[list[Result[T]]]: ...

    @overload
    def __call__(
        self: PoolMap[Item, Value, Background, object],
        fn: Callable[..., Coroutine[Any, Any, T]],
        iterable: Iterable[Any],
        /,
        chunksize: int | None = None,
        **keywords: Any,
    ) -> Future[list[T]]: ...

    @overload
    def __call__(
        self: PoolMap[Item, Value, Background, object],
        fn: Callable[..., T],
        iterable: Iterable[Any],
        /,
        chunksize: int | None = None,
        **keywords: Any,
    ) -> Future[list[T]]: ...

    @overload
    def __call__(
        self: PoolMap[Item, Envelope, Background, object],
        fn: Callable[..., Coroutine[Any, Any, T]],
        iterable: Iterable[Any],
        /,
        chunksize: int | None = None,
        **keywords: Any,
    ) -> Future[list[Result[T]]]: ...

    @overload
    def __call__(
        self: PoolMap[Item, Envelope, Background, object],
        fn: Callable[..., T],
        iterable: Iterable[Any],
        /,
        chunksize: int | None = None,
        **keywords: Any,
    ) -> Future[list[Result[T]]]: ...

    @overload
    def __call__(
        self: PoolMap[Args, Value, Async, object],
        fn: Callable[[X], Coroutine[Any, Any, T]],
        iterable: Iterable[X] | AsyncIterable[X],
        /,
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
    ) -> AsyncMap[T]: ...

    @overload
    def __call__(
        self: PoolMap[Args, Value, Async, object],
        fn: Callable[[X], T],
        iterable: Iterable[X] | AsyncIterable[X],
        /,
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
    ) -> AsyncMap[T]: ...

    @overload
    def __call__(
        self: PoolMap[Args, Envelope, Async, object],
        fn: Callable[[X], Coroutine[Any, Any, T]],
        iterable: Iterable[X] | AsyncIterable[X],
        /,
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
    ) -> AsyncMap[Result[T]]: ...

    @overload
    def __call__(
        self: PoolMap[Args, Envelope, Async, object],
        fn: Callable[[X], T],
        iterable: Iterable[X] | AsyncIterable[X],
        /,
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
    ) -> AsyncMap[Result[T]]: ...

    @overload
    def __call__(
        self: PoolMap[Item, Value, Async, object],
        fn: Callable[..., Coroutine[Any, Any, T]],
        iterable: Iterable[Any] | AsyncIterable[Any],
        /,
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> AsyncMap[T]: ...

    @overload
    def __call__(
        self: PoolMap[Item, Value, Async, object],
        fn: Callable[..., T],
        iterable: Iterable[Any] | AsyncIterable[Any],
        /,
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> AsyncMap[T]: ...

    @overload
    def __call__(
        self: PoolMap[Item, Envelope, Async, object],
        fn: Callable[..., Coroutine[Any, Any, T]],
        iterable: Iterable[Any] | AsyncIterable[Any],
        /,
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> AsyncMap[Result[T]]: ...

    @overload
    def __call__(
        self: PoolMap[Item, Envelope, Async, object],
        fn: Callable[..., T],
        iterable: Iterable[Any] | AsyncIterable[Any],
        /,
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> AsyncMap[Result[T]]: ...

    def __call__(self, /, *args: Any, **keywords: Any) -> Any:
        """Map."""
        raise NotImplementedError


class PoolFront(HowItRuns, Generic[In_co, Out_co, Run_co]):
    """The methods of a `Pool` with options that change what goes in and what comes out."""

    submit: Submit[In_co, Out_co, Run_co]
    map: PoolMap[In_co, Out_co, Run_co, Listed]
    unordered_map: PoolMap[In_co, Out_co, Run_co, Listed]
    imap: PoolMap[In_co, Out_co, Run_co, Lazy]
    unordered_imap: PoolMap[In_co, Out_co, Run_co, Lazy]

    def star(self) -> PoolFront[Item, Out_co, Run_co]:
        """Unpack each item: a tuple or list into positional, a mapping into keyword arguments."""
        raise NotImplementedError

    def results(self) -> PoolFront[In_co, Envelope, Run_co]:
        """Give `Result` envelopes, where errors would be raised."""
        raise NotImplementedError

    def unordered(self) -> PoolFront[In_co, Out_co, Run_co]:
        """Give results as they finish."""
        raise NotImplementedError

    def background(self) -> PoolFront[In_co, Out_co, Background]:
        """Give the future at once; where there are several results a future of the list."""
        raise NotImplementedError

    def asynced(self) -> PoolFront[In_co, Out_co, Async]:
        """Give a coroutine; where there are several results one that is an async iterator, too."""
        raise NotImplementedError

    def stream(self, buffersize: int = 16) -> PoolFront[In_co, Out_co, Streaming]:
        """Give an iterator over the items of a generator function while it runs (`submit` only)."""
        raise NotImplementedError
