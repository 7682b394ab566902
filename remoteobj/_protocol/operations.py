"""The table of operations: one row per thing that can be done to a remote object.

A row says how the operation prints, how it applies to an object, and whether it ends a
chain (is evaluated at once) or extends it. Recording, printing and evaluating all read
this one table, so that they can't drift apart: a new operator is one new row.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["OPS", "Op", "Step"]

Step = tuple[Any, ...]
"""One recorded operation: its name in `OPS`, then its operands."""


class Op(NamedTuple):
    """A row of the table."""

    apply: Callable[..., Any]
    """`apply(obj, *operands)` does the operation."""
    show: Callable[..., str]
    """`show(text, *operands)` prints it as Python, `text` being the chain so far."""
    ends: bool
    """True: evaluated when it is recorded. False: the chain goes on, lazily."""


def _call(obj: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return obj(*args, **kwargs)


def _pass_to(obj: Any, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    return func(obj, *args, **kwargs)


def _super(obj: Any) -> Any:
    return super(type(obj), obj)


def _set_attr(obj: Any, name: str, value: Any) -> None:
    setattr(obj, name, value)


def _del_attr(obj: Any, name: str) -> None:
    delattr(obj, name)


def _show_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    return ", ".join([*map(_brief, args), *(f"{k}={_brief(v)}" for k, v in kwargs.items())])


def _show_pass_to(text: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    name = getattr(func, "__qualname__", None) or _brief(func)
    return f"{name}({', '.join(filter(None, [text, _show_arguments(args, kwargs)]))})"


def _brief(value: object) -> str:
    """A repr that stays short and never raises: printing a chain must not fail."""
    try:
        text = repr(value)
    except Exception:
        return object.__repr__(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


OPS: dict[str, Op] = {
    "attr": Op(getattr, lambda text, name: f"{text}.{name}", ends=False),
    "item": Op(operator.getitem, lambda text, key: f"{text}[{_brief(key)}]", ends=False),
    "super": Op(_super, lambda text: f"super({text})", ends=False),
    "call": Op(_call, lambda text, a, kw: f"{text}({_show_arguments(a, kw)})", ends=True),
    "passto": Op(_pass_to, _show_pass_to, ends=True),
    "setattr": Op(_set_attr, lambda text, k, v: f"{text}.{k} = {_brief(v)}", ends=True),
    "delattr": Op(_del_attr, lambda text, name: f"del {text}.{name}", ends=True),
    "setitem": Op(
        operator.setitem, lambda text, k, v: f"{text}[{_brief(k)}] = {_brief(v)}", ends=True
    ),
    "delitem": Op(operator.delitem, lambda text, key: f"del {text}[{_brief(key)}]", ends=True),
    "contains": Op(operator.contains, lambda text, x: f"{_brief(x)} in {text}", ends=True),
    "len": Op(len, lambda text: f"len({text})", ends=True),
    "bool": Op(bool, lambda text: f"bool({text})", ends=True),
    "iter": Op(iter, lambda text: f"iter({text})", ends=True),
}
