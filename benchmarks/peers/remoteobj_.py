"""remoteobj itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness import repeated
from benchmarks.peers._base import CALLS, Adder, Works, array, stream
from benchmarks.pipelined import awaits, futures
from remoteobj import remote


@remote
class RemoteAdder(Adder):
    pass


@contextmanager
def works() -> Iterator[Works]:
    with RemoteAdder.options(start_method="fork").spawn() as adder:
        yield Works(
            call=repeated(lambda: adder.add(1), CALLS),
            futures=futures(lambda: adder.future_.add(1)),
            awaits=awaits(lambda: adder.async_.add(1)),
            stream=stream(lambda count: adder.items(count)),
            array=array(lambda ones: adder.take(ones)),
        )
