"""What an actor is doing, told by its control thread while it works."""

from __future__ import annotations

import resource
import sys
import threading
from collections.abc import Container
from types import CodeType, FrameType
from typing import NamedTuple

from .._os.lazy_import import import_lock
from .._protocol.messages import Bytes

__all__ = ["Status", "memory", "sketch", "stack_here", "stacks"]


class Status(NamedTuple):
    """What an actor said of itself when it was asked by `handle.status_()`."""

    state: str
    """`starting`, `running`, `draining` or `stopped`."""
    call: str | None
    """The call that it runs, without its arguments: `?.step(...)`. None: it runs none."""
    age: float
    """Seconds since that call began; 0.0 without one."""
    queued: tuple[str, ...]
    """The requests that it has taken in and not begun, in the order in which they will run."""
    done: int
    """Requests that it has run."""
    memory: int
    """Bytes of physical memory that its process uses; the most it ever did, where the system
    tells no more."""
    threads: tuple[str, ...]
    """The names of the threads of its process."""


def sketch(payload: Bytes) -> str:
    """The chain of a request, from its bytes, without running anything that is in them.

    >>> import pickle
    >>> sketch(pickle.dumps(("add", (1,)), 5))
    '?.add(...)'
    >>> sketch(pickle.dumps((("attr", "items"), ("attr", "append"), ("call", (1,), {})), 5))
    '?.items.append(...)'
    """
    with import_lock:
        import pickletools  # for a faster start-up: few programs ask

    text, first = "?", True
    try:
        for _, word, _ in pickletools.genops(bytes(payload[:2000])):
            if not isinstance(word, str):
                continue
            if first and word != "attr" and word not in _KINDS:
                return f"?.{word}(...)"  # the short form: a method's name, then its arguments
            first = False
            if word in _KINDS:
                return _KINDS[word].format(text)
            if word != "attr":
                text = f"{text}.{word}"
    except Exception:  # it may have been cut off, or be no pickle at all
        pass
    return text


_KINDS = {
    "call": "{}(...)",
    "passto": "f({})",
    "item": "{}[...]",
    "setattr": "{}.* = ...",
    "delattr": "del {}.*",
    "setitem": "{}[...] = ...",
    "delitem": "del {}[...]",
    "contains": "... in {}",
    "len": "len({})",
    "bool": "bool({})",
    "iter": "iter({})",
    "super": "super({})",
}


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
        guarded: the code of what calls users' code; the frames down to there are left out.
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
