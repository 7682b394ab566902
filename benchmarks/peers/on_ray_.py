"""remoteobj itself, on Ray: against an actor of Ray's own in the same instance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.harness import repeated
from benchmarks.peers._base import CALLS, Adder, Works, array, array_back, stream
from benchmarks.peers.ray_ import instance
from benchmarks.pipelined import awaits, futures
from remoteobj import options


@contextmanager
def works() -> Iterator[Works]:
    with instance(), options(engine="ray").spawn(Adder) as handle:
        adder: Any = handle
        yield Works(
            call=repeated(lambda: adder.add(1), CALLS),
            futures=futures(lambda: adder.future_.add(1)),
            awaits=awaits(lambda: adder.async_.add(1)),
            stream=stream(lambda count: adder.items(count)),
            array=array(lambda ones: adder.take(ones)),
            array_back=array_back(lambda: adder.give()),
        )
