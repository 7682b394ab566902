"""RPyC: a service behind a TCP connection on the loopback, in a forked process.

Not a Unix socket, which holds too few small messages: it reads no answers while it sends requests,
so that both ends would wait for each other before a thousand are on their way.

No array: to send one it copies what is left of it for each 64 kB, and 64 MB take 10 s already.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rpyc  # pyright: ignore[reportMissingImports]

from benchmarks.call import forked
from benchmarks.harness import repeated
from benchmarks.peers._base import CALLS, Adder, Works, stream
from benchmarks.pipelined import futures


class RpycAdder(Adder, rpyc.Service):  # type: ignore[misc]
    pass


def connect(sock: socket.socket, service: Any) -> Any:
    # Its server sets no TCP_NODELAY, and it compresses, which pays in a network and not here.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    channel = rpyc.Channel(rpyc.SocketStream(sock), compress=False)
    return rpyc.utils.factory.connect_channel(channel, service, {"allow_public_attrs": True})


def serve(listener: socket.socket) -> None:
    connect(listener.accept()[0], RpycAdder).serve_all()


def values(results: list[Any]) -> None:
    for result in results:
        result.value


@contextmanager
def works() -> Iterator[Works]:
    with socket.create_server(("127.0.0.1", 0)) as listener, forked(serve, listener):
        sock = socket.create_connection(listener.getsockname())
        with connect(sock, rpyc.VoidService) as connection:
            adder = connection.root
            add = adder.add  # once, since this too goes to the other end and back
            future_add = rpyc.async_(add)
            yield Works(
                call=repeated(lambda: add(1), CALLS),
                futures=futures(lambda: future_add(1), values),
                stream=stream(lambda count: adder.items(count)),
            )
