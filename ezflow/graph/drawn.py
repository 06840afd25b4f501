"""What can be drawn: a graph, and a flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .picture import Edge, Picture


class Drawn:
    """Whatever gives a picture of itself."""

    __slots__ = ()

    def picture(self) -> Picture:
        """Draw it.

        Returns
        -------
        Picture
            Shown by a notebook as a drawing, printed as text.
        """
        raise NotImplementedError

    @property
    def nodes(self) -> tuple[str, ...]:
        """Give the paths of its stages.

        Returns
        -------
        tuple of str
            In written order.
        """
        return self.picture().nodes

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Say from which stage to which something flows, and under what name.

        Returns
        -------
        tuple of Edge
            In written order.
        """
        return self.picture().edges

    def to_mermaid(self) -> str:
        """Give it in the language of Mermaid.

        Returns
        -------
        str
            A flowchart.
        """
        return self.picture().to_mermaid()

    def to_dot(self) -> str:
        """Give it in the language of Graphviz.

        Returns
        -------
        str
            A directed graph.
        """
        return self.picture().to_dot()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return self.picture()._repr_mimebundle_()
