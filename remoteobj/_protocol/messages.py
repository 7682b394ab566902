"""What can be said between a caller and an actor.

A message travels as a frame: a fixed header (kind, flags, call id, lengths), which is all that a
reader decodes, an optional metadata part, and a payload that stays bytes until the one thread whom
it concerns unpickles it. Frames about one call share its id, which the caller chooses, upwards
from 1.

**The seam for what is to come.** A new kind of message is one number here and one row in the table
of its receiver: `CallTable` and `Connection` for a caller, the mailbox for requests, the control
thread for orders. What a request carries besides (who waits for it, a trace, a deadline) is a field
of its metadata (`requests`), and no kind of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final, Self, TypeAlias

from .._fast_typing import NamedTuple

__all__ = [
    "INIT_ID",
    "WINDOW",
    "Bytes",
    "Flag",
    "Frame",
    "FrameParts",
    "InterruptOrder",
    "Kind",
    "MalformedFrameError",
    "StopOrder",
    "credit_frame",
    "error_outline",
    "read_credit",
    "read_error_outline",
    "refusal",
    "refusal_of_unknown",
]

Bytes = bytes | bytearray | memoryview

OUTLINED: Final = 500
"""Characters of the message of an exception that its outline has."""

INIT_ID = 0
"""The id under which an actor answers its own making: a value once `__init__` is done."""

WINDOW = 16
"""Items that a stream may send ahead of its consumer."""


class MalformedFrameError(Exception):
    """What the other end sent can't be: nothing further of this connection can be trusted.

    Every parser of what a peer sends raises this, and whoever reads the connection ends it, and it
    alone.
    """


class Kind:
    """What a frame is: a plain number, since comparing members of an enum takes twice the time.

    A receiver looks a kind up in a table. One that it does not know is refused where the sender
    waits for an answer (`Flag.ANSWER`), and ignored elsewhere, so that the two ends of a connection
    need not know the same kinds.
    """

    # caller to actor
    CALL: Final = 1
    """A chain of operations to evaluate; the id is new. Always answered."""
    CREDIT: Final = 2
    """The consumer of a stream takes this many more items."""
    CLOSE: Final = 3
    """Nobody wants the call any more if it has not begun, nor the rest of its stream."""
    CAST: Final = 4
    """A chain of operations to evaluate; never answered."""
    SEND: Final = 5
    """The consumer takes one more item, and sends the generator a value."""
    RAISE: Final = 6
    """The consumer takes one more item, and raises an exception in the generator."""
    PROBE: Final = 7
    """Looks for a ring of actors that wait for each other (`chains`)."""
    # actor to caller: exactly one of these answers each CALL ...
    VALUE: Final = 10
    RETURNED_SELF: Final = 11
    """The result is the actor's own object."""
    ERROR: Final = 12
    """The exception that the operations raised."""
    REFUSED: Final = 13
    """Not executed; the payload says why, where it is not that the listener was closing."""
    STREAM: Final = 14
    """The result is an iterator: items follow, one at a time if there is a payload ..."""
    # ... and after STREAM come items, then END or ERROR
    ITEM: Final = 15
    END: Final = 16
    # what an actor that runs several calls at once says besides, before it begins one
    BEGUN: Final = 17
    """Of the calls without an answer those up to this id may have begun. No other has, until this
    is said of it."""
    IN_TURN: Final = 18
    """That does not hold any more. As before it: only the oldest may have begun."""
    # about the connection
    GOODBYE: Final = 20
    """Nothing after it will be executed. A payload says why the actor failed."""
    HANGUP: Final = 21
    """What came can't be read on: the connection ends, and the actor lives on. The payload says
    why, as text."""
    # owner to actor, on the control channel
    STOP: Final = 30
    TERMINATE: Final = 31
    """SIGTERM has been sent: see to it that it arrives."""
    # ... and these are answered there, each under its own id
    STATUS: Final = 32
    STACK: Final = 33
    INTERRUPT: Final = 34
    EXPLAIN: Final = 35
    """STATUS and STACK at once, with what they say of one call; then INTERRUPT, if there is an
    error to be raised."""
    GLANCE: Final = 37
    """What of STATUS changes from moment to moment, for whoever asks again and again."""
    OBSERVE: Final = 38
    """Have calls observed, or no more (`observing`)."""
    # actor to owner, on the control channel
    LOG: Final = 36
    """A record of `logging`."""
    # about the shared memory of the connection, both ways (`_wire.buffer_exchange`)
    RELEASE: Final = 41
    FORGET: Final = 42


class Flag:
    """Bits of a frame's header. A receiver ignores those that it does not know."""

    ANSWER: Final = 1
    """The sender of a kind that its receiver may not know waits for an answer."""


