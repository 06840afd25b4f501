"""Errors on their way back: type, state, links and frames, under every start method and from every kind of call.

`tests/unit/test_tracebacks.py` knows every kind of exception; here the road is tested.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import linecache
import pdb
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from ezflow import ProcessPoolExecutor, RemoteError
from tests import work
from tests.contract.gates import LIMIT

MakePool = Callable[..., ProcessPoolExecutor]


def by_submit(pool: ProcessPoolExecutor, fn: Callable[..., Any], *args: Any) -> BaseException:
    error = pool.submit(fn, *args).exception(LIMIT)
    assert error is not None
    return error


def by_result(pool: ProcessPoolExecutor, fn: Callable[..., Any], *args: Any) -> BaseException:
    try:
        pool.submit(fn, *args).result(LIMIT)
    except BaseException as error:
        return error
    raise AssertionError


def by_map(pool: ProcessPoolExecutor, fn: Callable[..., Any], *args: Any) -> BaseException:
    try:
        list(pool.map(fn, *([arg] for arg in args or [None])))
    except BaseException as error:
        return error
    raise AssertionError


def by_chunks(pool: ProcessPoolExecutor, fn: Callable[..., Any], *args: Any) -> BaseException:
    try:
        list(pool.map(fn, *([arg] for arg in args or [None]), chunksize=2))
    except BaseException as error:
        return error
    raise AssertionError


def by_await(pool: ProcessPoolExecutor, fn: Callable[..., Any], *args: Any) -> BaseException:
    async def run() -> BaseException:
        try:
            await pool.submit(fn, *args)
        except BaseException as error:
            return error
        raise AssertionError

    return asyncio.run(run())


ROADS = [by_submit, by_result, by_map, by_chunks, by_await]


def names(error: BaseException) -> list[str]:
    """Give the functions in a traceback, outermost first."""
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


@pytest.mark.parametrize("road", ROADS)
def test_frames_of_the_worker_are_in_the_traceback(pool: ProcessPoolExecutor, road: Any) -> None:
    error = road(pool, work.fail_three_deep, "deep")

    assert type(error) is KeyError
    assert names(error)[-3:] == ["fail_three_deep", "second", "third"]
    text = "".join(traceback.format_exception(error))
    assert "raise KeyError(text)  # the place" in text  # with its source line


@pytest.mark.parametrize("road", ROADS)
def test_cause_context_and_notes_arrive(pool: ProcessPoolExecutor, road: Any) -> None:
    error = road(pool, work.fail_with_history, "x")

    assert type(error) is ValueError
    assert error.args == ("top", 3)
    assert error.__notes__ == ["first note", "second note"]
    assert type(error.__cause__) is KeyError
    assert type(error.__cause__.__context__) is ZeroDivisionError
    assert error.__suppress_context__
    assert names(error.__cause__)[-1] == "fail_with_history"
    text = "".join(traceback.format_exception(error))
    assert "direct cause" in text
    assert "During handling" in text
    assert "first note" in text


def test_groups_arrive_with_members_and_their_frames(pool: ProcessPoolExecutor) -> None:
    error = by_submit(pool, work.fail_in_a_group, "x")

    assert isinstance(error, ExceptionGroup)
    assert error.message == "several"
    assert [type(member) for member in error.exceptions] == [ValueError, ExceptionGroup]
    inner = error.exceptions[1]
    assert isinstance(inner, ExceptionGroup)
    assert [str(member) for member in inner.exceptions] == ["'inner'"]
    assert names(error.exceptions[0])[-1] == "fail_in_a_group"
    matched, rest = error.split(KeyError)
    assert matched is not None
    assert rest is not None


@pytest.mark.parametrize("road", ROADS)
def test_exception_whose_constructor_wants_more_arrives_whole(pool: ProcessPoolExecutor, road: Any) -> None:
    error = road(pool, work.raise_bad_init_for, "x")

    assert type(error) is work.BadInit
    assert (error.a, error.b) == (1, 2)
    assert str(error) == "1 and 2"


def test_exception_that_holds_what_cannot_travel_keeps_its_type(pool: ProcessPoolExecutor) -> None:
    error = by_submit(pool, work.raise_holding_lock)

    assert isinstance(error, work.HoldsLock)
    assert "locked" in str(error)
    assert "lock" in "".join(error.__notes__)  # and says what it lost


def test_exception_of_a_class_that_only_the_worker_knows_matches_its_base(pool: ProcessPoolExecutor) -> None:
    error = by_submit(pool, work.raise_unknown_class)

    assert isinstance(error, LookupError)
    assert "only here" in str(error)
    if isinstance(error, RemoteError):
        assert "Local" in error.type_name
        assert "raise_unknown_class" in error.traceback_text


def test_every_asker_gets_an_error_with_the_remote_frames_once(pool: ProcessPoolExecutor) -> None:
    future = pool.submit(work.fail_three_deep, "deep")
    future.exception(LIMIT)
    lengths = []

    for _ in range(5):
        with pytest.raises(KeyError) as caught:
            future.result(0)
        lengths.append(len(names(caught.value)))

    assert len(set(lengths)) == 1  # it does not grow with every look


def test_post_mortem_stands_in_the_worker_s_frame(
    pool: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = by_result(pool, work.fail_three_deep, "deep")
    shown: list[str] = []

    class Debugger(pdb.Pdb):
        def interaction(self, frame: Any, tb: Any) -> None:
            self.setup(frame, tb)
            assert self.curframe is not None
            shown.append(self.curframe.f_code.co_name)
            shown.append(linecache.getline(self.curframe.f_code.co_filename, self.curframe.f_lineno))

    debugger = Debugger(nosigint=True, readrc=False)
    debugger.reset()
    debugger.interaction(None, error.__traceback__)

    assert shown[0] == "third"
    assert "raise KeyError(text)" in shown[1]


def test_frames_of_source_that_only_the_worker_has_are_shown(pool: ProcessPoolExecutor) -> None:
    error = by_submit(pool, work.fail_in_made_up_source)

    assert isinstance(error, ZeroDivisionError)
    assert names(error)[-1] == "made_up"
    assert "in no file" in "".join(traceback.format_exception(error))


def test_system_exit_and_keyboard_interrupt_are_errors_of_the_call(pool: ProcessPoolExecutor) -> None:
    pid = pool.submit(work.pid).result(LIMIT)

    for error in (SystemExit(3), KeyboardInterrupt("mine"), GeneratorExit(), asyncio.CancelledError()):
        got = by_submit(pool, work.fail, error)

        assert type(got) is type(error)
        assert got.args == error.args
    assert pool.submit(work.pid).result(LIMIT) == pid


def test_cancelled_error_of_the_user_s_own_is_no_cancelled_call(pool: ProcessPoolExecutor) -> None:
    future = pool.submit(work.fail, concurrent.futures.CancelledError())

    assert type(future.exception(LIMIT)) is concurrent.futures.CancelledError
    assert not future.cancelled()


def test_error_with_a_very_long_chain_arrives(pool: ProcessPoolExecutor) -> None:
    error = by_submit(pool, work.fail_with_long_chain, 5000)

    depth = 0
    link: BaseException | None = error
    while link is not None:
        depth, link = depth + 1, link.__cause__
    assert type(error) is ValueError
    assert depth >= 50


def test_deep_recursion_is_an_ordinary_error(pool: ProcessPoolExecutor) -> None:
    pid = pool.submit(work.pid).result(LIMIT)

    assert isinstance(by_submit(pool, work.recurse), RecursionError)
    assert pool.submit(work.pid).result(LIMIT) == pid


def test_memory_error_is_an_ordinary_error(pool: ProcessPoolExecutor) -> None:
    pid = pool.submit(work.pid).result(LIMIT)

    assert isinstance(by_submit(pool, work.fail, MemoryError("mine")), MemoryError)
    assert pool.submit(work.pid).result(LIMIT) == pid
