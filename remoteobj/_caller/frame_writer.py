"""The write side of a connection: frames leave whole, one after the other, whichever thread sends.

::

    write, write_ahead, write_nowait ──┐
    cork, post ──> queue ──────────────┴──> channel
                     ^                         │
                     └── what did not fit ─────┘

Invariants:

- Only the thread that holds `lock` writes to the channel or takes from the queue. It holds the lock
  from the numbering of a call to its writing, so that calls leave in the order of their numbers.
- Any thread may append to the queue, without a lock, a frame that is encoded whole.
- The first entry of the queue may be the end of a frame whose beginning is written. Nothing else is
  written before it.
- An exception in the midst of a write, Ctrl-C say, leaves unknown how much was written, so it ends
  the connection. An exception while the writer waits for room leaves the rest to the next writer.

Lock order: a thread that holds `lock` may take the turn to read (`shared_reader`), never the
reverse.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from .._protocol.frames import JOINED, encode
from .._protocol.messages import Bytes, Frame, Kind
from .._wire.channel import Channel, ChannelClosedError
from .incoming import Incoming

__all__ = ["UNSENT", "FrameWriter"]

UNSENT = 1 << 20
"""Bytes that may be left to later writers by callers who don't wait for their outcome."""
CORKED = 64
"""Frames that may be in the queue when another one is corked."""


class FrameWriter:
    """Writes to a channel for all threads of this process."""

    def __init__(
        self,
        channel: Channel,
        incoming: Incoming,
        wait_writable: Callable[[], object],
    ) -> None:
        """
        Args:
            channel: what is written to.
            incoming: knows whether the connection has ended, and ends it.
            wait_writable: waits until the channel may take more; raises ChannelClosedError once
                the connection has ended.
        """
        self._channel = channel
        self._incoming = incoming
        self._wait_writable = wait_writable
        self.queue: deque[list[Bytes]] = deque()
        """What is not written yet, in order, each entry the parts of a frame or of several."""
        self.unsent = 0
        """Mark: the bytes that the last write left in the queue, since they did not fit."""
        self.posted = False
        """Mark: a frame was posted that is to be written as soon as the lock is free. Whoever
        releases the lock looks at this, and calls `flush`."""
        self.after_fork()

    def after_fork(self) -> None:
        """In a forked child: the lock may be held by a thread of the parent."""
        # Reentrant not in order to be reentered, but because it knows its owner: that is how a
        # signal handler or a finalizer on top of the owner is recognized.
        self.lock: Any = threading.RLock()

    # --- with the lock held ---------------------------------------------------------------

    def write(self, parts: list[Bytes]) -> None:
        """Write a frame, waiting until all of it is out.

        Raises:
            ChannelClosedError: nobody is there to read it.
        """
        self.write_some(parts)
        if self.unsent:
            self.drain()

    def write_ahead(self, parts: list[Bytes]) -> None:
        """Write a frame whose caller goes on: wait only if more than `UNSENT` bytes are left."""
        self.write_some(parts)
        if self.unsent > UNSENT:
            self.drain()
        elif self.unsent:
            self._leave_to_others()

    def write_nowait(self, parts: list[Bytes]) -> None:
        """Write what fits now, and leave the rest to later writers.

        Of more than `UNSENT` bytes no copy is made: the frame's buffers must stay as they are until
        they are written.
        """
        self.write_some(parts)
        if self.unsent:
            self._leave_to_others()

    def cork(self, parts: list[Bytes]) -> None:
        """Leave a small frame to the next write or flush: to write many at once is cheaper."""
        if len(parts) > 1 or len(self.queue) >= CORKED:
            self.write_nowait(parts)
        else:
            self.queue.append(parts)

    def write_some(self, parts: list[Bytes]) -> None:
        """Write what fits of the queue and of this frame; the rest is the queue's, as it is."""
        try:
            if self.queue:
                parts = self._take_queue(parts)
            rest = self._channel.write(parts)
            if rest:
                self.queue.appendleft(rest)
                self.unsent = sum(map(len, rest))
            else:
                self.unsent = 0
        except ChannelClosedError:
            raise
        except BaseException:
            self._incoming.interrupt()
            raise

    def drain(self) -> None:
        """Write what is left, as the other side makes room."""
        while self.unsent:
            self._wait_writable()
            self.write_some([])

    def _take_queue(self, parts: list[Bytes]) -> list[Bytes]:
        self.posted = False  # before the queue is looked at: a frame that comes later says so again
        taken: list[Bytes] = []
        while self.queue:
            taken += self.queue.popleft()
        taken += parts
        if len(taken) > 1 and sum(map(len, taken)) <= JOINED:
            return [b"".join(taken)]
        return taken

    def _leave_to_others(self) -> None:
        if self._channel.runs_inline:
            self.drain()  # the other end takes it only while we wait
        elif self.unsent <= UNSENT:
            self.queue[0] = [bytes(part) for part in self.queue[0]]  # its owner may change it

    # --- from any thread, also without the lock ---------------------------------------------

    def post(self, frame: Frame) -> None:
        """Have a small frame written as soon as no other is half written.

        Waits neither for the lock nor for room, so that it is safe in a finalizer, which may run
        while this very thread holds the lock. Nothing is posted to a connection that has ended.
        """
        if self._incoming.closed_because is None:
            self.queue.append(encode(frame))
            self.posted = True
            self.flush_some()

    def post_close(self, call_id: int) -> None:
        """Post that nobody wants a call any more."""
        self.post(Frame(Kind.CLOSE, call_id))

    def flush(self) -> None:
        """Write the queue, waiting for room; if another thread is at writing, it does so."""
        self._flush(self.write)

    def flush_some(self) -> None:
        """Write what fits of the queue; if another thread is at writing, it does so."""
        self._flush(self.write_some)

    def uncork(self) -> None:
        """Write what is corked. What did not fit before is left to those who write it anyhow."""
        if not self.unsent:
            self.flush()

    def _flush(self, write: Callable[[list[Bytes]], None]) -> None:
        while (
            (self.queue or self.posted)
            and self._incoming.closed_because is None
            and not self.lock._is_owned()  # else its owner, below on this stack, sees `posted`
        ):
            try:
                if not self.lock.acquire(blocking=False):
                    return  # and so does the thread that owns it
                self.posted = False
                write([])
                if self.unsent:
                    return
            except ChannelClosedError:
                return
            finally:
                if self.lock._is_owned():
                    self.lock.release()
