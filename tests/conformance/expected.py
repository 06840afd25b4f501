"""Where ezflow differs from CPython's tests on purpose: one entry per difference, each with its reason.

`run` fails on any failure that is not here, on any entry whose test passes, and on any that does not exist.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.conformance.suite import CLASSES, METHODS

HANG_LIMIT = 8.0


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
    hangs : bool
        The test waits for what ezflow never does; it gets `HANG_LIMIT` s and is then expected to be cut off.
    """

    test: str
    reason: str
    methods: tuple[str, ...] = METHODS
    when: Callable[[tuple[int, int], bool], bool] = lambda version, borrowed: True
    classes: tuple[str, ...] = ("ezflow",)
    hangs: bool = False

    def covers(self, test: str, method: str) -> bool:
        """Tell whether this entry speaks of `test` under `method`."""
        return method in self.methods and fnmatchcase(test, self.test)


def _borrowed_before_313(version: tuple[int, int], borrowed: bool) -> bool:
    return borrowed and version < (3, 13)


def _since_314(version: tuple[int, int], borrowed: bool) -> bool:
    return version >= (3, 14)


# CPython makes this class once per start method, with the method in its name.
POOL = "test_process_pool.ProcessPool*ProcessPoolExecutorTest."

_NO_WORKER = "the test's calls cannot be pickled (they take a semaphore): they fail at once, and no worker is started for them"

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        POOL + "test_killed_child",
        "a dead worker fails only the call it was running; the pool goes on, so a later submit does not raise",
    ),
    Difference(
        POOL + "test_broken_process_pool_traceback",
        "the same: the calls of the living workers wait for the test's event, which nobody sets",
        when=_since_314,
        hangs=True,
    ),
    Difference(
        POOL + "test_traceback_when_child_process_terminates_abruptly",
        "WorkerDied itself says which process ended and how; it has no _RemoteTraceback as cause",
        when=lambda version, borrowed: version >= (3, 15),
    ),
    Difference(
        POOL + "test_traceback",
        "__cause__ is what the call itself raised from, not a _RemoteTraceback; remote frames are in __traceback__",
    ),
    Difference(POOL + "test_saturation", _NO_WORKER),
    Difference("test_shutdown.ProcessPool*ProcessPoolShutdownTest.test_processes_terminate", _NO_WORKER),
    Difference(
        POOL + "test_max_tasks_per_child",
        "max_tasks_per_child works with fork, too, instead of raising ValueError",
        methods=("fork",),
    ),
    Difference(
        POOL + "test_max_tasks_per_child_defaults_to_spawn_context",
        "the default start method is forkserver whatever the other arguments say",
    ),
    Difference(
        POOL + "test_gc_during_max_tasks_worker_exit_gh152967",
        "accepted calls run to their end when the pool is garbage collected, where the standard fails them",
        methods=("forkserver", "spawn"),
        when=_since_314,
    ),
    Difference(
        POOL + "test_shutdown_no_wait_max_tasks_gh119592",
        "the same, after shutdown(wait=False)",
        methods=("forkserver", "spawn"),
        when=_since_314,
    ),
    Difference(
        POOL + "test_failed_worker_replacement_breaks_pool",
        "the test patches concurrent.futures.process._spawn_worker, which our engine does not call",
        methods=("forkserver", "spawn"),
        when=_since_314,
    ),
    Difference(
        POOL + "test_force_shutdown_during_max_tasks_worker_exit",
        "the test sets private flags of the standard engine (_shutdown_lock, _force_shutting_down)",
        methods=("forkserver", "spawn"),
        when=_since_314,
    ),
    # The suite of 3.13 on older Pythons, whatever the class.
    Difference(
        POOL + "test_python_finalization_error",
        "the test replaces threading._start_joinable_thread, which is new in 3.13",
        when=_borrowed_before_313,
        classes=CLASSES,
    ),
    Difference(
        "test_init.FailingInitializerResourcesTest.test_*",
        "the test reads ResourceTracker._exitcode, which is new in 3.13",
        methods=("forkserver", "spawn"),
        when=_borrowed_before_313,
        classes=CLASSES,
    ),
)


def differences(cls: str, borrowed: bool) -> list[Difference]:
    """Return the entries for this class under test, on this Python."""
    version = sys.version_info[:2]
    return [d for d in DIFFERENCES if cls in d.classes and d.when(version, borrowed)]
