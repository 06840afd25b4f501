"""A tree, made flat for one shape of call: slots, and steps that fill slots from slots."""

from __future__ import annotations

import sys
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any

from .._wire.where import by_value_modules, is_importable
from ..errors import GraphError
from . import wording
from .check import label
from .nodes import Call, Chain, Copy, Each, Node, Same, Split, Whole, is_only_named, text, walk

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Final

    from ..options import Options
    from .wording import Path

CALL: Final = "call"
UNPACK: Final = "unpack"
TUPLE: Final = "tuple"
DICT: Final = "dict"
EACH: Final = "each"
WHOLE: Final = "whole"

_HARMLESS: Final = frozenset({"named", "star"})
"""Options of a stage that leave it a plain one, to be fused."""


class Step:
    """One thing to do when its slots are filled.

    Attributes
    ----------
    args, names : tuple
        Slots of positional arguments; names and slots of keyword arguments.
    outs : tuple of int
        Slots that it fills: one, or as many as it unpacks.
    calls : list of tuple
        Mode, function and note of each function that the call runs, one after the other.
    height : int
        Calls on the longest way from here to the result.
    """

    __slots__ = (
        "args",
        "calls",
        "given",
        "height",
        "index",
        "is_bare",
        "kind",
        "label",
        "names",
        "node",
        "note",
        "on",
        "options",
        "outs",
        "packed",
        "path",
        "plans",
        "slots",
        "treats_end",
    )

    def __init__(
        self, kind: str, args: tuple[int, ...], names: tuple[tuple[str, int], ...], path: str, label_: str
    ) -> None:
        self.kind = kind
        self.args = args
        self.names = names
        self.path = path
        self.label = label_
        self.note = wording.stage_note(path, label_)
        self.outs: tuple[int, ...] = ()
        self.calls: list[tuple[str, Any, str]] = []
        self.options: Options | None = None
        self.node: Node | None = None
        self.plans: dict[Any, Plan] = {}  # of the graph inside
        self.packed: Any = None  # what a lane keeps here
        self.given = "call"  # what a graph inside gets: a call, one result, many, or names
        self.is_bare = False  # nothing but importable functions
        self.on: Any = None  # an executor of its own
        self.treats_end = False  # it has options for how its end goes on
        self.height = 0
        self.index = 0
        self.slots: tuple[int, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it may be one call with its neighbour."""
        return self.kind == CALL and (
            self.options is None or all(name in _HARMLESS for name, _ in self.options)
        )


class Plan:
    """What a run does, for one shape of call.

    Attributes
    ----------
    inputs : tuple
        Number of positional arguments, and names of keyword arguments: the first slots.
    steps : list of Step
        Each after those that fill its slots.
    users : list of list of Step
        By slot: who waits for it, longest way first.
    result : int
        The slot of the result.
    parts : dict
        By path: the slot of a part of the run; of a stage that was fused, the step that it is in.
    """

    def __init__(self, n_args: int, keywords: tuple[str, ...]) -> None:
        self.inputs = n_args, keywords
        self.n_inputs = self.n_slots = n_args + len(keywords)
        self.steps: list[Step] = []
        self.result = 0
        self.parts: dict[str, int | Step] = {}
        self.names: dict[str, list[str]] = {}
        self.users: list[list[Step]] = []
        self.makers: list[Step | None] = []
        self.first: list[Step] = []
        self.waits: list[int] = []  # by step: slots that no input fills
        self.left: list[int] = []  # by slot: who needs it
        self.late: list[int] = []  # inputs that a later step takes

    def finish(self, *, fuse: bool) -> Plan:
        """Fuse, and note who waits for whom."""
        self._note_users()
        if fuse and _fuse(self):
            self._note_users()
        for step in self.steps:
            options = step.options
            if options is not None:
                step.on = options.get("on")
                step.treats_end = any(name in options for name in ("results", "otherwise", "catch"))
            step.is_bare = (
                step.kind == CALL and step.on is None and all(is_by_name(fn) for _, fn, _ in step.calls)
            )
        for step in reversed(self.steps):
            ways = [user.height for out in step.outs for user in self.users[out]]
            step.height = max(ways, default=0) + (step.kind in (CALL, EACH, WHOLE))
        for users in self.users:
            users.sort(key=by_height, reverse=True)
        self.first = sorted(
            (step for step in self.steps if all(slot < self.n_inputs for slot in step.slots)), key=by_height
        )
        first = {step.index for step in self.first}
        self.late = [
            slot for slot in range(self.n_inputs) if any(user.index not in first for user in self.users[slot])
        ]
        self.waits = [sum(slot >= self.n_inputs for slot in step.slots) for step in self.steps]
        self.left = list(map(len, self.users))
        return self

    def only_step(self) -> Step | None:
        """Give the step of a plan that is one call of just its inputs."""
        if len(self.steps) != 1:
            return None
        (step,) = self.steps
        n_args, keywords = self.inputs
        names = tuple((name, n_args + i) for i, name in enumerate(keywords))
        is_whole = step.args == tuple(range(n_args)) and step.names == names and step.outs == (self.result,)
        return step if step.kind == CALL and is_whole and step.on is None and not step.treats_end else None

    def _note_users(self) -> None:
        self.users = [[] for _ in range(self.n_slots)]
        self.makers = [None] * self.n_slots
        for i, step in enumerate(self.steps):
            step.index = i
            step.slots = tuple(dict.fromkeys((*step.args, *(slot for _, slot in step.names))))
            for slot in step.slots:
                self.users[slot].append(step)
            for slot in step.outs:
                self.makers[slot] = step


def is_by_name(fn: Any) -> bool:
    """Tell whether a function is one that a worker imports by its name."""
    if type(fn) not in (FunctionType, BuiltinFunctionType, type) or by_value_modules():
        return False
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    home = sys.modules.get(module) if isinstance(module, str) else None
    if (
        home is None
        or not isinstance(module, str)
        or not isinstance(name, str)
        or not is_importable(module, home)
    ):
        return False
    return home.__dict__.get(name) is fn


def by_height(step: Step) -> tuple[int, int]:
    """Give what orders steps: the most urgent is the highest, and of several the first."""
    return step.height, -step.index


class _Planner:
    """Adds steps to a plan; what flows is ``("one", slot)``, ``("many", slots)``, ``("names", {name: slot})`` or a call."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def slot(self) -> int:
        self.plan.n_slots += 1
        return self.plan.n_slots - 1

    def step(self, kind: str, flow: Any, path: Path, name: str, n_outs: int = 1) -> Step:
        args, names = self.arguments(flow)
        step = Step(kind, args, names, "/".join(path), name)
        step.outs = tuple(self.slot() for _ in range(n_outs))
        self.plan.steps.append(step)
        return step

    @staticmethod
    def arguments(flow: Any) -> tuple[tuple[int, ...], tuple[tuple[str, int], ...]]:
        kind, what = flow
        if kind == "one":
            return (what,), ()
        if kind == "many":
            return what, ()
        if kind == "names":
            return (), tuple(what.items())
        args, keywords = what
        return args, tuple(keywords.items())

    def enter(self, node: Node, flow: Any, path: Path) -> Generator[Any, Any, Any]:
        """Plan the stages of a graph; its root counts as a chain."""
        parts = node.parts if isinstance(node, Chain) else (node,)
        for i, part in enumerate(parts, 1):
            flow = yield self.visit(part, flow, (*path, str(i)))
        return flow

    def branch(self, node: Node, flow: Any, path: Path) -> Generator[Any, Any, int]:
        """Plan a branch; give the slot of its one result."""
        if isinstance(node, Chain):
            flow = yield self.enter(node, flow, path)
        else:
            flow = yield self.visit(node, flow, path)
        slot = self.one(flow, path)
        self.note_part(path, slot)
        return slot

    def one(self, flow: Any, path: Path) -> int:
        """Make one result of what flows."""
        kind, what = flow
        if kind == "one":
            return int(what)
        if kind == "call":
            args, keywords = what
            if args and keywords:
                raise wording.wrong_call_of_same()
            flow = ("names", keywords) if keywords else ("many", args)
        return self.step(DICT if flow[0] == "names" else TUPLE, flow, path, "").outs[0]

    def note_part(self, path: Path, slot: int) -> None:
        parts, key = self.plan.parts, "/".join(path)
        if key not in parts:
            parts[key] = slot
            if not path[-1].isdecimal():
                self.plan.names.setdefault(path[-1], []).append(key)

    def visit(self, node: Node, flow: Any, path: Path) -> Generator[Any, Any, Any]:
        """Plan one node; give what flows out of it."""
        if isinstance(node, Same):
            kind, what = flow
            if kind == "call" and len(what[0]) == 1 and not what[1]:
                flow = "one", what[0][0]
            elif kind == "call" and not what[1]:
                flow = "many", what[0]
            return flow
        if isinstance(node, Call):
            name = label(node)
            step = self.step(CALL, flow, path, name)
            mode = "star" if node.options.get("star") else node.mode
            step.calls = [(mode, node.fn, step.note)]
            step.options = node.options
            self.stage(step, path, name)
            return "one", step.outs[0]
        if isinstance(node, Chain):
            return (yield self.enter(node, flow, path))
        if isinstance(node, Whole) and is_only_named(node):
            flow = yield self.enter(node.parts[0], flow, path)
            if flow[0] == "one":
                self.note_part(path, flow[1])
                self.plan.names.setdefault(label(node), []).append("/".join(path))
            return flow
        if isinstance(node, Each | Whole):
            name = label(node)
            step = self.step(EACH if isinstance(node, Each) else WHOLE, flow, path, name)
            step.node = node.parts[0]
            step.given = flow[0]
            step.options = node.options if isinstance(node, Whole) else None
            self.stage(step, path, name)
            return "one", step.outs[0]
        if isinstance(node, Split):
            slots = self.deal(node, flow, path)
            results = []
            for i, (part, slot) in enumerate(zip(node.parts, slots, strict=True), 1):
                results.append((yield self.branch(part, ("one", slot), (*path, str(i)))))
            return "many", tuple(results)
        if isinstance(node, Copy):
            found = {}
            for name, part in zip(node.labels, node.parts, strict=True):
                found[name] = yield self.branch(part, flow, (*path, name))
            return "names", found
        results = []
        for i, part in enumerate(node.parts, 1):
            results.append((yield self.branch(part, flow, (*path, str(i)))))
        return "many", tuple(results)

    def deal(self, node: Split, flow: Any, path: Path) -> tuple[int, ...]:
        """Give the slot of each branch's argument."""
        n = len(node.parts)
        kind, what = flow
        if kind == "one":
            return self.step(UNPACK, flow, path, text(node, 8), n).outs
        if kind == "call":
            args, keywords = what
            if keywords or len(args) != n:
                raise wording.wrong_call(n, len(args), keywords)
            return tuple(args)
        if kind == "names":
            raise GraphError(str(wording.names_without_position(path, "what comes before gives its results")))
        if len(what) != n:
            raise wording.wrong_call(n, len(what), ())
        return tuple(what)

    def stage(self, step: Step, path: Path, name: str) -> None:
        """Note a stage under its path and its name."""
        self.note_part(path, step.outs[0])
        if name != path[-1] and name.isidentifier():
            self.plan.names.setdefault(name, []).append("/".join(path))


def plan(
    root: Node, n_args: int, keywords: tuple[str, ...], *, fuse: bool, path: Path = (), given: str = "call"
) -> Plan:
    """Plan a graph for calls of one shape, or for what other stages give: ``"one"`` result, ``"many"``, ``"names"``."""
    made = Plan(n_args, keywords)
    planner = _Planner(made)
    args = tuple(range(n_args))
    flow: Any = "call", (args, {name: n_args + i for i, name in enumerate(keywords)})
    if given == "one":
        flow = "one", 0
    elif given == "many":
        flow = "many", args
    flow = walk(planner.enter(root, flow, path))
    made.result = planner.one(flow, path or ("1",))
    return made.finish(fuse=fuse)


def _fuse(made: Plan) -> bool:
    """Merge each plain step into the plain step that feeds it alone; say whether there were any."""
    tails: dict[int, Step] = {}  # slot → step that fills it
    kept: list[Step] = []
    inside: dict[int, Step] = {}  # slot that is not filled any more → the step that passes it on
    for step in made.steps:
        if step.is_plain:
            feeder = tails.get(step.args[0]) if len(step.args) == 1 and not step.names else None
            if feeder is not None and len(made.users[step.args[0]]) == 1 and made.result != step.args[0]:
                inside[step.args[0]] = feeder
                feeder.calls.extend(step.calls)
                feeder.outs = step.outs
                tails[step.outs[0]] = feeder
                continue
            tails[step.outs[0]] = step
        kept.append(step)
    if not inside:
        return False
    made.steps = kept
    for step in kept:
        if len(step.calls) > 1:
            labels = [note.partition(" (")[2][:-1] for _, _, note in step.calls]
            step.label = " → ".join(labels) if len(labels) <= 6 else f"{labels[0]} → … → {labels[-1]}"
            last = step.calls[-1][2].partition(" stage ")[2].partition(" (")[0]
            step.note = wording.stage_note(f"{step.path} to {last}", step.label)
            step.options = None  # a label of its own, at most
    for key, slot in made.parts.items():
        if isinstance(slot, int) and slot in inside:
            made.parts[key] = inside[slot]
    return True
