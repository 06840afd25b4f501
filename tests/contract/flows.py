"""The pool of tests of flows, for modules that are about other things than how workers start."""

from __future__ import annotations

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
