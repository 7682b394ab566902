"""What one call costs: a handle, a `BaseManager` proxy, a bare pipe, a bare socket.

All four add a number to another in a forked process. The pipe is `multiprocessing.Pipe` with an
echo behind it. The socket is the floor: pickle at both ends and a look or two before blocking,
but no proxy, no exceptions, no second client, no death noticed.
"""

from __future__ import annotations

import multiprocessing
import pickle
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.managers import BaseManager
from typing import Any

from benchmarks.harness import compare, judge, repeated, report
from remoteobj import remote

CALLS = 2000
ROUNDS = 15
SPIN_SECONDS = 100e-6

Call = Callable[[], object]


@remote
class Adder:
    """What is called."""

    def __init__(self) -> None:
        self.value = 0

    def add(self, n: int) -> int:
        self.value += n
        return self.value


# ------------------------------------------------------------------ the contenders


@contextmanager
def handle() -> Iterator[Call]:
    with Adder.options(start_method="fork").spawn() as adder:
        yield lambda: adder.add(1)


class Manager(BaseManager):
    pass


Manager.register("Adder", Adder)


@contextmanager
def manager() -> Iterator[Call]:
    with Manager(ctx=multiprocessing.get_context("fork")) as started:
        adder: Any = started.Adder()  # type: ignore[attr-defined]
        yield lambda: adder.add(1)


@contextmanager
def forked(target: Callable[..., None], *args: Any) -> Iterator[None]:
    process = multiprocessing.get_context("fork").Process(target=target, args=args, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def echo(pipe: Connection[Any, Any]) -> None:
    while True:
        pipe.send(pipe.recv())


@contextmanager
def pipe() -> Iterator[Call]:
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs, forked(echo, theirs):

        def call() -> object:
            ours.send(("add", 1))
            return ours.recv()

        yield call


def receive(sock: socket.socket, poll: select.poll) -> Any:
    end = time.perf_counter() + SPIN_SECONDS
    while True:
        try:
            return pickle.loads(sock.recv(65536))
        except BlockingIOError:
            if time.perf_counter() > end:
                poll.poll()


def polling(sock: socket.socket) -> select.poll:
    sock.setblocking(False)
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return poll


def serve(sock: socket.socket) -> None:
    adder, poll = Adder(), polling(sock)
    while True:
        name, args = receive(sock, poll)
        sock.send(pickle.dumps(getattr(adder, name)(*args)))


@contextmanager
def bare_socket() -> Iterator[Call]:
    ours, theirs = socket.socketpair()
    with ours, theirs, forked(serve, theirs):
        poll = polling(ours)

        def call() -> object:
            ours.send(pickle.dumps(("add", (1,))))
            return receive(ours, poll)

        yield call


def main() -> None:
    contenders = {
        "remoteobj handle": handle,
        "multiprocessing BaseManager": manager,
        "multiprocessing Pipe, echo": pipe,
        "bare socket, polled, pickle": bare_socket,
    }
    with ExitStack() as stack:
        calls = {name: stack.enter_context(make()) for name, make in contenders.items()}
        measures = {name: repeated(call, CALLS) for name, call in calls.items()}
        rivals = compare(measures, ROUNDS)
    report("One call and its answer (fork)", rivals)
    ours, manager_proxy, _, bare = rivals
    judge("sync call", (ours, manager_proxy), reach=0.30)
    judge("sync call", (ours, bare), reach=1.8)


if __name__ == "__main__":
    main()
