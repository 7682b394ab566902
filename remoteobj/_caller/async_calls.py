"""The calls of one connection that the I/O thread reads for: those of futures, and of awaits whose
event loop can't read by itself.

There may be `IN_FLIGHT` of them at once, so that a producer that is faster than the actor does not
fill the memory. A thread that makes more waits for one of them. Awaits have limits of their own,
which are as high: one for each event loop (`event_loop.CallLimit`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from .._protocol.calls import PendingCall

__all__ = ["AsyncCalls", "OnReady"]

IN_FLIGHT = 1024
"""Calls that may be open at once on one connection, of those that no thread waits for."""

OnReady = Callable[[PendingCall], object]


class AsyncCalls:
    """Which calls are watched on behalf of callers that don't wait for them."""

    def __init__(self) -> None:
        self.in_flight: dict[int, PendingCall] = {}
        """By call id: the calls whose `on_ready` has not been called."""

    def watch(self, call: PendingCall, on_ready: OnReady) -> None:
        """Have `on_ready` called once when something is here for this call."""
        call.on_ready = on_ready
        self.in_flight[call.call_id] = call

    def forget(self, call: PendingCall) -> None:
        """Watch this call no longer. Harmless when it is not watched."""
        self.in_flight.pop(call.call_id, None)

    @property
    def full(self) -> bool:
        """Whether as many calls are in flight as may be."""
        return len(self.in_flight) >= IN_FLIGHT

    def oldest(self) -> PendingCall | None:
        """The call that has been in flight for longest, if there is one."""
        with contextlib.suppress(RuntimeError):  # another thread has taken one out, just now
            return next(iter(self.in_flight.values()), None)
        return None
