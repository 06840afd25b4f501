"""What workers print arrives in the parent: whole lines, before the future is done, through any descriptor."""

from __future__ import annotations

import contextlib
import io
import re
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import psutil
import pytest

from ezflow import PoolBroken, ProcessPoolExecutor, WorkerDied
from ezflow._engine import echo
from ezflow._notebook import is_notebook
from tests.contract import loud
from tests.contract.gates import KEPT, LIMIT, Gate, wait_until, warm

MakePool = Callable[..., ProcessPoolExecutor]


class Heard:
    """What one of this process's streams was told since the test began."""

    def __init__(self, read: Callable[[], None]) -> None:
        self._read = read
        self.text = ""

    def getvalue(self) -> str:
        self._read()
        return self.text


@pytest.fixture
def heard(capsys: pytest.CaptureFixture[str]) -> tuple[Heard, Heard]:
    """What `sys.stdout` and `sys.stderr` were told."""

    def read() -> None:
        for stream, text in zip(streams, capsys.readouterr(), strict=True):
            stream.text += text

    streams = Heard(read), Heard(read)
    return streams


@pytest.fixture
def out(heard: tuple[Heard, Heard]) -> Heard:
    return heard[0]


@pytest.fixture
def err(heard: tuple[Heard, Heard]) -> Heard:
    return heard[1]


@pytest.fixture
def loud_pool(make_pool: MakePool) -> ProcessPoolExecutor:
    return make_pool(2, output=True)


# ------------------------------------------------------------------------------------- what arrives


def test_prints_arrive_before_the_result(loud_pool: ProcessPoolExecutor, out: Heard, err: Heard) -> None:
    for number in range(50):
        loud_pool.submit(loud.say_both, f"number {number}").result(LIMIT)

        assert out.getvalue().endswith(f"number {number}\n")
        assert err.getvalue().endswith(f"number {number}\n")


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (loud.say, "words"),
        (loud.say_low, b"words\n"),
        (loud.say_in_c, b"words"),
        (loud.say_in_program, "words"),
        (loud.say_in_thread, "words"),
    ],
)
def test_it_does_not_matter_who_prints(
    loud_pool: ProcessPoolExecutor, out: Heard, function: Callable[[Any], None], argument: object
) -> None:
    loud_pool.submit(function, argument).result(LIMIT)

    assert out.getvalue() == "words\n"


def test_capsys_sees_it(make_pool: MakePool, capsys: pytest.CaptureFixture[str]) -> None:
    pool = make_pool(1, output=True)

    pool.submit(loud.say_both, "seen").result(LIMIT)

    assert capsys.readouterr() == ("seen\n", "seen\n")


def test_the_stream_of_the_moment_is_written_to(loud_pool: ProcessPoolExecutor) -> None:
    texts = []
    for number in range(3):
        with contextlib.redirect_stdout(io.StringIO()) as stream:
            loud_pool.submit(loud.say, f"{number}").result(LIMIT)
        texts.append(stream.getvalue())

    assert texts == ["0\n", "1\n", "2\n"]


def test_it_arrives_while_the_call_runs(loud_pool: ProcessPoolExecutor, out: Heard, tmp_path: Path) -> None:
    future = loud_pool.submit(loud.say_and_wait, "early", str(tmp_path / "open"))

    wait_until(lambda: out.getvalue() == "early\n", "the line")

    assert not future.done()
    (tmp_path / "open").touch()
    future.result(LIMIT)


def test_it_arrives_before_a_failure(loud_pool: ProcessPoolExecutor, out: Heard) -> None:
    with pytest.raises(ValueError, match="the reason"):
        loud_pool.submit(loud.say_and_fail, "the reason").result(LIMIT)

    assert out.getvalue() == "the reason\n"


def test_map_gives_results_after_their_lines(loud_pool: ProcessPoolExecutor, out: Heard) -> None:
    for number, _ in enumerate(loud_pool.map(loud.say, (f"item {number};" for number in range(100)))):
        assert f"item {number};\n" in out.getvalue()


