"""Big bytes outside of the pickle: pickle itself leaves only the buffers of other types there.

``bytes``, ``bytearray`` and ``array.array`` are copied into the pickle by it, whatever their size.
So where one that is big stands among the arguments, is the result, or is right within a list,
tuple or dict that is, it is replaced before pickling by something that says where its buffer is.
"""

from __future__ import annotations

import pickle
from array import array
from operator import is_
from typing import Any

__all__ = ["SCALARS", "extract_large"]

SCALARS = frozenset({type(None), bool, int, float, complex, str})
"""Types of values that hold no class, no array and nothing that could fail."""
all_plain = SCALARS.issuperset

BIG = 1 << 20
"""Bytes from which on it pays."""
FEW = 64
"""Items of a container that are looked at: more of them would take longer than it saves."""


_LOOKED_INTO = frozenset({bytes, bytearray, tuple, list, dict, array})


def extract_large(value: Any, depth: int = 4) -> Any:
    """The value, or an equal one in which what is big stays outside of the pickle.

    `depth` is how many containers deep it looks: as far as the arguments of a call in a chain,
    and into those.

    >>> extract_large([1, b"small"])
    [1, b'small']
    >>> pickled = pickle.dumps(extract_large({"a": bytes(BIG)}), 5, buffer_callback=[].append)
    >>> len(pickled) < 100
    True
    """
    kind = type(value)
    if kind in SCALARS:
        return value
    if kind is bytes or kind is bytearray:
        return _OutOfBand(kind, (), value) if len(value) >= BIG else value
    if kind is tuple or kind is list:
        if not depth or len(value) > FEW or all_plain(map(type, value)):
            return value
        # Asking here spares a call for each word and number: half the time of most values.
        items = [
            extract_large(one, depth - 1) if type(one) in _LOOKED_INTO else one for one in value
        ]
        same = all(map(is_, items, value))
        return value if same else kind(items)
    if kind is dict:
        if not depth or len(value) > FEW or all_plain(map(type, value.values())):
            return value
        pairs = {key: extract_large(one, depth - 1) for key, one in value.items()}
        return value if all(map(is_, pairs.values(), value.values())) else pairs
    if kind is array:
        big = len(value) * value.itemsize >= BIG
        return _OutOfBand(_array, (value.typecode,), value) if big else value
    return value


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
