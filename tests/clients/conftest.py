"""Pools for third-party clients.

``EZFLOW_CLASS=standard pytest tests/clients --confcutdir tests/clients`` runs the same tests on the standard class.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor as Standard
from typing import Any

import pytest

STANDARD = os.environ.get("EZFLOW_CLASS") == "standard"


@pytest.fixture(scope="session")
def pool_class() -> type[Standard]:
    return Standard if STANDARD else importlib.import_module("ezflow").ProcessPoolExecutor  # type: ignore[no-any-return]


@pytest.fixture(params=["fork", "forkserver", "spawn"])
def context(request: pytest.FixtureRequest) -> Any:
    return multiprocessing.get_context(request.param)


@pytest.fixture
def pool(pool_class: type[Standard], context: Any) -> Iterator[Standard]:
    with pool_class(2, mp_context=context) as made:
        yield made


@pytest.fixture
def as_standard(pool_class: type[Standard], monkeypatch: pytest.MonkeyPatch) -> type[Standard]:
    """Put our class where a library looks for the standard one."""
    import concurrent.futures

    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", pool_class)
    return pool_class


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """Put nothing in the way: threads and files of other people's libraries are theirs."""
