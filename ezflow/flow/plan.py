"""A tree of nodes, made into the operations of one run: plain neighbours become one program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import GraphError
from ..graph.nodes import Chain, Node
from .collect import Collect
from .forks import Back, Copying, Deals, Sorts
from .free import Frees
from .items import Always
from .machine import Output
from .nodes import Collecting, Copies, Deal, Limited, Living, Plain, Routes, Rows, Source, targets_of
from .parse import wrong
from .piece import ALONE
from .program import COPY, MAP, NEXT, ROUTE, ROW, SPLIT, UNBATCH
from .streams import Streams
from .work import Work

if TYPE_CHECKING:
    from typing import TypeGuard

    from ..options import Options
    from .forks import Fork
    from .machine import Machine
    from .packet import Operation
    from .program import Program, Step

Path = tuple[str, ...]

MOST_AT_ONCE = 100
"""Coroutines of one stage, without `As`.  Larger: more sockets and files are open; smaller: less is waited for (chosen)."""


def source_of(root: Node) -> tuple[Any, Node | None]:
    """Give the source that a flow has of its own, and what is behind it."""
    if isinstance(root, Source):
        return root.origin, None
    if isinstance(root, Chain) and isinstance(root.parts[0], Source):
        rest = root.parts[1:]
        return root.parts[0].origin, rest[0] if len(rest) == 1 else Chain(rest)
    return None, root


def build(machine: Machine, root: Node | None, n_first: int = 1, path: Path = ()) -> None:
    """Make the operations of a run; `n_first`: the number of the first stage, which is 2 behind a source."""
    output: Operation = Output(machine)
    if root is not None:
        machine.first = _Builder(machine).chain(_parts(root), output, path, n_first, in_branch=False)
        machine.works.reverse()  # they were made from the end
    else:
        machine.first = output


def _parts(node: Node) -> tuple[Node, ...]:
    return node.parts if isinstance(node, Chain) else (node,)


def is_by_item(node: Node, *, at_head: bool = False) -> bool:
    """Tell whether a stage can be part of a program; a split only at its head, where positions are known."""
    if isinstance(node, Plain):
        return not len(node.options)
    if isinstance(node, Chain):
        return all(is_by_item(part, at_head=at_head and not i) for i, part in enumerate(node.parts))
    if isinstance(node, Deal):
        if not at_head or node.is_free or replicas(node) is not None:
            return False
        return all(is_by_item(part, at_head=True) for part in node.parts)
    return isinstance(node, Copies | Rows | Routes) and all(is_by_item(part) for part in node.parts)


def replicas(node: Node) -> Limited | None:
    """Give what a tuple of one function, several times, means: at most so many calls of it at once."""
    if not isinstance(node, Deal) or node.weights or node.is_free or len(node.parts) == 1:
        return None
    first = node.parts[0]
    if not is_function(first) or not all(is_function(part) and part.fn is first.fn for part in node.parts):
        return None
    return Limited((first,), len(node.parts))


def is_function(node: Node) -> TypeGuard[Plain]:
    """Tell whether a stage is a function without words of its own."""
    return isinstance(node, Plain) and node.kind == MAP and not len(node.options)


class _Builder:
    """Makes operations from the end to the beginning, because each knows the next."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def chain(
        self, parts: tuple[Node, ...], after: Operation, path: Path, n_first: int = 1, *, in_branch: bool
    ) -> Operation:
        """Make the operations of a chain; give the first."""
        numbered = [(part, (*path, str(i))) for i, part in enumerate(parts, n_first)]
        flat: list[tuple[Node, Path]] = []
        while numbered:  # chains in chains come of `Seq` and of flows in flows
            part, place = numbered.pop(0)
            if isinstance(part, Chain):
                numbered[:0] = [(one, (*place, str(i))) for i, one in enumerate(part.parts, 1)]
            else:
                flat.append((part, place))
        groups: list[list[tuple[Node, Path]]] = []
        is_open = False
        for part, place in flat:
            if is_open and is_by_item(part) and not self.machine.settings.is_async:
                groups[-1].append((part, place))
            else:
                groups.append([(part, place)])
                is_open = is_by_item(part, at_head=True)
        for group in reversed(groups):
            after = self.group(group, after, in_branch=in_branch)
        return after

    def own(self, work: Work, options: Options, *, in_branch: bool) -> Work:
        """Give a stage what its options say."""
        if "max_pending" in options:
            if in_branch:
                raise GraphError(
                    f"stage {work.note} says .max_pending(...) in a branch, which has no source of its own to stop:"
                    " write it on a stage before or behind the branches, or on the flow."
                )
            work.max_pending = options.get("max_pending")
            work.n_behind = len(self.machine.collects)  # they are made from the end
        work.alone = any(name in options for name in ALONE)
        if len(options):
            work.extra = options
            keep_failures(work, options)
        on = options.get("on", "async" if self.machine.settings.is_async else None)
        if on == "async":
            if self.machine.settings.is_inline:
                return work
            steps = [one for one in work.program if one[0] != NEXT]
            if len(steps) != 1:
                raise GraphError(
                    f"As(...).on('async') takes one function: stage {work.note} has {len(steps)}."
                )
            if "timeout" in options or "within" in options or "retry" in options or "priority" in options:
                raise GraphError(
                    f"stage {work.note} runs on 'async', where ezflow keeps no limits and repeats nothing:"
                    " use asyncio.timeout inside of the function, or run it on a pool."
                )
            work.is_async = True
            work.most = 1  # a packet of several would wait for its slowest
            work.limit = MOST_AT_ONCE if work.limit is None else work.limit
            self.machine.settings.n_packets = max(self.machine.settings.n_packets, work.limit)
        return work

    def group(self, group: list[tuple[Node, Path]], after: Operation, *, in_branch: bool) -> Operation:
        """Make the operation of some neighbours: a program, or a single stage of another kind."""
        node, path = group[0]
        node = replicas(node) or node
        machine = self.machine
        is_light = isinstance(node, Plain) and node.kind == UNBATCH
        if is_by_item(node, at_head=True) and (is_light or not machine.settings.is_async):
            program = tuple(step(part, place) for part, place in group)
            is_light = all(kind == UNBATCH for kind, _, _ in program)
            note = program[0][2] if len(program) == 1 else f"{program[0][2]} to {program[-1][2]}"
            sees_order = isinstance(node, Deal)
            program += end_before(after)
            return Work(machine, after, program, note, sees_order=sees_order, is_light=is_light)
        note = note_of(path, node)
        end = end_before(after)
        if isinstance(node, Plain):
            if "stream" not in node.options:
                return self.own(
                    Work(machine, after, (step(node, path), *end), note), node.options, in_branch=in_branch
                )
            if node.options.get("retry") or node.options.get("results"):
                raise wrong(
                    path, ".stream() stands with retry or results", "Its outputs have left when it fails."
                )
            streams = Streams(machine, after, (step(node, path), *end), note)
            self.own(streams, node.options, in_branch=in_branch)
            streams.alone = True
            return streams
        if isinstance(node, Limited):
            (part,) = node.parts
            options = node.options
            if isinstance(part, Plain):
                options = part.options.under(options)
                if "stream" in options:
                    raise wrong(
                        path,
                        "As holds a stage with .stream(), which works on one item after another",
                        "Leave As or .stream() out.",
                    )
            elif not is_by_item(part):
                raise wrong(path, "As holds a stage that is more than functions of one item", "Split it.")
            steps = tuple(step(one, (*path, str(i))) for i, one in enumerate(_parts(part), 1))
            return self.own(
                Work(machine, after, steps + end, note, limit=node.n), options, in_branch=in_branch
            )
        if isinstance(node, Living):
            program = (MAP, node.stage, note), *end
            work = Work(machine, after, program, note, sees_order=True, limit=node.n)
            self.own(work, node.options, in_branch=in_branch)
            work.extra = node
            return work
        if isinstance(node, Collecting):
            collector = node.make(*node.args)
            return Collect(machine, after, collector, note, in_branch=in_branch, max_wait=node.max_wait)
        fork: Fork
        if isinstance(node, Deal):
            fork = (
                Frees(machine, after, note) if node.is_free else Deals(machine, after, note, table_of(node))
            )
            fork.targets = targets_of(node)
        elif isinstance(node, Copies | Rows):
            fork = Copying(machine, after, note, is_row=isinstance(node, Rows))
            if isinstance(node, Rows):
                refuse_collecting(node, path)
        elif isinstance(node, Routes):
            default = len(node.keys) if len(node.parts) > len(node.keys) else None
            fork = Sorts(machine, after, note, node.key, {key: i for i, key in enumerate(node.keys)}, default)
        else:
            raise wrong(path, f"{type(node).__name__} is not known here", "This is a bug of ezflow.")
        if any(map(gives_early, node.parts)):
            fork.join_early(len(node.parts))
        rooms: list[Work | None] = []
        for i, part in reversed(list(enumerate(node.parts))):
            back = Back(machine, fork, i)
            n_works = len(machine.works)
            first = self.chain(_parts(part), back, (*path, str(i + 1)), in_branch=True)
            fork.branches.insert(0, first)
            rooms.insert(0, min(machine.works[n_works:], key=room_of, default=None))
        if isinstance(fork, Frees):
            fork.open(rooms)
        return fork


