"""Large items between two calls: they stay as the first worker has packed them, in memory that the next one maps.

In a worker, `apart` marks what is large among the outputs of a call; this process gets a `Parcel` in its place, which it
passes on.  Nothing is rebuilt here before somebody here wants to look at it: `plain` is how.
"""

from __future__ import annotations

from .._memory.cargo import ASIDE_FROM
from .._memory.reference import Parcel
from .items import Carried, Failure, To
from .weight import nbytes_of

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from typing import Any, Final

_MAY_HOLD: Final = frozenset({Parcel, Carried, To, list, tuple})


WHOLE: Final = 1
ELEMENTS: Final = 2
"""What of a large output stays packed: all of it, or what is large in a list, which is to be taken apart here."""


def apart(out: Any, what: int = WHOLE) -> Any:
    """Have an output stay packed on its way, if it is large."""
    kind = type(out)
    if kind is Carried:
        return Carried(apart(out.value, what), out.meta)
    if kind is To:
        return To(out.target, apart(out.item, what))
    if what == ELEMENTS and (kind is list or kind is tuple):
        return kind(map(apart, out))
    if kind is Failure or nbytes_of(out) < ASIDE_FROM:
        return out
    from .._wire.keeping import Kept

    return Kept(out)


def plain(item: Any) -> Any:
    """Give an item as functions and consumers see it: without its meta, and rebuilt."""
    return unpacked(item.value if type(item) is Carried else item)


def told(item: Any) -> Any:
    """Give an item as a failure shows it: `plain`, but as it is if it cannot be rebuilt here."""
    try:
        return plain(item)
    except Exception:
        return item


def unpacked(item: Any) -> Any:
    """Rebuild an item, or those in a batch or a row; its meta stays with it."""
    kind = type(item)
    if kind is Parcel:
        return item.get()
    if kind is Carried:
        return Carried(unpacked(item.value), item.meta)
    if kind is To:
        return To(item.target, unpacked(item.item))
    if (kind is list or kind is tuple) and not _MAY_HOLD.isdisjoint(map(type, item)):
        return kind(map(unpacked, item))
    return item


def spread(item: Any) -> Any:
    """Rebuild a list that is packed as a whole; its meta stays with it, and what is packed in it stays so."""
    kind = type(item)
    if kind is Carried:
        return Carried(spread(item.value), item.meta)
    return item.get() if kind is Parcel else item
