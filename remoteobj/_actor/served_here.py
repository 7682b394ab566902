"""The objects that this process serves: all that a caller needs to know of the actor's side, whose
other modules a process that only calls never imports.
"""

from __future__ import annotations

import enum
import os
import threading
from typing import TYPE_CHECKING

from .._fast_typing import Protocol

if TYPE_CHECKING:
    from .._os.fork_safety import Closable
    from .._protocol.identity import ActorId
    from .._wire.channel import Channel
    from .pacing import Pacer
    from .runner import LoopDriver
    from .state_keeper import StateKeeper

__all__ = ["LocalServer", "Mode", "local_server", "local_servers"]


class Mode(enum.Enum):
    """Where requests run."""

    AUTO = enum.auto()  # in the background, until the owner first processes some itself
    BACKGROUND = enum.auto()
    MANUAL = enum.auto()


class LocalServer(Protocol):
    """What serves an object in this process, as those see it who have the object's proxy here."""

    root: object
    mode: Mode
    home_threads: set[int] | None
    """The threads that are its home; None: every thread of this process is."""
    loop_runner: LoopDriver | None
    """What drives the requests, where that is an event loop."""
    state_keeper: StateKeeper | None
    """What keeps the state of the object, if anything does."""

    @property
    def listening(self) -> bool:
        """Whether it can be called."""
        ...

    def process(self, timeout: float | None = 0.0, limit: int = ...) -> int:
        """Run the requests that have arrived, waiting up to `timeout` s for the first."""
        ...

    def stand_by(self, timeout: float | None) -> int:
        """Let the background run the requests, and wait for its stop."""
        ...

    def take_over(self) -> None:
        """Run requests in the calling thread from now on, no longer in the background."""

    def serve_to_the_end(self) -> None:
        """Run requests until it is served no more: in this thread, or wait where another does."""

    def paced(self, period: float) -> Pacer:
        """The ticks of a loop in this thread, which runs requests in between."""
        ...

    def end_with_loop(self, follower: Closable) -> None:
        """If the loop of an actor has just made this, close it once that is to end."""

    def publish(self, item: object) -> None:
        """Give an item to all who follow the object."""

    def inline_channel(self) -> Channel | None:
        """By which one follows it that has no control thread; None: it has one."""
        ...

    def report(self, exc: BaseException) -> None:
        """Tell of what failed, and nobody waits for."""

    def stop(self) -> None:
        """End: fulfil or refuse what has arrived, then close."""


local_servers: dict[ActorId, LocalServer] = {}
"""The servers of this process."""


def local_server(actor_id: ActorId) -> LocalServer | None:
    """The server of this object, if the calling thread is at the object's home."""
    server = local_servers.get(actor_id)
    home = None if server is None else server.home_threads
    return server if home is None or threading.get_ident() in home else None


os.register_at_fork(after_in_child=local_servers.clear)
