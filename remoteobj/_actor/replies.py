"""The frames by which an actor answers: a value, an error, or that its process was told to end."""

from __future__ import annotations

import multiprocessing
import signal
from types import FrameType
from typing import Any

from .._os.thread_unwind import ThreadUnwind
from .._pickling.codec import SCALARS, dumps, pickled
from .._pickling.exceptions import for_caller, pack_error
from .._protocol.messages import Frame, Kind
from ..errors import ActorDiedError, ExitReport, RemoteError, type_name

__all__ = ["cut_off_frame", "error_frame", "value_frame"]

_new = tuple.__new__
OUR_PACKAGE = __name__.partition(".")[0]


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
    """The frame that carries an exception, without our own frames in its traceback."""
    traceback = exc.__traceback__
    while traceback is not None and _is_ours(traceback.tb_frame):
        traceback = traceback.tb_next  # the caller does not care how we got there
    try:
        packed = pack_error(for_caller(exc.with_traceback(traceback)))
    except KeyboardInterrupt as interrupt:  # of its own methods: nobody presses Ctrl-C here
        name = type_name(type(exc))
        packed = pack_error(RemoteError.in_place_of(name, name, "", repr(interrupt)))
    finally:
        del exc, traceback
    return Frame(Kind.ERROR, call_id, packed)


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__package__")).partition(".")[0] == OUR_PACKAGE


def cut_off_frame(call_id: int) -> Frame:
    """For the caller whose request was being run when its process was told to end."""
    name = multiprocessing.current_process().name
    report = ExitReport(name, exitcode=-signal.SIGTERM)
    return error_frame(call_id, ActorDiedError.from_exit(report, maybe_executed=True))
