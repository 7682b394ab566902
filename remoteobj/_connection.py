"""One connection to an actor, shared by the threads of this process.

There is no reader thread. A thread that waits for its reply reads the channel itself, and
hands what is not its own to the others; when its reply is here, it wakes one of them to
read on. So a lone caller pays for no switch between threads, and many share one socket.

Locks, always taken in this order: `_sending` guards the write side (and with it the order
of calls), `_reading` belongs to the one thread that reads.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from ._frames import MalformedFrameError, encode
from ._messages import Bytes, Frame, Kind, credit_frame
from ._protocol import Bell, CallTable, Failure, Ticket
from ._transport import Channel, ChannelClosedError
from .errors import DeadlockError, NotListeningError, RemoteObjError

__all__ = ["Connection", "ConnectionEndedError", "Farewell", "ReenteredError"]

LINGER = 1.0
"""Seconds in which what a closed connection still holds can be read."""

Farewell = Callable[[Bytes], Failure]
"""Makes the failure of the calls that a GOODBYE with this payload leaves unanswered."""


class ConnectionEndedError(Exception):
    """The connection had ended before the call was sent: nothing of it went out."""


class ReenteredError(DeadlockError):
    """A signal handler or a finalizer waits for what the code below it, in this same thread,
    is just taking in: it would wait for ever."""

    def __init__(self) -> None:
        super().__init__("this thread is within a call on the same object, further down its stack")


class Connection:
    """Sends calls and takes in replies.

    Guarantee: every ticket gets ready, by a frame or by a failure, whatever happens to the
    other side.
    """

    def __init__(self, channel: Channel, lost: Failure, farewell: Farewell) -> None:
        self._channel = channel
        self._calls = CallTable()
        self._lost = lost
        self._farewell = farewell
        self._sending = threading.Lock()
        self._reading = threading.Lock()
        self._unsent: list[Bytes] = []
        self._posted: deque[Frame] = deque()
        self._asleep: dict[Bell, None] = {}
        # The threads that are about to take a lock, or have one. Noted before and forgotten
        # after, so that a signal handler on top of them is recognized at whatever line it came.
        self._inside: set[int] = set()
        self._end: Failure | None = None
        self.interrupted = False
        self.born = self._calls.expect_birth()
        self.over = self._calls.expect_end()

    # --- sending -----------------------------------------------------------------------

    def call(self, payload: bytes, buffers: list[Bytes]) -> Ticket:
        """Send a call; its ticket.

        Raises:
            ConnectionEndedError: nothing was sent.
            ReenteredError: this thread is within a call, of which a signal handler or a
                finalizer makes another one; nothing was sent.
        """
        me = threading.get_ident()
        if me in self._inside:
            raise ReenteredError
        self._inside.add(me)
        try:
            with self._sending:
                ticket = self._call(payload, buffers)
            if self._posted:
                self._send_posted()
        finally:
            self._inside.discard(me)
        return ticket

    def _call(self, payload: bytes, buffers: list[Bytes]) -> Ticket:
        if self._end is not None:
            raise ConnectionEndedError
        ticket = self._calls.open()
        try:
            self._write(encode((Kind.CALL, ticket.call_id, payload, buffers)))
        except ChannelClosedError:
            # It was never whole over there, and so has surely not begun.
            self._calls.withdraw(ticket)
            self._read_to_the_end()
        except BaseException:
            self.abandon(ticket)
            raise
        return ticket

    def post(self, frame: Frame, wait: bool = True) -> None:
        """Send a small frame as soon as no other is half sent; never waits for a lock.

        With `wait=False` it does not wait for room either: safe in a finalizer, which may
        run while this very thread holds a lock. The next writer then sends the rest.
        """
        self._posted.append(frame)
        me = threading.get_ident()
        outermost = me not in self._inside
        self._inside.add(me)
        try:
            self._send_posted(wait)
        finally:
            if outermost:
                self._inside.discard(me)

    def _send_posted(self, wait: bool = True) -> None:
        while self._posted and self._sending.acquire(blocking=False):
            try:
                with contextlib.suppress(IndexError, ChannelClosedError):
                    self._write(encode(self._posted.popleft()), wait)
            finally:
                self._sending.release()

    def _write(self, parts: list[Bytes], wait: bool = True) -> None:
        """Write all of it. An exception in the wait leaves the rest for the next writer."""
        self._push([*self._unsent, *parts] if self._unsent else parts)
        while self._unsent and wait:
            # The other side may be waiting for us to read before it reads on.
            if self._end is not None:
                raise ChannelClosedError
            may_read = self._try_reading()
            try:
                if not self._channel.wait_to_write(or_read=may_read) and may_read:
                    self._take_in(time.monotonic())
            finally:
                if may_read:
                    self._yield_reading()
            self._push(self._unsent)

    def _push(self, parts: list[Bytes]) -> None:
        try:
            self._unsent = self._channel.write(parts)
        except ChannelClosedError:
            raise
        except BaseException:
            self._lose_place()
            raise

    def _lose_place(self) -> None:
        """Interrupted, by Ctrl-C say, within a read or write: our place in the stream may be
        lost, and with it every later frame, so the connection ends. The object lives on."""
        self.interrupted = True
        self._finish(_interrupted)

    # --- receiving ---------------------------------------------------------------------

    def wait(self, ticket: Ticket, deadline: float | None = None, whole: bool = False) -> bool:
        """Wait until something is here for a ticket; False when `deadline` passed first.

        `whole` waits for the end of a stream, and takes its items in meanwhile.
        """
        if ticket.ready(whole):
            return True
        me = threading.get_ident()
        if me in self._inside:
            raise ReenteredError
        self._inside.add(me)
        try:
            return self._wait(ticket, deadline, whole)
        finally:
            self._inside.discard(me)

    def _wait(self, ticket: Ticket, deadline: float | None, whole: bool) -> bool:
        while not ticket.ready(whole):
            if self._end is not None:
                ticket.fail(partial(self._end, False))
            elif self._try_reading():
                try:
                    while not ticket.ready(whole) and self._end is None:
                        self._take_in(deadline)
                        if deadline is not None and time.monotonic() >= deadline:
                            return ticket.ready(whole)
                finally:
                    self._yield_reading()
            elif not self._sleep(ticket, deadline, whole):
                return ticket.ready(whole)
        if self._asleep and not self._reading.locked():
            self._wake_one()  # rung to read on, but it has what it came for
        return True

    def _sleep(self, ticket: Ticket, deadline: float | None, whole: bool) -> bool:
        """Sleep until the reading thread rings; False when `deadline` passed first."""
        bell = ticket.arm()
        self._asleep[bell] = None
        try:
            if ticket.ready(whole) or not self._reading.locked():
                return True
            timeout = -1.0 if deadline is None else max(0.0, deadline - time.monotonic())
            return bell.wait(timeout)
        finally:
            self._asleep.pop(bell, None)
            ticket.disarm(bell)

    def _try_reading(self) -> bool:
        """Become the thread that reads, if none does."""
        return self._reading.acquire(blocking=False)

    def _yield_reading(self) -> None:
        """Stop reading, and wake one sleeper to go on."""
        self._reading.release()
        if self._asleep:
            self._wake_one()

    def _wake_one(self) -> None:
        with contextlib.suppress(StopIteration, RuntimeError):  # it left, or another came
            next(iter(self._asleep)).ring()

    def _take_in(self, deadline: float | None) -> bool:
        """Read once and hand out what came; the caller holds `_reading`. False: nothing did."""
        if not self._channel.wait(deadline):
            return False
        try:
            for frame in self._channel.take():
                if frame.kind == Kind.GOODBYE:
                    self._finish(self._farewell(frame.payload))
                else:
                    self._calls.receive(frame)
        except (ChannelClosedError, MalformedFrameError):
            self._finish(self._lost)
        except BaseException:
            self._lose_place()
            raise
        return True

    def _read_to_the_end(self) -> None:
        """The other side closed: replies and its last word may still be there to read."""
        while self._end is None:
            if not self._try_reading():
                return  # the thread that reads will find the end
            try:
                if not self._take_in(time.monotonic() + LINGER):
                    self._finish(self._lost)
            finally:
                self._yield_reading()

    def _finish(self, failure: Failure) -> None:
        if self._end is None:
            self._end = failure
            self._calls.fail_all(failure)

    # --- the rest ----------------------------------------------------------------------

    def grant(self, ticket: Ticket, items: int) -> None:
        """Let a stream send so many more items."""
        self.post(credit_frame(ticket.call_id, items))

    def abandon(self, ticket: Ticket) -> None:
        """Nobody waits for a call any more: its late reply is dropped, its stream closed."""
        self._calls.abandon(ticket, self._close_stream)

    def _close_stream(self, call_id: int) -> None:
        self.post(Frame(Kind.CLOSE, call_id), wait=False)

    def look(self) -> bool:
        """Take in all that is there without waiting; whether the connection still stands."""
        me = threading.get_ident()
        if me not in self._inside:
            self._inside.add(me)
            try:
                self._look()
            finally:
                self._inside.discard(me)
        return self._end is None

    def _look(self) -> None:
        if self._try_reading():
            try:
                while self._end is None and self._take_in(time.monotonic()):
                    pass
            finally:
                self._yield_reading()

    @property
    def ended(self) -> Failure | None:
        """Why nothing can be sent any more; None while it can."""
        return self._end

    def after_fork(self) -> None:
        """In a forked child: it is the parent's, and so are the threads that held its locks."""
        self._sending, self._reading = threading.Lock(), threading.Lock()
        self._inside = set()
        self._asleep = {}
        self._end = _of_the_parent

    def close(self) -> None:
        """End it from this side; calls that are still open fail."""
        self._finish(self._lost)
        self._channel.close()


def _of_the_parent(maybe_executed: bool) -> BaseException:
    return NotListeningError("this connection belongs to the parent process")


def _interrupted(maybe_executed: bool) -> BaseException:
    whether = "may have been" if maybe_executed else "was not"
    return RemoteObjError(
        f"an exception in another thread interrupted the connection; this call {whether} executed"
    )
