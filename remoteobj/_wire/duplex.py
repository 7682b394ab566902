"""A line between two processes: a pipe each way, and a socket beside them.

A small message takes less than half the time through a pipe that it takes through a socket. What
pipes can't do, the socket does: it passes descriptors on, it wakes a thread that waits at an end
which another thread shuts, and it leads to a listener in the first place. Where it can't pass
descriptors, it is all that the line consists of.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import struct
from io import FileIO
from multiprocessing import reduction
from typing import Any

from .._os.fork_safety import close_in_child, creation_lock
from .._os.sigpipe import sigpipe_blocked_if_default
from .._protocol.messages import Bytes

__all__ = [
    "DuplexStream",
    "descriptors_pass",
    "offer_pipes",
    "duplex_pair",
    "receive_descriptors",
    "socket_pair",
]

_NUMBER = struct.Struct("<Q")
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # not on macOS


def descriptors_pass() -> bool:
    """Whether this system passes descriptors through sockets."""
    return hasattr(socket, "SCM_RIGHTS") and hasattr(socket, "send_fds")


class DuplexStream:
    """One end of a line, that never blocks.

    Args:
        side: the socket. It belongs to the line from now on, and so do
        reads: the pipe from the other end,
        writes: the pipe to it. Without pipes, the socket does their work.
    """

    def __init__(self, sock: socket.socket, reads: int = -1, writes: int = -1) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.piped = reads >= 0
        if not self.piped:
            reads = writes = sock.fileno()
        self._reader = FileIO(reads, "rb", closefd=self.piped)
        self._writer = FileIO(writes, "wb", closefd=self.piped)
        self._arrived: dict[int, int] = {}
        # As attributes, since they are found sooner than methods of ours.
        self.read = self._reader.read
        """`read(size)` what is there; None: nothing is, empty: nothing more will come."""
        self.read_into = self._reader.readinto
        self.write = self._writer.write
        """`write(data)` what fits; how much that was, or None."""
        close_in_child(self)

    def fileno(self) -> int:
        """The descriptor to read from; -1 once closed."""
        return -1 if self._reader.closed else self._reader.fileno()

    @property
    def writes(self) -> int:
        """The descriptor to write to; -1 once closed."""
        return -1 if self._writer.closed else self._writer.fileno()

    def writev(self, parts: list[Bytes]) -> int | None:
        """`write`, for several parts in a row."""
        try:
            return os.writev(self._writer.fileno(), parts)
        except BlockingIOError:
            return None

    # --- descriptors -----------------------------------------------------------------------

    def send_fd(self, number: int, fd: int) -> bool:
        """Give the other end a copy of a descriptor, to be taken by its number; False: can't."""
        if not self.piped:
            return False
        try:
            with sigpipe_blocked_if_default():
                return socket.send_fds(self.sock, [_NUMBER.pack(number)], [fd]) == _NUMBER.size
        except OSError:  # the socket is full, or too many descriptors are on their way
            return False

    def receive_fd(self, number: int) -> int:
        """The descriptor of this number, that was passed on before; -1: it did not arrive."""
        while number not in self._arrived:
            try:
                data, fds = receive_descriptors(self.sock, _NUMBER.size, 1)
            except OSError:
                return -1
            if len(data) < _NUMBER.size:
                return -1
            self._arrived[_NUMBER.unpack(data)[0]] = fds[0] if fds else -1
        return self._arrived.pop(number)

    # --- the end ---------------------------------------------------------------------------

    def end_writing(self) -> None:
        """Say that nothing more will be written; what was written still arrives."""
        if self.piped:
            self._writer.close()
        else:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)

    def shutdown(self) -> None:
        """End it for both ends, and wake who waits at one of them."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of this process's copy of this end. Harmless when done twice."""
        self._reader.close()
        self._writer.close()
        self.sock.close()
        while self._arrived:
            _close(self._arrived.popitem()[1])

    def __reduce__(self) -> tuple[Any, ...]:
        """To a process that is being started, which gets copies."""
        if not self.piped:
            return DuplexStream, (self.sock,)
        ends = map(reduction.DupFd, (self._reader.fileno(), self._writer.fileno()))
        return _arrived, (self.sock, *ends)


def _arrived(sock: socket.socket, reads: Any, writes: Any) -> DuplexStream:
    return DuplexStream(sock, reads.detach(), writes.detach())


def duplex_pair() -> tuple[DuplexStream, DuplexStream]:
    """The two ends of a new line."""
    with creation_lock:
        if not descriptors_pass():
            return socket_pair()
        ours, theirs = _socket_pair()
        try:
            here, there = _pipes()
        except BaseException:
            ours.close()
            theirs.close()
            raise
        return DuplexStream(ours, *here), DuplexStream(theirs, *there)


def socket_pair() -> tuple[DuplexStream, DuplexStream]:
    """The two ends of a line without pipes, for where speed does not count."""
    with creation_lock:
        ours, theirs = _socket_pair()
        return DuplexStream(ours), DuplexStream(theirs)


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


def _pipes() -> tuple[tuple[int, int], tuple[int, int]]:
    """A pipe each way: what each of the two ends reads from, and writes to."""
    made: list[int] = []
    try:
        for _ in range(2):
            made += os.pipe()
        for fd in made:
            os.set_blocking(fd, False)
    except BaseException:
        for fd in made:
            _close(fd)
        raise
    return (made[0], made[3]), (made[2], made[1])


def offer_pipes(sock: socket.socket, answer: bytes) -> DuplexStream:
    """Make a line of a socket on which the other end waits for an answer, and for its pipes."""
    with creation_lock:
        if not descriptors_pass():
            with sigpipe_blocked_if_default():
                sock.sendall(answer)
            return DuplexStream(sock)
        here, there = _pipes()
        duplex = DuplexStream(sock, *here)
        try:
            sock.setblocking(True)
            with sigpipe_blocked_if_default():
                socket.send_fds(sock, [answer], there)
        except BaseException:
            duplex.close()
            raise
        finally:
            for fd in there:
                os.close(fd)
        return duplex


def receive_descriptors(sock: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """Read from a socket, and take the descriptors that come along."""
    fds = array.array("i")
    # Not `socket.recv_fds`: it forgets the flag.
    data, extra, *_ = sock.recvmsg(size, socket.CMSG_SPACE(most * fds.itemsize), _CLOSE_ON_EXEC)
    for level, kind, packed in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(packed[: len(packed) // fds.itemsize * fds.itemsize])
    for fd in () if _CLOSE_ON_EXEC else fds:
        os.set_inheritable(fd, False)
    return data, list(fds)


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.close(fd)
