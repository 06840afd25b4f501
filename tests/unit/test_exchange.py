"""Both ends of shared memory, without processes."""

from __future__ import annotations

import gc
import socket
import weakref

from ezflow._engine.holdings import Holdings, Spare


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
