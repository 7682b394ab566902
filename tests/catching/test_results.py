"""The result that a catcher keeps beside what it caught."""

import copy
import threading
from typing import Any

import numpy as np
import pytest

from remoteobj import Except
from tests.catching.catchers import Catcher, catch


def test_a_result_is_set_read_popped_and_cleared(exc: Catcher) -> None:
    assert exc.get_result() is None
    assert exc.pop_result("none") == "none"
    for value in (None, [1], {"a": np.arange(100_000)}):
        exc.set_result(value)
        assert exc.get_result("none") is exc.get_result()
    exc.get_result()["a"][0] = 7  # not read-only
    assert exc.pop_result()["a"][:2].tolist() == [7, 1]
    assert exc.get_result("none") == "none"
    exc.set_result(None)
    assert exc.get_result("none") is None
    exc.clear_result()
    assert exc.get_result("none") == "none"


def test_clearing_exceptions_keeps_the_result_and_the_other_way_round(exc: Catcher) -> None:
    catch(exc, None, ValueError())
    exc.set_result(1)
    exc.clear()
    assert exc.get_result() == 1
    catch(exc, None, ValueError())
    exc.clear_result()
    assert len(exc) == 1


def test_a_result_that_cannot_be_sent_is_refused_and_nothing_else_is_lost(shared: Except) -> None:
    shared.set_result(1)
    with pytest.raises(TypeError, match="result"):
        shared.set_result(threading.Lock())
    assert shared.get_result() == 1


def test_of_many_that_pop_one_result_one_gets_it(shared: Except) -> None:
    others = [copy.copy(shared) for _ in range(3)]
    for round_ in range(30):
        shared.set_result(round_)
        begin = threading.Barrier(4)
        got: list[Any] = []

        def pop(one: Except, begin: Any = begin, got: list[Any] = got) -> None:
            begin.wait()
            got.append(one.pop_result())

        threads = [threading.Thread(target=pop, args=(one,)) for one in [shared, *others]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [each for each in got if each is not None] == [round_]
