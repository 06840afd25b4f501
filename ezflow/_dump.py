"""What `faulthandler` has written, in the form of a traceback."""

from __future__ import annotations

import os
import re
from linecache import getline

_FRAME = re.compile(r'  File "(?P<file>.*)", line (?P<line>\d+) in (?P<name>.*)')
_WORKER = os.path.join("_engine", "worker.py")


def readable(dump: bytes) -> str:
    """Give a dump as tracebacks are written: most recent call last, with source lines, without our own frames.

    Reads files of source code, so never on the dispatcher.
    """
    threads: list[tuple[str, list[str]]] = []
    is_ours = False
    for line in dump.decode("ascii", "replace").splitlines():
        if line.endswith("(most recent call first):"):
            threads.append((line.removesuffix(" (most recent call first):"), []))
            is_ours = False
            continue
        if not threads or not line:
            continue
        match = _FRAME.match(line)
        is_ours = is_ours or (match is not None and match["file"].endswith(_WORKER))
        if not is_ours:
            threads[-1][1].append(line if match is None else _frame(match))
    parts = []
    for name, frames in reversed(threads):  # the oldest one runs the call
        if name != "Call":
            parts.append(f"{name} (most recent call last):")
        parts += reversed(frames)
    return "\n".join(parts)


def _frame(match: re.Match[str]) -> str:
    text = f'  File "{match["file"]}", line {match["line"]}, in {match["name"]}'
    source = getline(match["file"], int(match["line"])).strip()
    return f"{text}\n    {source}" if source else text
