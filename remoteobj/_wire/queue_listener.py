"""A listener whose callers are brought to it by another thread of its process."""

from __future__ import annotations

import errno
import select
import threading
import time
from collections import deque

from .._os.fork_safety import Closable, close_in_child
from .._os.wakeup import Wakeup
from .auth import ANSWER, DIGEST, GREETING, Challenge, Key, answer_to, check_proof
from .queue_stream import QueueStream

__all__ = ["QueueListener", "prove"]


class QueueListener:
    """Accepts the callers that are brought by `bring`, and keeps `transport.Listener`."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._lock = threading.Lock()
        self._callers: deque[QueueStream] = deque()
        self._wakeup = Wakeup()
        self._closed = False
        close_in_child(self)

    def bring(self, stream: QueueStream) -> None:
        """Here is the listener's end of a stream to somebody who has not proved himself.

        Raises:
            ConnectionRefusedError: it listens no more.
        """
        with self._lock:
            if self._closed:
                raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens any more")
            self._callers.append(stream)
        self._wakeup.set()

    def fileno(self) -> int:
        return self._wakeup.fileno()

    def accept(self) -> QueueHandshake:
        with self._lock:
            if len(self._callers) < 2:
                self._wakeup.clear()
            if not self._callers:
                raise BlockingIOError(errno.EAGAIN, "nobody has come")
            stream = self._callers.popleft()
        return QueueHandshake(stream, self._key)

    def lend(self) -> QueueListener:
        """The same: its callers can't be brought to another process."""
        return self

    @property
    def kept_by_fork(self) -> Closable:
        return self

    def close(self) -> None:
        self._closed = True
        self._wakeup.close()
        while self._callers:
            self._callers.popleft().close()


class QueueHandshake:
    """A caller that has not proved itself yet; keeps `transport.Handshake`."""

    def __init__(self, stream: QueueStream, key: Key) -> None:
        self._stream = stream
        self._challenge = Challenge(key)
        self._answer = b""
        stream.write(self._challenge.greeting)

    @property
    def purpose(self) -> int:
        return self._challenge.purpose

    def fileno(self) -> int:
        return self._stream.fileno()

    def go_on(self) -> QueueStream | None:
        data = self._stream.read(ANSWER - len(self._answer))
        if data is None:
            raise BlockingIOError(errno.EAGAIN, "nothing has come")
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "the caller left")
        self._answer += data
        if len(self._answer) < ANSWER:
            return None
        self._stream.write(self._challenge.check(self._answer))
        return self._stream

    def close(self) -> None:
        self._stream.close()


def prove(stream: QueueStream, key: Key, purpose: int, seconds: float | None) -> QueueStream:
    """The caller's side of that handshake; the stream, after both sides have proved themselves.

    Raises:
        TimeoutError: the listener did not answer in time.
        OSError, AuthenticationError: nobody listens, or somebody else.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    try:
        greeting = _receive(stream, GREETING, deadline)
        answer, expected = answer_to(greeting, key, purpose=purpose)
        stream.write(answer)
        check_proof(_receive(stream, DIGEST, deadline), expected)
    except BaseException:
        stream.close()
        raise
    return stream


def _receive(stream: QueueStream, size: int, deadline: float | None) -> bytes:
    data = b""
    poll = select.poll()
    poll.register(stream.fileno(), select.POLLIN)
    while len(data) < size:
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not poll.poll(left):
            raise TimeoutError("the listener did not answer in time")
        more = stream.read(size - len(data))
        if more == b"":
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens there")
        data += more or b""
    return data
