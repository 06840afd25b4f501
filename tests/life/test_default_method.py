"""Which start method a pool without `mp_context` has: what the program has settled on, else forkserver."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIMIT = 60.0

FORK_BEFORE_314 = "fork" if sys.version_info < (3, 14) else "forkserver"
"""What `multiprocessing` settles on when it is asked for anything, unless told otherwise (on Linux)."""


@pytest.mark.dealt
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other defaults")
@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("pass", "forkserver"),
        ("multiprocessing.set_start_method('fork')", "fork"),
        ("multiprocessing.set_start_method('forkserver')", "forkserver"),
        ("multiprocessing.set_start_method('spawn')", "spawn"),
        ("multiprocessing.get_context('spawn').Lock()", "forkserver"),
        ("lock = multiprocessing.Lock()", FORK_BEFORE_314),
        ("queue = multiprocessing.Queue()", FORK_BEFORE_314),
        ("multiprocessing.get_context()", FORK_BEFORE_314),
        ("multiprocessing.get_start_method()", FORK_BEFORE_314),
        ("concurrent.futures.ProcessPoolExecutor(1).shutdown()", FORK_BEFORE_314),
        ("ezflow.ProcessPoolExecutor(1).shutdown()", "forkserver"),
    ],
)
def test_default_start_method_is_what_the_program_has_settled_on(before: str, expected: str) -> None:
    program = (
        "import concurrent.futures, multiprocessing, ezflow\n"
        f"{before}\n"
        "with ezflow.ProcessPoolExecutor(1) as pool:\n"
        "    method = repr(pool).partition(', ')[2].partition(',')[0]\n"
        "    print(method, pool.submit(multiprocessing.get_start_method).result())\n"
    )

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )

    assert done.stderr == ""
    assert done.stdout.split()[0] == expected
    assert done.returncode == 0


@pytest.mark.dealt
@pytest.mark.parametrize("method", ["", "'fork'", "'forkserver'", "'spawn'"])
def test_lock_of_the_same_context_is_a_good_initarg(method: str) -> None:
    program = (
        "import multiprocessing, ezflow\n"
        f"context = multiprocessing.get_context({method})\n"
        "with ezflow.ProcessPoolExecutor(1, context, initializer=repr, initargs=(context.Lock(),)) as pool:\n"
        "    print(pool.submit(abs, -3).result())\n"
    )

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )

    assert (done.stdout, done.stderr, done.returncode) == ("3\n", "", 0)
