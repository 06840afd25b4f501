from __future__ import annotations

import concurrent.futures
import copy
import pickle
import signal
from concurrent.futures.process import BrokenProcessPool

import pytest

from ezflow import errors
from ezflow._anatomy import blank
from ezflow.errors import (
    CallInterrupted,
    CallTimeout,
    EzflowError,
    PicklingAttributeError,
    PicklingError,
    PicklingTypeError,
    PoolBroken,
    RemoteError,
    UnpicklingError,
    WorkerDied,
    WrongProcess,
)

# -- the tree


@pytest.mark.parametrize(
    ("cls", "standard"),
    [
        (WorkerDied, BrokenProcessPool),
        (PoolBroken, BrokenProcessPool),
        (CallTimeout, TimeoutError),
        (CallTimeout, concurrent.futures.TimeoutError),
        (PicklingError, pickle.PicklingError),
        (PicklingTypeError, TypeError),
        (PicklingAttributeError, AttributeError),
        (UnpicklingError, pickle.UnpicklingError),
        (UnpicklingError, BrokenProcessPool),
        (WrongProcess, RuntimeError),
    ],
)
def test_old_except_lines_still_match(cls: type[BaseException], standard: type[BaseException]) -> None:
    assert issubclass(cls, standard)
    assert issubclass(cls, EzflowError)


def test_an_interrupt_is_no_error_of_ours_and_passes_except_exception() -> None:
    assert issubclass(CallInterrupted, KeyboardInterrupt)
    assert not issubclass(CallInterrupted, Exception)
    assert not issubclass(CallInterrupted, EzflowError)


def test_the_tree_in_the_docstring_names_every_class() -> None:
    assert errors.__doc__ is not None
    for name in errors.__all__:
        assert name in errors.__doc__


# -- pickling


def one_of_each() -> list[BaseException]:
    cause = ValueError("why")
    made: list[BaseException] = [
        EzflowError("plain"),
        errors.worker_died(41, -9, "crop"),
        errors.pool_broken(cause, "initializer"),
        errors.call_timeout("crop", 1.5, cause),
        errors.unpicklable("result", "crop", cause, "[0].lock"),
        errors.unpicklable("argument", "crop", TypeError("lock")),
        errors.unpicklable("function", "crop", AttributeError("lambda")),
        errors.unreadable("argument", "crop", cause),
        errors.wrong_process(1),
        errors.garbled(cause),
        errors.stand_in_class((KeyError, AttributeError))("both"),
        CallInterrupted("stop"),
    ]
    return made


