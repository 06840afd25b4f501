"""The future of a run, and of its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ..future import Future
from . import wording
from .plan import Step
from .run import CANCELLED, DONE, FAILED, PENDING, SUBMITTED, Run

if TYPE_CHECKING:
    from .graph import Graph
    from .picture import Picture
    from .whole import Attempts

T = TypeVar("T")


class GraphFuture(Future[T]):
    """The pending result of a graph: a `Future` that also shows its parts.

    Attributes
    ----------
    graph : Graph
        What runs.

    Notes
    -----
    `cancel` cancels the whole run: what has not started never does, what runs is stopped.
    It fails as soon as its result cannot be computed, with the error of the stage that failed and a note that names it;
    other branches go on and stay readable.
    """

    graph: Graph[..., Any]
    _run: Run | Attempts | None = None

    def __init__(self, graph: Graph[..., Any], desk: Any) -> None:
        super().__init__()
        self.graph = graph
        self._desk = desk

    # ---------------------------------------------------------------- the whole

    def cancel(self) -> bool:
        """Cancel the whole run.

        Returns
        -------
        bool
            Whether it is now cancelled; False if it has ended.
        """
        self._drop_here()
        if self.cancelled():
            self._cancel_rest()
            return True
        return False

    def running(self) -> bool:
        """Tell whether the run has begun and not ended.

        Returns
        -------
        bool
            Whether a stage has ended or is with a worker.
        """
        run = self._present()
        return not self.done() and run is not None and (bool(run.times) or bool(run.legs))

    def _cancel_rest(self) -> None:
        """Cancel what still runs of it, whether it has a result or not."""
        if self._run is not None:
            self._run.cancel()

    def _present(self) -> Run | None:
        """Give the run that is on."""
        run = self._run
        return run if run is None or isinstance(run, Run) else run.run

    # ---------------------------------------------------------------- its parts

    def __getitem__(self, name: str) -> Future[Any]:
        """Give the future of a part.

        Parameters
        ----------
        name : str
            Name of a stage or branch, if it is the only one, or path, such as ``"2/mean"``.

        Returns
        -------
        Future
            Its result; cancelling it cancels the part and what depends on it.

        Raises
        ------
        KeyError
            If there is no such part, or several; or if the stage was fused into the call that the message names.
        """
        run = self._present()
        if run is None:
            raise wording.no_part(name, ())
        part = _find(run, name)
        slot, step = part
        future = _PartFuture(run, step)
        future._desk = self._desk
        run.watch(slot, future)
        return future

    def partial(self) -> dict[str, Any]:
        """Give what there is by now.

        Returns
        -------
        dict
            Values of the parts that have one, by path.

        Notes
        -----
        Never waits; opens values, which may run user code.
        """
        run = self._present()
        found = {}
        for path, slot in () if run is None else list(run.plan.parts.items()):
            if isinstance(slot, Step):
                continue
            handle = run.slots[slot] if run is not None else None
            if handle is not None and not handle.failed:
                value, error = handle.open()
                if error is None:
                    found[path] = value
        return found

    def states(self) -> dict[str, str]:
        """Tell how far each part is.

        Returns
        -------
        dict of str to str
            ``"pending"``, ``"submitted"``, ``"done"``, ``"failed"`` or ``"cancelled"``, by path.
        """
        run = self._present()
        if run is None:
            return {}
        found = {}
        for path, slot in run.plan.parts.items():
            step = slot if isinstance(slot, Step) else run.plan.makers[slot]
            found[path] = DONE if step is None else run.states[step.index]
        return found

    def picture(self) -> Picture:
        """Draw the graph, coloured by how far each part is.

        Returns
        -------
        Picture
            Shown by a notebook as a drawing, printed as text.
        """
        from .picture import picture_of_run

        return picture_of_run(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return self.picture()._repr_mimebundle_()


class _PartFuture(Future[Any]):
    """The pending result of one part of a run."""

    def __init__(self, run: Run, step: Step | None) -> None:
        super().__init__()
        self._part = run, step

    def cancel(self) -> bool:
        """Cancel the part, and what depends on it.

        Returns
        -------
        bool
            Whether it is now cancelled.
        """
        run, step = self._part
        self._drop_here()
        if self.cancelled():
            if step is not None:
                run.cancel_part(step)
            return True
        return False

    def running(self) -> bool:
        """Tell whether it is with a worker.

        Returns
        -------
        bool
            Whether it was submitted and has not ended.
        """
        run, step = self._part
        return step is not None and not self.done() and run.states[step.index] == SUBMITTED


def _find(run: Run, name: str) -> tuple[int, Step | None]:
    """Find the slot of a part, and the step that fills it."""
    parts, names = run.plan.parts, run.plan.names
    path = name
    if name not in parts:
        paths = names.get(name, [])
        if not paths:
            raise wording.no_part(name, parts)
        if len(paths) > 1:
            raise wording.many_parts(name, paths)
        (path,) = paths
    slot = parts[path]
    if isinstance(slot, Step):
        last = min((key for key, one in parts.items() if one == slot.outs[0]), key=len, default=slot.path)
        raise wording.fused_part(name, slot.label, last)
    return slot, run.plan.makers[slot]


STATES = (PENDING, SUBMITTED, DONE, FAILED, CANCELLED)
