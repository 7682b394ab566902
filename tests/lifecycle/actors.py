"""Actors that several of the lifecycle tests start, and the reasons to leave an engine out."""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from remoteobj import current, remote
from remoteobj.testing import Gate
from tests.lifecycle.programs import Diary

NO_PROCESS = {
    "thread": "is not a process of its own",
    "inline": "is not a process of its own",
}
NO_THREAD = {"inline": "has no thread besides the caller's"}


@remote
class Counter:
    """Counts."""

    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, n: int = 1) -> int:
        """Add, and say the sum."""
        self.value += n
        return self.value

    def pid(self) -> int:
        return os.getpid()


class SpawnError(Exception):
    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{code}: {why}")
        self.code = code


@remote
class Stillborn:
    def __init__(self, what: str, path: str = "") -> None:
        if what == "raise":
            raise SpawnError(7, "no camera")
        if what == "sys.exit":
            sys.exit(3)
        if what == "os._exit":
            os._exit(4)
        if what == "interrupt":
            raise KeyboardInterrupt
        if what == "fifo":
            with open(path, "rb") as never_written:
                never_written.read()

    @remote.cleanup
    def close(self) -> None:
        raise AssertionError("there is nothing to clean up: it was never made")


@remote
class Patient:
    """Waits at gates; notes what becomes of it."""

    def __init__(self, diary: Diary | None = None) -> None:
        self.diary = diary
        self.done: list[object] = []

    def wait_at(self, gate: Gate) -> str:
        gate.park()
        self.done.append("waited")
        return "waited"

    def wait_for_stop(self, gate: Gate) -> str:
        gate.arrive()
        while current().listening_:
            time.sleep(0.001)
        return "told to stop"

    def note(self, word: object) -> object:
        self.done.append(word)
        if self.diary is not None:
            self.diary.add(word)
        return word

    def die(self, how: str) -> None:
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "segfault":
            ctypes.string_at(0)
        else:
            os._exit(3)

    def hang(self, gate: Gate) -> None:
        """In a C call that a signal does not end: neither stop nor SIGTERM gets through."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        gate.park()

    @remote.cleanup
    def close(self) -> None:
        if self.diary is not None:
            self.diary.add("cleanup")


@remote
class Worker:
    """Has a loop of its own; `how` says what becomes of it."""

    def __init__(self, how: str, gate: Gate | None = None, diary: Diary | None = None) -> None:
        self.how = how
        self.gate = gate
        self.diary = diary
        self.main = 0
        self.requests: list[int] = []

    @remote.work(requests="thread")
    def loop(self) -> None:
        self.main = threading.get_ident()
        if self.gate is not None:
            self.gate.park()
        if self.how == "raise":
            raise SpawnError(5, "the work failed")
        if self.how == "sys.exit":
            sys.exit(6)
        while self.how == "process" and current().listening_:
            current().process_requests(timeout=None)
        while self.how == "idle" and current().listening_:
            time.sleep(0.001)

    def where(self) -> int:
        return threading.get_ident()

    @remote.cleanup
    def close(self) -> None:
        if self.diary is not None:
            self.diary.add("cleanup")


@remote
class Plain:
    """Does what is asked, in the main thread of its process."""

    def ping(self) -> str:
        return "pong"

    def wait_at(self, gate: Gate) -> str:
        gate.park()
        return "waited"

    def echo(self, value: int) -> int:
        return value

    def one_and_more(self, gate: Gate) -> Iterator[int]:
        yield 1
        gate.park()
        yield 2

    def large(self, gate: Gate) -> Iterator[bytes]:
        yield b"x" * 1_000_000
        gate.arrive()
        while True:
            yield b"x" * 1_000_000

    def count(self) -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    def stubborn(self, gate: Gate) -> None:
        while current().listening_:
            with contextlib.suppress(BaseException):
                gate.arrive()
                time.sleep(20)

    def hard_to_pickle(self, gate: Gate) -> "HardToPickle":
        return HardToPickle(gate)

    def fork(self) -> int:
        return os.fork()


class HardToPickle:
    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def __reduce__(self) -> Any:
        self.gate.arrive()
        time.sleep(20)
        return (HardToPickle, (None,))
