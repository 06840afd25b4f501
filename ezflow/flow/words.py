"""What a flow does besides its stages: side streams, and functions that hear of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..graph.nodes import text_of
from .parse import chain_of, shown, wrong

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from .counting import FlowStatistics

HOOKS = ("on_start", "on_item", "on_error", "on_finish")


class Words:
    """Words of a flow."""

    __slots__ = ()

    _settings: dict[str, Any]

    def _with(self, **settings: Any) -> Self:
        raise NotImplementedError

    def xcut(self, name: str, *stages: Any) -> Self:
        """Add a side stream, into which every stage can emit.

        Parameters
        ----------
        name : str
            What stages call it: ``current_call().emit(name, item)``.
        *stages : flow, or stages
            Where the items go.  What comes out at its end is dropped.

        Returns
        -------
        same kind
            A flow with this side stream.

        Notes
        -----
        It ends after the main stream, and before those that were added later, into which it can emit, too.  If it cannot
        keep up, the source waits.  Its failures are those of the run.  What is emitted
        for one item stays in order; of different items, what is ready first goes first.
        """
        from ..graph.nodes import Chain
        from .nodes import Source

        root = chain_of(stages)
        if isinstance(root.parts[0] if isinstance(root, Chain) else root, Source):
            raise wrong((), f"the side stream {name!r} has a source", "What stages emit is its source.")
        sides = self._settings.get("xcut", ())
        if any(name == other for other, _ in sides):
            raise wrong((), f"there are two side streams {name!r}", "Choose another name.")
        if not isinstance(name, str):
            raise TypeError(f"the name of a side stream is a text, not {name!r:.60}")
        return self._with(xcut=(*sides, (name, stages)))

    def on_start(self, fn: Callable[[], object]) -> Self:
        """Call a function when a run begins.

        Parameters
        ----------
        fn : callable
            Takes nothing; runs in this process, before the first item is taken.

        Returns
        -------
        same kind
            A flow that does so.
        """
        return self._hooked("on_start", fn)

    def on_item(self, fn: Callable[[Any], object]) -> Self:
        """Call a function with each output.

        Parameters
        ----------
        fn : callable
            Takes the output; runs in this process, in the thread of the consumer, before he gets it.

        Returns
        -------
        same kind
            A flow that does so.
        """
        return self._hooked("on_item", fn)

    def on_error(self, fn: Callable[[BaseException], object]) -> Self:
        """Call a function with each error: of every item that failed, or the one that ends the run.

        Parameters
        ----------
        fn : callable
            Takes the error; runs in this process, in the thread of the consumer.

        Returns
        -------
        same kind
            A flow that does so.

        Notes
        -----
        Errors that a handler given to `catch` has replaced are not seen.
        """
        return self._hooked("on_error", fn)

    def on_finish(self, fn: Callable[[FlowStatistics], object]) -> Self:
        """Call a function when a run has ended, in whatever way.

        Parameters
        ----------
        fn : callable
            Takes the statistics of the run; runs in this process, when everything of it is gone.

        Returns
        -------
        same kind
            A flow that does so.
        """
        return self._hooked("on_finish", fn)

    def _hooked(self, name: str, fn: Any) -> Self:
        if not callable(fn):
            raise TypeError(f"{name} takes a function, not {fn!r:.60}")
        return self._with(**{name: (*self._settings.get(name, ()), fn)})


def written(name: str, given: Any) -> str:
    """Show a setting as the word that makes it."""
    if name == "ordered":
        return "" if given else ".unordered()"
    if name == "xcut":
        return "".join(f".xcut({', '.join([repr(side), *map(shown, stages)])})" for side, stages in given)
    if name in HOOKS:
        return "".join(f".{name}({text_of(fn)})" for fn in given)
    if name == "on" and not isinstance(given, str):
        return f".on({type(given).__name__})"
    if name == "handler":
        return f".catch({text_of(given)})"
    return f".{name}({'' if given is True else f'{given!r:.40}'})"


def side_roots(settings: dict[str, Any]) -> dict[str, Any]:
    """Give the stages of each side stream, as nodes."""
    return {name: chain_of(stages) for name, stages in settings.pop("xcut", ())}
