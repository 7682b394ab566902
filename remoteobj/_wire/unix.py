"""The transport of one machine: Unix sockets, with a pipe each way beside each connection.

A location is the path of a socket file in the runtime directory of the process that made the
address. Its longest possible path fits into the address of a Unix socket.

What this transport does beyond the contract: both sides refuse a process of another user before
the challenge; and the caller sends two pipes along with its proof, which then carry the bytes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
import time

from .._os.fork_safety import close_in_child
from .._os.sigpipe import sigpipe_blocked_if_default
from .auth import ANSWER, DIGEST, GREETING, AuthenticationError, Challenge, answer_to, check_proof
from .doorbell import Doorbell, ring
from .duplex import DuplexStream, offer_pipes, receive_descriptors
from .runtime_directory import runtime_directory
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
        return Address(self.name, path, os.urandom(32))

    def connect(self, address: Address) -> DuplexStream:
        sock = dial(address.location)
        try:
            if not same_user(sock):
                raise AuthenticationError(f"the listener at {address.location} is another user's")
            answer, expected = answer_to(receive_exactly(sock, GREETING), address.key)
            stream = offer_pipes(sock, answer)
            try:
                sock.settimeout(CONNECT_SECONDS)
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
            return UnixListener(path, address.key)
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
        listener = UnixListener(path, address.key, bound_as)
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
    """A listening socket. Guarantee: its file is at the path only while it listens."""

    def __init__(self, path: str, key: bytes, bound_as: str | None = None) -> None:
        self._path = path
        self._key = key
        self._lock = runtime_directory.hold(os.path.dirname(path))
        self._socket = close_in_child(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        try:
            self._socket.bind(bound_as or path)
            self._socket.listen(BACKLOG)
        except BaseException:
            self.close()
            raise
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def accept(self) -> UnixHandshake:
        sock, _ = self._socket.accept()
        close_in_child(sock)
        try:
            if not same_user(sock):
                raise AuthenticationError("the caller is another user's")
            return UnixHandshake(sock, self._key)
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        """Stop to listen. Harmless when done twice, and by two threads at once."""
        fd = self._socket.detach()  # one step of the interpreter: one thread alone gets it
        if fd >= 0:
            _unlink(self._path)
            os.close(fd)
            if self._lock is not None:
                os.close(self._lock)


class UnixHandshake:
    """A caller that proves itself, and sends the pipes of its stream along."""

    def __init__(self, sock: socket.socket, key: bytes) -> None:
        self._socket = sock
        self._challenge = Challenge(key)
        self._answer = b""
        self._fds: list[int] = []
        sock.setblocking(False)
        with sigpipe_blocked_if_default():
            sock.send(self._challenge.greeting)

    def fileno(self) -> int:
        return self._socket.fileno()

    def go_on(self) -> DuplexStream | None:
        data, fds, lost = receive_descriptors(self._socket, ANSWER - len(self._answer), 2)
        self._fds += fds
        if not data:
            raise AuthenticationError("the caller left")
        if lost:
            raise OSError(errno.EMFILE, "there is no room for the pipes of another caller")
        self._answer += data
        if len(self._answer) < ANSWER:
            return None
        proof = self._challenge.check(self._answer)
        with sigpipe_blocked_if_default():
            self._socket.send(proof)
        fds, self._fds = self._fds, []
        for fd in fds:
            os.set_blocking(fd, False)
        return DuplexStream(self._socket, *fds)

    def close(self) -> None:
        self._socket.close()
        while self._fds:
            os.close(self._fds.pop())


def dial(path: str) -> socket.socket:
    """A socket that is connected to the listener, which has proved nothing yet; with a timeout.

    Raises:
        TimeoutError: the listener takes no more callers.
        OSError: nobody listens there.
    """
    sock = close_in_child(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    sock.settimeout(CONNECT_SECONDS)
    deadline = time.monotonic() + CONNECT_SECONDS
    try:
        while True:
            try:
                sock.connect(path)
            except BlockingIOError:  # its queue is full, and there is no event for "no more"
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{path} takes no more callers") from None
                time.sleep(RETRY_SECONDS)
            else:
                return sock
    except BaseException:
        sock.close()
        raise


def same_user(sock: socket.socket) -> bool:
    """Whether the process at the other end runs as this process's user."""
    if sys.platform == "darwin":
        local_peercred = 1
        credentials = sock.getsockopt(0, local_peercred, 76)
        _version, uid = struct.unpack_from("II", credentials)
    elif hasattr(socket, "SO_PEERCRED"):
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _pid, uid, _gid = struct.unpack("3i", credentials)
    else:
        return True  # the mode of the directory and the key must do
    return bool(uid == os.getuid())


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
