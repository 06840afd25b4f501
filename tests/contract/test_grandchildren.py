"""Standard multiprocessing inside a call, with functions of the main program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """\
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor as Standard
from ezflow import ProcessPoolExecutor as Pool

METHOD = sys.argv[1]
RAN = True  # no function names it

def square(x):
    return x * x

def put(queue):
    queue.put(__name__)

def process():
    context = multiprocessing.get_context(METHOD)
    queue = context.SimpleQueue()
    child = context.Process(target=put, args=(queue,))
    child.start()
    child.join()
    return child.exitcode, queue.get()

def pool():
    with multiprocessing.get_context(METHOD).Pool(1) as pool:
        return pool.map_async(square, [2, 3]).get(timeout=60)

def executor():
    with Standard(1, multiprocessing.get_context(METHOD)) as pool:
        return list(pool.map(square, [2, 3]))

def where():
    main = sys.modules["__main__"]
    return __name__, main.__file__, hasattr(main, "RAN")

if __name__ == "__main__":
    with Pool(1, multiprocessing.get_context(METHOD)) as outer:
        for fn in (process, pool, executor):
            print(outer.submit(fn).result())
        assert outer.submit(where).result() == ("__main__", __file__, METHOD == "fork")
"""


@pytest.mark.parametrize("as_module", [False, True])
def test_they_find_what_the_program_defines(start_method: str, as_module: bool, tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)

    done = _run(["-m", "program"] if as_module else [str(file)], start_method, tmp_path)

    name = "__main__" if start_method == "fork" else "__mp_main__"
    assert done.stdout.splitlines() == [str((0, name)), "[4, 9]", "[4, 9]"], done.stderr
    assert done.returncode == 0


UNGUARDED = """\
import multiprocessing, sys
from operator import neg
from concurrent.futures import ProcessPoolExecutor as Standard
from ezflow import ProcessPoolExecutor as Pool

print("once")

def nested():
    with Standard(1, multiprocessing.get_context(sys.argv[1])) as pool:
        return list(pool.map(neg, [2, 3]))

with Pool(1, multiprocessing.get_context(sys.argv[1])) as outer:
    print(outer.submit(nested).result())
"""


def test_a_program_without_a_guard_is_not_run_again(start_method: str, tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(UNGUARDED)

    done = _run([str(file)], start_method, tmp_path)

    assert done.stdout.splitlines() == ["once", "[-2, -3]"], done.stderr
    assert done.returncode == 0


def _run(program: list[str], method: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.run(
        [sys.executable, *program, method],
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=folder,
    )
