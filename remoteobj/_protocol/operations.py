"""The operations on a remote object: one table, of which everything about them is made.

What a program does to a proxy is recorded as a chain of steps. A step is a tuple: the name of a
row of `OPERATIONS`, then its operands, as in `("attr", "value")` or `("call", args, kwargs)`.

The table is a seam: what can be done to a proxy is extended here alone. Its contract:

- A row is all there is to say about an operation: how it prints, how it applies to the object,
  what its operands are called, whether it ends the chain, and which method of the proxy asks for
  it. A new operation is one new row. Nothing else names the rows, but for `attr` and `call`,
  which `evaluate` and the proxy spell out for speed, and the proxy's methods that are not
  operators.
- The name of a row travels, and so does the order of its operands.
- Four names of operands have a meaning of their own. `name` is the name of an attribute: it
  comes first and prints bare. `func` prints by its own name. `args` and `kwargs` are the
  positional and the keyword arguments of a call.

On its way between processes a chain is either a list of its steps or, where it is a method called
with plain positional arguments, the short form `(name, args)`, which takes a third less time.
The two begin differently, so that `describe_request` can tell them apart in a few bytes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Any, Final, NamedTuple

from .._os.lazy_import import import_lock
from .messages import Bytes
from .own_names import hint_at_own_name
from .parts import PARTS, Part, replaced

__all__ = [
    "OPERATIONS",
    "Operation",
    "OwnIterator",
    "Step",
    "Steps",
    "describe_request",
    "drop",
    "evaluate",
    "format_steps",
    "named_operands",
]

Step = tuple[Any, ...]
"""One recorded operation: its name in `OPERATIONS`, then its operands."""

Steps = tuple[Step, ...]
"""A chain of recorded operations."""


class Operation(NamedTuple):
    """A row of the table."""

    form: str
    """How it prints as Python. `{obj}` is the chain so far, the other fields are the operands;
    `{args}` is all arguments of a call, `{more_args}` is the same after something else."""
    apply: Callable[..., Any]
    """`apply(obj, *operands)` does it."""
    operands: tuple[str, ...] = ()
    """What its operands are called, in an error about one of them too."""
    ends: bool = True
    """True: it is evaluated when it is recorded. False: the chain goes on, lazily."""
    dunder: str | None = None
    """The method by which Python's syntax asks for it. The proxy's is made from the row."""
    returns: Callable[[Any], Any] | None = None
    """What Python makes of what the method gives: for instance an `int` of `len`, or nothing, by
    `drop`, of a statement. None: Python hands it on as it is, so it may be a future too."""


def drop(value: object) -> None:
    """What Python does with the value of a statement."""


def _call(obj: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return obj(*args, **kwargs)


def _pass_to(obj: Any, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    return func(obj, *args, **kwargs)


def _super(obj: Any) -> Any:
    return super(type(obj), obj)


def _itself(obj: Any) -> Any:
    return obj


class OwnIterator(Iterator[Any]):
    """The items of an object that is its own iterator, as `for` takes them: it takes one at a time,
    and whoever leaves the loop leaves the object as it is then, and open."""

    def __init__(self, obj: Iterator[Any]) -> None:
        self._obj = obj

    def __next__(self) -> Any:
        return next(self._obj)


def _iterate(obj: Any) -> Iterator[Any]:
    found = iter(obj)
    return OwnIterator(found) if found is obj else found


OPERATIONS: Final[dict[str, Operation]] = {
    "attr": Operation("{obj}.{name}", getattr, ("name",), ends=False),
    "item": Operation("{obj}[{key}]", operator.getitem, ("key",), False, "__getitem__"),
    "super": Operation("super({obj})", _super, ends=False),
    # Says that there are parts of the object among the operands behind it: see `parts`.
    PARTS[0]: Operation("{obj}", _itself, ends=False),
    "call": Operation("{obj}({args})", _call, ("args", "kwargs")),
    "passto": Operation("{func}({obj}{more_args})", _pass_to, ("func", "args", "kwargs")),
    "setattr": Operation("{obj}.{name} = {value}", setattr, ("name", "value"), returns=drop),
    "delattr": Operation("del {obj}.{name}", delattr, ("name",), returns=drop),
    "setitem": Operation(
        "{obj}[{key}] = {value}",
        operator.setitem,
        ("key", "value"),
        dunder="__setitem__",
        returns=drop,
    ),
    "delitem": Operation(
        "del {obj}[{key}]", operator.delitem, ("key",), dunder="__delitem__", returns=drop
    ),
    "contains": Operation(
        "{key} in {obj}", operator.contains, ("key",), dunder="__contains__", returns=bool
    ),
    "len": Operation("len({obj})", len, dunder="__len__", returns=int),
    "bool": Operation("bool({obj})", bool, dunder="__bool__", returns=bool),
    "int": Operation("int({obj})", int, dunder="__int__", returns=int),
    "float": Operation("float({obj})", float, dunder="__float__", returns=float),
    "complex": Operation("complex({obj})", complex, dunder="__complex__", returns=complex),
    "index": Operation("index({obj})", operator.index, dunder="__index__", returns=operator.index),
    "iter": Operation("iter({obj})", _iterate, dunder="__iter__", returns=iter),
}


# --- applying ----------------------------------------------------------------------------


def evaluate(steps: Sequence[Any], obj: Any) -> Any:
    """Apply the steps of a chain, or its short form, to an object.

    >>> evaluate((("attr", "upper"), ("call", (), {}), ("item", 0)), "abc")
    'A'
    >>> evaluate(("split", ("b",)), "abc")
    ['a', 'c']

    Raises:
        Exception: whatever an operation raises, as it is.
    """
    root = obj
    todo: Iterable[Any] = steps
    try:
        if steps:
            first = steps[0]
            if type(first) is str:
                return getattr(obj, first)(*steps[1])
            if first[0] == "parts":
                todo = _filled(steps, root)
        for step in todo:
            name = step[0]
            # The two of which most chains consist are spelled out, in a third of the time.
            if name == "attr":
                obj = getattr(obj, step[1])
            elif name == "call":
                obj = obj(*step[1], **step[2])
            else:
                obj = OPERATIONS[name].apply(obj, *step[1:])
    except AttributeError as exc:
        traceback = exc.__traceback__
        if exc.obj is root and traceback is not None and traceback.tb_next is None:
            hint_at_own_name(exc)  # raised by this very function, not by the object's own code
        raise
    return obj


def _filled(steps: Sequence[Any], root: Any) -> Iterator[Step]:
    """The steps, each with the values of the parts among its operands when it is reached."""

    def value_of(part: Part) -> Any:
        return evaluate(part.steps, root)

    for name, *operands in steps:
        yield (name, *(replaced(one, (Part,), value_of) for one in operands))


# --- printing ----------------------------------------------------------------------------


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
