"""Comparisons that mean something on a noisy machine.

Contenders take turns, A B C A B C ..., so that whatever else the machine does meets all of them.
The first one is what the others are measured against. A ratio is taken within each round, between
neighbours in time, and the median of these decides: it holds where the plain figures wander.
"""

from __future__ import annotations

import compileall
import importlib.util
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "FIGURES",
    "Contender",
    "Figure",
    "Measure",
    "Ratio",
    "compare",
    "compile_package",
    "judge",
    "machine",
    "repeated",
    "report",
    "table",
]

Measure = Callable[[], float]
"""Does it once, or some thousand times, and returns the seconds that one took."""


@dataclass
class Contender:
    """One of those compared, and the figures of its rounds, in seconds."""

    name: str
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
    rivals = [Contender(name) for name in contenders]
    for measure in contenders.values():
        measure()
    for _ in range(rounds):
        for rival, measure in zip(rivals, contenders.values(), strict=True):
            rival.seconds.append(measure())
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


def machine() -> str:
    """What it was measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.processor()
    system = f"{platform.system()} {platform.release()}"
    return f"{os.cpu_count()} x {cpu}, {system}, Python {platform.python_version()}"


# ------------------------------------------------------------------ what is to be reached


COLUMNS = (
    "what",
    "ours",
    "against",
    "theirs",
    "ratio of the bests",
    "median ratio",
    "to reach",
    "verdict",
)


@dataclass(frozen=True)
class Figure:
    """An amount that the package is measured by: `ours` may exceed `theirs` by so many `unit`."""

    what: str
    ours: float
    unit: str
    reach: float
    against: str = "nothing"
    theirs: float = 0.0

    @property
    def measured(self) -> float:
        """What is held against `reach`."""
        return self.ours - self.theirs

    @property
    def reached(self) -> bool:
        return self.measured <= self.reach

    @property
    def verdict(self) -> str:
        return "reached" if self.reached else "MISSED"

    def row(self) -> list[str]:
        """Of the table: its cells."""
        amounts = [f"{amount:.3g} {self.unit}" for amount in (self.ours, self.theirs)]
        return [self.what, amounts[0], self.against, amounts[1], *self.held(), self.verdict]

    def held(self) -> list[str]:
        """Its last figures: the ratio of the bests, what is measured, and what is to be reached."""
        return ["-", f"+{self.measured:.3g} {self.unit}", f"+{self.reach:g} {self.unit}"]


@dataclass(frozen=True)
class Ratio(Figure):
    """A time, at its best, that may be `reach` times as long as theirs."""

    median_ratio: float = math.nan
    """Of the ratios within the rounds. It decides."""

    @property
    def ratio_of_bests(self) -> float:
        return self.ours / self.theirs

    @property
    def measured(self) -> float:
        return self.median_ratio

    def held(self) -> list[str]:
        return [f"{ratio:.3g}" for ratio in (self.ratio_of_bests, self.median_ratio, self.reach)]


FIGURES: list[Figure] = []
"""Those that were judged in this run."""


def judge(what: str, rivals: Sequence[Contender], reach: float, unit: str = "µs") -> None:
    """Say whether the first takes at most `reach` times as long as the second.

    The median of the rounds' ratios decides. The best rounds of the two may lie far apart in time,
    and so tell of two different machines.
    """
    ours, theirs = rivals
    scale = {"ms": 1e3, "µs": 1e6}[unit]
    times = {"ours": ours.best * scale, "theirs": theirs.best * scale}
    median_ratio = ours.ratio_to(theirs)
    figure = Ratio(
        what, unit=unit, reach=reach, against=theirs.name, median_ratio=median_ratio, **times
    )
    FIGURES.append(figure)
    print(
        f"  {what}: {median_ratio:.3g} x {theirs.name} at the median of the rounds, "
        f"{figure.ratio_of_bests:.3g} x at the best, to reach {reach} x: {figure.verdict}",
        flush=True,
    )


def table(figures: Sequence[Figure]) -> str:
    """In Markdown."""
    rows = [COLUMNS, ["---"] * len(COLUMNS), *(figure.row() for figure in figures)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
