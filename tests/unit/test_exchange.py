"""Both ends of shared memory, without processes."""

from __future__ import annotations

import gc
import socket
import weakref

import pytest

from ezflow._engine.belongings import Belongings
from ezflow._engine.exchange import Exchange
from ezflow._engine.holdings import Holdings, Spare
from ezflow._memory.cargo import stow
from ezflow._wire.messages import HEADER, LOAN, RETURN


def test_what_is_shared_with_a_worker_holds_nobody_in_a_circle() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        holdings = Holdings(ours, Spare(print), print)
        seen = weakref.ref(holdings)
        gc.disable()
        try:
            holdings.end()
            del holdings
            assert seen() is None
        finally:
            gc.enable()


@pytest.mark.parametrize("first", ["runs", "is skipped"])
def test_all_loans_of_a_call_that_was_sent_twice_come_back(first: str) -> None:
    """It was taken back and sent once more, and the worker hears of both loans before it meets the first copy."""
    desks = socket.socketpair()
    with desks[0], desks[1]:
        parent, worker = Exchange(desks[0]), Belongings(desks[1], print)
        content = b"x" * 1_000_000
        parts = stow((), [content])
        for _ in range(2):
            frame = parent.lend(5, parts)
            worker.take(5, LOAN, frame[HEADER.size :])
        lending = parent._lending
        assert lending is not None
        assert lending.n_loans == 2

        if first == "is skipped":  # another call was to run before the second copy
            worker.skip(5)
        opened = worker.open(5)
        assert opened is not None
        assert bytes(opened[0]) == content
        del opened
        if first == "runs":
            worker.skip(5)
        assert worker.open(5) is None
        parent.hear(RETURN, worker.word()[HEADER.size :])

        assert lending.n_loans == 0
        worker.end()
        parent.end()
