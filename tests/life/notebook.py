"""A Jupyter kernel, and cells run in it: a real ipykernel, talked to as a notebook does."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import queue
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.life.program import LIMIT, PATIENCE, environment, marked


@dataclass(frozen=True)
class Cell:
    """What came of one cell."""

    stdout: str
    stderr: str
    error: str | None
    traceback: str
    shown: str = ""  # the value of its last line, as text


class Kernel:
    """A running kernel."""

    def __init__(self, client: Any, manager: Any, mark: str, log: Path) -> None:
        self._client = client
        self._manager = manager
        self.mark = mark
        self.log = log

    def run(self, text: str, limit: float = LIMIT) -> Cell:
        """Run a cell to its end."""
        return self.wait(self.send(text), limit)

    def send(self, text: str) -> str:
        """Start a cell; give the number of the request."""
        number: str = self._client.execute(dedent(text), store_history=True)
        return number

    def stop(self, request: str) -> Cell:
        """Press the stop button, again after a while: a kernel that is just printing may swallow it."""
        return self.wait(request, press_every=PATIENCE)

    def wait(
        self, request: str, limit: float = LIMIT, until: str | None = None, press_every: float | None = None
    ) -> Cell:
        """Collect the output of a cell until its end, or until it has printed `until`."""
        out, err, error, trace, shown = "", "", None, "", ""
        start = time.monotonic()
        end, next_press = start + limit, math.inf if press_every is None else start
        while True:
            now = time.monotonic()
            if press_every is not None and now >= next_press:
                self.interrupt()
                next_press = now + press_every
            try:
                message = self._client.get_iopub_msg(timeout=max(0.0, min(end, next_press) - now))
            except queue.Empty:
                if time.monotonic() < end:
                    continue
                raise AssertionError(
                    f"the cell has not ended within {limit:g} s\n{out}\n{err}\n{self._stacks()}"
                ) from None
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                if content["name"] == "stdout":
                    out += content["text"]
                else:
                    err += content["text"]
                if until is not None and until in out:
                    break
            elif kind == "execute_result":
                shown = content["data"]["text/plain"]
            elif kind == "error":
                assert error is None, f"{error}, then {content['ename']}"
                error, trace = content["ename"], "\n".join(content["traceback"])
            elif kind == "status" and content["execution_state"] == "idle":
                break
        return Cell(out, err, error, trace, shown)

    def interrupt(self) -> None:
        """Do what the stop button does."""
        self._manager.interrupt_kernel()

    def processes(self) -> dict[int, str]:
        """Give the living processes that descend from the kernel, itself included."""
        return marked(self.mark)

    def _stacks(self) -> str:
        for pid in self.processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGABRT)
        time.sleep(1.0)  # nobody tells when the stacks are written; only on the way to a failure
        return self.log.read_text(errors="replace")


@contextlib.contextmanager
def kernel(folder: Path, env: dict[str, str]) -> Iterator[Kernel]:
    """Start a kernel, and see that nothing of it is left."""
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    manager_module = pytest.importorskip("jupyter_client.manager", reason="jupyter_client is not installed")
    from jupyter_core.utils import ensure_event_loop

    mark = uuid.uuid4().hex
    log = folder / "kernel.log"
    private = {"IPYTHONDIR": str(folder / "ipython"), "JUPYTER_RUNTIME_DIR": str(folder / "runtime")}
    for place in private.values():
        os.makedirs(place, exist_ok=True)
    with open(log, "wb") as file:
        manager = manager_module.KernelManager(
            kernel_name="python3", connection_file=str(folder / "runtime" / "k.json")
        )
        # not the kernel that a user of this machine has registered, but the one beside us
        manager._kernel_spec = spec()
        manager.start_kernel(
            env=environment(mark, {**env, **private}),
            cwd=str(folder),
            stdout=file,
            stderr=file,
            independent=True,
        )
        client = manager.blocking_client()
        try:
            client.start_channels()
            client.wait_for_ready(timeout=LIMIT)
            yield Kernel(client, manager, mark, log)
            manager.shutdown_kernel(now=False)
            end = time.monotonic() + PATIENCE
            while (left := marked(mark)) and time.monotonic() < end:
                time.sleep(0.005)
            assert not left, f"left after the kernel's end: {left}\n{log.read_text()}"
        finally:
            client.stop_channels()
            for pid in marked(mark):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            manager.shutdown_kernel(now=True)
            manager.context.destroy(0)
            ensure_event_loop().close()  # the one its blocking calls have made for this thread
            asyncio.set_event_loop(None)


def spec() -> Any:
    """Give the kernel of this very interpreter."""
    from jupyter_client.kernelspec import KernelSpec

    return KernelSpec(
        argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        display_name="test",
        language="python",
    )
