"""What ezflow raises, and the wording of each message.

.. code-block:: text

    Exception
    └─ EzflowError
       ├─ WorkerDied            (+ BrokenProcessPool)       the process ended under one call; the pool goes on
       ├─ PoolBroken            (+ BrokenProcessPool)       the pool cannot start workers any more
       ├─ CallTimeout           (+ TimeoutError)            the call ran longer than its limit
       ├─ PicklingError         (+ pickle.PicklingError)    something could not be sent
       │  ├─ PicklingTypeError       (+ TypeError)          … and pickle's own error was a TypeError
       │  └─ PicklingAttributeError  (+ AttributeError)     … and pickle's own error was an AttributeError
       ├─ UnpicklingError       (+ BrokenProcessPool, pickle.UnpicklingError)
       │                                                    something arrived and could not be rebuilt
       ├─ RemoteError           (+ bases of the original)   stands in for an exception that could not be rebuilt
       ├─ GraphError            (+ TypeError, ValueError)   a graph was written that cannot run
       ├─ JournalError          (+ ValueError)              a flow cannot be resumed from this journal
       └─ WrongProcess          (+ RuntimeError)            a process used a pool that is not its own

    KeyboardInterrupt
    └─ CallInterrupted                                      raised inside a worker to stop a call

Each class also derives from the standard one that it replaces, so old
``except`` lines still match.  A cancelled call raises
`concurrent.futures.CancelledError`, as in the standard library.

The functions at the end build the messages.  The wording of ezflow's own errors
is here, so it can be read and tested together; bad arguments are complained of
where they are looked at.  A message says what failed, why, and what to do.

Workers do not import this module: `BrokenProcessPool` would cost each of them
10 to 16 ms.  A worker sends facts, the parent words them.
"""

# ruff: noqa: N818  # the names say what happened, as BrokenProcessPool and KeyboardInterrupt do

from __future__ import annotations

import os
import pickle
import signal as _signal
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache

from ._anatomy import GROUP_MESSAGE, blank, field_values, fields, mro
from ._interrupt import CallInterrupted

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Literal, TypeAlias

__all__ = [
    "CallInterrupted",
    "CallTimeout",
    "EzflowError",
    "GraphError",
    "JournalError",
    "PicklingAttributeError",
    "PicklingError",
    "PicklingTypeError",
    "PoolBroken",
    "RemoteError",
    "UnpicklingError",
    "WorkerDied",
    "WrongProcess",
]

Direction: TypeAlias = "Literal['argument', 'function', 'result', 'exception', 'initializer']"
"""What was on its way when pickling or unpickling failed."""


