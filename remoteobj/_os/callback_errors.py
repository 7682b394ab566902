"""Where a failure goes that nobody waits for."""

from __future__ import annotations

import threading

__all__ = ["report_callback_error"]


def report_callback_error(exc: BaseException) -> None:
    """Tell `threading.excepthook` that a callback failed, for which nobody waits."""
    hook = threading.ExceptHookArgs((type(exc), exc, exc.__traceback__, threading.current_thread()))
    threading.excepthook(hook)
