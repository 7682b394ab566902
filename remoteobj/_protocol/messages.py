"""What can be said between a caller and an actor.

A message travels as a frame: a fixed header (kind, call id, lengths), which is all that a
reader decodes, and a payload that stays bytes until the one thread whom it concerns
unpickles it. Frames about one call share its id; the caller chooses ids, upwards from 1.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = [
    "INIT_ID",
    "WINDOW",
    "Bytes",
    "Frame",
    "InterruptOrder",
    "Kind",
    "StopOrder",
    "credit_frame",
    "read_credit",
]

Bytes = bytes | bytearray | memoryview

INIT_ID = 0
"""The id under which an actor answers its own making: a value once `__init__` is done."""

WINDOW = 16
"""Items that a stream may send ahead of its consumer."""


class Kind(enum.IntEnum):
    """What a frame is."""

    # caller to actor
    CALL = 1  # a chain of operations to evaluate; the id is new
    CAST = 4  # the same, never answered
    CLOSE = 3  # nobody wants it any more: a call that has not begun, or the rest of a stream
    CREDIT = 2  # the consumer of a stream takes so many more items
    SEND = 5  # ... takes one more, and sends its generator a value
    RAISE = 6  # ... raises an exception in its generator
    CHAINED_CALL = 7  # a call, made by an actor while it is being called (`_protocol.chains`)
    CHAINED_CAST = 8
    CHAINED_LATER = 9  # a call that the actor may wait for later: a future's, or an await's
    WAITERS = 17  # the caller waits for this call now, and so do those
    # actor to caller: exactly one of the first five answers each CALL ...
    VALUE = 10
    RETURNED_SELF = 11  # the result is the actor's own object
    ERROR = 12  # the exception that the operations raised
    REFUSED = 13  # not executed: the listener was closing, or the caller had given it up
    STREAM = 14  # the result is an iterator: items follow
    # ... and after STREAM come items, then END or ERROR
    ITEM = 15
    END = 16
    # about the connection: nothing after it will be executed. With a payload: why it failed
    GOODBYE = 20
    # owner to actor, on the control channel
    STOP = 30
    # ... each answered there under its own id
    STATUS = 32
    STACK = 33
    INTERRUPT = 34
    EXPLAIN = 35  # STATUS and STACK at once, and then INTERRUPT, if there is a payload
    # about the memory of the line itself, both ways (`_wire.buffer_exchange`)
    RELEASE = 41
    FORGET = 42


class Frame(NamedTuple):
    """One message between two processes."""

    kind: int
    call_id: int
    payload: Bytes = b""
    buffers: Sequence[Any] = ()


class StopOrder(NamedTuple):
    """How an owner wants its actor to end."""

    fulfil: bool = True
    """Finish the requests in hand; False refuses them."""
    after_work: bool = False
    """Let the work loop come to its own end first."""

    def frame(self) -> Frame:
        return Frame(Kind.STOP, 0, bytes(self))

    @classmethod
    def read(cls, payload: Bytes) -> StopOrder:
        return cls(*map(bool, bytes(payload)))


class InterruptOrder(NamedTuple):
    """What an owner wants to be raised in what its actor runs."""

    error: bytes
    """As `_pickling.outcome.pack_error` packs it."""
    call_id: int = INIT_ID
    """Of the one call of the owner's that is to be interrupted; `INIT_ID`: whatever runs."""

    def payload(self) -> bytes:
        return self.call_id.to_bytes(8, "little") + self.error

    @classmethod
    def read(cls, payload: Bytes) -> InterruptOrder:
        return cls(bytes(payload[8:]), int.from_bytes(payload[:8], "little"))


_CREDIT = struct.Struct("<I")


def credit_frame(call_id: int, items: int) -> Frame:
    """The frame by which a consumer asks for so many more items."""
    return Frame(Kind.CREDIT, call_id, _CREDIT.pack(items))


def read_credit(frame: Frame) -> int:
    """The number of items that a CREDIT frame grants."""
    (items,) = _CREDIT.unpack(frame.payload)
    return int(items)
