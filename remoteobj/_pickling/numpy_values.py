"""Numbers and arrays of numpy: what an environment, a sensor or a model takes and gives.

numpy pickles a number as its dtype and its bytes, which takes several times as long as pickling the
number that it is equal to; and of a small array the dtype, as an object of many parts, takes longer
than all the rest. Both are done for each of them alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pickle import PickleBuffer
from typing import Any, Final

__all__ = ["reducer_of_numpy"]

_NUMBERS: Final = {
    *("bool", "bool_", "float16", "float32", "float64", "complex64", "complex128"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
}
"""The names of numpy's classes whose every number Python has an equal one of."""
_OF_NUMBERS: Final = frozenset([*range(13), 14, 15, 23])
"""The types of items that a short text says all about, but for metadata, and that have buffers: by
numpy's numbers, since other libraries have types with the same letters."""


def reducer_of_numpy(cls: type) -> Callable[[Any], Any] | None:
    """How values of this class are pickled; None if it is none of these classes of numpy.

    >>> reducer_of_numpy(float)
    """
    if cls.__module__ == "numpy":
        if cls.__name__ in _NUMBERS:
            return _reduced_number
        if cls.__name__ == "ndarray":
            return _reduced_array
    return None


def _reduced_number(number: Any) -> Any:
    return type(number), (number.item(),)


def _reduced_array(array: Any) -> Any:
    dtype = array.dtype
    if dtype.num in _OF_NUMBERS and array.flags.c_contiguous and dtype.metadata is None:
        return type(array), (array.shape, dtype.str, PickleBuffer(array))
    return array.__reduce_ex__(5)
