"""A view: an immutable chain of operations that prints as Python and evaluates on an object."""

from __future__ import annotations

from typing import Any

from .operations import OPS, Step

__all__ = ["Steps", "View", "evaluate", "show"]

Steps = tuple[Step, ...]
"""What a view consists of. On its way, where speed counts, it is no more than that."""


_new = tuple.__new__


class View(Steps):
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
        """Apply them to `obj`."""
        return evaluate(self, obj)

    def __str__(self) -> str:
        return show(self)

    def __repr__(self) -> str:
        return f"View({self})"


_APPLY = {name: op.apply for name, op in OPS.items()}


def show(steps: Steps) -> str:
    """The steps as Python, `?` being the object."""
    text = "?"
    for name, *operands in steps:
        text = OPS[name].show(text, *operands)
    return text


def evaluate(steps: tuple[Any, ...], obj: Any) -> Any:
    """Apply recorded steps to `obj`, in order; what one raises comes out as it is.

    Or the short form in which most chains travel: a method's name, and its arguments.
    """
    if steps and type(steps[0]) is str:
        return getattr(obj, steps[0])(*steps[1])
    for step in steps:
        name = step[0]
        # The two that most chains consist of are spelled out: a third of the time.
        if name == "attr":
            obj = getattr(obj, step[1])
        elif name == "call":
            obj = obj(*step[1], **step[2])
        else:
            obj = _APPLY[name](obj, *step[1:])
    return obj
