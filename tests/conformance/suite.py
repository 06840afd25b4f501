"""Find CPython's ``test.test_concurrent_futures`` and put our class into it.

Nothing of CPython is copied here: the suite is loaded from an installed interpreter and patched in memory.
An interpreter that ships the ``test`` package without this suite may borrow the one of a neighbour.  The
borrowed suite reaches every process, workers included, through a folder on ``sys.path`` whose ``test`` package
is the interpreter's own plus one link.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import unittest
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NAME = "test_concurrent_futures"
METHODS = ("fork", "forkserver", "spawn")
FUTURE = "future"  # stands beside the start methods: the tests of Future itself, which need no pool
CLASSES = ("ezflow", "standard")

# Thread and interpreter pools are not ours.
NOT_OURS = ("test_thread_pool", "test_interpreter_pool")

# How long a test waits (s) before it calls a pool deadlocked: CPython allows 5 minutes.
LONG_TIMEOUT = 60.0

# What the 3.13 suite asks of test.support and older ones do not have.  Workers import the suite too, so this
# stands in the borrowed package itself.
NEWER_SUPPORT = """\
from test import support
support.Py_GIL_DISABLED = False
support.requires_gil_enabled = lambda reason="": lambda test: test
support.check_sanitizer = lambda **kinds: False
support.skip_if_sanitizer = lambda reason="", **kinds: lambda test: test
"""


class NoSuite(Exception):
    """This interpreter has no process-pool tests; `known` says that it is known to ship them."""

    def __init__(self, message: str, *, known: bool) -> None:
        super().__init__(message)
        self.known = known


def find_suite(given: str | None = None) -> tuple[Path, bool]:
    """Return the folder of the suite and whether it is borrowed from another interpreter."""
    if given is not None:
        folder = Path(given).resolve()
        if not (folder / "test_process_pool.py").is_file():
            raise NoSuite(f"{folder} is not a {NAME} folder", known=True)
        return folder, True
    spec = importlib.util.find_spec("test")
    places = [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
    for place in places:
        if (place / NAME / "test_process_pool.py").is_file():
            return place / NAME, False
    has_support = any((place / "support" / "__init__.py").is_file() for place in places)
    if not has_support:
        raise NoSuite("this Python is installed without its test package", known=False)
    if sys.version_info >= (3, 13):
        raise NoSuite(f"this Python has test.support and no test.{NAME}: a broken installation", known=True)
    # pyenv and the like: versions/3.11.7 and versions/3.13.0 stand side by side.
    neighbours = sorted(Path(sys.base_prefix).resolve().parent.glob(f"*/lib/python3.13/test/{NAME}"))
    for folder in reversed(neighbours):
        if (folder / "test_process_pool.py").is_file():
            return folder, True
    raise NoSuite(
        f"this Python has no test.{NAME} and no 3.13 stands beside it (--suite FOLDER gives one)", known=False
    )


def make_overlay(folder: Path, suite: Path) -> None:
    """Make `folder` hold a package ``test``: the interpreter's own, plus the borrowed suite."""
    spec = importlib.util.find_spec("test")
    assert spec is not None
    assert spec.submodule_search_locations
    package = folder / "test"
    package.mkdir()
    paths = [str(package), *spec.submodule_search_locations]
    (package / "__init__.py").write_text(f"__path__ = {json.dumps(paths)}\n{NEWER_SUPPORT}")
    (package / NAME).symlink_to(suite)


def executor_class(name: str) -> type:
    """Return the executor class under test: ours, or the standard one to prove the harness."""
    if name == "standard":
        return importlib.import_module("concurrent.futures.process").ProcessPoolExecutor  # type: ignore[no-any-return]
    return importlib.import_module("ezflow").ProcessPoolExecutor  # type: ignore[no-any-return]


def inject(name: str) -> type:
    """Make ``concurrent.futures.ProcessPoolExecutor`` mean the class under test in this process."""
    import concurrent.futures

    cls = executor_class(name)
    concurrent.futures.ProcessPoolExecutor = cls  # type: ignore[misc]
    return cls


def prelude(name: str) -> str:
    """Return a line that does `inject` at the start of a snippet run in isolated mode (``-I -c``)."""
    return (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        f"from tests.conformance.suite import inject; inject({name!r}); del inject\n"
    )


def snippet_check(name: str) -> str:
    """Return a line for the end of a snippet: the pool `t` that it made really is of the class under test."""
    module = executor_class(name).__module__
    return f"\nassert type(t).__module__ == {module!r}, type(t)\n"


def prepare(name: str) -> type:
    """Patch ``test.support`` and `concurrent.futures` in this process, before the suite is imported."""
    from test import support
    from test.support import script_helper

    cls = inject(name)
    support.verbose = 0
    support.LONG_TIMEOUT = LONG_TIMEOUT

    original = script_helper.assert_python_ok

    def assert_python_ok(*args: str, **env: str) -> Any:
        arguments = list(args)
        at = arguments.index("-c") + 1
        if "ThreadPoolExecutor" not in arguments[at]:
            arguments[at] = prelude(name) + arguments[at] + snippet_check(name)
        return original(*arguments, **env)

    script_helper.assert_python_ok = assert_python_ok
    return cls


def jobs(suite: Path, methods: Iterable[str]) -> list[tuple[str, str]]:
    """Return (module, method) for all of the suite that may concern us, the long ones first."""
    names = sorted(path.stem for path in suite.glob("test_*.py"))
    ours = [name for name in names if name not in NOT_OURS]
    ours.sort(key=lambda name: name not in ("test_shutdown", "test_deadlock", "test_process_pool"))
    return [(name, m) for name in ours for m in methods if (name == "test_future") == (m == FUTURE)]


def load_tests(module: str, method: str, cls: type) -> list[unittest.TestCase]:
    """Import one module of the suite and return its tests that use `cls` with start method `method`."""
    from concurrent.futures import _base

    standard = _base.Future
    if method == FUTURE and not cls.__module__.startswith("concurrent."):
        _base.Future = importlib.import_module("ezflow").Future  # type: ignore[misc]
    try:
        loaded = importlib.import_module(f"test.{NAME}.{module}")
    finally:
        _base.Future = standard  # type: ignore[misc]
    tests = unittest.defaultTestLoader.loadTestsFromModule(loaded)
    return [test for test in _flat(tests) if _wanted(test, method, cls)]


def _flat(tests: Any) -> Iterator[unittest.TestCase]:
    for test in tests:
        if isinstance(test, unittest.TestCase):
            yield test
        else:
            yield from _flat(test)


def _wanted(test: unittest.TestCase, method: str, cls: type) -> bool:
    """Tell whether a test makes pools of `cls` with this start method."""
    if method == FUTURE:
        return type(test).__name__ == "FutureTests"
    used = getattr(test, "executor_type", None)
    if isinstance(used, type):
        return issubclass(used, cls) and getattr(test, "ctx", None) == method
    # FailingInitializerResourcesTest makes its test cases itself, one method per start method.
    return type(test).__name__ == "FailingInitializerResourcesTest" and test.id().endswith(f"test_{method}")


def test_id(test: unittest.TestCase) -> str:
    """Return ``module.Class.test``, without the package in front."""
    return ".".join(test.id().split(".")[-3:])
