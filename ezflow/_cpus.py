"""How many CPUs this process may use, and how many threads each worker may start.

Pure functions over a file root and an environment, so that tests feed them made-up machines.
`os.cpu_count()` counts the machine's CPUs. Inside a container or a batch job that number is wrong
twice: the scheduler may pin the process to some CPUs (affinity), and a cgroup may grant it only a
share of their time (quota). Too many workers then fight for the same time slice.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping

_BLAS_THREADS = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "BLIS_NUM_THREADS",
)  # each of these libraries falls back to OMP_NUM_THREADS when its own variable is not set


def usable_cpus(environ: Mapping[str, str] | None = None, root: str = "/") -> int:
    """Count the CPUs that this process may keep busy.

    The smaller of the affinity mask and the cgroup quota, rounded up, and at least 1.
    ``-X cpu_count=n`` and ``PYTHON_CPU_COUNT=n`` replace that number, on Pythons before 3.13 too.

    Parameters
    ----------
    environ : mapping of str to str, optional
        Environment to look at; `os.environ` when None.
    root : str
        Folder in which ``proc`` and the cgroup mounts are looked up. Tests pass a made-up one.

    Returns
    -------
    int
        Number of CPUs, at least 1.

    Notes
    -----
    Reads a few files under ``/proc`` and ``/sys``; 0.1 ms or so. Nothing is cached: affinity and quota may change.
    """
    asked = requested_cpus(os.environ if environ is None else environ)
    if asked is not None:
        return asked
    usable = affinity_cpus()
    quota = quota_cpus(root)
    if quota is not None:
        usable = min(usable, math.ceil(quota))
    return max(1, usable)


def requested_cpus(environ: Mapping[str, str]) -> int | None:
    """Read ``-X cpu_count`` and then ``PYTHON_CPU_COUNT``; None when neither holds a positive number."""
    option: object = sys._xoptions.get("cpu_count")
    if option is None and not sys.flags.ignore_environment:
        option = environ.get("PYTHON_CPU_COUNT")
    # 3.13 refuses to start on a bad value; older Pythons do not know the setting, so there it is ignored.
    if not isinstance(option, str) or not option.strip().isdecimal():
        return None  # "default" is a legal way to say: no request
    return int(option) or None


def affinity_cpus() -> int:
    """Count the CPUs that the scheduler may run this process on."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    else:
        return os.cpu_count() or 1


def quota_cpus(root: str = "/") -> float | None:
    """Give the tightest CPU quota on the way from this process's cgroup up to the mount, in CPUs.

    None when there is no quota, no cgroup, or no ``/proc``. Both cgroup versions count, as some
    machines mount both and either may hold the limit.
    """
    mounts = list(_cgroup_mounts(root))
    quotas: list[float] = []
    for controllers, path in _own_cgroups(root):
        for is_v2, options, mount_root, mount_point in mounts:
            if is_v2 != (not controllers):
                continue
            if not is_v2 and not ("cpu" in controllers and "cpu" in options):
                continue
            for folder in _upwards(path, mount_root, mount_point):
                quota = _read_quota(_under(root, folder), is_v2)
                if quota is not None:
                    quotas.append(quota)
    return min(quotas, default=None)


def thread_caps(n_workers: int, environ: Mapping[str, str], n_cpus: int | None = None) -> dict[str, str]:
    """Give the environment variables that keep each worker's numeric libraries to their share of CPUs.

    Four workers with four BLAS threads each are slower on four CPUs than four with one.

    Parameters
    ----------
    n_workers : int
        Workers that may run at the same time, at least 1.
    environ : mapping of str to str
        The user's environment. A variable that is set there is left alone; so are the libraries that
        follow ``OMP_NUM_THREADS``, when that is set.
    n_cpus : int, optional
        CPUs to share out; `usable_cpus` when None.

    Returns
    -------
    dict of str to str
        Variables to add to a worker's environment before it imports anything.
    """
    if n_cpus is None:
        n_cpus = usable_cpus(environ)
    share = str(max(1, n_cpus // max(1, n_workers)))
    names = ["VECLIB_MAXIMUM_THREADS"]
    if "OMP_NUM_THREADS" not in environ:
        names += ["OMP_NUM_THREADS", *_BLAS_THREADS]
    return {name: share for name in names if name not in environ}


def _own_cgroups(root: str) -> Iterator[tuple[list[str], str]]:
    """Yield (controllers, path) for each line of ``/proc/self/cgroup``; version 2 has no controllers there."""
    for line in _lines(_under(root, "/proc/self/cgroup")):
        parts = line.split(":", 2)
        if len(parts) == 3:
            yield [name for name in parts[1].split(",") if name], parts[2]


def _cgroup_mounts(root: str) -> Iterator[tuple[bool, list[str], str, str]]:
    """Yield (is version 2, options, root, mount point) for each cgroup mount in ``/proc/self/mountinfo``."""
    for line in _lines(_under(root, "/proc/self/mountinfo")):
        left, dash, right = line.partition(" - ")
        here, there = left.split(" "), right.split(" ")
        if dash and len(here) >= 5 and len(there) >= 3 and there[0] in {"cgroup", "cgroup2"}:
            yield there[0] == "cgroup2", there[2].split(","), _unescape(here[3]), _unescape(here[4])


def _upwards(path: str, mount_root: str, mount_point: str) -> Iterator[str]:
    """Yield the cgroup's folder and each folder above it, down to the mount point itself.

    In a container the path may be the host's view, while only a part of the tree is mounted; what
    cannot be seen from here cannot be asked, so then the mount point alone is.
    """
    mount_root = mount_root.rstrip("/")
    inside = path[len(mount_root) :] if path == mount_root or path.startswith(mount_root + "/") else ""
    steps = [step for step in inside.split("/") if step]
    if ".." in steps:
        steps = []
    while steps:
        yield "/".join([mount_point.rstrip("/"), *steps])
        steps.pop()
    yield mount_point


def _read_quota(folder: str, is_v2: bool) -> float | None:
    """Read one cgroup folder's quota in CPUs; None when it sets none."""
    try:
        if is_v2:
            limit, period = _words(f"{folder}/cpu.max")
        else:
            (limit,) = _words(f"{folder}/cpu.cfs_quota_us")
            (period,) = _words(f"{folder}/cpu.cfs_period_us")
        quota = int(limit) / int(period)  # "max" is no number: no quota
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return quota if quota > 0 else None  # version 1 writes -1 for no quota


def _words(path: str) -> list[str]:
    """Split a one-line file at its blanks."""
    with open(path, encoding="utf-8") as file:
        return file.readline().split()


def _lines(path: str) -> list[str]:
    """Read a file's lines; none when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _under(root: str, path: str) -> str:
    """Look an absolute path up inside `root`."""
    return root.rstrip("/") + path


def _unescape(text: str) -> str:
    """Undo mountinfo's octal escapes of blanks and backslashes."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text
