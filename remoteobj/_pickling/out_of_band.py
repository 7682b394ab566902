"""Big bytes outside of the pickle: pickle itself leaves only the buffers of other types there.

``bytes``, ``bytearray`` and ``array.array`` are copied into the pickle by it, whatever their size.
So where one that is big stands among the arguments, is the result, or is right within a list,
tuple or dict that is, it is replaced before pickling by something that says where its buffer is.
"""

from __future__ import annotations

import pickle
from array import array
from operator import is_
from typing import Any, Final

__all__ = ["SCALARS", "all_plain", "extract_large", "needs_no_look"]

SCALARS = frozenset({type(None), bool, int, float, complex, str})
"""Types of values that hold no class, no array and nothing that could fail."""
all_plain = SCALARS.issuperset

BIG = 1 << 20
"""Bytes from which on it pays."""
FEW = 64
"""Items of a container that are looked at: more of them would take longer than it saves."""

DEPTH = 4
"""How many containers deep it is looked: as far as the arguments of a call in a chain, and into
those."""
_LOOKED_INTO = frozenset({bytes, bytearray, tuple, list, dict, array})
needs_no_look = _LOOKED_INTO.isdisjoint
"""Whether there is nothing to extract from a container whose items are of these types."""


def extract_large(value: Any) -> Any:
    """The value, or an equal one in which what is big stays outside of the pickle.

    >>> extract_large([1, b"small"])
    [1, b'small']
    >>> pickled = pickle.dumps(extract_large({"a": bytes(BIG)}), 5, buffer_callback=[].append)
    >>> len(pickled) < 100
    True
    """
    if type(value) not in _LOOKED_INTO:
        return value
    try:
        return _extracted(value, DEPTH, {})
    except _HoldsItselfError:
        return value


class _HoldsItselfError(Exception):
    """A container is within itself, and would not be in what replaces it."""


def _extracted(value: Any, depth: int, found: dict[int, Any]) -> Any:
    """`extract_large`, so many containers deep.

    `found` has what became of each object that was met, by its identity: what stands at several
    of the places that are looked at is one object there too.
    """
    kind = type(value)
    if kind is bytes or kind is bytearray:
        return _replaced(kind, (), value, found) if len(value) >= BIG else value
    if kind is array:
        big = len(value) * value.itemsize >= BIG
        return _replaced(_array, (value.typecode,), value, found) if big else value
    items = value.values() if kind is dict else value
    if len(value) > FEW or needs_no_look(map(type, items)):
        return value
    key = id(value)
    if key in found:
        if found[key] is _UNDER_WAY:
            raise _HoldsItselfError
        return found[key]
    if not depth:
        found[key] = value  # it may be met again where it would be looked into
        return value
    found[key] = _UNDER_WAY
    # To ask here spares a call for each word and number: half the time of most values.
    made = [
        _extracted(one, depth - 1, found) if type(one) in _LOOKED_INTO and one else one
        for one in items
    ]
    if all(map(is_, made, items)):
        found[key] = value
    else:
        found[key] = dict(zip(value, made, strict=True)) if kind is dict else kind(made)
    return found[key]


_UNDER_WAY: Final = object()


def _replaced(make: Any, args: tuple[Any, ...], value: Any, found: dict[int, Any]) -> Any:
    key = id(value)
    if key not in found:
        found[key] = _OutOfBand(make, args, value)
    return found[key]


class _OutOfBand:
    """Stands for a value made of one buffer: `make(*args, buffer)` gives it back."""

    __slots__ = ("_args", "_make", "_value")

    def __init__(self, make: Any, args: tuple[Any, ...], value: Any) -> None:
        self._make, self._args, self._value = make, args, value

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return self._make, (*self._args, pickle.PickleBuffer(self._value))


def _array(typecode: str, buffer: Any) -> Any:
    made = array(typecode)
    made.frombytes(buffer)
    return made
