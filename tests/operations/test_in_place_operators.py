"""`part += 1` and the like: one message, and one step of the actor."""

import copy
import threading
from typing import Any

import numpy as np
import pytest

from remoteobj import NotListeningError, Proxy
from tests.internals import nothing_sent
from tests.operations.boxes import IN_PLACE, ON_ATTRIBUTE, ON_ITEM, Box, Meters
from tests.operations.homes import WIRED, Home, homes

PAIRS: list[tuple[Any, Any]] = [(7, 2), (7.5, -2), ({1, 2}, {2, 3}), ([1], [2]), ([1], 2), ("a", 3)]


@pytest.fixture
def box(home: Home) -> Any:
    return home.start(Box)


def test_each_does_to_an_attribute_and_to_an_item_what_it_does_here(box: Any) -> None:
    for left, right in PAIRS:
        for symbol in IN_PLACE:
            here = Box(copy.copy(left))
            here.d = {"k": copy.copy(left)}
            box.value, box.d = left, {"k": left}
            try:
                ON_ATTRIBUTE[symbol](here, None, right)
                ON_ITEM[symbol](here.d, "k", right)
            except TypeError as exc:
                for do, part in ((ON_ATTRIBUTE, box), (ON_ITEM, box.d)):
                    with pytest.raises(TypeError) as caught:
                        do[symbol](part, "k", right)
                    assert str(caught.value) == str(exc)
            else:
                ON_ATTRIBUTE[symbol](box, None, right)
                ON_ITEM[symbol](box.d, "k", right)
            assert (box.value.__, box.d.__) == (here.value, here.d), (left, symbol, right)


@homes("fork", "thread", "inline")
def test_threads_that_add_at_once_lose_nothing(box: Any) -> None:
    box.value = 0
    start = threading.Barrier(8)

    def add_often() -> None:
        start.wait(10)
        for n in range(1000):
            box.value += 1
            if n % 10 == 0:
                box.d["k"] += 1

    threads = [threading.Thread(target=add_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (box.value.__, box.d["k"].__) == (8000, 801)


def test_what_changes_in_place_stays_the_object_that_it_is(box: Any) -> None:
    box.passto(lambda obj: setattr(obj, "alias", obj.items))
    box.items += [4]
    box.items *= 2
    assert box.passto(lambda obj: obj.alias is obj.items)
    box.items[1:3] += [9]
    box.items[-1] -= 1
    assert box.items.__ == box.alias.__ == [1, 2, 3, 9, 4, 1, 2, 3, 3]
    box.value = Meters(2)
    box.value *= 3
    assert box.value == Meters(6)


def test_items_of_any_key_are_changed(box: Any) -> None:
    box.d["a", 1] += [2]
    box.d.setdefault("n", {"m": [5]}, _proxy=True)["m"][0] += 1
    box.name = "k"
    box.d[box.name] += box.count()
    box.d[box.name] += box.d["n"]["m"][0]
    box.value = np.arange(4.0)
    box.value[0] += 5
    box.value[np.array([1, 2])] *= 10
    box.value[1:, ...] += 1
    box.value *= 2
    assert box.d.__ == {"k": 1 + 3 + 6, ("a", 1): [1, 2], "n": {"m": [6]}}
    assert box.value.__.tolist() == [10, 22, 42, 8]


def test_a_property_is_read_and_set_once(box: Any) -> None:
    box.level += 2
    assert box.touched.__ == ["read", "set to 7"]


def test_one_that_fails_stores_nothing_and_raises_what_it_raises_here(box: Any) -> None:
    box.value = 5
    with pytest.raises(ZeroDivisionError):
        box.value //= 0
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        box.missing += 1
    with pytest.raises(KeyError, match="missing"):
        box.d["missing"] += 1
    assert (box.value.__, "missing" in box.d) == (5, False)
    box.d["k"] = ([1],)
    with pytest.raises(TypeError, match="does not support item assignment"):
        box.d["k"][0] += [2]
    assert box.d["k"].__ == ([1, 2],), "as in Python"


def test_a_name_for_a_part_stays_one(box: Any) -> None:
    items = box.items
    items += [4]
    assert isinstance(items, Proxy)
    assert str(items) == str(box.items)
    assert items.__ == box.items.__ == [1, 2, 3, 4]
    items += [5]
    assert items[-1].__ == 5 == len(items)
    hidden = box.attrs_("value")
    box.value = 1
    hidden += 1
    assert box.value.__ == 2


def test_a_part_that_was_changed_can_be_assigned_anywhere(box: Any, home: Home) -> None:
    other = home.start(Box)
    part = box.items
    part += [4]
    box.value = part
    assert box.passto(lambda obj: obj.value is obj.items)
    other.value = part
    box.d["k"] = part
    box.items[0] = part[-1]
    assert (other.value.__, box.d["k"].__) == ([1, 2, 3, 4], [4, 2, 3, 4])
    other.items = box.items = part
    assert other.items.__ == box.items.__ == [4, 2, 3, 4]
    here: dict[str, Any] = {"part": box.count(_proxy=True)}
    here["part"] = part
    here["part"] += [5]
    assert box.items.__ == here["part"].__ == [4, 2, 3, 4, 5]


def test_places_are_told_apart_without_comparing_keys(box: Any) -> None:
    both = np.array([0, 1])  # `==` of arrays decides nothing
    box.value = np.zeros((2, 2))
    part = box.value[both][both]
    part += 1
    box.value[np.array([0, 1])][np.array([0, 1])] = part
    box.value[both] = part
    assert box.value.__.tolist() == [[0, 0], [0, 0]]


def test_what_a_call_gives_has_no_place_to_store_to(box: Any) -> None:
    count = box.count(_proxy=True)
    count += 1
    assert count == 4
    assert type(count) is int
    rows = box.rows(_proxy=True)
    rows += [4]
    assert rows == [1, 2, 3, 4] == box.items.__


def test_a_whole_object_stays_what_it_is(box: Any) -> None:
    same = box
    same += 4
    assert same is box
    assert box.items.__ == [1, 2, 3, 4]
    with pytest.raises(TypeError, match=r"\? \*= 2 gives another object, which can't take"):
        same *= 2
    with pytest.raises(TypeError, match=r"unsupported operand type\(s\) for \|="):
        same |= 2
    assert same is box


@homes(*WIRED)
def test_through_views_that_nobody_waits_for_they_are_refused(box: Any) -> None:
    box.value = 1
    with nothing_sent():
        for name in ("future_", "async_", "cast_"):
            view = getattr(box, name)
            with pytest.raises(TypeError, match=rf"\?.value \+= 1 is not done through {name}"):
                view.value += 1
            with pytest.raises(TypeError, match=rf"\?.d\['k'\] \*= 2 .* {name}.passto\(f\)"):
                view.d["k"] *= 2
    box.with_(timeout=20).value += 1
    assert (box.value.__, box.d["k"].__) == (2, 1)


def test_where_nobody_listens_they_do_nothing() -> None:
    with pytest.raises(NotListeningError):
        Proxy(Box(5)).value += 1
    absent: Any = Proxy(Box(5), default=9)
    absent.value += 1
    assert absent.value.__ == 9


@homes("fork", "thread", "inline")
def test_at_home_they_are_done_at_once(box: Any) -> None:
    box.value = 10
    assert box.add_at_home(5) == (15, 6, [1, 2, 3, 5], True, 20)


def test_it_gives_the_part_which_is_then_assigned_to_its_place(box: Any) -> None:
    box.value = 1
    changed = box.value.__iadd__(4)
    assert str(changed) == str(box.value)
    assert box.value.__ == 5
