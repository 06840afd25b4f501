"""A worker sees the world as its parent sees it when the worker starts, with every start method."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.life.program import run

HEAD = """
import multiprocessing
import os
import random
import sys
import warnings

from ezflow import ProcessPoolExecutor

folder = os.environ["FOLDER"]
context = multiprocessing.get_context(os.environ["METHOD"])

def seen():
    "What this process sees of the world."
    caps = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
            "NUMEXPR_MAX_THREADS", "VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS", "NUMBA_NUM_THREADS")
    return {
        "environ": {name: value for name, value in os.environ.items() if name not in caps},
        "cwd": os.getcwd(),
        "path": sys.path,
        "argv": sys.argv,
        "umask": mask(),
        "filters": [(f[0], getattr(f[1], "pattern", f[1]), f[2].__name__, f[4]) for f in warnings.filters],
    }

def mask():
    now = os.umask(0)
    os.umask(now)
    return now

def compare(word="the same"):
    with ProcessPoolExecutor(1, context) as pool:
        here, there = seen(), pool.submit(seen).result()
    if here == there:
        print(word)
    for name in here:
        if here[name] != there[name]:
            print(name, "differs:", here[name], "|", there[name])

"""

CHANGES = {
    "environ set": 'os.environ["NEW"] = "here"',
    "environ deleted": 'del os.environ["DELETE_ME"]',
    "environ changed": 'os.environ["DELETE_ME"] = "changed"',
    "environ not text": 'os.environb[b"ODD"] = bytes(range(128, 256))',
    "chdir": 'os.mkdir("elsewhere"); os.chdir("elsewhere")',
    "sys.path insert": 'sys.path.insert(0, os.path.join(folder, "modules"))',
    "sys.path relative": 'sys.path.insert(0, "modules")',
    "sys.argv": 'sys.argv = ["other", "--option"]',
    "umask": "os.umask(0o027)",
    "warnings ignored": 'warnings.simplefilter("ignore", UserWarning)',
    "warnings by message": 'warnings.filterwarnings("error", "what.*ever", DeprecationWarning, "some.module", 7)',
    "warnings reset": "warnings.resetwarnings()",
    "warnings of a class of the program": """
        class Mine(UserWarning):
            pass
        warnings.simplefilter("error", Mine)
    """,
}


def change_all(*, then: str) -> str:
    """Give a program that makes the changes one by one, and does something after each."""
    return "".join(f"\n# {name}\n{dedent(change).strip()}\n{then}" for name, change in CHANGES.items())


def test_worker_of_the_first_pool_sees_what_its_parent_sees(start_method: str, tmp_path: Path) -> None:
    env = {"METHOD": start_method, "FOLDER": str(tmp_path), "DELETE_ME": "old"}

    outcome = run(HEAD + change_all(then="") + "\ncompare('all')\n", tmp_path, env=env).check()

    assert outcome.lines == ["all"]


def test_worker_of_the_next_pool_sees_what_has_changed(start_method: str, tmp_path: Path) -> None:
    env = {"METHOD": start_method, "FOLDER": str(tmp_path), "DELETE_ME": "old"}
    first = "compare('first')\n"

    outcome = run(HEAD + first + change_all(then="compare()\n"), tmp_path, env=env).check()

    assert outcome.lines == ["first"] + ["the same"] * len(CHANGES)


def test_module_that_was_made_importable_just_now_is_found(start_method: str, tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "brand_new.py").write_text("def f(x):\n    return x + 1\n")
    env = {"METHOD": start_method, "FOLDER": str(tmp_path)}
    text = """
    sys.path.insert(0, os.path.join(folder, "modules"))
    import brand_new
    with ProcessPoolExecutor(1, context) as pool:
        print(pool.submit(brand_new.f, 1).result())
    """
    assert run(HEAD + dedent(text), tmp_path, env=env).check().lines[-1] == "2"


def test_worker_that_is_started_later_sees_the_change(start_method: str, tmp_path: Path) -> None:
    # Workers start on demand and are replaced: each sees the parent as of its own start.
    env = {"METHOD": start_method, "FOLDER": str(tmp_path)}
    text = """
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        for n in range(3):
            os.environ["NUMBER"] = str(n)
            print(pool.submit(os.getenv, "NUMBER").result())
    """
    outcome = run(HEAD + dedent(text), tmp_path, env=env).check()
    assert outcome.lines == ["0", "1", "2"]


def test_workers_have_distinct_random_streams(start_method: str, tmp_path: Path) -> None:
    env = {"METHOD": start_method, "FOLDER": str(tmp_path)}
    text = """
    import numpy
    random.seed(1)
    numpy.random.seed(1)
    def draw(_):
        import time
        time.sleep(0.002)
        return os.getpid(), random.random(), numpy.random.random()
    with ProcessPoolExecutor(1, context, max_tasks_per_child=5) as pool:
        drawn = list(pool.map(draw, range(40)))
    drawn.append((os.getpid(), random.random(), numpy.random.random()))
    print(len({pid for pid, _, _ in drawn}), len({a for _, a, _ in drawn}), len({b for _, _, b in drawn}))
    """
    pytest.importorskip("numpy")
    outcome = run(HEAD + dedent(text), tmp_path, env=env).check()
    assert outcome.lines == ["9 41 41"]


def test_state_of_a_worker_does_not_flow_back(start_method: str, tmp_path: Path) -> None:
    env = {"METHOD": start_method, "FOLDER": str(tmp_path)}
    text = """
    def spoil():
        os.environ["SPOILT"] = "yes"
        os.chdir("/")
        os.umask(0)
        sys.path.clear()
        warnings.simplefilter("error")
    before = seen()
    with ProcessPoolExecutor(1, context) as pool:
        pool.submit(spoil).result()
    print(seen() == before)
    compare()
    """
    assert run(HEAD + dedent(text), tmp_path, env=env).check().lines == ["True", "the same"]
