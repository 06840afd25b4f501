"""Which context variables go along with a call."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextvars import Context


def travelling(context: Context) -> list[tuple[Any, Any]]:
    """Give the variables that are set, with their values.

    Whoever has used `decimal` once in a thread has a variable for it, nearly always with the values it has in the
    worker as well; sending it would cost several times what the call costs.
    """
    items = list(context.items())
    decimal = sys.modules.get("decimal")
    if decimal is not None:
        kind, usual = decimal.Context, decimal.DefaultContext
        return [item for item in items if type(item[1]) is not kind or not _is_like(item[1], usual)]
    return items


def _is_like(one: Any, other: Any) -> bool:
    """Tell whether two decimal contexts compute alike."""
    return bool(
        one.prec == other.prec
        and one.rounding == other.rounding
        and one.traps == other.traps
        and (one.Emin, one.Emax, one.capitals, one.clamp)
        == (other.Emin, other.Emax, other.capitals, other.clamp)
    )
