"""What an actor that runs several calls at once tells a caller of which of its calls have begun.

A caller whose actor dies has to know which of its calls may have run. While an actor begins no
further call of a caller before it has answered the last one, the caller knows it by itself: the
oldest. Otherwise it is told, by a frame that is written before the call begins: what the kernel has
taken is read by the caller whatever becomes of the actor. So a caller that makes one call at a time
costs no frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from .._fast_typing import Protocol
from .._protocol.messages import Frame, FrameParts, Kind

_CALL = Kind.CALL  # a bare name: see `execution`

__all__ = ["BegunCalls", "is_answered", "is_told", "tell_that_they_wait"]


class Caller(Protocol):
    """A client, as far as it is told of its calls."""

    requests: deque[Frame]
    unsent: list[Any]
    begun_calls: BegunCalls | None

    def send(self, frame: FrameParts) -> None:
        """Write a frame, or leave it in `unsent`."""


class BegunCalls:
    """Those of one client that have begun and are not answered, and what it was told of them.

    `begins` and `waits` are for the thread that takes requests out of the queue; `ends` for any.
    """

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._told: int | None = None
        """Up to which call they have begun, as the client was told; None: the oldest alone has."""

    def begins(self, client: Caller, request: Frame) -> bool:
        """Tell a client that a call of its begins, if it could think otherwise. False: it can't
        be told now, since it does not read what it is owed; then the call must not begin."""
        if request[0] != _CALL:
            return True  # its caller waits for no outcome
        if client.unsent:
            return False
        if self._open or client.requests or self._told is not None:
            self._tell(client, request[1])
            if client.unsent:
                return False
        self._open.add(request[1])
        return True

    def _tell(self, client: Caller, call_id: int) -> None:
        oldest_queued = _oldest_in_queue(client)
        if not self._open and not 0 < oldest_queued < call_id:
            # It is the oldest without an answer, as the client takes it where it is told nothing.
            if self._told is not None:
                self._told = None
                client.send(Frame(Kind.IN_TURN, 0))
        elif call_id > (self._told or 0):
            self._told = call_id
            client.send(Frame(Kind.BEGUN, call_id))

    def ends(self, request: Frame) -> None:
        """A call is answered: its reply has been handed to `Caller.send`."""
        self._open.discard(request[1])

    def waits(self, client: Caller) -> None:
        """Tell a client that the next one of its calls waits, if it could think otherwise. To be
        called whenever what a client has sent can't begin, since as many run as may."""
        if self._told is None and not self._open and not client.unsent:
            oldest = _oldest_in_queue(client)
            if oldest:
                self._told = oldest - 1
                client.send(Frame(Kind.BEGUN, self._told))


def is_told(client: Caller, request: Frame) -> bool:
    """Whether a client knows all it needs of a request that is to begin: see `BegunCalls.begins`.
    If not, the request must not begin."""
    begun = client.begun_calls
    if begun is None:
        begun = client.begun_calls = BegunCalls()
    return begun.begins(client, request)


def is_answered(client: Caller, request: Frame) -> None:
    """The first frame that answers a request is written, or will be before another one begins."""
    if client.begun_calls is not None:
        client.begun_calls.ends(request)


def tell_that_they_wait(clients: Iterable[Caller]) -> None:
    """Tell these that the next one of their calls waits."""
    for client in clients:
        begun = client.begun_calls = client.begun_calls or BegunCalls()
        begun.waits(client)


def _oldest_in_queue(client: Caller) -> int:
    """The oldest call that waits; 0: there is none. A cast has no number."""
    return next((one.call_id for one in client.requests if one.kind == Kind.CALL), 0)
