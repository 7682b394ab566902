"""Whether the kernel killed a process for want of memory: it counts them, by control group."""

from __future__ import annotations

import contextlib

__all__ = ["killed_for_memory", "watch"]

OURS = "/proc/self/cgroup"
GROUPS = "/sys/fs/cgroup"

_seen: list[int] = []
"""The count at the last look; empty before the first one, and where there is none."""


def _count() -> int | None:
    """How many processes of our control group were killed so."""
    with contextlib.suppress(OSError, ValueError, IndexError, StopIteration):
        with open(OURS) as file:
            path = next(line[3:].strip() for line in file if line.startswith("0::"))
        with open(f"{GROUPS}{path}/memory.events") as file:
            return int(next(line.split()[1] for line in file if line.startswith("oom_kill ")))
    return None


def watch() -> None:
    """Begin to count, before the first process is started. Harmless when done twice."""
    if not _seen and (count := _count()) is not None:
        _seen.append(count)


def killed_for_memory() -> bool:
    """Whether the count has grown since the last look: to be asked of one that was killed."""
    count = _count()
    if not _seen or count is None:
        return False
    grown, _seen[0] = count > _seen[0], count
    return grown
