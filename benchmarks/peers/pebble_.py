"""Pebble: a pool of processes, which calls functions and has no actors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pebble import ProcessPool  # pyright: ignore[reportMissingImports]

from benchmarks.peers._base import CHUNK, WORKERS, Works, many_calls, many_tasks
from benchmarks.pipelined import echo


@contextmanager
def works() -> Iterator[Works]:
    untyped: Any = ProcessPool
    with untyped(WORKERS) as pool:
        yield Works(
            tasks=many_tasks(lambda n: pool.submit(echo, None, n)),
            map=many_calls(lambda items: pool.map(echo, items, chunksize=CHUNK).result()),
        )
        pool.close()
        pool.join()
