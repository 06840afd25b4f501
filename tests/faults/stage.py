"""What tests of faults share: a pool with an innocent call, the faults, and what a call ends in."""

from __future__ import annotations

import concurrent.futures
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ezflow import Future, PicklingError, ProcessPoolExecutor, UnpicklingError, WorkerDied
from tests import work
from tests.contract.gates import LIMIT, Gate, lines, wait_gone, wait_until, warm, workers

SHORT = 0.5
"""Seconds that a call may run which never ends by itself."""

MB = 1 << 20

DIES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], int]] = {
    "os._exit": (work.exit_at_once, (7,), 7),
    "SIGKILL": (work.kill_self, (signal.SIGKILL,), -signal.SIGKILL),
    "SIGTERM": (work.kill_self, (signal.SIGTERM,), -signal.SIGTERM),
    "segfault": (work.segfault, (), -signal.SIGSEGV),
}
"""Faults that end a worker: function, arguments, exit code."""

HANGS: dict[str, Callable[..., Any]] = {
    "SIGSTOP": work.stop_self,
    "hang in Python": work.spin,
    "hang in C": work.spin_in_c,
}
"""Faults that only a limit or a cancel ends."""

IN_WORKER = (
    "unpickling the argument",
    "during the call",
    "pickling the result",
    "pickling the exception",
)
"""Moments at which the user's code runs in the worker, within one call."""


@dataclass
class Stage:
    """A pool of two workers, one of which runs an innocent call all the time."""

    pool: ProcessPoolExecutor
    folder: Path
    pids: set[int]
    gate: Gate
    innocent: Future[int]
    sibling: int

    @property
    def victim(self) -> int:
        """The worker that the fault hits."""
        return next(iter(self.pids - {self.sibling}))

    @property
    def started(self) -> Path:
        """Where faults leave a trace."""
        return self.folder / "started"

    def act(self, fn: Callable[..., Any], *args: Any) -> tuple[Any, ...]:
        """Give a function and arguments that leave a trace and do `fn(*args)`."""
        return work.append_then, str(self.started), fn, *args

    def wait_acted(self) -> int:
        """Wait until the fault has begun; give the pid."""
        wait_until(lambda: lines(self.started), "the fault to begin")
        return int(lines(self.started)[0])

    def check_without_descriptors(self, *, replaced: bool | None = False) -> None:
        """The worker that has used up its descriptors still takes calls and answers."""
        assert isinstance(error_of(self.pool.submit(work.raise_value_error)), ValueError)
        assert [self.pool.submit(work.square, i).result(LIMIT) for i in range(3)] == [0, 1, 4]
        self.gate.open()
        assert self.innocent.result(LIMIT) == self.sibling
        assert self.sibling in workers(self.pool)
        assert replaced is None or workers(self.pool) == self.pids

    def check_after(self, *, replaced: bool | None, runs: int | None = 1) -> None:
        """Nothing else failed, the pool works, the other worker lives; None: either is right for the victim."""
        if runs is not None:
            assert len(lines(self.started)) == runs
        victim = self.victim
        assert self.pool.submit(work.square, 7).result(LIMIT) == 49
        if not self.gate.path.exists():
            self.gate.open()
        assert self.innocent.result(LIMIT) == self.sibling
        after = warm(self.pool, 2, self.folder, "after")
        assert self.sibling in after
        if replaced:
            wait_gone(victim)
            assert victim not in after
        elif replaced is not None:
            assert after == self.pids


def set_stage(pool: ProcessPoolExecutor, folder: Path) -> Stage:
    """Start two workers, one of them busy with an innocent call."""
    pids = warm(pool, 2, folder)
    gate = Gate(folder, "innocent")
    innocent = pool.submit(work.pass_gate, *gate.args())
    (sibling,) = gate.wait_arrived()
    return Stage(pool, folder, pids, gate, innocent, sibling)


def call_at(moment: str, act: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give function and arguments of a call that does `act` at this moment."""
    if moment == "pickling the argument":
        return work.nothing, work.PickleBomb(*act)
    if moment == "unpickling the argument":
        return work.nothing, work.Poison(*act)
    fn = {
        "during the call": work.call_or_give,
        "pickling the result": work.pickle_bomb,
        "unpickling the result": work.poison,
        "pickling the exception": work.raise_error_bomb,
        "unpickling the exception": work.raise_error_poison,
    }[moment]
    return (fn, work.Act(*act)) if fn is work.call_or_give else (fn, *act)


def item_at(moment: str, act: tuple[Any, ...]) -> object:
    """Give what makes `work.call_or_give` do `act` at this moment."""
    if moment == "pickling the argument":
        return work.PickleBomb(*act)
    if moment == "unpickling the argument":
        return work.Poison(*act)
    return work.Act(*act) if moment == "during the call" else work.Act(*call_at(moment, act))


def error_of(future: concurrent.futures.Future[Any]) -> BaseException:
    """Give the error of a call; the same one comes from `result`."""
    error = future.exception(LIMIT)
    assert error is not None
    with pytest.raises(type(error)) as caught:
        future.result(0)
    assert caught.value is error
    return error


def check_death(error: BaseException, pid: int, exitcode: int) -> None:
    """The error says which worker ended, and how."""
    assert isinstance(error, WorkerDied)
    assert isinstance(error, concurrent.futures.process.BrokenProcessPool)
    assert (error.pid, error.exitcode) == (pid, exitcode)
    assert str(pid) in str(error)
    if exitcode < 0:
        assert error.signal == signal.Signals(-exitcode).name
        assert signal.Signals(-exitcode).name in str(error)


def check_raised(moment: str, fault: str, error: BaseException) -> None:
    """An error that was raised at this moment arrives, and says where it came from."""
    own: type[BaseException] = SystemExit if fault == "sys.exit" else ValueError
    if moment == "during the call":
        assert type(error) is own
    elif moment == "pickling the argument":  # an error of the user's own __reduce__ keeps its type
        assert type(error) is own
        assert "args[" in "".join(error.__notes__)
    elif moment == "pickling the result" and own is SystemExit:  # as in the standard pool
        assert type(error) is own
    elif moment.endswith("exception"):
        assert isinstance(error, ValueError)  # what the call had raised, or what stands for it
        assert "tick" in str(error)
    else:
        assert isinstance(error, PicklingError if moment.startswith("pickling") else UnpicklingError)
        assert error.direction == moment.rsplit(maxsplit=1)[-1]
        assert isinstance(error.__cause__, own)
        if own is ValueError:
            assert "boom" in str(error)


hang_begun = threading.Event()
hang_ends = threading.Event()


def hang_here() -> None:
    """Hang in the parent, until the test ends it."""
    hang_begun.set()
    assert hang_ends.wait(LIMIT)


@contextmanager
def hanging(fn: Callable[[], object]) -> Iterator[None]:
    """Run `fn` in a thread that hangs in `hang_here` as long as the block runs."""
    hang_begun.clear()
    hang_ends.clear()
    thread = threading.Thread(target=fn)
    thread.start()
    try:
        assert hang_begun.wait(LIMIT)
        yield
    finally:
        hang_ends.set()
        thread.join(LIMIT)
    assert not thread.is_alive()
