"""What an actor is doing, as its control thread tells it while the actor works."""

from __future__ import annotations

import resource
import sys
import threading
from collections.abc import Container
from types import CodeType, FrameType
from typing import Final, NamedTuple

from .._os.lazy_import import import_lock

__all__ = ["Status", "memory", "open_prompts", "stack_here", "stacks"]

open_prompts: Final[set[object]] = set()
"""The debuggers that ask in the terminal, or wait for their turn there."""


class Status(NamedTuple):
    """What an actor was doing when `handle.status_()` asked it."""

    state: str
    """`starting`, `running`, `draining` or `stopped`."""
    call: str | None
    """The call that it was running, as Python and without arguments: `?.step(...)`, `?` being the
    object. None: it was running none."""
    age: float
    """Seconds since that call began; 0.0 if there was none."""
    queued: tuple[str, ...]
    """The requests that it had taken in and not begun, in the order in which they will run."""
    done: int
    """How many requests it had run to their end."""
    memory: int
    """Bytes of physical memory that its process used; on systems that do not tell that, the most
    that it had ever used."""
    threads: tuple[str, ...]
    """The names of the threads of its process."""
    waits_for: tuple[str, ...] = ()
    """Those of them, which are no daemons, that its process waits for: it has ended otherwise."""
    debugged: bool = False
    """Whether it asks in the terminal, since it has come to a `breakpoint()`."""


def memory() -> int:
    """Bytes of physical memory that this process uses."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def stack_here(user_entry_points: Container[CodeType] = ()) -> str:
    """The Python stack of this thread, from users' code on to where that calls this package."""
    frame: FrameType | None = sys._getframe(1)
    package = __name__.partition(".")[0]
    while frame is not None and str(frame.f_globals.get("__name__")).startswith(f"{package}."):
        frame = frame.f_back
    return "" if frame is None else _shown(frame, user_entry_points)


def stacks(user_entry_points: Container[CodeType] = ()) -> str:
    """The Python stacks of all threads of this process but the calling one.

    Args:
        user_entry_points: the code of our functions that call users' code. Of each stack the
            frames down to the first of them are left out.
    """
    names = {one.ident: one.name for one in threading.enumerate()}
    return "\n".join(
        f"Thread {names.get(ident, ident)}:\n{_shown(frame, user_entry_points)}"
        for ident, frame in sys._current_frames().items()
        if ident != threading.get_ident()
    )


def _shown(frame: FrameType, user_entry_points: Container[CodeType]) -> str:
    with import_lock:
        import traceback  # for a faster start-up: few programs ask

    frames = [one for one, _ in traceback.walk_stack(frame)]
    inside = next((i for i, one in enumerate(frames) if one.f_code in user_entry_points), None)
    return "".join(traceback.format_stack(frame)[-inside if inside else None :])
