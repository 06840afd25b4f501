"""Random numbers that depend on the call, and not on the worker or on what ran there before."""

from __future__ import annotations

import random
import sys
from importlib import import_module

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from typing import Any

_WORD = 0xFFFFFFFF
_NUMPY = "numpy.random"


def begin(seed: tuple[int, int]) -> None:
    """Put the global generators into the state that belongs to a call: seed of the pool, number of the call."""
    random.seed(seed[0] << 64 | seed[1])
    if "numpy" in sys.modules:
        _seed_numpy(import_module(_NUMPY), seed)  # some versions of NumPy import it when it is used first
    else:
        _finder.expect(seed)


def _seed_numpy(module: Any, seed: tuple[int, int]) -> None:
    words = _words(seed[0])
    module.seed([*words, len(words), seed[1] & _WORD, seed[1] >> 32])


def _words(number: int) -> list[int]:
    """Cut a number into 32 bits each, as many as it takes."""
    words = [number & _WORD]
    while number := number >> 32:
        words.append(number & _WORD)
    return words


class _Finder:
    """Seeds NumPy when a call is the first in its worker to import it: on `sys.meta_path` until then."""

    def __init__(self) -> None:
        self._seed = (0, 0)

    def expect(self, seed: tuple[int, int]) -> None:
        """Say with what."""
        self._seed = seed
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Let the others find the module, and run on when it has been executed."""
        if name != _NUMPY:
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(self)
        spec = find_spec(name)
        loader: Any = None if spec is None else spec.loader
        if loader is not None:
            execute = loader.exec_module

            def execute_and_seed(module: object) -> None:
                execute(module)
                _seed_numpy(module, self._seed)

            loader.exec_module = execute_and_seed
        return spec


_finder = _Finder()
