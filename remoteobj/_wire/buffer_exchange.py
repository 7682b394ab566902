"""How the two ends of a stream share memory.

::

    the segment's descriptor, by `send_fd` ──>
    a frame that refers to the segment ──>
    <── RELEASE           the receiver does not use the segment any more
    FORGET ──>            the sender has given the segment back to the system
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._os.lazy_import import import_lock
from .._protocol.frames import encode
from .._protocol.messages import Bytes, Frame, Kind, MalformedFrameError
from .segments import SHARED, ReceivedSegments, SegmentError, SegmentPool, SegmentRef
from .transport import ByteStream

if TYPE_CHECKING:
    from .._os.io_thread import Reactor, Timer

__all__ = ["BufferExchange"]

IDLE_SECONDS = 1.0
"""How long memory that nobody uses is kept for the next buffer."""


class BufferExchange:
    """The shared memory of one end of one stream."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self.tell: Callable[[Frame], object] = _ignore
        """Set by whoever writes to the stream: has a small frame written, now or with the next one.
        Finalizers call it too, so that it must neither wait nor raise."""
        self.look: Callable[[], object] | None = None
        """Set where nobody reads unasked: takes in what has come, before memory is given back."""
        self._pool = SegmentPool(self._dropped)
        self._received = ReceivedSegments(self._released)
        self._used = 0.0
        self._trimming: tuple[Reactor, Timer] | None = None

    # --- sending ---------------------------------------------------------------------------

    def encode(self, frame: Frame) -> list[Bytes]:
        """The parts to write for a frame; its big buffers go by shared memory, where they can."""
        kind, call_id, payload, buffers, metadata, flags = frame
        if not (self._stream.passes_descriptors and any(len(one) >= SHARED for one in buffers)):
            return encode(frame)
        table: list[int] = []
        left: list[Any] = []
        for one in buffers:
            entry = self._put(one) if len(one) >= SHARED else None
            if entry is None:
                left.append(one)
            table.append(len(one) if entry is None else entry)
        return encode((kind, call_id, payload, left, metadata, flags), table)

    def _put(self, buffer: Any) -> int | None:
        put = self._pool.put(memoryview(buffer))
        if put is None:
            return None
        entry, fd = put
        if fd >= 0:
            passed = self._stream.send_fd(entry.segment, fd)
            os.close(fd)
            if not passed:
                self._pool.withdraw(entry.segment)
                return None
        self._use()
        return entry.pack()

    def _use(self) -> None:
        self._used = time.monotonic()
        self._trim_later(self._used + IDLE_SECONDS)

    # --- receiving -------------------------------------------------------------------------

    def lease(self, packed: int) -> memoryview:
        """The memory that an entry in a frame's table stands for.

        Raises:
            MalformedFrameError: there is no such memory.
        """
        entry = SegmentRef.unpack(packed)
        self._use()
        try:
            # The descriptor was sent before the frame was written.
            fd = self._stream.receive_fd(entry.segment) if entry.new else -1
            return self._received.lease(entry, fd)
        except SegmentError as exc:
            raise MalformedFrameError(str(exc)) from exc

    def _dropped(self, number: int) -> None:
        self.tell(Frame(Kind.FORGET, number))

    def _released(self, number: int, discard: bool) -> None:
        self.tell(Frame(Kind.RELEASE, number, b"!" if discard else b""))

    def hear(self, frame: Frame) -> None:
        """Take in what the other end says about its memory, or about ours.

        Raises:
            MalformedFrameError: it releases what is not in use.
        """
        if frame.kind == Kind.FORGET:
            self._received.forget(frame.call_id)
            return
        try:
            self._pool.release(frame.call_id, discard=bool(frame.payload))
        except SegmentError as exc:
            raise MalformedFrameError(str(exc)) from exc

    # --- giving memory back ----------------------------------------------------------------

    def _trim_later(self, when: float) -> None:
        if self._trimming is None:
            with import_lock:
                from .._os.io_thread import reactor  # for a faster start-up: few values are so big

            self._trimming = reactor, reactor.call_at(when, self._trim)

    def _trim(self) -> None:
        """Give back what was not used for a while; look again if more may become free."""
        self._trimming = None
        if self.look is not None:
            self.look()
        idle = time.monotonic() - self._used
        if idle >= IDLE_SECONDS:
            self._pool.trim()
        if not self._pool.empty or (self.look is not None and not self._received.empty):
            # The longer a segment has been in use, the more seldom it is looked at.
            self._trim_later(time.monotonic() + max(IDLE_SECONDS, idle))

    def close(self) -> None:
        """Let go of all segments; memory in use stays until its last user is gone."""
        self._pool.close()
        self._received.close()
        if self._trimming is not None:
            reactor, timer = self._trimming
            timer.cancel()
            reactor.wake()


def _ignore(frame: Frame) -> None:
    """The `tell` of an end to which nobody writes."""
