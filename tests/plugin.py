"""A pytest plugin for nox: a limit for the end of each test, and a share of the tests for each Python.

Loaded with `-p tests.plugin`; a plain `pytest` does without.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import zlib
from collections.abc import Iterator

import pytest

LIMIT = 120.0
"""Seconds that the fixtures of one test may take to end; then all stacks are shown and the process exits.

pytest's own timer and that of pytest-timeout are both switched off as soon as a test fails, so a fixture
that then hangs while it ends a pool would hang for ever.
"""

METHODS = ("fork", "forkserver", "spawn")

_STDERR = os.dup(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Start the timer anew for each test's end."""
    faulthandler.dump_traceback_later(LIMIT, exit=True, file=_STDERR)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--share`."""
    parser.addoption(
        "--share", default="1/1", metavar="K/N", help="deal the start methods over N runs; this is the K-th"
    )
    parser.addoption(
        "--once",
        action="store_true",
        help="each test with start methods in one of the N runs only, with one of them",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep this run's share.

    With three runs each test runs in each of them, every time with another start method, so that together
    they see every test on every Python and with every start method. Tests marked `dealt` run in one of them,
    other tests without a start method in all.
    """
    part, n_parts = map(int, config.getoption("--share").split("/"))
    kept, others = [], []
    for item in items:
        method = start_method_of(item)
        if method is not None:
            name, _, parameters = item.nodeid.partition("[")
            number = zlib.crc32((name + parameters.replace(method, "")).encode())
            is_mine = (number + METHODS.index(method)) % n_parts == part - 1
            if config.getoption("--once"):
                is_mine = is_mine and METHODS.index(method) == number // n_parts % len(METHODS)
        elif item.get_closest_marker("dealt") is not None:
            is_mine = zlib.crc32(item.nodeid.encode()) % n_parts == part - 1
        else:
            is_mine = True
        (kept if is_mine else others).append(item)
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = kept


def start_method_of(item: pytest.Item) -> str | None:
    """Find the start method among a test's parameters."""
    callspec = getattr(item, "callspec", None)
    values = callspec.params.values() if callspec is not None else ()
    return next((value for value in values if isinstance(value, str) and value in METHODS), None)
