"""numpy's functions take parts of remote objects as they take the values."""

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from remoteobj import Proxy, options


class Arrays:
    def __init__(self) -> None:
        self.big = np.arange(6.0).reshape(2, 3)
        self.empty = np.zeros((0, 4))
        self.zero_d = np.array(5)
        self.value = 3
        self.list = [[1, 2], [3, 4]]
        self.word = "x"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray([7, 8], dtype=dtype)

    def itself(self) -> "Arrays":
        return self


@pytest.fixture
def arrays() -> Iterator[Any]:
    handle = options(start_method="fork").spawn(Arrays)
    yield handle
    handle.stop_()


@pytest.mark.parametrize("name", ["big", "empty", "zero_d", "value", "list", "word"])
def test_a_part_becomes_what_its_value_becomes_in_one_trip(name: str, arrays: Any) -> None:
    here = np.asarray(getattr(Arrays(), name))
    done = arrays.status_().done
    there = np.asarray(getattr(arrays, name))
    assert arrays.status_().done == done + 1
    assert (there.shape, there.dtype) == (here.shape, here.dtype)
    assert np.array_equal(there, here)


def test_functions_take_parts(arrays: Any) -> None:
    big = Arrays().big
    assert np.array_equal(np.dot(arrays.big, arrays.big[0]), big @ big[0])
    assert np.array_equal(np.array([arrays.big, arrays.big]), [big, big])
    assert np.array_equal(np.array([arrays.value, 1, arrays.value]), [3, 1, 3])
    assert np.array_equal(np.concatenate([arrays.big, arrays.big]), [*big, *big])
    assert np.array_equal(np.asarray(arrays.big, dtype=int), big.astype(int))
    assert np.array_equal(np.array(arrays.big), big)
    assert np.array_equal(big + arrays.big, big * 2)
    assert np.array_equal(arrays.big + big, big * 2)
    assert np.float64(2.0) + np.asarray(arrays.value) == 5


def test_arrays_and_parts_are_operands_of_each_other(arrays: Any) -> None:
    big = Arrays().big
    for operate in (operator.add, operator.pow, operator.lt, operator.eq, operator.truediv):
        here = operate(big, big + 1)
        for there in (operate(big, arrays.big + 1), operate(arrays.big, big + 1)):
            assert np.array_equal(there, here)
            assert there.dtype == here.dtype
    assert np.array_equal(big @ arrays.big.T, arrays.big @ big.T)
    assert np.array_equal(np.array([1, 2]) + arrays.value, [4, 5])
    assert (np.array([1], np.uint8) + arrays.value).dtype == np.uint8, "as with a number"
    assert (np.float64(1) < arrays.value, np.float64(1) + arrays.value) == (True, 4)
    assert np.float64(3) == arrays.value == np.int64(3)
    assert np.array_equal(np.add(big, arrays.big, where=arrays.big > 0, out=big * 0), big * 2)
    assert np.array_equal(np.add([1, 1], arrays), [8, 9])


def test_what_is_changed_in_place_is_that_very_array(arrays: Any) -> None:
    big = Arrays().big
    here = same = big.copy()
    here += arrays.big
    assert here is same
    assert np.array_equal(here, 2 * big)
    done = arrays.status_().done
    arrays.big *= 2
    arrays.big[0] += [1, 2, 3]
    assert arrays.status_().done == done + 2
    assert np.array_equal(arrays.big, 2 * big + [[1, 2, 3], [0, 0, 0]])


def test_a_whole_object_is_asked_itself(arrays: Any) -> None:
    assert np.array_equal(np.asarray(arrays), [7, 8])
    assert np.array_equal(np.asarray(arrays, dtype=float), [7.0, 8.0])
    assert np.array_equal(np.asarray(arrays.itself()), [7, 8])


@pytest.mark.parametrize("array", [np.arange(3.0), np.array(5)], ids=["vector", "zero_d"])
def test_the_whole_object_may_be_an_array(array: Any) -> None:
    there: Any
    with options(start_method="fork").spawn(np.array, array) as there:
        found = np.asarray(there)
        assert (type(found), found.dtype) == (np.ndarray, array.dtype)
        assert np.array_equal(found, array)
        assert np.array_equal(np.asarray(there, dtype=complex), array)
        assert np.array_equal(np.ones(3) + there, 1 + array + np.zeros(3))
    with Proxy(array) as here:
        assert np.array_equal(np.ones(3) + here, 1 + array + np.zeros(3))


def test_what_can_not_be_had_is_refused(arrays: Any) -> None:
    with pytest.raises(ValueError, match="can't be had without a copy"):
        arrays.big.__array__(copy=False)
    for view in (arrays.future_, arrays.async_, arrays.cast_):
        with pytest.raises(TypeError, match="there is no array yet"):
            np.asarray(view.big)
        with pytest.raises(TypeError, match="there is no array yet"):
            np.add([1, 2, 3], view.big)
    with pytest.raises(TypeError, match="numpy can't write into a remote object"):
        np.add(1, 2, out=arrays.big)
    proxy: Any = Proxy(Arrays(), default=[1, 2])
    assert np.array_equal(np.asarray(proxy.big), [1, 2])
