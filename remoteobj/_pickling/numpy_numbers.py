"""Numbers of numpy: what an item of an array is, and so many an action, a reward or a mean.

numpy pickles such a number as its dtype and its bytes, which takes several times as long as
pickling the number that it is equal to, and is done for each of them alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = ["reducer_of_number"]

_NUMBERS: Final = {
    *("bool", "bool_", "float16", "float32", "float64", "complex64", "complex128"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
}
"""The names of numpy's classes whose every number Python has an equal one of."""


def reducer_of_number(cls: type) -> Callable[[Any], Any] | None:
    """How numbers of this class are pickled; None if it is no class of such numbers.

    >>> reducer_of_number(float)
    """
    if cls.__module__ == "numpy" and cls.__name__ in _NUMBERS:
        return _reduced
    return None


def _reduced(number: Any) -> Any:
    return type(number), (number.item(),)
