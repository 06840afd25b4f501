"""The main job's parts that need no pool, and its command line up to the pool."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from ezflow.__main__ import main
from ezflow._demo import DemoError, Findings, find_sources, is_finding, largest_first, run_serially
from ezflow._source import FunctionFacts, measure_file

SAMPLE = '''"""A module."""

class Box:
    """A class."""

    def put(self, thing, where=None):
        if thing and where or thing:
            return [x for x in thing if x]

        def inner():
            while True:
                pass
        return inner

async def wait(source):
    """A coroutine."""
    async for item in source:
        try:
            match item:
                case 1:
                    return 1 if item else 2
                case _:
                    pass
        except ValueError:
            pass

top = 1 if Box else 2'''


def write(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_counts_of_a_sample(tmp_path: Path) -> None:
    facts = measure_file(write(tmp_path / "sample.py", SAMPLE))

    assert (facts.lines, facts.functions, facts.classes) == (27, 3, 1)
    assert (facts.documented, facts.documentable) == (3, 5)
    # put: if, and, or, comprehension, its filter; inner: while; wait: for, except, two cases, conditional
    assert [(one.name, one.complexity) for one in facts.most_complex] == [
        ("wait", 6),
        ("put", 6),
        ("inner", 2),
    ]
    assert facts.branches == 5 + 1 + 5 + 1


def test_most_complex_functions_are_cut_to_what_is_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "many.py", "def f(): pass\n" * 30)

    facts = measure_file(path, keep=4)

    assert facts.functions == 30
    assert facts.most_complex == tuple(FunctionFacts(1, "f", line) for line in (30, 29, 28, 27))


@pytest.mark.parametrize(("text", "lines"), [("", 0), ("x", 1), ("x\n", 1), ("x\n\n", 2)])
def test_lines_are_counted_as_an_editor_counts(tmp_path: Path, text: str, lines: int) -> None:
    assert measure_file(write(tmp_path / "a.py", text)).lines == lines


@pytest.mark.parametrize(
    "content",
    [
        b"def f(:\n",
        b"x = 'caf\xe9'\n",
        b"# coding: no-such-code\n",
        b"x = 1\0\n",
        b"(" * 3000,
        b"x = " + b"-" * 100_000 + b"1\n",
    ],
    ids=["syntax", "undecodable", "coding", "nul", "parentheses", "deep"],
)
def test_bad_content_is_a_finding(tmp_path: Path, content: bytes) -> None:
    bad, good = write(tmp_path / "bad.py", content), write(tmp_path / "good.py", "x = 1\n")

    findings = run_serially([bad, good], io.StringIO())

    assert list(findings.facts) == [good]
    assert is_finding(findings.errors[bad])


def test_other_encodings_are_read(tmp_path: Path) -> None:
    latin = write(tmp_path / "latin.py", b"# -*- coding: latin-1 -*-\nx = 'caf\xe9'\n")
    marked = write(tmp_path / "marked.py", b"\xef\xbb\xbfx = 1\n")

    assert measure_file(latin).lines == 2
    assert measure_file(marked).lines == 1


def test_a_file_that_vanished_is_a_finding(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.py")

    findings = run_serially(largest_first([gone]), io.StringIO())

    assert is_finding(findings.errors[gone])


def test_sources_are_found_without_caches_packages_and_hidden_folders(tmp_path: Path) -> None:
    for name in ("a.py", "sub/b.py", "sub/c.txt", ".hidden/d.py", "__pycache__/e.py", "site-packages/f.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")

    found = find_sources(str(tmp_path), {})

    assert [os.path.relpath(path, tmp_path) for path in found] == ["a.py", "sub/b.py"]


def test_one_file_is_a_list_of_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.py", "")

    assert find_sources(path, {}) == [path]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_folder_inside_is_noted(tmp_path: Path) -> None:
    write(tmp_path / "a.py", "")
    (tmp_path / "closed").mkdir(mode=0)
    unreadable: dict[str, Exception] = {}

    find_sources(str(tmp_path), unreadable)

    assert list(unreadable) == [str(tmp_path / "closed")]


def test_an_empty_folder_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match=r"holds no \.py file"):
        find_sources(str(tmp_path), {})


def test_wrong_use_ends_with_2_and_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "does not exist. Give a folder" in capsys.readouterr().err

    assert main([str(tmp_path)]) == 2
    assert "holds no .py file" in capsys.readouterr().err

    assert main(["doctor", "--workers", "2"]) == 2
    assert "doctor takes no options" in capsys.readouterr().err

    assert main(["--workers", "0", str(tmp_path)]) == 2
    assert "needs at least 1" in capsys.readouterr().err

    with pytest.raises(SystemExit, match="2"):
        main(["--start-method", "telepathy"])


def test_serial_run_says_how_far_it_is(tmp_path: Path) -> None:
    log = io.StringIO()

    run_serially([write(tmp_path / "a.py", ""), write(tmp_path / "b.py", "(")], log)

    first, last = log.getvalue().splitlines()
    assert first == "serial: 0 of 2"
    assert last.startswith("serial: 2 of 2, 1 failed, ")


def test_totals() -> None:
    assert Findings().total("lines") == 0