class Frame(NamedTuple):
    """One message between two processes."""

    kind: int
    call_id: int
    payload: Bytes = b""
    buffers: Sequence[Any] = ()
    metadata: bytes = b""
    """What a request carries beside its payload, as `requests` packs it; mostly nothing. Of what is
    published, its number. Of an error, its outline."""
    flags: int = 0

    def __repr__(self) -> str:
        # Without what is in it: that may be a proxy, and so a key.
        return f"<Frame of kind {self.kind}, call {self.call_id}, {len(self.payload)} bytes>"


FrameParts: TypeAlias = tuple[int, int, Bytes, Sequence[Any], bytes, int]
"""A `Frame`, or a bare tuple of the same, which is made faster."""


class StopOrder(NamedTuple):
    """How an owner wants its actor to end."""

    fulfil: bool = True
    """Finish the requests in hand; False refuses them."""
    after_work: bool = False
    """Let the work loop come to its own end first."""
    none_waits: bool = False
    """The owner waits for none of its calls any more ..."""
    given_up: tuple[int, ...] = ()
    """... or not for these: what runs of them is interrupted."""

    def frame(self) -> Frame:
        *flags, given_up = self
        return Frame(Kind.STOP, 0, bytes(flags) + struct.pack(f"<{len(given_up)}Q", *given_up))

    @classmethod
    def read(cls, payload: Bytes) -> Self:
        """
        Raises:
            MalformedFrameError: this is no such order.
        """
        flags, ids = bytes(payload[:3]), payload[3:]
        if len(flags) < 3 or len(ids) % 8:
            raise MalformedFrameError(f"{len(payload)} bytes are no order to stop")
        fulfil, after_work, none_waits = map(bool, flags)
        return cls(fulfil, after_work, none_waits, struct.unpack(f"<{len(ids) // 8}Q", ids))


class InterruptOrder(NamedTuple):
    """What an owner wants to be raised in what its actor runs."""

    error: bytes = b""
    """As `_pickling.exceptions.pack_error` packs it."""
    call_id: int = INIT_ID
    """Of the one call of the owner's that is meant; `INIT_ID`: whatever runs ..."""
    number: int = 0
    """... or, where it is not 0, the one call that was told with this number."""

    def payload(self) -> bytes:
        return _INTERRUPT.pack(self.call_id, self.number) + self.error

    @classmethod
    def read(cls, payload: Bytes) -> Self:
        """
        Raises:
            MalformedFrameError: this is no such order.
        """
        if len(payload) < _INTERRUPT.size:
            raise MalformedFrameError(f"{len(payload)} bytes are no order to interrupt")
        return cls(bytes(payload[_INTERRUPT.size :]), *_INTERRUPT.unpack_from(payload))


_INTERRUPT = struct.Struct("<QQ")
_CREDIT = struct.Struct("<I")


def refusal(frame: Frame, why: str) -> Frame | None:
    """The answer to a frame that nothing is done about. None where its sender waits for none."""
    if not frame.flags & Flag.ANSWER:
        return None
    return Frame(Kind.REFUSED, frame.call_id, why.encode(errors="replace"))


def refusal_of_unknown(frame: Frame, words: str) -> Frame | None:
    """The answer to a frame of a kind that is not known here, a later version's say: these words,
    and the kind. None where its sender waits for no answer."""
    return refusal(frame, f"{words} of kind {frame.kind}")


def error_outline(name: str, said: str) -> bytes:
    """What an exception is, in a few words: the name of its type, and that with its message.

    >>> read_error_outline(error_outline("KeyError", "KeyError: 'a'"))
    ('KeyError', "'a'")
    """
    return f"{name}\0{said.removeprefix(name).removeprefix(':')[:OUTLINED]}".encode(
        errors="replace"
    )


def read_error_outline(outline: bytes) -> tuple[str, str]:
    """The name of the type of an exception, and its message, which may be cut off."""
    name, _, message = bytes(outline).decode(errors="replace").partition("\0")
    return name or "Exception", message.strip()


def credit_frame(call_id: int, items: int) -> Frame:
    """The frame by which a consumer asks for so many more items."""
    return Frame(Kind.CREDIT, call_id, _CREDIT.pack(items))


def read_credit(frame: Frame) -> int:
    """The number of items that a CREDIT frame grants.

    Raises:
        MalformedFrameError: it grants none.
    """
    try:
        (items,) = _CREDIT.unpack(frame.payload)
    except struct.error as exc:
        raise MalformedFrameError(f"{len(frame.payload)} bytes are no credit") from exc
    return int(items)
