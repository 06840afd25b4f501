"""Stages with a state: a class whose object lives in a worker of its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .nodes import Living
from .piece import StageWords

if TYPE_CHECKING:
    from ..graph.nodes import Node


class Stage(StageWords):
    """A stage that keeps something between items, such as a model or a connection.

    Make a subclass with `do`; put an object of it into a flow.  The object is pickled into a worker of its own, where
    `setup` is called once before the first item and `teardown` once after the last.

    Attributes
    ----------
    env : mapping of str
        Variables of the environment of its worker, for `setup` and all that follows.  A class or an object may set it.
    """

    env: Mapping[str, str] = MappingProxyType({})

    def _stage_node(self) -> Node:
        return Living(stage=self, name=type(self).__name__)

    def _shown(self) -> str:
        return f"{type(self).__name__}(...)" if type(self).__repr__ is object.__repr__ else repr(self)

    def initialize(self) -> None:
        """Prepare, in this program, once for each run."""

    def setup(self) -> None:
        """Prepare, in the worker, once for each worker."""

    def do(self, item: Any) -> Any:
        """Give the output for an item; a generator gives any number.

        Parameters
        ----------
        item : object
            The next item, in the order of the input.

        Returns
        -------
        object
            The output, or `DROP`.
        """
        return item

    def teardown(self) -> None:
        """Clean up, in the worker, after its last item."""
