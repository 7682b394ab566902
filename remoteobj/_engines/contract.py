"""The seam between an actor and the place where it lives: launch a program, be told of its end.

A face makes a `LaunchSpec`; an `Engine` launches it and gives an `Instance`; the program gets an
`OwnerLink`, whose two streams lead to the owner: one for calls, one for orders, whose EOF says that
the owner is gone. An engine sees frames, processes and exit codes, never a view or a future.

Launching:

- A `LaunchSpec` is a value. It can be launched any number of times, by any engine, and each time
  gives an instance of its own; whoever may want to launch it again keeps it. Engines keep neither
  the spec nor the program longer than the launch takes, and what runs is a copy of the program: it
  may let go of what it has used up.
- `launch` does not wait until the program has begun; whether that works out, the program says on
  its data stream. When `launch` raises, it has left nothing behind.

The end:

- Whatever the program does, its end becomes known: by EOF on both streams, by `wait`, and as an
  event, by `on_exit`.
- The event is told once to every callback, in the order in which these were added, in the thread of
  the reactor; to one that is added after the end at once, in the thread that adds it. No lock of an
  instance is held meanwhile. What a callback raises goes to `threading.excepthook`.
- An instance whose end nobody asked to be told of costs no thread and no descriptor for that. One
  that is watched costs a descriptor and, however many there are, one thread, which sleeps.
- `exit_report` says how it ended: see `ExitReport.reason` for the four ways. A program says by its
  `run` which of them it is: it returns, or raises `ProgramFailedError`; what ends it without either
  is a death.
"""

from __future__ import annotations

import itertools
import multiprocessing
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._fast_typing import NamedTuple, Protocol
from .._os.callback_errors import report_callback_error
from .._os.fork_safety import Closable
from .._protocol.config import DEFAULT_WIRE_OPTIONS, WireOptions
from .._protocol.messages import Bytes
from .._wire.channel import Channel
from .._wire.transport import ByteStream, Listener
from ..errors import ExitReason, ExitReport
from .flight_recorder import FlightRecorder
from .owner_line import OwnerLine
from .process_options import NO_OPTIONS, ProcessOptions

if TYPE_CHECKING:
    from .measuring import Settings

__all__ = [
    "Engine",
    "ExitCallback",
    "ExitCallbacks",
    "ExitReason",
    "ExitReport",
    "Instance",
    "LaunchSpec",
    "OwnerLink",
    "Program",
    "ProgramFailedError",
    "chosen_start_method",
    "named_parts",
    "unique_name",
]

ExitCallback = Callable[[ExitReport], object]
"""Told of the end of an instance."""


class OwnerLink:
    """What a program has of its owner."""

    ignore_sigterm: Callable[[], None] | None = None
    """To be called before the cleanup: what asks the process to end is ignored from now on."""
    on_sigterm: Callable[[], None] | None = None
    """Set by the program: called, from a signal handler, when the process is asked to end.
    An exception that unwinds the main thread follows, but other people's code may swallow it."""
    unwind: Callable[[int, Any], None] | None = None
    """Set by the engine: what handles SIGTERM, until it has come or the cleanup begins."""
    repeat_sigterm: Callable[[], None] | None = None
    """To be called when the owner has sent SIGTERM: sees to it that the main thread is woken."""
    end_orphan: Callable[[Callable[[], None]], None] | None = None
    """To be called when the owner is gone: sees to it that the process ends, in order if
    that can be done in time, else after `before_kill()`."""

    guarded = False
    """Set by the engine: a guardian sees to it that this process does not outlive its owner."""
    owner_is_gone = False
    """Set by the engine: nobody is left to end what the program has started."""
    death_lines: Sequence[ByteStream] = ()
    """What closes when the process ends, where the owner needs that."""
    recorder: FlightRecorder | None = None
    """Where a process leaves word of what it runs, and of its end."""
    listener: Listener | None = None
    """The door, if the owner keeps it open."""
    measured: Settings | None = None
    """How its coverage is to be measured, where that of its owner is."""

    def __init__(self, data: ByteStream, control: ByteStream, shared_process: bool = False) -> None:
        self.data = data
        """Calls come in here, and replies go out."""
        self.control = control
        """Orders come in here; EOF means that the owner is gone. Of a process of its own, the first
        byte says that a guardian sees to it that this does not outlive its owner."""
        self._line: OwnerLine | None = None
        self.shared_process = shared_process
        """The owner lives in this process too: only the program's own threads are its home."""

    @property
    def line(self) -> OwnerLine:
        """The control channel, as the program uses it: to be asked for where that runs."""
        if self._line is None:
            self._line = OwnerLine(self.control)
        return self._line


class ProgramFailedError(Exception):
    """Raised by a program at its end: an exception of users' code has ended it."""

    def __init__(self, error: Bytes) -> None:
        super().__init__("an exception has ended the program")
        self.error = bytes(error)
        """The exception, packed. Unpacked it would keep the frames of users' code alive during the
        cleanup."""


