"""A call that imports what it needs when it needs it."""

from __future__ import annotations


def draw(_: object) -> float:
    import numpy as np

    return float(np.random.random())
