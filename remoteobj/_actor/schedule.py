"""What an actor runs next: the requests of its clients in turn, and a step of each open stream.

No I/O, no thread and no process: what is read and what is run is decided elsewhere. Each client
has a queue of its own, in the order in which it sent; the clients take turns, and so do requests
and streams, so that none starves another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from .._fast_typing import Protocol
from .._protocol.messages import Frame, Kind

__all__ = ["Queueing", "Schedule", "Streaming", "size_of"]


class Queueing(Protocol):
    """A client, as the schedule sees it."""

    requests: deque[Frame]
    """Its queue."""
    queued_bytes: int
    """The bytes in the queue."""
    unsent: list[Any]
    """What it is still owed; while there is such, it has no turn."""


class Streaming(Protocol):
    """An open stream, as the schedule sees it."""

    credit: int
    """Items that the consumer has asked for and that are not sent."""


C = TypeVar("C", bound=Queueing)
S = TypeVar("S", bound=Streaming)


class Schedule(Generic[C, S]):
    """The queues, and whose turn it is.

    Invariants: a client is in `turns` at most once, and only while it has requests. None of them
    is begun while the reply to an earlier one is not written whole. A stream is in `streams` at
    most once, and only with credit.
    """

    def __init__(self) -> None:
        self.turns: deque[C] = deque()
        """The clients that have requests, in the order of their turns."""
        self.streams: deque[S] = deque()
        """The streams that may go on, in the order of theirs."""

    def __bool__(self) -> bool:
        return bool(self.turns or self.streams)

    # --- requests ------------------------------------------------------------------------

    def add(self, client: C, request: Frame) -> None:
        """A client has sent a request."""
        if not client.requests:
            self.turns.append(client)
        client.requests.append(request)
        client.queued_bytes += size_of(request)

    def next_request(self) -> tuple[C, Frame] | None:
        """The request whose turn it is, taken out of its queue.

        Its client has no further turn until `line_up` says that the reply has been written.
        """
        while self.turns:
            client = self.turns.popleft()
            if client.unsent:
                continue  # It sent this while its last request was run; `line_up` will come.
            request = client.requests.popleft()
            client.queued_bytes -= size_of(request)
            return client, request
        return None

    def line_up(self, client: C) -> None:
        """A client may have its next turn, if it has requests and is owed nothing."""
        if client.requests and not client.unsent and client not in self.turns:
            self.turns.append(client)

    def put_back(self, client: C, request: Frame) -> None:
        """A request can't be begun yet: `line_up` will come, when its client has read on."""
        client.requests.appendleft(request)
        client.queued_bytes += size_of(request)

    def take_out(self, client: C, request: Frame) -> None:
        """A request is dealt with before its turn."""
        client.requests.remove(request)
        client.queued_bytes -= size_of(request)
        if not client.requests and client in self.turns:
            self.turns.remove(client)

    def withdraw(self, client: C, call_id: int) -> bool:
        """Take out a call that has not begun; False: there is none of this id."""
        for request in client.requests:
            if request.call_id == call_id and request.kind == Kind.CALL:
                self.take_out(client, request)
                return True
        return False

    def queued(self, clients: Iterable[C]) -> Iterator[Frame]:
        """The requests in the order of their turns, as far as another thread can see it."""
        waiting = [list(client.requests) for client in self._with_queues(clients)]
        return (
            requests[turn]
            for turn in range(max(map(len, waiting), default=0))
            for requests in waiting
            if turn < len(requests)
        )

    def length(self, clients: Iterable[C]) -> int:
        """How many those are."""
        return sum(len(client.requests) for client in self._with_queues(clients))

    def _with_queues(self, clients: Iterable[C]) -> Iterable[C]:
        """All who may have requests, those first whose turn it is: a client may have left."""
        return dict.fromkeys([*self.turns, *clients])

    def drain(self, clients: Iterable[C]) -> list[tuple[C, Frame]]:
        """Take all requests out of all queues, those of the clients whose turn it is first."""
        found: list[tuple[C, Frame]] = []
        for client in self._with_queues(clients):
            found += ((client, request) for request in client.requests)
            client.requests.clear()
            client.queued_bytes = 0
        self.turns.clear()
        return found

    # --- streams -------------------------------------------------------------------------

    def flow(self, stream: S) -> None:
        """A stream may go on, if its consumer has asked for items."""
        if stream.credit > 0 and stream not in self.streams:
            self.streams.append(stream)

    def next_stream(self) -> S | None:
        """The stream whose turn it is for a step; `flow` lines it up again."""
        return self.streams.popleft() if self.streams else None

    def flowing(self) -> list[S]:
        """The streams that may go on, in the order of their turns."""
        return list(self.streams)

    def take_stream(self, stream: S) -> bool:
        """Take a stream out before its turn; False: it is not there any more."""
        if stream not in self.streams:
            return False
        self.streams.remove(stream)
        return True


def size_of(request: Frame) -> int:
    """The bytes that a request holds."""
    return len(request[2]) + (sum(map(len, request[3])) if request[3] else 0)
