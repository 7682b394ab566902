"""The objects that this process serves: all that a caller needs to know of the actor's side, whose
other modules a process that only calls never imports.
"""

from __future__ import annotations

import enum
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._protocol.identity import ActorId
    from .server import Server

__all__ = ["Mode", "local_server", "local_servers"]


class Mode(enum.Enum):
    """Where requests run."""

    AUTO = enum.auto()  # in the background, until the owner first processes some itself
    BACKGROUND = enum.auto()
    MANUAL = enum.auto()


local_servers: dict[ActorId, Server] = {}
"""The servers of this process."""


def local_server(actor_id: ActorId) -> Server | None:
    """The server of this object, if the calling thread is at the object's home."""
    server = local_servers.get(actor_id)
    home = None if server is None else server.home_threads
    return server if home is None or threading.get_ident() in home else None


os.register_at_fork(after_in_child=local_servers.clear)
