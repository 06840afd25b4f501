"""Frames of a traceback as plain data, and back.

A traceback cannot be pickled.  What a reader needs of each frame is little: the
file, the function, the line and columns, and the text of the line.  The worker
takes that down (`capture`, `texts_of`); the parent makes a real traceback of it
(`rebuild`) whose frames belong to generators that never start.

Such a frame has three properties that a frame from raising inside `exec`, as
tblib makes it, has not.  Its `f_back` is None, so an error does not keep the
stack of whoever opened it alive with all local variables.  It can have columns.
And it costs a tenth.  (Design note 0004.)

Text of source that is not in a file (cells, strings, archives) travels too and is
put into the parent's `linecache`, where it survives `linecache.checkcache`.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections import namedtuple
from functools import lru_cache
from itertools import islice
from types import CodeType, FunctionType, TracebackType

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping
    from types import FrameType
    from typing import Any, Final, NamedTuple

MAX_FRAMES: Final = 2000
"""Frames kept of one traceback, half from each end.  Chosen: twice the usual recursion limit."""

MAX_OWN: Final = 3
"""Frames kept of a traceback that has none but our own."""

MAX_TEXT: Final = 1 << 16
"""Characters of one source that travel whole; of a longer one only what is around the lines shown."""

AROUND: Final = 40
"""Lines kept on each side of a line shown, where a source is longer than `MAX_TEXT`."""

MAX_TEXTS: Final = 256
"""Sources of ours that the parent's linecache holds at most; the oldest go first."""

_OWN_FOLDER: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")


if TYPE_CHECKING:

    class Place(NamedTuple):
        """One frame."""

        file: str
        name: str
        qualname: str
        module: str
        first_line: int
        line: int
        end_line: int | None
        column: int | None
        end_column: int | None

else:
    Place = namedtuple("Place", "file name qualname module first_line line end_line column end_column")


def is_own(frame: FrameType) -> bool:
    """Tell whether a frame belongs to ezflow's machinery; the demo's functions, for one, do not."""
    if not frame.f_code.co_filename.startswith(_OWN_FOLDER):
        return False
    name = frame.f_globals.get("__name__")
    return type(name) is str and any(part[:1] == "_" != part[1:2] for part in name.split("."))


