"""Whole objects are equal if they are the same one; parts are equal to what their values are."""

import copy
import multiprocessing
import operator
import pickle
from typing import Any

import pytest

from remoteobj import Proxy, UnsendableError, current, remote
from tests.internals import close_connection, nothing_sent
from tests.operations.boxes import Box, look_up
from tests.operations.homes import APART, Home, homes


@remote
class Judge:
    """Compares what it is given, in its own process."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def is_known(self, proxy: Any) -> tuple[bool, int]:
        known = proxy in self.seen
        self.seen.append(proxy)
        return known, len({*self.seen})

    def hide_own_method(self, part: Any) -> Any:
        method = self.is_me
        self.is_me = part  # type: ignore[method-assign]
        return method

    def is_me(self, proxy: Any) -> tuple[bool, bool, bool]:
        me = current()
        return proxy == me, hash(proxy) == hash(me), proxy == self


@pytest.fixture
def box(home: Home) -> Any:
    return home.start(Box)


def test_whole_objects_are_compared_and_hashed_by_which_they_are(box: Any, home: Home) -> None:
    other = home.start(Box)
    with nothing_sent():
        assert box == box.future_ == box.cast_ == box.async_ == box.with_(timeout=1)
        assert len({box, box.future_, box.with_(timeout=1)}) == 1
        assert operator.ne(box, box.future_) is operator.eq(box, other) is False
        assert box != other
        assert {box: "first", other: "second"}[other.async_] == "second"
        assert (box in [other, box], box in {other, 1}) == (True, False)
        assert box != 1
        assert box != None  # noqa: E711
        assert box != object()


@homes(*APART)
def test_copies_and_pickles_are_equal_to_what_they_are_of(box: Any) -> None:
    copies = [copy.copy(box), copy.deepcopy(box), pickle.loads(pickle.dumps(box))]
    assert {box, *copies} == {box}
    assert box == copies[0] == copies[1] == copies[2]
    for one in copies:
        close_connection(one)


@homes(*APART)
def test_in_other_processes_they_are_equal_too(box: Any, home: Home) -> None:
    judge = home.start(Judge)
    assert judge.is_known(box) == (False, 1)
    assert judge.is_known(box.future_) == (True, 1)
    assert judge.is_known(judge) == (False, 2)
    answer, answers = multiprocessing.Pipe(duplex=False)
    for method in ("fork", "spawn"):
        context: Any = multiprocessing.get_context(method)
        process = context.Process(target=look_up, args=(box, copy.copy(box), answers))
        process.start()
        assert answer.poll(20)
        assert answer.recv() == (1, True, True)
        process.join()
        process.close()
    answer.close()
    answers.close()


@homes("fork", "thread", "inline")
def test_an_actor_knows_itself(home: Home) -> None:
    judge = home.start(Judge)
    assert judge.is_me(judge) == (True, True, False)
    assert judge.is_me(home.start(Judge)) == (False, False, False)


@homes("fork")
def test_the_package_itself_compares_no_parts(home: Home, box: Any) -> None:
    judge = home.start(Judge)
    done = box.status_().done
    with pytest.raises(UnsendableError, match="no attribute of it by its name"):
        judge.hide_own_method(box.count)
    assert box.status_().done == done


def test_parts_are_compared_by_their_values(box: Any, home: Home) -> None:
    other = home.start(Box)
    box.value = other.value = 5
    assert box.value == other.value == 5
    assert box.value != other.items
    assert box.items == other.items == [1, 2, 3]
    assert (box.value in [4, 5], 5 in [4, other.value]) == (True, True)
    box.value = other
    assert box.value == other
    assert other == box.value
    assert box != box.value
    assert box.value.get_() == other


def test_parts_can_not_be_hashed(box: Any) -> None:
    for part in (box.value, box.d["k"], box.count(_proxy=True), box.super, box.future_.value):
        with pytest.raises(TypeError, match="unhashable: the part"):
            hash(part)
    with pytest.raises(TypeError, match=r"`proxy.value.__` or `remoteobj.get\(...\)`"):
        _ = box.value in {1, 2}
    with pytest.raises(TypeError, match=r"`proxy.d\['k'\].__`"):
        _ = {box.d["k"]: 1}


def test_proxies_that_nobody_serves_are_told_apart() -> None:
    obj = Box()
    first, second = Proxy(obj), Proxy(obj)
    assert first == first.future_
    assert first != second
    assert len({first, second}) == 2
