"""A connection to an actor: what `_exchange` does, and calls whose callers don't wait for them.

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

from ._chain import hosts
from ._exchange import UNSENT, Exchange
from ._frames import encode
from ._messages import Bytes, Frame, Kind
from ._protocol import ConnectionEndedError, Failure, Farewell, ReenteredError, Ticket
from ._reactor import NAP, reactor
from ._transport import Channel, ChannelClosedError
from .errors import NotListeningError

__all__ = ["Connection", "ConnectionEndedError", "Farewell", "ReenteredError"]

IN_FLIGHT = 1024
"""Calls that may be open at once, of those that nobody waits for: futures and awaits."""
OWN_READS = 64
"""Who makes such calls takes the outcomes in himself, once in so many."""


_CALL = int(Kind.CALL)
_ANSWERS = frozenset(map(int, (Kind.VALUE, Kind.ITSELF, Kind.ERROR)))


class Connection(Exchange):
    """Sends calls and takes in replies, for callers who wait and for those who don't."""

    def __init__(self, channel: Channel, lost: Failure, farewell: Farewell) -> None:
        super().__init__(channel, lost, farewell)
        _have_told(channel, self)
        self.floor = channel.floor
        self._wakeable = False
        self._attended = False
        self._touched = 0.0

    def ask(self, payload: bytes) -> Frame | Ticket | None:
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
            or (hosts and threading.get_ident() in hosts)
            or self._posted
            or self.backlogs
        ):
            return None
        try:
            if not (reading.acquire(False) and sending.acquire(False)) or self.end is not None:
                return None
            call_id = calls.open_alone()
            self._write(encode((_CALL, call_id, payload, ())))
            sending.release()
            if self._posted:
                self._send_posted()  # by another thread, which found us writing
            self._channel.wait(None)
            return self._take_answer(call_id)
        except ChannelClosedError:
            return self._fail_unsent(calls.adopt())
        finally:
            if reading._is_owned():
                if calls.alone:
                    self.abandon(calls.adopt())
                self._yield_reading()
            if sending._is_owned():
                sending.release()

    def _take_answer(self, call_id: int) -> Frame | Ticket:
        ticket = None
        try:
            frames = self._channel.take()
            if len(frames) == 1:
                frame = frames[0]
                if frame[1] == call_id and frame[0] in _ANSWERS:
                    self._calls.alone = 0
                    return frame
            ticket = self._calls.adopt()
            for frame in frames:
                self._receive(frame)
        except BaseException as exc:
            ticket = ticket or self._calls.adopt()
            self._broken(exc)
        return ticket

    def submit(
        self,
        payload: bytes,
        buffers: Sequence[Bytes],
        heard: Callable[[Ticket], object],
        wait: bool = True,
        hold: bool = False,
    ) -> Ticket:
        """Send a call whose caller won't wait: `heard` is called when its outcome is here.

        That happens within a read, by whatever thread is at it, so it must be short, and not
        run a user's code. `wait=False` does not wait for room to write, either: then the buffers
        must stay as they are until the outcome is here. `hold` may keep it back until the next
        write, or `flush`.
        """
        if not self._wakeable:
            self._wakeable = True
            self._channel.make_wakeable()
        ticket = self._send(_CALL, payload, buffers, heard, wait, hold and not self._channel.prompt)
        if self._channel.prompt:
            self.wait(ticket)
        elif not ticket.ready:
            self._touched = time.perf_counter()
            if not self._attended or self._unsent:
                self._attended = True
                reactor.attend(self)
            elif not ticket.call_id % OWN_READS:
                self.look()  # cheaper than to have the reactor do it, while calls are made
        return ticket

    def flush(self) -> None:
        """Send what was held back."""
        self._send_posted(wait=False)

    def listen(self, ticket: Ticket, heard: Callable[[Ticket], object]) -> None:
        """Have `heard` called once when something is here for a ticket, as `submit` does."""
        ticket.heard = heard
        self._watched[ticket.call_id] = ticket
        if ticket.ready or self.end is not None:
            ticket.ring()
            self._watched.pop(ticket.call_id, None)
        elif self._channel.prompt:
            self.wait(ticket)
        else:
            self._attended = True
            reactor.attend(self)

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

    def ahead_of(self, ticket: Ticket) -> list[Bytes]:
        """What the open calls before this one were sent as, the eldest first."""
        return self._calls.ahead_of(ticket)

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
        if time.perf_counter() - self._touched < NAP:
            return False
        self._send_posted(wait=False)
        return self.look()

    def drop(self, ticket: Ticket, failure: Callable[[], BaseException]) -> None:
        """The same, and end the wait of other threads for it, with this failure."""
        ticket.heard = None
        self.abandon(ticket)
        ticket.fail(failure)
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

    channel.sharing.tell = tell
    channel.sharing.look = look


def _of_the_parent(_: bool) -> BaseException:
    return NotListeningError("this connection belongs to the parent process")
