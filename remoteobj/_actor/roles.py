"""The methods of a class that have a part in the lives of its objects: `work` and `cleanup`."""

from __future__ import annotations

from types import FunctionType
from typing import Any

__all__ = ["mark", "role_of"]

MARK = "_remoteobj_role"


def mark(method: Any, role: str) -> Any:
    """Give a method a part in the life of its object: "work" or "cleanup"."""
    setattr(method, MARK, role)
    return method


def role_of(cls: type, role: str) -> str | None:
    """The name of the method that has this part in a class."""
    seen: set[str] = set()
    for base in cls.__mro__:
        # As it is written in the class: a descriptor's own code must not run here.
        for name, value in vars(base).items():
            marked = isinstance(value, FunctionType) and vars(value).get(MARK) == role
            if marked and name not in seen:
                return name
            seen.add(name)
    return None
