"""The pool of tests of flows, for modules that are about other things than how workers start; and a source."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest

from ezflow import ProcessPoolExecutor
from ezflow.graph.lanes import close_defaults


@pytest.fixture(name="pool")
def pool_of_one_kind() -> Iterator[ProcessPoolExecutor]:
    """Give a pool of two workers, with one way to start them."""
    with ProcessPoolExecutor(2) as executor:
        yield executor
    close_defaults()


def endless(closed: threading.Event) -> Iterator[int]:
    """Count for ever, and say when that is closed."""
    try:
        yield from itertools.count()
    finally:
        closed.set()
