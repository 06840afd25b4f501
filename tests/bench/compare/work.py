"""What the workers run: importable, and as good as nothing."""

from __future__ import annotations

import time


def same(x: object) -> object:
    return x


def nap(seconds: float) -> None:
    time.sleep(seconds)
