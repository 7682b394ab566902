"""What a process writes down for a timeline: its calls and requests as they begin and end.

Each process has a file of its own in the directory of the trace, and adds one line for each event,
at once: what an actor has written before it is killed is there. A line is a list in JSON. Its first
item says what it is, by `Line`; times are in nanoseconds, by the system's monotonic clock, which is
one for all processes of a machine. `_timeline_merge` makes one trace of all files.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import sys
import threading
from time import monotonic_ns
from typing import Any, Final

from ._fast_typing import NamedTuple
from ._os.fork_safety import fork_generation
from ._protocol.observing import CallWatch, Failure, Life, Received, RequestWatch, Sent

__all__ = ["Line", "Timeline", "TimelinePlan"]

FLOW: Final = "flow"
"""What a request carries: the number of its call."""
_CALLS_OF_PROCESS: Final = 1 << 30
"""Numbers of calls that a process has. With its pid they stay below 2 ** 53, as JSON has them."""


class Line:
    """What a line is, by its first item, and what follows that."""

    PROCESS: Final = "process"
    """Pid, name, time."""
    THREAD: Final = "thread"
    """Number, name."""
    CALL: Final = "call"
    """A call is made: its number, time, thread, name, actor, and how: `call`, `async` or `cast`."""
    STREAM: Final = "stream"
    """It is answered by a stream: number, time."""
    END: Final = "end"
    """It has ended: number, time, what went wrong."""
    REQUEST: Final = "request"
    """A request begins to run: its number here, time, thread, name, actor, the number of its call
    and when that was sent, or 0 and 0."""
    ENTER: Final = "enter"
    """It runs on: number, time, thread."""
    LEAVE: Final = "leave"
    """It does not run for now: number, time."""
    OPENED: Final = "opened"
    """It is answered by a stream: number, time."""
    DONE: Final = "done"
    """It has ended: number, time, what went wrong."""
    LIFE: Final = "life"
    """An actor has been started, or has ended: time, name, pid, in words what."""


class TimelinePlan(NamedTuple):
    """Write down what happens, into this directory."""

    directory: str

    @property
    def key(self) -> str:
        return f"timeline {self.directory}"

    def begin(self) -> Timeline | None:
        return Timeline(self) if os.path.isdir(self.directory) else None


class Timeline:
    """Writes down what happens in this process."""

    def __init__(self, plan: TimelinePlan) -> None:
        self._plan = plan
        self._lock = threading.RLock()
        self._open()

    def _open(self) -> None:
        """Have a file of this process."""
        self._generation = fork_generation[0]
        self._numbers = itertools.count(1)
        self._threads: set[int] = set()
        pid = os.getpid()
        path = os.path.join(self._plan.directory, f"{pid}-{monotonic_ns()}.jsonl")
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.write(Line.PROCESS, pid, _name_of_process(), monotonic_ns())

    def write(self, *line: Any) -> None:
        """Add a line.

        Raises:
            OSError: there is no room for it. Then this process writes no more.
        """
        if self._generation != fork_generation[0]:
            self._begin_in_fork()
        if self._fd < 0:
            return
        try:
            os.write(self._fd, json.dumps(line).encode() + b"\n")
        except OSError:
            self.close()
            raise

    def _begin_in_fork(self) -> None:
        """What is written on is the parent's file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._lock, self._fd = threading.RLock(), -1
        self._generation = fork_generation[0]
        if os.path.isdir(self._plan.directory):
            self._open()

    def thread(self) -> int:
        """The number of the calling thread, by which its name is known."""
        number = threading.get_native_id()
        if self._generation != fork_generation[0]:
            self._begin_in_fork()
        if number not in self._threads:
            self._threads.add(number)
            self.write(Line.THREAD, number, threading.current_thread().name)
        return number

    def next_number(self) -> int:
        """One for a call or a request, which no other has."""
        return os.getpid() * _CALLS_OF_PROCESS + next(self._numbers) % _CALLS_OF_PROCESS

    # --- as `Observer` ---------------------------------------------------------------------

    def sends(self, sent: Sent, carrier: dict[str, str]) -> CallWatch:
        thread, number = self.thread(), self.next_number()
        carrier[FLOW] = str(number)
        actor = "" if sent.peer is None else sent.peer.actor.name
        how = "cast" if sent.is_cast else "call" if sent.alone else "async"
        self.write(Line.CALL, number, sent.at, thread, sent.name, actor, how)
        return _Call(self, number)

    def receives(self, received: Received) -> RequestWatch:
        flow = received.carried.get(FLOW, "0")
        return _Request(self, received, int(flow) if flow.isascii() and flow.isdigit() else 0)

    def turns(self, life: Life) -> None:
        words = f"{life.name} {life.what}" + (f": {life.how}" if life.how else "")
        self.write(Line.LIFE, monotonic_ns(), life.name, life.pid or 0, words)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class _Call:
    """A call, at its caller."""

    def __init__(self, timeline: Timeline, number: int) -> None:
        self._timeline = timeline
        self._number = number

    def stream_opened(self) -> None:
        self._timeline.write(Line.STREAM, self._number, monotonic_ns())

    def ended(self, failure: Failure | None) -> None:
        self._end("" if failure is None else failure.type_name)

    def given_up(self) -> None:
        self._end("given up")

    def lost(self) -> None:
        self._end("no answer")

    def explained(self, error: BaseException | None) -> None:
        """What it was is seen by the life of its actor."""

    def _end(self, what: str) -> None:
        self._timeline.write(Line.END, self._number, monotonic_ns(), what)


class _Request:
    """A request, at its actor."""

    def __init__(self, timeline: Timeline, received: Received, flow: int) -> None:
        self._timeline = timeline
        self._first = received.name, received.actor.name, flow, received.sent_at or 0
        self._number = 0

    def enter(self) -> None:
        timeline, thread = self._timeline, self._timeline.thread()
        if self._number:
            timeline.write(Line.ENTER, self._number, monotonic_ns(), thread)
            return
        self._number = timeline.next_number()
        timeline.write(Line.REQUEST, self._number, monotonic_ns(), thread, *self._first)

    def leave(self, entered: Any) -> None:
        self._timeline.write(Line.LEAVE, self._number, monotonic_ns())

    def stream_opened(self) -> None:
        self._timeline.write(Line.OPENED, self._number, monotonic_ns())

    def ended(self, failure: Failure | None) -> None:
        what = "" if failure is None else failure.type_name
        self._timeline.write(Line.DONE, self._number, monotonic_ns(), what)


def _name_of_process() -> str:
    name = multiprocessing.current_process().name
    return name if name != "MainProcess" else os.path.basename(sys.argv[0]) or "program"
