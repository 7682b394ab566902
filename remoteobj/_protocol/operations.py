"""The operations on a remote object: one table, of which everything about them is made.

What a program does to a proxy is recorded as a chain of steps. A step is a tuple: the name of a
row of `OPERATIONS`, then its operands, as in `("attr", "value")` or `("call", args, kwargs)`.

The table is a seam: what can be done to a proxy is extended here alone. Its contract:

- A row is all there is to say about an operation: how it prints, how it applies to the object,
  what its operands are called, whether it ends the chain, and which method of the proxy asks for
  it. A new operation is one new row. Nothing else names the rows, but for `attr` and `call`,
  which `evaluate` and the proxy spell out for speed, and the proxy's methods that are not
  operators.
- One method may ask for several operations, which differ in how many operands they have.
- An operation that stores, as `+=` does, is applied to a `Place`: whoever records it exchanges the
  step before it, which would read the value, for the one that gives the place of it.
- The name of a row travels, and so does the order of its operands.
- Four names of operands have a meaning of their own. `name` is the name of an attribute: it
  comes first and prints bare. `func` prints by its own name. `args` and `kwargs` are the
  positional and the keyword arguments of a call.

On its way between processes a chain is either a list of its steps or, where it is a method called
with positional arguments alone, the short form `(name, args)`, which takes a third less time.
The two begin differently, so that `describe_request` can tell them apart in a few bytes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

from .._fast_typing import NamedTuple
from .._os.lazy_import import import_lock
from .own_names import hint_at_own_name
from .parts import PARTS, Part, replaced

__all__ = [
    "OPERATIONS",
    "Operation",
    "OwnIterator",
    "Place",
    "Step",
    "Steps",
    "drop",
    "evaluate",
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
    place: str | None = None
    """Of an operation that reads an attribute or an item: the one that gives its `Place`."""
    writes: str | None = None
    """Of an operation that assigns: the one that reads what this writes."""
    stores: bool = False
    """True: applied to a `Place`, it stores there what it makes of the value, and gives nothing."""


class Place:
    """Where a value is kept: one attribute, or one item, of one object."""

    __slots__ = ("get", "put")

    def __init__(self, get: Callable[[], Any], put: Callable[[Any], object]) -> None:
        self.get = get
        self.put = put


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


def _attribute_place(obj: Any, name: str) -> Place:
    return Place(partial(getattr, obj, name), partial(setattr, obj, name))


def _item_place(obj: Any, key: Any) -> Place:
    return Place(partial(operator.getitem, obj, key), partial(operator.setitem, obj, key))


def _in_place(operate: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The operator as the statement `place += other` means it: read, operate, and store.

    The result of a call has no place. There it is what it is in Python, an operator like others.
    """

    def apply(obj: Any, other: Any) -> Any:
        if type(obj) is not Place:
            return operate(obj, other)
        obj.put(operate(obj.get(), other))
        return None

    return apply


def _reflected(operate: Callable[..., Any]) -> Callable[..., Any]:
    """The operator with the object as its second operand."""

    def apply(obj: Any, other: Any, *more: Any) -> Any:
        return operate(other, obj, *more)

    return apply


def _by_math(name: str) -> Callable[[Any], Any]:
    def apply(obj: Any) -> Any:
        with import_lock:
            import math  # for a faster start-up: few programs ask for these

        return getattr(math, name)(obj)

    return apply


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


BINARY: Final = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "matmul": "@",
    "truediv": "/",
    "floordiv": "//",
    "mod": "%",
    "pow": "**",
    "lshift": "<<",
    "rshift": ">>",
    "and": "&",
    "xor": "^",
    "or": "|",
}
"""The binary operators that can be reflected, and in place: Python's name for each, its symbol."""

COMPARISONS: Final = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
"""Python reflects these by one another: `1 < part` asks the part for `>`."""


