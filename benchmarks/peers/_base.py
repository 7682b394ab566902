"""What all peers have in common: the actor, and the works that are timed on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from benchmarks.harness import Measure

__all__ = ["CALLS", "ITEMS", "Adder", "Peer", "Works", "array", "stream"]

CALLS = 300
ITEMS = 1000
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


Works = dict[str, Measure]
"""`call`, `futures`, `awaits`, `stream` and `array`: those that a peer has."""


class Peer(Protocol):
    """What the module of a peer is."""

    def works(self) -> AbstractContextManager[Works]:
        """Start an actor, and end it and all that it needed."""
        ...


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
    ones = np.ones(SIZE, np.uint8)

    def measure() -> float:
        start = time.perf_counter()
        taken = take(ones)
        seconds = time.perf_counter() - start
        assert taken == SIZE
        return seconds

    for _ in range(WARM_UPS):
        measure()
    return measure
