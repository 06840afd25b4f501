"""How large items are: of what is large, few are in one call, and few in the system."""

from __future__ import annotations

from .items import Carried

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from typing import Any, Final

LIGHT: Final = frozenset({int, float, bool, type(None), complex})

_TEXTS: Final = frozenset({str, bytes, bytearray})

_SHORT: Final = frozenset({tuple, list})

_FEW: Final = 16
"""Members of a tuple or list up to which it is looked into: who puts more into one item knows that it is large."""

LARGE: Final = 16 << 20
"""Bytes of items or outputs of one call, after which no further item is begun.  Larger: more memory at once; smaller: more
calls for items of a megabyte or so (chosen)."""


def nbytes_of(item: Any) -> int:
    """Estimate how many bytes an item holds: of buffers and texts, and of a short tuple or list of such."""
    kind = type(item)
    if kind in _TEXTS:
        return len(item)
    if kind in _SHORT:
        return sum(nbytes_of(one) for one in item if type(one) not in LIGHT) if len(item) <= _FEW else 0
    if kind is dict:
        return sum(map(nbytes_of, item.values())) if len(item) <= _FEW else 0
    if kind is Carried:
        return nbytes_of(item.value)
    nbytes = getattr(item, "nbytes", 0)
    return nbytes if type(nbytes) is int else 0


def nbytes_in(items: list[Any]) -> int:
    """Estimate how many bytes items hold together."""
    return 0 if set(map(type, items)) <= LIGHT else sum(map(nbytes_of, items))
