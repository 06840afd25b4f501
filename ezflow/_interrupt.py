"""The exception that stops a running call.

It has a module of its own because every worker imports it, and `ezflow.errors`
costs a worker 10 to 16 ms for the standard pool's error classes.
"""

from __future__ import annotations


class CallInterrupted(KeyboardInterrupt):
    """Raised inside a worker's call to stop it.

    A `KeyboardInterrupt`, because asyncio and most libraries let only that and
    `SystemExit` through; so ``finally`` and ``with`` blocks run, and
    ``except Exception`` does not catch it.  In the parent it is seen as the
    cause of a `CallTimeout`, with the stack where the call was stuck.
    """
