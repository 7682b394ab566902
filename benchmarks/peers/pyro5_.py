"""Pyro5: an object at the other end of a socket pair, in a forked process.

Neither futures nor arrays: its serializers know only plain types.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from Pyro5.api import Daemon, Proxy, expose  # pyright: ignore[reportMissingImports]

from benchmarks.call import forked
from benchmarks.harness import repeated
from benchmarks.peers._base import CALLS, Adder, Works, stream


def serve(sock: socket.socket) -> None:
    with Daemon(connected_socket=sock) as daemon:
        daemon.register(expose(Adder)(), "adder")
        daemon.requestLoop()


@contextmanager
def works() -> Iterator[Works]:
    ours, theirs = socket.socketpair()
    with ours, theirs, forked(serve, theirs), Proxy("adder", connected_socket=ours) as adder:
        yield Works(
            call=repeated(lambda: adder.add(1), CALLS),
            stream=stream(lambda count: adder.items(count)),
        )
