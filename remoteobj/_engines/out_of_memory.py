"""Whether the kernel killed a process for want of memory: it counts them, by control group."""

from __future__ import annotations

import contextlib

__all__ = ["killed_for_memory", "watch"]

OURS = "/proc/self/cgroup"
GROUPS = "/sys/fs/cgroup"

_seen: list[int | None] = []
"""The count at the last look, None where there is none; empty before the first one."""


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
    if not _seen:
        _seen.append(_count())


def killed_for_memory() -> bool:
    """Whether the count has grown since the last look: to be asked of one that was killed."""
    before = _seen[0] if _seen else None
    if before is None or (count := _count()) is None:
        return False
    _seen[0] = count
    return count > before