class EzflowError(Exception):
    """Base class of all errors that ezflow raises itself.

    An error of your own function keeps its type and does not derive from this.

    Notes
    -----
    Every error of this tree pickles and copies with its attributes, notes and
    ``__cause__``.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # The state travels as the third member: pickle then knows the object, so a cycle of causes ends.
        state = {
            "args": self.args,
            "attributes": dict(self.__dict__),
            "cause": self.__cause__,
            "suppress": self.__suppress_context__,
        }
        return blank, (type(self),), state

    def __setstate__(self, state: dict[str, Any] | None) -> None:
        if state is None:
            return
        self.args = state["args"]
        self.__dict__.update(state["attributes"])
        self.__cause__ = state["cause"]
        self.__suppress_context__ = state["suppress"]


class WorkerDied(EzflowError, BrokenProcessPool):
    """The worker process ended while it ran this call.

    Only this call fails; calls queued behind it run elsewhere and the pool goes
    on.  The call had started, so it may have done part of its work.

    Parameters
    ----------
    message : str
        What happened and what to do.
    pid : int, optional
        Process id of the worker.
    exitcode : int, optional
        Exit code; negative is the number of a signal, as in `multiprocessing`.
        None if it could not be had.
    call : str, optional
        Label of the call that was running.

    Attributes
    ----------
    pid : int or None
        Process id of the worker.
    exitcode : int or None
        Exit code; negative is the number of a signal.
    signal : str or None
        Name of the signal that ended the worker, such as ``"SIGKILL"``.
    call : str or None
        Label of the call that was running.
    """

    def __init__(
        self,
        message: str = "",
        *,
        pid: int | None = None,
        exitcode: int | None = None,
        call: str | None = None,
    ) -> None:
        super().__init__(message)
        self.pid = pid
        self.exitcode = exitcode
        self.signal: str | None = _signal_name(exitcode)
        self.call = call


class PoolBroken(EzflowError, BrokenProcessPool):
    """The pool cannot run calls any more; every pending call ends with this.

    ``__cause__`` is the reason: the initializer's own error, or that of
    starting a process.
    """


class CallTimeout(EzflowError, TimeoutError):
    """The call ran longer than its limit and was stopped.

    ``__cause__`` is the `CallInterrupted` that was raised inside the call; its
    traceback ends where the call was stuck.  It is None if the call did not
    react and its worker was killed; then a note tells where it was.

    Parameters
    ----------
    message : str
        What happened and what to do.
    seconds : float, optional
        The limit in s.
    call : str, optional
        Label of the call.
    stack : str, optional
        Where the call was when its worker was killed.

    Attributes
    ----------
    seconds : float or None
        The limit in s.
    call : str or None
        Label of the call.
    stack : str or None
        Where the call was stuck, as lines of a traceback, most recent call last, also if it hung in C.
        None if it was not running, or its worker could not say any more.
    """

    def __init__(
        self,
        message: str = "",
        *,
        seconds: float | None = None,
        call: str | None = None,
        stack: str | None = None,
    ) -> None:
        super().__init__(message)
        self.seconds = seconds
        self.call = call
        self._stack = stack

    @property
    def stack(self) -> str | None:
        """Where the call was stuck.

        Returns
        -------
        str or None
            Lines of a traceback, most recent call last; None if it is not known.
        """
        cause = self.__cause__
        if self._stack is None and isinstance(cause, CallInterrupted):
            from traceback import format_tb

            return "".join(format_tb(cause.__traceback__)).rstrip("\n")
        return self._stack


class PicklingError(EzflowError, pickle.PicklingError):
    """Something could not be sent to or from a worker.

    ``__cause__`` is the error of pickle.  If that is a `TypeError` or an
    `AttributeError`, this error is one as well.

    Parameters
    ----------
    message : str
        What happened and what to do.
    direction : str, optional
        ``"argument"``, ``"function"``, ``"result"``, ``"exception"`` or ``"initializer"``.
    path : str, optional
        Where the offending object is, such as ``"args[0].lock"``.
    call : str, optional
        Label of the call.

    Attributes
    ----------
    direction : str or None
        What was on its way.
    path : str or None
        Where the offending object is.
    call : str or None
        Label of the call.
    """

    def __init__(
        self,
        message: str = "",
        *,
        direction: Direction | None = None,
        path: str | None = None,
        call: str | None = None,
    ) -> None:
        super().__init__(message)
        self.direction = direction
        self.path = path
        self.call = call


class PicklingTypeError(PicklingError, TypeError):
    """Something could not be sent, and pickle's own error was a `TypeError`."""


class PicklingAttributeError(PicklingError, AttributeError):
    """Something could not be sent, and pickle's own error was an `AttributeError`."""


class UnpicklingError(EzflowError, BrokenProcessPool, pickle.UnpicklingError):
    """Something arrived and could not be rebuilt; only this call fails.

    ``__cause__`` is the error that unpickling raised.

    Parameters
    ----------
    message : str
        What happened and what to do.
    direction : str, optional
        ``"argument"``, ``"function"``, ``"result"``, ``"exception"`` or ``"initializer"``.
    call : str, optional
        Label of the call.

    Attributes
    ----------
    direction : str or None
        What was on its way.
    call : str or None
        Label of the call.
    """

    def __init__(
        self, message: str = "", *, direction: Direction | None = None, call: str | None = None
    ) -> None:
        super().__init__(message)
        self.direction = direction
        self.call = call


