"""Reading and writing on behalf of callers that don't wait: in the I/O thread of the process.

A thread that waits for a reply reads the connection itself, for all. While none does, this reads
the outcomes of futures, and of awaits whose event loop can't, and writes what did not fit when
they were sent.
"""

from __future__ import annotations

import select
import time

from .._os.io_thread import BUSY_RETRY, reactor
from .._protocol.calls import PendingCall
from .._wire.channel import Channel
from .async_calls import AsyncCalls
from .frame_writer import FrameWriter
from .incoming import Incoming
from .shared_reader import SharedReader

__all__ = ["BackgroundIO"]

OWN_READS = 64
"""A thread that makes calls without waiting takes outcomes in itself, once in so many calls."""


class BackgroundIO:
    """One connection, as the I/O thread sees it."""

    def __init__(
        self,
        channel: Channel,
        incoming: Incoming,
        async_calls: AsyncCalls,
        reader: SharedReader,
        writer: FrameWriter,
    ) -> None:
        self._channel = channel
        self._incoming = incoming
        self._async_calls = async_calls
        self._reader = reader
        self._writer = writer
        self._wakeable = False
        self._registered = False
        self._last_call = 0.0

    # --- from any thread -------------------------------------------------------------------

    def expect_calls(self) -> None:
        """A call is about to be made for whose outcome its caller does not wait: from now on
        `Channel.wake` must end a wait, so that another thread can give a call up."""
        if not self._wakeable:
            self._wakeable = True
            self._channel.make_wakeable()

    def attend(self) -> None:
        """Have the I/O thread read and write, for as long as there is something to."""
        self._registered = True
        reactor.register(self)

    def call_begun(self, call: PendingCall) -> None:
        """A call was sent for whose outcome its caller does not wait."""
        self._last_call = time.perf_counter()
        if not self._registered or self._writer.unsent:
            self.attend()
        elif not call.call_id % OWN_READS:
            self._reader.poll()  # cheaper than to have the I/O thread do it, while calls are made

    # --- from the I/O thread ---------------------------------------------------------------

    @property
    def interest(self) -> dict[int, int]:
        """The events to wake up for, by descriptor; none when nothing is to be read or written."""
        incoming, async_calls, writer = self._incoming, self._async_calls, self._writer
        if incoming.closed_because is not None or not (async_calls.in_flight or writer.unsent):
            # In this order: another thread, which may make a call at any moment, does the reverse.
            self._registered = False
            if incoming.closed_because is not None or not async_calls.in_flight:
                return {}
            self._registered = True
        events = {self._channel.fileno(): select.POLLIN}
        if writer.unsent:
            writes = self._channel.writes
            events[writes] = events.get(writes, 0) | select.POLLOUT
        return {} if -1 in events else events

    def do_io(self) -> bool:
        """Read and write what goes without waiting; False: other threads are at it."""
        if time.perf_counter() - self._last_call < BUSY_RETRY:
            return False
        self._writer.flush_some()
        return self._reader.poll()
