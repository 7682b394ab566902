"""A second transport, for tests alone: TCP on this machine, behind the contract of the seam.

It shows that nothing above `remoteobj._wire.transport` knows how its streams come about. A stream
is one socket, and passes no descriptors; there is no event for a listener's beginning.

To import this module registers the transport. An address of it does so in every process to which it
is sent, whatever the start method.
"""

import contextlib
import errno
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from remoteobj._os.fork_safety import close_in_child, creation_lock
from remoteobj._os.sigpipe import sigpipe_blocked_if_default
from remoteobj._wire import registry
from remoteobj._wire.auth import (
    ANSWER,
    CALLS,
    DIGEST,
    GREETING,
    Challenge,
    Key,
    answer_to,
    check_proof,
)
from remoteobj._wire.transport import CONNECT_SECONDS, Address
from remoteobj._wire.unix import receive_exactly

HOST = "127.0.0.1"
BACKLOG = 128
# Either lets a second socket be bound to a port at which the first does not listen.
REUSE = socket.SO_REUSEADDR if sys.platform == "linux" else socket.SO_REUSEPORT


class TcpAddress(Address):
    """An `Address` whose unpickling imports this module, and so registers the transport."""

    __slots__ = ()


class TcpTransport:
    """Streams by TCP, between processes of one machine."""

    name = "tcp"

    def __init__(self) -> None:
        self._reserved: dict[str, socket.socket] = {}
        """By location: bound sockets, that keep others from being given a port before its listener
        is there."""

    def new_address(self) -> Address:
        sock = close_in_child(_bound(0))
        location = f"{HOST}:{sock.getsockname()[1]}"
        self._reserved[location] = sock
        return TcpAddress(self.name, location, Key.new())

    def connect(
        self, address: Address, purpose: int = CALLS, seconds: float | None = CONNECT_SECONDS
    ) -> "TcpStream":
        sock = dial(address.location)
        sock.settimeout(seconds)
        try:
            greeting = receive_exactly(sock, GREETING)
            answer, expected = answer_to(greeting, address.key, purpose=purpose)
            with sigpipe_blocked_if_default():
                sock.sendall(answer)
            check_proof(receive_exactly(sock, DIGEST), expected)
        except BaseException:
            sock.close()
            raise
        return TcpStream(sock)

    def listen(self, address: Address, *, fresh: bool = False) -> "TcpListener":
        if not fresh:
            with contextlib.suppress(ConnectionRefusedError):
                dial(address.location).close()
                raise FileExistsError(f"another process listens at {address.location}")
        return TcpListener.at(address)

    def listen_event(self, address: Address) -> None:
        return None

    def remove(self, address: Address) -> None:
        if (sock := self._reserved.pop(address.location, None)) is not None:
            sock.close()

    def remove_all(self) -> None:
        """Let go of all ports."""
        while self._reserved:
            self._reserved.popitem()[1].close()


class TcpListener:
    def __init__(self, sock: socket.socket, key: Key) -> None:
        self._key = key
        self._socket = close_in_child(sock)

    @classmethod
    def at(cls, address: Address) -> "TcpListener":
        sock = _bound(_port(address.location))
        listener = cls(sock, address.key)
        try:
            sock.listen(BACKLOG)
        except BaseException:
            sock.close()
            raise
        sock.setblocking(False)
        return listener

    def lend(self) -> "TcpListener":
        return TcpListener(self._socket.dup(), self._key)

    @property
    def kept_by_fork(self) -> socket.socket:
        return self._socket

    def __reduce__(self) -> tuple[Any, ...]:
        return TcpListener, (self._socket, self._key)

    def fileno(self) -> int:
        return self._socket.fileno()

    def accept(self) -> "TcpHandshake":
        sock, _ = self._socket.accept()
        try:
            return TcpHandshake(close_in_child(sock), self._key)
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        self._socket.close()


class TcpHandshake:
    def __init__(self, sock: socket.socket, key: Key) -> None:
        self._socket = sock
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

    def go_on(self) -> "TcpStream | None":
        data = self._socket.recv(ANSWER - len(self._answer))
        if not data:
            raise ConnectionResetError("the caller left")
        self._answer += data
        if len(self._answer) < ANSWER:
            return None
        proof = self._challenge.check(self._answer)
        with sigpipe_blocked_if_default():
            self._socket.send(proof)
        return TcpStream(self._socket)

    def close(self) -> None:
        self._socket.close()


class TcpStream:
    passes_descriptors = False
    hangup = -1

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        close_in_child(self)

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def writes(self) -> int:
        return self._socket.fileno()

    def read(self, size: int, /) -> bytes | None:
        try:
            return self._socket.recv(size)
        except BlockingIOError:
            return None

    def read_into(self, buffer: memoryview, /) -> int | None:
        try:
            return self._socket.recv_into(buffer)
        except BlockingIOError:
            return None

    def _check_end(self) -> None:
        """TCP takes what is written after the other side has closed: the refusal comes later."""
        with contextlib.suppress(BlockingIOError):
            if not self._socket.recv(1, socket.MSG_PEEK):
                raise BrokenPipeError(errno.EPIPE, "the other side has closed")

    def write(self, data: bytes | bytearray | memoryview, /) -> int | None:
        self._check_end()
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return None

    def writev(self, parts: list[bytes | bytearray | memoryview], /) -> int | None:
        self._check_end()
        try:
            return self._socket.sendmsg(parts)
        except BlockingIOError:
            return None

    def send_fd(self, number: int, fd: int) -> bool:
        return False

    def receive_fd(self, number: int) -> int:
        return -1

    def end_writing(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def shutdown(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return TcpStream, (self._socket,)


def tcp_pair() -> tuple[TcpStream, TcpStream]:
    """Two connected ends, for an engine to hand one of them to the process that it starts."""
    with creation_lock, socket.create_server((HOST, 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
        return TcpStream(ours), TcpStream(theirs)


def _bound(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, REUSE, 1)
        sock.bind((HOST, port))
    except BaseException:
        sock.close()
        raise
    return sock


def dial(location: str) -> socket.socket:
    return close_in_child(socket.create_connection((HOST, _port(location)), CONNECT_SECONDS))


def _port(location: str) -> int:
    return int(location.rpartition(":")[2])


TCP = TcpTransport()
registry.TRANSPORTS[TCP.name] = TCP


@contextlib.contextmanager
def everything_over_tcp() -> Iterator[None]:
    """What this process makes meanwhile is reached over TCP; by the owner of an actor too, whose
    own two connections were there before the actor was."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "DEFAULT_TRANSPORT", TCP.name)
        for engine in ("linking", "thread", "inline"):
            for pair in ("duplex_pair", "socket_pair"):
                patch.setattr(f"remoteobj._engines.{engine}.{pair}", tcp_pair)
        try:
            yield
        finally:
            TCP.remove_all()