@pytest.mark.parametrize("error", one_of_each(), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_errors_pickle_with_attributes_notes_and_cause(error: BaseException, protocol: int) -> None:
    error = copy.copy(error)
    error.add_note("a note")

    again = pickle.loads(pickle.dumps(error, protocol))

    assert type(again) is type(error)
    assert again.args == error.args
    assert str(again) == str(error)
    assert vars(again) == vars(error)
    assert again.__notes__ == ["a note"]
    if isinstance(error, EzflowError):
        assert repr(again.__cause__) == repr(error.__cause__)
        assert again.__suppress_context__ == error.__suppress_context__


def test_an_error_that_is_its_own_cause_s_cause_pickles() -> None:
    error, cause = EzflowError("a"), EzflowError("b")
    error.__cause__, cause.__cause__ = cause, error

    again = pickle.loads(pickle.dumps(error))

    assert again.__cause__.__cause__ is again


def test_a_stand_in_for_a_group_pickles_with_its_members() -> None:
    cls = errors.stand_in_class((ExceptionGroup,))
    error = blank(cls, ("g", (ValueError(1), KeyError(2))))

    again = pickle.loads(pickle.dumps(error))

    assert isinstance(again, ExceptionGroup)
    assert [type(member) for member in again.exceptions] == [ValueError, KeyError]


def test_errors_can_be_made_with_the_message_only() -> None:
    for name in errors.__all__:
        assert getattr(errors, name)("text").args == ("text",)


# -- stand-ins


def test_a_stand_in_takes_as_many_bases_as_can_be_combined() -> None:
    class Odd(type):
        pass

    class OddError(ValueError, metaclass=Odd):
        pass

    assert issubclass(errors.stand_in_class((KeyError, ValueError)), (KeyError, ValueError))
    assert issubclass(errors.stand_in_class((OddError,)), OddError)
    assert issubclass(
        errors.stand_in_class((OSError, SyntaxError)), OSError
    )  # layouts that exclude each other
    assert errors.stand_in_class(()) is RemoteError
    assert errors.stand_in_class((Exception,)) is RemoteError


def test_a_base_that_forbids_subclasses_is_passed_over() -> None:
    class Final(ValueError):
        def __init_subclass__(cls) -> None:
            raise TypeError("final")

    cls = errors.stand_in_class((Final, ValueError, Exception))

    assert cls.__bases__ == (RemoteError, ValueError)


def test_a_stand_in_shows_its_own_fields_even_if_a_base_has_a_property_of_that_name() -> None:
    class Computed(ValueError):
        @property
        def message(self) -> str:
            return "computed"

    error = blank(errors.stand_in_class((Computed,)))
    vars(error)["message"] = "carried"

    assert error.message == "carried"


# -- wording


def test_worker_died_names_pid_signal_call_and_what_to_do() -> None:
    error = errors.worker_died(4121, -signal.SIGKILL, "crop")

    assert str(error) == (
        "Worker pid 4121 ended by signal 9 (SIGKILL) while it ran crop. On Linux the usual cause is lack of"
        " memory. Use fewer workers or smaller inputs. One call failed; the pool goes on."
    )
    assert (error.pid, error.exitcode, error.signal, error.call) == (4121, -9, "SIGKILL", "crop")


@pytest.mark.parametrize(
    ("exitcode", "options", "words", "name"),
    [
        (-9, {"oom_killed": True}, "almost certainly", "SIGKILL"),
        (-11, {}, "fault in compiled code", "SIGSEGV"),
        (-15, {}, "Something sent it: the call itself, another program", "SIGTERM"),
        (-42, {}, "ended by signal 42", "signal 42"),
        (3, {}, "ended with exit code 3", None),
        (4, {}, "os._exit() in the call", None),
        (0, {}, "ended with exit code 0", None),
        (None, {}, "ended, cause unknown", None),
    ],
)
def test_worker_died_says_what_is_known(
    exitcode: int | None, options: dict[str, bool], words: str, name: str | None
) -> None:
    error = errors.worker_died(1, exitcode, "f", **options)

    assert words in str(error)
    assert error.signal == name
    assert str(error).endswith("One call failed; the pool goes on.")


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_worker_that_the_pool_has_ended_does_not_blame_memory(signum: int) -> None:
    text = str(errors.worker_died(1, -signum, "f", by_pool=True))

    assert "told to end its workers" in text
    assert "memory" not in text
    assert "goes on" not in text


def test_a_worker_that_died_early_ran_no_call() -> None:
    text = str(errors.worker_died(1, 3, None))

    assert "os._exit() in the initializer" in text
    assert "the call" not in text
    assert "before it was ready" in text
    assert "One call failed" not in text


def test_pool_broken_carries_the_initializer_s_own_error() -> None:
    cause = ValueError("no licence")

    error = errors.pool_broken(cause, "initializer")

    assert error.__cause__ is cause
    assert "its initializer raised ValueError: no licence" in str(error)


def test_call_timeout_says_whether_the_call_reacted() -> None:
    stuck = CallInterrupted()

    assert errors.call_timeout("f", 2, stuck).__cause__ is stuck
    assert "limit of 2 s" in str(errors.call_timeout("f", 2, stuck))
    assert "interrupted at the place that its traceback shows" in str(errors.call_timeout("f", 2, stuck))
    assert "its worker was killed" in str(errors.call_timeout("f", 0.25, None))
    assert "it raised KeyError: 1" in str(errors.call_timeout("f", 2, KeyError(1)))
    assert errors.call_timeout("f", 0.25, None).seconds == 0.25


@pytest.mark.parametrize(
    ("cause", "cls"),
    [
        (TypeError("t"), PicklingTypeError),
        (AttributeError("a"), PicklingAttributeError),
        (pickle.PicklingError("p"), PicklingError),
        (RecursionError("r"), PicklingError),
    ],
)
def test_what_cannot_be_sent_has_the_type_of_pickle_s_own_error(
    cause: Exception, cls: type[Exception]
) -> None:
    error = errors.unpicklable("argument", "crop", cause, "args[0].lock")

    assert type(error) is cls
    assert error.__cause__ is cause
    assert (error.direction, error.path, error.call) == ("argument", "args[0].lock", "crop")
    assert "crop was not sent: an argument at args[0].lock cannot be pickled" in str(error)
    assert repr(str(cause))[1:-1] in str(error)


@pytest.mark.parametrize(
    ("obj", "advice"),
    [
        (concurrent.futures.Future(), "Pass its result(), or submit when it is done."),
        (concurrent.futures.Executor(), "Make a pool inside the call, or return what is to be done next."),
    ],
)
def test_what_stays_in_its_process_comes_with_one_advice(obj: object, advice: str) -> None:
    error = errors.unpicklable("argument", "crop", errors.stays_here(obj, type(obj)), "args[0]")

    name = type(obj).__name__
    assert str(error) == (
        "crop was not sent: an argument at args[0] cannot be pickled"
        f" (TypeError: a {name} lives in the process that made it). {advice}"
    )


def test_the_path_is_taken_from_the_cause_if_it_knows_it() -> None:
    cause = errors.unpicklable("result", "crop", TypeError("lock"), "[2].lock")

    assert errors.unpicklable_result("crop", cause).path == "[2].lock"


def test_a_path_that_says_nothing_is_not_shown() -> None:
    assert "the result cannot be pickled" in str(errors.unpicklable("result", "f", TypeError("x"), "result"))


def test_a_message_survives_a_cause_without_text() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert "Mute" in str(errors.unreadable("result", "f", Mute()))


def test_a_coroutine_is_told_from_other_things_that_cannot_be_called() -> None:
    async def fetch() -> None: ...

    coroutine = fetch()

    text = str(errors.not_a_function(coroutine))
    coroutine.close()
    assert "submit(" in text
    assert "fetch" in text
    assert "type int cannot be called" in str(errors.not_a_function(3))


def test_late_submits_have_the_standard_text() -> None:
    assert str(errors.cannot_submit()) == "cannot schedule new futures after shutdown"
    assert (
        str(errors.cannot_submit(interpreter=True))
        == "cannot schedule new futures after interpreter shutdown"
    )
