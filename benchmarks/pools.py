"""A pool of two workers against `ProcessPoolExecutor`: tiny tasks, maps, and arrays."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Any

import numpy as np

from benchmarks.harness import Measure, compare, judge, report
from remoteobj import options

WORKERS = 2
TOGETHER, ALONE, ITEMS, ARRAYS = 3000, 300, 20_000, 20
ARRAY_BYTES = 8_000_000
ROUNDS = 7


def tiny(n: int) -> int:
    return n


def give_back(array: Any) -> Any:
    return array


def together(executor: Executor) -> Measure:
    """The measure of one of many tasks that are submitted together."""

    def measure() -> float:
        start = time.perf_counter()
        for future in [executor.submit(tiny, n) for n in range(TOGETHER)]:
            future.result()
        return (time.perf_counter() - start) / TOGETHER

    return measure


def alone(executor: Executor) -> Measure:
    """The measure of a task that is waited for before the next one is submitted."""

    def measure() -> float:
        start = time.perf_counter()
        for n in range(ALONE):
            executor.submit(tiny, n).result()
        return (time.perf_counter() - start) / ALONE

    return measure


def mapped(run: Callable[[], Any], count: int) -> Measure:
    """The measure of a map, of which so many results are expected."""

    def measure() -> float:
        start = time.perf_counter()
        assert len(list(run())) == count
        return time.perf_counter() - start

    return measure


def main() -> None:
    context = multiprocessing.get_context("fork")
    arrays = [np.ones(ARRAY_BYTES, np.uint8)] * ARRAYS
    with (
        ProcessPoolExecutor(WORKERS, mp_context=context) as theirs,
        options(start_method="fork").pool(WORKERS) as ours,
    ):
        chunks = mapped(lambda: theirs.map(tiny, range(ITEMS), chunksize=500), ITEMS)
        works: list[tuple[str, Measure, Measure, float, str]] = [
            ("a tiny task of 3,000 together", together(ours), together(theirs), 0.30, "µs"),
            ("a tiny task alone", alone(ours), alone(theirs), 0.30, "µs"),
            (
                "a map of 20,000 tiny calls",
                mapped(lambda: ours.map(tiny, range(ITEMS)), ITEMS),
                chunks,
                0.60,
                "ms",
            ),
            (
                "20 arrays of 8 MB there and back",
                mapped(lambda: ours.map(give_back, arrays), ARRAYS),
                mapped(lambda: theirs.map(give_back, arrays), ARRAYS),
                0.20,
                "ms",
            ),
        ]
        for what, mine, its, reach, unit in works:
            name = "ProcessPoolExecutor" + (", chunksize=500" if its is chunks else "")
            found = compare({"remoteobj Pool": mine, name: its}, ROUNDS)
            report(f"Pool of {WORKERS}: {what}", found, unit)
            judge(f"pool: {what}", found, reach=reach, unit=unit)


if __name__ == "__main__":
    main()
