"""Globals that cannot be sent: a worker has a stand-in, and the error comes from the line that uses it."""

from __future__ import annotations

import pytest

from tests.unit.codec_harness import run_main

HEAD = """
import ctypes, io, multiprocessing, pickle, socket, sqlite3, tempfile
from ezflow import errors
file = tempfile.TemporaryFile()
base = sqlite3.connect(":memory:")
plug = socket.socket()
items = (i for i in ())
state = {"n": 1, "file": [file]}
lock = multiprocessing.Lock()
pointer = ctypes.pointer(ctypes.c_int(1))
def fails(fn, *args):
    try:
        value = worker(fn, *args)
    except Failure as failure:
        return failure
    assert False, value
"""


def test_a_call_that_does_not_use_it_runs() -> None:
    run_main(
        """
        def task(x):
            if x > 5:
                base.execute("select 1"), file.read(), plug.send(b""), state["n"], lock.acquire()
            return x
        assert worker(task, 3) == 3
        assert worker(lambda: pointer is None) is False
        """,
        head=HEAD,
    )


USES = {
    "file.read()": "file",
    "file.name = 3": "file",
    "next(items)": "items",
    "list(items)": "items",
    "bool(items)": "items",
    "base.execute('select 1')": "base",
    "plug.send(b'x')": "plug",
    "state['n']": "state",
    "'n' in state": "state",
    "len(state)": "state",
    "print(state)": "state",
    "f'{state}'": "state",
    "pointer[0]": "pointer",
    "pointer + 1": "pointer",
    "pointer()": "pointer",
    "with_lock()": "lock",
    "pickle.dumps(base)": "base",
    "lambda: base": "base",
}


def test_any_use_raises_an_error_that_names_it() -> None:
    lines = "\n".join(f"def use_{n}():\n    {use.replace('lambda:', 'return')}" for n, use in enumerate(USES))
    run_main(
        f"""
        for n, name in enumerate({list(USES.values())!r}):
            failure = fails(globals()[f"use_{{n}}"])
            assert failure.kind in ("PicklingError", "PicklingTypeError"), (n, failure)
            assert failure.stage in ("call", "pack"), (n, failure)
            assert f"The global {{name!r}} is not there in a worker" in failure.message, (n, failure)
            assert "in the pool's initializer" in failure.message
            assert failure.kind == "PicklingError" or "TypeError" in failure.message
        assert "fn.__globals__['state']['file'][0] cannot be pickled (TypeError" in fails(use_7).message
        assert fails(use_7).path == "fn.__globals__['state']['file'][0]"
        """,
        head=HEAD + "def with_lock():\n    with lock:\n        pass\n" + lines,
    )


def test_it_is_sent_once_it_can_be() -> None:
    run_main(
        """
        def task():
            return state["n"]
        assert fails(task)
        del state["file"]
        assert worker(task) == 1
        base = 3
        assert worker(lambda: base) == 3
        base = sqlite3.connect(":memory:")
        assert fails(lambda: base.execute)
        """,
        head=HEAD,
    )


@pytest.mark.parametrize("before", ["base = None", ""])
def test_what_a_worker_has_made_itself_stays(before: str) -> None:
    run_main(
        """
        def init():
            global base
            base = sqlite3.connect(":memory:")
        def task():
            return base.execute("select 2").fetchall()
        worker.init(init)
        assert worker(task) == [(2,)]
        base = sqlite3.connect(":memory:")
        assert worker(task) == [(2,)]
        """,
        head=HEAD + before,
    )


def test_locks_queues_and_pointers_as_arguments_are_named() -> None:
    run_main(
        """
        for value, kind in ((lock, RuntimeError), (multiprocessing.Queue(), RuntimeError), (pointer, ValueError)):
            try:
                worker(len, [1, value])
            except kind as error:
                assert isinstance(error, errors.PicklingError), error
                assert error.path.startswith("args[0][1]") and error.path in str(error), error
                assert type(error.__cause__) is kind
        """,
        head=HEAD,
    )
