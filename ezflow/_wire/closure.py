"""A set of needs, complete: all that a worker must have been told before a call."""

from __future__ import annotations

import sys
from array import array
from operator import is_, itemgetter

from . import workspace
from .mirror import ABSENT, LOOSE, Entry
from .watch import Watch

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from typing import Any

    from .mirror import Slot

_modules = sys.modules


class Closure:
    """A set of needs, complete: what is sent before a call that has them.

    Checked at each call, hence the care: the values of all names are compared in C.
    """

    __slots__ = ("_absent", "_counts", "_names", "_uncertain", "_watch", "definitions", "head")

    def __init__(self, entries: tuple[Entry, ...], slots: tuple[Slot, ...]) -> None:
        self._counts = {n for n in (*[e.n_modules for e in entries], *[s.n_modules for s in slots]) if n}
        self._uncertain = tuple([entry for entry in entries if entry.loose])
        present: dict[int, tuple[dict[str, Any], list[Entry]]] = {}
        absent: dict[int, tuple[dict[str, Any], set[str]]] = {}
        item: Entry | Slot
        items: list[Entry | Slot] = [*entries, *slots]
        for item in items:
            if item.mirror is None:
                continue
            space = item.mirror.globals
            if item.absent:
                absent.setdefault(id(space), (space, set()))[1].update(item.absent)
            if not isinstance(item, Entry):
                continue
            if item.value is ABSENT:
                absent.setdefault(id(space), (space, set()))[1].add(item.name)
            elif item.value is not LOOSE:
                present.setdefault(id(space), (space, []))[1].append(item)
        self._absent = list(absent.values())
        self._names = []
        for space, some in present.values():
            some = some if len(some) > 1 else some * 2  # itemgetter gives a tuple for two names or more
            self._names.append((space, itemgetter(*[e.name for e in some]), tuple([e.value for e in some])))
        watches = [entry.watch for entry in entries if entry.watch is not None and not entry.watch.is_empty]
        self._watch = Watch().merge(watches) if len(watches) > 1 else watches[0] if watches else None
        # Code first, then what is needed before what needs it.
        self.definitions = (
            *[slot.definition for slot in slots],
            *[entry.definition for entry in _bases_first(entries)],
        )
        keys = array("Q", [definition.key for definition in self.definitions])
        self.head = workspace.WITH_KEYS + workspace.COUNT.pack(len(keys)) + keys.tobytes()

    def is_current(self) -> bool:
        """Say whether all of it is as it was; pickles what can change unseen."""
        for space, get, then in self._names:
            try:
                if not all(map(is_, get(space), then)):
                    return False
            except KeyError:
                return False
        for space, names in self._absent:
            if not space.keys().isdisjoint(names):
                return False
        for n_modules in self._counts:
            if n_modules != len(_modules):
                return False
        if self._watch is not None and not self._watch.same():
            return False
        return all(entry.mirror.entry(entry.name) is entry for entry in self._uncertain)


def _bases_first(entries: tuple[Entry, ...]) -> list[Entry]:
    """Put what was found first last, but bases and metaclasses before the classes that are made of them.

    Needs may go in circles, as with a base class that keeps a list of its subclasses. Then a worker would take
    for a base what stands under its name: one that it inherited, or one from before it was defined anew.
    """
    if not any(entry.first for entry in entries):
        return list(reversed(entries))
    by_root: dict[object, Entry] = {(entry.mirror, entry.name): entry for entry in entries}
    ordered: dict[Entry, None] = {}
    todo = list(entries)
    opened: set[Entry] = set()
    while todo:
        entry = todo[-1]
        before = [by_root[root] for root in entry.first if root in by_root] if entry not in opened else []
        opened.add(entry)
        before = [each for each in before if each not in opened]
        if before:
            todo += before
            continue
        todo.pop()
        ordered[entry] = None
    return list(ordered)
