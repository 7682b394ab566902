"""Parts of the object that stand among the operands of a call on it: `h.add(h.value)`.

Such a part travels as a `Part`, and is evaluated over there when its step is reached. The chain
that holds it begins with the step `PARTS`, so that no other chain is searched for any.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, Final

from .._fast_typing import NamedTuple

__all__ = ["PARTS", "Part", "replaced"]

PARTS: Final = ("parts",)
"""The first step of a chain with parts among its operands."""


class Part(NamedTuple):
    """An operand that is itself a chain on the same object."""

    steps: tuple[tuple[Any, ...], ...]


CONTAINERS: Final = frozenset((list, tuple, dict, slice))
"""What is looked into. Whatever else holds a part keeps it as it is. No set holds one, and no dict
has one for a key: parts can't be hashed."""


def replaced(value: Any, kinds: Container[type], replace: Callable[[Any], Any]) -> Any:
    """The value with `replace` applied to whatever in it is of these types.

    What holds none of them is not copied, so that it stays the object that it is.

    >>> replaced([1, (2.5, {"a": 3})], {int}, str)
    ['1', (2.5, {'a': '3'})]
    """
    return _replaced(value, kinds, replace, set())


def _replaced(
    value: Any, kinds: Container[type], replace: Callable[[Any], Any], above: set[int]
) -> Any:
    kind = type(value)
    if kind in kinds:
        return replace(value)
    if kind not in CONTAINERS or id(value) in above:  # one that holds itself is left alone
        return value
    above.add(id(value))
    items = _items_of(value)
    new = [_replaced(one, kinds, replace, above) for one in items]
    above.discard(id(value))
    if all(one is other for one, other in zip(items, new, strict=True)):
        return value
    if kind is slice:
        return slice(*new)
    if kind is dict:
        return dict(zip(value, new, strict=True))
    return kind(new)


def _items_of(value: Any) -> list[Any]:
    if type(value) is slice:
        return [value.start, value.stop, value.step]
    if type(value) is dict:
        return list(value.values())
    return list(value)
