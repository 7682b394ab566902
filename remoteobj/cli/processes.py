"""What other processes have used of the machine, without asking them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Collection
from typing import NamedTuple

__all__ = ["Usage", "exact_seconds", "usage"]

_SCHEDULED = 2
"""CPUCLOCK_SCHED of Linux: the clock of a whole process, in nanoseconds."""


class Usage(NamedTuple):
    """What a process has used."""

    seconds: float
    """Processor time, of all its threads, since it began."""
    memory: int
    """Bytes of physical memory, now; 0: it is not known."""


def usage(pids: Collection[int]) -> dict[int, Usage]:
    """What each of these processes has used, without those that have ended.

    >>> [used] = usage([os.getpid()]).values()
    >>> used.seconds > 0, used.memory > 0
    (True, True)
    """
    if not (seconds := exact_seconds(pids)):
        return usage_by_ps(pids)
    return {pid: Usage(used, _resident(pid)) for pid, used in seconds.items()}


def exact_seconds(pids: Collection[int]) -> dict[int, float]:
    """The processor time of those that are there, to the nanosecond; empty where the system does
    not tell that."""
    if sys.platform != "linux":
        return {}
    return dict(filter(None, map(_by_clock, pids)))


def _by_clock(pid: int) -> tuple[int, float] | None:
    """By the clock that the kernel has for each process: that takes it half a microsecond."""
    try:
        return pid, time.clock_gettime(~pid << 3 | _SCHEDULED)
    except OSError:  # there is no such process
        return None


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, IndexError):  # it has ended, or there is no /proc
        return 0


def usage_by_ps(pids: Collection[int]) -> dict[int, Usage]:
    """The same by `ps`, which every system has, and which tells less exactly.

    >>> [used] = usage_by_ps([os.getpid()]).values()
    >>> used.memory > 0
    True
    """
    if not pids:
        return {}
    command = ["ps", "-o", "pid=,time=,rss=", "-p", ",".join(map(str, pids))]
    environment = {**os.environ, "LC_ALL": "C"}
    told = subprocess.run(command, env=environment, capture_output=True, check=False, text=True)
    found = (line.split() for line in told.stdout.splitlines())
    return {int(pid): Usage(_seconds(used), int(kib) * 1024) for pid, used, kib in found}


def _seconds(used: str) -> float:
    """Of what `ps` says: days, hours, minutes, seconds, and parts of them, as far as they matter.

    >>> _seconds("1-02:00:01"), _seconds("0:01.25")
    (93601.0, 1.25)
    """
    days, _, clock = used.rpartition("-")
    total = 0.0
    for part in clock.split(":"):
        total = total * 60 + float(part)
    return total + int(days or 0) * 86400
