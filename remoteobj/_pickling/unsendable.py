"""Which part of a value can't be pickled: found by halving, so that an error can name it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from io import IOBase
from itertools import islice
from reprlib import repr as short_repr
from types import AsyncGeneratorType, CoroutineType, FunctionType, MethodType
from typing import Any

from cloudpickle import cloudpickle as untyped

from .._os.thread_unwind import ThreadUnwind
from ..errors import ASYNC_ITERATOR_REMEDY, COROUTINE_REMEDY, UnsendableError, describe
from .main_module import MAIN

__all__ = ["Part", "not_made_again", "stranger", "unsendable_error"]

cloudpickle: Any = untyped  # it has no types

_MAX_DEPTH = 40
_MAX_PARTS = 100_000

Part = tuple[str, object]
"""A part of a value, and its path written as Python."""

Fails = Callable[[list[Part], set[int]], bool]
"""Whether pickling some of these parts fails; the ids are of the values that contain them."""


def unsendable_error(
    value: object, what: str, error: BaseException, fails: Fails
) -> UnsendableError:
    """The error that names the smallest part of `value` that can't be pickled.

    Args:
        value: what can't be pickled.
        what: how its user calls it: `args[0]`.
        error: what the pickler raised.
        fails: tries to pickle parts; parts that are already above them count as sendable.
    """
    # cloudpickle words a RecursionError as a PicklingError that it causes. Looking for the part
    # would run into the same wall again and again.
    if any(isinstance(e, (RecursionError, MemoryError)) for e in (error, error.__cause__)):
        remedy = "It is nested too deeply or too large: send it in pieces."
        return UnsendableError.for_part(what, value, error, remedy)
    trail = _smallest_failing(value, what, fails)
    path, part = trail[-1]
    return UnsendableError.for_part(path, part, error, _remedy(trail))


_LEFT_TO_IMPORT = (
    "move it to a module, or let the actor import the script, which then needs its guard: "
    'options(main="import").'
)


def _remedy(trail: list[Part]) -> str:
    path, part = trail[-1]
    if isinstance(part, CoroutineType | AsyncGeneratorType):
        if isinstance(part, CoroutineType):
            part.close()  # nobody can await it any more, and the interpreter would warn of that
            return f"{COROUTINE_REMEDY}."
        return f"{ASYNC_ITERATOR_REMEDY}."
    variables = re.findall(r"global '(\w+)' of __(?:mp_)?main__", path)
    if variables:
        # The last of them: what leads to it could travel without it.
        return (
            f"The variable {variables[-1]!r} of __main__ goes along since it is used there: make "
            f"it inside the actor, or {_LEFT_TO_IMPORT}"
        )
    if type(part).__module__.startswith("multiprocessing."):
        return "Pass it to spawn(...), where the process starts that is to have it."
    if isinstance(part, IOBase):
        return "Pass its path, and open it inside the actor."
    classes = [one for _, one in trail if isinstance(one, type) and one.__module__ in MAIN]
    if classes:
        name = classes[-1].__qualname__
        return f"The class {name!r} of __main__ goes along with all that it has: {_LEFT_TO_IMPORT}"
    return "Leave it out (__getstate__), or make it inside the actor."


_WAY_OUT = 'Move it to a module, or let the actor import the script: options(main="import").'


def stranger(what: str) -> UnsendableError:
    """The error for what was only named, and is not known where that arrived."""
    return UnsendableError(
        f"{what} can't be sent by value, and this process does not have it: it is no fork of the "
        f"sender from after it was defined, and has not imported the script. {_WAY_OUT}"
    )


def not_made_again(name: str, error: BaseException) -> UnsendableError:
    """The error for a class that can't be made a second time, where it arrived."""
    return UnsendableError(
        f"the class {name!r} can't be made again in this process: {describe(error)}. {_WAY_OUT}"
    )


def _smallest_failing(value: object, what: str, fails: Fails) -> list[Part]:
    """What leads to the smallest part that fails, which is the last."""
    trail, above = [(what, value)], {id(value)}
    for _ in range(_MAX_DEPTH):
        parts = _parts_of(*trail[-1])
        if not fails(parts, above):
            break
        while len(parts) > 1:  # halve: a list of a million items costs twenty trials
            half = parts[: len(parts) // 2]
            parts = half if fails(half, above) else parts[len(parts) // 2 :]
        trail.append(parts[0])
        above.add(id(parts[0][1]))
    return trail


def _parts_of(path: str, value: object) -> list[Part]:
    try:
        return list(islice(_walk(path, value), _MAX_PARTS))
    except (KeyboardInterrupt, ThreadUnwind):
        raise
    except BaseException:  # the value's own __reduce_ex__ is what fails: it is the smallest part
        return []


def _walk(path: str, value: Any) -> Iterator[Part]:
    kind = type(value)
    if kind in (list, tuple):
        yield from ((f"{path}[{i}]", item) for i, item in enumerate(value))
    elif kind is dict:
        for key, item in value.items():
            yield f"{path}[{_short(key)}]", item
            yield f"{path} key {_short(key)}", key
    elif kind in (set, frozenset):
        yield from ((f"{path} item {_short(item)}", item) for item in value)
    elif kind is FunctionType:
        yield from _parts_of_function(path, value)
    elif issubclass(kind, type):
        yield from _parts_of_class(path, value)
    elif kind is MethodType:
        yield f"{path}.__self__", value.__self__
        yield f"{path}.__func__", value.__func__
    else:
        yield from _parts_of_instance(path, value)


def _parts_of_function(path: str, func: FunctionType) -> Iterator[Part]:
    for name, cell in zip(func.__code__.co_freevars, func.__closure__ or (), strict=True):
        yield f"{path} closure variable {name!r}", cloudpickle._get_cell_contents(cell)
    module = func.__globals__.get("__name__")
    of_main = f" of {module}" if module in MAIN else ""
    for name in cloudpickle._extract_code_globals(func.__code__):
        if name in func.__globals__:
            yield f"{path} global {name!r}{of_main}", func.__globals__[name]
    for i, default in enumerate(func.__defaults__ or ()):
        yield f"{path} default {i}", default


def _parts_of_class(path: str, cls: type) -> Iterator[Part]:
    for name, item in vars(cls).items():
        wrapped = isinstance(item, (staticmethod, classmethod, property))
        if not wrapped:
            yield f"{path}.{name}", item
        for inner in ("__func__", "fget", "fset", "fdel") if wrapped else ():
            if (func := getattr(item, inner, None)) is not None:
                yield f"{path}.{name}", func
    yield from ((f"{path} base {base.__name__}", base) for base in cls.__bases__)


def _parts_of_instance(path: str, value: Any) -> Iterator[Part]:
    # The object decides what of it travels; an attribute that it leaves out is not to blame.
    reduced = value.__reduce_ex__(5)
    if not isinstance(reduced, tuple):
        return
    make, args, state, items, pairs = (*reduced, None, None, None)[:5]
    for attributes in state if isinstance(state, tuple) else (state,):
        if isinstance(attributes, dict):
            yield from ((f"{path}.{name}", item) for name, item in attributes.items())
    yield from ((f"{path}[{i}]", item) for i, item in enumerate(items or ()))
    yield from ((f"{path}[{_short(key)}]", item) for key, item in pairs or ())
    yield from ((f"{path} argument {i} of {make!r}", item) for i, item in enumerate(args or ()))


def _short(value: object) -> str:
    try:
        return short_repr(value)
    except Exception:
        return f"<{type(value).__name__}>"
