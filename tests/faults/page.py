"""`docs/faults.md`: the table of faults, with how long it took until each had its outcome."""

from pathlib import Path
from typing import Any

import pytest

from tests.faults._table import FAULTS, Fault
from tests.faults.conftest import MILLISECONDS

__all__ = ["PAGE", "Watcher", "text_of"]

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"

INTRODUCTION = """\
# What can go wrong

Each row is one fault and what a caller, or the owner, sees of it; a test of that name, in
`tests/faults/`, makes the fault happen. How fast it was is the time from the fault to its outcome,
in milliseconds, on a virtual machine with two cores (the slowest of the start methods and kinds
that the test runs with): `python -m tests.faults` measures it, and writes this page.

| | fault | what you see | ms | test |
|---|---|---|---|---|
"""

CODA = """\

## All at once

`make soak ARGS=--write` has many clients call actors which are killed, stopped and replaced all the
time, with streams and big arrays in between, and compares what the callers were told with what the
actors have written down:

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
        cells: list[Any] = [one.number, one.title, one.sees, self._time(one.test), f"`{one.test}`"]
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
