"""`breakpoint()` in the process of an actor: it asks in the terminal of the program."""

from __future__ import annotations

import os
import sys
from typing import Any

from .._os.lazy_import import import_lock

__all__ = ["answer_breakpoints"]


def answer_breakpoints() -> None:
    """From now on a `breakpoint()` opens pdb in the terminal, where that of the interpreter would
    read the standard input, which an actor has not. Debuggers of the program's own are left."""
    if sys.breakpointhook is sys.__breakpointhook__:
        sys.breakpointhook = _answer


def _answer(*args: Any, **kwargs: Any) -> Any:
    chosen = "" if sys.flags.ignore_environment else os.environ.get("PYTHONBREAKPOINT", "")
    if chosen not in ("", "pdb.set_trace"):
        return sys.__breakpointhook__(*args, **kwargs)
    with import_lock:
        from .debugger import stop_at  # for a faster start-up: pdb takes longer than all else

    return stop_at(sys._getframe(1), *args, **kwargs)
