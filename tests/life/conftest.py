"""Life of programs: what every test here needs."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def sigint_reaches_programs() -> Iterator[None]:
    """See to it that programs are not born deaf to Ctrl-C: a run in the background hands SIG_IGN down to them."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
