"""A view: an immutable chain of operations that prints as Python and evaluates on an object."""

from __future__ import annotations

from typing import Any

from ._ops import OPS, Step

__all__ = ["View"]


_new = tuple.__new__


class View(tuple[Step, ...]):
    """A chain of recorded operations; extending it makes a new one.

    >>> view = View().then("attr", "items").then("item", 0)
    >>> str(view)
    '?.items[0]'
    >>> class Box:
    ...     items = ["first", "second"]
    >>> view.evaluate(Box())
    'first'
    """

    __slots__ = ()

    def then(self, name: str, *operands: Any) -> View:
        """The same chain with one more operation, which must be a row of the table."""
        if name not in OPS:
            raise ValueError(f"{name!r} is not an operation; the table has {', '.join(OPS)}")
        return _new(View, (*self, (name, *operands)))

    def evaluate(self, obj: Any) -> Any:
        """Apply the operations to `obj`, in order; what one raises comes out as it is."""
        return evaluate(self, obj)

    def __str__(self) -> str:
        text = "?"
        for name, *operands in self:
            text = OPS[name].show(text, *operands)
        return text

    def __repr__(self) -> str:
        return f"View({self})"


_APPLY = {name: op.apply for name, op in OPS.items()}


def evaluate(steps: tuple[Step, ...], obj: Any) -> Any:
    """Apply recorded steps to `obj`: what arrives over the wire is a plain tuple of them."""
    for step in steps:
        obj = _APPLY[step[0]](obj, *step[1:])
    return obj
