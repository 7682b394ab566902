"""Values, keys, arrays and proxies arrive as what they are."""

from typing import Any

import numpy as np
import pytest

from tests.operations.homes import WIRED, homes
from tests.operations.things import Base, about


def nested(depth: int) -> Any:
    value: Any = "core"
    for i in range(depth):
        value = [value] if i % 2 else {"k": value}
    return value


VALUES: dict[str, Any] = {
    "None": None,
    "Ellipsis": ...,
    "NotImplemented": NotImplemented,
    "bool": True,
    "complex": 1j,
    "bytes": b"\0\xff",
    "text": "ünï\U0001f600\0",
    "tuple": (1, (2, ())),
    "set": {1, frozenset({2})},
    "slice": slice(1, None, 2),
    "range": range(3),
    "class": Base,
    "builtin": len,
    "5 MB": b"x" * 5_000_000,
    "5 MB text": "é" * 2_500_000,
    "bytearray": bytearray(b"abc"),
    "deep": nested(100),
    "many": list(range(100_000)),
    "huge int": 1 << 4000,
}


def test_a_value_comes_back_as_it_went(thing: Any) -> None:
    for name, value in VALUES.items():
        with about(name):
            got = thing.echo(value)
            assert type(got) is type(value)
            assert got == value
            thing.held = value
            assert thing.held.__ == value


def test_any_key_reaches_an_item(thing: Any) -> None:
    for key in [None, ..., (1, "x"), 1.5, b"k", frozenset({1}), "", True]:
        thing.items[key] = "here"
        assert thing[key].__ == thing.items[key].__ == "here"
        assert key in thing.items
        del thing.items[key]
        assert key not in thing.items


def test_exceptions_are_values_like_others(thing: Any) -> None:
    error = thing.echo(ValueError("v", 2))
    assert (type(error), error.args) == (ValueError, ("v", 2))
    [first, second] = thing.echo([KeyError("k"), SystemExit(3)])
    assert (first.args, second.code) == (("k",), 3)
    assert thing.echo(StopIteration) is StopIteration


ARRAYS: dict[str, Any] = {
    "small": np.arange(6).reshape(2, 3),
    "large": np.arange(200_000, dtype="f8"),
    "empty": np.zeros((0, 3)),
    "scalar": np.array(3),
    "not contiguous": np.arange(100_000).reshape(100, 1000)[::2, ::-3],
    "fortran": np.asfortranarray(np.arange(40_000).reshape(200, 200)),
    "objects": np.array([None, "x", {1: 2}], dtype=object),
    "structured": np.zeros(10_000, dtype=[("a", "i4"), ("b", "f8")]),
}


def test_arrays_come_back_as_they_went(thing: Any) -> None:
    for name, array in ARRAYS.items():
        with about(name):
            got = thing.echo(array)
            assert (got.dtype, got.shape) == (array.dtype, array.shape)
            assert np.array_equal(got, array)
            [again, [inner]] = thing.echo([array, [array]])
            assert np.array_equal(again, array)
            assert np.array_equal(inner, array)


def test_an_array_that_came_is_ones_own_to_change(thing: Any) -> None:
    for size in (10, 100_000):  # within the message, and outside of it
        got = thing.echo(np.zeros(size))
        got[:] = 1
        assert got.sum() == size
        assert thing.passto(lambda _, a: [a.fill(2), a.sum()][1], np.zeros(size)) == 2 * size


def test_arrays_can_be_keys_of_items(thing: Any) -> None:
    thing.array = np.arange(5)
    assert thing.array[np.array([True, False, True, False, False])].__.tolist() == [0, 2]
    assert thing.array[np.array([3, 1])].__.tolist() == [3, 1]
    thing.array[np.array([0, 1])] = 9
    assert thing.array[:3].__.tolist() == [9, 9, 2]
    assert thing.array[..., None].shape.__ == (5, 1)
    assert thing.array.sum() == 27
    assert 9 in thing.array
    with pytest.raises(ValueError, match="truth value"):
        bool(thing.array)


def test_no_change_to_a_value_here_changes_the_object_over_there(thing: Any) -> None:
    mine = [1]
    thing.kept = mine
    mine.append(2)
    got = thing.kept.__
    got.append(3)
    assert thing.kept.__ == [1]


@homes(*WIRED)
def test_a_proxy_that_is_an_argument_is_the_object_over_there(thing: Any) -> None:
    assert thing.passto(lambda obj, proxy: proxy.get_() is proxy, thing)
    assert thing.passto(lambda obj, part: part is obj.items, thing.items)
