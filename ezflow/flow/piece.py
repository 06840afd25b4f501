"""A stage with words of its own: where it runs, its limits, and what becomes of its failures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import GraphError
from ..graph.nodes import Node, OfFlows, words_of
from ..modifiers import HowItRuns, items_under_way
from ..options import Options, whole_number
from .nodes import Limited, Living, Plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

ALONE = ("timeout", "within", "retry", "priority")
"""Options that mean one call of one item."""

KEPT = ("catch", "otherwise", "results")
"""Options that say what becomes of failures."""

OWN = (*ALONE, *KEPT, "on", "env", "max_pending")
"""Options of a stage that keep it apart from its neighbours."""


class StageWords(HowItRuns, OfFlows):
    """The words of stages; each gives another stage."""

    __slots__ = ()

    def _stage_node(self) -> Node:
        """Give what it is."""
        raise NotImplementedError

    def _shown(self) -> str:
        """Show it as it is written."""
        return repr(self)

    def _having(self, name: str, value: Any) -> Any:
        if name == "progress":
            raise GraphError("progress(...) shows a whole run: hang it on the flow.")
        return Piece(
            having(self._stage_node(), name, value), self._shown() + words_of(Options(**{name: value}))
        )

    def on(self, executor: Executor | str | Any) -> Piece:
        """Say where the stage runs.

        Parameters
        ----------
        executor : Executor or str
            Any executor; ``"process"``, the default pool; ``"thread"``, default threads; ``"inline"``, the thread that
            moves the flow; or ``"async"``: many coroutines at once in one event loop of this process, the consumer's if
            he iterates with ``async for``.

        Returns
        -------
        Piece
            A stage that runs there.

        Notes
        -----
        A `Stage` lives in workers of its own: processes, which start as those of the given pool do, or threads.
        """
        check_on(executor)
        made: Piece = self._having("on", executor)
        return made

    def stream(self, buffersize: int = 4) -> Piece:
        """Take the outputs for one item in pieces, while the function still yields them.

        Parameters
        ----------
        buffersize : int
            Pieces that may be on their way; then the generator waits.

        Returns
        -------
        Piece
            A stage for generators that yield more for one item than memory holds, or slowly.

        Notes
        -----
        Without it, all that is yielded for the items of a call is sent at once.  It has a worker process of its own, which
        takes one item after another.  In a branch it yields as far as it is allowed to until it is its turn.
        """
        made: Piece = self._having("stream", items_under_way(buffersize))
        return made

    def results(self) -> Piece:
        """Give a `Result` for each output of this stage, and one with the error for each item that failed in it.

        Returns
        -------
        Piece
            A stage whose failures are data for the next.
        """
        made: Piece = self._having("results", True)
        return made

    def catch(self, handler: Callable[[Any], Any]) -> Piece:
        """Say what takes the place of an item that failed in this stage.

        Parameters
        ----------
        handler : callable
            Takes the error, gives the output or `DROP`.  It runs where the stage runs; of a worker that died, here.

        Returns
        -------
        Piece
            A stage that does so.
        """
        if not callable(handler):
            raise TypeError(f"catch takes a function of the error, not {handler!r:.60}")
        made: Piece = self._having("catch", handler)
        return made

    def max_pending(self, n: int) -> Piece:
        """Let at most `n` items be between the source and the end of this stage.

        Parameters
        ----------
        n : int
            At least 1.

        Returns
        -------
        Piece
            A stage before which no more than that can pile up: the source waits.

        Notes
        -----
        Items of the source count; what a `Batch` or `Window` before the stage holds back does not.  It is for stages that
        stand by themselves: for what happens in a branch, `Flow.max_pending` bounds the whole flow.
        """
        made: Piece = self._having("max_pending", whole_number("max_pending", n, 1))
        return made

    def with_env(self, env: Mapping[str, str] | None = None, **more: str) -> Piece:
        """Set variables of the environment while this stage runs in a worker process.

        Parameters
        ----------
        env : mapping of str, optional
            Names and values.
        **more : str
            The same.

        Returns
        -------
        Piece
            A stage that finds them in `os.environ`; this program does not.
        """
        made: Piece = self._having("env", environment({**(env or {}), **more}))
        return made


class Piece(StageWords):
    """A stage that a word of the kit has made.

    Parameters
    ----------
    node : Node
        What it is.
    shown : str
        How it was written.
    """

    __slots__ = ("node", "shown")

    node: Node
    shown: str

    def __init__(self, node: Node, shown: str) -> None:
        self.node = node
        self.shown = shown

    def _stage_node(self) -> Node:
        return self.node

    def __repr__(self) -> str:
        """Show it as it is written."""
        return self.shown


def environment(env: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Check variables of an environment."""
    for name, value in env.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"the environment holds texts, not {name!r:.60}: {value!r:.60}")
    return tuple(env.items())


def check_on(executor: object) -> None:
    """Refuse what is no place to run at."""
    from ..graph.lanes import lane_of

    if not isinstance(executor, str) or executor not in ("process", "thread", "inline", "async"):
        lane_of(executor)


def having(node: Node, name: str, value: Any) -> Node:
    """Give a stage with one option set."""
    if isinstance(node, Limited) and name == "named":
        return replace(node, parts=(having(node.parts[0], name, value),))
    if isinstance(node, Plain | Living) and name == "named":
        return replace(node, name=value)
    if name == "stream" and not isinstance(node, Plain):
        raise GraphError(".stream() belongs to one function: write it there.")
    if isinstance(node, Plain | Limited | Living):
        return replace(node, options=node.options.having(name, value))
    what = type(node).__name__
    if what == "Source":
        raise GraphError(f".{name}(...) says how a call runs, but a source is iterated in this process.")
    if what == "Collecting":
        raise GraphError(
            f".{name}(...) says how a call runs, but this stage runs in this process, between calls."
        )
    raise GraphError(f".{name}(...) belongs to one function or Stage: write it on those inside.")