class RemoteError(EzflowError):
    """Stands in for an exception of a call that could not be rebuilt here.

    It is also an instance of the nearest base classes of the original that can
    be imported: ``except ValueError`` matches the stand-in of a
    ``class Weird(ValueError)``.  Traceback, cause, context, notes and those
    attributes that could be rebuilt are the original's.

    Attributes
    ----------
    type_name : str
        Module and name of the original class.
    message : str
        ``str()`` of the original, shortened if it was very long.
    args_repr : str
        ``repr()`` of the original's ``args``, shortened if it was very long.
    traceback_text : str
        The original's traceback as Python would have printed it.
    reason : str
        Why the original could not be rebuilt.
    """

    # Defaults on the class: they are found before a property of the same name in one of the other bases.
    type_name: str = ""
    message: str = ""
    args_repr: str = "()"
    traceback_text: str = ""
    reason: str = ""

    def __str__(self) -> str:
        if not self.type_name:
            return super().__str__()
        return f"{self.type_name}: {self.message}" if self.message else self.type_name

    def __reduce__(self) -> tuple[Any, ...]:
        _, _, state = super().__reduce__()
        group = None
        if isinstance(self, BaseExceptionGroup):
            group = (GROUP_MESSAGE.__get__(self), self.exceptions)  # needed when a group is made
        state["fields"] = dict(field_values(self))  # errno and the like
        return _blank_stand_in, (type(self).__bases__[1:], group), state

    def __setstate__(self, state: dict[str, Any] | None) -> None:
        super().__setstate__(state)
        for name, descriptor, _ in fields(type(self)):
            if state is not None and name in state["fields"]:
                descriptor.__set__(self, state["fields"][name])


def stand_in_class(bases: Sequence[type[BaseException]]) -> type[RemoteError]:
    """Give the `RemoteError` that is also an instance of `bases`, nearest first, as far as they can be combined."""
    cls: type[RemoteError] = RemoteError
    taken: tuple[type[BaseException], ...] = ()
    for base in bases:
        if base in mro(cls):
            continue
        try:
            cls = _combined((*taken, base))
        except Exception:  # final classes, layouts, metaclasses or an __init_subclass__ that do not agree
            continue
        taken = (*taken, base)
    return cls


@lru_cache(maxsize=256)
def _combined(bases: tuple[type[BaseException], ...]) -> type[RemoteError]:
    """Make the class of a stand-in, once for each combination of bases."""
    name = f"RemoteError[{', '.join(base.__qualname__ for base in bases)}]"
    space = {"__module__": __name__, "__doc__": RemoteError.__doc__}
    return type(name, (RemoteError, *bases), space)


def _blank_stand_in(
    bases: tuple[type[BaseException], ...], group: tuple[str, tuple[BaseException, ...]] | None
) -> RemoteError:
    """Make a stand-in whose state `EzflowError.__setstate__` will set."""
    return blank(stand_in_class(bases), group)


class WrongProcess(EzflowError, RuntimeError):
    """The pool was used in a process that does not own it.

    That is a process forked from the pool's own, or a call that uses the very
    pool it runs on.
    """


