"""The usable CPU count over made-up machines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ezflow._cpus import quota_cpus, requested_cpus, thread_caps, usable_cpus

V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNT = "31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct"
OTHER_MOUNTS = "22 28 0:20 / /proc rw - proc proc rw\n29 1 8:1 / / rw - ext4 /dev/sda1 rw"


def machine(root: Path, cgroup: str, mounts: str, files: dict[str, str]) -> str:
    """Write a file tree that looks like a machine; give its root."""
    tree = {
        "/proc/self/cgroup": cgroup + "\n",
        "/proc/self/mountinfo": f"{OTHER_MOUNTS}\n{mounts}\n",
        **files,
    }
    for path, text in tree.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return str(root)


def test_no_proc_means_no_quota(tmp_path: Path) -> None:
    assert quota_cpus(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("150000 100000", 1.5),
        ("max 100000", None),
        ("", None),
        ("nonsense", None),
        ("10 0", None),
        ("1000 100000", 0.01),
    ],
)
def test_v2_quota_of_own_group(tmp_path: Path, text: str, quota: float | None) -> None:
    root = machine(tmp_path, "0::/job", V2_MOUNT, {"/sys/fs/cgroup/job/cpu.max": text})

    assert quota_cpus(root) == quota


def test_v2_tightest_group_above_wins(tmp_path: Path) -> None:
    files = {
        "/sys/fs/cgroup/a/cpu.max": "200000 100000",
        "/sys/fs/cgroup/a/b/cpu.max": "max 100000",
        "/sys/fs/cgroup/a/b/c/cpu.max": "800000 100000",
    }

    assert quota_cpus(machine(tmp_path, "0::/a/b/c", V2_MOUNT, files)) == 2.0


def test_v2_inside_a_container_with_its_own_namespace(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/", V2_MOUNT, {"/sys/fs/cgroup/cpu.max": "50000 100000"})

    assert quota_cpus(root) == 0.5


def test_v2_path_outside_the_namespace_asks_the_mount_point(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/../other", V2_MOUNT, {"/sys/fs/cgroup/cpu.max": "300000 100000"})

    assert quota_cpus(root) == 3.0


def test_v1_quota_and_no_quota(tmp_path: Path) -> None:
    files = {
        "/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "250000\n",
        "/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    cgroup = "5:memory:/job\n4:cpu,cpuacct:/job\n3:cpuset:/elsewhere"

    assert quota_cpus(machine(tmp_path, cgroup, V1_MOUNT, files)) == 2.5


def test_v1_container_mounts_only_its_own_part(tmp_path: Path) -> None:
    mount = "31 23 0:27 /docker/7f3a /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu"
    files = {
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000",
        "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
    }

    assert quota_cpus(machine(tmp_path, "4:cpu:/docker/7f3a", mount, files)) == 1.0


def test_both_versions_count(tmp_path: Path) -> None:
    files = {
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        "/sys/fs/cgroup/unified/cpu.max": "300000 100000",
    }
    mounts = V1_MOUNT + "\n32 23 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"

    assert quota_cpus(machine(tmp_path, "4:cpu,cpuacct:/\n0::/", mounts, files)) == 3.0


def test_mount_point_with_a_blank(tmp_path: Path) -> None:
    mount = V2_MOUNT.replace("/sys/fs/cgroup", "/my\\040groups")
    root = machine(tmp_path, "0::/", mount, {"/my groups/cpu.max": "200000 100000"})

    assert quota_cpus(root) == 2.0


def test_quota_is_rounded_up_and_at_least_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezflow._cpus.affinity_cpus", lambda: 64)
    root = machine(tmp_path, "0::/", V2_MOUNT, {"/sys/fs/cgroup/cpu.max": "150000 100000"})
    assert usable_cpus({}, root) == 2

    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("1000 100000")
    assert usable_cpus({}, root) == 1


def test_affinity_wins_when_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezflow._cpus.affinity_cpus", lambda: 3)
    root = machine(tmp_path, "0::/", V2_MOUNT, {"/sys/fs/cgroup/cpu.max": "900000 100000"})

    assert usable_cpus({}, root) == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin a process")
def test_affinity_of_this_process_is_seen() -> None:
    one = str(min(os.sched_getaffinity(0)))
    code = f"import os; os.sched_setaffinity(0, {{{one}}}); from ezflow._cpus import usable_cpus; print(usable_cpus({{}}))"

    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert found.stdout.strip() == "1"


@pytest.mark.parametrize(
    ("value", "asked"), [("7", 7), (" 7 ", 7), ("0", None), ("-2", None), ("default", None), ("", None)]
)
def test_environment_request(value: str, asked: int | None) -> None:
    assert requested_cpus({"PYTHON_CPU_COUNT": value}) == asked


def test_request_replaces_affinity_and_quota(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/", V2_MOUNT, {"/sys/fs/cgroup/cpu.max": "100000 100000"})

    assert usable_cpus({"PYTHON_CPU_COUNT": "77"}, root) == 77


def test_command_line_request_beats_the_environment() -> None:
    code = "from ezflow._cpus import usable_cpus; print(usable_cpus())"
    command = [sys.executable, "-X", "cpu_count=5", "-c", code]
    environ = {**os.environ, "PYTHON_CPU_COUNT": "9"}

    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environ)

    assert found.stdout.strip() == "5"


@pytest.mark.parametrize(
    ("n_workers", "n_cpus", "share"), [(1, 8, "8"), (4, 8, "2"), (3, 8, "2"), (16, 8, "1"), (0, 8, "8")]
)
def test_thread_caps_share_the_cpus(n_workers: int, n_cpus: int, share: str) -> None:
    caps = thread_caps(n_workers, {}, n_cpus)

    assert set(caps.values()) == {share}
    assert {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"} <= set(caps)
    assert {"VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS"} <= set(caps)


def test_thread_caps_leave_what_the_user_set() -> None:
    caps = thread_caps(4, {"MKL_NUM_THREADS": "3"}, 8)

    assert "MKL_NUM_THREADS" not in caps
    assert caps["OMP_NUM_THREADS"] == "2"


def test_thread_caps_do_not_override_the_users_omp_setting() -> None:
    """OpenBLAS and MKL read OMP_NUM_THREADS only while their own variable is unset."""
    assert thread_caps(4, {"OMP_NUM_THREADS": "8"}, 8) == {"VECLIB_MAXIMUM_THREADS": "2"}
