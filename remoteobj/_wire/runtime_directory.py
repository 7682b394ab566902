"""The directory in which this process keeps its socket files.

Each process makes one of its own, of mode 0700, below a directory that belongs to this user alone;
or, where no place is safe for that, one with a random name. It is removed when the process ends in
order. Of a process that was killed it stays behind, until the next process that starts sweeps: a
process holds a shared lock on its directory for as long as it lives, and the kernel lets go of the
lock when the process ends, however it does.

What is removed is what was locked, by its descriptor: what has its name by then may be another's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import threading
from collections.abc import Iterator
from multiprocessing import util as mp_util
from typing import Final

from .._fast_typing import NamedTuple
from .._os.directories import discard, discard_unless_held, open_directory
from .._os.lazy_import import import_lock

__all__ = [
    "RuntimeDirectory",
    "SocketDirectory",
    "bind",
    "lock_shared",
    "open_root",
    "runtime_directory",
    "sweep",
    "sweep_for_the_dead",
]

MAX_SOCKET_PATH = 103
"""Bytes in the path of a Unix socket, on the system that allows the fewest."""
NAME_OF_OURS = "remoteobj-"
"""What the names of all directories that are made elsewhere begin with."""


class SocketDirectory(NamedTuple):
    """A directory of this process for socket files, and the descriptor that locks it."""

    path: str
    lock: int


class RuntimeDirectory:
    """This process's directory for socket files; made on first use, removed at exit.

    A process that has become another user's has one more, since it can't use the former.
    """

    def __init__(self) -> None:
        self._made: dict[int, SocketDirectory] = {}
        """By user."""
        self._former: list[SocketDirectory] = []
        """Of the parents by whose forks this process began, or which are gone."""
        self._making = threading.Lock()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._making = threading.Lock()  # a thread of the parent may have held it
        self._former += self._made.values()
        self._made = {}

    def drop_parent_lock(self) -> None:
        """Let go of the directory of the parent by whose fork this process began; it is dead."""
        former, self._former = self._former, []
        for one in former:
            os.close(one.lock)

    def get(self) -> str:
        """The path of the directory, as `have` has it."""
        return self.have().path

    def have(self) -> SocketDirectory:
        """The directory, which is made if this process has none yet, or has none any more.

        Raises:
            PermissionError: the directory above it is not this user's alone.
        """
        with self._making:
            made = self._made.get(os.geteuid())
            if made is None or os.fstat(made.lock).st_nlink == 0:  # somebody has tidied up
                if made is not None:
                    self._former.append(made)
                made = self._made[os.geteuid()] = _make_directory()
                # Lowest priority: after the finalizers that stop the actors that listen here.
                mp_util.Finalize(None, self._remove, (made, os.getpid()), exitpriority=0)
            return made

    def _remove(self, made: SocketDirectory, pid: int) -> None:
        if pid != os.getpid():
            return
        self._made = {user: one for user, one in self._made.items() if one is not made}
        discard(made.lock, os.path.basename(made.path))
        with contextlib.suppress(OSError):
            os.close(made.lock)

    def locks(self) -> Iterator[int]:
        """The descriptors of all directories that this process holds."""
        return (one.lock for one in (*self._made.values(), *self._former))

    def hold(self, directory: str) -> int | None:
        """Lock a directory, of whatever process, against the sweep; the descriptor of the lock.

        None where the lock is held already: of this process's own directory, and of that of the
        parent it was forked from, since a copy of a lock holds as well as the lock.
        """
        held = any(directory == one.path for one in (*self._made.values(), *self._former))
        return None if held else lock_shared(directory)


runtime_directory: Final = RuntimeDirectory()


def bind(sock: socket.socket, path: str) -> None:
    """Bind a socket to a file, which is this user's whatever the umask is."""
    sock.bind(path)
    os.chmod(path, 0o600)


def lock_shared(path: str, inside: int | None = None) -> int:
    """Lock a process's directory against the sweep; a descriptor, whose closing unlocks it."""
    fd = open_directory(path, inside)
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


def sweep() -> None:
    """Remove the directories of processes that were killed, which nobody holds any more."""
    if (opened := open_root()) is None:
        return
    _, root = opened
    try:
        for name in os.listdir(root):
            with contextlib.suppress(OSError):
                _sweep_one(name, root)
    finally:
        os.close(root)


