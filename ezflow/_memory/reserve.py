"""One descriptor that is always there."""

from __future__ import annotations

import os


class Reserve:
    """A descriptor that is held for the moment when there is no other one left."""

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

    def __del__(self) -> None:
        self.use()
