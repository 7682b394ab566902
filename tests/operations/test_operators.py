"""Operators on parts are evaluated over there, at once, and give the value."""

import asyncio
import math
import operator
import random
import threading
from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from remoteobj import NotListeningError, Proxy, UnsendableError
from tests.internals import nothing_sent
from tests.operations.boxes import BINARY, Box, Guest, Meters
from tests.operations.homes import WIRED, Home, homes

PAIRS: list[tuple[Any, Any]] = [
    (7, 2),
    (7.5, -2),
    (Decimal("7.5"), 2),
    (True, 3),
    ({1, 2}, {2, 3}),
    ([1, 2], [3]),
    ([1], 3),
    ("ab", 2),
    (b"x", b"y"),
    ({"a": 1}, {"b": 2}),
    ((1, 2), (1, 3)),
    (Meters(1), Meters(2)),
    (Meters(1), Guest()),
    (Guest(), 1),
    (None, 1),
    (2 + 1j, 2),
]


def outcome(do: Callable[..., Any], *operands: Any) -> tuple[Any, ...]:
    try:
        value = do(*operands)
    except Exception as exc:
        return type(exc), str(exc)
    return type(value), value


@pytest.fixture
def box(home: Home) -> Any:
    return home.start(Box)


def test_operators_give_what_they_give_here_in_both_orders(box: Any) -> None:
    for left, right in PAIRS:
        for symbol, operate in BINARY.items():
            here = outcome(operate, left, right)
            box.value = left
            assert outcome(operate, box.value, right) == here, (left, symbol, right)
            if symbol == "%" and isinstance(left, (str, bytes)):
                continue  # texts format whatever they are given, and ask nobody
            box.value = right
            there = outcome(operate, left, box.value)
            reflected = symbol in ("<", "<=", ">", ">=") and here[0] is TypeError
            # Python asks the right one first, and then says so in its error.
            assert there == here or (reflected and there[0] is TypeError), (left, symbol, right)


UNARY: dict[str, Callable[[Any], Any]] = {
    "-": operator.neg,
    "+": operator.pos,
    "~": operator.invert,
    "abs": abs,
    "int": int,
    "float": float,
    "complex": complex,
    "index": operator.index,
    "round": round,
    "round to one digit": lambda value: round(value, 1),
    "round to none": lambda value: round(value, None),
    "trunc": math.trunc,
    "floor": math.floor,
    "ceil": math.ceil,
    "format": lambda value: f"{value:>8}",
    "format of a number": lambda value: f"{value:.2f}",
    "in": lambda value: value in (1, 5, 2.25, Fraction(9, 4)),
    "not in": lambda value: value not in [True, None],
    "pow": lambda value: pow(value, 3, 7),
    "chain": lambda value: 1 < value <= 5,
    "sum": lambda value: sum([value, value]),
    "hex": hex,
}


def test_conversions_give_what_they_give_here(box: Any) -> None:
    for value in (5, -2.25, True, Fraction(9, 4), 10**30, "word"):
        box.value = value
        for name, convert in UNARY.items():
            here, there = outcome(convert, value), outcome(convert, box.value)
            assert there == here or there[0] is here[0] is TypeError, (name, value)


def test_match_compares_with_the_value_over_there(box: Any) -> None:
    def found(subject: Any) -> str:
        match subject:
            case 1 | 2:
                return "small"
            case math.pi:
                return "pi"
            case "word":
                return "text"
            case _:
                return "other"

    for value, expected in [(2, "small"), (math.pi, "pi"), ("word", "text"), (3, "other")]:
        box.value = value
        assert found(box.value) == found(value) == expected


def test_copies_of_mappings_and_reversed_lists_have_values(box: Any) -> None:
    def keywords(**given: Any) -> dict[str, Any]:
        return given

    box.d = {"a": 1, "b": [2]}
    copy = {"a": 1, "b": [2]}
    updated: dict[str, Any] = {}
    updated.update(box.d)
    copies = [dict(box.d), {**box.d}, keywords(**box.d), updated, OrderedDict(box.d), box.d | {}]
    assert copies == [copy] * 6
    assert {type(value) for one in copies for value in one.values()} == {int, list}
    assert list(reversed(box.items)) == [3, 2, 1]
    assert list(reversed(box.d)) == ["b", "a"]
    assert type(next(reversed(box.items))) is int
    with pytest.raises(TypeError, match="not reversible"):
        reversed(box.count(_proxy=True))


