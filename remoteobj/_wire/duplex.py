"""The stream between two processes of one machine: a pipe each way, and a Unix socket beside them.

A small message takes less than half the time through a pipe that it takes through a socket. What
pipes can't do, the socket does: it passes descriptors, it wakes a thread that waits at an end which
another thread shuts down, and it leads to a listener in the first place. Where speed does not
count, as for control channels, the stream consists of the socket alone.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import socket
import stat
import struct
import sys
from collections.abc import Callable
from io import FileIO
from multiprocessing import reduction
from typing import Any

from .._os.fork_safety import creation_lock, is_own, no_more_own, own
from .._os.sigpipe import sigpipe_blocked_if_default
from .._protocol.messages import Bytes
from .peers import pid_of

__all__ = [
    "DuplexStream",
    "duplex_pair",
    "offer_pipes",
    "pipes_of",
    "receive_descriptors",
    "socket_pair",
]

_NUMBER = struct.Struct("<Q")
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # not on macOS
_TAKES_NO_MORE = sys.platform == "linux"
"""Whether the system takes no more descriptors into this process than a read has room for.
Elsewhere those for which there is no room may stay open, and nobody knows their numbers."""
_MOST_SENT = 512
"""Descriptors that one message can carry on any system."""


class DuplexStream:
    """One end of such a stream, which keeps the contract of `transport.ByteStream`.

    Args:
        sock: the socket.
        reads: the pipe from the other end.
        writes: the pipe to the other end. Without pipes, the socket does their work.

    All three belong to the stream from now on.
    """

    generation = -1

    def __init__(self, sock: socket.socket, reads: int = -1, writes: int = -1) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._has_pipes = reads >= 0
        if not self._has_pipes:
            reads = writes = sock.fileno()
        self._reader = FileIO(reads, "rb", closefd=self._has_pipes)
        self._writer = FileIO(writes, "wb", closefd=self._has_pipes)
        # Attributes, since the interpreter finds them sooner than methods that would call them.
        self.read = self._reader.read
        self.read_into = self._reader.readinto
        self.write = self._writer.write
        pipes = (reads, writes) if self._has_pipes else ()
        self.numbers: tuple[int, ...] = (sock.fileno(), *pipes)
        own(self, sock, self._reader, self._writer)

    @property
    def passes_descriptors(self) -> bool:
        return self._has_pipes  # beside them, the socket has nothing else to carry

    @property
    def peer_pid(self) -> int | None:
        """The process that has made the other end, as the kernel tells it; None: it does not."""
        with contextlib.suppress(OSError):  # it is closed
            return pid_of(self._socket)
        return None

    def fileno(self) -> int:
        return -1 if self._reader.closed or not is_own(self) else self._reader.fileno()

    @property
    def writes(self) -> int:
        return -1 if self._writer.closed or not is_own(self) else self._writer.fileno()

    @property
    def hangup(self) -> int:
        return self._socket.fileno() if self._has_pipes and is_own(self) else -1

    def writev(self, parts: list[Bytes], /) -> int | None:
        try:
            return os.writev(self._writer.fileno(), parts)
        except BlockingIOError:
            return None

    # --- descriptors -----------------------------------------------------------------------

    def send_fd(self, number: int, fd: int) -> bool:
        if not (self._has_pipes and is_own(self)):
            return False
        try:
            with sigpipe_blocked_if_default():
                return socket.send_fds(self._socket, [_NUMBER.pack(number)], [fd]) == _NUMBER.size
        except OSError:  # the socket is full, or too many descriptors are on their way
            return False

    def receive_fd(self, number: int) -> int:
        # Without pipes, what the socket has to read are frames.
        while self._has_pipes and is_own(self):
            try:
                data, fds, _ = receive_descriptors(self._socket, _NUMBER.size, 1)
            except OSError:
                break
            if len(data) == _NUMBER.size and _NUMBER.unpack(data)[0] == number and fds:
                return fds[0]
            for fd in fds:
                _close(fd)  # sent along with a frame that was never written, or for none at all
            if len(data) < _NUMBER.size or _NUMBER.unpack(data)[0] >= number:
                break
        return -1

    # --- the end ---------------------------------------------------------------------------

    def end_writing(self) -> None:
        if not is_own(self):
            return
        if self._has_pipes:
            self.numbers = tuple(one for one in self.numbers if one != self.writes)
            no_more_own(self.writes)
            self._writer.close()
        else:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    def shutdown(self) -> None:
        if not is_own(self):
            return
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if not is_own(self):
            return
        numbers, self.numbers = self.numbers, ()  # one step: of two threads one gets them
        no_more_own(*numbers)
        self._reader.close()
        self._writer.close()
        self._socket.close()

    # The names of a module may be gone by the time in which the interpreter ends.
    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if self.generation >= 0 and not is_finalizing():  # in which its parts close themselves
            self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """The copy of this end for a process that is being started."""
        if not self._has_pipes:
            return DuplexStream, (self._socket,)
        ends = map(reduction.DupFd, (self._reader.fileno(), self._writer.fileno()))
        return _from_pickle, (self._socket, *ends)


def _from_pickle(sock: socket.socket, reads: Any, writes: Any) -> DuplexStream:
    return DuplexStream(sock, reads.detach(), writes.detach())


def duplex_pair() -> tuple[DuplexStream, DuplexStream]:
    """The two ends of a new stream."""
    with creation_lock:
        ours, theirs = _socket_pair()
        try:
            here, there = _pipes()
        except BaseException:
            ours.close()
            theirs.close()
            raise
        return DuplexStream(ours, *here), DuplexStream(theirs, *there)


def socket_pair() -> tuple[DuplexStream, DuplexStream]:
    """The two ends of a new stream without pipes, for where speed does not count."""
    with creation_lock:
        ours, theirs = _socket_pair()
        return DuplexStream(ours), DuplexStream(theirs)


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


def _pipes() -> tuple[tuple[int, int], tuple[int, int]]:
    """A pipe each way: for either end the descriptor to read from and the one to write to."""
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
    """Send an answer over a socket, and two pipes along with it; our end of the stream that this
    makes."""
    with creation_lock:
        here, there = _pipes()
        stream = DuplexStream(sock, *here)
        try:
            sock.setblocking(True)
            with sigpipe_blocked_if_default():
                socket.send_fds(sock, [answer], there)
        except BaseException:
            stream.close()
            raise
        finally:
            for fd in there:
                os.close(fd)
        return stream


def receive_descriptors(sock: socket.socket, size: int, most: int) -> tuple[bytes, list[int], bool]:
    """Read from a socket, and take the descriptors that come along, if they are no more than that.

    The third item says whether some are missing: more were sent, or this process has no room.
    """
    fds = array.array("i")
    # `CMSG_SPACE` would round up to room for two where one may come.
    room = socket.CMSG_LEN((most if _TAKES_NO_MORE else _MOST_SENT) * fds.itemsize)
    # Not `socket.recv_fds`, which would leave them open across an exec.
    data, extra, flags, _ = sock.recvmsg(size, room, _CLOSE_ON_EXEC)
    for level, kind, packed in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(packed[: len(packed) // fds.itemsize * fds.itemsize])
    while len(fds) > most:
        flags |= socket.MSG_CTRUNC
        _close(fds.pop())
    for fd in () if _CLOSE_ON_EXEC else fds:
        os.set_inheritable(fd, False)
    return data, list(fds), bool(flags & socket.MSG_CTRUNC)


def pipes_of(fds: list[int]) -> tuple[int, ...]:
    """The descriptors that a caller has sent, if they are what `offer_pipes` sends, or none: a pipe
    to read from and one to write to.

    Raises:
        ValueError: they are something else.
    """
    found = [(stat.S_ISFIFO(os.fstat(fd).st_mode), _access(fd)) for fd in fds]
    if found not in ([], [(True, os.O_RDONLY), (True, os.O_WRONLY)]):
        raise ValueError(f"{len(fds)} descriptors that are no pipe each way")
    for fd in fds:
        os.set_blocking(fd, False)
    return tuple(fds)


def _access(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.close(fd)
