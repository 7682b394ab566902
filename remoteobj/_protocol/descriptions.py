"""Chains of operations as text, by the table: of a proxy, in an error, of a request in its bytes.

Few programs ask for any of it, and no actor does at its start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from typing import Any, Final

from .._os.lazy_import import import_lock
from .messages import Bytes
from .operations import OPERATIONS, Steps

__all__ = ["LOOKED_AT", "describe_request", "format_steps", "named_operands"]


def format_steps(steps: Steps) -> str:
    """A chain as Python, `?` being the object.

    >>> format_steps((("attr", "d"), ("item", "k"), ("call", (1,), {"by": 2})))
    "?.d['k'](1, by=2)"
    >>> format_steps((("passto", len, (), {}),))
    'len(?)'
    """
    text = "?"
    for name, *operands in steps:
        operation = OPERATIONS[name]
        texts = _texts(dict(zip(operation.operands, operands, strict=True)))
        text = operation.form.format(obj=text, **texts)
    return text


def _texts(operands: dict[str, Any]) -> dict[str, str]:
    """What stands for the operands in the form of their operation."""
    keywords = operands.pop("kwargs", {}).items()
    args = [*map(_brief, operands.pop("args", ())), *(f"{k}={_brief(v)}" for k, v in keywords)]
    texts = {operand: _PRINT.get(operand, _brief)(value) for operand, value in operands.items()}
    texts["args"] = ", ".join(args)
    texts["more_args"] = "".join(f", {arg}" for arg in args)
    return texts


def _brief(value: object) -> str:
    """A repr that stays short and never raises, since printing a chain must not fail."""
    try:
        text = repr(value)
    except Exception:
        return object.__repr__(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _name_of(func: Any) -> str:
    return getattr(func, "__qualname__", None) or _brief(func)


_PRINT: Final[dict[str, Callable[[Any], str]]] = {"name": str, "func": _name_of}
"""How those operands print that do not print by their repr."""


def named_operands(steps: Steps) -> Iterator[tuple[str, Any]]:
    """All operands of a chain, each with the name by which its user knows it.

    >>> list(named_operands((("call", (1, 2), {"by": 3}), ("item", "k"))))
    [('args[0]', 1), ('args[1]', 2), ('by', 3), ('key', 'k')]
    """
    for name, *operands in steps:
        for operand, value in zip(OPERATIONS[name].operands, operands, strict=True):
            if operand == "args":
                yield from ((f"args[{i}]", one) for i, one in enumerate(value))
            elif operand == "kwargs":
                yield from value.items()
            else:
                yield operand, value


# --- describing a request from its bytes --------------------------------------------------


def describe_request(payload: Bytes) -> str:
    """The chain of a request as Python, without its arguments, from the bytes that travel.

    Nothing that is in them is run. They may be cut off anywhere: then it is the chain as far as
    it is known, and an operation that was begun counts once its name has been read, and the name
    of its attribute. Bytes that are no request give `?`.

    >>> import pickle
    >>> describe_request(pickle.dumps(("add", (1,)), 5))
    '?.add(...)'
    >>> describe_request(pickle.dumps([("attr", "d"), ("setitem", "k", 1)], 5))
    '?.d[...] = ...'
    """
    with import_lock:
        # For a faster start-up: few programs ask, and it needs `pickletools`.
        from .pickle_outline import MARK, outline

    match outline(bytes(payload[:LOOKED_AT])):
        case [str(method), *_] | [(str(method), *_)]:
            return _describe_steps([("attr", method), ("call",)])
        case [[*steps], *cut_off]:
            # Behind the list come the steps that were not put into it yet, the last one in parts.
            parts = [part for part in cut_off if part is not MARK]
            whole = list(takewhile(lambda part: type(part) is tuple, parts))
            return _describe_steps([*steps, *whole, tuple(parts[len(whole) :])])
    return "?"


LOOKED_AT: Final = 2000
"""Bytes of a request that are looked at: enough for any chain before its last arguments."""


def _describe_steps(steps: Sequence[Any]) -> str:
    text = "?"
    for step in steps:
        operation = OPERATIONS.get(step[0]) if step and type(step[0]) is str else None
        if operation is None:
            break
        texts = dict.fromkeys(operation.operands, "...") | _LEFT_OUT
        if "name" in texts:
            if len(step) < 2 or type(step[1]) is not str:
                break
            texts["name"] = step[1]
        text = operation.form.format(obj=text, **texts)
    return text


_LEFT_OUT: Final = {"func": "f", "args": "...", "more_args": ""}
