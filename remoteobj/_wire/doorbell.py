"""How to learn that somebody has begun to listen at the path of a Unix socket.

Without polling, and without a thread. A process that waits leaves a doorbell beside the path, and
then looks whether somebody listens. A process that begins to listen does so first, and then rings
all doorbells that it finds. So whichever of the two comes second sees what the first has done.
"""

from __future__ import annotations

import contextlib
import os
import socket

from .._os.fork_safety import close_in_child
from .runtime_directory import bind

__all__ = ["Doorbell", "ring"]


class Doorbell:
    """A socket file beside a path, which becomes readable once somebody has begun to listen there:
    the `transport.ListenEvent` of Unix sockets."""

    def __init__(self, path: str) -> None:
        self._path = f"{path}-{os.urandom(4).hex()}"
        self._socket = close_in_child(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        bind(self._socket, self._path)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> None:
        """Be silent until somebody else begins to listen."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(1)

    def close(self) -> None:
        self._socket.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)


def ring(path: str) -> None:
    """Ring all doorbells beside a path."""
    directory, name = os.path.split(path)
    for other in os.listdir(directory):
        if other.startswith(f"{name}-"):
            with (
                contextlib.suppress(OSError),  # its owner has left meanwhile
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell,
            ):
                bell.setblocking(False)
                bell.sendto(b"!", os.path.join(directory, other))
