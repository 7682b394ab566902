"""What a map over a pool gives when its pool closes or breaks, when it is interrupted, and when
several threads ask for its results."""

import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError
from pathlib import Path
from typing import Any

import pytest

from remoteobj import ActorDiedError, NotListeningError, options
from remoteobj.testing import Gate
from tests.forks import code_of, in_child
from tests.tools import Call, counted

FORK = options(start_method="fork")


def double(number: int) -> int:
    return 2 * number


def parked_once(number: int, gate: Gate | None) -> int:
    if gate is not None:
        gate.park()
    return number


def outcomes_of(results: Iterator[Any]) -> list[Any]:
    """All results, and the types of the errors among them, up to the end."""
    found: list[Any] = []
    while True:
        try:
            found.append(next(results))
        except StopIteration:
            return found
        except Exception as exc:
            found.append(type(exc))


# --- a pool that is shut down, or broken ---------------------------------------------------


@pytest.mark.parametrize("how", [{"chunksize": 10}, {"buffersize": 20}, {}], ids=str)
def test_a_map_without_an_end_gives_what_was_read_ahead_and_then_one_error(
    how: Any,
) -> None:
    read: list[int] = []

    with FORK.pool(2) as pool:
        results = pool.map(double, counted(read), **how)
    assert outcomes_of(results) == [*map(double, read), RuntimeError]
    assert read


def test_so_does_one_whose_results_come_as_they_are_done() -> None:
    with FORK.pool(2) as pool:
        results = pool.map_unordered(double, itertools.count(), buffersize=20)
    *found, last = outcomes_of(results)
    assert sorted(found) == list(range(0, 40, 2))
    assert last is RuntimeError


@pytest.mark.parametrize("size", [1, 7])
def test_each_item_of_a_map_that_is_cancelled_says_so_and_what_runs_has_its_result(
    size: int, gate: Gate
) -> None:
    gates = [gate, *[None] * 99]
    with FORK.pool(1) as pool:
        results = pool.map(parked_once, range(100), gates, chunksize=size, buffersize=3 * size)
        gate.wait_for_arrival()
        pool.shutdown(wait=False, cancel_futures=True)
        gate.open()
    expected = [*range(size), *[CancelledError] * (2 * size), RuntimeError]
    assert outcomes_of(results) == expected


class BornOnce:
    """Its constructor fails, except for the first time."""

    def __init__(self, path: str) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))

    def die_at_five(self, number: int) -> int:
        if number == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return number


def test_a_map_whose_pool_breaks_keeps_what_was_done_and_each_item_has_an_outcome(
    tmp_path: Path,
) -> None:
    with FORK.pool(1, BornOnce, str(tmp_path / "born")) as pool:
        results = pool.map(BornOnce.die_at_five, range(20), chunksize=10, buffersize=20)
        found = outcomes_of(results)
    assert found == [*range(5), ActorDiedError, *[BrokenExecutor] * 14]


def test_a_fork_has_the_results_that_were_there_and_waits_for_no_others(gate: Gate) -> None:
    with FORK.pool(2) as pool:
        there = [many(double, range(9)) for many in (pool.map, pool.map_unordered)]

    def asked() -> bool:
        found = [sorted(results) for results in there]
        return found == [list(range(0, 18, 2))] * 2 and all(map(is_refused, waited_for))

    def is_refused(results: Iterator[int]) -> bool:
        try:
            next(results)
        except NotListeningError:
            return True
        return False

    with FORK.pool(1) as pool:
        waited_for = [
            many(parked_once, range(1), [gate]) for many in (pool.map, pool.map_unordered)
        ]
        gate.wait_for_arrival()
        code = code_of(in_child(asked))
        gate.open()
        gate.open()
    assert code == 0


# --- Ctrl-C --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2])
def test_ctrl_c_while_the_input_is_read_is_raised_at_once_and_loses_no_result(size: int) -> None:
    def numbers() -> Iterator[int]:
        yield from range(3)
        signal.raise_signal(signal.SIGINT)

    with FORK.pool(1) as pool:
        results = pool.map(double, numbers(), chunksize=size, buffersize=size)
        found: list[int] = []
        with pytest.raises(KeyboardInterrupt):
            found.extend(results)
        assert [*found, *results] == [0, 2, 4]
        with pytest.raises(KeyboardInterrupt):
            pool.map(double, numbers(), buffersize=4)


# --- several who ask -----------------------------------------------------------------------


def test_several_threads_may_ask_for_the_results_of_a_map_and_each_is_given_once() -> None:
    def numbers() -> Iterator[int]:
        yield from range(5000)

    def take_all(ask: Callable[[Iterator[int]], Iterator[int]]) -> list[int]:
        return list(ask(results))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with FORK.pool(2) as pool:
            results = pool.map(double, numbers())
            asking = [Call(take_all, ask) for ask in (iter, one_by_one) * 2]
            found = [call.result() for call in asking]
    finally:
        sys.setswitchinterval(interval)
    assert sorted(itertools.chain(*found)) == list(range(0, 10_000, 2))
    assert all(sorted(one) == one for one in found)


def one_by_one(results: Iterator[int]) -> Iterator[int]:
    while (result := next(results, None)) is not None:
        yield result


def test_a_loop_over_a_map_that_was_left_is_gone_on_with() -> None:
    with FORK.pool(1) as pool:
        results = pool.map(double, range(10), chunksize=4)
        found = [next(results)]
        for result in results:
            found.append(result)
            break
        found += itertools.islice(results, 3)
        found += results
    assert found == list(range(0, 20, 2))
