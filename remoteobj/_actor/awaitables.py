"""What is awaited: which results are, and which objects have methods that give such results.

**The rule.** An awaitable is awaited, and what comes of that is the result, unless its class says
how it is pickled: then it is data that can also be awaited, and a value. An asynchronous iterator
is a stream, by the same rule as one of the other kind (`iterators`).

Nothing here needs asyncio, which is only imported where something is awaited.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import cached_property, partial, partialmethod
from types import AsyncGeneratorType, CodeType, CoroutineType, FunctionType, MethodType
from typing import Any, Final, TypeVar

from .iterators import DATA, says_how
from .roles import MARK

__all__ = ["finish", "has_coroutines", "is_async_iterator", "is_awaited", "is_coroutine_function"]

T = TypeVar("T")

# Of `inspect`, which is too large to be imported by every actor.
_COROUTINE, _ITERABLE_COROUTINE, _ASYNC_GENERATOR = 0x80, 0x100, 0x200
_PYTHON_CLASS: Final = 1 << 9
"""The flag of classes that are no part of the interpreter, nor of a library in C."""
_ASYNCHRONOUS: Final = _COROUTINE | _ITERABLE_COROUTINE | _ASYNC_GENERATOR


async def finish(awaitable: Awaitable[T]) -> T:
    """Await what users' code has made: the frame by which it is known that users' code runs."""
    return await awaitable


def is_awaited(cls: type) -> bool:
    """Whether a result of this class is awaited."""
    if cls is CoroutineType:
        return True
    return cls not in DATA and _has(cls, "__await__") and not says_how(cls)


def is_async_iterator(cls: type) -> bool:
    """Whether a result of this class is a stream whose items are awaited."""
    if cls is AsyncGeneratorType:
        return True
    return cls not in DATA and _has(cls, "__anext__") and not says_how(cls)


def _has(cls: type, name: str) -> bool:
    # Asked so that no code of a user's metaclass runs.
    for base in cls.__mro__:  # noqa: SIM110 - `any` takes twice the time
        if name in base.__dict__:
            return True
    return False


def has_coroutines(cls: type) -> bool:
    """Whether a class has a method that is called from outside, or has a part in the lives of its
    objects, and is `async def`. No code of the class runs here."""
    seen: set[str] = set()
    for base in cls.__mro__:
        if base.__flags__ & _PYTHON_CLASS:
            for name, value in list(vars(base).items()):
                if name not in seen and _is_reached(name, value) and is_coroutine_function(value):
                    return True
            seen.update(vars(base))
    return False


def _is_reached(name: str, value: object) -> bool:
    if name[:1] != "_" or name == "__call__":
        return True
    return type(value) is FunctionType and MARK in vars(value)


def is_coroutine_function(value: Any) -> bool:
    """Whether to call it, or to ask for it if it is a property, gives something to be awaited; as
    far as its own code, or that of what it is put around, says so."""
    while value is not None:
        code = value.__code__ if type(value) is FunctionType else None
        if type(code) is CodeType and code.co_flags & _ASYNCHRONOUS:
            return True
        value = _within(value)
    return False


def _within(value: Any) -> Any:
    """What a function or a descriptor is put around."""
    if isinstance(value, staticmethod | classmethod | MethodType):
        return value.__func__
    if isinstance(value, property):
        return value.fget
    if isinstance(value, partial | partialmethod | cached_property):
        return value.func
    return value.__dict__.get("__wrapped__") if type(value) is FunctionType else None
