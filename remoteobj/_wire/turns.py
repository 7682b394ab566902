"""One at a time, among all processes of this user: a turn that has a name.

Who has the turn holds a lock on a directory of that name, beside the directories of processes'
sockets. So the kernel ends the turn of a process that is killed, and what is left is swept up as
those are.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from .._os.directories import discard, open_directory
from .runtime_directory import open_root

__all__ = ["Turn"]


class Turn:
    """The turn of one who waits for it: each has an object of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = -1

    def take(self) -> None:
        """Wait until it is ours. Where there is no safe place for the lock, nobody waits.

        Raises:
            PermissionError: the directory above it is not this user's alone.
        """
        if (opened := open_root()) is None:
            return
        _, root = opened
        try:
            while self._lock < 0:
                # Who gives the turn up removes the directory, and a sweep may do so too.
                with contextlib.suppress(FileNotFoundError):
                    self._try(root)
        finally:
            os.close(root)

    def _try(self, root: int) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._name, 0o700, dir_fd=root)
        fd = open_directory(self._name, root)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:
                self._lock, fd = fd, -1
        finally:
            if fd >= 0:
                os.close(fd)

    def give(self) -> None:
        """It is the next one's. Harmless when done twice."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            discard(lock, self._name)
            fcntl.flock(lock, fcntl.LOCK_UN)  # a child forked meanwhile shares it
            os.close(lock)
