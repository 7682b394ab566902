"""What an actor is doing, as its control thread tells it while the actor works."""

from __future__ import annotations

import resource
import sys
from collections.abc import Container
from types import CodeType, FrameType
from typing import Any, Final, Literal, Self

from .._fast_typing import NamedTuple
from .._os.lazy_import import import_lock

__all__ = [
    "SHOWN_QUEUED",
    "Explanation",
    "RunningCall",
    "Status",
    "memory",
    "open_prompts",
    "shown",
    "stack_here",
]

SHOWN_QUEUED: Final = 100
"""How many waiting requests a status has as text, at most. Each takes as long as several calls, and
a caller that is faster than the actor may have hundreds of thousands there."""
open_prompts: Final[set[object]] = set()
"""The debuggers that ask in the terminal, or wait for their turn there."""


class RunningCall(NamedTuple):
    """A call that an actor was running when `handle.status_()` asked it."""

    number: int
    """By which `handle.interrupt_(call=...)` finds it, as long as it runs."""
    call: str
    """The call as Python and without arguments, as `Status.call`."""
    age: float
    """Seconds since it began; of a stream, since it is at its next item."""
    kind: Literal["call", "cast", "stream"]
    """What its caller waits for: its outcome, nothing, or its next item."""
    caller: int | None
    """The process that has made it. None: its transport does not tell."""


class Status(NamedTuple):
    """What an actor was doing when `handle.status_()` asked it."""

    state: str
    """`starting`, `running`, `draining` or `stopped`."""
    call: str | None
    """The call that it was running, as Python and without arguments: `?.step(...)`, `?` being the
    object. None: it was running none. Of many at once, one that was not waiting; or the eldest."""
    age: float
    """Seconds since that call began; 0.0 if there was none."""
    queued: tuple[str, ...]
    """The first hundred of the requests that it had taken in and not begun, in the order in which
    they will run."""
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
    calls: tuple[RunningCall, ...] = ()
    """All calls that it was running: of one within which others run, those come first."""
    queue_length: int = 0
    """How many requests waited, at least: all that it had taken in and not begun, and one of each
    client from which it had not taken in all."""

    @classmethod
    def of(cls, told: tuple[Any, ...]) -> Self:
        """The status that an actor has told, as far as this version knows what it tells."""
        status = cls(*told[: len(cls._fields)])
        return status._replace(calls=tuple(RunningCall(*call) for call in status.calls))

    def told(self) -> tuple[Any, ...]:
        """It as bare tuples, which any version can read."""
        return (*self[:-2], tuple(map(tuple, self.calls)), self.queue_length)


class Explanation(NamedTuple):
    """What an actor tells of itself where a call is out of time."""

    status: tuple[Any, ...]
    """Its `Status.told`."""
    stack: str
    """Of what it runs; that of the call comes first, if it runs."""
    begun: tuple[int, ...]
    """Which calls of its owner run."""
    age: float | None
    """Seconds since the call began; None: it does not run."""


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
    return "" if frame is None else shown(frame, user_entry_points)


def shown(frame: FrameType, user_entry_points: Container[CodeType]) -> str:
    """The stack whose innermost frame this is, as text, from users' code on."""
    with import_lock:
        import traceback  # for a faster start-up: few programs ask

    frames = [one for one, _ in traceback.walk_stack(frame)]
    inside = next((i for i, one in enumerate(frames) if one.f_code in user_entry_points), None)
    return "".join(traceback.format_stack(frame)[-inside if inside else None :])
