"""The table of faults: what can happen, and what whoever called is to see of it.

Each test says which fault it is about, and the table is what the tests say: `docs/faults.md` is
written from it by ``python -m tests.faults``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

__all__ = ["FAULTS", "MILLISECONDS", "NUMBERS", "Fault", "fault"]

Test = TypeVar("Test", bound=Callable[..., Any])

NUMBERS = range(1, 61)
MILLISECONDS = "milliseconds to the outcome"
"""The name under which a test's report has what `within` measured."""


class Fault(NamedTuple):
    """One row: the fault, what is seen of it, and the test that shows it."""

    number: int
    title: str
    sees: str
    module: str
    test: str


FAULTS: dict[str, Fault] = {}
"""By the name of the test."""


def fault(number: int, title: str, *, sees: str) -> Callable[[Test], Test]:
    """Say of a test which fault it is about. Several tests may share a number."""
    if number not in NUMBERS:
        raise ValueError(f"there is no fault {number}")

    def enter(test: Test) -> Test:
        name = test.__name__
        if not name.startswith(f"test_{number:02}_"):
            raise ValueError(f"{name} is to begin with test_{number:02}_")
        FAULTS[name] = Fault(number, title, sees, test.__module__, name)
        return test

    return enter
