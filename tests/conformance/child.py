"""Run the tests of one module of the suite for one start method, in this process, one JSON line per event.

A test that hangs ends the process (stacks on stderr); `run` notes it and starts another process for the rest.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import json
import sys
import time
import traceback
import unittest
from collections.abc import Callable
from typing import Any

from tests.conformance import expected, suite


class Recorder(unittest.TestResult):
    """Write what happens to each test as JSON lines, and arm the time limit around each."""

    def __init__(self, path: str, limit: float, short: Callable[[str], bool]) -> None:
        super().__init__()
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - lives as long as the process
        self._limit = limit
        self._short = short  # tells which tests are expected to hang
        self._outcome = "pass"
        self._detail = ""
        self._started = 0.0

    def emit(self, **event: Any) -> None:
        self._file.write(json.dumps(event) + "\n")
        self._file.flush()

    def startTest(self, test: unittest.TestCase) -> None:
        from test import support

        super().startTest(test)
        self._outcome, self._detail, self._started = "pass", "", time.monotonic()
        support.environment_altered = False
        print(f"=== {test.id()}", file=sys.stderr, flush=True)
        self.emit(event="start", id=suite.test_id(test))
        hangs = self._short(suite.test_id(test))
        faulthandler.dump_traceback_later(expected.HANG_LIMIT if hangs else self._limit, exit=True)

    def stopTest(self, test: unittest.TestCase) -> None:
        from test import support

        faulthandler.dump_traceback_later(self._limit, exit=True)  # what comes between tests may hang as well
        if self._outcome == "pass" and support.environment_altered:
            # What regrtest calls "environment changed": threads or children left behind.
            self._outcome, self._detail = "altered", "left threads or child processes behind"
        seconds = round(time.monotonic() - self._started, 2)
        self.emit(
            event="end", id=suite.test_id(test), outcome=self._outcome, detail=self._detail, seconds=seconds
        )
        super().stopTest(test)
        gc.collect()  # the frames of a failed test hold its pool, which would outlive the module's clean-up

    def _bad(self, outcome: str, err: Any) -> None:
        if self._outcome == "pass":
            self._outcome, self._detail = outcome, "".join(traceback.format_exception(*err))

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        super().addError(test, err)
        if not isinstance(test, unittest.TestCase):  # setUpModule or a module clean-up
            self.emit(event="fixture", id=str(test), detail="".join(traceback.format_exception(*err)))
        self._bad("error", err)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addFailure(test, err)
        self._bad("fail", err)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._bad("fail", err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self._outcome, self._detail = "skip", reason


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--module", required=True)
    parser.add_argument("--method", required=True)
    parser.add_argument("--class", dest="cls", required=True)
    parser.add_argument("--results", required=True)
    parser.add_argument("--limit", type=float, required=True)
    parser.add_argument("--pattern", default="")
    parser.add_argument("--borrowed", action="store_true")
    parser.add_argument("--done", action="append", default=[])
    options = parser.parse_args()

    cls = suite.prepare(options.cls)
    hanging = [d for d in expected.differences(options.cls, options.borrowed) if d.hangs]

    def short(name: str) -> bool:
        return any(d.covers(name, options.method) for d in hanging)

    recorder = Recorder(options.results, options.limit, short)
    tests = suite.load_tests(options.module, options.method, cls)
    chosen = [test for test in tests if options.pattern in suite.test_id(test)]
    recorder.emit(event="tests", ids=[suite.test_id(test) for test in chosen])
    unittest.TestSuite(test for test in chosen if suite.test_id(test) not in options.done).run(recorder)
    recorder.emit(event="finished")
    faulthandler.dump_traceback_later(options.limit, exit=True)


if __name__ == "__main__":
    main()
