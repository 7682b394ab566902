"""The contract of an engine: launch a program, and be told when it ends.

An engine sees frames and processes, never a view or a future. It gives its program a link,
whose two channels lead to the owner: one for calls, one for orders and the sign of life.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from .._protocol.config import DEFAULT_WIRE_OPTIONS, WireOptions
from .._wire.channel import Channel
from .._wire.transport import ByteStream
from .flight_recorder import FlightRecorder

__all__ = ["ExitReport", "Engine", "LaunchSpec", "OwnerLink", "Program", "Instance", "unique_name"]


class ExitReport(NamedTuple):
    """What is known of the end of a process."""

    exitcode: int | None = None
    last_stack: str | None = None
    """The stacks at a crash."""
    running: bytes | None = None
    """The beginning of the payload of the request that it was running."""
    last_output: str | None = None
    """The end of what it wrote to `sys.stderr`."""
    peak_memory: int | None = None
    """Bytes of physical memory that it used at most."""
    out_of_memory: bool = False
    """Whether the kernel killed it for want of memory, as far as that can be known."""


class OwnerLink:
    """What a program has of its owner."""

    ignore_sigterm: Callable[[], None] | None = None
    """To be called before the cleanup: what asks the process to end is ignored from now on."""
    on_sigterm: Callable[[], None] | None = None
    """Set by the program: called, from a signal handler, when the process is asked to end.
    An exception that unwinds the main thread follows, but other people's code may swallow it."""
    end_orphan: Callable[[Callable[[], None]], None] | None = None
    """To be called when the owner is gone: sees to it that the process ends, in order if
    that can be done in time, else after `before_kill()`."""

    owner_is_gone = False
    """Set by the engine: nobody is left to end what the program has started."""
    death_lines: Sequence[ByteStream] = ()
    """What closes when the process ends, where the owner needs that."""
    recorder: FlightRecorder | None = None
    """Where a process leaves word of what it runs, and of its end."""

    def __init__(self, data: ByteStream, control: ByteStream, shared_process: bool = False) -> None:
        self.data = data
        """Calls come in here, and replies go out."""
        self.control = control
        """Orders come in here; EOF means that the owner is gone."""
        self.shared_process = shared_process
        """The owner lives in this process too: only the program's own threads are its home."""


class Program(Protocol):
    """What an engine runs. Under some start methods it is pickled to get there."""

    def run(self, link: OwnerLink) -> None:
        """Run to the end. SystemExit gives the exit code."""

    def begin(self, link: OwnerLink) -> Callable[[], None]:
        """Begin, for an engine without a thread; what it returns does the work at hand."""
        ...

    def end(self) -> None:
        """End what `begin` began."""

    def parts(self) -> Iterable[tuple[str, object]]:
        """What the user gave it, by the names that the user knows: for error messages."""
        ...


class LaunchSpec(NamedTuple):
    """What is to be launched, and how."""

    program: Program
    name: str
    daemon: bool = True
    start_method: str | None = None
    wire_options: WireOptions = DEFAULT_WIRE_OPTIONS


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
    def alive(self) -> bool: ...

    @property
    def runs_by_itself(self) -> bool:
        """Whether it comes to its end by itself, while its owner waits for something else."""
        ...

    @property
    def exitcode(self) -> int | None:
        """None while it runs; negative for a signal."""
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

    def join(self, timeout: float | None = None) -> bool:
        """Wait for its end; False when that did not come in time."""
        ...

    def terminate(self) -> None:
        """End it soon, its cleanup included."""

    def kill(self) -> None:
        """End it now."""

    def close(self) -> None:
        """Let go of what the owner holds of one that has ended."""


class Engine(Protocol):
    """A way to run programs."""

    def launch(self, launch: LaunchSpec) -> Instance:
        """Start it. Whether it works out, it says itself, on its data channel."""
        ...


_counters: dict[str, Any] = {}


def unique_name(name: str) -> str:
    """A name for the next of its kind: `parse-1`, `parse-2` ..."""
    return f"{name}-{next(_counters.setdefault(name, itertools.count(1)))}"