def room_of(work: Work) -> int:
    """Give how many calls of a work may be under way, for the narrowest of a branch."""
    return work.machine.settings.n_workers if work.limit is None else work.limit


def end_before(after: Operation | None) -> Program:
    """Give what ends a program whose outputs may say where they go, because branches come next."""
    targets = None if after is None else after.targets
    return () if targets is None else ((NEXT, targets, ""),)


def keep_failures(work: Work, options: Options) -> None:
    """Let a stage keep what it says of its failures, whatever the flow does with others."""
    if options.get("catch") is not None:
        work.keep, work.handler = True, options.get("catch")
    elif "otherwise" in options:
        work.keep, work.handler = True, Always(options.get("otherwise"))
    elif options.get("results"):
        work.keep, work.handler, work.is_enveloped = True, None, True


def step(node: Node, path: Path) -> Step:
    """Make a step of a program."""
    note = note_of(path, node)
    if isinstance(node, Plain):
        return node.kind, node.fn, note
    programs = tuple(
        (*(step(one, (*path, str(i), str(j))) for j, one in enumerate(_parts(part), 1)), (NEXT, None, ""))
        for i, part in enumerate(node.parts, 1)
    )
    if isinstance(node, Deal):
        table = table_of(node)
        shares = tuple(table.count(i) for i in range(len(programs)))
        return SPLIT, (table, programs, shares, targets_of(node)), note
    if isinstance(node, Routes):
        default = programs[-1] if len(programs) > len(node.keys) else None
        return ROUTE, (node.key, dict(zip(node.keys, programs, strict=False)), default), note
    if isinstance(node, Chain):  # a flow inside of a flow, kept whole
        steps = *(step(one, (*path, str(i))) for i, one in enumerate(node.parts, 1)), (NEXT, None, "")
        return COPY, (steps,), note
    return (COPY if isinstance(node, Copies) else ROW), programs, note