def capture(
    tb: TracebackType | None, seen: dict[str, tuple[FrameType, set[int]]]
) -> tuple[tuple[Place, ...], int]:
    """Take down the frames of a traceback, less our own at its top; also how many were left out.

    Files and lines are added to `seen`, for `texts_of`.
    """
    links: list[TracebackType] = []
    while tb is not None:
        links.append(tb)
        tb = tb.tb_next
    top = 0
    while top < len(links) and is_own(links[top].tb_frame):
        top += 1
    # An error of our machinery itself: the end of its traceback is all there is to show.
    links = links[top:] if top < len(links) else links[-MAX_OWN:]
    left_out = max(0, len(links) - MAX_FRAMES)
    if left_out:
        links[MAX_FRAMES // 2 : -(MAX_FRAMES // 2)] = []
    places = []
    for link in links:
        frame = link.tb_frame
        code = frame.f_code
        module = frame.f_globals.get("__name__")
        line, end_line, column, end_column = _position(code, link.tb_lasti)
        if line != link.tb_lineno:
            line, end_line, column, end_column = link.tb_lineno, None, None, None
        file = code.co_filename
        places.append(
            Place(
                file,
                code.co_name,
                code.co_qualname,
                module if type(module) is str else "?",
                code.co_firstlineno,
                line or code.co_firstlineno,
                end_line,
                column,
                end_column,
            )
        )
        lines = seen.get(file)
        if lines is None:
            lines = seen[file] = (frame, set())
        lines[1].add(places[-1].line)
    return tuple(places), left_out


def _position(code: CodeType, at: int) -> tuple[int | None, int | None, int | None, int | None]:
    """Look up line, last line, column and last column of an instruction."""
    if at < 0:
        return None, None, None, None
    return next(islice(code.co_positions(), at // 2, None), (None, None, None, None))


# -- source text


def texts_of(seen: Mapping[str, tuple[FrameType, set[int]]]) -> dict[str, list[str]]:
    """Give the source lines of those files that are not on disk, as far as linecache knows them."""
    texts = {}
    for file, (frame, numbers) in seen.items():
        if os.path.exists(file):
            continue
        try:
            lines = linecache.getlines(file, frame.f_globals) or _typed_in(frame.f_code)
        except Exception:  # a user's __loader__ may do anything
            continue
        if len(lines) < max(numbers) or (file == "<string>" and _is_command(lines)):
            continue  # the text of something else of that name
        if sum(map(len, lines)) > MAX_TEXT:
            lines = _around(lines, numbers)
        texts[file] = [str.__str__(line) for line in lines]  # a subclass might not unpickle
    return texts


def _is_command(lines: list[str]) -> bool:
    """Tell whether a text is what this process was started with (``-c``); 3.13 puts it into linecache.

    For a worker that is multiprocessing's command and not the user's code, which
    the parent calls ``<string>`` too.
    """
    argv = sys.orig_argv
    return "-c" in argv[:-1] and argv[argv.index("-c") + 1].strip() == "".join(lines).strip()


def _typed_in(code: CodeType) -> list[str]:
    """Give the lines of code typed into the interpreter, which 3.13 and later keep elsewhere."""
    look_up = getattr(linecache, "_getlines_from_code", None)
    return list(look_up(code)) if look_up is not None else []


def _around(lines: list[str], numbers: Iterable[int]) -> list[str]:
    """Blank all lines but those near the ones shown; stop at `MAX_TEXT` characters."""
    kept = [""] * len(lines)
    room = MAX_TEXT
    for distance in range(AROUND + 1):  # the lines shown first, then outwards
        for number in numbers:
            for i in {number - 1 - distance, number - 1 + distance}:
                if 0 <= i < len(lines) and not kept[i] and len(lines[i]) <= room:
                    kept[i] = lines[i]
                    room -= len(lines[i])
    return kept


_registered: dict[str, list[str]] = {}  # ours in linecache, oldest first


def register(texts: Mapping[str, list[str]]) -> dict[str, str]:
    """Put source lines into linecache; give the names of files that had to be renamed.

    Two workers, or a worker and the parent, may use one name such as
    ``<string>`` for different sources.  The text matters more than the name
    then, so the newcomer gets a name with a checksum.
    """
    renamed = {}
    for file, lines in texts.items():
        name = file
        if not _fits(file, lines):
            from zlib import crc32

            mark = f"#{crc32(''.join(lines).encode('utf-8', 'replace')):08x}"
            name = f"{file[:-1]}{mark}>" if file.endswith(">") else file + mark
            renamed[file] = name
        if linecache.cache.get(name):
            continue
        while len(_registered) >= MAX_TEXTS:
            oldest = next(iter(tuple(_registered)), name)  # a copy: other threads may be here too
            _registered.pop(oldest, None)
            linecache.cache.pop(oldest, None)
        _registered[name] = lines
        # A modification time of None says that a __loader__ gave the text: checkcache leaves it alone.
        linecache.cache[name] = (sum(map(len, lines)), None, lines, name)
    return renamed


def _fits(file: str, lines: list[str]) -> bool:
    """Tell whether linecache has nothing else under this name."""
    if file not in linecache.cache:
        return True
    known = linecache.getlines(file)
    if not known:
        return True
    if len(known) != len(lines):
        return False
    return all(a == b or not a or not b for a, b in zip(known, lines, strict=True))


# -- frames


def _stub() -> Generator[None, None, None]:
    yield


_CODE: Final = _stub.__code__
_UNITS: Final = len(_CODE.co_code) // 2


def rebuild(places: Iterable[Place], renamed: Mapping[str, str]) -> TracebackType | None:
    """Make a traceback that shows these places."""
    tb = None
    spaces: dict[tuple[str, str], dict[str, Any]] = {}
    for place in reversed(tuple(places)):
        file = renamed.get(place.file, place.file)
        space = spaces.get((place.module, file))
        if space is None:
            space = spaces[place.module, file] = {"__name__": place.module, "__file__": file}
        # A generator's frame outlives the generator and, never started, has nobody who called it.
        frame = FunctionType(_code(place, file), space)().gi_frame
        tb = TracebackType(tb, frame, 0, place.line)
    return tb


@lru_cache(maxsize=1024)
def _code(place: Place, file: str) -> CodeType:
    """Make a code object that claims to be the one at a place."""
    return _CODE.replace(
        co_filename=file,
        co_name=place.name,
        co_qualname=place.qualname,
        co_firstlineno=place.first_line,
        co_linetable=_line_table(place),
    )


def _line_table(place: Place) -> bytes:
    """Write a location table that gives every instruction the position of a place.

    Format: ``locations.md`` in CPython's sources, the same from 3.11 to 3.15.  An
    entry covers up to 8 instructions.  Code 14 has all four numbers, code 13 the
    line only.
    """
    table = bytearray()
    delta = place.line - place.first_line
    for start in range(0, _UNITS, 8):
        length = min(8, _UNITS - start)
        end, column, end_column = place.end_line, place.column, place.end_column
        if end is None or end < place.line or column is None or end_column is None:
            table.append(0x80 | 13 << 3 | length - 1)
            _signed(table, delta)
        else:
            table.append(0x80 | 14 << 3 | length - 1)
            _signed(table, delta)
            _unsigned(table, end - place.line)
            _unsigned(table, column + 1)
            _unsigned(table, end_column + 1)
        delta = 0  # relative to the entry before
    return bytes(table)


def _signed(table: bytearray, number: int) -> None:
    """Append a number whose lowest bit is its sign."""
    _unsigned(table, -number << 1 | 1 if number < 0 else number << 1)


def _unsigned(table: bytearray, number: int) -> None:
    """Append a number in groups of six bits, lowest first; bit 6 says that more follow."""
    while number >= 64:
        table.append(0x40 | number & 63)
        number >>= 6
    table.append(number)