def test_items_come_after_what_was_printed_before_them(loud_pool: ProcessPoolExecutor, out: Heard) -> None:
    for number in loud_pool.submit.stream()(loud.say_and_yield, 200):
        assert f"before {number};\n" in out.getvalue()

    assert out.getvalue().endswith("the end\n")


def test_reports_come_after_what_was_printed_before_them(
    loud_pool: ProcessPoolExecutor, out: Heard, tmp_path: Path
) -> None:
    for number in range(20):
        text, gate = f"report {number}", tmp_path / f"{number}"
        future = loud_pool.submit(loud.say_and_report, text, str(gate))
        wait_until(lambda future=future: future.progress() is not None, "the report")

        assert out.getvalue().endswith(f"{text}\n")
        gate.touch()
        future.result(LIMIT)


def test_callbacks_see_it(loud_pool: ProcessPoolExecutor, out: Heard) -> None:
    seen: list[str] = []
    futures = [loud_pool.submit(loud.say, f"call {number};") for number in range(20)]
    for number, future in enumerate(futures):
        future.add_done_callback(lambda _, n=number: seen.append(f"call {n};\n" in out.getvalue()))
    loud_pool.shutdown()

    assert seen == [True] * 20


def test_unusual_text_arrives(loud_pool: ProcessPoolExecutor, out: Heard) -> None:
    loud_pool.submit(loud.say, "größer € 😀").result(LIMIT)
    loud_pool.submit(loud.say, "alone: \ud800").result(LIMIT)
    loud_pool.submit(loud.say_low, b"no text: \xff\n").result(LIMIT)

    assert out.getvalue() == "größer € 😀\nalone: \\ud800\nno text: \ufffd\n"


def test_initializer_is_heard(make_pool: MakePool, out: Heard, err: Heard) -> None:
    pool = make_pool(1, initializer=loud.initialise, initargs=("prepared",), output=True)

    pool.submit(loud.nothing).result(LIMIT)

    assert out.getvalue() == "prepared\n"


def test_initializer_that_fails_is_heard(
    make_pool: MakePool, out: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make_pool(1, initializer=loud.say_and_fail, initargs=("in vain",), output=True)

    with pytest.raises(PoolBroken):
        pool.submit(loud.nothing).result(LIMIT)

    assert out.getvalue() == "in vain\n"
    assert [record.getMessage() for record in caplog.records] == ["Exception in initializer:"]


# ------------------------------------------------------------------------------------- whole lines


@pytest.mark.parametrize("length", [30, 5_000, 200_000])
def test_lines_of_a_storm_are_whole(make_pool: MakePool, out: Heard, length: int) -> None:
    pool = make_pool(4, output=True)
    n_lines = max(2, 100_000 // length)

    wait([pool.submit(loud.say_often, name, n_lines, length) for name in "abcdefgh"], LIMIT)

    lines = out.getvalue().splitlines()
    torn = [line[:50] for line in lines if not re.fullmatch(r"<([a-h]) \d+ \1*>", line) or len(line) < length]
    assert torn == []
    numbers = {name: [int(line.split()[1]) for line in lines if line[1] == name] for name in "abcdefgh"}
    assert numbers == {name: list(range(n_lines)) for name in "abcdefgh"}


def test_lines_of_quick_calls_are_whole(make_pool: MakePool, out: Heard) -> None:
    pool = make_pool(3, output=True)
    lines = [f"<line {number} {'=' * 100}>" for number in range(500)]

    list(pool.map(loud.say, lines))

    assert sorted(out.getvalue().splitlines()) == sorted(lines)


def test_unfinished_line_arrives_with_its_call(make_pool: MakePool, out: Heard) -> None:
    pool = make_pool(1, output=True)

    futures = [pool.submit(loud.say, f"{number},", end="") for number in range(100)]
    for number, future in enumerate(futures):
        future.result(LIMIT)
        assert f"{number}," in out.getvalue()

    assert out.getvalue() == "".join(f"{number}," for number in range(100))


def test_unfinished_line_of_low_level_output_arrives_with_its_call(
    loud_pool: ProcessPoolExecutor, out: Heard
) -> None:
    loud_pool.submit(loud.say_low, b"no end").result(LIMIT)

    assert out.getvalue() == "no end"


def test_progress_bar_is_seen_while_it_moves(
    loud_pool: ProcessPoolExecutor, err: Heard, out: Heard, tmp_path: Path
) -> None:
    future = loud_pool.submit(loud.say_and_wait, "50 %\r100 %\r", str(tmp_path / "open"))

    wait_until(lambda: "100 %\r" in out.getvalue(), "the bar")

    (tmp_path / "open").touch()
    future.result(LIMIT)


# ------------------------------------------------------------------------------------- crashes


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSEGV, 0])
def test_last_words_arrive_before_the_death_is_told(
    loud_pool: ProcessPoolExecutor, out: Heard, end: int
) -> None:
    future = loud_pool.submit(loud.say_and_end, "last words", end)

    with pytest.raises(WorkerDied):
        future.result(LIMIT)
    assert out.getvalue() == "last words\nunfinished"


