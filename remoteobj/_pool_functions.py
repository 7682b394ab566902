"""The functions that a pool calls: pickled once, and sent to a worker once, where that is right.

To pickle a function of the main module takes longer than all else that a short task needs. What is
kept is that of a function whose pickle can't change: one that others find by its name, or that
reads no data but its arguments.
"""

from __future__ import annotations

import itertools
import pickle
import weakref
from collections.abc import Callable, Sequence
from types import BuiltinFunctionType, FunctionType
from typing import Any, Final

from ._os.lazy_import import import_lock
from ._pickling.codec import dumps, loads

__all__ = ["Function", "FunctionCache", "name_of"]

_NAMED: Final = FunctionType, BuiltinFunctionType, type
_keys = itertools.count(1).__next__


class Function:
    """A function as it is sent.

    Raises:
        UnsendableError: it can't be pickled.
    """

    def __init__(self, func: Callable[..., Any]) -> None:
        payload, buffers = dumps(func, "the function")
        self.payload = payload if not buffers else dumps(_InBand(payload, buffers))[0]
        self.key = _keys()
        """By which a worker knows it again."""
        self.what = name_of(func)
        self.pace = 0.0
        """Seconds that a call took in the last run; 0: there was none."""
        self.by_name = type(func) in _NAMED and payload == _named(func)


class _InBand:
    """A function with large arrays, which travel within the pickle."""

    def __init__(self, payload: bytes, buffers: Sequence[Any]) -> None:
        self._parts = payload, [bytearray(one) for one in buffers]

    def __reduce__(self) -> Any:
        return loads, self._parts


def _named(func: object) -> bytes | None:
    try:
        return pickle.dumps(func, 5)
    except Exception:
        return None


def name_of(func: object) -> str:
    """What messages call a function."""
    func = getattr(func, "func", func)  # of a `functools.partial`
    return str(getattr(func, "__qualname__", type(func).__qualname__))


class FunctionCache:
    """The functions of one pool, for as long as somebody else has them."""

    def __init__(self) -> None:
        self._kept: weakref.WeakKeyDictionary[Any, Function] = weakref.WeakKeyDictionary()

    def get(self, func: Callable[..., Any]) -> Function:
        """The function as it is sent now.

        Raises:
            UnsendableError: it can't be pickled.
        """
        if type(func) not in _NAMED:  # to hash anything else may be a user's code
            return Function(func)
        kept = self._kept.get(func)
        if kept is not None and (kept.by_name or _never_changes(func)):
            return kept
        made = Function(func)
        if made.by_name or _never_changes(func):
            self._kept[func] = made
        return made


def _never_changes(func: object) -> bool:
    """Whether its pickle does not, although it holds the function's code."""
    if type(func) is not FunctionType:
        return False
    with import_lock:
        from ._pickling.functions import reads_no_data  # not at start-up: it needs cloudpickle

    return reads_no_data(func, set())
