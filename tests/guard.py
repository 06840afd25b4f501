"""A pytest plugin: the end of a test has a limit, too.

pytest's own faulthandler timer and that of pytest-timeout are both switched off as soon as a test fails, so a
fixture that then hangs while it ends a pool would hang for ever. Loaded by nox with `-p tests.guard`.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Iterator

import pytest

LIMIT = 120.0
"""Seconds that the fixtures of one test may take to end; then all stacks are shown and the process exits."""

_STDERR = os.dup(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Start the timer anew for each test's end."""
    faulthandler.dump_traceback_later(LIMIT, exit=True, file=_STDERR)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()
