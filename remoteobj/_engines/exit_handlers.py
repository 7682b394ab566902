"""What the process of an actor still does at its end, as any program of Python does.

`multiprocessing` ends its processes by `os._exit`, which leaves out what is registered in `atexit`;
and it waits for the children that they have started.
"""

from __future__ import annotations

import atexit
import multiprocessing
import weakref
from multiprocessing import process as mp_process
from typing import Any

__all__ = ["forget_inherited", "leave_children_alone", "run_exit_handlers"]


_finalize: Any = weakref.finalize
_first_own = 0
"""The index of the first finalizer that is this process's own."""


def forget_inherited() -> None:
    """In a fork, forget what was registered before: that is its parent's to do."""
    global _first_own
    atexit._clear()
    _finalize._registered_with_atexit = False  # so that the next one is
    _first_own = next(_finalize._index_iter)


def run_exit_handlers() -> None:
    """Call what was registered in `atexit`, the last first."""
    if _finalize._registered_with_atexit:
        # Not at the fork: to write to each would be to copy the memory that they are in.
        for one in list(_finalize._registry.values()):
            one.atexit = one.atexit and one.index >= _first_own
    atexit._run_exitfuncs()


def leave_children_alone() -> None:
    """Have `multiprocessing` not wait for those that may outlive this process: its daemons may not,
    and it ends them. Actors are no matter of this: they are ended before."""
    # Looked up now: a forked process begins with a new set.
    known: set[Any] = vars(mp_process)["_children"]
    for child in multiprocessing.active_children():
        if not child.daemon:
            known.discard(child)
