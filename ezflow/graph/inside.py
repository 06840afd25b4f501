"""What runs inside a worker: several functions as one call, and functions that are named by a text.

A worker imports this module and nothing else of this package.
"""

from __future__ import annotations

from .._engine.finish import UNFINISHED, abandon, collect, finish

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PLAIN = ""
PACK = "pack"


class Named:
    """A function that is named by a text; it is looked up where it is called."""

    __slots__ = ("__name__", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.__name__ = path.replace(":", ".").rpartition(".")[2]

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Look it up and call it."""
        return look_up(self.path)(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __reduce__(self) -> tuple[Any, ...]:
        return Named, (self.path,)

    def __repr__(self) -> str:
        """Show it as it is written."""
        return repr(self.path)


def look_up(path: str) -> Callable[..., Any]:
    """Import what a text names: the longest part of it that is a module, then attributes."""
    from importlib import import_module

    head, _, tail = path.partition(":")
    pieces = head.split(".")
    attributes = tail.split(".") if tail else []
    n_least = len(pieces) if tail else 1
    n = len(pieces) if tail else len(pieces) - 1
    found: Any = None
    while found is None:
        try:
            found = import_module(".".join(pieces[:n]))
        except ModuleNotFoundError as error:
            # Only if it is this very module that is missing, and not one that it imports.
            if (
                n <= n_least
                or error.name is None
                or not (".".join(pieces[:n]) + ".").startswith(error.name + ".")
            ):
                raise
            n -= 1
    for attribute in [*pieces[n:], *attributes]:
        found = getattr(found, attribute)
    return found  # type: ignore[no-any-return]


def apply(mode: str, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function with what arrives, the way its stage takes it."""
    if mode == PLAIN:
        return fn(*args, **kwargs)
    if mode == PACK:
        if args and kwargs:
            raise TypeError("pack takes positional or keyword arguments, not both")
        return fn(kwargs or args)
    if len(args) != 1:
        raise TypeError(f"star takes one tuple, list or mapping, not {len(args)} arguments")
    (item,) = args
    if isinstance(item, tuple | list):
        return fn(*item, **kwargs)
    if hasattr(item, "keys") and hasattr(item, "__getitem__"):
        return fn(**item, **kwargs)
    raise TypeError(
        "star unpacks a tuple or list into positional and a mapping into keyword arguments, but got"
        f" {type(item).__name__}: {item!r:.100}. Leave star out to pass it on as one argument."
    )


def run_chain(calls: tuple[tuple[str, Callable[..., Any], str], ...], /, *args: Any, **kwargs: Any) -> Any:
    """Run functions one after the other, each fed by the one before; an error says in which it was raised.

    `calls` holds mode, function and note of each.
    """
    value: Any = None
    first = True
    for mode, fn, note in calls:
        try:
            if first:
                first = False
                value = apply(mode, fn, args, kwargs)
                args, kwargs = (), {}
            elif mode:
                value = apply(mode, fn, (value,), {})
            else:
                value = fn(value)
            if type(value) in UNFINISHED:
                value = finished(value)
        except BaseException as error:
            abandon(value)
            if note and isinstance(error, Exception):
                add_note(error, note)
            raise
    return value


def add_note(error: BaseException, note: str) -> None:
    """Add a note, if the error takes one and has it not yet."""
    try:
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
    except Exception:  # an error with an add_note or a __dict__ of its own
        pass


def finished(value: Any) -> Any:
    """Give what an unfinished value stands for: what a coroutine returns, the list of a generator's items."""
    if type(value) not in UNFINISHED:
        return value
    from .._engine.current import running

    if running.on_interrupt is not None:
        return finish(value, running.on_interrupt)
    return _finished_here(value)


def _finished_here(value: Any) -> Any:
    """Finish a value outside of our workers: in a thread, in this program, or in a process of another library."""
    from types import AsyncGeneratorType, GeneratorType

    if type(value) is GeneratorType:
        return list(value)
    import asyncio

    coroutine = collect(value) if type(value) is AsyncGeneratorType else value
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as helper:  # this thread's loop is busy, for it runs the code that waits here
        return helper.submit(asyncio.run, coroutine).result()


_loaded: dict[bytes, Any] = {}
_MOST_LOADED = 256


def run_packed(calls: bytes, /, *args: Any, **kwargs: Any) -> Any:
    """Run a chain of importable functions, whose names are unpickled once per worker."""
    found = _loaded.get(calls)
    if found is None:
        from pickle import loads

        if len(_loaded) >= _MOST_LOADED:
            _loaded.clear()
        found = _loaded[calls] = loads(calls)
    return run_chain(found, *args, **kwargs)


def _told_as(calls: Any, *args: object) -> tuple[str, dict[str, object]]:
    """Say what a chain is called, and what of the user's it takes: for messages about one that was not sent."""
    from .._call import label_of  # here, because workers never need it

    if isinstance(calls, bytes):
        from pickle import loads

        calls = loads(calls)
    fns = tuple(fn for _, fn, _ in calls)
    return " → ".join(map(label_of, fns)), {"args": args, "fn": fns}


run_chain.__dict__["told_as"] = run_packed.__dict__["told_as"] = _told_as


def run_patiently(
    calls: tuple[tuple[str, Callable[..., Any], str], ...],
    n: int,
    on: tuple[type[BaseException], ...],
    delay: float,
    backoff: float,
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Run a chain again if it fails: for executors that repeat nothing themselves."""
    from time import sleep

    for left in range(n, -1, -1):
        try:
            return run_chain(calls, *args, **kwargs)
        except on as error:
            if not left or type(error).__name__ in ("CancelledError", "KeyboardInterrupt"):
                raise
        sleep(delay)
        delay *= backoff
    return None
