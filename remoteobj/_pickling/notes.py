"""What is noted on an exception, past whatever its class overrides."""

from __future__ import annotations

from typing import Any

__all__ = ["add_note", "attributes_of"]

_DICT: Any = vars(BaseException)["__dict__"]


def attributes_of(exc: BaseException) -> dict[str, Any]:
    """Its `__dict__`, whatever the class has by that name."""
    found: dict[str, Any] = _DICT.__get__(exc)
    return found


def add_note(exc: BaseException, note: str) -> None:
    """`exc.add_note(note)`, past a `__setattr__` of the class."""
    notes = attributes_of(exc).setdefault("__notes__", [])
    if type(notes) is list:
        notes.append(note)
