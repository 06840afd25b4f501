"""The words by which a flow is looked at: its drawing, and what its runs have done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..graph.drawn import Drawn
from ..options import Bar
from .counting import NOTHING_YET

if TYPE_CHECKING:
    from typing import Self, TextIO

    from ..graph.nodes import Node
    from ..graph.picture import Picture
    from .counting import FlowStatistics, Ledger
    from .run import Run

VIEWS = ("progress", "watch", "summary")


class Shown(Drawn):
    """What can be seen of a flow."""

    __slots__ = ("_ledger",)

    _flow_root: Node
    _settings: dict[str, Any]
    _ledger: Ledger

    def _with(self, **settings: Any) -> Self:
        raise NotImplementedError

    # ---------------------------------------------------------------- words

    def progress(self, label: str | None = None, *, always: bool = False, file: TextIO | None = None) -> Self:
        """Show a progress bar of the items of the source that are done.

        Parameters
        ----------
        label : str, optional
            What stands beside it; by default ``flow``.
        always : bool
            Whether to write lines now and then where there is no terminal and no notebook, such as in a log.
            Without it nothing is drawn there.
        file : text stream, optional
            Where to draw, by default standard error.

        Returns
        -------
        same kind
            A flow with this word.

        Notes
        -----
        The total is known if the source has a length.  An item is done when all that came of it was taken.
        """
        return self._with(progress=Bar(label, always, file))

    def watch(self, *, file: TextIO | None = None) -> Self:
        """Show a table of all stages while it runs, drawn anew a few times a second; the slowest is marked.

        Parameters
        ----------
        file : text stream, optional
            Where to draw, by default a notebook's cell or standard error.

        Returns
        -------
        same kind
            A flow with this word.

        Notes
        -----
        Where there is no terminal and no notebook: a plain line every five seconds, and one at the end.
        """
        return self._with(watch=Bar(file=file))

    def summary(self, *, file: TextIO | None = None) -> Self:
        """Write the table of all stages when a run has ended, in whatever way.

        Parameters
        ----------
        file : text stream, optional
            Where to write, by default standard error.

        Returns
        -------
        same kind
            A flow with this word.
        """
        return self._with(summary=Bar(file=file))

    # ---------------------------------------------------------------- the drawing

    def picture(self) -> Picture:
        """Draw it.

        Returns
        -------
        Picture
            Shown by a notebook as a drawing, printed as text.
        """
        from .picture import picture_of
        from .words import side_roots

        return picture_of(self._flow_root, side_roots(dict(self._settings)))

    # ---------------------------------------------------------------- its runs

    def statistics(self) -> FlowStatistics:
        """Give what the run that was begun last has done so far.

        Returns
        -------
        FlowStatistics
            Zeros if there was none.  It goes with this very flow: each word, such as `on`, gives another one.

        Notes
        -----
        May be called from any thread, also while the flow runs.  Counting costs something per call and per packet of
        items, nothing per item.
        """
        ledger: Ledger | None = getattr(self, "_ledger", None)
        return NOTHING_YET if ledger is None else ledger.statistics()

    def _see(self, run: Run, wanted: dict[str, Any], source: Any, n_skipped: int = 0) -> Run:
        """Keep what a new run counts, and show what is to be shown of it."""
        object.__setattr__(self, "_ledger", run.ledger)
        if wanted:
            from .views import open_views

            try:
                run.views = open_views(run.ledger, wanted, source, n_skipped)
            except BaseException:
                run.close()
                raise
        return run
