"""A bare worker for tests of the codec: a process, two pipes, and nothing of the engine.

Both sides of a codec in one process would share ``__main__``, so a test gives a
script to `run_main`, which runs it as the main program of a new process. There
``worker`` is a `Worker` whose process fills its own ``__main__``.
"""

from __future__ import annotations

import os
import pickle
import struct
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

from ezflow._wire import diagnose
from ezflow._wire.workspace import Workspace

if TYPE_CHECKING:
    from ezflow._wire.codec import Codec

SIZE = struct.Struct("=Q")

diagnose.LIMIT = 60.0  # type: ignore[misc]  # a busy machine is no reason for a coarser path


def read(file: BinaryIO) -> Any:
    """Read one message; None at the end."""
    head = file.read(SIZE.size)
    return pickle.loads(file.read(SIZE.unpack(head)[0])) if head else None


def write(file: BinaryIO, *message: object) -> None:
    """Write one message."""
    data = pickle.dumps(message)
    file.write(SIZE.pack(len(data)) + data)
    file.flush()


def serve(inbox: BinaryIO, outbox: BinaryIO, *, forked: bool) -> None:
    """Be a worker until the parent closes its end."""
    space = Workspace(forked=forked)
    while (message := read(inbox)) is not None:
        kind, *rest = message
        if kind == "define":
            space.define(*rest)
            continue
        stage = "unpack"
        try:
            fn, args, kwargs = space.unpack_call(rest[0])
            stage = "call"
            value = fn(*args, **kwargs)
            stage = "pack"
            answer: tuple[object, ...] = (None, space.pack_value(value))
        except Exception as error:
            import traceback  # here, because a test looks what a worker has imported

            text = "".join(traceback.format_exception(error))
            answer = (stage, type(error).__name__, str(error), getattr(error, "path", None), text)
        write(outbox, *answer)


def main() -> None:
    """Be a worker on the standard streams."""
    inbox = os.fdopen(os.dup(0), "rb")
    outbox = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(inbox, outbox, forked=False)


class Failure(Exception):
    """What a worker answered instead of a value."""

    def __init__(self, stage: str, kind: str, message: str, path: str | None, text: str) -> None:
        super().__init__(f"{stage}: {kind}: {message}\n{text}")
        self.stage = stage
        self.kind = kind
        self.message = message
        self.path = path


class Worker:
    """The parent's side: call it as ``worker(fn, *args, **kwargs)``."""

    def __init__(self, method: str = "spawn", codec: Codec | None = None) -> None:
        from ezflow._wire.codec import Codec

        self.codec = codec or Codec(inherits=method == "fork")
        self.known: dict[int, int] = {}
        self.sent: list[int] = []  # keys of the definitions that went with the last call
        self.pid = 0
        if method == "fork":
            down, up = os.pipe(), os.pipe()
            self.pid = os.fork()
            if self.pid == 0:
                os.close(down[1])
                os.close(up[0])
                try:
                    serve(os.fdopen(down[0], "rb"), os.fdopen(up[1], "wb"), forked=True)
                finally:
                    os._exit(0)
            os.close(down[0])
            os.close(up[1])
            self.inbox, self.outbox = os.fdopen(up[0], "rb"), os.fdopen(down[1], "wb")
        else:
            import subprocess

            code = "from tests.unit.codec_harness import main; main()"
            child = subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert child.stdin is not None
            assert child.stdout is not None
            self.child = child
            self.inbox, self.outbox = child.stdout, child.stdin  # type: ignore[assignment]

    def __call__(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run a call in the worker."""
        return self.run(self.codec.pack_call(fn, args, kwargs))

    def init(self, fn: Any, /, *args: Any) -> Any:
        """Run an initializer in the worker."""
        return self.run(self.codec.pack_initializer(fn, args))

    def run(self, packed: Any) -> Any:
        """Send a packed call as the engine does, and wait for its value."""
        from ezflow._wire.codec import unpack_value

        payload, needs = packed
        self.sent = []
        for definition in needs:
            if self.known.get(definition.key) != definition.version:
                self.known[definition.key] = definition.version
                self.sent.append(definition.key)
                write(self.outbox, "define", definition.key, definition.data)
        write(self.outbox, "call", payload)
        answer = read(self.inbox)
        assert answer is not None, "the worker died"
        failed, *rest = answer
        if failed:
            raise Failure(failed, *rest)
        return unpack_value(rest[0])

    def close(self) -> None:
        """End the worker."""
        self.outbox.close()
        if self.pid:
            os.waitpid(self.pid, 0)
        else:
            self.child.wait()
        self.inbox.close()


PRELUDE = """\
from __future__ import annotations
import sys as _sys
from tests.unit.codec_harness import Failure, Worker
worker = Worker(_sys.argv[1])
"""


def environment() -> dict[str, str]:
    """Return an environ in which children find what this process finds."""
    path = os.pathsep.join([os.path.abspath(__file__).rsplit(os.sep, 3)[0], *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "error"}


def run_main(source: str, method: str = "spawn", *, folder: Any = None, head: str = "") -> str:
    """Run a script as the main program of a new process; return what it printed.

    `head` is put before the line that starts the worker: what a forked worker is to inherit.
    """
    import subprocess
    import textwrap

    first, rest = PRELUDE.split("worker =")
    script = first + textwrap.dedent(head) + "\nworker =" + rest + textwrap.dedent(source)
    script += "\nworker.close()\n"
    command = [sys.executable, "-c", script, method]
    if folder is not None:
        file = folder / "program.py"
        file.write_text(script)
        command[1:3] = [str(file)]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=100, check=False, cwd=folder
    )
    assert done.returncode == 0, f"{done.stderr}\n--- script\n{script}"
    return done.stdout
