"""The future of a run, and of its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ..future import Future
from . import wording
from .handles import note_stage
from .plan import CALL, Plan, Step
from .run import CANCELLED, DONE, FAILED, SUBMITTED, Run

if TYPE_CHECKING:
    from .graph import Graph
    from .picture import Picture
    from .whole import Attempts

T = TypeVar("T")


class GraphFuture(Future[T]):
    """The pending result of a graph: a `Future` that also shows its parts.

    Parameters
    ----------
    graph : Graph
        What runs.
    desk : object
        Whom it turns to, as a future turns to its pool.

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
    _step: Step | None = None
    """The only step of a graph that is one call, and needs no run."""

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
        if self._step is not None:
            return super().cancel()
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
        if self._step is not None:
            return super().running()
        run = self._present()
        return not self.done() and run is not None and (bool(run.times) or bool(run.legs))

    def _cancel_rest(self) -> None:
        """Cancel what still runs of it, whether it has a result or not."""
        if self._step is not None:
            super().cancel()
        elif self._run is not None:
            self._run.cancel()

    def _open(self) -> None:
        super()._open()
        if self._exception is None:
            return
        if self._step is not None:
            note_stage(self._exception, self._step.note)
            return
        run = self._present()
        maker = None if run is None else run.plan.makers[run.plan.result]
        if run is not None and maker is not None:
            _note_unreadable(run, maker)

    def _plan(self) -> Plan | None:
        """Give the plan that is carried out."""
        run = self._present()
        if run is not None:
            return run.plan
        for plan in self.graph._plans.values() if self._step is not None else ():
            if isinstance(plan, Plan) and self._step in plan.steps:
                return plan
        return None

    def _state_of(self, step: Step | None) -> str:
        """Tell how far a step is."""
        run = self._present()
        if step is None:
            return DONE
        if run is not None:
            return run.states[step.index]
        if self.cancelled():
            return CANCELLED
        if not self.done():
            return SUBMITTED
        if self._sealed is not None:
            return FAILED if self._sealed.failed else DONE
        return FAILED if self._exception is not None else DONE

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
        run, plan = self._present(), self._plan()
        if plan is None:
            raise wording.no_part(name, ())
        slot, step = _find(plan, name)
        if run is None:
            return self
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
        run, plan = self._present(), self._plan()
        found: dict[str, Any] = {}
        for path, slot in () if plan is None else list(plan.parts.items()):
            if isinstance(slot, Step):
                continue
            if run is None:
                if self._state_of(self._step) == DONE and self.exception() is None:
                    value: Any = self.result()
                    found[path] = value.ok if self._is_enveloped else value
                continue
            handle = run.slots[slot]
            if handle is not None and not handle.failed:
                opened, error = handle.open()
                if error is None:
                    found[path] = opened
        return found

    def states(self) -> dict[str, str]:
        """Tell how far each part is.

        Returns
        -------
        dict of str to str
            ``"pending"``, ``"submitted"``, ``"done"``, ``"failed"`` or ``"cancelled"``, by path.
        """
        plan = self._plan()
        found = {}
        for path, slot in () if plan is None else plan.parts.items():
            assert plan is not None
            found[path] = self._state_of(slot if isinstance(slot, Step) else plan.makers[slot])
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

    def _open(self) -> None:
        super()._open()
        run, step = self._part
        if self._exception is not None and step is not None:
            note_stage(self._exception, step.note)
            _note_unreadable(run, step)

    def running(self) -> bool:
        """Tell whether it is with a worker.

        Returns
        -------
        bool
            Whether it was submitted and has not ended.
        """
        run, step = self._part
        return step is not None and not self.done() and run.states[step.index] == SUBMITTED


def _note_unreadable(run: Run, step: Step) -> None:
    """Note that what a step gave could not be opened, so that it looks like the failure that it is."""
    if run.states[step.index] == DONE and step.kind == CALL:
        run.states[step.index] = FAILED


def _find(plan: Plan, name: str) -> tuple[int, Step | None]:
    """Find the slot of a part, and the step that fills it."""
    parts, names = plan.parts, plan.names
    path = name
    if name not in parts:
        paths = list(dict.fromkeys(names.get(name, ())))
        if not paths:
            raise wording.no_part(name, parts)
        if len(paths) > 1:
            raise wording.many_parts(name, paths)
        (path,) = paths
    slot = parts[path]
    if isinstance(slot, Step):
        last = min((key for key, one in parts.items() if one == slot.outs[0]), key=len, default=slot.path)
        raise wording.fused_part(name, slot.label, last)
    return slot, plan.makers[slot]
