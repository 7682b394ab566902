"""Many of both: one of 200 actors against one alone, and 8 client processes against one."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from benchmarks.call import Adder
from benchmarks.harness import compare, judge, repeated, report

ACTORS, CLIENTS, THREADS = 200, 8, 16
CALLS, CALLS_OF_CLIENT, FIRST_CALLS = 1000, 5000, 500
ROUNDS = 7


def actors() -> None:
    spawner = Adder.options(start_method="fork")
    with ExitStack() as stack:
        alone = stack.enter_context(spawner.spawn())
        crowd = [stack.enter_context(spawner.spawn()) for _ in range(ACTORS)]
        chosen = crowd[ACTORS // 2]
        found = compare(
            {
                "one of 200 actors": repeated(lambda: chosen.add(1), CALLS),
                "one actor": repeated(lambda: alone.add(1), CALLS),
            },
            ROUNDS,
        )
    report("One call, many actors", found)
    judge("a call on one of 200 actors", found, reach=1.3)


def call_often(adder: Any, go: Any, done: Any) -> None:
    # The first calls of a process copy the pages that it shares with the one that forked it.
    for _ in range(FIRST_CALLS):
        adder.add(1)
    done.release()
    go.acquire()
    for _ in range(CALLS_OF_CLIENT):
        adder.add(1)
    done.release()


def together(adder: Any, count: int, start: Callable[..., Any]) -> float:
    """Seconds per call, of so many clients at once."""
    context = multiprocessing.get_context("fork")
    go, done = context.Semaphore(0), context.Semaphore(0)
    clients = [start(target=call_often, args=(adder, go, done)) for _ in range(count)]
    for client in clients:
        client.start()
    for _ in clients:
        done.acquire()
    begun = time.perf_counter()
    for _ in clients:
        go.release()
    for _ in clients:
        done.acquire()
    seconds = (time.perf_counter() - begun) / (CALLS_OF_CLIENT * count)
    for client in clients:
        client.join()
    return seconds


def clients() -> None:
    process = multiprocessing.get_context("fork").Process
    with Adder.options(start_method="fork").spawn() as adder:
        found = compare(
            {
                "8 client processes": lambda: together(adder, CLIENTS, process),
                "1 client process": lambda: together(adder, 1, process),
                "16 threads of one client": lambda: together(adder, THREADS, threading.Thread),
            },
            7,
        )
    report("One call of many clients' on one actor, in sum", found)
    judge("8 clients on one actor, time per call in sum", found[:2], reach=1.0)


def main() -> None:
    actors()
    clients()


if __name__ == "__main__":
    main()
