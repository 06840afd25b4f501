"""Progress bars: what is drawn, where, and that every bar ends."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count, repeat
from pathlib import Path

import pytest

from ezflow import ProcessPoolExecutor, _progress, task
from ezflow._progress import total_of
from tests import work
from tests.contract.gates import LIMIT, Gate, wait_until

MakePool = Callable[..., ProcessPoolExecutor]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(params=["tqdm", "rich", "line"])
def terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal on which the named one draws."""
    for name in ("tqdm", "rich"):
        if name == request.param:
            pytest.importorskip(name)
            break
        monkeypatch.setitem(sys.modules, name, None)
    return Terminal()


def test_nothing_is_drawn_where_there_is_no_terminal(
    pool: ProcessPoolExecutor, capfd: pytest.CaptureFixture[str]
) -> None:
    file = io.StringIO()

    assert list(pool.map.progress("squares", file=file)(work.square, range(5))) == [0, 1, 4, 9, 16]
    assert pool.submit.progress()(work.square, 3).result(LIMIT) == 9

    assert file.getvalue() == ""
    assert capfd.readouterr() == ("", "")


def test_lines_are_written_there_if_asked_for(pool: ProcessPoolExecutor) -> None:
    file = io.StringIO()

    assert sum(pool.map.progress("squares", always=True, file=file)(work.square, range(5))) == 30

    first, last = file.getvalue().splitlines()
    assert first == "squares: 0 of 5"
    assert last.startswith("squares: 5 of 5, ")


