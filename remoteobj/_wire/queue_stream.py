"""A stream whose bytes lie in memory until they are read: for where no descriptor carries them.

What another thread hands in by `arrived` is read here, and what is written here goes to an
`Outlet`. One descriptor tells the reader that there is something, so that it can wait as it does
for any other stream.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Sequence

from .._fast_typing import Protocol
from .._os.fork_safety import close_in_child
from .._os.wakeup import Wakeup
from .._protocol.messages import Bytes

__all__ = ["Outlet", "QueueStream", "queue_pair"]


class Outlet(Protocol):
    """Where a stream's bytes go. Its methods are called by any thread."""

    def send(self, parts: Sequence[Bytes]) -> None:
        """Take these bytes along; their memory may change as soon as this returns.

        Raises:
            OSError: nobody is there to read them.
        """

    def finish(self) -> None:
        """There will be no more. Harmless when done twice."""

    def cut(self) -> None:
        """The stream has ended, for both ends. Harmless when done twice."""


class QueueStream:
    """One end of such a stream, which keeps the contract of `transport.ByteStream`.

    Invariant: `_wakeup` is set, or about to be, whenever there is something to read, or nothing
    more will be. Where it is set for nothing, the next read clears it.
    """

    passes_descriptors: bool = False
    hangup: int = -1

    def __init__(self) -> None:
        self._outlet: Outlet | None = None
        self._lock = threading.Lock()
        self._queue: deque[memoryview] = deque()
        self._over = False
        """Whether nothing more arrives."""
        self._closed = False
        self._pid = os.getpid()
        self._wakeup = Wakeup()
        close_in_child(self)

    def leads_to(self, outlet: Outlet) -> None:
        """What is written goes there: to be said before anything is."""
        self._outlet = outlet

    # --- what arrives ------------------------------------------------------------------------

    def arrived(self, data: Bytes) -> None:
        """These bytes are to be read, and do not change any more. From any thread."""
        if not len(data):
            return
        with self._lock:
            if self._over:
                return
            was_empty = not self._queue
            self._queue.append(memoryview(data).cast("B"))
        if was_empty:  # without the lock, which the reader takes as soon as it wakes
            self._wakeup.set()

    def ended(self) -> None:
        """Nothing more arrives. From any thread; harmless when done twice."""
        with self._lock:
            self._over = True
        self._wakeup.set()

    def fileno(self) -> int:
        return -1 if self._closed else self._wakeup.fileno()

    @property
    def writes(self) -> int:
        return self.fileno()  # such a descriptor is never full

    def read(self, size: int, /) -> bytes | None:
        """All that is there: what came later may take back what came before."""
        data = self._next(size)
        if data is None or not data or not self._queue:
            return data if data is None else bytes(data)
        parts, left = [data], size - len(data)
        while left and self._queue and (more := self._next(left)):
            parts.append(more)
            left -= len(more)
        return b"".join(parts)

    def read_into(self, buffer: memoryview, /) -> int | None:
        data = self._next(len(buffer))
        if data is None:
            return None
        buffer[: len(data)] = data
        return len(data)

    def _next(self, size: int) -> memoryview | bytes | None:
        with self._lock:
            if self._closed:
                raise ValueError("the stream is closed")
            if not self._queue:
                if self._over:
                    return b""
                self._wakeup.clear()
                return None
            first = self._queue[0]
            if len(first) > size:
                self._queue[0] = first[size:]
                return first[:size]
            self._queue.popleft()
            if not self._queue and not self._over:
                self._wakeup.clear()
            return first

    # --- what is written ---------------------------------------------------------------------

    def write(self, data: Bytes, /) -> int:
        return self.writev([data])

    def writev(self, parts: list[Bytes], /) -> int:
        if self._closed or self._outlet is None:
            raise BrokenPipeError(errno.EPIPE, "the stream is closed")
        self._outlet.send(parts)
        return sum(map(len, parts))

    def send_fd(self, number: int, fd: int) -> bool:
        return False

    def receive_fd(self, number: int) -> int:
        return -1

    # --- the end -----------------------------------------------------------------------------

    def end_writing(self) -> None:
        if self._outlet is not None:
            self._outlet.finish()

    def shutdown(self) -> None:
        if self._closed:
            return
        self.ended()
        if self._outlet is not None:
            self._outlet.cut()

    def close(self) -> None:
        """As the contract says; in a forked child, where the lock may be held for ever, this end is
        let go of without a word to the other one."""
        closed, self._closed = self._closed, True
        outlet, self._outlet = self._outlet, None
        self._wakeup.close()
        if not closed and outlet is not None and self._pid == os.getpid():
            outlet.cut()


class _OtherEnd:
    """The outlet of one end of a pair: it leads to the other."""

    def __init__(self, other: QueueStream) -> None:
        self._other = other
        self._over = False

    def send(self, parts: Sequence[Bytes]) -> None:
        if self._over or self._other.fileno() < 0:
            raise BrokenPipeError(errno.EPIPE, "the other end is closed")
        for part in parts:
            self._other.arrived(bytes(part))

    def finish(self) -> None:
        self._over = True
        self._other.ended()

    cut = finish


def queue_pair() -> tuple[QueueStream, QueueStream]:
    """The two ends of a stream within this process."""
    one, other = QueueStream(), QueueStream()
    one.leads_to(_OtherEnd(other))
    other.leads_to(_OtherEnd(one))
    return one, other
