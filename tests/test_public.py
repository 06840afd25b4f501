"""What users may rely on by name: exports, signatures like the standard ones, and what a worker imports for them."""

from __future__ import annotations

import concurrent.futures
import inspect
import multiprocessing
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ezflow
from ezflow import errors

LIMIT = 60.0

ALIASES = {"B": "Broadcast", "P": "Parallel", "S": "Serial"}

EXPORTED = {
    *ALIASES,
    "As",
    "Batch",
    "Broadcast",
    "By",
    "CallInterrupted",
    "CallTimeout",
    "Const",
    "CurrentCall",
    "DROP",
    "Durations",
    "EZ",
    "EzflowError",
    "Failure",
    "Filter",
    "Flow",
    "FlowStatistics",
    "FlowStream",
    "Future",
    "Graph",
    "GraphError",
    "JournalError",
    "GraphFuture",
    "ItemStream",
    "Iter",
    "Map",
    "Outcome",
    "Parallel",
    "PicklingAttributeError",
    "PicklingError",
    "PicklingTypeError",
    "Piece",
    "Pool",
    "PoolBroken",
    "Print",
    "ProcessPoolExecutor",
    "Read",
    "Rebatch",
    "Ref",
    "RemoteError",
    "Result",
    "Route",
    "Seq",
    "Serial",
    "Stage",
    "StageStatistics",
    "Stamp",
    "Statistics",
    "Tap",
    "Task",
    "To",
    "Unbatch",
    "UnpicklingError",
    "Window",
    "WorkerDied",
    "Write",
    "WrongProcess",
    "Zip",
    "current_call",
    "each",
    "pack",
    "put",
    "same",
    "star",
    "task",
}

ADDED = {
    "__init__": ["cancel_running", "idle_timeout", "max_memory_per_child", "grace", "output", "seed"],
    "map": ["buffersize"],  # the standard's own since 3.14
}
"""Keywords that the standard methods lack."""

WORDS = {
    "asynced",
    "background",
    "named",
    "priority",
    "progress",
    "results",
    "retry",
    "star",
    "stream",
    "timeout",
}

NEW = {
    "ProcessPoolExecutor": {
        *(
            "drain",
            "kill_workers",
            "sealed",
            "stacks",
            "statistics",
            "terminate_workers",
            "unordered",
            "within",
        ),
        *WORDS,
    },
    "Future": {"progress", "remove_done_callback"},
}
"""Methods that the standard class lacks, at least on old Pythons."""

PAIRS = [
    (ezflow.ProcessPoolExecutor, concurrent.futures.ProcessPoolExecutor),
    (ezflow.Future, concurrent.futures.Future),
]


