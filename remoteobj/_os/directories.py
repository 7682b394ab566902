"""Directories that are removed by the descriptor that is held, and never by their name.

A name may lead elsewhere by the time it is used: whoever may rename what lies above puts another
tree in its place. A descriptor leads to the directory that it was opened for, wherever that is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

__all__ = ["discard", "discard_unless_held", "open_directory", "unless_held"]


def open_directory(path: str, inside: int | None = None) -> int:
    """A descriptor of a directory, which must be one itself and not a link to one.

    Args:
        path: relative to `inside`, the descriptor of another directory, if that is given.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, dir_fd=inside)


@contextlib.contextmanager
def unless_held(directory: int) -> Iterator[None]:
    """The time in which nobody has a lock on a directory but this.

    Raises:
        BlockingIOError: another one has.
    """
    fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        # A child forked meanwhile shares the lock: closing would leave it held.
        fcntl.flock(directory, fcntl.LOCK_UN)


def discard_unless_held(directory: int, name: str) -> None:
    """`discard` it, if no process has a lock on it.

    Raises:
        BlockingIOError: one has.
    """
    with unless_held(directory):
        discard(directory, name)


def discard(directory: int, name: str) -> None:
    """Remove a directory with all that is in it, as far as that goes.

    Args:
        name: where it is in the one above it; if something else is there by now, that stays.
    """
    with contextlib.suppress(OSError):
        _empty(directory)
        above = open_directory("..", directory)
        try:
            there = os.stat(name, dir_fd=above, follow_symlinks=False)
            if os.path.samestat(there, os.fstat(directory)):
                os.rmdir(name, dir_fd=above)
        finally:
            os.close(above)


def _empty(directory: int) -> None:
    for name in os.listdir(directory):
        with contextlib.suppress(OSError):
            try:
                inner = open_directory(name, directory)
            except OSError:  # no directory, and so a file, a socket or a link
                os.unlink(name, dir_fd=directory)
            else:
                try:
                    _empty(inner)
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=directory)
