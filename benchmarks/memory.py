"""What an idle actor holds beyond a bare forked process: memory that is its alone (USS)."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

from benchmarks.call import Adder
from benchmarks.harness import FIGURES, Figure

MEGABYTE = 1 << 20
REACH = 3.0


def own_memory(pid: int | None) -> int:
    """Bytes that the process shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(
        int(line.split()[1])
        for line in lines
        if line.startswith(("Private_Clean", "Private_Dirty"))
    )


def sleep() -> None:
    time.sleep(60)


def main() -> None:
    print("\nMemory of an idle actor")
    if not Path("/proc/self/smaps_rollup").exists():
        print("  not measured: this system does not tell under /proc")
        return
    bare = multiprocessing.get_context("fork").Process(target=sleep, daemon=True)
    bare.start()
    with Adder.options(start_method="fork").spawn() as adder:
        for _ in range(10):
            adder.add(1)
        time.sleep(0.3)
        ours, theirs = own_memory(adder.pid_) / MEGABYTE, own_memory(bare.pid) / MEGABYTE
    bare.terminate()
    bare.join()
    figure = Figure(
        "memory of an idle actor, beyond", ours, "MB", REACH, "a bare forked process", theirs
    )
    FIGURES.append(figure)
    print(
        f"  {ours:.1f} MB, a bare process {theirs:.1f} MB: {figure.measured:.1f} MB more, "
        f"to reach {REACH}: {figure.verdict}"
    )


if __name__ == "__main__":
    main()
