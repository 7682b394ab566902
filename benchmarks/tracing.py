"""What traces cost: a sync call, where nobody traces, and with a timeline or spans.

Each contender is a program of its own, with an actor of its own, and they take turns. The figure to
hold is that of a program which has traced before and does so no more, by one that never has.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any

import remoteobj
from benchmarks.call import Adder
from benchmarks.harness import compare, judge, repeated, report

CALLS = 2000
ROUNDS = 15

OFF, BEFORE = "nobody traces", "traced before, and no more"
TIMELINE, SPANS = "trace(): a timeline", "instrument(): spans"


def spans() -> Any:
    """A provider of the SDK whose spans are made, and go nowhere."""
    from opentelemetry.sdk.trace import TracerProvider  # here, so that others start-up without it

    return TracerProvider(shutdown_on_exit=False)


def program(how: str, directory: str, orders: Connection[Any, Any]) -> None:
    """Measure whenever it is told to, until it is told no more."""
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
        orders.send(None)
        while orders.recv():
            orders.send(measure())


@contextmanager
def contender(how: str, directory: str) -> Iterator[Callable[[], float]]:
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    process = context.Process(target=program, args=(how, directory, theirs))
    process.start()
    ours.recv()

    def measure() -> float:
        ours.send(True)
        return float(ours.recv())

    try:
        yield measure
    finally:
        ours.send(False)
        process.join()


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        measures = {
            how: stack.enter_context(contender(how, directory))
            for how in (OFF, BEFORE, TIMELINE, SPANS)
        }
        rivals = compare(measures, ROUNDS)
    report("One call and its answer, traced and not (fork)", rivals)
    judge("sync call when tracing is off", (rivals[1], rivals[0]), reach=1.03)


if __name__ == "__main__":
    main()