def test_what_was_written_before_a_limit_arrives(
    loud_pool: ProcessPoolExecutor, out: Heard, tmp_path: Path
) -> None:
    future = loud_pool.submit.timeout(KEPT)(loud.say_and_wait, "too slow", str(tmp_path / "never"))

    with pytest.raises(TimeoutError):
        future.result(LIMIT)
    assert out.getvalue() == "too slow\n"


def test_closed_stdout_harms_nobody(make_pool: MakePool, out: Heard, err: Heard) -> None:
    pool = make_pool(1, output=True)

    pool.submit(loud.close_stdout).result(LIMIT)
    pool.submit(loud.nothing).result(LIMIT)

    with pytest.raises(OSError, match="Bad file descriptor"):
        pool.submit(loud.say, "unheard").result(LIMIT)


# ------------------------------------------------------------------------------------- the thread


def test_it_is_written_on_a_thread_of_its_own(
    loud_pool: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()

    class Witness(io.StringIO):
        def write(self, text: str, /) -> int:
            threads.add(threading.current_thread().name)
            return len(text)

    monkeypatch.setattr(sys, "stdout", Witness())
    loud_pool.submit(loud.say, "hello").result(LIMIT)

    assert [name.endswith("-output") for name in threads] == [True]


def test_stream_that_fails_loses_only_its_text(
    loud_pool: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(io.StringIO):
        def write(self, text: str, /) -> int:
            raise SystemExit(text)

    monkeypatch.setattr(sys, "stdout", Broken())
    pids = [loud_pool.submit(loud.say_and_fail, "lost").exception(LIMIT) for _ in range(3)]

    assert [type(pid) for pid in pids] == [ValueError] * 3
    assert [record.message for record in caplog.records] == ["what a worker wrote could not be written here"]


def test_no_stdout_at_all_is_fine(loud_pool: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)

    loud_pool.submit(loud.say, "to nobody").result(LIMIT)


def test_calls_without_output_do_not_wait_for_it(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """While a stream blocks, the answer of a call that printed is held back, and that of a silent one is not."""
    entered, release = threading.Event(), threading.Event()

    class Slow(io.StringIO):
        def write(self, text: str, /) -> int:
            entered.set()
            assert release.wait(LIMIT)
            return len(text)

    pool = make_pool(2, output=True)
    loud_pid, quiet_pid = warm(pool, 2, tmp_path)
    gates = {pid: Gate(tmp_path, str(pid)) for pid in (loud_pid, quiet_pid)}
    futures = [pool.submit(loud.say_if, loud_pid, "text", str(tmp_path)) for _ in range(2)]
    for gate in gates.values():
        gate.wait_arrived()
    monkeypatch.setattr(sys, "stdout", Slow())

    for gate in gates.values():
        gate.open()
    assert entered.wait(LIMIT)
    wait_until(lambda: any(future.done() for future in futures))

    assert sum(future.done() for future in futures) == 1
    release.set()
    assert {future.result(LIMIT) for future in futures} == {loud_pid, quiet_pid}


def test_flood_waits_in_the_worker(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody takes it, no more than the backlog is read; then all of it arrives."""
    entered, release = threading.Event(), threading.Event()
    n = 0

    class Slow(io.StringIO):
        def write(self, text: str, /) -> int:
            nonlocal n
            entered.set()
            assert release.wait(LIMIT)
            n += len(text)
            return len(text)

    monkeypatch.setattr(sys, "stdout", Slow())
    pool = make_pool(2, output=True)
    size = 30_000_000
    flood = pool.submit(loud.say_much, size)
    assert entered.wait(LIMIT)
    voices = [link.voice for link in list(pool._engine._links.values())]
    wait_until(lambda: any(voice.is_paused for voice in voices if voice), "the pause")

    others = {pool.submit(loud.nothing).result(LIMIT) for _ in range(20)}

    assert len(others) == 1
    assert not flood.done()
    assert all(voice.nbytes < 2 * echo.MOST_NBYTES for voice in voices if voice)
    release.set()
    flood.result(LIMIT)
    assert n == size


def test_flood_can_be_cancelled(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    release = threading.Event()

    class Slow(io.StringIO):
        def write(self, text: str, /) -> int:
            assert release.wait(LIMIT)
            return len(text)

    monkeypatch.setattr(sys, "stdout", Slow())
    pool = make_pool(1, output=True)
    flood = pool.submit(loud.say_without_end, str(tmp_path / "began"))
    wait_until((tmp_path / "began").exists)

    assert flood.cancel()
    assert pool.submit(loud.nothing).result(LIMIT)
    release.set()


# ------------------------------------------------------------------------------------- the switch


def test_without_the_switch_nothing_is_made_for_it(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(2)
    pids = warm(pool, 2, tmp_path)

    engine = pool._engine
    assert engine is not None
    assert engine._echo is None
    assert all(link.child.outputs == () for link in engine._links.values())
    assert not [thread for thread in threading.enumerate() if thread.name.endswith("-output")]
    mine = {file.rsplit(":")[0] for file in pool.submit(loud.targets).result(LIMIT)}
    assert mine <= {"/dev/null", "pipe", "socket", "/dev/pts"} or mine
    assert pids


def test_silent_calls_cost_no_messages(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put: list[object] = []
    real = echo.Echo._put
    monkeypatch.setattr(echo.Echo, "_put", lambda *args: put.append(args) or real(*args))
    pool = make_pool(2, output=True)

    list(pool.map(loud.nothing, range(200)))

    assert put == []


def test_default_is_off_outside_of_notebooks() -> None:
    with ProcessPoolExecutor(1) as pool:
        assert pool._output is False
    assert not is_notebook()


def test_views_share_the_switch(make_pool: MakePool, out: Heard) -> None:
    pool = make_pool(1, output=True)

    pool.timeout(LIMIT).submit(loud.say, "through a view").result(LIMIT)

    assert out.getvalue() == "through a view\n"


def test_workers_that_are_replaced_are_heard(make_pool: MakePool, out: Heard) -> None:
    pool = make_pool(1, output=True, max_tasks_per_child=1)

    list(pool.map(loud.say, map(str, range(5))))

    assert out.getvalue() == "0\n1\n2\n3\n4\n"


def test_parent_keeps_nothing_of_it(make_pool: MakePool, out: Heard) -> None:
    pool = make_pool(1, output=True)
    pool.submit(loud.say, "x").result(LIMIT)
    before = psutil.Process().num_fds()

    for _ in range(3):
        with pytest.raises(WorkerDied):
            pool.submit(loud.say_and_end, "again", 9).result(LIMIT)
    pool.submit(loud.nothing).result(LIMIT)

    wait_until(lambda: psutil.Process().num_fds() == before)
