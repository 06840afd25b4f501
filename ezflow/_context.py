"""Which context variables go along with a call."""

from __future__ import annotations

import sys
from pickle import dumps

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from typing import Any


def travelling(
    context: Context, home_of: Callable[[object], tuple[str, str] | None]
) -> list[tuple[Any, str, Any]]:
    """Give the variables that are set, with their values, as a worker takes them.

    Each is the variable and an empty text, or the module and the name where it stands: libraries have variables, too,
    and a worker that has not imported the library neither needs its variable nor is to import it for that.  The value
    of such a one is pickled apart, for the same reason.

    Whoever has used `decimal` once in a thread has a variable for it, nearly always with the values it has in the
    worker as well; sending it would cost several times what the call costs.
    """
    decimal = sys.modules.get("decimal")
    sent: list[tuple[Any, str, Any]] = []
    for variable, value in context.items():
        if decimal is not None and type(value) is decimal.Context and _is_like(value, decimal.DefaultContext):
            continue
        home = home_of(variable)
        if home is None or type(value).__module__ == "__main__":
            sent.append((variable, "", value))
            continue
        try:
            sent.append((*home, dumps(value)))
        except Exception:  # it stays behind, as those do that no pickler takes
            continue
    return sent


def _is_like(one: Any, other: Any) -> bool:
    """Tell whether two decimal contexts compute alike."""
    return bool(
        one.prec == other.prec
        and one.rounding == other.rounding
        and one.traps == other.traps
        and (one.Emin, one.Emax, one.capitals, one.clamp)
        == (other.Emin, other.Emax, other.capitals, other.clamp)
    )
