"""Run a program in a process of its own, in a chosen way, and tell all that came of it.

Every process that descends from the program is recognised by a variable in its initial environment, which neither a
session of its own nor the death of its parent takes away.  Every wait has a limit; when it is over, each of these
processes writes the stacks of its threads (`faulthandler`, on SIGABRT) before it is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import ezflow

LIMIT = float(os.environ.get("EZFLOW_TEST_LIMIT", "90"))
"""Seconds a program may take, below the limit of a test; programs here take 0.2 to 3 s on an idle machine."""

PATIENCE = 20.0
"""Seconds that what is to vanish by itself may take under load; the figures seen are in milliseconds."""

MARK = "EZFLOW_TEST_PROGRAM"

GUARD = "if __name__ == '__main__':\n    main()\n"


@dataclass(frozen=True)
class Outcome:
    """How a program ended."""

    stdout: str
    stderr: str
    code: int
    seconds: float
    left: list[str]
    gone_after: float

    @property
    def lines(self) -> list[str]:
        """What it printed, line by line."""
        return self.stdout.splitlines()

    def check(self, code: int = 0, stderr: str = "") -> Outcome:
        """Assert a clean end: exit code, nothing unexpected on stderr, nobody left behind."""
        assert (self.code, self.stderr, self.left) == (code, stderr, []), self
        return self


class Hang(AssertionError):
    """A program did not do in time what it was expected to do."""


class Program:
    """A running program; use it in a `with` block, which leaves nothing behind."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        folder: str | os.PathLike[str],
        env: Mapping[str, str] | None = None,
        terminal: bool = False,
        stdin: str | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.mark = uuid.uuid4().hex
        self._place = tempfile.TemporaryDirectory(prefix="ezflow-life-")
        out = Path(self._place.name)
        self._stdout, self._stderr = out / "stdout", out / "stderr"
        self._seen = 0
        self._code: int | None = None
        self.terminal: int | None = None
        whole = environment(self.mark, env)
        self.started = time.monotonic()
        if terminal:
            self._stderr.touch()
            self._start_in_terminal(argv, whole)
        else:
            with (
                open(self._stdout, "wb") as stdout,
                open(self._stderr, "wb") as stderr,
                _stdin(stdin) as given,
            ):
                self._process = subprocess.Popen(
                    argv,
                    stdin=given,
                    stdout=stdout,
                    stderr=stderr,
                    cwd=folder,
                    env=whole,
                    start_new_session=True,
                )
            self.pid = self._process.pid

    def _start_in_terminal(self, argv: Sequence[str], env: dict[str, str]) -> None:
        import pty

        self.pid, terminal = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(self.folder)
                os.execvpe(argv[0], list(argv), env)
            finally:
                os._exit(127)
        self.terminal = terminal
        self._stdout.touch()
        self._copier = threading.Thread(target=self._copy_terminal, daemon=True)
        self._copier.start()

    def _copy_terminal(self) -> None:
        assert self.terminal is not None
        with open(self._stdout, "ab", buffering=0) as file:
            while True:
                try:
                    data = os.read(self.terminal, 65536)
                except OSError:
                    return
                if not data:
                    return
                file.write(data.replace(b"\r\n", b"\n"))

    # ------------------------------------------------------------ while it runs

    def type(self, text: str) -> None:
        """Type into its terminal."""
        assert self.terminal is not None
        data = text.encode()
        while data:
            data = data[os.write(self.terminal, data[:512]) :]

    def expect(self, start: str, limit: float = LIMIT) -> str:
        """Wait until it has printed a line that begins like this; give the rest of the line."""
        end = time.monotonic() + limit
        while True:
            ended = (
                self._poll() is not None
            )  # looked at first: what it printed before its end is read after it
            text = self._stdout.read_bytes()[self._seen :]
            whole, _, _ = text.rpartition(b"\n")
            for line in whole.splitlines(keepends=True):
                self._seen += len(line)
                if line.startswith(start.encode()):
                    return line.decode()[len(start) :].strip()
            if ended:
                raise AssertionError(f"the program ended and never printed {start!r}\n{self.report()}")
            if time.monotonic() > end:
                self._hang(f"the program has not printed {start!r} within {limit:g} s")
            time.sleep(0.002)

    def interrupt(self, whole_group: bool = False) -> None:
        """Send one SIGINT, as a notebook does, or as a terminal does to everybody in the foreground."""
        if whole_group:
            os.killpg(self.pid, signal.SIGINT)
        else:
            os.kill(self.pid, signal.SIGINT)

    def settle(self) -> None:
        """Wait until its main thread sleeps.

        A signal between Python's last look at its flags and the system call that blocks is noticed only when that
        call returns (true of every lock in every Python program). Tests that are not about this race stay out of it.
        """
        asleep = 0
        while asleep < 3 and self._poll() is None:
            try:
                state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                time.sleep(0.2)
                return
            asleep = asleep + 1 if state == "S" else 0
            time.sleep(0.005)

    def kill(self) -> None:
        """End it by SIGKILL, which it cannot notice."""
        os.kill(self.pid, signal.SIGKILL)

    def processes(self) -> dict[int, str]:
        """Give the living processes that descend from it, itself included: pid and command."""
        return marked(self.mark)

    def report(self) -> str:
        """Describe what is known so far."""
        return f"--- stdout\n{self._read(self._stdout)}\n--- stderr\n{self._read(self._stderr)}"

    def stderr_so_far(self) -> str:
        """Give what it has written to stderr."""
        return self._read(self._stderr)

    # ------------------------------------------------------------ its end

    def finish(
        self, limit: float = LIMIT, patience: float = PATIENCE, *, spare: Container[int] = ()
    ) -> Outcome:
        """Wait for its end, then until nobody of its kind is left, except the processes to `spare`."""
        end = time.monotonic() + limit
        while self._poll() is None:
            if time.monotonic() > end:
                self._hang(f"the program has not ended within {limit:g} s")
            time.sleep(0.002)
        ended = time.monotonic()
        if self.terminal is not None:
            self._copier.join(1.0)
        while (left := {pid: what for pid, what in self.processes().items() if pid not in spare}) and (
            time.monotonic() < ended + patience
        ):
            time.sleep(0.002)
        gone = time.monotonic()
        assert self._code is not None
        outcome = Outcome(
            self._read(self._stdout),
            self._read(self._stderr),
            self._code,
            ended - self.started,
            [f"{pid} {what}" for pid, what in left.items()],
            gone - ended,
        )
        self.close()
        return outcome

    def close(self) -> None:
        """Kill whatever is left of it."""
        for pid in self.processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + 10
        while self._poll() is None and time.monotonic() < end:
            time.sleep(0.002)
        if self.terminal is not None:
            self._copier.join(1.0)
            os.close(self.terminal)
            self.terminal = None
        self._place.cleanup()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _poll(self) -> int | None:
        if self._code is None:
            if hasattr(self, "_process"):
                self._code = self._process.poll()
            else:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def _hang(self, what: str) -> None:
        alive = self.processes()
        for pid in alive:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGABRT)
        end = time.monotonic() + 5
        while self.processes() and time.monotonic() < end:
            time.sleep(0.01)
        processes = "".join(f"\n{pid} {command}" for pid, command in alive.items())
        report = f"{what}\n--- processes{processes}\n{self.report()}"
        self.close()
        raise Hang(report)

    @staticmethod
    def _read(path: Path) -> str:
        return path.read_text(errors="replace") if path.exists() else ""


