"""What type checkers see of the words; never imported at run time.

Each method and front carries what was said so far in type parameters that stand for nothing else:

* `In_co`: `Args`, the function's arguments as they are, or `Item`, one thing to unpack (``star``);
* `Out_co`: `Value`, or `Envelope` (``results``);
* `Run_co`: `Now`, `Background` (``background``), `Async` (``asynced``) or `Streaming` (``stream``).

``__call__`` is overloaded on the type of `self`.  A checker keeps the overload that fits and forgets the others, so that
its complaints are those about a plain function.  Words that say how a call runs give back `Self`.

Each result is written twice: a function that returns a coroutine gives what the coroutine returns, because it is awaited
in the worker.  That a generator gives a list is not written: of a function that returns `Any`, pyright would then say
that it gives a list.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Iterator
from typing import Any, Generic, ParamSpec, TypeVar, overload

from ._amap import AsyncMap
from ._memory.reference import Ref
from ._stream import ItemStream
from .future import Future
from .modifiers import HowItRuns
from .result import Result

P = ParamSpec("P")
T = TypeVar("T")


class Args:
    """The function's arguments, as in a plain call."""


class Item:
    """One tuple, list or mapping that is unpacked, and further keywords."""


class Value:
    """What the function returns; errors are raised."""


class Envelope:
    """A `Result`."""


class Handle:
    """A `Ref` to what the function returns (``sealed``)."""


class Sync:
    """No coroutine."""


class Now(Sync):
    """What the method gives without a word about it."""


class Background(Sync):
    """A future of everything."""


class Async:
    """A coroutine."""


class Streaming:
    """An iterator over the items of a generator function (``stream``)."""


In_co = TypeVar("In_co", covariant=True)
Out_co = TypeVar("Out_co", covariant=True)
Run_co = TypeVar("Run_co", covariant=True)


