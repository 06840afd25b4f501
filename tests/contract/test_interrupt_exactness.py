"""No innocent call is ever hit by an interrupt: the worker's side alone, over raw pipes, many thousand times.

The real pool replaces a worker that was interrupted, so it would take hours to
meet every order of signal, end of call and start of the next.  Here the loop of
one worker goes on afterwards, and what follows the target at once is a call
that must return its value.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import random
import select
import signal
import socket
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import pytest

from ezflow import CallInterrupted
from ezflow._engine import worker
from ezflow._tracebacks import unpack_exception
from ezflow._wire.codec import Codec
from ezflow._wire.messages import (
    CALL,
    ERROR,
    EXIT,
    HEADER,
    READY,
    TOKEN,
    UNREADABLE,
    UNSENDABLE,
    VALUE,
)
from ezflow._wire.workspace import Workspace
from tests import work

ROUNDS = [
    600,  # six tests on three Pythons: 10 800 in each run of CI
    pytest.param(200_000, marks=pytest.mark.stress),
]

SECONDS = 15.0
"""After which the short tests are content with fewer rounds: on a busy machine one takes 0.1 s instead of 1 ms."""


class RawWorker:
    """A forked process that runs the worker's loop and nothing else."""

    def __init__(self) -> None:
        self.sock, theirs = socket.socketpair()
        self.desk, their_desk = socket.socketpair()
        self.claims_read, self.claims = os.pipe()
        control_read, self.control = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                signal.alarm(3600)  # whatever happens to the test, this ends
                window = worker.Window(control_read)
                signal.signal(worker.INTERRUPT_SIGNAL, window.on_signal)
                loop = worker._Loop(
                    theirs, their_desk, self.claims_read, window, Workspace(forked=True), None
                )
                loop._send(0, READY, 0, 0, b"")
                loop.run()
                os._exit(0)
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(3)
        theirs.close()
        their_desk.close()
        os.close(control_read)
        self._rest = b""
        self._codec = Codec(inherits=True)
        self.read()

    def send(self, *calls: tuple[int, Any, tuple[Any, ...]]) -> None:
        """Send calls ahead, as the dispatcher does: numbers first."""
        frames = []
        for number, fn, args in calls:
            payload, needs = self._codec.pack_call(fn, args, {})
            assert not needs
            frames.append(HEADER.pack(len(payload), number, CALL, 0, 0) + payload)
        os.write(self.claims, b"".join(TOKEN.pack(number) for number, _, _ in calls))
        self.sock.sendall(b"".join(frames))

    def interrupt(self, number: int) -> None:
        os.write(self.control, TOKEN.pack(number))
        os.kill(self.pid, worker.INTERRUPT_SIGNAL)

    def n_unclaimed(self) -> int:
        """Give how many calls the worker has not begun."""
        answer = fcntl.ioctl(self.claims_read, termios.FIONREAD, b"\0" * 4)
        return int.from_bytes(answer, sys.byteorder) // TOKEN.size

    def read(self) -> list[tuple[int, int, bytes]]:
        """Wait for answers: number, kind, payload."""
        while True:
            assert select.select([self.sock], [], [], 30)[0], "no answer"
            data = self.sock.recv(1 << 16)
            assert data, f"the worker ended with {self.wait()}"
            self._rest += data
            found = []
            while len(self._rest) >= HEADER.size:
                n, number, kind, _, _ = HEADER.unpack_from(self._rest)
                if len(self._rest) < HEADER.size + n:
                    break
                found.append((number, kind, self._rest[HEADER.size : HEADER.size + n]))
                self._rest = self._rest[HEADER.size + n :]
            if found:
                return found

    def wait(self) -> int:
        """Wait for the end; give the exit code."""
        pid, self.pid = self.pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        self.sock.close()
        self.desk.close()
        os.close(self.claims_read)
        os.close(self.claims)
        os.close(self.control)


@contextmanager
def raw_worker() -> Iterator[RawWorker]:
    # Each on a processor of its own: on a shared one they take turns, and a signal never meets a running call.
    allowed = os.sched_getaffinity(0)
    raw = RawWorker()
    try:
        if len(allowed) > 1:
            os.sched_setaffinity(0, {min(allowed)})
            os.sched_setaffinity(raw.pid, {max(allowed)})
        yield raw
        raw.sock.sendall(HEADER.pack(0, 0, EXIT, 0, 0))
        assert raw.wait() == 0
    finally:
        os.sched_setaffinity(0, allowed)
        raw.close()


