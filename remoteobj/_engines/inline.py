"""An object in the caller's own thread: it works whenever the caller waits for it.

For tests and debugging: a breakpoint in a method stops the program that called it.
"""

from __future__ import annotations

import copy
import select
import time
from collections.abc import Callable
from typing import NoReturn

from .._os.poller import SpinPoller
from .._protocol.chains import ServingThread
from .._protocol.config import WireOptions
from .._wire.channel import StreamChannel
from .._wire.duplex import duplex_pair, socket_pair
from .._wire.transport import ByteStream
from .contract import LaunchSpec, OwnerLink, ProgramFailedError
from .in_process import InProcessInstance

__all__ = ["InlineChannel", "InlineEngine"]


class _InlinePoller(SpinPoller):
    """Runs the other end in place of waiting for it: no other thread would."""

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


class InlineChannel(StreamChannel):
    """A channel to an inline actor, which runs during the waits of this channel, by `turn`."""

    runs_inline: bool = True

    def __init__(
        self, stream: ByteStream, wire_options: WireOptions, turn: Callable[[], None]
    ) -> None:
        super().__init__(stream, wire_options=wire_options, poller=_InlinePoller(turn))
        self._turn = turn

    def wait_to_write(
        self, or_read: bool, deadline: float | None = None, host: ServingThread | None = None
    ) -> bool:
        self._turn()
        poll = select.poll()
        poll.register(self.writes, select.POLLOUT)
        return bool(poll.poll(0))


class InlineInstance(InProcessInstance):
    """A program that shares its owner's thread."""

    runs_by_itself: bool = False

    def __init__(self, spec: LaunchSpec) -> None:
        super().__init__(spec.name)
        data, their_data = duplex_pair()
        control, their_control = socket_pair()
        self._link = OwnerLink(their_data, their_control, shared_process=True)
        self._program = copy.copy(spec.program)
        self._ending = False
        turn = self._program.begin(self._link)
        self.data = InlineChannel(data, spec.wire_options, turn)
        self.control = InlineChannel(control, spec.wire_options, turn)

    def is_alive(self) -> bool:
        return not self._ending

    def wait(self, timeout: float | None = None) -> bool:
        """End it: there is no other thread in which it could come to its end."""
        if not self._ending:
            self._ending = True
            code, failure = 1, None
            try:
                self._program.end()
                code = 0
            except ProgramFailedError as exc:
                failure = exc
            finally:
                self.end(code, failure)
        return True

    def stacks(self, seconds: float) -> NoReturn:
        raise RuntimeError(f"{self.name} runs in the caller's own thread")

    def terminate(self) -> None:
        self.wait()

    def kill(self) -> NoReturn:
        raise RuntimeError(
            f"{self.name} runs in the caller's own thread and can't be killed; "
            'use stop_(), or engine="process"'
        )

    def release(self) -> None:
        super().release()
        self._link.control.close()


class InlineEngine:
    """Launches programs in the calling thread."""

    def launch(self, spec: LaunchSpec) -> InlineInstance:
        return InlineInstance(spec)
