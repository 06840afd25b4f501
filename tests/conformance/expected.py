"""Where ezflow differs from CPython's tests on purpose: one entry per difference, each with its reason.

`run` fails on any failure that is not here, on any entry whose test passes, and on any that does not exist.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.conformance.suite import CLASSES, METHODS


@dataclass(frozen=True, slots=True)
class Difference:
    """A test that is expected not to pass.

    Parameters
    ----------
    test : str
        ``module.Class.test``; the class may hold ``*``.
    reason : str
        Why ezflow does something else, for the person who reads the report.
    methods : tuple of str
        Start methods for which it holds.
    when : callable
        Told the version and whether the suite is borrowed from a newer Python; says if the entry applies.
    classes : tuple of str
        Classes under test for which it holds: a borrowed test may not fit an older Python at all.
    """

    test: str
    reason: str
    methods: tuple[str, ...] = METHODS
    when: Callable[[tuple[int, int], bool], bool] = lambda version, borrowed: True
    classes: tuple[str, ...] = ("ezflow",)

    def covers(self, test: str, method: str) -> bool:
        """Tell whether this entry speaks of `test` under `method`."""
        return method in self.methods and fnmatchcase(test, self.test)


DIFFERENCES: tuple[Difference, ...] = (
    # The suite of 3.13 on older Pythons, whatever the class.
    Difference(
        "test_process_pool.ProcessPool*ProcessPoolExecutorTest.test_python_finalization_error",
        "the test replaces threading._start_joinable_thread, which is new in 3.13",
        when=lambda version, borrowed: borrowed and version < (3, 13),
        classes=CLASSES,
    ),
    Difference(
        "test_init.FailingInitializerResourcesTest.test_*",
        "the test reads ResourceTracker._exitcode, which is new in 3.13",
        methods=("forkserver", "spawn"),
        when=lambda version, borrowed: borrowed and version < (3, 13),
        classes=CLASSES,
    ),
)


def differences(cls: str, borrowed: bool) -> list[Difference]:
    """Return the entries for this class under test, on this Python."""
    version = sys.version_info[:2]
    return [d for d in DIFFERENCES if cls in d.classes and d.when(version, borrowed)]
