"""remoteobj itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness import repeated
from benchmarks.peers._base import (
    CALLS,
    WORKERS,
    Adder,
    Works,
    array,
    many_calls,
    many_tasks,
    stream,
)
from benchmarks.pipelined import awaits, echo, futures
from remoteobj import options, remote


@remote
class RemoteAdder(Adder):
    pass


@contextmanager
def works() -> Iterator[Works]:
    with (
        RemoteAdder.options(start_method="fork").spawn() as adder,
        options(start_method="fork").pool(WORKERS) as pool,
    ):
        yield Works(
            call=repeated(lambda: adder.add(1), CALLS),
            futures=futures(lambda: adder.future_.add(1)),
            awaits=awaits(lambda: adder.async_.add(1)),
            stream=stream(lambda count: adder.items(count)),
            array=array(lambda ones: adder.take(ones)),
            tasks=many_tasks(lambda n: pool.submit(echo, n)),
            map=many_calls(lambda items: pool.map(echo, items)),
        )
