"""What each trick of the hot path brings, alone: ``python -m benchmarks.tricks``.

Every row is one thing that the package does in an unusual way for the sake of speed, beside the
plain way. ``--write`` keeps the table for the documentation. A trick that brings nothing should go.
"""

from __future__ import annotations

import array
import asyncio
import enum
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
from _signal import getsignal  # type: ignore[import-not-found]
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from benchmarks.harness import Measure, compare, machine, repeated
from benchmarks.spawn import Greeter
from remoteobj import each, remote
from remoteobj._caller import background_io, event_loop
from remoteobj._caller.lean_future import LeanFuture
from remoteobj._os import poller
from remoteobj._os.fork_safety import fork_generation
from remoteobj._os.wakeup import OneShotEvent
from remoteobj._pickling.codec import dumps, dumps_call
from remoteobj._protocol.frames import Decoder, encode
from remoteobj._protocol.messages import Frame, Kind
from remoteobj._protocol.operations import evaluate
from remoteobj._wire.segments import SegmentPool

DOCS = Path(__file__).parents[1] / "docs"
ROUNDS = 7
TIMES = 20_000
MB = 1 << 20


class Trick(NamedTuple):
    """One row: what is done, in place of what."""

    name: str
    ours: Measure
    plain: Measure


@remote
class Counter:
    def __init__(self) -> None:
        self.value = 0

    def add(self, n: int) -> int:
        self.value += n
        return self.value


# --- the tricks ----------------------------------------------------------------------------


def often(act: Callable[[], object], times: int = TIMES) -> Measure:
    return repeated(act, times)


def values() -> Iterator[Trick]:
    call: tuple[Any, ...] = (("attr", "add"), ("call", (1,), {}))
    yield Trick(
        "a method call is sent as its name and its arguments",
        often(lambda: dumps_call(call)),
        often(lambda: dumps(call)),
    )
    yield Trick(
        "a number or a text is pickled without a search inside it",
        often(lambda: dumps(1)),
        often(lambda: dumps([1])),
    )
    number = np.int64(1)
    yield Trick(
        "a number of NumPy is pickled as the Python number that it is equal to",
        often(lambda: dumps(number)),
        often(lambda: pickle.dumps(number, 5)),
    )
    big = bytes(64 * MB)
    yield Trick(
        "64 MB of `bytes` stay outside of the pickle",
        often(lambda: dumps(big), 3),
        often(lambda: pickle.dumps(big, 5), 3),
    )
    counter = Counter()
    short, long = ("add", (1,)), call
    yield Trick(
        "this short form has its own evaluation",
        often(lambda: evaluate(short, counter)),
        often(lambda: evaluate(long, counter)),
    )


def frames() -> Iterator[Trick]:
    data = b"".join(map(bytes, encode(Frame(Kind.VALUE, 7, b"x" * 20))))
    one, many = Decoder(), Decoder()
    yield Trick(
        "a single small frame is decoded in one step",
        often(lambda: one.feed(data)),
        often(lambda: (many.feed(data[:30]), many.feed(data[30:]))),
    )
    bare = (Kind.VALUE, 7, b"x" * 20, (), b"", 0)
    yield Trick(
        "a frame to be written is a plain tuple",
        often(lambda: encode((Kind.VALUE, 7, b"x" * 20, (), b"", 0))),
        often(lambda: encode(Frame(*bare))),
    )
    kind = Kind.VALUE
    yield Trick(
        "kinds of messages are plain numbers",
        often(lambda: kind == Kind.ITEM),
        often(lambda: kind == _EnumKind.ITEM),
    )


class _EnumKind(enum.IntEnum):
    VALUE = Kind.VALUE
    ITEM = Kind.ITEM


