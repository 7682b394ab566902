"""Small items from a generator in another process, against a `multiprocessing.Queue`."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.harness import compare, judge, report
from remoteobj import remote

ITEMS = 5000
ROUNDS = 9


@remote
class Source:
    """Where the items come from."""

    def items(self) -> Iterator[int]:
        yield from range(ITEMS + 1)


def fill(queue: Any) -> None:
    for item in range(ITEMS + 1):
        queue.put(item)


def through_queue() -> float:
    context = multiprocessing.get_context("fork")
    queue: Any = context.Queue()
    process = context.Process(target=fill, args=(queue,))
    process.start()
    queue.get()  # it has begun
    start = time.perf_counter()
    for _ in range(ITEMS):
        queue.get()
    seconds = (time.perf_counter() - start) / ITEMS
    process.join()
    queue.close()
    queue.join_thread()
    return seconds


def through_stream(source: Any) -> float:
    stream = iter(source.items())
    next(stream)
    start = time.perf_counter()
    for _ in stream:
        pass
    return (time.perf_counter() - start) / ITEMS


def main() -> None:
    with Source.options(start_method="fork").spawn() as source:
        found = compare(
            {
                "remoteobj stream": lambda: through_stream(source),
                "multiprocessing Queue": through_queue,
            },
            ROUNDS,
        )
    report("One small item of a stream", found)
    judge("stream of small items", found, reach=0.7)


if __name__ == "__main__":
    main()
