"""Ray: an actor of a local instance that has no dashboard and reports nothing."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Read when Ray is imported. The second keeps it to the loopback, on Linux too.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

import ray  # pyright: ignore[reportMissingImports]

from benchmarks.harness import repeated
from benchmarks.peers._base import CALLS, Adder, Works, array, array_back, stream
from benchmarks.pipelined import awaits, futures


@contextmanager
def instance() -> Iterator[None]:
    """Of Ray, in this interpreter; the one that is there, if there is one."""
    if ray.is_initialized():
        yield
        return
    ray.init(
        address="local",
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=10**9,
    )
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def works() -> Iterator[Works]:
    with instance():
        adder: Any = ray.remote(Adder).remote()
        items = adder.items.options(num_returns="streaming")
        yield Works(
            call=repeated(lambda: ray.get(adder.add.remote(1)), CALLS),
            futures=futures(lambda: adder.add.remote(1), ray.get),
            awaits=awaits(lambda: adder.add.remote(1)),
            stream=stream(lambda count: map(ray.get, items.remote(count))),
            array=array(lambda ones: ray.get(adder.take.remote(ones))),
            array_back=array_back(lambda: ray.get(adder.give.remote())),
        )
