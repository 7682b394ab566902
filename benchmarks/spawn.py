"""From spawn to the first answer, against a bare `multiprocessing.Process` with a pipe.

The end of the process is not part of the figures.
"""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.harness import Measure, compare, compile_package, judge, report

ROUNDS = {"fork": 40, "forkserver": 20, "spawn": 12}


class Greeter:
    """What is spawned."""

    def greet(self) -> str:
        return "hello"


def answer(pipe: Connection[Any, Any]) -> None:
    greeter = Greeter()
    pipe.send(getattr(greeter, pipe.recv())())


def bare(start_method: str) -> Measure:
    context: Any = multiprocessing.get_context(start_method)

    def measure() -> float:
        start = time.perf_counter()
        ours, theirs = context.Pipe()
        process = context.Process(target=answer, args=(theirs,))
        process.start()
        theirs.close()
        ours.send("greet")
        assert ours.recv() == "hello"
        seconds = time.perf_counter() - start
        process.join()
        ours.close()
        return seconds

    return measure


def actor(start_method: str) -> Measure:
    greeter: Any = Greeter
    spawner = greeter.options(start_method=start_method)

    def measure() -> float:
        start = time.perf_counter()
        greeter = spawner.spawn()
        assert greeter.greet() == "hello"
        seconds = time.perf_counter() - start
        greeter.stop_()
        return seconds

    return measure


def main() -> None:
    compile_package()
    # Not at the top: what spawn starts imports this module, and the bare process has no need of it.
    from remoteobj import remote

    remote(Greeter)
    for start_method in multiprocessing.get_all_start_methods():
        rivals = {
            "remoteobj actor": actor(start_method),
            "multiprocessing Process, Pipe": bare(start_method),
        }
        found = compare(rivals, ROUNDS[start_method])
        report(f"From spawn to the first answer ({start_method})", found, "ms")
        judge(f"spawn to first reply, {start_method}", found, reach=1.5, unit="ms")


if __name__ == "__main__":
    main()
