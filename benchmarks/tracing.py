"""What traces cost: a sync call, where nobody traces, and with a timeline or spans.

Each measurement is a program of its own, with an actor of its own, since two programs that do the
same may differ by a tenth. The figure to hold is that of programs which have traced before and do
so no more, by those that never have: the median of so many pairs. That both run the very same
instructions is a test, in `tests/test_timelines.py`.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

import remoteobj
from benchmarks.call import Adder
from benchmarks.harness import compare, judge, repeated, report

CALLS = 2000
ROUNDS = 25

OFF, BEFORE = "nobody traces", "traced before, and no more"
TIMELINE, SPANS = "trace(): a timeline", "instrument(): spans"


def spans() -> Any:
    """A provider of the SDK whose spans are made, and go nowhere."""
    from opentelemetry.sdk.trace import TracerProvider  # here, so that others start-up without it

    return TracerProvider(shutdown_on_exit=False)


def program(how: str, directory: str, told: Connection[Any, Any]) -> None:
    """Measure once, and tell the time."""
    with ExitStack() as stack:
        adder = stack.enter_context(Adder.options(start_method="fork").spawn())
        adder.add(1)
        if how in (BEFORE, TIMELINE):
            recording = stack.enter_context(remoteobj.trace(f"{directory}/{how[0]}.json"))
            adder.add(1)
            if how == BEFORE:
                recording.stop()
        elif how == SPANS:
            stack.enter_context(remoteobj.instrument(spans(), setup=spans))
        measure = repeated(lambda: adder.add(1), CALLS)
        measure()  # to warm up
        told.send(measure())


def contender(how: str, directory: str) -> Callable[[], float]:
    context = multiprocessing.get_context("fork")

    def measure() -> float:
        ours, theirs = multiprocessing.Pipe()
        process = context.Process(target=program, args=(how, directory, theirs))
        process.start()
        found = float(ours.recv())
        process.join()
        return found

    return measure


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        measures = {how: contender(how, directory) for how in (OFF, BEFORE, TIMELINE, SPANS)}
        rivals = compare(measures, ROUNDS)
    report("One call and its answer, traced and not (fork)", rivals)
    judge("sync call when tracing is off", (rivals[1], rivals[0]), reach=1.03)


if __name__ == "__main__":
    main()
