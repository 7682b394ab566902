"""What it costs to record a call, beside a call that is not: `python -m benchmarks.recording`."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.harness import FIGURES, Figure, compare, repeated, report
from remoteobj import remote

CALLS = 2000
ROUNDS = 15
REACH = 25.0


@remote
class Adder:
    """What is called."""

    def __init__(self) -> None:
        self.value = 0

    def add(self, n: int) -> int:
        self.value += n
        return self.value

    def take(self, array: object) -> None:
        """Take an array."""


def main() -> None:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        plain = stack.enter_context(Adder.options(start_method="fork").spawn())
        recorded = stack.enter_context(Adder.options(start_method="fork", record=directory).spawn())
        rivals = compare(
            {
                "a call": repeated(lambda: plain.add(1), CALLS),
                "one that is recorded": repeated(lambda: recorded.add(1), CALLS),
            },
            ROUNDS,
        )
        report("A call of an actor whose requests are recorded", rivals)
        before, after = (rival.best * 1e6 for rival in rivals)
        FIGURES.append(Figure("a call that is recorded", after, "µs", REACH, "a call", before))
        array = np.zeros(10_000_000, np.uint8)
        contenders = {
            "10 MB, not recorded": repeated(lambda: plain.take(array), 3),
            "10 MB, recorded": repeated(lambda: recorded.take(array), 3),
            "memcpy of these": repeated(array.copy, 3),
        }
        report("A call with a large array", compare(contenders, 5), "ms")


if __name__ == "__main__":
    main()
