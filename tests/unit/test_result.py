"""The envelope of a finished call: frozen, compared by its end, and nothing is lost when it travels."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest

from ezflow import Result

DUMPS = [pytest.param(pickle.dumps, id="pickle"), pytest.param(cloudpickle.dumps, id="cloudpickle")]


class Odd(ValueError):
    """Has a constructor that its args do not fit, and an attribute."""

    def __init__(self, number: int, *, reason: str) -> None:
        super().__init__(f"{number}: {reason}")
        self.reason = reason


def raise_chain() -> None:
    """Raise an error with everything that can hang on one."""
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            raise Odd(3, reason="odd") from first
    except Odd as error:
        error.add_note("a note")
        raise


def raise_group() -> None:
    raise ExceptionGroup(
        "several", [Odd(1, reason="a"), OSError(2, "b"), ExceptionGroup("inner", [KeyError(1)])]
    )


def failed(fn: Callable[[], object] = raise_chain) -> Result[Any]:
    return Result.capture(fn)


# ---------------------------------------------------------------- what it is


def test_success_is_the_absence_of_an_error() -> None:
    for value in (1, None, False, 0, "", ValueError("a value")):
        result = Result(value)

        assert result
        assert result.ok is value
        assert result.err is None
        assert result.unwrap() is value
        assert result.unwrap_or("default") is value
    assert not Result(err=ValueError())
    assert Result(err=ValueError()).unwrap_or("default") == "default"


def test_unwrap_raises_the_very_error() -> None:
    error = ValueError("x")

    with pytest.raises(ValueError, match="x") as caught:
        Result(err=error).unwrap()

    assert caught.value is error


def test_value_and_error_exclude_each_other() -> None:
    with pytest.raises(TypeError, match="not both"):
        Result(3, ValueError())
    with pytest.raises(TypeError, match="exception"):
        Result(err="ValueError")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="exception"):
        Result(err=ValueError)  # type: ignore[arg-type]


def test_matching_opens_it() -> None:
    def open_(result: Result[Any]) -> object:
        match result:
            case Result(value, None):
                return value
            case Result(_, ValueError() as error):
                return str(error)
            case Result(err=error):
                return type(error)

    assert open_(Result(None)) is None
    assert open_(Result((1, 2))) == (1, 2)
    assert open_(Result(err=ValueError("x"))) == "x"
    assert open_(Result(err=KeyError("x"))) is KeyError


def test_it_cannot_be_changed() -> None:
    result = Result(3, index=1)

    for name in ("ok", "err", "index", "attempts", "seconds", "pid", "new"):
        with pytest.raises(AttributeError, match=name):
            setattr(result, name, 4)
    with pytest.raises(AttributeError, match="ok"):
        del result.ok
    assert (result.ok, result.index) == (3, 1)
    assert not hasattr(result, "__dict__")


def test_generic_at_run_time() -> None:
    assert Result[int](3) == Result(3)


def test_facts_have_no_part_in_comparing() -> None:
    one = Result(3, index=0, attempts=1, seconds=0.5, pid=7)

    assert one == Result(3)
    assert hash(one) == hash(Result(3))
    assert Result(3) != Result(4)
    assert Result(None) != Result(err=ValueError())
    assert Result(3) != 3
    assert len({Result(3), one, Result(4)}) == 2


def test_errors_compare_by_type_and_arguments() -> None:
    assert Result(err=ValueError(1)) == Result(err=ValueError(1))
    assert hash(Result(err=ValueError(1))) == hash(Result(err=ValueError(1)))
    assert Result(err=ValueError(1)) != Result(err=ValueError(2))
    assert Result(err=ValueError(1)) != Result(err=UnicodeError(1))


def test_value_that_cannot_be_hashed_is_no_key() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Result([1]))


def test_repr_shows_the_end() -> None:
    assert repr(Result([1, "a"])) == "Result(ok=[1, 'a'])"
    assert repr(Result(None, index=3)) == "Result(ok=None)"
    assert repr(Result(err=ValueError("x"))) == "Result(err=ValueError('x'))"


def test_map_changes_the_value_and_keeps_error_and_facts() -> None:
    result = Result(3, index=2, attempts=4, seconds=0.5, pid=7)

    doubled = result.map(lambda x: x * 2)
    assert (doubled.ok, doubled.index, doubled.attempts, doubled.seconds, doubled.pid) == (6, 2, 4, 0.5, 7)
    divided = result.map(lambda x: x / 0)
    assert isinstance(divided.err, ZeroDivisionError)
    assert divided.index == 2
    error = KeyError("x")
    assert Result(err=error, index=5).map(len).err is error
    assert Result(err=error, index=5).map(len).index == 5


# ---------------------------------------------------------------- capture


def test_capture_gives_value_or_error() -> None:
    assert Result.capture(pow, 2, 10) == Result(1024)
    assert Result.capture(int, "11", base=2) == Result(3)
    result: Result[Any] = Result.capture(raise_chain)
    assert isinstance(result.err, Odd)
    assert result.attempts == 1
    assert result.seconds is not None


def test_capture_passes_every_keyword_on() -> None:
    def take(**kwargs: int) -> dict[str, int]:
        return kwargs

    keywords = {"fn": 1, "self": 2, "ok": 3, "args": 4, "kwargs": 5}
    assert Result.capture(take, **keywords).ok == keywords


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, concurrent.futures.CancelledError]
)
def test_ends_that_are_not_the_call_s_are_raised(error: type[BaseException]) -> None:
    def end() -> None:
        raise error

    with pytest.raises(error):
        Result.capture(end)
    with pytest.raises(error):
        Result(1).map(lambda _: end())


# ---------------------------------------------------------------- travelling


@pytest.mark.parametrize("dumps", DUMPS)
def test_facts_and_value_travel(dumps: Any) -> None:
    back = pickle.loads(dumps(Result([1, {"a": None}], index=1, attempts=2, seconds=0.25, pid=9)))

    assert back == Result([1, {"a": None}])
    assert (back.index, back.attempts, back.seconds, back.pid) == (1, 2, 0.25, 9)


@pytest.mark.parametrize("dumps", DUMPS)
def test_error_travels_with_all_that_hangs_on_it(dumps: Any) -> None:
    result = failed()

    error = pickle.loads(dumps(result)).err

    assert type(error) is Odd
    assert error.args == ("3: odd",)
    assert error.reason == "odd"
    assert error.__notes__[0] == "a note"
    assert type(error.__cause__) is KeyError
    assert error.__suppress_context__
    frames = traceback.extract_tb(error.__traceback__)
    assert [frame.name for frame in frames][-1] == "raise_chain"
    assert frames[-1].filename == __file__
    assert "raise Odd(3" in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("dumps", DUMPS)
def test_groups_travel(dumps: Any) -> None:
    error = pickle.loads(dumps(failed(raise_group))).err

    assert isinstance(error, ExceptionGroup)
    assert [type(member) for member in error.exceptions] == [Odd, FileNotFoundError, ExceptionGroup]
    assert error.exceptions[0].reason == "a"  # type: ignore[union-attr]
    assert error.subgroup(KeyError) is not None


@pytest.mark.parametrize("dumps", DUMPS)
def test_travelling_twice_loses_nothing(dumps: Any) -> None:
    error = pickle.loads(dumps(pickle.loads(dumps(failed())))).err

    assert type(error) is Odd
    assert error.reason == "odd"
    assert traceback.extract_tb(error.__traceback__)[-1].name == "raise_chain"


@pytest.mark.parametrize("dumps", DUMPS)
def test_error_that_cannot_travel_has_a_stand_in(dumps: Any) -> None:
    class Local(LookupError):
        pass

    def end() -> None:
        raise Local(lambda: open("/dev/null"))  # noqa: SIM115 - never called

    error = pickle.loads(dumps(Result.capture(end))).err

    assert isinstance(error, LookupError)


def test_copies_are_equal() -> None:
    for result in (Result([1]), failed()):
        assert copy.copy(result) == result
        assert copy.deepcopy(result) == result


# ---------------------------------------------------------------- notebooks


class Printer:
    """What IPython hands to `_repr_pretty_`."""

    def __init__(self) -> None:
        self.shown = ""

    def text(self, text: str) -> None:
        self.shown += text


def test_notebook_shows_the_traceback() -> None:
    printer = Printer()

    failed()._repr_pretty_(printer, cycle=False)

    assert printer.shown.startswith("Result(err=Odd('3: odd'))\n")
    assert "raise KeyError" in printer.shown
    assert "in raise_chain" in printer.shown
    assert printer.shown.endswith("a note")


def test_notebook_shows_a_value_like_its_repr() -> None:
    for cycle, result in ((False, Result([1])), (True, failed())):
        printer = Printer()

        result._repr_pretty_(printer, cycle=cycle)

        assert printer.shown == repr(result)


def test_ipython_prints_it() -> None:
    pretty = pytest.importorskip("IPython.lib.pretty")

    assert "in raise_chain" in pretty.pretty(failed())
    assert pretty.pretty([Result(3)]) == "[Result(ok=3)]"
