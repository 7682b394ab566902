"""The methods of a class that have a part in the lives of its objects: `work` and `cleanup`."""

from __future__ import annotations

from types import CodeType, FunctionType
from typing import Any, Final

__all__ = ["REQUESTS", "mark", "role_of", "takes_requests"]

MARK = "_remoteobj_role"
REQUESTS_MARK = "_remoteobj_requests"
REQUESTS: Final = ("loop", "thread")
"""Where requests run, beside or within a work loop."""
TAKERS: Final = frozenset(("process_requests", "poll", "every_"))
"""By what a loop takes requests."""


def mark(method: Any, role: str, requests: str | None = None) -> Any:
    """Give a method a part in the life of its object: "work" or "cleanup".

    `requests` says where requests run meanwhile, if it is said.
    """
    setattr(method, MARK, role)
    setattr(method, REQUESTS_MARK, requests)
    return method


def takes_requests(loop: Any) -> bool:
    """Whether requests run in this work loop alone: as was said, or else as its own code looks."""
    function = getattr(loop, "__func__", loop)
    said = getattr(function, REQUESTS_MARK, None)
    if said is not None:
        return bool(said == "loop")
    while (code := getattr(function, "__code__", None)) is not None:
        if _names_any(code, TAKERS):
            return True
        function = getattr(function, "__wrapped__", None)  # what a decorator was put around
    return False


def _names_any(code: CodeType, names: frozenset[str]) -> bool:
    """Whether code, or code that is defined within it, uses an attribute or a global so named."""
    return not names.isdisjoint(code.co_names) or any(
        _names_any(one, names) for one in code.co_consts if isinstance(one, CodeType)
    )


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
