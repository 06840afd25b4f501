"""What workers log is handled by the parent's loggers, filtered before it travels."""

from __future__ import annotations

import io
import logging
import pickle
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ezflow import ProcessPoolExecutor
from ezflow._engine import echo, outlet
from tests.contract import loud
from tests.contract.gates import LIMIT

MakePool = Callable[..., ProcessPoolExecutor]


class Book(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def book() -> Iterator[Book]:
    """A handler on the root logger; all levels are put back afterwards."""
    root = logging.getLogger()
    handler = Book()
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)
    root.setLevel(logging.WARNING)
    for name in ("chatty", "chatty.child", "quiet", "apart"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
        logger.handlers.clear()
    logging.disable(logging.NOTSET)


@pytest.fixture
def arrived(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The frames with records that this process has received."""
    frames: list[bytes] = []
    real = echo.Echo.log

    def count(self: echo.Echo, voice: Any, payload: bytes, context: Any) -> None:
        frames.append(payload)
        real(self, voice, payload, context)

    monkeypatch.setattr(echo.Echo, "log", count)
    return frames


# ------------------------------------------------------------------------------------- what arrives


def test_records_arrive_before_the_result(make_pool: MakePool, book: Book) -> None:
    pool = make_pool(2, output=True)

    for number in range(30):
        pool.submit(loud.log, "some.where", logging.WARNING, "number %d", number).result(LIMIT)

        assert book.messages[-1] == f"number {number}"


def test_record_keeps_its_origin(make_pool: MakePool, book: Book) -> None:
    pool = make_pool(1, output=True)
    pid = pool.submit(loud.nothing).result(LIMIT)

    pool.submit(loud.log, "some.where", logging.ERROR, "text").result(LIMIT)

    (record,) = book.records
    assert (record.name, record.levelno, record.process) == ("some.where", logging.ERROR, pid)
    assert record.funcName == "log"
    assert record.pathname == loud.__file__


def test_what_cannot_be_pickled_arrives_as_text(make_pool: MakePool, book: Book) -> None:
    pool = make_pool(1, output=True)

    pool.submit(loud.log_lock).result(LIMIT)

    (record,) = book.records
    assert record.getMessage().startswith("a lock: <unlocked _thread.lock")
    assert record.__dict__["lock"].startswith("<unlocked _thread.lock")
    assert record.__dict__["number"] == 7


def test_traceback_arrives_as_text(make_pool: MakePool, book: Book) -> None:
    pool = make_pool(1, output=True)

    pool.submit(loud.log_error).result(LIMIT)

    (record,) = book.records
    text = logging.Formatter("%(message)s").format(record)
    assert text.startswith("it failed\nTraceback")
    assert text.endswith("KeyError: 'gone'")
    assert "in log_error" in text


def test_wrong_arguments_are_reported_as_ever(
    make_pool: MakePool, book: Book, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = make_pool(1, output=True)

    pool.submit(loud.log, "wrong", logging.ERROR, "%d", "no number").result(LIMIT)

    assert book.records == []
    assert "--- Logging error ---" in capsys.readouterr().err


def test_initializer_logs_too(make_pool: MakePool, book: Book, capsys: pytest.CaptureFixture[str]) -> None:
    pool = make_pool(1, initializer=loud.initialise, initargs=("at the start",), output=True)

    pool.submit(loud.nothing).result(LIMIT)

    assert book.messages == ["at the start"]
    assert capsys.readouterr().out == "at the start\n"


def test_prints_and_records_keep_their_order(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    class Stream(io.StringIO):
        def write(self, text: str, /) -> int:
            events.append(text)
            return len(text)

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            events.append(record.getMessage())

    handler = Handler()
    logging.getLogger("start").addHandler(handler)
    monkeypatch.setattr(sys, "stdout", Stream())
    pool = make_pool(1, output=True)
    try:
        for _ in range(20):
            pool.submit(loud.initialise, "one").result(LIMIT)
    finally:
        logging.getLogger("start").removeHandler(handler)

    assert events == ["one\n", "one"] * 20


def test_storm_arrives_in_order(make_pool: MakePool, book: Book) -> None:
    pool = make_pool(1, output=True)

    pool.submit(loud.log_often, 5_000).result(LIMIT)

    assert book.messages == list(map(str, range(5_000)))


def test_handler_of_a_signal_may_log(make_pool: MakePool, book: Book) -> None:
    """It strikes in the middle of sending another record: it must neither wait for itself nor tear it."""
    pool = make_pool(1, output=True)

    pool.submit(loud.log_in_signal_handler, 3_000).result(LIMIT)
    pool.submit(loud.nothing).result(LIMIT)

    numbers = [record.getMessage() for record in book.records if record.name == "often"]
    assert numbers == list(map(str, range(3_000)))


def test_forked_process_logs_to_stderr(
    make_pool: MakePool, book: Book, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = make_pool(1, output=True)

    assert pool.submit(loud.log_after_fork).result(LIMIT) == 0

    assert book.records == []
    assert capsys.readouterr().err == "from a forked process\n"


def test_handler_that_fails_harms_nobody(
    make_pool: MakePool, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book, "handle", lambda record: 1 / 0)
    pool = make_pool(1, output=True)

    results = [pool.submit(loud.log, "x", logging.ERROR, "text").result(LIMIT) for _ in range(3)]

    assert results == [None] * 3


# ------------------------------------------------------------------------------------- levels


def test_levels_of_the_parent_hold_in_the_worker(
    make_pool: MakePool, book: Book, arrived: list[bytes]
) -> None:
    logging.getLogger("chatty").setLevel(logging.DEBUG)
    logging.getLogger("quiet").setLevel(logging.ERROR)
    pool = make_pool(1, output=True)

    names = ("chatty", "chatty.child", "quiet", "other", "")
    levels = pool.submit(loud.levels, *names).result(LIMIT)
    for name in names:
        for level in (logging.DEBUG, logging.WARNING, logging.ERROR):
            pool.submit(loud.log, name, level, "x").result(LIMIT)

    assert levels == [10, 10, 40, 30, 30]
    assert len(arrived) == 3 + 3 + 1 + 2 + 2


def test_what_is_filtered_costs_no_frame(make_pool: MakePool, book: Book, arrived: list[bytes]) -> None:
    pool = make_pool(2, output=True)

    list(pool.map(loud.log, ["hot"] * 200, [logging.INFO] * 200, ["x"] * 200))

    assert arrived == []
    assert book.records == []


def test_root_level_of_the_parent_holds(make_pool: MakePool, book: Book) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    pool = make_pool(1, output=True)

    pool.submit(loud.log, "any", logging.DEBUG, "heard").result(LIMIT)

    assert "heard" in book.messages


def test_disabled_logging_is_disabled_there(make_pool: MakePool, book: Book, arrived: list[bytes]) -> None:
    logging.disable(logging.CRITICAL)
    pool = make_pool(1, output=True)

    pool.submit(loud.log, "any", logging.CRITICAL, "unheard").result(LIMIT)

    assert arrived == []


def test_logger_apart_keeps_its_records(make_pool: MakePool, book: Book) -> None:
    """A logger of the parent that does not propagate gives them to its own handlers only."""
    own = Book()
    logger = logging.getLogger("apart")
    logger.addHandler(own)
    logger.propagate = False
    pool = make_pool(1, output=True)

    pool.submit(loud.log, "apart", logging.ERROR, "for me").result(LIMIT)

    assert own.messages == ["for me"]
    assert book.messages == []


def test_worker_has_one_handler(make_pool: MakePool, book: Book) -> None:
    """Handlers that a forked worker inherits would handle everything twice."""
    pool = make_pool(1, output=True)

    assert pool.submit(loud.handlers).result(LIMIT) == ["Forwarder"]


# ------------------------------------------------------------------------------------- the switch


def test_without_the_switch_logging_is_as_ever(
    make_pool: MakePool, start_method: str, book: Book, arrived: list[bytes]
) -> None:
    pool = make_pool(1)

    names = pool.submit(loud.handlers).result(LIMIT)
    pool.submit(loud.log, "any", logging.ERROR, "to the worker's own handlers").result(LIMIT)

    assert ("Book" in names) == (start_method == "fork")
    assert arrived == []
    assert book.records == []


def test_settings_travel_without_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that never imported logging is not made to."""
    monkeypatch.delitem(sys.modules, "logging")

    levels = outlet.Levels.capture()

    assert "logging" not in sys.modules
    assert levels.own == {}
    assert pickle.loads(pickle.dumps(levels)).own == {}
