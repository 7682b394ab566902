"""loky: pools of processes, which call functions and have no actors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from loky import ProcessPoolExecutor, get_reusable_executor  # pyright: ignore[reportMissingImports]

from benchmarks.harness import repeated
from benchmarks.peers._base import CALLS, CHUNK, WORKERS, Works, array, many_calls, many_tasks
from benchmarks.pipelined import echo, futures


@contextmanager
def works() -> Iterator[Works]:
    executor = get_reusable_executor(max_workers=1)
    pool = ProcessPoolExecutor(WORKERS)
    try:
        yield Works(
            call=repeated(lambda: executor.submit(echo, 1).result(), CALLS),
            futures=futures(lambda: executor.submit(echo, 1)),
            array=array(lambda ones: executor.submit(len, ones).result()),
            tasks=many_tasks(lambda n: pool.submit(echo, n)),
            map=many_calls(lambda items: pool.map(echo, items, chunksize=CHUNK)),
        )
    finally:
        executor.shutdown(wait=True, kill_workers=True)
        pool.shutdown(wait=True, kill_workers=True)
