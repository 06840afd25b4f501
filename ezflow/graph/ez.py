"""`EZ` and its named twins: parse, check, and give a graph."""

from __future__ import annotations

from typing import Any

from .graph import Graph
from .nodes import Chain, chain
from .parse import chain_of, copy_of, row_of, split_of


def EZ(*stages: Any) -> Graph[..., Any]:  # noqa: N802  # it is the name of a thing
    """Make a futures graph from lists, tuples, sets and dicts of functions.

    A list chains, a tuple splits, a set copies.

    Parameters
    ----------
    *stages : callable, list, tuple, set, dict, str or Graph
        Each feeds the next.  A list is a chain; a tuple gives each branch its own argument, its result is a tuple; a set
        or dict gives every branch the same call, its result is a dict of name and value; a text such as
        ``"package.module.function"`` names a function that is looked up in the worker.

    Returns
    -------
    Graph
        Call it, submit it, map it, or make it a stage of another.

    Raises
    ------
    GraphError
        If it cannot run as it is written; the message names the stage.

    Examples
    --------
    >>> graph = EZ((abs, len), pow)
    >>> graph
    EZ((abs, len), pow)
    >>> graph.on("inline")(-2, "abc")
    8
    >>> EZ({min, max}).on("inline")([3, 1, 2])
    {'max': 3, 'min': 1}
    """
    root = chain_of(stages)
    first = stages[0]
    if len(stages) > 1 and isinstance(first, Graph) and isinstance(root, Chain):
        node = first._node()
        if node is first._root:  # it was checked when it was made
            return Graph(root, already=first)
    return Graph(root)


def Serial(*stages: Any) -> Graph[..., Any]:  # noqa: N802
    """Make a chain, as a list does.

    Parameters
    ----------
    *stages : callable, literal or graph
        Each feeds the next.

    Returns
    -------
    Graph
        The chain.
    """
    return Graph(chain_of(stages, "Serial"))


def Parallel(*branches: Any) -> Graph[..., Any]:  # noqa: N802
    """Give each branch its own argument, as a tuple does.

    Parameters
    ----------
    *branches : callable, literal or graph
        One for each argument.

    Returns
    -------
    Graph
        Its result is a tuple, in order.
    """
    return Graph(chain((split_of(branches),)))


def Broadcast(*branches: Any, **labelled: Any) -> Graph[..., Any]:  # noqa: N802
    """Give every branch the same call, as a set or dict does, in the written order.

    Parameters
    ----------
    *branches : callable, literal or graph
        Their results have the names of their functions.
    **labelled : callable, literal or graph
        Their results have these names.

    Returns
    -------
    Graph
        Its result is a dict.
    """
    return Graph(chain((copy_of(branches, labelled),)))


def Zip(*branches: Any) -> Graph[..., Any]:  # noqa: N802
    """Give every branch the same call, and give the results by position.

    Parameters
    ----------
    *branches : callable, literal or graph
        In the order of the results.

    Returns
    -------
    Graph
        Its result is a tuple.
    """
    return Graph(chain((row_of(branches),)))


S = Serial
P = Parallel
B = Broadcast
