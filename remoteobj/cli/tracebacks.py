"""Tracebacks of errors that are the user's own: they begin where the user's code does."""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType

__all__ = ["print_theirs"]

_OURS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")


def print_theirs(error: BaseException) -> None:
    """Print an exception, without our frames that lead to it."""
    step = error.__traceback__
    while step is not None and _leads_there(step):
        step = step.tb_next
    traceback.print_exception(error.with_traceback(step), file=sys.stderr)


def _leads_there(step: TracebackType) -> bool:
    path, name = step.tb_frame.f_code.co_filename, step.tb_frame.f_globals.get("__name__", "")
    return path.startswith(_OURS) or str(name).partition(".")[0] == "importlib"