def _sweep_one(name: str, root: int) -> None:
    fd = open_directory(name, root)
    try:
        discard_unless_held(fd, name)
    finally:
        os.close(fd)


# --- how one is made -----------------------------------------------------------------------


def _make_directory() -> SocketDirectory:
    """A new directory, with the lock that holds it."""
    sweep()
    if (opened := open_root()) is None:
        return _make_alone()
    path, root = opened
    try:
        while True:
            name = os.urandom(4).hex()
            os.mkdir(name, 0o700, dir_fd=root)
            # Another process's sweep may come between the making and the locking.
            with contextlib.suppress(FileNotFoundError, BlockingIOError):
                _have_rights(os.path.join(path, name))
                lock = lock_shared(name, root)
                if os.fstat(lock).st_nlink:
                    return SocketDirectory(os.path.join(path, name), lock)
                os.close(lock)
    finally:
        os.close(root)


def _make_alone() -> SocketDirectory:
    """One that no other process would find: where strangers may rename it, say."""
    with import_lock:
        import tempfile  # for a faster start-up: it brings half a dozen others

    fits = _fits(os.path.join(tempfile.gettempdir(), f"{NAME_OF_OURS}01234567"))
    path = tempfile.mkdtemp(prefix=NAME_OF_OURS, dir=None if fits else "/tmp")
    _have_rights(path)
    return SocketDirectory(path, _checked(path, lock_shared(path)))


def open_root() -> tuple[str, int] | None:
    """The directory above those of all processes of this user, proved to be this user's alone; and
    a descriptor of it. None where there is no safe place for it."""
    places = (os.path.join(base, f"{NAME_OF_OURS}{os.geteuid()}") for base in _bases())
    if (path := next(filter(_fits, places), None)) is None:
        return None
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    _check(path, os.lstat(path))
    _have_rights(path)
    return path, _checked(path, open_directory(path))


def _checked(path: str, directory: int) -> int:
    """The descriptor, if what it leads to will do; else it is closed."""
    try:
        _check(path, os.fstat(directory))
    except BaseException:
        os.close(directory)
        raise
    return directory


def _check(path: str, found: os.stat_result) -> None:
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(
            f"{path} must be a directory of mode 0700 that belongs to user {os.geteuid()}; "
            "remove it, or set XDG_RUNTIME_DIR to a directory of your own"
        )


def _have_rights(path: str) -> None:
    """Give us the rights to a directory of ours that the umask has taken; never through a link."""
    if os.lstat(path).st_mode & 0o700 == 0o700:
        return
    if os.chmod in os.supports_follow_symlinks:
        os.chmod(path, 0o700, follow_symlinks=False)
        return
    # Linux. We may not read it, so that a descriptor for more than its place is not to be had.
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.chmod(f"/proc/self/fd/{fd}", 0o700)
    finally:
        os.close(fd)


def _bases() -> Iterator[str]:
    """Where a directory of ours may be: the real paths of the safe ones."""
    if _is_safe(runtime := os.environ.get("XDG_RUNTIME_DIR", "")):
        yield os.path.realpath(runtime)
    with import_lock:
        import tempfile  # for a faster start-up: it brings half a dozen others

    for base in (tempfile.gettempdir(), "/tmp"):
        if _is_safe(base):
            yield os.path.realpath(base)


def _is_safe(base: str) -> bool:
    """Whether directories can be made there, and nobody but us and root can put others in their
    place. After `su`, say, it may still be the other user's."""
    if not os.path.isabs(base) or not os.access(base, os.W_OK | os.X_OK):
        return False
    path = os.path.realpath(base)
    while _is_only_ours(path):
        if path == os.path.dirname(path):
            return True
        path = os.path.dirname(path)
    return False


def _is_only_ours(path: str) -> bool:
    """Whether nobody but us and root may rename or remove what is ours in this directory."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    others_write = found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX
    return stat.S_ISDIR(found.st_mode) and found.st_uid in (0, os.geteuid()) and not others_write


def _fits(directory: str) -> bool:
    """Whether the longest path below one of a user's directories is one that a socket can have."""
    return len(os.fsencode(directory)) + len("/01234567/01234567-01234567") <= MAX_SOCKET_PATH
