"""Whether the kernel has killed something for lack of memory."""

from __future__ import annotations


def oom_kills() -> int:
    """Give how many processes the kernel has killed for lack of memory since it started; 0 if it does not say.

    Counts those of every memory cgroup, too.  Linux 4.13 and later.
    """
    try:
        with open("/proc/vmstat", "rb") as file:
            for line in file:
                if line.startswith(b"oom_kill "):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0