@contextlib.contextmanager
def _stdin(text: str | None) -> Iterator[int]:
    """Give a descriptor to read `text` from: a pipe, as a shell makes one."""
    if text is None:
        with open(os.devnull, "rb") as null:
            yield null.fileno()
        return
    data = text.encode()
    assert len(data) <= 65536, "it would not fit into a pipe"
    reader, writer = os.pipe()
    try:
        os.write(writer, data)
        os.close(writer)
        yield reader
    finally:
        os.close(reader)


def environment(mark: str, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give the environment of a program: ours, the mark, and a way to find the code under test."""
    whole = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    home = str(Path(ezflow.__file__).parent.parent)
    if "site-packages" not in home:
        whole["PYTHONPATH"] = os.pathsep.join(filter(None, [home, whole.get("PYTHONPATH", "")]))
    whole |= {MARK: mark, "PYTHONFAULTHANDLER": "1", "PYTHON_BASIC_REPL": "1", "TERM": "dumb"}
    whole |= env or {}
    return whole


def has_terminals() -> bool:
    """Tell whether this machine gives out pseudo-terminals."""
    try:
        ends = os.openpty()
    except OSError:
        return False
    for end in ends:
        os.close(end)
    return True


def marked(mark: str) -> dict[int, str]:
    """Give the living processes with this mark in their initial environment."""
    found: dict[int, str] = {}
    if not os.path.isdir("/proc/self"):
        import psutil

        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == mark and process.status() != "zombie":
                    found[process.pid] = " ".join(process.cmdline())
        return found
    needle = f"{MARK}={mark}".encode()
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                with open(f"/proc/{name}/environ", "rb") as environ:
                    if needle not in environ.read():  # empty for a zombie
                        continue
                with open(f"/proc/{name}/cmdline", "rb") as cmdline:
                    found[int(name)] = cmdline.read().replace(b"\0", b" ").decode(errors="replace")[:200]
    return found


def start(
    text: str,
    folder: str | os.PathLike[str],
    *,
    options: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    args: Sequence[str] = (),
) -> Program:
    """Start a program from its text, as an unguarded script."""
    path = Path(folder) / "program.py"
    path.write_text(dedent(text))
    return Program([sys.executable, *options, str(path), *args], folder=folder, env=env)


def run(
    text: str,
    folder: str | os.PathLike[str],
    *,
    options: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    args: Sequence[str] = (),
    limit: float = LIMIT,
) -> Outcome:
    """Run a program from its text, as an unguarded script, to its end."""
    with start(text, folder, options=options, env=env, args=args) as program:
        return program.finish(limit)


WAYS = (
    "guarded script",
    "unguarded script",
    "-c",
    "standard input",
    "interactive",
    "console script",
    "package",
    "zipapp",
    "test file",
    "test file outside sys.path",
)


def start_as(way: str, text: str, folder: Path, *, env: Mapping[str, str] | None = None) -> Program:
    """Start a program in one of `WAYS`; the text defines `main`, which is called once."""
    text = dedent(text)
    unguarded = text + "\nmain()\n"
    python = sys.executable
    if way == "guarded script":
        (folder / "script.py").write_text(text + "\n" + GUARD)
        return Program([python, "script.py"], folder=folder, env=env)
    if way == "unguarded script":
        (folder / "script.py").write_text(unguarded)
        return Program([python, "script.py"], folder=folder, env=env)
    if way == "-c":
        return Program([python, "-c", unguarded], folder=folder, env=env)
    if way == "standard input":
        return Program([python], folder=folder, env=env, stdin=unguarded)
    if way == "interactive":
        program = Program([python, "-q", "-i"], folder=folder, env=env, terminal=True)
        program.type(as_typed(unguarded) + "exit()\n")
        return program
    if way == "console script":
        # What installers write: no suffix, no guard needed by the reader, the program itself in a package.
        package = folder / "packaged"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "cli.py").write_text(text)
        (folder / "tool").write_text("import sys\nfrom packaged.cli import main\nsys.exit(main())\n")
        return Program([python, "tool"], folder=folder, env=env)
    if way == "package":
        package = folder / "packaged"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "__main__.py").write_text(unguarded)
        return Program([python, "-m", "packaged"], folder=folder, env=env)
    if way == "zipapp":
        import zipapp

        sources = folder / "sources"
        sources.mkdir()
        (sources / "__main__.py").write_text(unguarded)
        zipapp.create_archive(sources, folder / "app.pyz")
        return Program([python, "app.pyz"], folder=folder, env=env)
    assert way in ("test file", "test file outside sys.path"), way
    (folder / "test_program.py").write_text(text + "\n\ndef test_main():\n    main()\n")
    (folder / "pytest.ini").write_text("[pytest]\n")
    mode = "prepend" if way == "test file" else "importlib"
    command = [
        "-m",
        "pytest",
        "-q",
        "-s",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "-W",
        "error",
        "-W",
        "ignore::ResourceWarning",
    ]
    return Program([python, *command, f"--import-mode={mode}", "test_program.py"], folder=folder, env=env)


def as_typed(text: str) -> str:
    """Turn a program into what one types at a prompt: no empty line inside a statement, one after each block."""
    import ast

    lines = text.splitlines()
    typed = ""
    for statement in ast.parse(text).body:
        first = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", ()))])
        block = [line for line in lines[first - 1 : statement.end_lineno] if line.strip()]
        typed += "\n".join(block) + "\n"
        if len(block) > 1:
            typed += "\n"
    return typed
