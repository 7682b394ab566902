"""Where each call that an actor runs is, and each of its threads: as text, for people.

A call is within a thread, or, where it is a coroutine that waits, in none: then its stack is that
of what it awaits, from coroutine to coroutine. Tasks that calls have begun are shown as well.

Imported only by actors that somebody asks.
"""

from __future__ import annotations

import gc
import sys
import threading
import traceback
from collections.abc import Container, Iterator, Sequence
from itertools import dropwhile
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from .._fast_typing import NamedTuple
from .status import shown

if TYPE_CHECKING:
    import asyncio

__all__ = ["LabelledCall", "stacks_by_call"]

PACKAGE = __name__.partition(".")[0]


class LabelledCall(NamedTuple):
    """A call, and where to look for it."""

    label: str
    thread: int
    """The thread that it is in, unless it is a coroutine that waits."""
    task: asyncio.Task[Any] | None
    """That of a coroutine."""
    is_first: bool = False
    """Whether its stack comes before all others."""

    @property
    def waits(self) -> bool:
        """Whether it is in no thread now."""
        return self.task is not None and not _is_running(self.task)


def stacks_by_call(
    calls: Sequence[LabelledCall], entry_points: Container[CodeType], most: int | None = None
) -> str:
    """The stacks of these calls and of all threads of this process but the calling one.

    Args:
        entry_points: the code of our functions that call users' code. Of each stack the frames
            down to the first of them are left out.
        most: how many of what waits are shown, beside the first. None: all.
    """
    waiting = [call for call in calls if call.waits]
    threads = _threads(calls, waiting, entry_points)
    first = [_waiting(call, entry_points) for call in waiting if call.is_first]
    others = [_waiting(call, entry_points) for call in waiting if not call.is_first]
    others += _other_tasks(calls)
    if most is not None and len(others) > most:
        others[most:] = [f"{len(others) - most} more wait.\n"]
    return "\n".join([*first, *threads, *others])


def _threads(
    calls: Sequence[LabelledCall],
    waiting: Sequence[LabelledCall],
    entry_points: Container[CodeType],
) -> Iterator[str]:
    """The stack of each thread, with the calls that are in it. That of a loop in which none is, and
    for which some wait, says nothing."""
    names = {one.ident: one.name for one in threading.enumerate()}
    loops = {call.thread for call in waiting}
    for ident, frame in sys._current_frames().items():
        name = names.get(ident, ident)
        runs = ", within ".join(
            call.label for call in calls if call.thread == ident and call not in waiting
        )
        if ident in loops and not runs and _is_ours(frame):
            yield f"Thread {name}: its event loop waits.\n"
        elif ident != threading.get_ident():
            yield f"Thread {name}{f', at {runs}' if runs else ''}:\n{shown(frame, entry_points)}"


def _waiting(call: LabelledCall, entry_points: Container[CodeType]) -> str:
    frames = list(_awaiting(call.task))
    inside = next((i for i, one in enumerate(frames) if one.f_code in entry_points), -1)
    frames = list(dropwhile(_is_ours, frames[inside + 1 :]))
    return f"C{call.label[1:]}, waits:\n{_text(frames)}"


def _other_tasks(calls: Sequence[LabelledCall]) -> Iterator[str]:
    """The tasks of the same loop that are those of no call, but were begun by users' code."""
    tasks = [call.task for call in calls if call.task is not None]
    if not tasks:
        return
    for task in sys.modules["asyncio"].all_tasks(tasks[0].get_loop()):
        frames = list(_awaiting(task))
        if task not in tasks and not _is_running(task) and not all(map(_is_ours, frames)):
            yield f"Task {task.get_name()}, waits:\n{_text(frames)}"


def _awaiting(task: Any) -> Iterator[FrameType]:
    """The frames of a task that waits, the outermost first: it, and what it awaits. The loop may go
    on meanwhile, so that some of them may be missing."""
    awaited = task.get_coro()
    while awaited is not None:
        frame = _first_of(awaited, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None:
            yield frame
            awaited = _first_of(awaited, "cr_await", "gi_yieldfrom", "ag_await")
        else:
            # What `anext` gives tells its generator to the garbage collector alone.
            found = gc.get_referents(awaited)
            awaited = next((one for one in found if hasattr(one, "ag_frame")), None)


def _first_of(obj: object, *names: str) -> Any:
    return next((value for name in names if (value := getattr(obj, name, None)) is not None), None)


def _is_running(task: asyncio.Task[Any]) -> bool:
    coroutine: Any = task.get_coro()
    return bool(getattr(coroutine, "cr_running", False))


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith(f"{PACKAGE}.")


def _text(frames: Sequence[FrameType]) -> str:
    lines = ((frame, frame.f_lineno) for frame in frames)
    return "".join(traceback.StackSummary.extract(lines).format())
