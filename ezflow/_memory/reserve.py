"""One descriptor that is always there."""

from __future__ import annotations

import os


class Reserve:
    """A descriptor that is held for the moment when there is no other one left.

    As a context manager it makes room for an import, which opens one file after another.  One more is for good:
    libffi, which `ctypes` brings along, may keep its own file open.
    """

    def __init__(self) -> None:
        self._fd = self._spare = -1
        self.renew()
        self._renew_spare()

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

    def _renew_spare(self) -> None:
        if self._spare < 0 and self._fd >= 0:
            try:
                self._spare = os.open(os.devnull, os.O_RDONLY)
            except OSError:
                pass

    def __enter__(self) -> None:
        """Make room for two."""
        self.use()
        fd, self._spare = self._spare, -1
        if fd >= 0:
            os.close(fd)

    def __exit__(self, *_: object) -> None:
        """Take them again, if they are there."""
        self.renew()
        self._renew_spare()

    def __del__(self) -> None:
        self.__enter__()
