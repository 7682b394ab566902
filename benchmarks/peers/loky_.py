"""loky: a pool of one process, which calls functions and has no actors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from loky import get_reusable_executor  # pyright: ignore[reportMissingImports]

from benchmarks.harness import repeated
from benchmarks.peers._base import CALLS, Works, array
from benchmarks.pipelined import echo, futures


@contextmanager
def works() -> Iterator[Works]:
    executor = get_reusable_executor(max_workers=1)
    try:
        yield Works(
            call=repeated(lambda: executor.submit(echo, 1).result(), CALLS),
            futures=futures(lambda: executor.submit(echo, 1)),
            array=array(lambda ones: executor.submit(len, ones).result()),
        )
    finally:
        executor.shutdown(wait=True, kill_workers=True)
