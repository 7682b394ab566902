"""How a failure is told for which nobody waits."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

__all__ = ["report_unraisable"]


def report_unraisable(
    exc: BaseException, words: str = "Exception ignored in a remote object"
) -> None:
    """Say by `sys.unraisablehook`, in these words, that something failed."""
    told: Any = SimpleNamespace(  # the interpreter's own kind of it can't be made
        exc_type=type(exc),
        exc_value=exc,
        exc_traceback=exc.__traceback__,
        err_msg=words,
        object=None,
    )
    sys.unraisablehook(told)
