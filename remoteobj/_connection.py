"""A connection to an actor: what `_exchange` does, and calls whose callers don't wait for them.

Such a call has no thread of its own that would read its outcome. Whoever reads does so for it
too, and where nobody does, the reactor.
"""

from __future__ import annotations

import contextlib
import select
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence

from ._exchange import Exchange, ReenteredError
from ._messages import Bytes, Frame, Kind
from ._protocol import ConnectionEndedError, Failure, Farewell, Ticket
from ._reactor import NAP, reactor
from ._transport import Channel

__all__ = ["Connection", "ConnectionEndedError", "Farewell", "ReenteredError"]

IN_FLIGHT = 1024
"""Calls that may be open at once, of those that nobody waits for: futures and awaits."""
OWN_READS = 64
"""Who makes such calls takes the outcomes in himself, once in so many."""


class Connection(Exchange):
    """Sends calls and takes in replies, for callers who wait and for those who don't."""

    def __init__(self, channel: Channel, lost: Failure, farewell: Farewell) -> None:
        super().__init__(channel, lost, farewell)
        _have_told(channel, self)
        self._craving: deque[Callable[[], object]] = deque()
        self._attended = False
        self._touched = 0.0

    def submit(
        self,
        payload: bytes,
        buffers: Sequence[Bytes],
        heard: Callable[[Ticket], object],
        wait: bool = True,
    ) -> Ticket:
        """Send a call whose caller won't wait: `heard` is called when its outcome is here.

        That happens within a read, by whatever thread is at it, so it must be short, and not
        run a user's code. `wait=False` does not wait for room to write, either.
        """
        ticket = self._send(Kind.CALL, payload, buffers, heard, wait)
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
        return len(self._watched) >= IN_FLIGHT or bool(self._unsent)

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

    # --- as the reactor sees it ----------------------------------------------------------

    def fileno(self) -> int:
        """The descriptor; -1 once closed."""
        return self._channel.fileno()

    @property
    def wants(self) -> int:
        """The events that somebody waits for who does not read himself."""
        if self.end is not None or not (self._watched or self._unsent):
            # In this order: another thread, which may submit at any moment, does the reverse.
            self._attended = False
            if self.end is not None or not self._watched:
                return 0
            self._attended = True
        return select.POLLIN | (select.POLLOUT if self._unsent else 0)

    def tend(self) -> bool:
        """Read and write what goes without waiting; False: other threads are at it."""
        if time.perf_counter() - self._touched < NAP:
            return False
        if not self.look():
            return False
        self._send_posted(wait=False)
        return True

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
