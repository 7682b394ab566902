"""What the answer to a call gives its caller: a value, an exception, or what stands in for both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from .._os.lazy_import import import_lock
from .._pickling.codec import loads, unpickled
from .._pickling.exceptions import add_note, for_caller, unpack_error
from .._protocol.messages import Bytes, Frame, Kind

__all__ = ["RETURNED_SELF", "Fallback", "decode_answer", "fallback_or_raise"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

Fallback = Callable[[], Any] | None
"""Makes the value that stands in where nobody listens; None: there is none."""

RETURNED_SELF: Final = object()
"""The result of a call that returned the remote object itself."""

# Bare names: on Python 3.11 to look them up in their class takes longer than to compare them.
_ERROR, _RETURNED_SELF = Kind.ERROR, Kind.RETURNED_SELF


def decode_answer(frame: Frame, sent: Bytes = b"") -> Any:
    """The value in a frame that answers the call `sent`; raises the exception in it."""
    if frame[0] == _ERROR:
        sent = b""  # it may hold a key, and errors may be shown with locals
        raise for_caller(unpack_error(frame.payload))
    if frame[0] == _RETURNED_SELF:
        return RETURNED_SELF
    try:
        return loads(frame[2], frame[3]) if frame[3] else unpickled(frame[2])
    except BaseException as exc:
        # What a value does when it is unpickled must not end the caller's program, or loop.
        error = for_caller(exc)
        what = "an item" if frame[0] == Kind.ITEM else "the result"
        with import_lock:
            from .._protocol.descriptions import describe_request  # for a faster start-up

        call = f" of {describe_request(sent)}" if sent else ""
        add_note(error, f"This was raised here, while {what}{call} was unpickled.")
        sent = b""
    try:
        raise error
    finally:
        del error  # it leads to this frame, and so to the caller's handle


def fallback_or_raise(exc: BaseException, otherwise: Fallback) -> Any:
    """The value that stands in for this error, which is raised if there is none."""
    if otherwise is None or getattr(exc, "maybe_executed", False):
        raise exc
    return otherwise()
