"""What an actor takes of its owner and of the machine, and whether each of a thousand, or of as
many as there is memory for, costs more than each of a few.

Beside them, not judged, are bare forked processes behind a pipe: the system itself takes longer for
each the more there are, as all share the memory of their owner.

The limit of descriptors is raised, to what the system allows, for the measurement alone.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import FIGURES, Contender, Figure, judge, report
from remoteobj import remote

FEW = 50
NEEDED = 8 << 30
"""Bytes of free memory that a thousand may take."""
FREE = os.sysconf("SC_PAGE_SIZE") * (
    os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in os.sysconf_names else 0
)
MANY = 1000 if FREE > NEEDED else 300
ROUNDS = 2
MODULE = "benchmarks.descriptors"
OWNERS, ITS_OWN = 5, 14
MEGABYTES = 4.0


@remote
class One:
    """What is started."""

    def answer(self) -> int:
        return 1

    def descriptors(self) -> list[int]:
        return opened()


class Bare:
    """A bare process behind a pipe, with what is asked of an actor here."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, its = context.Pipe()
        self._process = context.Process(target=self._serve, args=(its,))
        self._process.start()
        its.close()
        self.pid_ = self._process.pid

    @staticmethod
    def _serve(pipe: Any) -> None:
        while pipe.recv():
            pipe.send(1)

    def answer(self) -> int:
        self._pipe.send(True)
        return int(self._pipe.recv())

    def stop_(self) -> None:
        self._pipe.send(False)
        self._process.join()
        self._pipe.close()


def opened() -> list[int]:
    """The descriptors that this process has open."""
    found = []
    for fd in map(int, os.listdir("/dev/fd")):
        with contextlib.suppress(OSError):
            os.fstat(fd)
            found.append(fd)
    return found


def proportional_memory(pid: int | None) -> float:
    """Megabytes of a process, where what it shares with others counts by its share."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024


def count() -> None:
    """Print how many descriptors an actor takes in its owner, and how many it has."""
    spawner = One.options(start_method="fork")
    assert logging.root is not None  # the program logs, and so do its actors
    with spawner.spawn():  # it brings what is there once for all of them
        before = len(opened())
        with spawner.spawn() as one:
            print(len(opened()) - before, len(one.descriptors()))


def judge_counts() -> None:
    """In a program that has nothing else open, since a fork has what its owner has."""
    command = [sys.executable, "-m", MODULE, "count"]
    said = subprocess.run(command, capture_output=True, check=True).stdout
    of_owner, its_own = map(int, said.split())
    note(Figure("descriptors of an actor in its owner", of_owner, "", OWNERS))
    note(Figure("descriptors of an actor's own", its_own, "", ITS_OWN))


def note(figure: Figure) -> None:
    FIGURES.append(figure)
    print(f"  {figure.what}: {figure.ours:.3g}, to reach {figure.reach:g}: {figure.verdict}")


def live(number: int, begin: Callable[[], Any], memory: list[float]) -> float:
    """Begin so many, call each once, stop them; the seconds that each of them took."""
    actors: list[Any] = []
    try:
        start = time.perf_counter()
        actors += (begin() for _ in range(number))
        assert sum(actor.answer() for actor in actors) == number
        seconds = time.perf_counter() - start
        if Path("/proc/self/smaps_rollup").exists():
            memory[:] = [proportional_memory(actor.pid_) for actor in actors[:: number // 50]]
    finally:
        start = time.perf_counter()
        for actor in actors:
            actor.stop_()
        stopped = time.perf_counter() - start
    return (seconds + stopped) / number


def main() -> None:
    print("\nDescriptors, and many actors")
    judge_counts()
    few, many, memory = measure(One.options(start_method="fork").spawn, "actors")
    judge(f"start, call and stop of {MANY} actors, each", [many, few], reach=1.3, unit="ms")
    if memory:
        note(Figure(f"memory (PSS) of each of {MANY}, MB", memory, "", MEGABYTES))
    # In a program of their own: they may copy all that this one has by now.
    subprocess.run([sys.executable, "-m", MODULE, "bare"], check=True)


def measure(begin: Callable[[], Any], what: str) -> tuple[Contender, Contender, float]:
    """Few and many of them, and the memory of each of many, in MB; 0: the system does not tell."""
    memory: list[float] = []
    few, many = Contender(f"each of {FEW} {what}"), Contender(f"each of {MANY} {what}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        live(FEW, begin, memory)
        for _ in range(ROUNDS):
            few.seconds.append(live(FEW, begin, memory))
            many.seconds.append(live(MANY, begin, memory))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    report(f"Start, one call, stop (fork), {what}", [few, many], "ms")
    each = sum(memory) / max(1, len(memory))
    print(f"  memory (PSS) of each of {MANY} {what}: {each:.1f} MB", flush=True)
    return few, many, each


if __name__ == "__main__":
    if "count" in sys.argv:
        count()
    elif "bare" in sys.argv:
        measure(Bare, "bare processes")
    else:
        main()