def table_of(node: Deal) -> tuple[int, ...]:
    """Give the branches of one round: each as often as its weight says, spread evenly."""
    weights = node.weights or (1,) * len(node.parts)
    total = sum(weights)
    standing = [0] * len(weights)
    table = []
    for _ in range(total):
        for i, weight in enumerate(weights):
            standing[i] += weight
        best = max(range(len(weights)), key=lambda i: (standing[i], -i))
        standing[best] -= total
        table.append(best)
    return tuple(table)


def gives_early(node: Node) -> bool:
    """Tell whether outputs of a branch may leave before the packet of their items."""
    return (
        (isinstance(node, Collecting) and node.max_wait is not None)
        or (isinstance(node, Plain) and "stream" in node.options)
        or any(map(gives_early, node.parts))
    )


def refuse_collecting(node: Node, path: Path) -> None:
    """Complain of stages in a row whose outputs belong to several items."""
    todo: list[Node] = list(node.parts)
    for part in todo:
        if isinstance(part, Plain) and "stream" in part.options:
            raise wrong(
                path,
                f"{part.name} streams in a branch of Zip, whose rows have one output per branch",
                "Put it before or behind Zip.",
            )
        if isinstance(part, Collecting) and part.name.startswith(("Batch", "Rebatch", "Window")):
            raise wrong(
                path,
                f"{part.name} stands in a branch of Zip, whose rows have one output per branch",
                "Put it before or behind Zip.",
            )
        todo.extend(part.parts)


def note_of(path: Path, node: Node) -> str:
    """Name a stage in errors."""
    name = getattr(node, "name", "") or {
        "Deal": "tuple",
        "Copies": "set",
        "Rows": "Zip",
        "Routes": "Route",
        "Limited": "As",
        "Chain": "list",
    }.get(type(node).__name__, type(node).__name__)
    if isinstance(node, Limited):
        inner = node.parts[0]
        name = f"As({node.n}, {getattr(inner, 'name', '') or 'list'})"
    return f"{'/'.join(path)} ({name})"
