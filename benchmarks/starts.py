"""Starts of many actors side by side, against bare processes with a pipe each.

All are started before the first one is asked, and then all are asked, with one round of requests
and one of replies. The end of the processes is not part of the figures.
"""

from __future__ import annotations

import multiprocessing
import time
from typing import Any

from benchmarks.harness import Measure, compare, compile_package, judge, report
from benchmarks.spawn import Greeter, answer

MANY = 16
ROUNDS = {"fork": 12, "forkserver": 8, "spawn": 6}


def bare(start_method: str) -> Measure:
    context: Any = multiprocessing.get_context(start_method)

    def measure() -> float:
        start = time.perf_counter()
        processes, pipes = [], []
        for _ in range(MANY):
            ours, theirs = context.Pipe()
            process = context.Process(target=answer, args=(theirs,))
            process.start()
            theirs.close()
            processes.append(process)
            pipes.append(ours)
        for pipe in pipes:
            pipe.send("greet")
        for pipe in pipes:
            assert pipe.recv() == "hello"
        seconds = time.perf_counter() - start
        for process, pipe in zip(processes, pipes, strict=True):
            process.join()
            pipe.close()
        return seconds

    return measure


def actors(start_method: str) -> Measure:
    greeter: Any = Greeter
    spawner = greeter.options(start_method=start_method, wait=False)

    def measure() -> float:
        start = time.perf_counter()
        greeters = [spawner.spawn() for _ in range(MANY)]
        replies = [greeter.future_.greet() for greeter in greeters]
        for reply in replies:
            assert reply.result() == "hello"
        seconds = time.perf_counter() - start
        for greeter in greeters:
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
            f"{MANY} actors, wait=False": actors(start_method),
            f"{MANY} x Process, Pipe": bare(start_method),
        }
        found = compare(rivals, ROUNDS[start_method])
        report(f"From the first start to the last first answer ({start_method})", found, "ms")
        judge(f"{MANY} starts at once, {start_method}", found, reach=1.3, unit="ms")


if __name__ == "__main__":
    main()
