"""An object that has something for every operation, and the operations that are tried on it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import remoteobj
from remoteobj import current, remote


class Base:
    kind = "base"

    def who(self) -> str:
        return "base"


@remote
class Thing(Base):
    """Has something for every operation."""

    kind = "thing"
    shared: list[int] = []  # noqa: RUF012  (a class attribute is what is tested)

    def __init__(self) -> None:
        self.n = 1
        self.items: dict[Any, Any] = {"a": [1, {"b": 2}]}
        self.row = [0, 1, 2, 3]
        self.leaving = False
        self.hidden = 5
        self._private = "p"

    def who(self) -> str:
        return "thing"

    def give(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    def echo(self, value: Any) -> Any:
        return value

    def chain(self) -> "Thing":
        self.n += 1
        return self

    def fail(self, error: BaseException) -> None:
        raise error

    def rows(self, count: int) -> Iterator[int]:
        yield from range(count)

    def pid(self) -> int:
        return os.getpid()

    def exit_now(self) -> None:
        os._exit(3)

    def own(self) -> Any:
        return current()

    @property
    def twice(self) -> int:
        return 2 * self.n

    @twice.setter
    def twice(self, value: int) -> None:
        self.n = value // 2

    def __len__(self) -> int:
        return 7

    def __bool__(self) -> bool:
        return bool(self.n)

    def __iter__(self) -> Iterator[str]:
        return iter(["x", "y"])

    def __contains__(self, item: object) -> bool:
        return item == "inside"

    def __getitem__(self, key: Any) -> Any:
        return self.items[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def __delitem__(self, key: Any) -> None:
        del self.items[key]


@contextmanager
def about(name: str) -> Iterator[None]:
    """Says which one of many failed."""
    try:
        yield
    except BaseException as exc:
        exc.add_note(f"about: {name}")
        raise


def double(thing: Any, plus: int = 0) -> int:
    return 2 * int(thing.hidden) + plus


def add_to_attribute(thing: Any) -> None:
    thing.n += 1


def add_to_item(thing: Any) -> None:
    thing.row[1] += 1


def add_to_slice(thing: Any) -> None:
    thing.row[:1] += [7]


def add_part(thing: Any) -> None:
    thing.row[thing.row[0]] += thing.n


OPERATIONS: dict[str, Callable[[Any], object]] = {
    "call": lambda thing: thing.items["a"].append(3),
    "get_": lambda thing: thing.items["a"][0].get_(),
    "__": lambda thing: thing.items["a"][0].__,
    "get": lambda thing: remoteobj.get(thing.items["a"]),
    "set": lambda thing: setattr(thing, "n", 2),
    "delete": lambda thing: delattr(thing, "hidden"),
    "set item": lambda thing: thing.items["a"].__setitem__(0, 1),
    "del item": lambda thing: thing.items["a"].__delitem__(0),
    "in": lambda thing: 1 in thing.items["a"],
    "len": lambda thing: len(thing.items["a"]),
    "bool": lambda thing: bool(thing.items["a"]),
    "iter": lambda thing: next(iter(thing.items["a"])),
    "passto": lambda thing: thing.items["a"].passto(len),
    "super": lambda thing: thing.super.who(),
    "operator": lambda thing: thing.row[0] + 1,
    "reflected operator": lambda thing: 1 - thing.row[0],
    "operator on two parts": lambda thing: thing.row[0] * thing.n,
    "comparison": lambda thing: thing.row[0] == 1,
    "in a tuple": lambda thing: thing.row[1] in (1, 2, 3),
    "round": lambda thing: round(thing.row[0]),
    "format": lambda thing: f"{thing.n:.2f}",
    "reversed": lambda thing: next(reversed(thing.row)),
    "+= on an attribute": add_to_attribute,
    "+= on an item": add_to_item,
    "+= on a slice": add_to_slice,
    "+= with a part": add_part,
}
