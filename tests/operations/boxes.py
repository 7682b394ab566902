"""What operators are tried on: values of many classes, and what Python makes of them here."""

import operator
from collections.abc import Callable
from typing import Any

from remoteobj import current, remote

Operator = Callable[[Any, Any], Any]

BINARY: dict[str, Operator] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "@": operator.matmul,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<<": operator.lshift,
    ">>": operator.rshift,
    "divmod": divmod,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

IN_PLACE = ["+", "-", "*", "/", "//", "%", "**", "@", "&", "|", "^", "<<", ">>"]


def statement(text: str) -> Callable[[Any, Any, Any], None]:
    """A function that runs this statement about `obj`, `key` and `other`."""
    names: dict[str, Any] = {}
    exec(f"def do(obj, key, other):\n    {text}", names)  # one for each operator of Python
    do: Callable[[Any, Any, Any], None] = names["do"]
    return do


ON_ATTRIBUTE = {symbol: statement(f"obj.value {symbol}= other") for symbol in IN_PLACE}
ON_ITEM = {symbol: statement(f"obj[key] {symbol}= other") for symbol in IN_PLACE}


class Meters:
    """Knows other lengths, and nothing else."""

    def __init__(self, n: Any) -> None:
        self.n = n

    def __repr__(self) -> str:
        return f"{self.n} m"

    def __add__(self, other: object) -> Any:
        return ("sum", self.n, other.n) if isinstance(other, Meters) else NotImplemented

    def __matmul__(self, other: object) -> Any:
        return ("product", self.n, other.n) if isinstance(other, Meters) else NotImplemented

    def __lt__(self, other: object) -> Any:
        return self.n < other.n if isinstance(other, Meters) else NotImplemented

    def __eq__(self, other: object) -> Any:
        return self.n == other.n if isinstance(other, Meters) else NotImplemented

    def __imul__(self, other: int) -> "Meters":
        self.n *= other
        return self

    __hash__ = None  # type: ignore[assignment]


class Guest:
    """Knows how to be either operand of whatever there is."""

    def __add__(self, other: object) -> Any:
        return "guest +", bool(other)

    def __radd__(self, other: object) -> Any:
        return "+ guest", bool(other)

    def __rmatmul__(self, other: object) -> Any:
        return "@ guest", bool(other)

    def __gt__(self, other: object) -> Any:
        return "guest >", bool(other)


@remote
class Box:
    """Has one value, and items of all kinds."""

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self.d: dict[Any, Any] = {"k": 1, ("a", 1): [1]}
        self.items = [1, 2, 3]
        self.touched: list[str] = []

    @property
    def level(self) -> int:
        self.touched.append("read")
        return 5

    @level.setter
    def level(self, value: int) -> None:
        self.touched.append(f"set to {value}")

    def count(self) -> int:
        return len(self.items)

    def rows(self) -> Any:
        return self.items

    def add_at_home(self, n: int) -> Any:
        me: Any = current()
        me.value += n
        me.d["k"] += n
        me.items += [n]
        return self.value, self.d["k"], self.items, me.value == self.value, n + me.value

    def __iadd__(self, other: Any) -> "Box":
        self.items.append(other)
        return self

    def __imul__(self, other: Any) -> Any:
        return [other]

    def __sub__(self, other: Any) -> Any:
        return "difference", other

    def __rsub__(self, other: Any) -> Any:
        return "difference from", other


def look_up(proxy: Any, known: Any, answers: Any) -> None:
    """In a process of its own: whether both are the same, and hash so."""
    answers.send(({known: 1}[proxy], proxy == known, hash(proxy) == hash(known)))
