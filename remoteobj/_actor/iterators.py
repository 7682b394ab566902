"""What is sent item by item: which results are streams, and which are values.

**The rule.** An iterator is a stream, unless its class says how it is pickled, and it can be: then
it is data that can be iterated over, as `io.BytesIO` is, and a value. The iterators of Python's own
library (`iter([1])`, `map`, `zip`, those of `itertools`) are streams, although some of them can be
pickled; and what was asked for by iterating over a proxy is a stream, whatever it is.
"""

from __future__ import annotations

import copyreg
import io
import sys
from typing import Any

from .._protocol.messages import Frame, Kind
from .replies import value_frame

__all__ = ["DATA", "data_frame", "is_iterator", "says_how"]

DATA = frozenset({list, tuple, dict, set, frozenset})
"""The classes of most results: neither iterators nor awaitables."""
_SAYS_HOW = "__reduce__", "__reduce_ex__", "__getstate__", "__getnewargs__", "__getnewargs_ex__"


def is_iterator(cls: type) -> bool:
    """Whether it has `__next__`, asked so that no code of a user's metaclass runs."""
    return cls not in DATA and any("__next__" in vars(base) for base in cls.__mro__)


def data_frame(call_id: int, iterator: Any, writable: bool = True) -> Frame | None:
    """The frame that carries an iterator as a value; None: it is a stream."""
    if not says_how(type(iterator)):
        return None
    frame = value_frame(Kind.VALUE, call_id, iterator, writable)
    return None if frame.kind == Kind.ERROR else frame  # such as an open file


def says_how(cls: type) -> bool:
    """Whether a class says itself how it is pickled: those of Python's own library do not, but for
    files."""
    if cls in copyreg.dispatch_table:
        return True
    owner = next(base for base in cls.__mro__ if not vars(base).keys().isdisjoint(_SAYS_HOW))
    if owner is object:
        return False
    of_python = str(owner.__module__).partition(".")[0] in sys.stdlib_module_names
    return not of_python or issubclass(owner, io.IOBase)
