"""Tells what a signal handler has raised from what the interrupted call itself has."""

from __future__ import annotations

import signal
from types import CodeType
from typing import Any

__all__ = ["is_of_handler"]


def is_of_handler(exc: BaseException) -> bool:
    """Whether the handler of a signal raised this, or what that had called.

    A system call may fail with an `OSError` of its own. A handler that runs in its midst may raise
    one too, as a `TimeoutError` of an alarm, and that says nothing of the call.
    """
    codes = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()}
    traceback = exc.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code in codes:
            return True
        traceback = traceback.tb_next
    return False


def _code_of(handler: Any) -> CodeType | None:
    """What runs when the handler is called: a function, a method, a partial or an object."""
    for name in ("func", "__func__"):
        handler = getattr(handler, name, handler)
    if callable(handler) and not hasattr(handler, "__code__"):
        handler = type(handler).__call__
    code: CodeType | None = getattr(handler, "__code__", None)
    return code
