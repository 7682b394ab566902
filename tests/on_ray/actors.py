"""Actors that the tests start on the cluster, and tasks of Ray that use them."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from remoteobj import current, remote
from remoteobj.testing import Gate
from tests.on_ray.bare import node_here


@remote
class Counter:
    """Counts, and says where it is."""

    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, n: int = 1) -> int:
        self.value += n
        return self.value

    def node(self) -> str:
        return node_here()

    def pid(self) -> int:
        return os.getpid()

    def rows(self, count: int) -> Iterator[int]:
        yield from range(count)

    def wait_at(self, gate: Gate) -> None:
        gate.park()

    def add_to(self, other: Any, n: int) -> int:
        result: int = other.add(n)
        return result

    def me(self) -> Any:
        return current()

    def total(self, array: Any) -> float:
        return float(array.sum())

    def ones(self, count: int) -> Any:
        return np.ones(count)


@remote
class Keeper(Counter):
    """Its value outlives its process."""

    @remote.checkpoint
    def save(self) -> int:
        return self.value

    @remote.restore
    def load(self, value: int) -> None:
        self.value = value


@remote
class Asker:
    """Has a handle of another actor from its beginning."""

    def __init__(self, other: Any) -> None:
        self.other = other

    def add(self, n: int) -> int:
        result: int = self.other.add(n)
        return result

    def node(self) -> str:
        return node_here()


class BareAsker:
    """The same, as an actor of Ray's own."""

    def __init__(self, other: Any) -> None:
        self.other = other

    def add(self, n: int) -> int:
        result: int = self.other.add(n)
        return result

    def give(self) -> Any:
        return self.other


def add_in_task(counter: Any, n: int) -> tuple[Any, int, int]:
    """For a task of Ray's: the handle that it got, an answer, and where it ran."""
    return counter, counter.add(n), os.getpid()


def use_in_task(counter: Any) -> tuple[Any, ...]:
    """For a task of Ray's: all ways to call."""
    counter.cast_.add(1)
    return (
        counter.future_.add(1).result(20),
        list(counter.rows(3)),
        counter.value.__,
        counter.passto(lambda one: one.value * 2),
    )
