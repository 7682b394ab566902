"""The transport of one machine: Unix sockets, with a pipe each way beside each connection.

A location is the path of a socket file in the runtime directory of the process that made the
address. Its longest possible path fits into the address of a Unix socket.

What this transport does beyond the contract: both sides refuse a process of another user before
the challenge, and a relay by it; and the caller sends two pipes along with its proof, which then
carry the bytes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from typing import Any

from .._os.fork_safety import Closable, close_in_child, creation_lock
from .._os.sigpipe import sigpipe_blocked_if_default
from .auth import (
    ANSWER,
    CALLS,
    DIGEST,
    GREETING,
    AuthenticationError,
    Challenge,
    Key,
    answer_to,
    check_proof,
)
from .doorbell import Doorbell, ring
from .duplex import DuplexStream, offer_pipes, pipes_of, receive_descriptors
from .peers import ends_of, user_of
from .runtime_directory import bind, runtime_directory
from .transport import CONNECT_SECONDS, Address

__all__ = ["UnixHandshake", "UnixListener", "UnixTransport", "dial", "receive_exactly"]

BACKLOG = 128
"""Connections that may wait to be accepted."""
RETRY_SECONDS = 0.005
"""How long to wait before trying again where more than that wait already."""


class UnixTransport:
    """Streams between processes of one user on one machine."""

    name = "unix"

    def new_address(self) -> Address:
        path = os.path.join(runtime_directory.get(), os.urandom(4).hex())
        return Address(self.name, path, Key.new())

    def connect(
        self, address: Address, purpose: int = CALLS, seconds: float | None = CONNECT_SECONDS
    ) -> DuplexStream:
        sock = dial(address.location, seconds)
        try:
            _check_user(sock, f"the listener at {address.location}")
            greeting = receive_exactly(sock, GREETING)
            answer, expected = answer_to(greeting, address.key, ends_of(sock), purpose)
            stream = offer_pipes(sock, answer)
            try:
                sock.settimeout(seconds)
                check_proof(receive_exactly(sock, DIGEST), expected)
                sock.setblocking(False)
            except BaseException:
                stream.close()
                raise
        except BaseException:
            sock.close()
            raise
        return stream

    def listen(self, address: Address, *, fresh: bool = False) -> UnixListener:
        path = address.location
        if fresh:
            return UnixListener.at(path, address.key)
        try:
            dial(path).close()
        except (FileNotFoundError, ConnectionRefusedError):
            pass  # as it should be
        except OSError as exc:
            raise FileExistsError(f"the listener at {path} does not answer") from exc
        else:
            raise FileExistsError(f"another process listens at {path}")
        # Bound under another name and then moved: so the stale file of a killed listener is
        # replaced in one step, and whoever finds the file finds somebody listening.
        bound_as = f"{path}.{os.urandom(2).hex()}"
        listener = UnixListener.at(path, address.key, bound_as)
        try:
            os.rename(bound_as, path)
        except BaseException:
            listener.close()
            raise
        ring(path)
        return listener

    def listen_event(self, address: Address) -> Doorbell:
        return Doorbell(address.location)

    def remove(self, address: Address) -> None:
        _unlink(address.location)


class UnixListener:
    """A listening socket. Guarantee: its file is at the path only while it listens.

    Args:
        path: its file; empty: that is another one's, who has lent the socket.
        lock: what keeps the directory from being swept, if that takes a lock.
        lent_by: the process that has lent it; None: it is this process's own.
    """

    def __init__(
        self,
        sock: socket.socket,
        key: Key,
        path: str = "",
        lock: int | None = None,
        lent_by: int | None = None,
    ) -> None:
        self._socket = close_in_child(sock)
        self._key = key
        self._path = path
        self._lock = lock
        self._lent_by = lent_by

    @classmethod
    def at(cls, path: str, key: Key, bound_as: str | None = None) -> UnixListener:
        """Begin to listen."""
        lock = runtime_directory.hold(os.path.dirname(path))
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener = cls(sock, key, path, lock)
        try:
            bind(sock, bound_as or path)
            sock.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        sock.setblocking(False)
        return listener

    def lend(self) -> UnixListener:
        with creation_lock:
            return UnixListener(self._socket.dup(), self._key, lent_by=os.getpid())

    @property
    def kept_by_fork(self) -> Closable:
        return self._socket

    def __reduce__(self) -> tuple[Any, ...]:
        """The copy of one that was lent, for a process that is being started."""
        return UnixListener, (self._socket, self._key, "", None, self._lent_by)

    def fileno(self) -> int:
        return self._socket.fileno()

    def accept(self) -> UnixHandshake:
        sock, _ = self._socket.accept()
        close_in_child(sock)
        try:
            _check_user(sock, "the caller")
            return UnixHandshake(sock, self._key, self._lent_by)
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        """Stop to listen. Harmless when done twice, and by two threads at once."""
        fd = self._socket.detach()  # one step of the interpreter: one thread alone gets it
        if fd >= 0:
            if self._path:
                _unlink(self._path)
            os.close(fd)
            if self._lock is not None:
                os.close(self._lock)


class UnixHandshake:
    """A caller that proves itself, and sends the pipes of its stream along.

    Guarantee: none of its descriptors is kept before it has proved itself. They come with the last
    byte of its answer, so that it is known at once whether they stay.
    """

    def __init__(self, sock: socket.socket, key: Key, lent_by: int | None = None) -> None:
        self._socket = sock
        self._lent_by = lent_by
        self._challenge = Challenge(key)
        self._answer = b""
        sock.setblocking(False)
        with sigpipe_blocked_if_default():
            sock.send(self._challenge.greeting)

    @property
    def purpose(self) -> int:
        return self._challenge.purpose

    def fileno(self) -> int:
        return self._socket.fileno()

    def go_on(self) -> DuplexStream | None:
        data, fds, lost = receive_descriptors(self._socket, ANSWER - len(self._answer), 2)
        try:
            if not data:
                raise ConnectionResetError("the caller left")
            if lost:
                raise OSError(errno.EMFILE, "there is no room for the pipes of another caller")
            self._answer += data
            if len(self._answer) < ANSWER:
                if fds:
                    raise AuthenticationError("the caller sent descriptors before its proof")
                return None
            return self._let_in(fds)
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise

    def _let_in(self, fds: list[int]) -> DuplexStream:
        proof = self._challenge.check(self._answer, ends_of(self._socket, self._lent_by))
        try:
            pipes = pipes_of(fds)
        except ValueError as exc:
            raise AuthenticationError(f"the caller sent {exc}") from exc
        with sigpipe_blocked_if_default():
            self._socket.send(proof)
        return DuplexStream(self._socket, *pipes)

    def close(self) -> None:
        self._socket.close()


def dial(path: str, seconds: float | None = CONNECT_SECONDS) -> socket.socket:
    """A socket that is connected to the listener, which has proved nothing yet; with a timeout.

    Raises:
        TimeoutError: the listener took no more callers, for so many seconds.
        OSError: nobody listens there.
    """
    sock = close_in_child(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    sock.settimeout(seconds)
    deadline = None if seconds is None else time.monotonic() + seconds
    try:
        while True:
            try:
                sock.connect(path)
            except BlockingIOError:  # its queue is full, and there is no event for "no more"
                if deadline is not None and time.monotonic() > deadline:
                    raise TimeoutError(f"{path} takes no more callers") from None
                time.sleep(RETRY_SECONDS)
            else:
                return sock
    except BaseException:
        sock.close()
        raise


def _check_user(sock: socket.socket, who: str) -> None:
    """Where nobody can be asked, the mode of the directory and the key must do.

    Raises:
        AuthenticationError: the process at the other end runs as another user than this one.
    """
    uid = user_of(sock)
    if uid is not None and uid != os.getuid():
        raise AuthenticationError(f"{who} is another user's, of number {uid}", "user")


def receive_exactly(sock: socket.socket, size: int) -> bytes:
    """So many bytes from a socket with a timeout.

    Raises:
        ConnectionResetError: the other end was closed before they had come.
    """
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise ConnectionResetError("the listener closed the connection")
        data += more
    return data


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
