"""`breakpoint()` in a process that has no terminal."""

from __future__ import annotations

import os
import sys
from typing import Any

__all__ = ["refuse_breakpoints"]


def refuse_breakpoints() -> None:
    """From now on a `breakpoint()` that would ask a terminal says that there is none, where pdb
    would read the end of the file and raise `BdbQuit`. Debuggers of the program's own are left."""
    if sys.breakpointhook is sys.__breakpointhook__:
        sys.breakpointhook = _refuse


def _refuse(*args: Any, **kwargs: Any) -> Any:
    by_terminal = os.environ.get("PYTHONBREAKPOINT", "") in ("", "pdb.set_trace")
    if by_terminal and (sys.stdin is None or not sys.stdin.isatty()):
        raise RuntimeError(
            "breakpoint() finds no terminal in this process; spawn the actor with the option "
            'engine="thread" or engine="inline" to debug it, set PYTHONBREAKPOINT to a debugger '
            "that is reached in another way, or read handle.stack_()"
        )
    return sys.__breakpointhook__(*args, **kwargs)
