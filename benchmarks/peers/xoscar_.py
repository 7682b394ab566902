"""Xoscar: an actor in the subprocess of a pool. It knows no call but `await`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import xoscar  # pyright: ignore[reportMissingImports]
from xoscar.backends.allocate_strategy import (  # pyright: ignore[reportMissingImports]
    ProcessIndex,
)

from benchmarks.peers._base import CALLS, ITEMS, Adder, Works, array
from benchmarks.pipelined import awaits


class XoscarAdder(Adder, xoscar.Actor):  # type: ignore[misc]
    items = xoscar.generator(Adder.items)


async def create() -> tuple[Any, Any]:
    pool = await xoscar.create_actor_pool("127.0.0.1", n_process=1)
    # Index 0 is the pool's main process, which is this one.
    place = ProcessIndex(1)
    adder = await xoscar.create_actor(
        XoscarAdder, address=pool.external_address, allocate_strategy=place
    )
    return pool, adder


async def calls(adder: Any) -> float:
    start = time.perf_counter()
    for _ in range(CALLS):
        await adder.add(1)
    return (time.perf_counter() - start) / CALLS


async def stream(adder: Any) -> float:
    items = aiter(await adder.items(ITEMS + 1))
    await anext(items)
    start = time.perf_counter()
    async for _ in items:
        pass
    return (time.perf_counter() - start) / ITEMS


@contextmanager
def works() -> Iterator[Works]:
    # What the pool has belongs to one loop, so all measures run in that one.
    with asyncio.Runner() as runner:
        run = runner.run
        pool, adder = run(create())
        try:
            yield Works(
                call=lambda: run(calls(adder)),
                awaits=awaits(lambda: adder.add(1), run),
                stream=lambda: run(stream(adder)),
                array=array(lambda ones: run(adder.take(ones))),
            )
        finally:
            run(pool.stop())
