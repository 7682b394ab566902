"""Comparisons that mean something on a noisy machine.

Contenders take turns, A B C A B C ..., so that whatever else the machine does meets all of them.
The first one is what the others are measured against. A ratio is taken within each round, between
neighbours in time, and the median of these is given: it holds where the plain figures wander.
"""

from __future__ import annotations

import compileall
import importlib.util
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

__all__ = [
    "FIGURES",
    "Contender",
    "Figure",
    "Measure",
    "compare",
    "compile_package",
    "judge",
    "repeated",
    "report",
]

Measure = Callable[[], float]
"""Does it once, or some thousand times, and returns the seconds that one took."""


@dataclass
class Contender:
    """One of those compared, and the figures of its rounds, in seconds."""

    name: str
    measure: Measure
    seconds: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def ratio_to(self, first: Contender) -> float:
        """How many times as long it took as the first one did, in the same rounds."""
        pairs = zip(self.seconds, first.seconds, strict=True)
        return statistics.median(mine / its for mine, its in pairs)


def repeated(act: Callable[[], object], times: int) -> Measure:
    """The measure of something too short to be timed once."""

    def measure() -> float:
        start = time.perf_counter()
        for _ in range(times):
            act()
        return (time.perf_counter() - start) / times

    return measure


def compare(contenders: dict[str, Measure], rounds: int) -> list[Contender]:
    """Measure all, in turns, after a first turn that only warms them up."""
    rivals = [Contender(name, measure) for name, measure in contenders.items()]
    for rival in rivals:
        rival.measure()
    for _ in range(rounds):
        for rival in rivals:
            rival.seconds.append(rival.measure())
    return rivals


def compile_package() -> None:
    """Make sure that what new interpreters import is compiled, as it is for a user.

    Where PYTHONDONTWRITEBYTECODE is set, each of them would otherwise compile it anew after every
    change of the sources, which takes longer than all else.
    """
    spec = importlib.util.find_spec("remoteobj")
    assert spec is not None
    for directory in spec.submodule_search_locations or ():
        compileall.compile_dir(directory, quiet=2)


def report(title: str, rivals: list[Contender], unit: str = "µs") -> None:
    """Print a table: best, median, and the ratio to the first one."""
    scale = {"s": 1, "ms": 1e3, "µs": 1e6}[unit]
    width = max(len(rival.name) for rival in rivals)
    print(f"\n{title}, {unit}, {len(rivals[0].seconds)} rounds")
    print(f"  {'':{width}}  {'best':>8}  {'median':>8}  {'ratio':>6}")
    for rival in rivals:
        figures = f"{rival.best * scale:8.1f}  {rival.median * scale:8.1f}"
        print(f"  {rival.name:{width}}  {figures}  {rival.ratio_to(rivals[0]):6.2f}", flush=True)


# ------------------------------------------------------------------ what is to be reached


@dataclass
class Figure:
    """One of the figures that the package is measured by."""

    what: str
    against: str
    ours: str
    theirs: str
    ratio: float
    reach: float

    @property
    def reached(self) -> bool:
        return self.ratio <= self.reach


FIGURES: list[Figure] = []
"""Those that were judged in this run."""


def judge(what: str, rivals: Sequence[Contender], reach: float, unit: str = "µs") -> None:
    """Say whether the first takes at most `reach` times as long as the second, at its best."""
    ours, theirs = rivals
    scale = {"ms": 1e3, "µs": 1e6}[unit]
    figure = Figure(
        what,
        theirs.name,
        f"{ours.best * scale:.1f} {unit}",
        f"{theirs.best * scale:.1f} {unit}",
        ours.best / theirs.best,
        reach,
    )
    FIGURES.append(figure)
    verdict = "reached" if figure.reached else "MISSED"
    print(
        f"  {what}: {figure.ratio:.2f} x {theirs.name}, to reach {reach} x: {verdict}", flush=True
    )
