"""Stages with a state: a class whose object lives in a worker of its own."""

from __future__ import annotations

from typing import Any

from ..graph.nodes import OfFlows


class Stage(OfFlows):
    """A stage that keeps something between items, such as a model or a connection.

    Make a subclass with `do`; put an object of it into a flow.  The object is pickled into a worker of its own, where
    `setup` is called once before the first item and `teardown` once after the last.
    """

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
