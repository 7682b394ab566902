"""Awaits: a lone one, many at once, and the items of a stream.

Against an echo over asyncio's own streams, which is about the least that a program pays which talks
to another process from an event loop, and against the plain call in a thread.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.harness import Measure, compare, judge, report
from remoteobj import remote

CALLS = 300
AT_ONCE = 1000
ITEMS = 2000
ROUNDS = 15

_LENGTH = struct.Struct("<I")


@remote
class Adder:
    """What is called."""

    def __init__(self) -> None:
        self.value = 0

    def add(self, n: int) -> int:
        self.value += n
        return self.value

    def items(self, count: int) -> Iterator[int]:
        yield from range(count)


# ------------------------------------------------------------------ the echo


def serve_echo(sock: socket.socket) -> None:
    """Send each value back, unpickled and pickled, until the other end closes."""
    with sock, sock.makefile("rb") as file:
        while head := file.read(_LENGTH.size):
            value = pickle.loads(file.read(*_LENGTH.unpack(head)))
            sock.sendall(framed(value))


def framed(value: object) -> bytes:
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


@contextmanager
def echo_process() -> Iterator[socket.socket]:
    """The socket to a forked process that echoes."""
    ours, theirs = socket.socketpair()

    def child() -> None:
        ours.close()
        serve_echo(theirs)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    theirs.close()
    try:
        with ours:
            yield ours
    finally:
        process.join()


async def echoes(sock: socket.socket) -> float:
    reader, writer = await asyncio.open_connection(sock=sock.dup())

    async def echo(value: object) -> Any:
        writer.write(framed(value))
        head = await reader.readexactly(_LENGTH.size)
        return pickle.loads(await reader.readexactly(*_LENGTH.unpack(head)))

    try:
        return await one_by_one(lambda: echo(1))
    finally:
        writer.transport.abort()


# ------------------------------------------------------------------ ours


async def one_by_one(call: Callable[[], Awaitable[Any]]) -> float:
    """Seconds of each call, of which the next begins when the last one is over."""
    await call()
    start = time.perf_counter()
    for _ in range(CALLS):
        await call()
    return (time.perf_counter() - start) / CALLS


async def gathered(call: Callable[[], Coroutine[Any, Any, Any]]) -> float:
    start = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(AT_ONCE)))
    return (time.perf_counter() - start) / AT_ONCE


async def items(adder: Any) -> float:
    stream = await adder.async_.items(ITEMS + 1)
    await anext(stream)
    start = time.perf_counter()
    async for _ in stream:
        pass
    return (time.perf_counter() - start) / ITEMS


def run(work: Callable[[], Coroutine[Any, Any, float]]) -> Measure:
    return lambda: asyncio.run(work())


def main() -> None:
    with echo_process() as sock, Adder.options(start_method="fork").spawn() as adder:
        found = compare(
            {
                "await async_": run(lambda: one_by_one(lambda: adder.async_.add(1))),
                "echo over asyncio's streams": run(lambda: echoes(sock)),
                "asyncio.to_thread": run(
                    lambda: one_by_one(lambda: asyncio.to_thread(adder.add, 1))
                ),
                f"of {AT_ONCE} gathered": run(lambda: gathered(lambda: adder.async_.add(1))),
                "item of a stream": run(lambda: items(adder)),
            },
            ROUNDS,
        )
    report("One await", found)
    lone, echo, thread = found[:3]
    judge("a lone await", [lone, echo], reach=1.5)
    judge("a lone await, and the call in a thread", [lone, thread], reach=0.5)


if __name__ == "__main__":
    main()
