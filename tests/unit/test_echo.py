"""Cutting what workers write into lines; the order of what is written and delivered."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from ezflow._engine import echo
from ezflow._engine.echo import Cutter, Echo

MARK = b"\0mark"


def test_whole_lines_pass_and_the_rest_waits() -> None:
    cutter = Cutter(MARK)

    assert cutter.feed(b"one\ntwo\nthr") == b"one\ntwo\n"
    assert cutter.feed(b"ee\n") == b"three\n"
    assert cutter.feed(b"four") == b""
    assert cutter.finish() == b"four"
    assert cutter.finish() == b""


def test_mark_ends_an_unfinished_line_and_is_not_seen() -> None:
    cutter = Cutter(MARK)

    assert cutter.feed(b"one" + MARK + b"two") == b"one"
    assert cutter.feed(MARK[:2]) == b""
    assert cutter.feed(MARK[2:] + b"three\n") == b"twothree\n"


def test_endless_line_is_cut() -> None:
    cutter = Cutter(MARK)
    length = echo.LONGEST_LINE + 10

    first = cutter.feed(b"x" * length)

    assert 0 < len(first) <= length
    assert first + cutter.finish() == b"x" * length


@given(
    calls=st.lists(st.text("ab\n", max_size=8), max_size=8),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=20),
)
def test_nothing_is_lost_however_it_is_read(calls: list[str], sizes: list[int]) -> None:
    """Each call ends with a mark if it ends inside a line, as a worker does."""
    stream = b"".join(text.encode() + (MARK if text and text[-1] != "\n" else b"") for text in calls)
    cutter = Cutter(MARK)
    pieces = []
    while stream:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(cutter.feed(stream[:size]))
        stream = stream[size:]
    left = cutter.finish()

    assert b"".join(pieces).decode() == "".join(calls)
    assert left == b""


def test_answer_waits_for_what_was_said_before_it() -> None:
    written: list[object] = []
    entered, release = threading.Event(), threading.Event()
    told: list[int] = []
    thread = Echo("test-output", MARK, told.append)
    one, two = thread.voice(1, ()), thread.voice(2, ())
    thread.start()

    def hold() -> None:
        entered.set()
        release.wait(60)

    thread._put(one, 1, None, hold, ())
    assert entered.wait(60)
    thread.deliver(one, written.append, "after")
    thread.deliver(two, written.append, "at once")
    assert written == ["at once"]
    release.set()
    thread.stop(lambda: written.append("the end"))
    assert thread.thread is not None
    thread.thread.join(60)

    assert written == ["at once", "after", "the end"]
    assert one.is_written
    thread.deliver(one, written.append, "later")
    assert written[-1] == "later"


def test_room_is_told_when_half_is_written() -> None:
    told: list[int] = []
    thread = Echo("test-output", MARK, told.append)
    voice = thread.voice(7, ())
    for _ in range(4):
        thread._put(voice, echo.MOST_NBYTES // 3, None, lambda: None, ())

    assert voice.is_too_much()
    assert not voice.is_too_much()  # it is known
    thread.start()
    thread.stop(lambda: None)
    assert thread.thread is not None
    thread.thread.join(60)

    assert told
    assert set(told) == {7}
    assert voice.has_room()
