"""What it costs to look at 200 actors twice a second: `remoteobj ls --every`, and `remoteobj top`.

They run as users run them, `top` in a terminal that nobody sees. Counted is the processor time
that they take, and for `top` what the actors take on top of what they take when nobody looks.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import termios
import time
from contextlib import ExitStack
from typing import Any

from benchmarks.harness import FIGURES, Figure, compile_package
from remoteobj import options, remote

ACTORS = 200
SECONDS = 10.0
RATE = 2.0
"""Looks per second."""
LINES, COLUMNS = 50, 150
SCHEDULED = 2
"""CPUCLOCK_SCHED: the clock of a whole process, on Linux."""


@remote
class Worker:
    """What is looked at: it does a little, now and then, or is busy all the time."""

    def __init__(self) -> None:
        self.count = 0

    def step(self) -> None:
        self.count += 1

    def spin(self, seconds: float) -> int:
        """Count for so long; how far it came."""
        end, count = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            count += 1
        return count


def used(pids: list[int]) -> float:
    """Seconds of processor time that these processes have used."""
    return sum(time.clock_gettime(~pid << 3 | SCHEDULED) for pid in pids)


def in_terminal() -> tuple[int, int]:
    """`remoteobj top` in a terminal of its own: its pid, and the terminal's other end."""
    pid, screen = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [sys.executable, "-m", "remoteobj", "top"])
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    os.kill(pid, signal.SIGWINCH)
    return pid, screen


def watch(screen: int, seconds: float) -> bytes:
    """Read what is shown for so long."""
    end, shown = time.monotonic() + seconds, b""
    while (left := end - time.monotonic()) > 0:
        if select.select([screen], [], [], left)[0]:
            shown += os.read(screen, 1 << 16)
    return shown


def top(workers: list[Any], busy: Any) -> None:
    """Over workers of which ten are called ten times a second, and one that is busy."""
    pids = [one.pid_ for one in workers]
    quiet = _used_while(pids, SECONDS, workers)
    pid, screen = in_terminal()
    try:
        shown = watch(screen, 15.0)  # until each was asked once, for which it has to import much
        assert b"calls/s" in shown
        before = used([pid])
        theirs = _used_while(pids, SECONDS, workers, screen)
        own = used([pid]) - before
        disturbed = _ratio(pid, screen, busy)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(screen)
    print(f"  top itself: {own / SECONDS:.2%} of a core")
    print(f"  the actors: {theirs / SECONDS:.2%}, and {quiet / SECONDS:.2%} when nobody looks")
    print(f"  a busy actor comes as far as {disturbed:.1%} of what it does unseen")
    cost = (own + max(0.0, theirs - quiet)) / SECONDS * 100
    FIGURES.append(Figure(f"`top` over {ACTORS} actors, of a core", cost, "%", 5))
    print(f"  together {cost:.2f} % of a core, to reach 5 %: {FIGURES[-1].verdict}", flush=True)
    lost = max(0.0, 1 - disturbed) * 100
    FIGURES.append(Figure("what a busy actor loses while `top` looks at it", lost, "%", 5))


def _ratio(pid: int, screen: int, busy: Any) -> float:
    """How far a busy actor comes while it is looked at, by how far it comes while `top` is stopped:
    the median of rounds, each of which has both."""
    ratios: list[float] = []
    for _ in range(5):
        os.kill(pid, signal.SIGSTOP)
        unseen = busy.spin(1.0)
        os.kill(pid, signal.SIGCONT)
        future = busy.future_.spin(1.0)
        watch(screen, 1.0)
        ratios.append(future.result() / unseen)
    return statistics.median(ratios)


def _used_while(
    pids: list[int], seconds: float, workers: list[Any], screen: int | None = None
) -> float:
    """What the actors use in so much time, in which each of ten is called ten times a second."""
    before, end = used(pids), time.monotonic() + seconds
    while time.monotonic() < end:
        for one in workers[:10]:
            one.cast_.step()
        if screen is None:
            time.sleep(0.1)
        else:
            watch(screen, 0.1)
    return used(pids) - before


def listing() -> None:
    """`remoteobj ls --every`, in a process of its own, as users run it."""
    command = [sys.executable, "-m", "remoteobj", "ls", "--every", str(1 / RATE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as lists:
        try:
            watch(_number_of(lists), 3.0)  # until it has imported what it needs
            before = used([lists.pid])
            shown = watch(_number_of(lists), SECONDS)
            share = (used([lists.pid]) - before) / SECONDS * 100
        finally:
            lists.kill()
    assert shown.count(b"Worker-") >= ACTORS * SECONDS * RATE / 2
    FIGURES.append(Figure(f"a list of {ACTORS} actors at {RATE:g} Hz, of a core", share, "%", 5))
    print(f"  ls at {RATE:g} Hz: {share:.2f} % of a core, to reach 5 %", flush=True)


def _number_of(process: subprocess.Popen[bytes]) -> int:
    """Of the descriptor by which its output is read."""
    assert process.stdout is not None
    return process.stdout.fileno()


def main() -> None:
    print(f"\nLooking at {ACTORS} actors")
    if sys.platform != "linux":
        print("  not measured: this system does not tell the time of other processes exactly")
        return
    compile_package()
    with ExitStack() as stack:
        spawner = options(start_method="fork", wait=False)
        made: list[Any] = [stack.enter_context(spawner.spawn(Worker)) for _ in range(ACTORS)]
        for one in made:
            one.ready_()  # what their births cost this process is no cost of the list
        listing()
        top(made[1:], made[0])


if __name__ == "__main__":
    main()
