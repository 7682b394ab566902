"""An idle actor does nothing at all: no thread of it is woken in five seconds.

Prints how often the kernel switched to one of its threads. The exit status is 1 if it did at all.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks.harness import FIGURES, Figure
from remoteobj import remote

SETTLING_SECONDS = 0.5
SECONDS = 5.0


@remote
class Sleeper:
    """What is idle, after it was called some times."""

    def wake(self) -> str:
        return "yes?"


def context_switches(pid: int) -> dict[str, int]:
    """Of each thread of a process, by its number: how often it was switched to."""
    return {
        task.name: sum(
            int(line.split()[1])
            for line in (task / "status").read_text().splitlines()
            if line.startswith(("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"))
        )
        for task in Path(f"/proc/{pid}/task").iterdir()
    }


def main() -> int:
    print(f"\nAn idle actor in {SECONDS:.0f} s")
    if not Path("/proc/self/task").is_dir():
        print("  not measured: this system does not count context switches under /proc")
        return 0
    with Sleeper.spawn() as sleeper:
        for _ in range(100):
            sleeper.wake()
        time.sleep(SETTLING_SECONDS)
        before = context_switches(sleeper.pid_)
        time.sleep(SECONDS)
        after = context_switches(sleeper.pid_)
    switches = sum(after.values()) - sum(before.values())
    what = f"context switches of an idle actor in {SECONDS:.0f} s"
    FIGURES.append(Figure(what, switches, "", 0))
    print(f"  context switches of its {len(after)} threads: {switches}", flush=True)
    return int(after != before)


if __name__ == "__main__":
    sys.exit(main())