def test_standard_error_is_where_it_is_drawn(
    pool: ProcessPoolExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    list(pool.map.progress(always=True)(work.square, range(5)))

    out, err = capsys.readouterr()
    assert out == ""
    assert "square: 5 of 5" in err  # the function's name, as there is no label


def test_name_of_the_calls_is_the_label(pool: ProcessPoolExecutor) -> None:
    file = io.StringIO()

    list(pool.map.named("areas").progress(always=True, file=file)(work.square, range(5)))

    assert "areas: 5 of 5" in file.getvalue()


def test_bar_on_a_terminal_reaches_its_end(pool: ProcessPoolExecutor, terminal: Terminal) -> None:
    assert sum(pool.map.progress("squares", file=terminal)(work.square, range(5))) == 30

    text = terminal.getvalue()
    assert "squares" in text
    assert any(end in text for end in ("5/5", "5 of 5"))
    assert "\n" in text


def test_bars_within_bars_all_reach_their_ends(pool: ProcessPoolExecutor, terminal: Terminal) -> None:
    for n in pool.map.progress("outer", file=terminal)(work.square, [1, 2]):
        assert len(list(pool.map.progress("inner", file=terminal)(work.square, range(10 + n)))) == 10 + n

    text = terminal.getvalue()
    for end in ((2, 2), (11, 11), (14, 14)):
        assert any(form.format(*end) in text for form in ("{}/{}", "{} of {}"))


def test_bars_side_by_side_all_reach_their_ends(pool: ProcessPoolExecutor, terminal: Terminal) -> None:
    bars = [
        pool.map.progress(f"bar {n}", file=terminal).background()(work.square, range(n)) for n in (7, 8, 9)
    ]

    assert [len(bar.result(LIMIT)) for bar in bars] == [7, 8, 9]

    for n in (7, 8, 9):
        ends = (f"{n}/{n}", f"{n} of {n}")
        wait_until(lambda ends=ends: any(end in terminal.getvalue() for end in ends))  # type: ignore[misc]


def every_way() -> Iterator[tuple[str, Callable[[ProcessPoolExecutor, io.StringIO], object]]]:
    """Every way to map five numbers, one of which fails."""

    def bar(pool: ProcessPoolExecutor, file: io.StringIO) -> ProcessPoolExecutor:
        return pool.progress("all", always=True, file=file)

    async def iterate(pool: ProcessPoolExecutor, file: io.StringIO) -> None:
        async for _ in bar(pool, file).map.asynced().results()(work.fail_on_odd, [0, 2, 4, 6, 7]):
            pass

    numbers = [0, 2, 4, 6, 7]
    yield "results", lambda pool, file: list(bar(pool, file).map.results()(work.fail_on_odd, numbers))
    yield "unordered", lambda p, f: list(bar(p, f).map.results().unordered()(work.fail_on_odd, numbers))
    yield "lazy", lambda p, f: list(bar(p, f).map.results()(work.fail_on_odd, iter(numbers), buffersize=2))
    yield "background", lambda p, f: bar(p, f).map.results().background()(work.fail_on_odd, numbers).result()
    yield "asynced", lambda p, f: asyncio.run(iterate(p, f))
    yield (
        "task",
        lambda p, f: list(
            p.map.results()(task(work.fail_on_odd).progress("all", always=True, file=f), numbers)
        ),
    )
    yield "retry", lambda p, f: list(bar(p, f).map.results().retry(2)(work.fail_on_odd, numbers))


@pytest.mark.parametrize("way", [pytest.param(way, id=name) for name, way in every_way()])
def test_every_item_ticks_once_in_every_way(
    pool: ProcessPoolExecutor, way: Callable[[ProcessPoolExecutor, io.StringIO], object]
) -> None:
    file = io.StringIO()

    way(pool, file)

    wait_until(lambda: file.getvalue().count("\n") >= 2)
    assert file.getvalue().splitlines()[-1].startswith("all: 5 of 5, 1 failed, ")


def test_submit_is_one_item(pool: ProcessPoolExecutor) -> None:
    file = io.StringIO()

    assert pool.submit.progress("one", always=True, file=file)(work.square, 3).result(LIMIT) == 9
    wait_until(lambda: "one: 1 of 1" in file.getvalue())

    assert file.getvalue().startswith("one: 0 of 1\n")


def test_argument_that_cannot_be_sent_ticks_too(pool: ProcessPoolExecutor) -> None:
    file = io.StringIO()

    found = list(
        pool.map.results().progress("all", always=True, file=file)(work.same, [1, threading.Lock(), 3])
    )

    assert [bool(result) for result in found] == [True, False, True]
    assert "all: 3 of 3, 1 failed" in file.getvalue()


def test_error_ends_the_bar_before_it_is_raised(pool: ProcessPoolExecutor) -> None:
    file = io.StringIO()

    with pytest.raises(ValueError, match="1"):
        list(pool.map.progress("odd", always=True, file=file)(work.fail_on_odd, [1, 3]))

    assert file.getvalue().count("\n") == 2


def test_closing_the_results_ends_the_bar(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    file = io.StringIO()
    gate = Gate(tmp_path)
    results = pool.map.progress("some", always=True, file=file)(
        work.then, [work.square] * 2, [(2,), (3,)], [gate.args()[0]] * 2, [gate.args()[1]] * 2
    )
    gate.wait_arrived(2)

    results.close()  # type: ignore[attr-defined]

    assert file.getvalue().splitlines()[-1].startswith("some: 0 of 2, ")
    gate.open()


def test_inputs_that_raise_end_the_bar(pool: ProcessPoolExecutor) -> None:
    file = io.StringIO()

    def inputs() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        pool.map.progress("some", always=True, file=file)(work.square, inputs())

    assert file.getvalue().count("\n") == 2


def test_pool_that_was_shut_down_leaves_no_bar_open(pool: ProcessPoolExecutor) -> None:
    file = io.StringIO()
    pool.shutdown()

    with pytest.raises(RuntimeError):
        pool.submit.progress("late", always=True, file=file)(work.square, 3)

    assert file.getvalue().count("\n") == 2


def test_stream_that_cannot_be_written_to_stops_the_bar_and_not_the_work(pool: ProcessPoolExecutor) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    assert sum(pool.map.progress("x", always=True, file=Broken())(work.square, range(5))) == 30


def test_calls_are_counted_where_submit_is_replaced(make_pool: MakePool) -> None:
    class Own(ProcessPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
            return super().submit(fn, *args, **kwargs)

    file = io.StringIO()
    with Own(1) as pool:
        assert sum(pool.map.progress("own", always=True, file=file)(work.square, range(5))) == 30

    assert file.getvalue().count("\n") == 2
    assert "own: 5 of 5" in file.getvalue()


def test_lengths_give_the_total() -> None:
    assert total_of([range(5), [1, 2, 3]]) == 3
    assert total_of([range(5), repeat(2), count()]) == 5
    assert total_of([iter(range(5))]) is None
    assert total_of([repeat(1)]) is None


@pytest.mark.parametrize("wrong", [3, b"x"])
def test_label_is_a_text(pool: ProcessPoolExecutor, wrong: object) -> None:
    with pytest.raises(TypeError, match="progress takes a text"):
        pool.map.progress(wrong)  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals")
def test_a_real_terminal_shows_it(pool: ProcessPoolExecutor) -> None:
    ours, theirs = os.openpty()
    try:
        with open(theirs, "w", encoding="utf-8") as file:
            assert sum(pool.map.progress("squares", file=file)(work.square, range(5))) == 30
            text = os.read(ours, 1 << 16).decode()
    finally:
        os.close(ours)

    assert "squares" in text


@pytest.mark.parametrize("n_taken", [None, 2])
def test_stream_ticks_with_each_item(pool: ProcessPoolExecutor, n_taken: int | None) -> None:
    file = io.StringIO()
    stream = pool.submit.progress("items", always=True, file=file).stream()(range, 5)

    for n, _ in enumerate(stream, 1):
        if n == n_taken:
            break
    stream.close()

    wait_until(lambda: len(file.getvalue().splitlines()) == 2, "the last state")
    first, last = file.getvalue().splitlines()
    assert first == "items: 0"
    assert last.startswith("items: 5, " if n_taken is None else "items: ")


def test_stream_that_fails_says_so_in_its_bar(pool: ProcessPoolExecutor) -> None:
    file = io.StringIO()
    stream = pool.submit.progress("items", always=True, file=file).stream()(work.yield_then_fail, 3)

    with pytest.raises(ValueError, match="after 3"):
        list(stream)

    assert file.getvalue().splitlines()[-1].startswith("items: 4, 1 failed, ")


@pytest.mark.parametrize("is_started", [False, True])
def test_ctrl_c_while_the_drawing_thread_starts_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, is_started: bool
) -> None:
    wait_until(lambda: _progress._drawer._thread is None, "bars of other tests to be drawn")
    start = threading.Thread.start
    file = io.StringIO()

    def torn(thread: threading.Thread) -> None:
        if is_started:
            start(thread)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", torn)
        with pytest.raises(KeyboardInterrupt):
            _progress.bar_for("torn", 2, file)
    meter = _progress.bar_for("whole", 1, file)
    assert _progress._drawer._thread is not None
    meter.tick()
    meter.expect(1)
    wait_until(lambda: "whole: 1 of 1" in file.getvalue(), "the thread to draw")

    _progress._end()  # as at the interpreter's exit
