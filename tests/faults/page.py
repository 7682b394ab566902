"""`docs/faults.md`: the table of faults, with how long it took until each had its outcome."""

from pathlib import Path
from typing import Any

import pytest

from tests.faults._table import FAULTS, MILLISECONDS, Fault

__all__ = ["CODA", "INTRODUCTION", "PAGE", "Watcher", "text_of"]

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"

INTRODUCTION = """\
# What can go wrong

This page lists every fault that the tests cause on purpose, and what a caller, or the owner of the
actor, sees of it. Use it to find out what your program must handle. [Errors](guide/errors.md)
explains the errors.

The column *ms* is the time in milliseconds from the fault to its outcome, on a virtual machine with
two cores, with the slowest start method. `python -m tests.faults` measures it and writes this page.
The number of a fault is also in the name of its test: `pytest tests/faults -k test_10_` runs the
tests of number 10.

| no. | fault | what you see | ms |
|---|---|---|---|
"""

CODA = """\

## All at once

`SOAK=3600 make soak ARGS=--write` runs many clients for an hour. They call actors that are killed
and stopped all the time, with streams and large arrays in between. Some actors are replaced by
their owner, others are restarted: alone, by supervisors, or in a pool. The test compares the
outcomes that the callers got with the calls that the actors have recorded, and with the states that
restarted actors went on from:

```{include} _soak.md
```
"""


class Watcher:
    """A plugin of pytest that notes how each fault ended, and how long that took."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self.passed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.rpartition("::")[2].partition("[")[0]
        if report.when != "call" or name not in FAULTS:
            return
        if report.passed:
            self.passed.add(name)
            for key, value in report.user_properties:
                if key == MILLISECONDS and isinstance(value, float):
                    self.milliseconds[name] = max(value, self.milliseconds.get(name, 0.0))

    def row(self, one: Fault) -> str:
        cells: list[Any] = [one.number, one.title, one.sees, self._time(one.test)]
        return f"| {' | '.join(map(str, cells))} |\n"

    def _time(self, test: str) -> str:
        took = self.milliseconds.get(test)
        if took is None:
            return ""
        return f"{took:.0f}" if took >= 1 else "< 1"


def text_of(watcher: Watcher) -> str:
    """The page."""
    rows = sorted(FAULTS.values(), key=lambda one: one.number)
    return INTRODUCTION + "".join(map(watcher.row, rows)) + CODA
