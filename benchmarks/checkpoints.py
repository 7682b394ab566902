"""What a checkpoint costs: a call with one after it, beside a call without.

The state is a number, so that its pickle costs little.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import FIGURES, Figure, compare, repeated, report
from remoteobj import remote

CALLS = 2000
ROUNDS = 15
REACH = 5.0
NEVER = 1e9


@remote
class Adder:
    """What is called."""

    def __init__(self, value: Any = 0) -> None:
        self.value = value

    def add(self, n: int) -> Any:
        self.value += n
        return self.value

    @remote.checkpoint
    def save(self) -> Any:
        return self.value

    @remote.restore
    def load(self, value: Any) -> None:
        self.value = value


def small() -> None:
    with ExitStack() as stack:
        started = {
            name: stack.enter_context(
                Adder.options(start_method="fork", checkpoint_every=every).spawn()
            )
            for name, every in [
                ("a call", None),
                ("with a checkpoint after it", 0.0),
                ("where none is due", NEVER),
            ]
        }
        contenders = {
            name: repeated(lambda adder=adder: adder.add(1), CALLS)  # type: ignore[misc]
            for name, adder in started.items()
        }
        rivals = compare(contenders, ROUNDS)
    report("A call of an actor whose state is kept in memory", rivals)
    plain, kept, _ = (rival.best * 1e6 for rival in rivals)
    FIGURES.append(Figure("a call with a checkpoint after it", kept, "µs", REACH, "a call", plain))


def larger() -> None:
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        in_file = Adder.options(start_method="fork", checkpoint_path=Path(directory, "state"))
        array = np.zeros(100_000_000, np.uint8)
        small = stack.enter_context(in_file.spawn())
        large = stack.enter_context(Adder.options(start_method="fork").spawn(array))
        contenders = {
            "a number, to a file": repeated(small.checkpoint_, 20),
            "100 MB, to memory": repeated(large.checkpoint_, 1),
            "memcpy of these": repeated(array.copy, 1),
        }
        report("checkpoint_()", compare(contenders, 5), "ms")


def main() -> None:
    small()
    larger()


if __name__ == "__main__":
    main()
