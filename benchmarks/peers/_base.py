"""What all peers have in common: the actor, and the works that are timed on it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from benchmarks.harness import Measure

__all__ = [
    "CALLS",
    "CHUNK",
    "ITEMS",
    "WORKERS",
    "Adder",
    "Peer",
    "Works",
    "array",
    "array_back",
    "many_calls",
    "many_tasks",
    "stream",
]

CALLS = 300
ITEMS = 1000
WORKERS, CHUNK = 2, 500
"""Of a pool, and for those whose maps need to be told."""
SIZE = 100_000_000
WARM_UPS = 4


class Adder:
    """What each peer runs in another process."""

    # Not set in `__init__`, which some peers want for themselves.
    value = 0

    def add(self, n: int) -> int:
        self.value += n
        return self.value

    def items(self, count: int) -> Iterator[int]:
        for n in range(count):  # noqa: UP028 - Ray sends to it, which a range can't take
            yield n

    def take(self, array: Any) -> int:
        return len(array)

    def give(self) -> Any:
        return ones()


@functools.cache
def ones() -> Any:
    """What is sent: the same one each time, whose memory is there by then."""
    return np.ones(SIZE, np.uint8)


Works = dict[str, Measure]
"""`call`, `futures`, `awaits`, `stream`, `array`, `array_back` of an actor, `tasks`, `map` of a
pool: those that a peer has."""


class Peer(Protocol):
    """What the module of a peer is."""

    def works(self) -> AbstractContextManager[Works]:
        """Start an actor, and end it and all that it needed."""
        ...


def many_tasks(submit: Callable[[int], Any]) -> Measure:
    """The measure of one of many tasks that a pool is given together."""

    def measure() -> float:
        start = time.perf_counter()
        for future in [submit(n) for n in range(ITEMS)]:
            future.result()
        return (time.perf_counter() - start) / ITEMS

    return measure


def many_calls(run: Callable[[range], Iterable[int]]) -> Measure:
    """The measure of one call of a map."""

    def measure() -> float:
        start = time.perf_counter()
        assert sum(1 for _ in run(range(10 * ITEMS))) == 10 * ITEMS
        return (time.perf_counter() - start) / (10 * ITEMS)

    return measure


def stream(items: Callable[[int], Iterable[object]]) -> Measure:
    """The measure of one item. The first is not counted: with it the stream begins."""

    def measure() -> float:
        iterator = iter(items(ITEMS + 1))
        next(iterator)
        start = time.perf_counter()
        for _ in iterator:
            pass
        return (time.perf_counter() - start) / ITEMS

    return measure


def array(take: Callable[[Any], int]) -> Measure:
    """The measure of one array, once both sides have got the memory that they keep for it."""
    return _warm(lambda: take(ones()))


def array_back(give: Callable[[], Any]) -> Measure:
    """The same of one that the actor returns; it need not be read here."""
    return _warm(lambda: len(give()))


def _warm(exchange: Callable[[], int]) -> Measure:
    def measure() -> float:
        start = time.perf_counter()
        length = exchange()
        seconds = time.perf_counter() - start
        assert length == SIZE
        return seconds

    for _ in range(WARM_UPS):
        measure()
    return measure
