"""What makes it slow, and the cure: busy loops, large object graphs, many small things.

Nothing here is judged. The ratios are to the first of each table, which stands for no goal.
"""

from __future__ import annotations

import pickle
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.harness import Measure, compare, repeated, report
from remoteobj import remote

ROUNDS = 7
ITEMS = 1000
DICTS = 100_000
STEP_SECONDS = 100e-6
WORK_SECONDS = 1e-3
SETTLING_SECONDS = 0.05


def compute(seconds: float) -> None:
    """Hold the GIL for so long, as a computation in pure Python does."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@remote
class Adder:
    """What is called. It has no loop."""

    def __init__(self, switch_interval: float = sys.getswitchinterval()) -> None:
        sys.setswitchinterval(switch_interval)
        self.value = 0

    def add(self, n: int) -> int:
        self.value += n
        return self.value

    def add_all(self, numbers: list[int]) -> int:
        return self.add(sum(numbers))

    def take(self, values: Any) -> int:
        return len(values)

    def compute(self, seconds: float) -> None:
        compute(seconds)

    def items(self, count: int) -> Iterator[int]:
        yield from range(count)


# ------------------------------------------------------------------ a busy work loop


@remote
class Busy(Adder):
    """Computes all the time, and never asks for requests."""

    @remote.work
    def work(self) -> None:
        while self.remote.listening_:
            compute(STEP_SECONDS)


@remote
class Attentive(Adder):
    """Computes as much, but lets the requests run between two steps."""

    @remote.work
    def work(self) -> None:
        while self.remote.listening_:
            compute(STEP_SECONDS)
            self.remote.process_requests()


def calling(cls: Any, calls: int, *args: float) -> Measure:
    """On an actor that ends with the round: its loop would slow down the others' rounds."""

    def measure() -> float:
        with cls.options(start_method="fork").spawn(*args) as adder:
            time.sleep(SETTLING_SECONDS)  # else the first calls come before the loop
            adder.add(1)
            return repeated(lambda: adder.add(1), calls)()

    return measure


def loops() -> None:
    contenders = {
        "no work loop": calling(Adder, 1000),
        "busy, with process_requests()": calling(Attentive, 300),
        "busy, without": calling(Busy, 30),
        "busy, without, switch interval 0.5 ms": calling(Busy, 100, 0.5e-3),
    }
    report("A call beside a loop of pure Python", compare(contenders, ROUNDS))


# ------------------------------------------------------------------ what travels


def values(adder: Any) -> None:
    dicts = [{"number": n, "half": n / 2} for n in range(DICTS)]
    size = len(pickle.dumps(dicts, 5))
    plain, array, twice = bytes(size), np.zeros(size, np.uint8), np.zeros(2 * size, np.uint8)
    contenders = {
        f"a list of {DICTS:,} dicts": repeated(lambda: adder.take(dicts), 1),
        "as many bytes": repeated(lambda: adder.take(plain), 5),
        "an array of as many bytes": repeated(lambda: adder.take(array), 5),
        "every other item of one, twice as long": repeated(lambda: adder.take(twice[::2]), 5),
    }
    report(f"An argument of {size / 1e6:.1f} MB", compare(contenders, ROUNDS), "ms")


# ------------------------------------------------------------------ many small things


def numbers(adder: Any) -> None:
    many = range(ITEMS)

    def futures() -> None:
        for future in [adder.future_.add(n) for n in many]:
            future.result()

    contenders = {
        "a call for each": repeated(lambda: [adder.add(n) for n in many], 1),
        "a future for each": repeated(futures, 1),
        "one call with a list of them": repeated(lambda: adder.add_all(list(many)), 20),
    }
    report(f"{ITEMS:,} numbers to an actor, in all", compare(contenders, ROUNDS))


def meanwhile(adder: Any) -> None:
    """A future costs more than a call does, but it leaves this process free to work."""

    def call() -> None:
        adder.compute(WORK_SECONDS)
        compute(WORK_SECONDS)

    def future() -> None:
        begun = adder.future_.compute(WORK_SECONDS)
        compute(WORK_SECONDS)
        begun.result()

    contenders = {
        "a call, then ours": repeated(call, 50),
        "a future beside ours": repeated(future, 50),
    }
    report("Work of 1 ms there, and of 1 ms here", compare(contenders, ROUNDS), "ms")


def windows(adder: Any) -> None:
    def through(window: int) -> Measure:
        view = adder.with_(window=window)
        return repeated(lambda: sum(view.items(ITEMS)), 3)

    contenders = {f"window={window}": through(window) for window in (1, 16, 256)}
    report(f"A stream of {ITEMS:,} numbers, in all", compare(contenders, ROUNDS))


def spins() -> None:
    with (
        Adder.options(start_method="fork").spawn() as polling,
        Adder.options(start_method="fork", spin=0).spawn() as sleeping,
    ):
        contenders = {
            "as it is": repeated(lambda: polling.add(1), ITEMS),
            "spin=0": repeated(lambda: sleeping.add(1), ITEMS),
        }
        report("A call", compare(contenders, ROUNDS))


def main() -> None:
    loops()
    with Adder.options(start_method="fork").spawn() as adder:
        values(adder)
        numbers(adder)
        meanwhile(adder)
        windows(adder)
    spins()


if __name__ == "__main__":
    main()
