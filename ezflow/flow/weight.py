"""How large items are: of what is large, few are in one call, and few in the system."""

from __future__ import annotations

from sys import getsizeof

from .items import Carried, To

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final

LIGHT: Final = frozenset({int, float, bool, type(None), complex})

_TEXTS: Final = frozenset({str, bytes, bytearray})

_SHORT: Final = frozenset({tuple, list})

_FEW: Final = 16
"""Members of a tuple, list, dict or object up to which it is looked into; of more, the container itself is measured."""

_BASIC: Final[object] = object.__sizeof__

_DEEP: Final = 3
"""Containers in containers that are looked into."""

LARGE: Final = 16 << 20
"""Bytes of items or outputs of one call, after which no further item is begun.  Larger: more memory at once; smaller: more
calls for items of a megabyte or so (chosen)."""


def nbytes_of(item: Any, depth: int = _DEEP) -> int:
    """Estimate how many bytes an item holds: of buffers, texts and tables, and of a few of them in one object."""
    kind = type(item)
    if kind in _TEXTS:
        return len(item)
    if kind in _SHORT or kind is dict:
        if len(item) > _FEW:
            return getsizeof(item)
        return _sum(item.values() if kind is dict else item, depth)
    if kind is Carried:
        return nbytes_of(item.value, depth)
    if kind is To:
        return nbytes_of(item.item, depth)
    nbytes = getattr(item, "nbytes", None)
    if type(nbytes) is int:
        return nbytes
    if kind.__sizeof__ is not _BASIC:  # a table of pandas, a set, an array of the standard library
        try:
            return getsizeof(item)
        except Exception:  # what a class of the user's says
            return 0
    members = getattr(item, "__dict__", None)
    return _sum(members.values(), depth) if type(members) is dict and len(members) <= _FEW else 0


def _sum(members: Iterable[Any], depth: int) -> int:
    return sum(nbytes_of(one, depth - 1) for one in members if type(one) not in LIGHT) if depth else 0


def nbytes_in(items: list[Any]) -> int:
    """Estimate how many bytes items hold together."""
    return 0 if set(map(type, items)) <= LIGHT else sum(map(nbytes_of, items))