def test_items_that_a_program_asks_for_itself_stay_proxies(box: Any) -> None:
    box.d = {"a": 1, "b": [2]}
    part = box.d
    assert sorted(part.keys()) == ["a", "b"]
    assert all(isinstance(part[key], Proxy) for key in part.keys())  # noqa: SIM118
    assert all(isinstance(value, Proxy) for value in map(part.__getitem__, part.keys()))
    dict(part)
    assert isinstance(part["a"], Proxy)
    assert isinstance(random.Random(1).choice(box.items), Proxy)


def test_printing_is_local_unless_a_format_says_more(box: Any) -> None:
    box.value = 2.5
    part = box.value
    assert f"{part:.2f}" == "2.50" == format(part, ".2f")
    with nothing_sent():
        assert f"{part}" == str(part) == repr(part) == format(part)
        assert "%s" % part == str(part)  # noqa: UP031
    assert "%.1f" % part == "2.5"  # noqa: UP031
    with pytest.raises(ValueError, match=r"Invalid format specifier|Unknown format code"):
        f"{part:nonsense}"


def test_operands_travel_as_those_of_other_operations(box: Any, home: Home) -> None:
    other = home.start(Box)
    box.value, other.value = 5, 7
    assert box.value + other.value == 12
    assert other.value - box.value == 2
    assert box.value * box.value == 25
    assert box.value < other.value
    assert box.items + (more := [box.value]) == [1, 2, 3, 5]
    assert isinstance(more[0], Proxy)
    assert pow(box.value, other.value, box.items[2]) == pow(5, 7, 3)


@homes(*WIRED)
def test_an_operand_that_can_not_be_sent_is_named(box: Any) -> None:
    with pytest.raises(UnsendableError, match=r"^other\[0\] can't be sent"):
        operator.add(box.items, [threading.Lock()])
    assert box.items.__ == [1, 2, 3], "no harm was done"


def test_a_whole_object_is_asked_as_its_parts_are(box: Any) -> None:
    assert box - 1 == ("difference", 1)
    assert 1 - box == ("difference from", 1)
    with pytest.raises(TypeError, match="bad operand type for unary -: 'Box'"):
        _ = -box
    with pytest.raises(TypeError, match="unsupported format string"):
        f"{box:.2f}"


def test_the_exception_of_an_operator_is_that_of_the_value(box: Any) -> None:
    box.value = 5
    assert outcome(operator.floordiv, box.value, 0) == outcome(operator.floordiv, 5, 0)
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        _ = box.missing == 1
    assert outcome(operator.add, box.value, "x") == outcome(operator.add, 5, "x")


@homes(*WIRED)
def test_operators_through_views_give_what_calls_through_them_give(box: Any) -> None:
    box.value = 5
    futures = [box.future_.value + 1, 1 - box.future_.value, box.future_.value == 5]
    futures += [-box.future_.value, divmod(box.future_.value, 2), round(box.future_.value)]
    assert [future.result(10) for future in futures] == [6, -4, True, -5, (2, 1), 5]

    async def awaited() -> Any:
        return await (box.async_.value * 2), await (box.async_.value < 2)

    assert asyncio.run(awaited()) == (10, False)
    assert (box.cast_.value + 1, box.cast_.value == 5) == (None, None)
    assert box.with_(timeout=20).value + 1 == 6
    for view in (box.future_, box.async_, box.cast_):
        with pytest.raises(TypeError, match=r"use \w+_.passto\(format"):
            f"{view.value:.2f}"


def test_where_nobody_listens_an_operator_gives_the_default() -> None:
    with pytest.raises(NotListeningError):
        _ = Proxy(Box(5)).value + 1
    absent: Any = Proxy(Box(5), default=9)
    assert absent.value + 1 == 9
    assert (-absent.value, round(absent.value)) == (9, 9)


@homes("fork")
def test_who_copies_a_mapping_is_known_in_each_thread(box: Any) -> None:
    wrong: list[Any] = []

    def copy_often() -> None:
        for _ in range(20):
            copy = dict(box.d)
            items = [box.d[key] for key in box.d.keys()]  # noqa: SIM118
            if copy != {"k": 1, ("a", 1): [1]} or not isinstance(items[0], Proxy):
                wrong.append((copy, items))

    threads = [threading.Thread(target=copy_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
