"""Exceptions across processes: one that was raised there is raised here.

::

    exception ── pack_error ──> bytes ── unpack_error ──> exception ── for_caller ──> what is raised

It travels as a value that is an exception (`reducers`), with all that hangs on it. Guarantees:

* `unpack_error` never raises. It returns an exception of the type that was packed, or a
  `RemoteError` that names it; never a `ThreadUnwind`, by which an actor ends. `pack_error` raises
  nothing but `KeyboardInterrupt`.
* What in it fails when it is unpickled is a `StandIn`, and a note tells of it.
"""

from __future__ import annotations

import pickle
from types import FrameType

from .._os.lazy_import import import_lock
from .._os.thread_unwind import ThreadUnwind
from ..errors import RemoteError, describe, type_name
from . import codec
from .notes import add_note

__all__ = ["add_note", "for_caller", "pack_error", "unpack_error", "without_our_frames"]

_OUR_PACKAGE = __name__.partition(".")[0]


def for_caller(exc: BaseException) -> BaseException:
    """Return what the caller of a remote method is to be given in place of `exc`.

    That is `exc`, unless it would end something over here, as do `StopIteration`,
    `StopAsyncIteration` and whatever is no `Exception` (`SystemExit`, `CancelledError`,
    `BaseExceptionGroup` ...): these are the `__cause__` of a `RemoteError`.

    >>> for_caller(SystemExit(3))
    RemoteError('the remote method raised SystemExit: 3')
    """
    if isinstance(exc, Exception) and not isinstance(exc, (StopIteration, StopAsyncIteration)):
        return exc
    return RemoteError.around(exc)


def without_our_frames(exc: BaseException) -> BaseException:
    """Return the exception, with a traceback that begins where our code has called other code.

    Nobody cares how we got there; and our frames lead to what must not live on with an exception.
    """
    traceback = exc.__traceback__
    while traceback is not None and _is_ours(traceback.tb_frame):
        traceback = traceback.tb_next
    try:
        return exc.with_traceback(traceback)
    finally:
        del exc, traceback


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__package__")).partition(".")[0] == _OUR_PACKAGE


def pack_error(exc: BaseException) -> bytes:
    """Turn an exception, with everything that hangs on it, into bytes for `unpack_error`."""
    try:
        payload, buffers = codec.dumps(exc, "the exception")
    except (KeyboardInterrupt, ThreadUnwind):
        raise
    except BaseException as error:  # a class that misuses the names which all exceptions have
        with import_lock:
            from .exception_parts import render  # for a faster start-up: needed here alone
        words = type_name(type(exc)), describe(exc), render(exc), describe(error)
        payload, buffers = codec.dumps(RemoteError.in_place_of(*words))
    return pickle.dumps((payload, [bytearray(buffer) for buffer in buffers]), 5)


def unpack_error(data: bytes | bytearray | memoryview) -> BaseException:
    """Undo `pack_error`. Never raises.

    What can't be rebuilt is a `RemoteError`, whatever the reason: no such class here, another
    type that came out, other bytes. (A Ctrl-C that arrives meanwhile counts as one, since nothing
    tells it from the exception's own.)

    >>> unpack_error(pack_error(KeyError("k")))
    KeyError('k')
    >>> unpack_error(b"")
    RemoteError("an exception that can't be decoded: EOFError: Ran out of input")
    """
    try:
        payload, buffers = pickle.loads(data)
        return _unpickled(payload, buffers)
    except BaseException as error:
        return RemoteError(f"an exception that can't be decoded: {describe(error)}")


def _unpickled(payload: bytes, buffers: list[bytearray]) -> BaseException:
    failures: list[str] = []
    try:
        found = codec.loads(payload, buffers)
    except BaseException:
        with import_lock:
            from .stand_ins import loads_leniently  # for a faster start-up, too
        found, failures = loads_leniently(payload, buffers)
    if not isinstance(found, BaseException):
        raise TypeError(f"it came out as {type_name(type(found))}")
    if isinstance(found, ThreadUnwind):
        raise TypeError("it would end the thread in which it is raised")
    for failure in failures:
        add_note(found, failure)
    return found
