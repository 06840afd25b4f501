"""One short session for each thing that CI does; `nox` alone does what CI does.

Code under test is the installed wheel. Sessions that run it work in a copy of the repository without
the package (`leave_sources`), so that neither they nor any child can import the source tree by accident.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nox
import nox.command

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
ALL_PYTHONS = nox.project.python_versions(PYPROJECT)
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"

# CI has 15 minutes on 2 cores. So `tests` and `conformance` deal the start methods over the Pythons found: with
# three of them, each test runs on every Python and with every start method, but not with every pair of the two.
# `full` runs every pair, before a release. Tests marked `stress` run in `stress` only.
DEAL = True
PER_CORE = 2  # test processes: a test waits as much as it works
PYTEST = ["python", "-m", "pytest", "-p", "tests.plugin"]
PROPERTIES = ["tests/property", "tests/unit/test_tracebacks.py"]  # tests that make up their own cases


def find_pythons() -> list[str]:
    """List the supported Pythons of this machine, the one that runs nox always among them.

    pyenv and uv keep Pythons off the PATH, or leave a shim there that only says so. What works goes
    by a link into `.nox/pythons`, which is put first on the PATH for nox to look in.
    """
    links = ROOT / ".nox" / "pythons"
    links.mkdir(parents=True, exist_ok=True)
    home, found = os.path.expanduser("~"), []
    for version in ALL_PYTHONS:
        name = f"python{version}"
        patterns = (
            f"{os.environ.get('PYENV_ROOT', home + '/.pyenv')}/versions/{version}.*/bin/{name}",
            f"{home}/.local/share/uv/python/*/bin/{name}",
        )
        candidates = [sys.executable] if version == HERE else []
        candidates += [f"{folder}/{name}" for folder in os.get_exec_path()]
        candidates += [path for pattern in patterns for path in sorted(glob.glob(pattern), reverse=True)]
        for candidate in candidates:
            if Path(candidate).parent != links and _is_python(candidate, version):
                (links / name).unlink(missing_ok=True)
                (links / name).symlink_to(os.path.realpath(candidate))  # behind a virtual environment, too
                found.append(version)
                break
    os.environ["PATH"] = f"{links}{os.pathsep}{os.environ['PATH']}"
    return found


def _is_python(path: str, version: str) -> bool:
    """Tell whether a path is a CPython of that version that starts."""
    if not os.access(path, os.X_OK):
        return False
    code = "import sys; print('%d.%d' % sys.version_info[:2], sys.implementation.name)"
    try:
        found = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return found.stdout.split() == [version, "cpython"]


PYTHONS = find_pythons()

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "types", "docs", "tests", "conformance", "demo"]
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True  # PYTHONS holds only what was found


_built: list[str] = []  # the wheel, once it is built


def install(session: nox.Session, *groups: str) -> None:
    """Install dependency groups and the wheel of this checkout, which is built once per run of nox."""
    if not _built:
        wheels = ROOT / ".nox" / "wheel"
        shutil.rmtree(wheels, ignore_errors=True)
        session.run(
            "python", "-m", "pip", "wheel", "--quiet", "--no-deps", f"--wheel-dir={wheels}", str(ROOT)
        )
        _built.append(str(next(wheels.glob("*.whl"))))
    requirements = [one for group in groups for one in nox.project.dependency_groups(PYPROJECT, group)]
    session.install(*PYPROJECT["project"]["dependencies"], *requirements)
    session.install("--force-reinstall", "--no-deps", *_built)  # the same version may hold other code


def leave_sources(session: nox.Session) -> None:
    """Go to a copy of the checkout that lacks the package, in the session's temporary folder."""
    folder = Path(session.create_tmp()) / "checkout"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("tests", "docs", "examples", ".ci"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "_build", "generated")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "noxfile.py"):
        shutil.copy(ROOT / name, folder / name)
    session.chdir(folder)
    # Otherwise every worker that any test starts compiles the functions it runs, and pytest all tests in each process.
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    session.run("python", "-m", "compileall", "-q", "tests", silent=True)


def run_each(session: nox.Session, *commands: Sequence[str]) -> None:
    """Run all commands, also after one that failed, so that one run shows every complaint."""
    failed = []
    for command in commands:
        try:
            session.run(*command)
        except nox.command.CommandFailed:
            failed.append(" ".join(command[:3]))
    if failed:
        session.error(f"failed: {', '.join(failed)}")