def spin(seconds: float) -> None:
    """Let a little time pass without giving the processor away."""
    end = perf_counter() + seconds
    while perf_counter() < end:
        pass


BUSY = 8_000  # iterations, some 300 µs: well above what a signal takes to another core

KINDS = {
    "call": (work.add_up, BUSY),
    "unpickling": (work.nothing, work.Poison(work.add_up, BUSY)),
    "pickling the result": (work.pickle_bomb, work.add_up, BUSY),
    "pickling the error": (work.raise_error_bomb, work.add_up, BUSY),
    "raising": (work.raise_value_error, "x" * 100_000),
}


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("kind", KINDS)
def test_interrupt_hits_its_target_or_nobody(rounds: int, kind: str) -> None:
    rng = random.Random(1)
    fn, *args = KINDS[kind]
    hit = missed = 0
    with raw_worker() as raw:

        def play(target: int, delay: float | None) -> bool:
            """Send target and innocent, interrupt the target; tell whether it was hit."""
            innocent = target + 1
            raw.send((target, fn, tuple(args)), (innocent, work.square, (target,)))
            while raw.n_unclaimed() == 2:
                os.sched_yield()  # to the worker, if it has to share a processor with this process
            if delay is not None:
                spin(delay)
                raw.interrupt(target)
            answers: dict[int, tuple[int, bytes]] = {}
            while innocent not in answers:
                answers.update((number, (answer, payload)) for number, answer, payload in raw.read())

            assert set(answers) == {target, innocent}
            answer, payload = answers[innocent]
            assert (answer, pickle.loads(payload)) == (VALUE, target * target)
            answer, payload = answers[target]
            if answer in (ERROR, UNREADABLE, UNSENDABLE) and is_interrupt(payload):
                return True
            assert answer == (ERROR if kind in ("raising", "pickling the error") else VALUE)
            return False

        times = []
        for number in range(1, 101, 2):
            start = perf_counter()
            assert not play(number, None)
            times.append(perf_counter() - start)
        whole, least = sorted(times)[25], min(times) / 2
        end = perf_counter() + SECONDS
        for number in range(101, 101 + 2 * rounds, 2):
            if rounds == ROUNDS[0] and perf_counter() > end and hit and missed:
                break
            # Half of them at any moment, half around the end of the target, where things could go wrong.
            low = 0.0 if number % 4 == 1 else 0.7 * whole
            # The end is where hits and misses are balanced; on a busy machine the median of above is far behind it.
            if play(number, rng.uniform(low, whole)):
                hit += 1
                whole *= 1.1
            else:
                missed += 1
                whole = max(whole / 1.1, least)
    print(f"{kind}: {hit} hit, {missed} not, in {hit + missed} rounds, the last of {whole * 1e6:.0f} us")
    assert hit > 0
    assert missed > 0


def is_interrupt(payload: bytes) -> bool:
    """Tell whether a packed error is the interrupt."""
    return isinstance(unpack_exception(payload, pickle.loads), CallInterrupted)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_interrupts_that_come_too_late_or_name_nobody_do_nothing(rounds: int) -> None:
    rng = random.Random(2)
    with raw_worker() as raw:
        end = perf_counter() + SECONDS
        for number in range(2, rounds + 2):
            if rounds == ROUNDS[0] and perf_counter() > end:
                break
            raw.send((number, work.add_up, (rng.randrange(BUSY),)))
            for wrong in (number - 1, rounds + number + 2):
                spin(rng.uniform(0, 5e-5))
                raw.interrupt(wrong)

            ((got, answer, _),) = raw.read()
            assert (got, answer) == (number, VALUE)


def test_one_interrupt_raises_once(tmp_path: Any) -> None:
    with raw_worker() as raw:
        for number in range(1, 200):
            raw.send((number, work.count_interrupts, (str(tmp_path / f"{number}"),)))
            while not os.path.exists(tmp_path / f"{number}"):
                spin(1e-5)
            for _ in range(5):
                raw.interrupt(number)

            ((got, answer, payload),) = raw.read()
            if answer != VALUE:
                raise AssertionError("interrupted outside `try`") from unpack_exception(payload, pickle.loads)
            assert (got, pickle.loads(payload)) == (number, 1)


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