def system(stack: ExitStack) -> Iterator[Trick]:
    reads, writes = os.pipe()
    stack.callback(os.close, reads)
    stack.callback(os.close, writes)
    left, right = (stack.enter_context(closing(one)) for one in socket.socketpair())
    message = b"x" * 60
    yield Trick(
        "small messages go through a pipe, and not through the socket beside it",
        often(lambda: (os.write(writes, message), os.read(reads, 100))),
        often(lambda: (left.send(message), right.recv(100))),
    )
    hot, all_of_them = select.poll(), select.poll()
    hot.register(right, select.POLLIN)
    for sock in (right, left, *(stack.enter_context(closing(one)) for one in socket.socketpair())):
        all_of_them.register(sock, select.POLLIN)
    yield Trick(
        "only the descriptor that an answer comes by is polled before the sleep",
        often(lambda: hot.poll(0)),
        often(lambda: all_of_them.poll(0)),
    )
    yield Trick(
        "a fork is noticed by a counter, and not by the process id",
        often(lambda: fork_generation[0] == 0),
        often(lambda: os.getpid() == 0),
    )
    yield Trick(
        "the handler of SIGPIPE is read by `_signal`",
        often(lambda: getsignal(signal.SIGPIPE)),
        often(lambda: signal.getsignal(signal.SIGPIPE)),
    )
    yield Trick(
        "a thread sleeps for a lock, and not for an `Event`", often(_one_shot), often(_event)
    )


def _one_shot() -> None:
    event = OneShotEvent()
    event.wake()
    event.wait()


def _event() -> None:
    event = threading.Event()
    event.set()
    event.wait()


def memory(stack: ExitStack) -> Iterator[Trick]:
    buffer = memoryview(array.array("b", bytes(16 * MB)))
    pool = SegmentPool(lambda number: None)
    stack.callback(pool.close)

    def again() -> None:
        put = pool.put(buffer)
        assert put is not None
        if put[1] >= 0:
            os.close(put[1])
        pool.release(put[0].segment, discard=False)

    def anew() -> None:
        fresh = SegmentPool(lambda number: None)
        put = fresh.put(buffer)
        assert put is not None
        os.close(put[1])
        fresh.close()

    yield Trick("16 MB of shared memory are used again", often(again, 5), often(anew, 5))


def calls(stack: ExitStack) -> Iterator[Trick]:
    handle = stack.enter_context(Counter.spawn())
    asleep = stack.enter_context(Counter.options(spin=0).spawn())
    timed = handle.with_(timeout=60)
    yield Trick(
        "a single call has no entry in the table of calls (a call with a time limit has one)",
        often(lambda: handle.add(1), 5_000),
        often(lambda: timed.add(1), 5_000),
    )
    yield Trick(
        "both sides poll for the answer before they sleep",
        often(lambda: handle.add(1), 2_000),
        often(lambda: asleep.add(1), 2_000),
    )
    yield Trick(
        "`handle.method` is looked up by a generated `__getattribute__`",
        often(lambda: handle.add),
        often(lambda: _PLAIN.add),
    )


def rounds(stack: ExitStack) -> Iterator[Trick]:
    spawner = Counter.options(start_method="fork")
    handles = [stack.enter_context(spawner.spawn()) for _ in range(4)]

    def by_futures() -> None:
        for future in [handle.future_.add(1) for handle in handles]:
            future.result()

    measured = often(by_futures, 500)

    def woken() -> float:
        with patch.object(background_io, "CONFIDENCE", 1 << 30):
            return measured()

    yield Trick(
        "futures over 4 actors: the I/O thread leaves the outcomes to the thread that asks",
        measured,
        woken,
    )
    yield Trick(
        "one call on 4 actors at once is one round (compared with futures)",
        often(lambda: each(handles).add(1), 500),
        measured,
    )
    with patch.object(poller, "_yield_cpu", bool):  # which a fork inherits
        greedy = [stack.enter_context(spawner.spawn()) for _ in handles]
    yield Trick(
        "an actor of a round that polls gives way to the others",
        often(lambda: each(handles).add(1), 500),
        often(lambda: each(greedy).add(1), 500),
    )


