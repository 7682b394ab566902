"""A round over many actors: one call on each, then all the results; against bare workers on pipes.

A bare worker is a forked process with a pipe: to send to all of them and then receive from all is
the least that any round consists of. `each` is one call for the whole round, `future_` one for each
actor. A second table has some work in each step: it says how much of that runs side by side.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from benchmarks.harness import compare, judge, repeated, report
from remoteobj import each, remote

SIZES = 2, 4, 8
CALLS = 200
ROUNDS = 15
WORK_SECONDS = 50e-6


@remote
class Stepper:
    """An environment, say: each step does some work, and gives a number."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.total = 0
        self._seconds = seconds

    def step(self, n: int) -> int:
        if self._seconds:
            end = time.perf_counter() + self._seconds
            while time.perf_counter() < end:
                pass
        self.total += n
        return self.total


def work(connection: Any, seconds: float) -> None:
    """A bare worker, which does the same."""
    stepper = Stepper(seconds)
    while (n := connection.recv()) is not None:
        connection.send(stepper.step(n))


@contextmanager
def bare_workers(count: int, seconds: float) -> Any:
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe() for _ in range(count)]
    workers = [context.Process(target=work, args=(there, seconds)) for _, there in pipes]
    for worker in workers:
        worker.start()
    ours = [here for here, _ in pipes]
    try:
        yield ours
    finally:
        for pipe in ours:
            pipe.send(None)
        for worker in workers:
            worker.join()


def bare_round(pipes: list[Any]) -> list[int]:
    for pipe in pipes:
        pipe.send(1)
    return [pipe.recv() for pipe in pipes]


def round_of_futures(handles: list[Any]) -> list[int]:
    return [future.result() for future in [handle.future_.step(1) for handle in handles]]


def measures(count: int, seconds: float, stack: ExitStack) -> dict[str, Callable[[], float]]:
    spawner = Stepper.options(start_method="fork")
    pipes = stack.enter_context(bare_workers(count, seconds))
    # Actors of their own for each: who has seen futures goes on otherwise than who has not.
    handles = [[stack.enter_context(spawner.spawn(seconds)) for _ in range(count)] for _ in "fe"]
    by_futures, at_once = handles
    all_of_them = each(at_once)
    return {
        "mp.Pipe workers": repeated(partial(bare_round, pipes), CALLS),
        "futures": repeated(partial(round_of_futures, by_futures), CALLS),
        "each": repeated(lambda: all_of_them.step(1), CALLS),
    }


def main() -> None:
    for seconds in (0.0, WORK_SECONDS):
        for count in SIZES:
            with ExitStack() as stack:
                bare, futures, at_once = compare(measures(count, seconds, stack), ROUNDS)
            work_of = f", {seconds * 1e6:.0f} µs of work in each step" if seconds else ""
            report(f"A round over {count} actors{work_of}", [bare, futures, at_once])
            if not seconds:
                judge(f"a round of futures over {count} actors", [futures, bare], reach=1.0)
                judge(f"a round by `each` over {count} actors", [at_once, bare], reach=0.9)


if __name__ == "__main__":
    main()
