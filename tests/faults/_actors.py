"""The actor that all the faults happen to, and what is asked of it afterwards."""

import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from remoteobj import ActorDiedError, current, remote
from remoteobj.testing import Gate
from tests.tools import Call, until

DEATH = 1.0
"""Seconds within which every caller has an outcome after a death."""
ORPHAN = 2.0
"""Seconds that an actor may outlive its owner."""


@remote
class Subject:
    """Does what is asked of it."""

    def __init__(self, cleaned: Path | None = None) -> None:
        self.cleaned = cleaned
        self.notes: list[Any] = []
        self.made = 0

    def ping(self) -> str:
        return "pong"

    def echo(self, value: Any) -> Any:
        return value

    def note(self, word: Any) -> Any:
        self.notes.append(word)
        return word

    def wait_at(self, gate: Gate) -> str:
        gate.park()
        return "waited"

    def wait_for_stop(self, gate: Gate) -> str:
        gate.arrive()
        while current().listening_:
            time.sleep(0.001)
        return "told to stop"

    def loop(self, gate: Gate, way_out: Path) -> str:
        """Compute, in Python, until a file is there."""
        gate.arrive()
        while not way_out.exists():
            pass
        return "looped"

    def hang(self, gate: Gate) -> None:
        """In a call that neither a stop nor SIGTERM ends."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        gate.park()

    def die(self, how: str) -> None:
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "segfault":
            faulthandler._sigsegv()  # type: ignore[attr-defined]
        else:
            os._exit(3)

    def throw(self, error: Callable[[], BaseException]) -> None:
        raise error()

    def lock(self) -> Any:
        return {"locks": [threading.Lock()]}

    def count(self, n: int, name: str = "count") -> Generator[int, None, None]:
        try:
            for number in range(n):
                self.made += 1
                yield number
        finally:
            self.notes.append(f"{name} was closed")

    def stop_yourself(self) -> str:
        current().stop_listen_()
        return "my last answer"

    def descriptors(self) -> int:
        return len(os.listdir("/dev/fd"))

    @remote.cleanup
    def close(self) -> None:
        if self.cleaned is not None:
            with self.cleaned.open("a") as file:
                file.write("cleaned up\n")


def parked(actor: Any, gate: Gate) -> Call:
    """A call that has begun over there, and goes on when the gate is opened."""
    call = Call(actor.wait_at, gate)
    gate.wait_for_arrival()
    return call


def is_reaped(pid: int) -> bool:
    """Whether not even a zombie is left of a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def assert_died(error: BaseException | None, code: int, executed: bool) -> ActorDiedError:
    """It is the error of a death with this exit code, negative for a signal."""
    assert type(error) is ActorDiedError, repr(error)
    assert error.exitcode == code
    assert error.signal == (signal.Signals(-code) if code < 0 else None)
    if error.signal is not None:
        assert error.signal.name in str(error)
    assert error.maybe_executed is executed
    return error


def assert_clearly_dead(actor: Any, code: int) -> None:
    """The handle says so to every further call, and its process is reaped."""
    with pytest.raises(ActorDiedError) as caught:
        actor.ping()
    assert_died(caught.value, code, executed=False)
    assert not actor.alive_
    assert actor.exitcode_ == code
    until(lambda: is_reaped(actor.pid_))
    actor.stop_()
