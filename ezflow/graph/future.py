"""The future of a run, and of its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ..future import Future
from . import wording
from .handles import note_stage
from .plan import CALL, Plan, Step
from .run import CANCELLED, DONE, FAILED, SUBMITTED, Run

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    def _state_of(self, step: Step | None, run: Run | None = None) -> str:
        """Tell how far a step of a run is."""
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
        runs = [] if run is None else list(run.with_inner())
        plans = [one.plan for one in runs] or ([] if plan is None else [plan])
        found, slot, step = _find(plans, name)
        if run is None:
            return self
        run = runs[plans.index(found)]
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
        if run is None:
            if self._state_of(self._step) == DONE and self.exception() is None:
                value: Any = self.result()
                value = value.ok if self._is_enveloped else value
                slots = {} if plan is None else plan.parts
                found.update((path, value) for path, slot in slots.items() if not isinstance(slot, Step))
            return found
        for one in run.with_inner():
            for path, slot in one.plan.parts.items():
                handle = None if isinstance(slot, Step) else one.slots[slot]
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
        return {path: self._state_of(step, run) for path, (run, step) in self._makers().items()}

    def _makers(self) -> dict[str, tuple[Run | None, Step | None]]:
        """Give the run and the step that each part comes from, by path."""
        run, plan = self._present(), self._plan()
        runs: list[Run | None] = [None] if run is None else list(run.with_inner())
        found: dict[str, tuple[Run | None, Step | None]] = {}
        for one in runs:
            here = plan if one is None else one.plan
            for path, slot in () if here is None else here.parts.items():
                assert here is not None
                found[path] = one, slot if isinstance(slot, Step) else here.makers[slot]
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


def _find(plans: Sequence[Plan], name: str) -> tuple[Plan, int, Step | None]:
    """Find a part: the plan that has it, its slot, and the step that fills that."""
    paths = [name]
    if not any(name in plan.parts for plan in plans):
        paths = list(dict.fromkeys(path for plan in plans for path in plan.names.get(name, ())))
    if not paths:
        raise wording.no_part(name, (path for plan in plans for path in plan.parts))
    if len(paths) > 1:
        raise wording.many_parts(name, paths)
    (path,) = paths
    plan = next(plan for plan in plans if path in plan.parts)
    slot = plan.parts[path]
    if isinstance(slot, Step):
        last = min(
            (key for key, one in plan.parts.items() if one == slot.outs[0]), key=len, default=slot.path
        )
        raise wording.fused_part(name, slot.label, last)
    return plan, slot, plan.makers[slot]