def futures() -> Iterator[Trick]:
    def plain() -> None:
        future: Future[int] = Future()
        future.set_result(1)
        future.result()

    def lean() -> None:
        future = LeanFuture()
        future.settle_alone(1, None)
        assert future._result == 1

    yield Trick("a future has no lock until something needs it", often(lean), often(plain))


def starts() -> Iterator[Trick]:
    greeters: Any = remote(Greeter)  # in a module that takes little to import

    def start(wait: bool) -> Measure:
        spawner = greeters.options(start_method="forkserver", wait=wait)

        def run() -> float:
            start = perf_counter()
            handles = [spawner.spawn() for _ in range(8)]
            each(handles).greet()
            seconds = perf_counter() - start
            for handle in handles:
                handle.stop_()
            return seconds

        return run

    yield Trick("8 actors start at the same time (by forkserver)", start(False), start(True))


class _WatchesNothing(asyncio.SelectorEventLoop):
    """An event loop that a thread has to wake."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]
        raise NotImplementedError


def awaits(stack: ExitStack) -> Iterator[Trick]:
    handle = stack.enter_context(Counter.options(start_method="fork").spawn())

    async def call_often() -> None:
        for _ in range(200):
            await handle.async_.add(1)

    def awaited(new_loop: Callable[[], Any], looks: bool) -> Measure:
        def run() -> None:
            pay = event_loop.Looks.pay if looks else lambda _: False
            with (
                patch.object(event_loop.Looks, "pay", pay),
                asyncio.Runner(loop_factory=new_loop) as runner,
            ):
                runner.run(call_often())

        once = repeated(run, 1)
        return lambda: once() / 200

    yield Trick(
        "an await looks for its outcome before its loop sleeps",
        awaited(asyncio.new_event_loop, looks=True),
        awaited(asyncio.new_event_loop, looks=False),
    )
    yield Trick(
        "an event loop reads its replies itself, and no thread wakes it",
        awaited(asyncio.new_event_loop, looks=False),
        awaited(_WatchesNothing, looks=False),
    )


class _Plain:
    """A proxy as `__getattr__` would have it."""

    def __init__(self, parent: Any, steps: tuple[Any, ...]) -> None:
        self._parent, self._steps = parent, steps

    def __getattr__(self, name: str) -> _Plain:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Plain(self, (*self._steps, ("attr", name)))


_PLAIN: Any = _Plain(None, ())


def imports() -> Iterator[Trick]:
    late = "asyncio, concurrent.futures, ctypes, hmac, logging, tempfile, cloudpickle, tblib"

    def run(code: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    yield Trick(
        "modules that few programs need are imported when they are needed",
        often(run("import remoteobj"), 1),
        often(run(f"import remoteobj, {late}"), 1),
    )


# --- the table -----------------------------------------------------------------------------


def row(trick: Trick) -> str:
    ours, plain = compare({"ours": trick.ours, "plain": trick.plain}, ROUNDS)
    saved = 1 - ours.best / plain.best
    return f"| {trick.name} | {shown(ours.best)} | {shown(plain.best)} | {saved:.0%} |"


def shown(seconds: float) -> str:
    return f"{seconds * 1e6:.3g} µs" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms"


def main() -> None:
    lines = ["| optimization | with it | without it | saves |", "| --- | --- | --- | --- |"]
    with ExitStack() as stack:
        for group in (
            values(),
            frames(),
            system(stack),
            memory(stack),
            calls(stack),
            futures(),
            rounds(stack),
            starts(),
            awaits(stack),
            imports(),
        ):
            lines += map(row, group)
    text = "\n".join(lines)
    print(f"{text}\n\n{machine()}")
    if "--write" in sys.argv:
        text = f"{text}\n\nBy `python -m benchmarks.tricks`, on {machine()}.\n"
        (DOCS / "_tricks.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
