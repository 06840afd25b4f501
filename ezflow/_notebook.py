"""Whether somebody looks at this process through a notebook."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from typing import Any


def is_notebook() -> bool:
    """Tell whether this process is a kernel of Jupyter, of whichever kind."""
    ipython: Any = sys.modules.get("IPython")
    get = getattr(ipython, "get_ipython", None)  # not while IPython itself is being imported
    return get is not None and getattr(get(), "kernel", None) is not None
