"""`Serial`, `Parallel`, `Broadcast`, and `Zip`, as users import them: stages of graphs and of flows alike.

Where it stands alone or in `EZ`, such a word means what it means for one call; it is a graph.  A flow reads the same words
for a stream of items, so the graph keeps what was written.  What only a flow understands (a word of its kit among the
branches, two branches of the same name, a weight) gives an `Unsettled`, which refuses to be a graph, with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import GraphError
from ..graph import ez
from . import kit
from .parse import Piece, holds_kit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..graph.nodes import Node


class Twin:
    """How a graph was written, for flows."""

    __slots__ = ("again", "error", "piece")

    def __init__(self, piece: Piece | None, error: GraphError | None, again: tuple[Any, ...]) -> None:
        self.piece = piece
        self.error = error
        self.again = again

    @property
    def node(self) -> Node:
        """What it means in a flow."""
        if self.piece is None:
            assert self.error is not None
            raise self.error
        return self.piece.node


class Unsettled(Piece):
    """A stage of flows that would be a graph, were it not for `reason`."""

    __slots__ = ("_again", "reason")

    def __init__(self, piece: Piece, reason: GraphError, again: tuple[Any, ...]) -> None:
        super().__init__(piece.node, piece.shown)
        self.reason = reason
        self._again = again

    def _refusal(self) -> GraphError:
        """Say why it is no graph."""
        return self.reason

    def _no_graph(self, *_: object, **__: object) -> NoReturn:
        """Refuse to be called."""
        raise self.reason

    __call__ = submit = map = _no_graph

    def __reduce__(self) -> tuple[Any, ...]:
        return self._again


def _settle(
    word: Callable[..., Any],
    make_graph: Callable[[], Any],
    make_piece: Callable[[], Piece],
    args: tuple[Any, ...],
) -> Any:
    """Give a graph that knows how it was written, or what is a stage of flows only."""
    again = _again, (word, *args)
    graph, no_graph = _tried(make_graph)
    piece, no_piece = _tried(make_piece)
    if graph is not None:
        object.__setattr__(graph, "_twin", Twin(piece, no_piece, again))
        return graph
    assert no_graph is not None
    if piece is not None:
        return Unsettled(piece, no_graph, again)
    raise no_piece if no_piece is not None and holds_kit(args) else no_graph


def _tried(make: Callable[[], Any]) -> tuple[Any, GraphError | None]:
    try:
        return make(), None
    except GraphError as error:
        return None, error.with_traceback(None)


def _again(word: Callable[..., Any], branches: tuple[Any, ...], words: dict[str, Any]) -> Any:
    return word(*branches, **words)


def Serial(*stages: Any) -> Any:  # noqa: N802
    """Make a chain, as a list does.

    Parameters
    ----------
    *stages : callable, literal, graph, or flow
        Each feeds the next.

    Returns
    -------
    Graph
        The chain; in a flow, stages one after the other.
    """
    return _settle(Serial, lambda: ez.Serial(*stages), lambda: kit.Serial(*stages), (stages, {}))


def Parallel(*branches: Any, weights: Iterable[int] = (), balance: str = "turn") -> Any:  # noqa: N802
    """Give each branch its own argument, as a tuple does; in a flow, give each item to one branch.

    Parameters
    ----------
    *branches : callable, literal, graph, or flow
        In a graph one for each argument.
    weights : iterable of int
        In a flow: how many items of each round go to each branch.
    balance : str
        In a flow: ``"turn"``, or ``"free"``: each item goes to the branch that has the least to do.

    Returns
    -------
    Graph
        Its result is a tuple, in order; in a flow, what leaves the branches runs on.
    """
    weights = tuple(weights)
    words: Any = {"weights": weights} if weights else {}
    if balance != "turn":
        words["balance"] = balance

    def make_graph() -> Any:
        if words:
            raise GraphError(
                f"Parallel(..., {next(iter(words))}=...) is a stage of flows: in a graph each branch has an argument"
                " of its own, so there is nothing to share out."
            )
        return ez.Parallel(*branches)

    return _settle(Parallel, make_graph, lambda: kit.Parallel(*branches, **words), (branches, words))


def Broadcast(*branches: Any, **labelled: Any) -> Any:  # noqa: N802
    """Give every branch the same call, as a set or dict does, in the written order; in a flow, the same item.

    Parameters
    ----------
    *branches : callable, literal, graph, or flow
        Their results have the names of their functions.
    **labelled : callable, literal, or graph
        Their results have these names; not in a flow, where results have none.

    Returns
    -------
    Graph
        Its result is a dict; in a flow, what leaves the branches runs on, one after the other.
    """

    def make_piece() -> Piece:
        if labelled:
            raise GraphError(
                f"Broadcast({next(iter(labelled))}=...) is no stage of a flow, because outputs of its branches"
                " have no names. Leave the names out, or write EZ(Broadcast(...)) for one dict per item."
            )
        return kit.Broadcast(*branches)

    return _settle(Broadcast, lambda: ez.Broadcast(*branches, **labelled), make_piece, (branches, labelled))


def Zip(*branches: Any) -> Any:  # noqa: N802
    """Give every branch the same call, and join the results by position; in a flow, the same item.

    Parameters
    ----------
    *branches : callable, literal, graph, or flow
        In the order of the results.

    Returns
    -------
    Graph
        Its result is a tuple.
    """
    return _settle(Zip, lambda: ez.Zip(*branches), lambda: kit.Zip(*branches), (branches, {}))


S = Serial
P = Parallel
B = Broadcast
