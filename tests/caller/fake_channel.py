"""A channel without a socket: the test is its other end, and says how much fits and what comes."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from remoteobj._caller.async_calls import AsyncCalls
from remoteobj._caller.frame_writer import FrameWriter
from remoteobj._caller.incoming import Incoming
from remoteobj._caller.shared_reader import SharedReader
from remoteobj._protocol.calls import CallTable
from remoteobj._wire.channel import ChannelClosedError
from tests.internals import Decoder, Frame, Kind, encode


class FakeChannel:
    """What a connection needs of a channel."""

    runs_inline = False
    writable = True
    watched: dict[int, int] = {}  # noqa: RUF012  (nobody polls it)
    writes = -1

    def __init__(self) -> None:
        self.buffer_exchange: Any = SimpleNamespace(tell=None, look=None)
        self.room: int | None = None
        """Bytes that fit now; None: any number."""
        self.written: list[bytes] = []
        """What was written, each write by itself."""
        self.before_write: Callable[[], object] = bool
        self.before_take: Callable[[], object] = bool
        self.waiting_to_write: Callable[[], object] | None = None
        """What happens when the writer waits for room; None: there is room."""
        self.heard: list[Frame] = []
        self.readers: list[int] = []
        """The threads that waited for something to read, in order."""
        self.kept_cpu = 0
        self._arrived: deque[Frame] = deque()
        self._closed = False
        self._changed = threading.Condition()

    # --- for the test ---------------------------------------------------------------------

    def make_room(self) -> None:
        self.room = None

    def bring(self, *frames: Frame) -> None:
        """Have something to read."""
        with self._changed:
            self._arrived.extend(frames)
            self._changed.notify_all()

    def hang_up(self) -> None:
        """The other end closes."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def sent(self) -> list[tuple[int, bytes]]:
        """The frames that were written whole: call id and payload."""
        frames = Decoder().feed(b"".join(self.written))
        return [(frame.call_id, bytes(frame.payload)) for frame in frames]

    # --- for the connection ---------------------------------------------------------------

    def write(self, parts: Sequence[Any]) -> list[Any]:
        before, self.before_write = self.before_write, bool
        before()
        if self._closed:
            raise ChannelClosedError
        data = b"".join(parts)
        count = len(data) if self.room is None else min(self.room, len(data))
        self.room = None if self.room is None else self.room - count
        if count:
            self.written.append(data[:count])
        return [memoryview(data)[count:]] if count < len(data) else []

    def wait_to_write(
        self, or_read: bool, deadline: float | None = None, host: object = None
    ) -> bool:
        (self.waiting_to_write or self.make_room)()
        return True

    def wait(self, deadline: float | None) -> bool:
        self.readers.append(threading.get_ident())
        seconds = None if deadline is None else max(0.0, deadline - time.monotonic())
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._arrived) or self._closed, seconds)

    def take(self, waited: bool = True) -> list[Frame]:
        before, self.before_take = self.before_take, bool
        before()
        with self._changed:
            frames = list(self._arrived)
            self._arrived.clear()
            if not frames and self._closed:
                raise ChannelClosedError
            return frames

    def encode(self, frame: Frame) -> list[Any]:
        return list(encode(frame))

    def hear(self, frame: Frame) -> None:
        self.heard.append(frame)

    def fileno(self) -> int:
        return -1

    def keep_cpu(self) -> None:
        self.kept_cpu += 1

    def make_wakeable(self) -> None: ...

    def wake(self) -> None: ...

    def shutdown(self) -> None: ...

    def close(self) -> None: ...


class Lost(Exception):
    """The other side is gone."""


def lost(maybe_executed: bool) -> BaseException:
    return Lost()


class Parts:
    """The parts of a connection, put together on a fake channel."""

    def __init__(self) -> None:
        self.channel: Any = FakeChannel()
        self.calls = CallTable()
        self.async_calls = AsyncCalls()
        self.incoming = Incoming(
            self.channel, self.calls, self.async_calls, lost, lambda payload: lost
        )
        self.reader = SharedReader(self.channel, self.incoming)
        self.writer = FrameWriter(self.channel, self.incoming, self.reader.wait_writable)
        self.incoming.post = self.writer.post


def request(call_id: int, payload: bytes = b"") -> list[Any]:
    """What is written for a call."""
    return list(encode(Frame(Kind.CALL, call_id, payload)))
