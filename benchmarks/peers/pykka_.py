"""Pykka: its actors are threads of this process, so an array has no way to go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pykka  # pyright: ignore[reportMissingImports]

from benchmarks.harness import repeated
from benchmarks.peers._base import CALLS, Adder, Works
from benchmarks.pipelined import awaits, futures


class PykkaAdder(Adder, pykka.ThreadingActor):  # type: ignore[misc]
    pass


@contextmanager
def works() -> Iterator[Works]:
    adder = PykkaAdder.start().proxy()
    try:
        yield Works(
            call=repeated(lambda: adder.add(1).get(), CALLS),
            futures=futures(lambda: adder.add(1), pykka.get_all),
            awaits=awaits(lambda: adder.add(1)),
        )
    finally:
        adder.stop()
