"""The frames by which an actor answers: a value, an error, or that its process was told to end."""

from __future__ import annotations

import multiprocessing
import signal
from typing import Any

from .._os.thread_unwind import ThreadUnwind
from .._pickling.codec import SCALARS, dumps, pickled
from .._pickling.exceptions import for_caller, pack_error, without_our_frames
from .._protocol.messages import Frame, Kind, error_outline
from ..errors import ActorDiedError, ExitReport, RemoteError, describe, type_name

__all__ = ["cut_off_frame", "error_frame", "value_frame"]

_new = tuple.__new__


def value_frame(kind: int, call_id: int, value: Any, writable: bool = True) -> Frame:
    """The frame that carries a value, or the error that it can't be sent."""
    if type(value) in SCALARS:
        return _new(Frame, (kind, call_id, pickled(value, 5), (), b"", 0))
    try:
        payload, buffers = dumps(value, "result", writable)
    except ThreadUnwind:
        raise
    except BaseException as exc:
        return error_frame(call_id, exc)
    return _new(Frame, (kind, call_id, payload, buffers, b"", 0))


def error_frame(call_id: int, exc: BaseException) -> Frame:
    """The frame that carries an exception, without our own frames in its traceback; and what it is,
    for those who read the frame and may not unpickle it."""
    name = said = type_name(type(exc))
    try:
        packed = pack_error(for_caller(without_our_frames(exc)))
        said = describe(exc)
    except KeyboardInterrupt as interrupt:  # of its own methods: nobody presses Ctrl-C here
        packed = pack_error(RemoteError.in_place_of(name, name, "", repr(interrupt)))
    finally:
        del exc
    return Frame(Kind.ERROR, call_id, packed, (), error_outline(name, said))


def cut_off_frame(call_id: int) -> Frame:
    """For the caller whose request was being run when its process was told to end."""
    name = multiprocessing.current_process().name
    report = ExitReport(name, exitcode=-signal.SIGTERM)
    return error_frame(call_id, ActorDiedError.from_exit(report, maybe_executed=True))
