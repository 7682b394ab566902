"""Reading and writing on behalf of callers that don't wait: in the I/O thread of the process.

A thread that waits for a reply reads the connection itself, for all. While none does, this reads
the outcomes of futures, and of awaits whose event loop can't, and writes what did not fit when
they were sent.

A program that makes some calls by futures and then asks for their results reads all outcomes by
itself, and is hindered where each reply wakes the I/O thread too. So that thread only looks in from
time to time, and reads where it finds an outcome that has lain there since it looked last. Where
that happens, or a callback waits, nobody will ask: then it is woken by what comes, until callers
are seen to wait again.
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
CONFIDENCE = 4
"""How many results callers must wait for, in a row, to be trusted to read what comes next."""


class BackgroundIO:
    """One connection, as the I/O thread sees it."""

    def __init__(
        self,
        channel: Channel,
        async_calls: AsyncCalls,
        incoming: Incoming,
        reader: SharedReader,
        writer: FrameWriter,
    ) -> None:
        self._channel = channel
        self._incoming = incoming
        self._async_calls = async_calls
        self._reader = reader
        self._writer = writer
        self.expects_calls = False
        """Mark: `expect_calls` was called."""
        self._registered = False
        self._looked_after = False
        self._seen: PendingCall | None = None
        """The eldest call in flight, when the I/O thread looked last."""
        self._confidence = CONFIDENCE
        self._last_call = 0.0

    # --- from any thread -------------------------------------------------------------------

    def expect_calls(self) -> None:
        """A call is about to be made for whose outcome its caller does not wait: from now on
        `Channel.wake` must end a wait, so that another thread can give a call up."""
        self._channel.make_wakeable()
        self.expects_calls = True

    def attend(self) -> None:
        """Have the I/O thread read and write, for as long as there is something to."""
        self._registered = True
        reactor.register(self)

    def call_begun(self, call: PendingCall) -> None:
        """A call was sent for whose outcome its caller does not wait, or will do so soon."""
        self._last_call = time.perf_counter()
        if self._writer.unsent:
            self.attend()
        elif not self._registered:
            if self._confidence < CONFIDENCE:
                self.attend()
            elif not self._looked_after:
                self._looked_after = True
                reactor.look_after(self)
        if not call.call_id % OWN_READS:
            self._reader.poll()  # cheaper than to have the I/O thread do it, while calls are made

    def hurry(self) -> None:
        """Nobody will wait for what is in flight, but has to be told of it."""
        self._confidence = 0
        if not self._registered and self._async_calls.in_flight:
            self.attend()

    def caller_waits(self) -> None:
        """A caller waits for an outcome that is not here yet."""
        if self._confidence < CONFIDENCE:
            self._confidence += 1

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

    def look(self) -> bool:
        """After a nap: see whether callers read; whether to look again."""
        eldest, before = self._async_calls.oldest(), self._seen
        if eldest is None or self._incoming.closed_because is not None:
            self._looked_after, self._seen = False, None
            # In this order, as in `interest`.
            self._looked_after = self._async_calls.oldest() is not None
            return self._looked_after and self._incoming.closed_because is None
        self._seen = eldest
        if eldest is not before:
            return True
        self._reader.poll()
        if eldest.ready:
            self._confidence = 0
        self._looked_after, self._seen = False, None
        self.attend()
        return False

    def do_io(self) -> bool:
        """Read and write what goes without waiting; False: other threads are at it."""
        if time.perf_counter() - self._last_call < BUSY_RETRY:
            return False
        self._writer.flush_some()
        return self._reader.poll()
