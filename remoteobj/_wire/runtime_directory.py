"""The directory in which this process keeps its socket files.

Each process makes one of its own, of mode 0700, below a directory that belongs to this user alone.
It is removed when the process ends in order. Of a process that was killed it stays behind, until
the next process that starts sweeps: a process holds a shared lock on its directory for as long as
it lives, and the kernel lets go of the lock when the process ends, however it does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
from collections.abc import Iterator
from multiprocessing import util as mp_util
from typing import Final

from .._os.guardian_main import clear, clear_unless_held
from .._os.lazy_import import import_lock

__all__ = ["RuntimeDirectory", "lock_shared", "runtime_directory", "sweep", "sweep_for_the_dead"]

MAX_SOCKET_PATH = 103
"""Bytes in the path of a Unix socket, on the system that allows the fewest."""


class RuntimeDirectory:
    """This process's directory for socket files; made on first use, removed at exit."""

    def __init__(self) -> None:
        self.pid = -1
        self.path = ""
        self.lock = -1
        self._inherited = -1
        self._making = threading.Lock()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._making = threading.Lock()  # a thread of the parent may have held it
        self._inherited = self.lock

    def drop_parent_lock(self) -> None:
        """Let go of the directory of the parent by whose fork this process began; it is dead."""
        inherited, self._inherited = self._inherited, -1
        if inherited >= 0:
            os.close(inherited)

    def get(self) -> str:
        """The path of the directory, which is made if this process has none yet.

        Raises:
            PermissionError: the directory above it is not this user's alone.
        """
        with self._making:
            if self.pid != os.getpid():
                root = sweep()
                self.path, self.lock = _make_directory(root)
                self.pid = os.getpid()
                # Lowest priority: after the finalizers that stop the actors that listen here.
                mp_util.Finalize(None, _remove, (self.path, self.lock, self.pid), exitpriority=0)
            return self.path

    def if_made(self) -> str | None:
        """The path of the directory; None if this process has none yet."""
        return self.path if self.pid == os.getpid() else None

    def hold(self, directory: str) -> int | None:
        """Lock a directory, of whatever process, against the sweep; the descriptor of the lock.

        None where the lock is held already: of this process's own directory, and of that of the
        parent it was forked from, since a copy of a lock holds as well as the lock.
        """
        return None if directory == self.path else lock_shared(directory)


runtime_directory: Final = RuntimeDirectory()


def _root() -> str:
    """The directory above those of all processes of this user, proved to be this user's alone."""
    root = next(filter(_fits, map(_root_in, _bases())))
    with contextlib.suppress(FileExistsError):
        os.mkdir(root, 0o700)
    found = os.lstat(root)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(
            f"{root} must be a directory of mode 0700 that belongs to user {os.getuid()}; "
            "remove it, or set XDG_RUNTIME_DIR to a directory of your own"
        )
    return root


def _bases() -> Iterator[str]:
    if _usable(runtime := os.environ.get("XDG_RUNTIME_DIR", "")):
        yield runtime
    with import_lock:
        import tempfile  # for a faster start-up: it brings half a dozen others

    if _usable(temporary := tempfile.gettempdir()):
        yield temporary
    yield "/tmp"


def _usable(base: str) -> bool:
    """Whether directories can be made there: after `su`, say, it may still be the other user's."""
    return os.path.isdir(base) and os.access(base, os.W_OK | os.X_OK)


def _root_in(base: str) -> str:
    return os.path.join(base, f"remoteobj-{os.getuid()}")


def _fits(root: str) -> bool:
    """Whether the longest path below it is one that a socket can have."""
    return len(os.fsencode(root)) + len("/01234567/01234567-01234567") <= MAX_SOCKET_PATH


def _make_directory(root: str) -> tuple[str, int]:
    """A new directory in `root`, and the lock that holds it."""
    while True:
        path = os.path.join(root, os.urandom(4).hex())
        os.mkdir(path, 0o700)
        # Another process's sweep may come between the making and the locking.
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            lock = lock_shared(path)
            if os.path.isdir(path):
                return path, lock
            os.close(lock)


def lock_shared(path: str) -> int:
    """Lock a process's directory against the sweep; a descriptor, whose closing unlocks it."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BaseException:
        os.close(fd)
        raise
    return fd


def sweep_for_the_dead() -> None:
    """`sweep`, in the child of a process that is dead and whose directory the child still holds."""
    runtime_directory.drop_parent_lock()
    sweep()


def sweep() -> str:
    """Remove the directories of processes that were killed, which nobody holds any more; the path
    of the directory above them."""
    root = _root()
    for name in os.listdir(root):
        with contextlib.suppress(OSError):
            clear_unless_held(os.path.join(root, name))
    return root


def _remove(path: str, lock: int, pid: int) -> None:
    if pid == os.getpid():
        clear(path)
        with contextlib.suppress(OSError):
            os.close(lock)
