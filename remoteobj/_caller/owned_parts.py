"""What those who call an actor from the process that owns it know better than others."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .._protocol.calls import PendingCall
from ..errors import CallTimeoutError
from .call_errors import CallErrors
from .connection import Connection

__all__ = ["OwnedParts"]


class OwnedParts(NamedTuple):
    """What an endpoint has of its owner, where the actor is this process's own."""

    errors: Callable[[], CallErrors]
    connection: Connection
    """Which was there before the actor was."""
    await_connection: Callable[[float | None], Connection | None]
    """Called before a new connection is made: the one that is there; None: one is to be made.
    Waits, until a deadline, for an actor that is restarted; raises what it is that forbids it."""
    explain: Callable[..., CallTimeoutError]
    """Makes the error of a call that took too long, as `_inspection.Inspector.explain`."""
    interrupt: Callable[[PendingCall], None]
    """Has a call interrupted that was given up, if it runs; does not wait for that."""
