"""Clients that speak the protocol by hand: well, badly, or not at all."""

import contextlib
import errno
import os
import resource
import socket
import time
from collections.abc import Iterator
from typing import Any

from tests.internals import HEADER, Address, Frame, Kind, channel_to, connect, dumps, encode


@contextlib.contextmanager
def connected(address: Address) -> Iterator[socket.socket]:
    """A connection without a word said."""
    with contextlib.closing(connect(address)) as sock:
        sock.settimeout(10)
        yield sock


def is_closed(sock: socket.socket) -> bool:
    """Whether the other side has hung up, after what it may have written before."""
    sock.settimeout(10)
    with contextlib.suppress(ConnectionResetError):
        while sock.recv(4096):
            pass
    return True


def receive(sock: socket.socket, size: int) -> bytes:
    """So many bytes."""
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        assert more, "the listener hung up"
        data += more
    return data


class RawClient:
    """A client that has the key, writes frames by hand, and reads only when it is told to."""

    def __init__(self, address: Address) -> None:
        self._channel = channel_to(address)
        self._calls = 0

    def call(self, method: str, *args: Any) -> None:
        """Send a call of a method; the first has the number 1."""
        self._calls += 1
        self.send(call_frame(self._calls, method, *args))

    def send(self, data: bytes) -> None:
        """Send frames, whatever they are."""
        assert not self._channel.write([data]), "nobody reads it"

    def wait(self, seconds: float) -> bool:
        """Whether something comes within so many seconds."""
        return bool(self._channel.wait(time.monotonic() + seconds))

    def read(self, count: int) -> list[Frame]:
        """The next frames, at least so many."""
        frames: list[Frame] = []
        while len(frames) < count:
            assert self.wait(10), "nothing came"
            frames += self._channel.take()
        return frames

    def close(self) -> None:
        self._channel.close()


def leave_descriptors(obj: Any, count: int) -> None:
    """In an actor: let its process open so many more descriptors, and no others."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    top = max(int(name) for name in os.listdir("/dev/fd"))
    obj.held = []  # what lies between those that are open is taken as well
    while (fd := os.dup(0)) <= top:
        obj.held.append(fd)
    os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (fd + count, hard))


def note_failed_accepts(obj: Any) -> None:
    """In an actor: have its object note when a connection could not be accepted."""
    obj.failed_accepts = []
    accept = socket.socket.accept

    def note(self: socket.socket) -> Any:
        try:
            return accept(self)
        except OSError as error:
            if error.errno == errno.EMFILE:
                obj.failed_accepts.append(time.monotonic())
            raise

    socket.socket.accept = note  # type: ignore[method-assign]


class Marker:
    """To unpickle it leaves a directory behind."""

    def __init__(self, path: object) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


# ------------------------------------------------------------------ frames


def header(kind: int, buffers: int, number: int, length: int) -> bytes:
    """What a frame begins with; what it announces need not come."""
    return HEADER.pack(kind, buffers, number, length)


def frame(kind: int, number: int, payload: bytes) -> bytes:
    """A whole frame, as bytes."""
    return b"".join(map(bytes, encode(Frame(kind, number, payload))))


def call_frame(number: int, method: str, *args: Any) -> bytes:
    """The call of a method, as bytes."""
    payload, buffers = dumps((("attr", method), ("call", args, {})))
    assert not buffers
    return frame(Kind.CALL, number, payload)


def marked_call(path: object) -> bytes:
    """A call, as bytes, that leaves a directory behind where it is unpickled."""
    return frame(Kind.CALL, 1, dumps(Marker(path))[0])
