"""An array of 100 MB there and back, against `multiprocessing.Pipe` and against a bare copy."""

from __future__ import annotations

import multiprocessing
import time
from typing import Any

import numpy as np

from benchmarks.call import forked
from benchmarks.harness import Measure, compare, judge, report
from remoteobj import remote

SIZE = 100_000_000
ROUNDS = 5


@remote
class Keeper:
    """Takes arrays and gives one."""

    def __init__(self) -> None:
        self.array = np.ones(SIZE, np.uint8)

    def take(self, array: Any) -> int:
        return len(array)

    def give(self) -> Any:
        return self.array


def timed(act: Any) -> Measure:
    def measure() -> float:
        start = time.perf_counter()
        act()
        return time.perf_counter() - start

    return measure


def swallow(pipe: Any) -> None:
    while True:
        pipe.recv()
        pipe.send(None)


def main() -> None:
    array, target = np.ones(SIZE, np.uint8), np.ones(SIZE, np.uint8)
    ours, theirs = multiprocessing.Pipe()
    with (
        Keeper.options(start_method="fork").spawn() as keeper,
        ours,
        theirs,
        forked(swallow, theirs),
    ):

        def through_pipe() -> None:
            ours.send(array)
            ours.recv()

        for _ in range(4):  # until both sides have memory that they share
            keeper.take(array)
            keeper.give()
        found = compare(
            {
                "remoteobj, as argument": timed(lambda: keeper.take(array)),
                "remoteobj, as result": timed(lambda: keeper.give()),
                "multiprocessing Pipe": timed(through_pipe),
                "memcpy": timed(lambda: np.copyto(target, array)),
            },
            ROUNDS,
        )
    report("An array of 100 MB", found, "ms")
    argument, result, pipe, copy = found
    judge("100 MB array as argument", (argument, pipe), reach=round(1 / 12, 3), unit="ms")
    judge("100 MB array as result", (result, pipe), reach=round(1 / 12, 3), unit="ms")
    judge("100 MB array as argument", (argument, copy), reach=2.0, unit="ms")
    judge("100 MB array as result", (result, copy), reach=2.0, unit="ms")


if __name__ == "__main__":
    main()