def n_cores() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_tests(session: nox.Session, *arguments: str) -> None:
    """Run pytest on several processes, in a copy of the checkout without the package."""
    leave_sources(session)
    session.run(*PYTEST, f"-n{PER_CORE * n_cores()}", "--dist=worksteal", "--durations=10", *arguments)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Test-suite on one Python, in random order. Arguments go to pytest; with some, nothing is dealt."""
    install(session, "tests")
    share = (
        f"{PYTHONS.index(str(session.python)) + 1}/{len(PYTHONS)}" if DEAL and not session.posargs else "1/1"
    )
    once = ["--once"] if share != "1/1" and n_cores() < 4 else []  # or it would take more than 15 minutes
    run_tests(session, "-m", "not stress", f"--share={share}", *once, *session.posargs)


@nox.session(python=PYTHONS)
def full(session: nox.Session) -> None:
    """Test-suite with every start method on every Python. Takes long; not part of CI."""
    install(session, "tests")
    run_tests(session, "-m", "not stress", *session.posargs)


@nox.session
def minimal(session: nox.Session) -> None:
    """Fast tests with the oldest versions that the package says it works with."""
    install(session, "tests")
    oldest = [one.replace(">=", "==") for one in PYPROJECT["project"]["dependencies"]]
    session.install(*oldest)
    run_tests(session, "-m", "not stress and not slow", *session.posargs)


@nox.session
def stress(session: nox.Session) -> None:
    """Races and torture, many times. Takes long; not part of CI."""
    install(session, "tests")
    leave_sources(session)
    modules = [path.stem for path in sorted(Path("tests/stress").glob("[a-z]*.py"))]
    run_each(
        session,
        [*PYTEST, "-m", "stress", "--timeout=3600", "-o", "faulthandler_timeout=3700", *session.posargs],
        [
            *PYTEST,
            "--hypothesis-profile=stress",
            "--timeout=3600",
            "-o",
            "faulthandler_timeout=3700",
            *PROPERTIES,
        ],
        *(["python", "-m", f"tests.stress.{module}"] for module in modules),
    )


@nox.session(python=PYTHONS)
def conformance(session: nox.Session) -> None:
    """CPython's own process-pool tests on our class. Arguments go to the runner; with some, nothing is dealt."""
    install(session)
    leave_sources(session)
    part, methods = PYTHONS.index(str(session.python)), ["fork", "forkserver", "spawn"]
    mine = {methods[part % 3], *(methods[i] for i in range(3) if i % len(PYTHONS) == part), "future"}
    chosen = (
        [["--method", method, "--jobs", "6"] for method in sorted(mine)]  # they mostly sleep
        if DEAL and not session.posargs
        else [session.posargs]
    )
    run_each(session, *(["python", "-m", "tests.conformance", *arguments] for arguments in chosen))


@nox.session
def clients(session: nox.Session) -> None:
    """Third-party users of an executor on our class, and what the documentation says of them."""
    install(session, "clients")
    examples = "tests/docs/test_examples.py::test_example_prints_what_is_written_beside_it"
    run_tests(
        session,
        "tests/clients",
        "tests/contract/test_graph_executors.py",
        "tests/docs/test_migrate.py",
        *(f"{examples}[view_{library}.py]" for library in ("dask", "scipy")),
        *session.posargs,
    )


FLOW_WORDS = ("flow", "stage", "kit", "twins", "counting", "piece", "items", "words", "shown")
"""Modules of flows in which users' words are; what else is in them, `numpydoc_validation.exclude` names."""


@nox.session
def lint(session: nox.Session) -> None:
    """Style, docstrings, direction of imports."""
    install(session, "lint")
    public = [path for path in sorted(ROOT.glob("ezflow/*.py")) if not path.name.startswith("_")]
    public += [ROOT / "ezflow" / "graph" / f"{name}.py" for name in ("ez", "future", "graph", "task")]
    public += [ROOT / "ezflow" / "flow" / f"{name}.py" for name in FLOW_WORDS]
    run_each(
        session,
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["lint-imports", "--no-cache"],
        ["numpydoc", "lint", *map(str, public)],
    )


@nox.session
def types(session: nox.Session) -> None:
    """mypy, pyright, and how much of the public interface has types."""
    install(session, "types")
    run_each(session, ["mypy"], ["pyright"], ["python", "tests/typing/verify.py", "ezflow"])


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    install(session, "docs")
    out = ROOT / "docs" / "_build"
    shutil.rmtree(out, ignore_errors=True)
    session.run("sphinx-build", "-q", "-W", "--keep-going", "-n", "-b", "html", "docs", str(out / "html"))


@nox.session
def demo(session: nox.Session) -> None:
    """Main job on a small folder. Arguments go to `python -m ezflow`."""
    install(session)
    leave_sources(session)
    session.run("python", "-m", "ezflow", *(session.posargs or ["tests"]))
    session.run("python", "-m", "ezflow", "doctor")


@nox.session
def bench(session: nox.Session) -> None:
    """Benchmarks against other pools, one table. Arguments go to the benchmark."""
    install(session, "bench")
    leave_sources(session)
    session.run("python", "-m", "tests.bench", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Coverage of the test-suite, children included."""
    install(session, "coverage")
    leave_sources(session)
    session.run("coverage", "run", *PYTEST[1:], "-m", "not stress", *session.posargs)
    session.run("coverage", "combine")
    session.run("coverage", "report")
