"""What came of several calls that belong together: their values, or the error of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from .._pickling.exceptions import add_note

__all__ = ["Outcome", "failure_of", "outcome_of", "results"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

Outcome: TypeAlias = "tuple[Any, BaseException | None]"
"""What came of a call: its value, and the error if there is none."""


def outcome_of(act: Callable[[], Any]) -> Outcome:
    """What comes of calling this."""
    try:
        return act(), None
    except Exception as exc:
        return None, exc


def results(outcomes: list[Outcome], names: Sequence[str]) -> list[Any]:
    """The values, if there are all; `names` are those of the actors.

    Raises:
        Exception: one of them has none: its error, with a note that says whose it is.
        ExceptionGroup: of several their errors, in the order of the actors.
    """
    error = failure_of(outcomes, names)
    try:
        if error is not None:
            raise error
        return [value for value, _ in outcomes]
    finally:
        error, outcomes = None, []  # an error leads to this frame, and must not lead on to itself


def failure_of(outcomes: list[Outcome], names: Sequence[str]) -> BaseException | None:
    """What `results` raises; None if there are all values."""
    errors = []
    for index, (_, error) in enumerate(outcomes):
        if error is not None:
            add_note(
                error, f"This is of {names[index]}, number {index} of the {len(names)} actors."
            )
            errors.append(error)
    if len(errors) > 1:
        return BaseExceptionGroup(f"{len(errors)} of {len(names)} actors failed", errors)
    return errors[0] if errors else None
