"""Random numbers that depend on the call, and not on the worker or on what ran there before."""

from __future__ import annotations

import random
import sys

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from typing import Any

_WORD = 0xFFFFFFFF


def begin(seed: tuple[int, int]) -> None:
    """Put the global generators into the state that belongs to a call: seed of the pool, number of the call.

    NumPy's only if it is imported: a call that is the first in its worker to import it finds it seeded by the system.
    """
    random.seed(seed[0] << 64 | seed[1])
    numpy_random: Any = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed([*_words(seed[0]), len(_words(seed[0])), seed[1] & _WORD, seed[1] >> 32])


def _words(number: int) -> list[int]:
    """Cut a number into 32 bits each, as many as it takes."""
    words = [number & _WORD]
    while number := number >> 32:
        words.append(number & _WORD)
    return words