class Submit(HowItRuns, Generic[In_co, Out_co, Run_co]):
    """`submit` of one executor."""

    def star(self) -> Submit[Item, Out_co, Run_co]:
        """Unpack the item: a tuple or list into positional, a mapping into keyword arguments."""
        raise NotImplementedError

    def results(self) -> Submit[In_co, Envelope, Run_co]:
        """Give a `Result`, where an error would be raised."""
        raise NotImplementedError

    def sealed(self) -> Submit[In_co, Handle, Run_co]:
        """Give a `Ref` to what the call returns, which stays packed."""
        raise NotImplementedError

    def background(self) -> Submit[In_co, Out_co, Background]:
        """Give the future at once, which is what `submit` does."""
        raise NotImplementedError

    def asynced(self) -> Submit[In_co, Out_co, Async]:
        """Give a coroutine."""
        raise NotImplementedError

    def stream(self, buffersize: int = 16) -> Submit[In_co, Out_co, Streaming]:
        """Give an iterator over the items of a generator function while it runs."""
        raise NotImplementedError

    @overload
    def __call__(
        self: Submit[Args, Value, Streaming],
        fn: Callable[P, Iterable[T] | AsyncIterable[T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> ItemStream[T]: ...

    @overload
    def __call__(
        self: Submit[Item, Value, Streaming],
        fn: Callable[..., Iterable[T] | AsyncIterable[T]],
        item: Any,
        /,
        **keywords: Any,
    ) -> ItemStream[T]: ...

    @overload
    def __call__(
        self: Submit[Args, Handle, Sync], fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[Ref[T]]: ...

    @overload
    def __call__(
        self: Submit[Args, Handle, Async], fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, Ref[T]]: ...

    @overload
    def __call__(
        self: Submit[Item, Handle, Sync], fn: Callable[..., T], item: Any, /, **keywords: Any
    ) -> Future[Ref[T]]: ...

    @overload
    def __call__(
        self: Submit[Item, Handle, Async], fn: Callable[..., T], item: Any, /, **keywords: Any
    ) -> Coroutine[Any, Any, Ref[T]]: ...

    @overload
    def __call__(
        self: Submit[Args, Value, Sync],
        fn: Callable[P, Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Future[T]: ...

    @overload
    def __call__(
        self: Submit[Args, Value, Sync], fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]: ...

    @overload
    def __call__(
        self: Submit[Args, Envelope, Sync],
        fn: Callable[P, Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Future[Result[T]]: ...

    @overload
    def __call__(
        self: Submit[Args, Envelope, Sync], fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[Result[T]]: ...

    @overload
    def __call__(
        self: Submit[Args, Value, Async],
        fn: Callable[P, Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[Any, Any, T]: ...

    @overload
    def __call__(
        self: Submit[Args, Value, Async], fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...

    @overload
    def __call__(
        self: Submit[Args, Envelope, Async],
        fn: Callable[P, Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[Any, Any, Result[T]]: ...

    @overload
    def __call__(
        self: Submit[Args, Envelope, Async], fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, Result[T]]: ...

    @overload
    def __call__(
        self: Submit[Item, Value, Sync],
        fn: Callable[..., Coroutine[Any, Any, T]],
        item: Any,
        /,
        **keywords: Any,
    ) -> Future[T]: ...

    @overload
    def __call__(
        self: Submit[Item, Value, Sync], fn: Callable[..., T], item: Any, /, **keywords: Any
    ) -> Future[T]: ...

    @overload
    def __call__(
        self: Submit[Item, Envelope, Sync],
        fn: Callable[..., Coroutine[Any, Any, T]],
        item: Any,
        /,
        **keywords: Any,
    ) -> Future[Result[T]]: ...

    @overload
    def __call__(
        self: Submit[Item, Envelope, Sync], fn: Callable[..., T], item: Any, /, **keywords: Any
    ) -> Future[Result[T]]: ...

    @overload
    def __call__(
        self: Submit[Item, Value, Async],
        fn: Callable[..., Coroutine[Any, Any, T]],
        item: Any,
        /,
        **keywords: Any,
    ) -> Coroutine[Any, Any, T]: ...

    @overload
    def __call__(
        self: Submit[Item, Value, Async], fn: Callable[..., T], item: Any, /, **keywords: Any
    ) -> Coroutine[Any, Any, T]: ...

    @overload
    def __call__(
        self: Submit[Item, Envelope, Async],
        fn: Callable[..., Coroutine[Any, Any, T]],
        item: Any,
        /,
        **keywords: Any,
    ) -> Coroutine[Any, Any, Result[T]]: ...

    @overload
    def __call__(
        self: Submit[Item, Envelope, Async], fn: Callable[..., T], item: Any, /, **keywords: Any
    ) -> Coroutine[Any, Any, Result[T]]: ...

    def __call__(self, /, *args: Any, **keywords: Any) -> Any:
        """Submit a call."""
        raise NotImplementedError


class Map(HowItRuns, Generic[In_co, Out_co, Run_co]):
    """`map` of one executor."""

    def star(self) -> Map[Item, Out_co, Run_co]:
        """Unpack each item: a tuple or list into positional, a mapping into keyword arguments."""
        raise NotImplementedError

    def results(self) -> Map[In_co, Envelope, Run_co]:
        """Give a `Result` for each item, where errors would be raised."""
        raise NotImplementedError

    def sealed(self) -> Map[In_co, Handle, Run_co]:
        """Give a `Ref` for each item, to what its call returns, which stays packed."""
        raise NotImplementedError

    def unordered(self) -> Map[In_co, Out_co, Run_co]:
        """Give results as they finish."""
        raise NotImplementedError

    def background(self) -> Map[In_co, Out_co, Background]:
        """Give a future of the list at once."""
        raise NotImplementedError

    def asynced(self) -> Map[In_co, Out_co, Async]:
        """Give a coroutine of the list that is an async iterator, too."""
        raise NotImplementedError

    @overload
    def __call__(
        self: Map[Any, Handle, Now],
        /,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> Iterator[Ref[T]]: ...

    @overload
    def __call__(
        self: Map[Any, Handle, Background],
        /,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        chunksize: int = 1,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> Future[list[Ref[T]]]: ...

    @overload
    def __call__(
        self: Map[Any, Handle, Async],
        /,
        fn: Callable[..., T],
        *iterables: Iterable[Any] | AsyncIterable[Any],
        chunksize: int = 1,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> AsyncMap[Ref[T]]: ...

    @overload
    def __call__(
        self: Map[Args, Value, Now],
        /,
        fn: Callable[..., Coroutine[Any, Any, T]],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]: ...

    @overload
    def __call__(
        self: Map[Args, Value, Now],
        /,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]: ...

    @overload
    def __call__(
        self: Map[Args, Envelope, Now],
        /,
        fn: Callable[..., Coroutine[Any, Any, T]],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Result[T]]: ...

    @overload
    def __call__(
        self: Map[Args, Envelope, Now],
        /,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Result[T]]: ...

    @overload
    def __call__(
        self: Map[Args, Value, Background],
        /,
        fn: Callable[..., Coroutine[Any, Any, T]],
        *iterables: Iterable[Any],
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Future[list[T]]: ...

    @overload
    def __call__(
        self: Map[Args, Value, Background],
        /,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Future[list[T]]: ...

    @overload
    def __call__(
        self: Map[Args, Envelope, Background],
        /,
        fn: Callable[..., Coroutine[Any, Any, T]],
        *iterables: Iterable[Any],
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Future[list[Result[T]]]: ...

    @overload
    def __call__(
        self: Map[Args, Envelope, Background],
        /,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Future[list[Result[T]]]: ...

    @overload
    def __call__(
        self: Map[Args, Value, Async],
        /,
        fn: Callable[..., Coroutine[Any, Any, T]],
        *iterables: Iterable[Any] | AsyncIterable[Any],
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> AsyncMap[T]: ...

    @overload
    def __call__(
        self: Map[Args, Value, Async],
        /,
        fn: Callable[..., T],
        *iterables: Iterable[Any] | AsyncIterable[Any],
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> AsyncMap[T]: ...

    @overload
    def __call__(
        self: Map[Args, Envelope, Async],
        /,
        fn: Callable[..., Coroutine[Any, Any, T]],
        *iterables: Iterable[Any] | AsyncIterable[Any],
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> AsyncMap[Result[T]]: ...

    @overload
    def __call__(
        self: Map[Args, Envelope, Async],
        /,
        fn: Callable[..., T],
        *iterables: Iterable[Any] | AsyncIterable[Any],
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> AsyncMap[Result[T]]: ...

    @overload
    def __call__(
        self: Map[Item, Value, Now],
        fn: Callable[..., Coroutine[Any, Any, T]],
        items: Iterable[Any],
        /,
        *,
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> Iterator[T]: ...

    @overload
    def __call__(
        self: Map[Item, Value, Now],
        fn: Callable[..., T],
        items: Iterable[Any],
        /,
        *,
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> Iterator[T]: ...

    @overload
    def __call__(
        self: Map[Item, Envelope, Now],
        fn: Callable[..., Coroutine[Any, Any, T]],
        items: Iterable[Any],
        /,
        *,
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> Iterator[Result[T]]: ...

    @overload
    def __call__(
        self: Map[Item, Envelope, Now],
        fn: Callable[..., T],
        items: Iterable[Any],
        /,
        *,
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> Iterator[Result[T]]: ...

    @overload
    def __call__(
        self: Map[Item, Value, Background],
        fn: Callable[..., Coroutine[Any, Any, T]],
        items: Iterable[Any],
        /,
        *,
        chunksize: int = 1,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> Future[list[T]]: ...

    @overload
    def __call__(
        self: Map[Item, Value, Background],
        fn: Callable[..., T],
        items: Iterable[Any],
        /,
        *,
        chunksize: int = 1,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> Future[list[T]]: ...

    @overload
    def __call__(
        self: Map[Item, Envelope, Background],
        fn: Callable[..., Coroutine[Any, Any, T]],
        items: Iterable[Any],
        /,
        *,
        chunksize: int = 1,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> Future[list[Result[T]]]: ...

    @overload
    def __call__(
        self: Map[Item, Envelope, Background],
        fn: Callable[..., T],
        items: Iterable[Any],
        /,
        *,
        chunksize: int = 1,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> Future[list[Result[T]]]: ...

    @overload
    def __call__(
        self: Map[Item, Value, Async],
        fn: Callable[..., Coroutine[Any, Any, T]],
        items: Iterable[Any] | AsyncIterable[Any],
        /,
        *,
        chunksize: int = 1,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> AsyncMap[T]: ...

    @overload
    def __call__(
        self: Map[Item, Value, Async],
        fn: Callable[..., T],
        items: Iterable[Any] | AsyncIterable[Any],
        /,
        *,
        chunksize: int = 1,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> AsyncMap[T]: ...

    @overload
    def __call__(
        self: Map[Item, Envelope, Async],
        fn: Callable[..., Coroutine[Any, Any, T]],
        items: Iterable[Any] | AsyncIterable[Any],
        /,
        *,
        chunksize: int = 1,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> AsyncMap[Result[T]]: ...

    @overload
    def __call__(
        self: Map[Item, Envelope, Async],
        fn: Callable[..., T],
        items: Iterable[Any] | AsyncIterable[Any],
        /,
        *,
        chunksize: int = 1,
        buffersize: int | None = None,
        **keywords: Any,
    ) -> AsyncMap[Result[T]]: ...

    def __call__(self, /, *args: Any, **keywords: Any) -> Any:
        """Map."""
        raise NotImplementedError


class Front(HowItRuns, Generic[In_co, Out_co, Run_co]):
    """`submit` and `map` of an executor with options that change what goes in and what comes out."""

    submit: Submit[In_co, Out_co, Run_co]
    map: Map[In_co, Out_co, Run_co]

    def star(self) -> Front[Item, Out_co, Run_co]:
        """Unpack each item: a tuple or list into positional, a mapping into keyword arguments."""
        raise NotImplementedError

    def results(self) -> Front[In_co, Envelope, Run_co]:
        """Give `Result` envelopes, where errors would be raised."""
        raise NotImplementedError

    def sealed(self) -> Front[In_co, Handle, Run_co]:
        """Give a `Ref` to what a call returns, which stays packed."""
        raise NotImplementedError

    def unordered(self) -> Front[In_co, Out_co, Run_co]:
        """Give the results of `map` as they finish."""
        raise NotImplementedError

    def background(self) -> Front[In_co, Out_co, Background]:
        """Give the future at once; for `map` a future of the list."""
        raise NotImplementedError

    def asynced(self) -> Front[In_co, Out_co, Async]:
        """Give a coroutine; for `map` one that is an async iterator, too."""
        raise NotImplementedError

    def stream(self, buffersize: int = 16) -> Front[In_co, Out_co, Streaming]:
        """Give an iterator over the items of a generator function while it runs (`submit` only)."""
        raise NotImplementedError
