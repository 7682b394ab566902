"""A connection to an actor: what `exchange` does, and calls whose callers don't wait for them.

Such a call has no thread of its own that would read its outcome. Whoever reads does so for it
too, and where nobody does, the reactor.
"""

from __future__ import annotations

import contextlib
import select
import threading
import time
import weakref
from collections.abc import Callable, Sequence

from .._os.io_thread import BUSY_RETRY, reactor
from .._protocol.calls import (
    ConnectionEndedError,
    ErrorFactory,
    GoodbyeErrors,
    PendingCall,
    ReenteredError,
)
from .._protocol.chains import serving_threads
from .._protocol.frames import encode
from .._protocol.messages import Bytes, Frame, Kind
from .._wire.channel import Channel, ChannelClosedError
from ..errors import NotListeningError
from .exchange import UNSENT, Exchange

__all__ = ["Connection", "ConnectionEndedError", "GoodbyeErrors", "ReenteredError"]

IN_FLIGHT = 1024
"""Calls that may be open at once, of those that nobody waits for: futures and awaits."""
OWN_READS = 64
"""Who makes such calls takes the outcomes in himself, once in so many."""


_ANSWERS = frozenset((Kind.VALUE, Kind.RETURNED_SELF, Kind.ERROR))


class Connection(Exchange):
    """Sends calls and takes in replies, for callers who wait and for those who don't."""

    def __init__(self, channel: Channel, lost: ErrorFactory, goodbye_error: GoodbyeErrors) -> None:
        super().__init__(channel, lost, goodbye_error)
        _have_told(channel, self)
        self.writable = channel.writable
        self._wakeable = False
        self._attended = False
        self._touched = 0.0

    def ask(self, payload: bytes) -> Frame | PendingCall | None:
        """Send a small call and take its answer, in one go: the short cut of a lone caller.

        While it holds the reading, nobody else can get the answer, so that the call needs no
        ticket. It gets one after all, which is returned, if something else comes first. None:
        other threads use the connection, or it has ended; nothing was sent.
        """
        sending, reading, calls = self._sending, self._reading, self._calls
        if (
            sending._is_owned()
            or reading._is_owned()
            or self._unsent
            or self._held
            or (serving_threads and threading.get_ident() in serving_threads)
            or self._posted
            or self.backlogs
        ):
            return None
        try:
            if not (reading.acquire(False) and sending.acquire(False)) or self.end is not None:
                return None
            call_id = calls.open_fast()
            self._write(encode((Kind.CALL, call_id, payload, (), b"", 0)))
            sending.release()
            if self._posted:
                self._send_posted()  # by another thread, which found us writing
            self._channel.wait(None)
            return self._take_answer(call_id)
        except ChannelClosedError:
            return self._fail_unsent(calls.promote())
        finally:
            if reading._is_owned():
                if calls.fast_call_id:
                    self.abandon(calls.promote())
                self._yield_reading()
            if sending._is_owned():
                sending.release()

    def _take_answer(self, call_id: int) -> Frame | PendingCall:
        pending = None
        try:
            frames = self._channel.take()
            if len(frames) == 1:
                frame = frames[0]
                if frame[1] == call_id and frame[0] in _ANSWERS:
                    self._calls.fast_call_id = 0
                    return frame
            pending = self._calls.promote()
            for frame in frames:
                self._receive(frame)
        except BaseException as exc:
            pending = pending or self._calls.promote()
            self._broken(exc)
        return pending

    def submit(
        self,
        payload: bytes,
        buffers: Sequence[Bytes],
        heard: Callable[[PendingCall], object],
        wait: bool = True,
        hold: bool = False,
    ) -> PendingCall:
        """Send a call whose caller won't wait: `heard` is called when its outcome is here.

        That happens within a read, by whatever thread is at it, so it must be short, and not
        run a user's code. `wait=False` does not wait for room to write, either: then the buffers
        must stay as they are until the outcome is here. `hold` may keep it back until the next
        write, or `flush`.
        """
        if not self._wakeable:
            self._wakeable = True
            self._channel.make_wakeable()
        pending = self._send(
            Kind.CALL, payload, buffers, heard, wait, hold and not self._channel.runs_inline
        )
        if self._channel.runs_inline:
            self.wait(pending)
        elif not pending.ready:
            self._touched = time.perf_counter()
            if not self._attended or self._unsent:
                self._attended = True
                reactor.register(self)
            elif not pending.call_id % OWN_READS:
                self.look()  # cheaper than to have the reactor do it, while calls are made
        return pending

    def flush(self) -> None:
        """Send what was held back."""
        self._send_posted(wait=False)

    def listen(self, pending: PendingCall, heard: Callable[[PendingCall], object]) -> None:
        """Have `heard` called once when something is here for a ticket, as `submit` does."""
        pending.heard = heard
        self._watched[pending.call_id] = pending
        if pending.ready or self.end is not None:
            pending.notify()
            self._watched.pop(pending.call_id, None)
        elif self._channel.runs_inline:
            self.wait(pending)
        else:
            self._attended = True
            reactor.register(self)

    @property
    def full(self) -> bool:
        """Whether as many calls as may be are on their way and not answered."""
        if len(self._watched) >= IN_FLIGHT:
            return True
        return bool(self._unsent) and sum(map(len, self._unsent)) > UNSENT

    def wait_for_room(self) -> None:
        """Wait until another call may be sent."""
        while len(self._watched) >= IN_FLIGHT and self.end is None:
            with contextlib.suppress(StopIteration, RuntimeError):  # one was answered just now
                self.wait(next(iter(self._watched.values())))

    def when_room(self, tell: Callable[[], object]) -> None:
        """Have `tell` called once when there is room, or the connection has ended."""
        self._craving.append(tell)
        self._make_room()

    def _make_room(self) -> None:
        while self._craving and (self.end is not None or not self.full):
            with contextlib.suppress(IndexError):
                self._craving.popleft()()

    def ahead_of(self, pending: PendingCall) -> list[Bytes]:
        """What the open calls before this one were sent as, the eldest first."""
        return self._calls.ahead_of(pending)

    def after_fork(self) -> None:
        """In a forked child: it is the parent's, and so are the threads that held its locks."""
        self._renew_locks()
        self._asleep, self._watched, self.backlogs = {}, {}, {}
        self.end = _of_the_parent

    # --- as the reactor sees it ----------------------------------------------------------

    @property
    def wants(self) -> dict[int, int]:
        """The events that somebody waits for who does not read himself, by descriptor."""
        if self.end is not None or not (self._watched or self._unsent):
            # In this order: another thread, which may submit at any moment, does the reverse.
            self._attended = False
            if self.end is not None or not self._watched:
                return {}
            self._attended = True
        events = {self._channel.fileno(): select.POLLIN}
        if self._unsent:
            writes = self._channel.writes
            events[writes] = events.get(writes, 0) | select.POLLOUT
        return {} if -1 in events else events

    def tend(self) -> bool:
        """Read and write what goes without waiting; False: other threads are at it."""
        if time.perf_counter() - self._touched < BUSY_RETRY:
            return False
        self._send_posted(wait=False)
        return self.look()

    def drop(self, pending: PendingCall, failure: Callable[[], BaseException]) -> None:
        """The same, and end the wait of other threads for it, with this failure."""
        pending.heard = None
        self.abandon(pending)
        pending.fail(failure)
        if self.end is None:
            self._channel.wake()


def _have_told(channel: Channel, connection: Connection) -> None:
    """Have what a channel says of its own written. Not so that it would keep us alive."""
    mine = weakref.ref(connection)

    def tell(frame: Frame) -> None:
        if (connection := mine()) is not None:
            connection.post(frame, wait=False)

    def look() -> None:
        if (connection := mine()) is not None:
            connection.look()

    channel.buffer_exchange.tell = tell
    channel.buffer_exchange.look = look


def _of_the_parent(_: bool) -> BaseException:
    return NotListeningError("this connection belongs to the parent process")
