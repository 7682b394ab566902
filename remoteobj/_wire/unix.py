"""Where a listener can be reached, and how to learn that it began to listen.

A listener is a socket file in a directory of mode 0700 that belongs to this user. Whoever
creates the address decides its path, before anything listens there, so that it can be
handed to the process that will listen and to those that will call.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from multiprocessing import util as mp_util
from typing import NamedTuple

from .._os.fork_safety import close_in_child
from .._os.guardian_main import clear, clear_unless_held
from .._os.lazy_import import import_lock

__all__ = [
    "Address",
    "Doorbell",
    "Listener",
    "connect",
    "listen",
    "new_address",
    "own_directory",
    "sweep",
    "sweep_for_the_dead",
    "unlink",
]

BACKLOG = 128
MAX_SOCKET_PATH = 103
"""Bytes in the path of a Unix socket, on the system that allows the fewest."""
CONNECT_SECONDS = 5.0
"""How long a listener may take over a connection before it counts as not listening."""


class Address(NamedTuple):
    """A path and the key that opens it. Whoever has both can run code there."""

    path: str
    key: bytes

    def __repr__(self) -> str:
        return f"Address({self.path!r})"  # a key has no business in a log


# --- the directory of this process -----------------------------------------------------


class _Session:
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
        """Let go of the parent's directory: it is dead, and nobody of it needs it any more."""
        inherited, self._inherited = self._inherited, -1
        if inherited >= 0:
            os.close(inherited)

    def directory(self) -> str:
        with self._making:
            return self._directory()

    def hold(self, directory: str) -> int | None:
        """Lock it against the sweep; None where this process holds it already, or has from the
        parent that it was forked from a copy of the lock, which holds it just as well."""
        return None if directory == self.path else _lock_shared(directory)

    def _directory(self) -> str:
        if self.pid != os.getpid():
            root = sweep()
            self.path, self.lock = _make_directory(root)
            self.pid = os.getpid()
            # Lowest priority: after the finalizers that stop the actors that listen here.
            mp_util.Finalize(None, _remove, (self.path, self.lock, self.pid), exitpriority=0)
        return self.path


_session = _Session()


def _root() -> str:
    """The directory of all our sessions of this user, proved to be theirs alone."""
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
    """After `su`, say, the runtime directory may still be the other user's."""
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
        # A sweep may come between the making and the holding.
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            lock = _lock_shared(path)
            if os.path.isdir(path):
                return path, lock
            os.close(lock)


def _lock_shared(path: str) -> int:
    """Lock a session's directory against the sweep; the kernel lets go when we die."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BaseException:
        os.close(fd)
        raise
    return fd


def sweep_for_the_dead() -> None:
    """`sweep`, by the child of a process that is dead, whose directory it still holds."""
    _session.drop_parent_lock()
    sweep()


def sweep() -> str:
    """Remove the directories that nobody holds, of processes that were killed; our root."""
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


def own_directory() -> str | None:
    """The directory of this process, if it has one yet."""
    return _session.path if _session.pid == os.getpid() else None


# --- listening and connecting ----------------------------------------------------------


def new_address() -> Address:
    """A fresh address in this process's directory; nothing is there yet."""
    return Address(f"{_session.directory()}/{os.urandom(4).hex()}", os.urandom(32))


def unlink(address: Address) -> None:
    """Remove the socket file, if a listener that was killed left it."""
    with contextlib.suppress(OSError):
        os.unlink(address.path)


class Listener:
    """A listening socket at an address. Guarantee: the file is there only while it listens."""

    def __init__(self, address: Address, path: str | None = None) -> None:
        self.address = address
        self._lock = _session.hold(os.path.dirname(address.path))
        self.socket = close_in_child(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        try:
            self.socket.bind(path or address.path)
            self.socket.listen(BACKLOG)
        except BaseException:
            self.close()
            raise
        self.socket.setblocking(False)

    def close(self) -> None:
        if self.socket.fileno() >= 0:
            unlink(self.address)
            self.socket.close()
            if self._lock is not None:
                os.close(self._lock)


def listen(address: Address) -> Listener:
    """Begin to listen where others may have listened, and ring whoever waits for it.

    Raises:
        FileExistsError: another process listens there.
    """
    try:
        connect(address).close()
    except (FileNotFoundError, ConnectionRefusedError):
        pass  # as it should be
    except OSError as exc:
        raise FileExistsError(f"the listener at {address.path} does not answer") from exc
    else:
        raise FileExistsError(f"another process listens at {address.path}")
    # Bound under another name and moved: a stale file of a killed listener is replaced in one
    # step, and who finds the file finds somebody listening.
    fresh = f"{address.path}.{os.urandom(2).hex()}"
    listener = Listener(address, fresh)
    try:
        os.rename(fresh, address.path)
    except BaseException:
        listener.close()
        raise
    _ring(address)
    return listener


def connect(address: Address) -> socket.socket:
    """A socket connected to the listener, with a timeout set; OSError if there is none."""
    sock = close_in_child(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    sock.settimeout(CONNECT_SECONDS)
    deadline = time.monotonic() + CONNECT_SECONDS
    try:
        while True:
            try:
                sock.connect(address.path)
            except BlockingIOError:  # its queue is full, and there is no event for "no more"
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{address.path} takes no more callers") from None
                time.sleep(0.005)
            else:
                return sock
    except BaseException:
        sock.close()
        raise


# --- learning that somebody listens ------------------------------------------------------
# Without polling, and without a thread: who waits leaves a doorbell beside the address, then
# looks whether somebody listens; who begins to listen does so first, then rings all
# doorbells. Whichever comes second sees the other.


class Doorbell:
    """A socket file beside an address, readable once somebody began to listen there."""

    def __init__(self, address: Address) -> None:
        self._path = f"{address.path}-{os.urandom(4).hex()}"
        self._socket = close_in_child(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self._socket.bind(self._path)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> None:
        """Be silent again until somebody else begins to listen."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(1)

    def close(self) -> None:
        self._socket.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)


def _ring(address: Address) -> None:
    directory, name = os.path.split(address.path)
    for other in os.listdir(directory):
        if other.startswith(f"{name}-"):
            with (
                contextlib.suppress(OSError),
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell,
            ):
                bell.setblocking(False)
                bell.sendto(b"!", os.path.join(directory, other))
