"""What two forks of one process have in common: ids, given out before the fork.

They are given to the classes of the main module, those of the objects there and those nested in
them; and to the local classes and functions that a new process is given to run, or that are
variables of the functions that start it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import FunctionType, MethodType
from typing import Any

from cloudpickle import cloudpickle as untyped

from .classes import register_class, travels_by_value
from .functions import register_function

__all__ = ["register"]

cloudpickle: Any = untyped  # it has no types

_MOST = 10_000
"""How many parts are looked at: whoever hands a large structure to a new process has not hidden a
local class in it, and to look at a part is to write to its memory, which the fork then copies."""
PACKAGE = __name__.partition(".")[0]
_LEADING_NOWHERE = ("builtins", f"{PACKAGE}._proxy", f"{PACKAGE}._handle")
"""The modules of types whose objects have nothing to look at. To ask a proxy for an attribute is to
ask the actor, which may be starting."""
_WRAPPERS = (property, functools.cached_property, staticmethod, classmethod)


def register(roots: Iterable[Any]) -> None:
    """Give the ids out, to what these lead to."""
    todo: list[Any] = list(roots)
    seen: set[int] = set()
    kept: list[Any] = []  # so that no id of `seen` is used again meanwhile
    while todo and len(seen) < _MOST:
        part = todo.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        kept.append(part)
        with suppress(Exception):  # a metaclass may do as it likes, and must not prevent the fork
            todo += _parts(part)


def _parts(part: Any) -> Iterator[Any]:
    if issubclass(type(part), type):
        if travels_by_value(part):
            register_class(part)
            yield from vars(part).values()
            yield from part.__bases__
    elif type(part) is FunctionType:
        yield from _parts_of_function(part)
    elif type(part) is MethodType:
        yield part.__func__
        yield part.__self__
    elif isinstance(part, _WRAPPERS):
        yield from (getattr(part, name, None) for name in ("fget", "fset", "fdel", "func"))
        yield getattr(part, "__func__", None)
    elif isinstance(part, (list, tuple, set, frozenset)):
        yield from part
    elif isinstance(part, dict):
        yield from part.values()
    elif type(part).__module__ not in _LEADING_NOWHERE:
        yield type(part)
        yield from getattr(part, "__dict__", {}).values()
        yield getattr(part, "func", None)  # of a partial


def _parts_of_function(func: FunctionType) -> Iterator[Any]:
    if cloudpickle._should_pickle_by_reference(func):
        return
    if "<locals>" in func.__qualname__:
        register_function(func)
    for cell in func.__closure__ or ():
        with suppress(ValueError):  # it is empty
            yield cell.cell_contents
    yield from func.__defaults__ or ()
    yield from (func.__kwdefaults__ or {}).values()
    yield from vars(func).values()
