"""An actor whose `__init__` waits at a gate, so that what happens before its birth surely does."""

import os
import signal
import threading
from typing import Any

from remoteobj import remote
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.tools import until_it_sleeps

ONE_THREAD = {"inline": "its `__init__` runs in the caller's thread, within spawn"}
ONE_PROCESS = {**ONE_THREAD, "thread": "is not a process of its own"}


class NoFilmError(Exception):
    pass


@remote
class Camera:
    """Its `__init__` waits at a gate, and then does what it is told."""

    def __init__(self, gate: Gate | None = None, then: str = "") -> None:
        if gate is not None:
            gate.park()
        if then == "raise":
            raise NoFilmError("no film")
        if then == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        self.taken: list[int] = []

    def take(self, n: int) -> list[int]:
        self.taken.append(n)
        return list(self.taken)

    def size(self, data: bytes) -> int:
        return len(data)

    def ask(self, other: Any) -> Any:
        return other.take(7)


def start(launch: Launch, *args: Any, **options: Any) -> Any:
    return Camera.options(**launch, **{"wait": False, **options}).spawn(*args)


def say_once_main_sleeps(what: object) -> None:
    """Have this printed once the main thread waits in our code, so that a signal finds it there."""

    def say() -> None:
        until_it_sleeps(threading.main_thread().ident or 0)
        print(what, flush=True)

    threading.Thread(target=say).start()
