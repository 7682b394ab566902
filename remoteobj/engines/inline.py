"""An object in the caller's own thread: it works whenever the caller waits for it.

For tests and debugging: a breakpoint in a method stops the program that called it.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import NoReturn

from .._chain import Host
from .._line import Line, line, socket_line
from .._transport import LineChannel, Traits
from .._waiter import Waiter
from ._base import Certificate, Launch, Link

__all__ = ["InlineEngine"]


class _TurningWaiter(Waiter):
    """Gives the other end its turn, in place of waiting for it."""

    def __init__(self, turn: Callable[[], None]) -> None:
        super().__init__(spin=0)
        self._turn = turn

    def wait(self, deadline: float | None = None) -> list[tuple[int, int]]:
        self._turn()
        while not (ready := self.ready()):
            if deadline is not None and time.monotonic() >= deadline:
                break
            self._turn()
        return ready


class _TurningChannel(LineChannel):
    """A channel whose other end gets its turn while this end waits."""

    prompt: bool = True

    def __init__(self, line: Line, traits: Traits, turn: Callable[[], None]) -> None:
        super().__init__(line, traits=traits, waiter=_TurningWaiter(turn))
        self._turn = turn

    def wait_to_write(
        self, or_read: bool, deadline: float | None = None, host: Host | None = None
    ) -> bool:
        self._turn()
        poll = select.poll()
        poll.register(self.writes, select.POLLOUT)
        return bool(poll.poll(0))


class InlineVessel:
    """A program that shares its owner's thread."""

    def __init__(self, launch: Launch) -> None:
        data, their_data = line()
        control, their_control = socket_line()
        self._link = Link(their_data, their_control, shared_process=True)
        self._program = launch.program
        self._name = launch.name
        self._ended = False
        turn = launch.program.begin(self._link)
        self.data: LineChannel = _TurningChannel(data, launch.traits, turn)
        self.control: LineChannel = _TurningChannel(control, launch.traits, turn)

    autonomous: bool = False

    @property
    def pid(self) -> int:
        return os.getpid()

    @property
    def alive(self) -> bool:
        return not self._ended

    @property
    def exitcode(self) -> int | None:
        return 0 if self._ended else None

    def join(self, timeout: float | None = None) -> bool:
        """End it: there is no other thread in which it could come to its end."""
        if not self._ended:
            self._ended = True
            self._program.end()
        return True

    def terminate(self) -> None:
        self.join()

    def kill(self) -> NoReturn:
        raise RuntimeError(
            f"{self._name} runs in the caller's own thread and can't be killed; "
            'use stop_(), or engine="process"'
        )

    def certificate(self) -> Certificate:
        return Certificate(self.exitcode)

    def stacks(self, seconds: float) -> NoReturn:
        raise RuntimeError(f"{self._name} runs in the caller's own thread")

    def close(self) -> None:
        self.data.close()
        self.control.close()
        self._link.control.close()


class InlineEngine:
    """Launches programs in the calling thread."""

    def launch(self, launch: Launch) -> InlineVessel:
        return InlineVessel(launch)