def _rows_of_operators() -> Iterator[tuple[str, Operation]]:
    other = ("other",)
    for name, symbol in BINARY.items():
        operate, in_place = (getattr(operator, f"__{i}{name}__") for i in ("", "i"))
        text, swapped = f"{{obj}} {symbol} {{other}}", f"{{other}} {symbol} {{obj}}"
        yield name, Operation(text, operate, other, dunder=f"__{name}__")
        yield f"r{name}", Operation(swapped, _reflected(operate), other, dunder=f"__r{name}__")
        yield (
            f"i{name}",
            Operation(
                f"{{obj}} {symbol}= {{other}}",
                _in_place(in_place),
                other,
                dunder=f"__i{name}__",
                stores=True,
            ),
        )
    for name, symbol in COMPARISONS.items():
        compare = getattr(operator, name)
        yield name, Operation(f"{{obj}} {symbol} {{other}}", compare, other, dunder=f"__{name}__")


OPERATIONS: Final[dict[str, Operation]] = {
    "attr": Operation("{obj}.{name}", getattr, ("name",), ends=False, place="attrplace"),
    "item": Operation(
        "{obj}[{key}]", operator.getitem, ("key",), False, "__getitem__", place="itemplace"
    ),
    "attrplace": Operation("{obj}.{name}", _attribute_place, ("name",), ends=False),
    "itemplace": Operation("{obj}[{key}]", _item_place, ("key",), ends=False),
    "super": Operation("super({obj})", _super, ends=False),
    # Says that there are parts of the object among the operands behind it: see `parts`.
    PARTS[0]: Operation("{obj}", _itself, ends=False),
    "call": Operation("{obj}({args})", _call, ("args", "kwargs")),
    "passto": Operation("{func}({obj}{more_args})", _pass_to, ("func", "args", "kwargs")),
    "setattr": Operation(
        "{obj}.{name} = {value}", setattr, ("name", "value"), returns=drop, writes="attr"
    ),
    "delattr": Operation("del {obj}.{name}", delattr, ("name",), returns=drop),
    "setitem": Operation(
        "{obj}[{key}] = {value}",
        operator.setitem,
        ("key", "value"),
        dunder="__setitem__",
        returns=drop,
        writes="item",
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
    "reversed": Operation("reversed({obj})", reversed, dunder="__reversed__"),
    "format": Operation(
        "format({obj}, {spec})", format, ("spec",), dunder="__format__", returns=str
    ),
    **dict(_rows_of_operators()),
    "powmod": Operation(
        "pow({obj}, {other}, {modulo})", pow, ("other", "modulo"), dunder="__pow__"
    ),
    "rpowmod": Operation(
        "pow({other}, {obj}, {modulo})", _reflected(pow), ("other", "modulo"), dunder="__rpow__"
    ),
    "divmod": Operation("divmod({obj}, {other})", divmod, ("other",), dunder="__divmod__"),
    "rdivmod": Operation(
        "divmod({other}, {obj})", _reflected(divmod), ("other",), dunder="__rdivmod__"
    ),
    "neg": Operation("-{obj}", operator.neg, dunder="__neg__"),
    "pos": Operation("+{obj}", operator.pos, dunder="__pos__"),
    "invert": Operation("~{obj}", operator.invert, dunder="__invert__"),
    "abs": Operation("abs({obj})", abs, dunder="__abs__"),
    "round": Operation("round({obj})", round, dunder="__round__"),
    "rounddigits": Operation("round({obj}, {ndigits})", round, ("ndigits",), dunder="__round__"),
    "trunc": Operation("trunc({obj})", _by_math("trunc"), dunder="__trunc__"),
    "floor": Operation("floor({obj})", _by_math("floor"), dunder="__floor__"),
    "ceil": Operation("ceil({obj})", _by_math("ceil"), dunder="__ceil__"),
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
        if exc.obj is root and _is_raised_by_who_asks(exc):  # and not by the object's own code
            hint_at_own_name(exc)
        raise
    return obj


def _is_raised_by_who_asks(exc: BaseException) -> bool:
    traceback = exc.__traceback__
    return traceback is not None and traceback.tb_next is None


def _filled(steps: Sequence[Any], root: Any) -> Iterator[Step]:
    """The steps, each with the values of the parts among its operands when it is reached."""

    def value_of(part: Part) -> Any:
        return evaluate(part.steps, root)

    for name, *operands in steps:
        yield (name, *(replaced(one, (Part,), value_of) for one in operands))