def run(program: str, folder: Path, *arguments: str) -> list[str]:
    """Run a program in a process of its own; give the words that it prints."""
    path = folder / "program.py"
    path.write_text(program)
    done = subprocess.run(
        [sys.executable, str(path), *arguments], check=False, capture_output=True, text=True, timeout=LIMIT
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.split()


def public_methods(cls: type) -> dict[str, Any]:
    """Give the constructor and the methods without a leading underscore."""
    found = inspect.getmembers(cls, callable)
    return {name: value for name, value in found if name == "__init__" or not name.startswith("_")}


def shape(method: Any) -> list[tuple[str, Any, Any]]:
    """Give name, kind and default of each parameter: all that a caller can notice."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values()]


# ------------------------------------------------------------------------------------- names


def test_exported_names_are_these() -> None:
    assert set(ezflow.__all__) == EXPORTED
    assert len(set(ezflow.__all__)) == len(ezflow.__all__)
    assert set(ezflow.__all__) <= set(dir(ezflow))


def test_every_exported_name_can_be_had() -> None:
    for name in ezflow.__all__:
        assert getattr(ezflow, name).__name__ == ALIASES.get(name, name)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        ezflow.Nothing  # noqa: B018  # the lookup is the point


def test_every_public_error_is_a_name_of_the_package() -> None:
    for name in errors.__all__:
        assert getattr(ezflow, name) is getattr(errors, name)


def test_public_names_have_docstrings() -> None:
    undocumented = [name for name in ezflow.__all__ if not (getattr(ezflow, name).__doc__ or "").strip()]

    assert undocumented == []


def test_reference_lists_every_exported_name_and_every_method_of_its_own() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "api.md").read_text()

    for name in ezflow.__all__:
        assert f":: ezflow.{name}\n" in page
    for ours, _ in PAIRS:
        for name in vars(ours):
            if not name.startswith("_") and callable(getattr(ours, name)):
                assert f" {name}," in page or f" {name}\n" in page, name


# ------------------------------------------------------------------------------------- signatures


@pytest.mark.parametrize(("ours", "standard"), PAIRS)
def test_methods_are_the_standard_ones_and_few_more(ours: type, standard: type) -> None:
    mine, theirs = public_methods(ours), public_methods(standard)

    assert theirs.keys() <= mine.keys()
    assert mine.keys() - theirs.keys() <= NEW[ours.__name__]


@pytest.mark.parametrize(
    ("ours", "standard"),
    [
        pytest.param(getattr(ours, name), method, id=f"{ours.__name__}.{name}")
        for ours, standard in PAIRS
        for name, method in public_methods(standard).items()
    ],
)
def test_signature_is_the_standard_one_and_known_keywords(ours: Any, standard: Any) -> None:
    mine, theirs = shape(ours), shape(standard)
    added = [one for one in mine if one not in theirs]

    assert [one for one in mine if one in theirs] == theirs
    assert {name for name, _, _ in added} <= set(ADDED.get(standard.__name__, ()))
    for _, kind, default in added:
        assert kind is inspect.Parameter.KEYWORD_ONLY
        assert default is not inspect.Parameter.empty


def test_every_added_keyword_is_there() -> None:
    for name, added in ADDED.items():
        assert set(added) <= {one for one, _, _ in shape(getattr(ezflow.ProcessPoolExecutor, name))}


# ------------------------------------------------------------------------------------- imports

DEAR = (
    "asyncio", "cloudpickle", "concurrent.futures", "concurrent.futures.process", "ctypes", "dataclasses", "inspect",
    "logging", "numpy", "tempfile", "multiprocessing.connection", "multiprocessing.synchronize",
)  # fmt: skip
"""What costs a worker milliseconds to import, and it does not need."""

OF_A_WORKER = {
    "ezflow",
    "ezflow._anatomy",
    "ezflow._engine",
    "ezflow._engine.belongings",
    "ezflow._engine.current",
    "ezflow._engine.exchange",
    "ezflow._engine.finish",
    "ezflow._engine.descriptors",
    "ezflow._engine.lifeline",
    "ezflow._engine.popen",
    "ezflow._engine.process",
    "ezflow._engine.streaming",  # so that a stream opens no file
    "ezflow._engine.surroundings",
    "ezflow._engine.template",  # not with spawn
    "ezflow._engine.worker",
    "ezflow._frames",
    "ezflow._interrupt",
    "ezflow._memory",
    "ezflow._memory.borrowing",
    "ezflow._memory.cargo",
    "ezflow._memory.lending",
    "ezflow._memory.reserve",
    "ezflow._memory.segments",
    "ezflow._tracebacks",
    "ezflow._wire",
    "ezflow._wire.messages",
    "ezflow._wire.pickling",
    "ezflow._wire.rebuild",
    "ezflow._wire.where",
    "ezflow._wire.workspace",
}
"""Our own modules in a worker that has run one call."""

FRESH = """
import multiprocessing, sys
import ezflow, colorsys

def modules():
    return list(__import__("sys").modules)

context = multiprocessing.get_context(sys.argv[1])
with ezflow.ProcessPoolExecutor(1, context) as pool:
    print(*pool.submit(modules).result())
"""


@pytest.mark.parametrize(
    "method", [name for name in multiprocessing.get_all_start_methods() if name != "fork"]
)  # a forked worker has everything that the program had
def test_fresh_worker_imports_little(method: str, tmp_path: Path) -> None:
    loaded = set(run(FRESH, tmp_path, method))

    assert {name for name in loaded if name.partition(".")[0] == "ezflow"} <= OF_A_WORKER
    assert loaded.isdisjoint(DEAR)
    assert "colorsys" not in loaded  # the program itself is not run


def test_worker_that_packs_an_exception_does_not_import_the_pool_classes(tmp_path: Path) -> None:
    program = """
import sys, pickle
from ezflow._tracebacks import pack_exception
from ezflow._interrupt import CallInterrupted
try:
    raise CallInterrupted
except BaseException as error:
    pack_exception(error, pickle.dumps)
print(*sys.modules)
"""

    loaded = set(run(program, tmp_path))

    assert loaded.isdisjoint({"ezflow.errors", "concurrent.futures", "multiprocessing"})


def test_import_of_the_package_alone_loads_nothing_else(tmp_path: Path) -> None:
    program = """
import sys
before = set(sys.modules)
import ezflow
print(*set(sys.modules) - before)
"""

    assert set(run(program, tmp_path)) <= {"__future__", "ezflow"}
