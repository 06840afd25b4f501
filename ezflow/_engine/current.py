"""What a running call can learn of itself, and say while it runs.

The worker loop states here which call it runs; `current_call` reads it.  One
call runs at a time in a worker, so threads that the call starts see it, too.
"""

from __future__ import annotations

from _contextvars import ContextVar

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class ItemState:
    """What the stages of a flow know of the item that they work on: written by the flow, wherever the stage runs."""

    __slots__ = ("emitted", "has_meta", "meta", "names")

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        self.names = names  # of the side streams that there are
        self.meta: dict[Any, Any] | None = None
        self.has_meta = False  # whether some item has got one
        self.emitted: list[tuple[str, Any]] = []


class CurrentCall:
    """The call that runs in this worker.

    Attributes
    ----------
    index : int or None
        Position of its item in the input of a `map`, from 0; None for `submit`.
    attempt : int
        Which run of it this is, from 1.
    name : str or None
        Its label, if it was given one.
    deadline : float or None
        Time on the clock of `time.monotonic` at which its limits end, None without limits.
    seed : tuple of int or None
        In a pool with a seed, two numbers of its own, the same in every run of the program:
        ``numpy.random.default_rng(current_call().seed)`` gives a generator, and with None one seeded by the system.
    """

    __slots__ = ("_is_asked_to_end", "_report", "attempt", "deadline", "index", "name", "seed")

    def __init__(
        self,
        index: int | None,
        attempt: int,
        name: str | None,
        deadline: float | None,
        report: Callable[[object], None],
        is_asked_to_end: Callable[[], bool],
        seed: tuple[int, int] | None = None,
    ) -> None:
        self.seed = seed
        self.index = index
        self.attempt = attempt
        self.name = name
        self.deadline = deadline
        self._report = report
        self._is_asked_to_end = is_asked_to_end

    def __repr__(self) -> str:
        """Show what is known."""
        return f"<{type(self).__name__} name={self.name!r} index={self.index} attempt={self.attempt}>"

    def report(self, progress: object) -> None:
        """Send word of the progress to the parent, where `Future.progress` gives it.

        Parameters
        ----------
        progress : object
            Anything that can be pickled, such as a fraction or a text.  The latest word replaces earlier ones.

        Raises
        ------
        RuntimeError
            If the call has ended.
        """
        self._report(progress)

    @property
    def meta(self) -> dict[Any, Any]:
        """What travels with the item of a `Flow` that a stage works on.

        What a stage writes into it, later stages find; every branch and every output has a copy of its own.

        Raises
        ------
        RuntimeError
            If the call is no stage of a flow.
        """
        state = self._state()
        meta = state.meta
        if meta is None:
            meta = state.meta = {}
            state.has_meta = True
        return meta

    def emit(self, stream: str, item: object) -> None:
        """Send an item into a side stream of the flow, one that was added with `Flow.xcut`.

        Parameters
        ----------
        stream : str
            Name of the side stream.
        item : object
            Goes there when the call has ended.

        Raises
        ------
        LookupError
            If the flow has no side stream of this name.
        RuntimeError
            If the call is no stage of a flow.
        """
        state = self._state()
        if stream not in state.names:
            known = ", ".join(map(repr, state.names)) or "none"
            raise LookupError(
                f"the flow has no side stream {stream!r}; there are {known}. Add it with flow.xcut({stream!r}, ...)."
            )
        state.emitted.append((stream, item))

    def _state(self) -> ItemState:
        state: ItemState | None = running.item.get(None)
        if state is None:
            raise RuntimeError(
                "this call is no stage of a Flow, so no item has a meta and no side stream is there"
            )
        return state

    def cancelled(self) -> bool:
        """Tell whether the call was asked to end.

        Returns
        -------
        bool
            True after a cancel or a limit, for code that has caught the interrupt or runs in another thread.
        """
        return self._is_asked_to_end()


class _Running:
    """What the worker loop writes before each call: cheap, because it does so for every one."""

    def __init__(self) -> None:
        self.number = 0  # of the call, 0 between calls
        self.attempt = 1
        self.index = 0  # in its map, counted from 1; 0 for none
        self.started = 0.0
        self.extras: dict[str, Any] | None = None
        self.send_report: Callable[[int, object], None] | None = None
        self.is_asked_to_end: Callable[[int], bool] | None = None
        self.on_interrupt: Callable[[Callable[[], object] | None], None] | None = None
        # Of a flow's item. An attribute, because a module's context variables travel with the calls that are submitted.
        self.item: ContextVar[ItemState] = ContextVar("ezflow item")


running = _Running()


def _no_report(progress: object) -> None:
    """Nobody hears of the progress of a call that no pool of ours runs."""


def current_call() -> CurrentCall:
    """Give the call that runs in this worker.

    Returns
    -------
    CurrentCall
        Index, attempt, name and deadline, and the means to report progress.

    Raises
    ------
    RuntimeError
        Outside of a call: in the program itself, or in an initializer.
    """
    number = running.number
    send_report, is_asked_to_end = running.send_report, running.is_asked_to_end
    if not number or send_report is None or is_asked_to_end is None:
        if running.item.get(None) is not None:  # a stage in this program, or in another library's worker
            return CurrentCall(None, 1, None, None, _no_report, bool)
        from .. import errors

        raise errors.no_current_call()
    extras = running.extras or {}
    ends = [running.started + extras["limit"]] if extras.get("limit") is not None else []
    if extras.get("deadline") is not None:
        ends.append(extras["deadline"])

    def report(progress: object) -> None:
        if running.number != number:
            raise RuntimeError("the call has ended, so it cannot report progress any more")
        send_report(number, progress)

    return CurrentCall(
        running.index - 1 if running.index else None,
        running.attempt,
        extras.get("name"),
        min(ends, default=None),
        report,
        lambda: is_asked_to_end(number),
        extras.get("seed"),
    )