class Program(Protocol):
    """What an engine runs. Under some start methods it is pickled to get there."""

    def run(self, link: OwnerLink) -> None:
        """Run to the end.

        Raises:
            ProgramFailedError: it failed; the exit code is 1.
            SystemExit: gives the exit code.
        """

    def begin(self, link: OwnerLink) -> Callable[[], None]:
        """Begin, for an engine without a thread; what it returns does the work at hand."""
        ...

    def end(self) -> None:
        """End what `begin` began.

        Raises:
            ProgramFailedError: it had failed.
        """

    def parts(self) -> Iterable[tuple[str, object]]:
        """What the user gave it, by the names that the user knows: for error messages."""
        ...

    @staticmethod
    def describe(request: bytes) -> str:
        """Of a request, whose payload begins so, what it calls: for exit reports. Static, so that
        it can be kept without the program."""
        ...


class LaunchSpec(NamedTuple):
    """What is to be launched, and how."""

    program: Program
    name: str
    daemon: bool = True
    start_method: str | None = None
    wire_options: WireOptions = DEFAULT_WIRE_OPTIONS
    main: str = "value"
    """How `__main__` gets to a process that is no fork: by `value`, or by `import`."""
    process_options: ProcessOptions = NO_OPTIONS
    """How the process is set up, by an engine that has one for it."""
    listener: Listener | None = None
    """The door, which stays open from one launch to the next; each instance is lent it. None: the
    program opens one for itself."""
    engine_options: Mapping[str, Any] | None = None
    """What the engine takes beyond that, by its own names."""
    kept: tuple[Closable, ...] = ()
    """What the program shares with its owner: a process that is a fork keeps its copy of it."""
    find_record: Callable[[int | None], str | None] | None = None
    """Finds the file in which the requests of the process with this pid are recorded; gives None if
    it left none. None: they are not recorded."""


class Instance(Protocol):
    """Where a program runs, as its owner sees it."""

    @property
    def data(self) -> Channel: ...

    @property
    def control(self) -> Channel: ...

    @property
    def pid(self) -> int | None:
        """The process it runs in."""
        ...

    @property
    def started(self) -> str:
        """When that process started, as `processes.Glimpse` has it; "": that is not known."""
        ...

    @property
    def recorder_place(self) -> tuple[int, int]:
        """The descriptor of its owner by which a `FlightRecorder` of it is found, and the place of
        that in the file; -1: it has none."""
        ...

    @property
    def runs_by_itself(self) -> bool:
        """Whether it comes to its end by itself, while its owner waits for something else."""
        ...

    @property
    def exitcode(self) -> int | None:
        """None while it runs; negative for a signal."""
        ...

    def is_alive(self) -> bool:
        """Whether it runs."""
        ...

    def waits_for(self) -> str:
        """Why its program has not begun, and what to do about it; "": it has, or nobody knows."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for its end; False when that did not come in time."""
        ...

    def on_exit(self, callback: ExitCallback) -> None:
        """Have its end told to this callback.

        Raises:
            OSError: no descriptor is free, by which the end could be noticed.
        """
        ...

    def exit_report(self) -> ExitReport:
        """What is known of its end, which has come."""
        ...

    def stacks(self, seconds: float) -> str:
        """The stacks of all its threads, from outside, whatever it is doing, in so many seconds.

        Raises:
            RuntimeError: there is no way to have them.
        """
        ...

    def terminate(self) -> None:
        """End it soon, its cleanup included."""

    def kill(self) -> None:
        """End it now."""

    def release(self) -> None:
        """Let go of what the owner holds of one that has ended."""


class Engine(Protocol):
    """A way to run programs."""

    def launch(self, spec: LaunchSpec) -> Instance:
        """Start the program of this spec, as an instance of its own.

        Raises:
            OSError: no process can be started, or no descriptor is free.
            UnsendableError: the program can't be pickled, where it has to be.
        """
        ...


class ExitCallbacks:
    """Those who are to be told of the end of one instance, in order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[ExitCallback] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, callback: ExitCallback) -> None:
        """Have it told by the next `tell`."""
        with self._lock:
            self._waiting.append(callback)

    def tell(self, exit_report: ExitReport) -> None:
        """Tell those that have not been told."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for callback in waiting:
            try:
                callback(exit_report)
            except BaseException as exc:
                report_callback_error(exc)


def named_parts(
    name: str, main: object, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[tuple[str, object]]:
    """The parts of a call of `main`, for `Program.parts`."""
    positional = [(f"args[{i}]", one) for i, one in enumerate(args)]
    return [(name, main), *positional, *kwargs.items()]


def chosen_start_method(asked: str | None) -> str:
    """The start method that was asked for; else the program's choice, or the interpreter's.

    Raises:
        ValueError: there is none of this name.
    """
    known = multiprocessing.get_all_start_methods()
    if asked is None:
        # Other packages, joblib say, make choices of their own, which are not for us.
        chosen = multiprocessing.get_start_method(allow_none=True)
        return chosen if chosen in known else known[0]
    if asked not in known:
        raise ValueError(f"start_method {asked!r} is none of {', '.join(known)}")
    return asked


_counters: dict[str, Any] = {}


def unique_name(name: str) -> str:
    """A name for the next of its kind: `parse-1`, `parse-2` ..."""
    return f"{name}-{next(_counters.setdefault(name, itertools.count(1)))}"
