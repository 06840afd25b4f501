"""One descriptor that is always there."""

from __future__ import annotations

import os


class Reserve:
    """A descriptor that is held for the moment when there is no other one left.

    As a context manager it makes room for an import, which opens one file after another.
    """

    def __init__(self) -> None:
        self._fd = -1
        self.renew()

    def use(self) -> None:
        """Make room for one."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def renew(self) -> bool:
        """Take one; say whether there is one."""
        if self._fd < 0:
            try:
                self._fd = os.open(os.devnull, os.O_RDONLY)
            except OSError:
                return False
        return True

    def __enter__(self) -> None:
        """Make room for one."""
        self.use()

    def __exit__(self, *_: object) -> None:
        """Take one."""
        self.renew()

    def __del__(self) -> None:
        self.use()
