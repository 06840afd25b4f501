"""The journal's file: what is read back, what is refused, and how large it gets."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ezflow import JournalError
from ezflow.flow import journal as module
from ezflow.flow.journal import Journal, Span, mark_of
from ezflow.flow.machine import Machine, Settings

pytestmark = pytest.mark.dealt

FLOW = "inc, Batch(2)"


def note(book: Journal, *spans: tuple[int, int]) -> None:
    """Note stretches of the source ``range``."""
    machine = Machine(Settings())
    machine.spans_done = [Span(start, stop, mark_of(stop - 1)) for start, stop in spans]
    book.note([machine])


def write(path: Path, *spans: tuple[int, int]) -> None:
    book = Journal(path, FLOW)
    note(book, *spans)
    book.close()


def left(path: Path, n: int = 10) -> list[int]:
    """Give what a run over ``range(n)`` would do, and see that positions agree."""
    book = Journal(path, FLOW)
    try:
        items = list(book.remaining(range(n)))
        spans = book.spans_of(items) if items else []
    finally:
        book.close()
    assert [i for span in spans for i in range(span.start, span.stop)] == items
    return items


def test_what_was_noted_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "journal"

    write(path, (0, 2), (5, 6))
    assert left(path) == [2, 3, 4, 6, 7, 8, 9]
    write(path, (2, 5), (8, 10))
    assert left(path) == [6, 7]
    write(path, (6, 8))
    assert left(path) == []
    assert left(path, 12) == [10, 11]  # a source that has grown at its end


@settings(deadline=None)  # it waits for the disk
@given(st.permutations(range(12)), st.lists(st.booleans(), min_size=12, max_size=12))
def test_stretches_in_any_order_and_over_any_number_of_runs(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], again: list[bool]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    book = Journal(path, FLOW)
    for n, i in enumerate(order, 1):
        note(book, (i, i + 1))
        if again[n - 1]:
            book.close()
            assert left(path, 12) == sorted(set(range(12)) - set(order[:n]))
            book = Journal(path, FLOW)
    book.close()
    assert left(path, 12) == []


@pytest.mark.parametrize("n_bytes", range(1, 40))
def test_torn_last_line_costs_that_line_only(tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "journal"
    write(path, (0, 2))
    whole = path.read_bytes()
    write(path, (2, 4))
    line = path.read_bytes()[len(whole) :]
    torn = line[: max(len(line) - n_bytes, 0)]
    path.write_bytes(whole + torn)

    assert left(path) == [2, 3, 4, 5, 6, 7, 8, 9]
    assert path.read_bytes() == whole
    write(path, (2, 4))
    assert left(path) == [4, 5, 6, 7, 8, 9]


def test_last_line_with_other_bytes_costs_that_line_only(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, (0, 2), (2, 4))
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\n")

    assert left(path) == [2, 3, 4, 5, 6, 7, 8, 9]


def test_torn_first_line_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path)
    for n in range(len(path.read_bytes())):
        data = path.read_bytes()
        path.write_bytes(data[:n])
        assert left(path, 2) == [0, 1]
        assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda data: data.replace(b"0 2 ", b"0 3 "), "Line 2 of the journal .* is damaged"),
        (lambda data: data.replace(b"inc", b"dec"), "is no journal of ezflow"),
        (lambda data: b"one\ntwo\n", "is no journal of ezflow"),
        (lambda data: b"my notes", "is no journal of ezflow"),
    ],
)
def test_damage_elsewhere_is_an_error_and_the_file_is_left_alone(
    tmp_path: Path, spoil: Any, match: str
) -> None:
    path = tmp_path / "journal"
    write(path, (0, 2), (4, 5))
    path.write_bytes(spoil(path.read_bytes()))
    before = path.read_bytes()

    with pytest.raises(JournalError, match=match):
        Journal(path, FLOW)

    assert path.read_bytes() == before


def test_journal_of_another_flow_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, (0, 2))

    with pytest.raises(JournalError, match=r"belongs to another flow: inc, Batch\(2\)"):
        Journal(path, "inc, Batch(3)")

    Journal(path, FLOW).close()


def test_addresses_do_not_make_another_flow(tmp_path: Path) -> None:
    Journal(tmp_path / "journal", "<f object at 0x7f00>").close()
    Journal(tmp_path / "journal", "<f object at 0x7f11>").close()


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ([0, 1, 2, 3, 9], "input 4, counted from 0, was another one than 9"),
        ([0], "noted input 1, counted from 0, but the source has 1"),
        ([0, 1, 2, 3], "noted input 4, counted from 0, but the source has 4"),
    ],
)
def test_another_source_is_found_out(tmp_path: Path, source: list[int], match: str) -> None:
    write(tmp_path / "journal", (0, 2), (4, 5))
    book = Journal(tmp_path / "journal", FLOW)

    with pytest.raises(JournalError, match=match):
        list(book.remaining(source))

    book.close()


def test_source_is_closed_with_the_run(tmp_path: Path) -> None:
    write(tmp_path / "journal", (0, 2))
    closed = []

    def source() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    book = Journal(tmp_path / "journal", FLOW)
    items = book.remaining(source())
    assert next(items) == 2
    items.close()  # type: ignore[attr-defined]
    book.close()

    assert closed == [True]


def test_file_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LINES", 50)
    path = tmp_path / "journal"
    book = Journal(path, FLOW)
    sizes = []
    for i in range(1, 2000):
        note(book, (i, i + 1))
        sizes.append(path.stat().st_size)
    note(book, (0, 1))
    book.close()

    assert max(sizes) < 60 * 40
    assert left(path, 2001) == [2000]
    assert [one.name for one in tmp_path.iterdir()] == ["journal"]


def test_whole_file_is_there_at_each_moment_of_writing_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    monkeypatch.setattr(module, "MOST_LINES", 3)
    book = Journal(path, FLOW)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space")))
    for i in range(3):
        note(book, (i, i + 1))
    with pytest.raises(OSError, match="no space"):
        note(book, *((i, i + 1) for i in range(3, 9)))
    n_done = book.n_done
    book.close()
    monkeypatch.undo()

    assert left(path, n_done + 1) == [n_done]
    assert [one.name for one in tmp_path.iterdir()] == ["journal"]


def test_one_run_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    book = Journal(path, FLOW)
    program = (
        f"from ezflow.flow.journal import Journal\ntry:\n    Journal({str(path)!r}, {FLOW!r})\n"
        "except ValueError as error:\n    print(error)"
    )

    with pytest.raises(JournalError, match="in use by another run"):
        Journal(path, FLOW)
    elsewhere = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    note(book, (0, 1))
    book._compact()
    with pytest.raises(JournalError, match="in use by another run"):
        Journal(path, FLOW)
    still = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    book.close()
    free = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "in use by another run" in elsewhere.stdout
    assert "in use by another run" in still.stdout
    assert free.stdout == ""


def test_marks_tell_plain_items_apart_and_do_not_look_into_others() -> None:
    plain = [0, "0", b"0", 0.0, (0,), ("0",), [0], None, True, Path("a"), Path("b"), "x" * 999]

    assert len({mark_of(one) for one in plain}) == len(plain)
    assert mark_of(object()) == mark_of(object())
    assert mark_of({1: 2}) == mark_of({3: 4})
