"""The rules of the conversation, without I/O: which call is open, which state we are in.

Everything that decides what happens to a call belongs here; everything that reads, writes,
waits or wakes a thread does not.

Why at most one call of a connection can have run without its caller knowing: the actor
begins no further call of a connection before the reply to the last one is written whole.
So when the actor dies, the oldest call that has no reply may have run; the younger have not
(but for requests that the oldest one itself had run, by `process_requests`).
"""

from __future__ import annotations

import contextlib
import enum
import itertools
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from ._messages import BIRTH, Frame, Kind

__all__ = ["CallTable", "Event", "Failure", "Life", "State", "Ticket"]

Failure = Callable[[bool], BaseException]
"""Makes the error of a call that got no reply; it is told whether the call may have run."""


class Bell:
    """Wakes one thread, once; ringing it again does nothing."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, timeout: float = -1) -> bool:
        """Sleep until it rings; False when `timeout` seconds passed first."""
        return self._lock.acquire(timeout=timeout)

    def ring(self) -> None:
        with contextlib.suppress(RuntimeError):  # it has rung already
            self._lock.release()


class Ticket:
    """Where the outcome of one call arrives.

    A value, an error or a refusal is `first`. A stream's first frame is `first` too, and
    what follows it goes to `items`. What ends a call without a frame is `failure`.
    """

    __slots__ = ("_bells", "call_id", "closed", "failure", "first", "items", "over", "streaming")

    def __init__(self) -> None:
        self.call_id = BIRTH
        self.first: Frame | None = None
        self.items: deque[Frame] | None = None
        self.failure: Callable[[], BaseException] | None = None
        self.over = False  # nothing more will come
        self.closed = False  # nobody wants more items: its end alone is waited for
        self.streaming = False  # somebody has `first` and now takes items
        self._bells: list[Bell] = []

    def ready(self, whole: bool = False) -> bool:
        """Whether something is here to take; `whole`: everything that will ever come."""
        if whole:
            return self.over
        if self.failure is not None:
            return True
        return bool(self.items) if self.streaming else self.first is not None

    def deliver(self, frame: Frame) -> bool:
        """Take in a frame about this call; True when it is the last one."""
        if frame.kind == Kind.STREAM:
            self.items = deque()
            self.first = frame
        elif self.items is not None:
            if not (self.closed and frame.kind == Kind.ITEM):
                self.items.append(frame)
        else:
            self.first = frame
        self.over = frame.kind not in _GOES_ON
        self.ring()
        return self.over

    def fail(self, failure: Callable[[], BaseException]) -> None:
        self.failure = failure
        self.over = True
        self.ring()

    def arm(self) -> Bell:
        """The bell that `ring` rings, for a thread that goes to sleep until then."""
        bell = Bell()
        self._bells = [*self._bells, bell]
        return bell

    def disarm(self, bell: Bell) -> None:
        self._bells = [one for one in self._bells if one is not bell]

    def ring(self) -> None:
        """Wake the threads that sleep for this call."""
        for bell in self._bells:
            bell.ring()


_GOES_ON: Final = frozenset({Kind.STREAM, Kind.ITEM})


class _Abandoned:
    """Stands where a ticket stood that nobody waits for: the late reply is dropped."""

    def __init__(self, call_id: int, close: Callable[[int], None]) -> None:
        self.call_id = call_id
        self._close = close

    def deliver(self, frame: Frame) -> bool:
        if frame.kind == Kind.STREAM:
            self._close(self.call_id)
        return True

    def fail(self, failure: Callable[[], BaseException]) -> None:
        pass


_END = BIRTH - 1


class CallTable:
    """The calls of one connection that have no outcome yet."""

    def __init__(self) -> None:
        self._open: dict[int, Ticket | _Abandoned] = {}
        self._ids = itertools.count(BIRTH + 1)

    def expect_birth(self) -> Ticket:
        """The ticket for the actor's first word: that it is made, or why not."""
        ticket = Ticket()
        self._open[BIRTH] = ticket
        return ticket

    def expect_end(self) -> Ticket:
        """A ticket that only the end of the connection makes ready."""
        ticket = Ticket()
        ticket.call_id = _END
        self._open[_END] = ticket
        return ticket

    def open(self) -> Ticket:
        """The ticket of a new call."""
        ticket = Ticket()
        ticket.call_id = next(self._ids)
        self._open[ticket.call_id] = ticket
        return ticket

    def receive(self, frame: Frame) -> None:
        """Give a frame to the call it is about; one about no open call is dropped."""
        sink = self._open.get(frame.call_id)
        if sink is not None and sink.deliver(frame):
            self._open.pop(frame.call_id, None)

    def withdraw(self, ticket: Ticket) -> None:
        """This call did not go out."""
        self._open.pop(ticket.call_id, None)

    def abandon(self, ticket: Ticket, close: Callable[[int], None]) -> None:
        """Nobody waits for this call any more; `close` ends it over there if it streams."""
        if ticket.call_id not in self._open or ticket.closed:
            return
        ticket.closed = True
        if ticket.first is not None:
            close(ticket.call_id)  # the END that answers it wakes whoever waits for an item
        else:
            self._open[ticket.call_id] = _Abandoned(ticket.call_id, close)

    def fail_all(self, failure: Failure) -> None:
        """End every open call: exactly the oldest one without a reply may have run."""
        oldest = True
        for call_id in sorted(self._open):
            sink = self._open.pop(call_id, None)
            if sink is None:
                continue  # its last frame came this very moment
            # That the object is made is no call, and a stream was answered by its first frame.
            apart = call_id <= BIRTH or (isinstance(sink, Ticket) and sink.first is not None)
            maybe_executed = apart or oldest
            oldest = oldest and apart
            sink.fail(lambda maybe=maybe_executed: failure(maybe))  # type: ignore[misc]

    def __len__(self) -> int:
        return len(self._open)


class State(enum.Enum):
    """Where a listener is in its life."""

    STARTING = enum.auto()
    RUNNING = enum.auto()
    DRAINING = enum.auto()  # no new connections; what has arrived is fulfilled or refused
    STOPPED = enum.auto()


class Event(enum.Enum):
    """What moves a listener on."""

    READY = enum.auto()
    STOP = enum.auto()
    DRAINED = enum.auto()


_TRANSITIONS = {
    (State.STARTING, Event.READY): State.RUNNING,
    (State.STARTING, Event.STOP): State.DRAINING,
    (State.RUNNING, Event.STOP): State.DRAINING,
    (State.DRAINING, Event.READY): State.DRAINING,  # told to stop while it was starting
    (State.DRAINING, Event.STOP): State.DRAINING,
    (State.DRAINING, Event.DRAINED): State.STOPPED,
    (State.STOPPED, Event.STOP): State.STOPPED,
}


class Life:
    """The state of a listener, moved by events alone.

    >>> life = Life()
    >>> life.on(Event.READY)
    <State.RUNNING: 2>
    >>> life.on(Event.STOP)
    <State.DRAINING: 3>
    """

    def __init__(self) -> None:
        self.state = State.STARTING
        self.stopping = False
        self._lock = threading.RLock()  # a signal handler may come on top of its holder

    def on(self, event: Event) -> State:
        """Move on; the state after it.

        Raises:
            RuntimeError: this can't happen in this state.
        """
        with self._lock:
            try:
                self.state = _TRANSITIONS[self.state, event]
            except KeyError:
                raise RuntimeError(f"{event.name} can't happen while {self.state.name}") from None
            self.stopping = self.state in (State.DRAINING, State.STOPPED)
            return self.state
