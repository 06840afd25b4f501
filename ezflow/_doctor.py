"""``python -m ezflow doctor``: versions, CPUs, limits and kernel features, which is what a bug report needs.

Every fact is asked for on its own: one that cannot be had is shown as such and hides no other.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata

from . import __version__
from ._cpus import affinity_cpus, quota_cpus, requested_cpus, thread_caps, usable_cpus

Fact = tuple[str, Callable[[], object]]
ROUND_TRIP_LIMIT = 30.0  # s a first result may take before the doctor gives up; a cold start takes 0.1 s


def print_report() -> int:
    """Print all facts; give 1 when a start method that should work does not, else 0."""
    for title, facts in (
        ("versions", _versions()),
        ("CPUs", _cpus()),
        ("memory", _memory()),
        ("limits", _limits()),
        ("kernel", _kernel()),
    ):
        print(title)
        for name, ask in facts:
            print(f"  {name:<20}{_answer(ask)}")
    print("start methods: time to the first result of a new pool")
    healthy = True
    for method in multiprocessing.get_all_start_methods():
        answer = _answer(lambda method=method: _first_result(method))  # type: ignore[misc]
        healthy = healthy and answer.endswith(" s")
        print(f"  {method:<20}{answer}", flush=True)
    return 0 if healthy else 1


def _answer(ask: Callable[[], object]) -> str:
    """Ask for one fact; say why when it cannot be had."""
    try:
        return str(ask())
    except Exception as error:  # whatever it is, it is a fact worth reporting
        return f"not known ({type(error).__name__}: {error})".splitlines()[0]


def _versions() -> Iterator[Fact]:
    """Give the versions of everything that takes part."""
    yield "ezflow", lambda: f"{__version__} in {os.path.dirname(__file__)}"
    yield "Python", lambda: f"{sys.version.split()[0]} ({platform.python_implementation()}) {sys.executable}"
    yield "free threading", lambda: not getattr(sys, "_is_gil_enabled", lambda: True)()
    for name in ("cloudpickle", "typing-extensions", "numpy"):
        yield name, lambda name=name: _version_of(name)  # type: ignore[misc]
    yield "system", lambda: f"{platform.system()} {platform.release()} {platform.machine()}"
    yield "C library", lambda: " ".join(platform.libc_ver()).strip() or "not known"


def _version_of(name: str) -> str:
    """Give a distribution's version, or say that it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cpus() -> Iterator[Fact]:
    """Give every number that the count of workers is made of."""
    yield "machine", os.cpu_count
    yield "affinity", affinity_cpus
    yield "cgroup quota", lambda: _or_none(quota_cpus())
    yield "PYTHON_CPU_COUNT", lambda: _or_none(requested_cpus(os.environ))
    yield "workers by default", usable_cpus
    yield "thread caps then", lambda: _caps_text(thread_caps(usable_cpus(), os.environ))


def _caps_text(caps: dict[str, str]) -> str:
    """Show environment variables in one line."""
    return " ".join(f"{name}={value}" for name, value in caps.items()) or "none, all are set"


def _memory() -> Iterator[Fact]:
    """Give the room for values and workers."""
    yield "shared memory", lambda: _room("/dev/shm")
    yield "temporary folder", lambda: f"{_room(tempfile.gettempdir())} in {tempfile.gettempdir()}"
    for name in ("MemTotal", "MemAvailable", "SwapFree"):
        yield name, lambda name=name: _meminfo(name)  # type: ignore[misc]


def _room(folder: str) -> str:
    """Give free and total space of a folder."""
    usage = shutil.disk_usage(folder)
    return f"{_mib(usage.free)} free of {_mib(usage.total)}"


def _meminfo(name: str) -> str:
    """Look one number up in ``/proc/meminfo``."""
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith(name + ":"):
                return _mib(int(line.split()[1]) * 1024)
    return "not known"


def _mib(nbytes: int) -> str:
    """Show a size."""
    return f"{nbytes / 2**20:,.0f} MiB"


def _limits() -> Iterator[Fact]:
    """Give the limits that make starting workers fail."""
    import resource

    for name, number in (
        ("open files", resource.RLIMIT_NOFILE),
        ("processes", getattr(resource, "RLIMIT_NPROC", None)),
        ("address space", resource.RLIMIT_AS),
    ):
        yield name, lambda number=number: _limit_text(number)  # type: ignore[misc]
    yield "open files now", lambda: len(os.listdir("/proc/self/fd")) - 1  # less the one that lists them


def _limit_text(number: int | None) -> str:
    """Show a soft and a hard limit."""
    import resource

    if number is None:
        return "not known here"
    words = [
        "none" if value == resource.RLIM_INFINITY else str(value) for value in resource.getrlimit(number)
    ]
    return f"{words[0]} (may be raised to {words[1]})"


def _kernel() -> Iterator[Fact]:
    """Give what the engine can lean on: each is tried, not looked up."""
    yield "pidfd", _try_pidfd
    yield "lifeline", _try_lifeline
    yield "start methods", lambda: ", ".join(multiprocessing.get_all_start_methods())
    yield (
        "standard default",
        lambda: multiprocessing.get_start_method(allow_none=True) or "not chosen yet",
    )


def _try_pidfd() -> str:
    """Open a pidfd for this process: the engine notices dead workers by it."""
    if not hasattr(os, "pidfd_open"):
        return "no: the pool waits on multiprocessing's sentinels"
    os.close(os.pidfd_open(os.getpid()))
    return "yes"


def _try_lifeline() -> str:
    """Arm a pipe as a worker does, with a harmless signal: the kernel ends workers by it when the parent dies."""
    import fcntl
    import signal

    if not (hasattr(fcntl, "F_SETSIG") and hasattr(fcntl, "F_SETOWN") and hasattr(os, "O_ASYNC")):
        return "no: a watchdog thread in each worker"
    read_end, write_end = os.pipe()
    try:
        fcntl.fcntl(read_end, fcntl.F_SETSIG, signal.SIGURG)  # ignored by default, should it ever come
        fcntl.fcntl(read_end, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(read_end, fcntl.F_SETFL, os.O_ASYNC)
    finally:
        os.close(read_end)
        os.close(write_end)
    return "yes"


def _first_result(method: str) -> str:
    """Start a pool, wait for its first result, and close it."""
    from . import ProcessPoolExecutor

    started = time.perf_counter()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        pid = pool.submit(os.getpid).result(timeout=ROUND_TRIP_LIMIT)
        seconds = time.perf_counter() - started
    if pid == os.getpid():
        raise RuntimeError("the call ran in the parent")
    return f"{seconds:.3f} s"


def _or_none(value: object) -> object:
    """Show a missing number as a word."""
    return "none" if value is None else value