class GraphError(EzflowError, TypeError, ValueError):
    """A graph was written that cannot run; found before anything runs.

    Parameters
    ----------
    message : str
        Where, what is wrong, and how to mend it.
    path : str, optional
        Path of the stage, such as ``"2/mean"``.

    Attributes
    ----------
    path : str
        Path of the stage; empty for the graph as such.
    """

    def __init__(self, message: str = "", *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class JournalError(EzflowError, ValueError):
    """A run cannot be resumed from this journal: it is another's, damaged, in use, or no journal at all.

    Nothing has been changed in the file.
    """


# -- wording

_CRASHES = frozenset({"SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT", "SIGSYS"})
_REQUESTS = frozenset({"SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"})


def _signal_name(exitcode: int | None) -> str | None:
    """Name the signal that an exit code stands for."""
    if exitcode is None or exitcode >= 0:
        return None
    try:
        return _signal.Signals(-exitcode).name
    except ValueError:
        return f"signal {-exitcode}"  # a real-time signal between the first and the last


def _one_line(error: BaseException | None) -> str:
    """Show an error in one short line, whatever its `__str__` does."""
    if error is None:
        return "unknown"
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = ""
    if len(text) > 300:
        text = text[:297] + "..."
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def worker_died(
    pid: int | None,
    exitcode: int | None,
    call: str | None,
    *,
    oom_killed: bool = False,
    by_pool: bool = False,
) -> WorkerDied:
    """Say that a worker ended under a call, or before it was ready if `call` is None.

    `oom_killed` says that the kernel's count of processes killed for lack of
    memory rose at the time; `by_pool`, that the pool was told to end its workers.
    """
    name = _signal_name(exitcode)
    what = "the call" if call is not None else "the initializer"
    if exitcode is None:
        how = "ended, cause unknown"
        why = "Its exit code could not be had: another part of this program collected it (waitpid)."
    elif name is None:
        how = f"ended with exit code {exitcode}"
        why = f"The usual cause is os._exit() in {what}, or a library that ends the process on an error."
    else:
        how = f"ended by {name}" if name.startswith("signal ") else f"ended by signal {-exitcode} ({name})"
        if by_pool:
            why = "The pool was told to end its workers: by kill_workers(), terminate_workers() or Ctrl-C."
        elif name == "SIGKILL" and oom_killed:
            why = (
                "The kernel killed a process for lack of memory at that time, so this is almost certainly"
                " the cause. Use fewer workers or smaller inputs."
            )
        elif name == "SIGKILL":
            why = "On Linux the usual cause is lack of memory. Use fewer workers or smaller inputs."
        elif name in _CRASHES:
            why = (
                "The usual cause is a fault in compiled code."
                " PYTHONFAULTHANDLER=1 in the environment shows where."
            )
        elif name in _REQUESTS:
            why = f"Something sent it: {what} itself, another program, or the system; the pool did not."
        else:
            why = "Nothing in the pool sends this signal."
    who = "A worker" if pid is None else f"Worker pid {pid}"
    when = f"while it ran {call}" if call is not None else "before it was ready"
    end = " One call failed; the pool goes on." if call is not None and not by_pool else ""
    return WorkerDied(f"{who} {how} {when}. {why}{end}", pid=pid, exitcode=exitcode, call=call)


def pool_broken(
    cause: BaseException | None, during: Literal["initializer", "start", "dispatcher"] = "start"
) -> PoolBroken:
    """Say that the pool cannot go on; `cause` becomes the error's cause."""
    if during == "initializer":
        text = (
            f"The pool is broken: its initializer raised {_one_line(cause)}."
            " No call can run. Fix the initializer and make a new pool."
        )
    elif during == "dispatcher":
        text = (
            f"The pool is broken: its dispatcher failed with {_one_line(cause)}."
            " This is a fault in ezflow; please report it with the traceback above. Make a new pool to go on."
        )
    elif cause is None:
        text = "The pool is broken: it cannot start workers. Make a new pool."
    else:
        text = (
            f"The pool is broken: it cannot start workers ({_one_line(cause)})."
            " Remove the cause and make a new pool."
        )
    error = PoolBroken(text)
    error.__cause__ = cause
    return error


def call_timeout(
    call: str, seconds: float, cause: BaseException | None, stack: str | None = None
) -> CallTimeout:
    """Say that a call was stopped at its limit; `cause` or `stack` shows where it was."""
    if isinstance(cause, CallInterrupted):
        how = "It was interrupted at the place that its traceback shows."
    elif cause is not None:
        how = f"When it was interrupted it raised {_one_line(cause)}."
    else:
        how = "It did not react to the interrupt, so its worker was killed."
    text = f"{call} ran longer than its limit of {seconds:g} s. {how} Give it more time or less work."
    return _timeout(text, call, seconds, cause, stack)


def out_of_time(
    call: str,
    seconds: float,
    cause: BaseException | None,
    stack: str | None = None,
    *,
    has_started: bool = True,
) -> CallTimeout:
    """Say that a call had not ended, waiting and repeating included, when its time was up."""
    if isinstance(cause, CallInterrupted):
        where = "It was stopped at the place that its traceback shows."
    elif has_started:
        where = "It was stopped."
    else:
        where = "It had not started."
    text = (
        f"{call} had not ended within {seconds:g} s of being submitted. {where}"
        " Give it more time, less work, or more workers."
    )
    return _timeout(text, call, seconds, cause, stack)


def _timeout(
    text: str, call: str, seconds: float, cause: BaseException | None, stack: str | None
) -> CallTimeout:
    error = CallTimeout(text, seconds=seconds, call=call, stack=stack)
    error.__cause__ = cause
    if stack is not None:
        error.add_note(f"When it was killed it was here (most recent call last):\n{stack}")
    return error


_NOUNS: dict[Direction, str] = {
    "argument": "an argument",
    "function": "the function",
    "result": "the result",
    "exception": "the exception",
    "initializer": "the initializer",
}


_ADVICE = "ezflow_advice"
"""Attribute of a cause that knows better than `unpicklable` what to do."""


def stays_here(obj: object, kind: type) -> TypeError:
    """Say that a pool or a future cannot be sent; becomes the cause of an `unpicklable`."""
    error = TypeError(f"a {kind.__name__} lives in the process that made it")
    if isinstance(obj, Executor):
        advice = _INSTEAD_OF_POOL
    else:
        advice = "Pass its result(), or submit when it is done."
    setattr(error, _ADVICE, advice)
    return error


def handle_not_sent() -> TypeError:
    """Say that a `Ref` stands where only plain data can be sent; becomes the cause of an `unpicklable`."""
    error = TypeError(
        "a Ref can only be an argument of a call, or in one, in a closure or in a functools.partial"
    )
    setattr(error, _ADVICE, "Pass it to the function as an argument, in place of a global name.")
    return error


def unpicklable(
    direction: Direction, call: str, cause: BaseException, path: str | None = None
) -> PicklingError:
    """Say that something could not be pickled; the class matches that of pickle's own error."""
    cls: type[PicklingError] = PicklingError
    if isinstance(cause, TypeError):
        cls = PicklingTypeError
    elif isinstance(cause, AttributeError):
        cls = PicklingAttributeError
    if path is None:
        path = getattr(cause, "path", None)
        path = path if isinstance(path, str) else None
    where = f" at {path}" if path and path != direction else ""
    if direction == "result":
        what = f"{call} ran, but its result was not sent back"
        advice = "Return plain data, or drop what cannot be pickled in __getstate__."
    elif direction == "exception":
        what = f"{call} raised an exception that was not sent back"
        advice = "Keep plain data in the exception."
    else:
        what = f"{call} was not sent"
        advice = "Make the object inside the function, or drop it in __getstate__."
    advice = getattr(cause, _ADVICE, advice)
    text = f"{what}: {_NOUNS[direction]}{where} cannot be pickled ({_one_line(cause)}). {advice}"
    error = cls(text, direction=direction, path=path, call=call)
    error.__cause__ = cause
    return error


def unreadable(direction: Direction, call: str, cause: BaseException) -> UnpicklingError:
    """Say that something arrived and could not be unpickled."""
    if direction == "result":
        what = f"{call} ran, but its result could not be rebuilt here"
    elif direction == "exception":
        what = f"{call} raised an exception that could not be rebuilt here"
    else:
        what = f"{call} did not run: {_NOUNS[direction]} could not be rebuilt in the worker"
    advice = "The module or class may be missing or different there; the traceback above shows the place."
    error = UnpicklingError(f"{what} ({_one_line(cause)}). {advice}", direction=direction, call=call)
    error.__cause__ = cause
    return error


def unpicklable_result(call: str, cause: BaseException) -> PicklingError:
    """Say that the worker could not pickle the value that a call returned."""
    return unpicklable("result", call, cause)


def unpicklable_argument(call: str, cause: BaseException) -> UnpicklingError:
    """Say that the worker could not unpickle a call."""
    return unreadable("argument", call, cause)


_INSTEAD_OF_POOL = "Make a pool inside the call, or return what is to be done next."


def parents_own(what: object) -> WrongProcess:
    """Say that a call uses something that only the parent has, such as the pool that it runs on."""
    return WrongProcess(f"A call cannot use {what}: it lives in the parent process. {_INSTEAD_OF_POOL}")


def wrong_process(owner: int) -> WrongProcess:
    """Say that this process does not own the pool."""
    return WrongProcess(
        f"This pool belongs to the process with pid {owner} and was used in pid {os.getpid()}, which was"
        " forked from it. Make a pool of its own in the new process."
    )


def excluding_options(one: str, other: str) -> TypeError:
    """Say that two options exclude each other."""
    return TypeError(f".{one}() and .{other}() exclude each other: use one of them")


def repeated_option(name: str) -> TypeError:
    """Say that an option was given twice between a method's name and its parentheses."""
    return TypeError(
        f".{name}() was given twice; give it once, or put the other one on the executor or the task"
    )


def misplaced_option(name: str, place: str, why: str) -> TypeError:
    """Say that an option means nothing there."""
    return TypeError(f".{name}() means nothing for {place}: {why}")


def unexpected_keyword(method: str, keywords: Iterable[str]) -> TypeError:
    """Say that a keyword would reach nobody."""
    return TypeError(
        f"{method}() got an unexpected keyword argument {next(iter(keywords))!r}. "
        f"Keywords reach the function after {method}.star(); else use functools.partial."
    )


def no_waiting_to_limit(word: str) -> TypeError:
    """Say that a `map` that does not wait takes no limit of its waiting."""
    instead = "asyncio.timeout" if word == "asynced" else "result(timeout=...)"
    return TypeError(
        f"map.{word}() does not wait, so it takes no timeout=. Use {instead}, or .within() for all its work."
    )


def not_unpackable(item: object) -> TypeError:
    """Say what `star` cannot unpack."""
    return TypeError(
        f".star() unpacks a tuple or list into positional and a mapping into keyword arguments, but got"
        f" {type(item).__name__}: {item!r:.100}. Leave .star() out to pass it on as one argument."
    )


def no_current_call() -> RuntimeError:
    """Say that `current_call` was asked outside of a call."""
    return RuntimeError(
        "No call of a pool runs here. current_call() works in a function that a worker runs,"
        " not in the program that submits, and not in an initializer."
    )


def waits_for_itself() -> RuntimeError:
    """Say that a finaliser waits for the pool on the pool's own thread."""
    return RuntimeError(
        "A finaliser waits for a call of the pool, but the garbage collector has run it on the thread of the pool that"
        " brings the results, so it would wait for ever. Do not wait for results in __del__ or weakref callbacks."
    )


def platform_unsupported(platform: str) -> NotImplementedError:
    """Say that the engine does not run on this platform yet."""
    return NotImplementedError(
        f"ezflow.ProcessPoolExecutor does not run on {platform} yet: its engine needs POSIX sockets and signals."
        " Use concurrent.futures.ProcessPoolExecutor there."
    )


def cannot_submit(interpreter: bool = False) -> RuntimeError:
    """Give the standard library's error for a late `submit`; programs match its text."""
    after = "interpreter shutdown" if interpreter else "shutdown"
    return RuntimeError(f"cannot schedule new futures after {after}")


def not_a_function(obj: object) -> TypeError:
    """Say that what was submitted cannot be called."""
    name = type(obj).__name__
    if hasattr(type(obj), "__await__") or hasattr(obj, "cr_code"):
        fn = getattr(obj, "__qualname__", "f")
        return TypeError(
            f"submit needs a function, not the {name} object that {fn}(...) gave."
            f" Pass the function and its arguments apart: submit({fn}, ...)."
        )
    return TypeError(f"submit needs a function, and an object of type {name} cannot be called.")


# -- wording of what was lost between worker and parent (see _tracebacks)


def stand_in_note(type_name: str, reason: str, bases: Iterable[type]) -> str:
    """Say why a stand-in was needed and what it matches."""
    names = " and ".join(f"`except {base.__name__}`" for base in bases)
    also = f" It matches {names}." if names else ""
    return f"Stand-in for {type_name}, which could not be rebuilt here ({reason}).{also}"


def replaced_note(place: str, reason: str) -> str:
    """Say that one value of an exception travelled as its repr."""
    return f"{place} of this exception could not be sent and is now its repr ({reason})."


def unrebuilt_note(place: str, reason: str) -> str:
    """Say that one value of an exception arrived and could not be rebuilt."""
    return f"{place} of this exception could not be rebuilt here and is now a description ({reason})."


def runs_note(n: int) -> str:
    """Word the note on an error of a call that was run several times."""
    return f"ezflow: the call was run {n} times; this is how the last run ended"


def frames_note(left_out: int) -> str:
    """Say that the middle of a very long traceback was left out."""
    return f"{left_out} frames in the middle of this traceback were left out."


def chain_note(limit: int) -> str:
    """Say that a very long chain of causes was cut."""
    return f"The causes and contexts beyond {limit} links were left out."


def left_out_member(limit: int) -> RemoteError:
    """Stand in the place of a group's member that was left out."""
    return RemoteError(f"One more exception; only the first {limit} of one error are carried.")


def garbled(reason: BaseException) -> RemoteError:
    """Give what is left when not even the record of an exception can be read."""
    error = RemoteError(
        f"The call raised an exception, but its record could not be read ({_one_line(reason)})."
    )
    error.reason = _one_line(reason)
    return error
