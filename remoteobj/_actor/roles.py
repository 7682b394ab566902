"""The methods of a class that have a part in the lives of its objects: `ROLES`.

What is wrong with a class as it is written is said when it is decorated: `check_class`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from types import CodeType, FunctionType
from typing import Any, Final

__all__ = [
    "MARK",
    "OPTIONS",
    "REQUESTS",
    "check_class",
    "check_served_class",
    "is_added",
    "mark",
    "mark_added",
    "role_of",
    "roles_of_state",
    "takes_requests",
]

ROLES: Final = {"work": 0, "cleanup": 0, "checkpoint": 0, "restore": 1}
"""The parts, each with the number of arguments that the method is called with."""
MARK = "_remoteobj_role"
REQUESTS_MARK = "_remoteobj_requests"
ADDED_MARK = "_remoteobj_added"
REQUESTS: Final = ("loop", "thread")
"""Where requests run, beside or within a work loop."""
TAKERS: Final = frozenset(("process_requests", "poll", "every_"))
"""By what a loop takes requests."""
OPTIONS: Final = "__remote_options__"
"""The attribute of a remote class that holds the options of its actors."""

CALL_OPTIONS: Final = ("_default", "_proxy")
"""The keywords of a call that are for the proxy, and never get to the method."""

# Of `inspect`, which is too large to be imported by whoever decorates a class.
_VARARGS, _GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x04, 0x20, 0x80, 0x200


def mark(method: Any, role: str, requests: str | None = None) -> Any:
    """Give a method a part in the life of its object, one of `ROLES`.

    `requests` says where requests run meanwhile, if it is said.

    Raises:
        TypeError: it is no method that can be run so.
    """
    if not isinstance(method, FunctionType):
        raise TypeError(
            f"@remote.{role} is for a plain method, and {method!r} is none; put it right above "
            "`def`, and above no staticmethod, classmethod or property"
        )
    _check_runs(method, role)
    if requests == "thread" and method.__code__.co_flags & _COROUTINE:
        raise TypeError(
            f"{method.__qualname__} is `async def`, so that calls run on its own event loop, "
            'between its awaits: leave requests="thread" out'
        )
    other = vars(method).get(MARK, role)
    if other != role:
        raise TypeError(f"{method.__qualname__} is marked as {other} already, and can't be {role}")
    setattr(method, MARK, role)
    setattr(method, REQUESTS_MARK, requests)
    return method


def mark_added(function: Any) -> Any:
    """Mark what a class is given by `@remote`."""
    setattr(function, ADDED_MARK, True)
    return function


def is_added(value: object) -> bool:
    """Whether what a class has under a name was given to it by `@remote`."""
    return type(value) is classmethod and ADDED_MARK in getattr(value.__func__, "__dict__", ())


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


def _check_runs(method: FunctionType, role: str) -> None:
    """Refuse what would be called and yet not run, or could not be called."""
    name, code = method.__qualname__, method.__code__
    outer = name.rpartition(".")[0]
    if not outer or outer.endswith("<locals>"):
        raise TypeError(
            f"@remote.{role} is for a method, and {name} is a function outside of any class; "
            "to run a function in a process, use remoteobj.util.process"
        )
    if code.co_flags & _COROUTINE and role == "checkpoint":
        raise TypeError(
            f"{name} is `async def`, and @remote.checkpoint is for a plain method: calls could "
            "change the state while it awaits"
        )
    if code.co_flags & (_GENERATOR | _ASYNC_GENERATOR):
        raise TypeError(
            f"{name} is a generator, since there is a `yield` in it: as @remote.{role} it would be "
            "made, and never run"
        )
    count = ROLES[role]
    needed = code.co_argcount - len(method.__defaults__ or ())
    keywords = set(code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount])
    if needed > 1 + count or keywords - set(method.__kwdefaults__ or ()):
        what = "the state alone" if count else "none"
        arguments = "more arguments" if count else "arguments"
        raise TypeError(f"{name} takes {arguments}, and @remote.{role} is called with {what}")
    if not code.co_argcount and not code.co_flags & _VARARGS:
        raise TypeError(f"{name} takes no argument, not even self")
    if code.co_argcount <= count and not code.co_flags & _VARARGS:
        raise TypeError(f"{name} takes no argument but self, and @remote.{role} gives it the state")


def role_of(cls: type, role: str) -> str | None:
    """The name of the method that has this part in a class."""
    return next(_with_role(cls, role), None)


def roles_of_state(cls: type) -> tuple[str | None, str | None]:
    """The names of the methods that give the state of an object, and that take it again.

    Raises:
        TypeError: there is one without the other.
    """
    found: dict[str, str] = {}
    for name, value in _members(cls):
        if isinstance(value, FunctionType) and MARK in value.__dict__:
            found.setdefault(value.__dict__[MARK], name)
    both = found.get("checkpoint"), found.get("restore")
    if both.count(None) == 1:
        there, missing = ("restore", "checkpoint") if both[0] is None else ("checkpoint", "restore")
        raise TypeError(
            f"{cls.__qualname__}.{found[there]} is marked @remote.{there}, and no method is marked "
            f"@remote.{missing}: the one gives the state that is kept, and the other takes it "
            "again, so that each needs the other"
        )
    return both


def _with_role(cls: type, role: str) -> Iterator[str]:
    # As it is written in the class: a descriptor's own code must not run here.
    for name, value in _members(cls):
        if isinstance(value, FunctionType) and vars(value).get(MARK) == role:
            yield name


def _members(cls: type) -> Iterator[tuple[str, Any]]:
    """All that the class and its bases have, each name as an object of the class finds it."""
    seen: set[str] = set()
    for base in cls.__mro__:
        for name, value in list(vars(base).items()):
            if name not in seen:
                seen.add(name)
                yield name, value


# --- mistakes ----------------------------------------------------------------------------


def check_class(cls: type) -> None:
    """Refuse a class that is to be remote and can't be what its methods say.

    Raises:
        TypeError: it is.
    """
    for role in ROLES:
        names = list(dict.fromkeys(_with_role(cls, role)))
        if len(names) > 1:
            raise TypeError(
                f"{cls.__qualname__} has {len(names)} methods marked @remote.{role}, of which only "
                f"one is run: {', '.join(names)}; let that one call the others"
            )
    roles_of_state(cls)
    for name, value in _members(cls):
        func = _function_in(value)
        if not isinstance(value, FunctionType) and _is_marked(func):
            raise TypeError(f"{cls.__qualname__}.{name} is marked, and is no plain method")
        if isinstance(func, FunctionType) and (name[:1] != "_" or name == "__call__"):
            _check_parameters(func)


def _function_in(value: Any) -> Any:
    if isinstance(value, staticmethod | classmethod):
        return value.__func__
    if isinstance(value, property):
        return value.fget
    return value.func if isinstance(value, cached_property) else value


def _is_marked(value: object) -> bool:
    try:
        return MARK in object.__getattribute__(value, "__dict__")  # which runs no code of its own
    except AttributeError:
        return False


def _check_parameters(method: FunctionType) -> None:
    code = method.__code__
    count = code.co_argcount + code.co_kwonlyargcount
    for name in code.co_varnames[code.co_posonlyargcount : count]:
        if name in CALL_OPTIONS:
            raise TypeError(
                f"{method.__qualname__} has a parameter {name!r}, which every call through a proxy "
                "takes as its own option, so that the method would never get it; rename it, or "
                "make it positional-only (`/`)"
            )


def check_served_class(cls: type) -> None:
    """Refuse an object for a `Proxy` whose class has parts in a life that it never gets.

    Raises:
        TypeError: so it is.
    """
    if hasattr(cls, OPTIONS):
        return
    for role in ROLES:
        if (name := role_of(cls, role)) is not None:
            raise TypeError(
                f"{cls.__qualname__}.{name} is marked @remote.{role}, and is only run in an actor: "
                f"decorate {cls.__qualname__} with @remote and spawn it, or take the mark off"
            )
