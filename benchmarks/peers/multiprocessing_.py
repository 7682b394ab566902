"""The pool of the standard library's multiprocessing."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.peers._base import CHUNK, WORKERS, Works, many_calls, many_tasks
from benchmarks.pipelined import echo


class _Result:
    """A result of it with the name that futures have for the same."""

    def __init__(self, result: Any) -> None:
        self.result = result.get


@contextmanager
def works() -> Iterator[Works]:
    with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
        yield Works(
            tasks=many_tasks(lambda n: _Result(pool.apply_async(echo, (n,)))),
            map=many_calls(lambda items: pool.imap(echo, items, chunksize=CHUNK)),
        )
