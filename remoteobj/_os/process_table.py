"""What the system tells of any process of this user, without asking that process.

By /proc where it is, and by `ps` elsewhere, which is asked once for all of them.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Collection, Iterable
from typing import Final

from .._fast_typing import NamedTuple
from .processes import ask_ps, read_stat

__all__ = ["SeenProcess", "cpu_clock", "is_there", "see"]

_STATES: Final = {"T": "stopped", "t": "debugged", "Z": "dead", "X": "dead", "D": "in the kernel"}
"""Of the letters by which the kernel and `ps` tell the state of a process, those that matter."""
_LINE: Final = re.compile(r"\s*(\d+)\s+(\w+ \w+ +\d+ [\d:]+ \d+)\s+(\S+)\s+([\d:.-]+)\s+(\d+)")


class SeenProcess(NamedTuple):
    """A process, as the system tells of it."""

    started: str
    """As `processes.Glimpse.started`."""
    state: str
    """`stopped` by a signal, `debugged`, `dead` but not reaped, `in the kernel`, which lets nobody
    interrupt it; else `alive`."""
    cpu_seconds: float
    """The processor time that it has used."""
    memory: int
    """Bytes of physical memory that it uses."""


def see(pids: Iterable[int]) -> dict[int, SeenProcess]:
    """What the system tells of these; those that it does not know are missing."""
    wanted = set(pids)
    if not wanted:
        return {}
    if read_stat(os.getpid()) is None:
        return _see_by_ps(wanted)
    found = {}
    for pid in wanted:
        if (fields := read_stat(pid)) is not None:
            state, started = fields[0].decode(), fields[19].decode()
            ticks, pages = int(fields[11]) + int(fields[12]), int(fields[21])
            found[pid] = SeenProcess(
                started, _STATES.get(state, "alive"), ticks / _TICKS, pages * _PAGE
            )
    return found


_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def _see_by_ps(pids: Collection[int]) -> dict[int, SeenProcess]:
    try:
        told = ask_ps("pid=,lstart=,stat=,time=,rss=", *pids)
    except OSError:
        return {}
    lines = filter(None, map(_LINE.match, told.splitlines()))
    return {int(line[1]): _seen_in(line) for line in lines}


def _seen_in(line: re.Match[str]) -> SeenProcess:
    _, started, state, used, kilobytes = line.groups()
    days, _, clock = used.rpartition("-")
    seconds = float(days or 0) * 86400
    for power, part in enumerate(reversed(clock.split(":"))):
        seconds += float(part) * 60**power
    return SeenProcess(started, _STATES.get(state[0], "alive"), seconds, int(kilobytes) * 1024)


def is_there(pid: int, started: str, seen: dict[int, SeenProcess]) -> bool:
    """Whether the process of that number which had started then lives, by what was seen.

    Where the system tells nothing, one of that number has to do.
    """
    if started and os.getpid() in seen:
        found = seen.get(pid)
        return found is not None and found.started == started and found.state != "dead"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return pid > 0


def cpu_clock(pid: int) -> int | None:
    """The processor time that a process has used, in nanoseconds, at the cost of one system call.
    None where the system does not tell."""
    if sys.platform != "linux":
        return None
    try:
        return time.clock_gettime_ns((~pid << 3) | _ITS_CPU_TIME)
    except OSError:
        return None


_ITS_CPU_TIME: Final = 2
"""CPUCLOCK_SCHED, of the kernel's numbers for the clocks of other processes."""
