"""The future of a run that was submitted."""

from __future__ import annotations

from typing import Generic, TypeVar

from ..future import Future

T = TypeVar("T")


class RunFuture(Future[T], Generic[T]):
    """The pending outcome of a run, which begins at once, in a thread of its own."""

    def running(self) -> bool:
        """Tell whether the run has not ended.

        Returns
        -------
        bool
            True from the beginning until it is done or cancelled.
        """
        return not self.done()
