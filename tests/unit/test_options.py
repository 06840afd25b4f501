"""The record of options: what may be in it, who wins, and that it cannot be changed."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import cloudpickle
import pytest

from ezflow import task
from ezflow._plan import Plan
from ezflow.errors import CallTimeout, WorkerDied
from ezflow.options import NOTHING, Options, Retry, seconds_or_none, text, whole_number


def test_what_was_not_given_differs_from_what_was_given_as_none() -> None:
    lifted = Options(timeout=None)

    assert "timeout" in lifted
    assert "timeout" not in NOTHING
    assert lifted != NOTHING
    assert Options(timeout=3.0).under(lifted).get("timeout", 9) is None
    assert Options(timeout=3.0).under(NOTHING).get("timeout") == 3.0
    assert Options(timeout=3.0).under(None).get("timeout") == 3.0


def test_having_and_under_leave_the_original_alone() -> None:
    first = Options(timeout=1.0)

    assert first.having("timeout", 2.0).having("priority", 3) == Options(priority=3, timeout=2.0)
    assert first.under(Options(timeout=5.0, named="x")) == Options(named="x", timeout=5.0)
    assert first.without("timeout", "named") == NOTHING
    assert first == Options(timeout=1.0)


def test_order_of_giving_has_no_part_in_comparing() -> None:
    one, other = Options(timeout=1.0, named="x"), Options(named="x", timeout=1.0)

    assert one == other
    assert hash(one) == hash(other)
    assert list(one) == list(other)
    assert repr(one) == repr(other)
    assert one != "Options"


def test_unknown_option_is_an_error() -> None:
    with pytest.raises(TypeError, match="'tiemout'"):
        Options(tiemout=3)


def test_background_and_asynced_exclude_each_other() -> None:
    with pytest.raises(TypeError, match=r"background.*asynced"):
        Options(background=True, asynced=True)


@pytest.mark.parametrize(("near", "far"), [("background", "asynced"), ("asynced", "background")])
def test_of_background_and_asynced_of_two_places_the_nearer_wins(near: str, far: str) -> None:
    merged = Options(**{far: True}).under(Options(**{near: True}))

    assert (merged.get(near), merged.get(far)) == (True, False)


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
def test_options_travel_and_are_copied(dumps: Any) -> None:
    options = Options(timeout=1.0, retry=Retry(2, (ValueError, OSError), 1.0, 2.0), named="x")

    assert pickle.loads(dumps(options)) == options
    assert copy.copy(options) == options
    assert copy.deepcopy(options) == options


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ((1.5,), TypeError),
        ((True,), TypeError),
        (("2",), TypeError),
        ((-1,), ValueError),
        ((1, "ValueError"), TypeError),
        ((1, (ValueError, int)), TypeError),
        ((1, [ValueError]), TypeError),
        ((1, (Exception,), -1), ValueError),
        ((1, (Exception,), "1"), TypeError),
        ((1, (Exception,), float("nan")), ValueError),
        ((1, (Exception,), 0, -1), ValueError),
        ((1, (Exception,), 0, None), TypeError),
    ],
)
def test_retry_refuses_what_makes_no_sense(args: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error, match="retry"):
        Retry(*args)


def test_retry_takes_one_class_or_several() -> None:
    assert Retry(1, ValueError).on == (ValueError,)
    assert Retry(1) == Retry(1, (Exception,), 0, 1)
    assert Retry(1) != Retry(2)
    assert hash(Retry(1, ValueError)) == hash(Retry(1, (ValueError,)))
    assert repr(Retry(2, ValueError, 0.5, 2)) == "Retry(2, on=(ValueError,), delay=0.5, backoff=2)"


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (float("nan"), ValueError),
        ("3", TypeError),
        (b"3", TypeError),
        (True, TypeError),
        ([], TypeError),
        (object(), TypeError),
        (1j, TypeError),
        (10**400, (ValueError, OverflowError)),
    ],
)
def test_limits_refuse_what_is_no_span_of_time(value: Any, error: Any) -> None:
    with pytest.raises(error):
        seconds_or_none("timeout", value)


def test_limits_take_numbers_and_none() -> None:
    from decimal import Decimal
    from fractions import Fraction

    assert seconds_or_none("timeout", None) is None
    assert seconds_or_none("timeout", float("inf")) is None
    assert seconds_or_none("timeout", 2) == 2.0
    assert seconds_or_none("timeout", Fraction(1, 2)) == 0.5
    assert seconds_or_none("timeout", Decimal("0.5")) == 0.5


class Two:
    """A whole number of another type, such as numpy's."""

    def __index__(self) -> int:
        return 2


def test_priority_and_label_are_checked() -> None:
    assert whole_number("priority", -3) == -3
    assert type(whole_number("priority", Two())) is int  # type: ignore[arg-type]  # the same
    assert Retry(Two()) == Retry(2)  # type: ignore[arg-type]  # checkers know that it is none
    assert text("named", "") == ""
    for value in (1.0, True, "1", None):
        with pytest.raises(TypeError, match="priority"):
            whole_number("priority", value)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="named"):
        text("named", b"x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("on", "died", "timed_out"),
    [
        (Exception, False, True),
        (BaseException, False, True),
        (ValueError, False, False),
        (CallTimeout, False, True),
        (TimeoutError, False, True),
        (WorkerDied, True, False),
        ((ValueError, WorkerDied), True, False),
    ],
)
def test_death_of_a_worker_counts_only_if_it_is_named(on: Any, died: bool, timed_out: bool) -> None:
    retry = Plan(Options(retry=Retry(1, on)))._retry

    assert retry is not None
    assert (retry.died, retry.timed_out) == (died, timed_out)


def test_broken_pool_names_the_death_of_a_worker() -> None:
    from concurrent.futures import BrokenExecutor
    from concurrent.futures.process import BrokenProcessPool

    for on in (BrokenProcessPool, BrokenExecutor):
        retry = Plan(Options(retry=Retry(1, on)))._retry
        assert retry is not None
        assert retry.died


def test_no_further_runs_are_no_retry() -> None:
    plan = Plan(Options(retry=Retry(0)))

    assert plan._retry is None
    assert plan.extras(None) is None


@pytest.mark.parametrize(
    "written",
    [
        "",
        ".timeout(2.5)",
        ".retry(3)",
        ".retry(2, on=KeyError, delay=0.5, backoff=2)",
        ".retry(2, on=(KeyError, OSError))",
        ".named('parsing').results().star().timeout(None)",
        ".progress('bar', always=True)",
        ".progress()",
        ".priority(-1).stream(4)",
    ],
)
def test_words_are_shown_as_they_are_written(written: str) -> None:
    assert repr(eval(f"task(len){written}")) == f"task(len){written}"


def test_limits_that_are_none_are_refused() -> None:
    for seconds in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=f"timeout takes more than 0 seconds, or None, not {seconds}"):
            task(len).timeout(seconds)
