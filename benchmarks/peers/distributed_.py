"""Dask: an actor on the one worker of a local cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Client, LocalCluster  # pyright: ignore[reportMissingImports]

from benchmarks.harness import repeated
from benchmarks.peers._base import CALLS, Adder, Works, array
from benchmarks.pipelined import awaits, futures

# It serves HTTP in any case, and without an address on every interface.
HTTP = "127.0.0.1:0"


@contextmanager
def cluster() -> Iterator[Any]:
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=HTTP,
        worker_dashboard_address=HTTP,
    ) as started:
        yield started


async def create(address: str) -> tuple[Any, Any]:
    client = await Client(address, asynchronous=True, set_as_default=False)
    with client.as_current():
        return client, await client.submit(Adder, actor=True)


@contextmanager
def works() -> Iterator[Works]:
    with cluster() as started, Client(started) as client, asyncio.Runner() as runner:
        adder = client.submit(Adder, actor=True).result()
        # Only an actor of a client that lives in a loop can be awaited.
        async_client, async_adder = runner.run(create(started.scheduler_address))
        try:
            yield Works(
                call=repeated(lambda: adder.add(1).result(), CALLS),
                futures=futures(lambda: adder.add(1)),
                awaits=awaits(lambda: async_adder.add(1), runner.run),
                array=array(lambda ones: adder.take(ones).result()),
            )
        finally:
            runner.run(async_client.close())
