"""What leads from an owner to the process of an actor, made before that is started."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from .._fast_typing import NamedTuple
from .._os.descriptors import has_pidfds
from .._os.fork_safety import Closable, keep_in_child
from .._os.lazy_import import import_lock
from .._os.processes import KnownProcess
from .._wire.duplex import duplex_pair, socket_pair
from .._wire.transport import ByteStream, Listener
from .contract import OwnerLink
from .flight_recorder import FlightRecorder
from .new_process import ended_line
from .reaper import readable

if TYPE_CHECKING:
    from .measuring import Measurement

__all__ = ["Lines", "link_up"]


class Lines(NamedTuple):
    """Our ends, and what its process gets."""

    data: ByteStream
    control: ByteStream
    death: ByteStream | None
    """Where processes have no descriptors, a line that the process closes in its children, and
    never writes to."""
    recorder: FlightRecorder
    link: OwnerLink
    measurement: Measurement | None

    def open_death(self, known: KnownProcess, sentinel: int, by_server: bool) -> int | None:
        """A descriptor that gets readable when the process ends; None: that of the process itself.

        That is not multiprocessing's sentinel, a pipe that lives on in the process's own children;
        under forkserver it is the server that holds it, and may die first.
        """
        if self.death is not None:
            fd = os.dup(self.death.fileno())  # a forked child may look, too
            self.death.close()
            return fd
        if known.pidfd >= 0 and not (by_server and readable(sentinel, 0)):
            return None
        known.release()  # it has been reaped, and the pid may be another process's by now
        return ended_line() if sentinel < 0 else os.dup(sentinel)


def link_up(
    ours: contextlib.ExitStack,
    theirs: contextlib.ExitStack,
    is_fork: bool,
    kept: tuple[Closable, ...],
    listener: Listener | None = None,
) -> Lines:
    """Make the lines. Our ends are closed by one of the stacks, and its by the other, which until
    then keeps them for a forked child, and what else is `kept` for it. So is a copy of the
    listener."""
    makers = (duplex_pair, socket_pair) if has_pidfds() else (duplex_pair, socket_pair, socket_pair)
    ends: list[ByteStream] = []
    its: list[ByteStream] = []
    for make in makers:
        end, other = make()
        ours.callback(end.close)
        theirs.callback(other.close)
        ends.append(end)
        its.append(other)
    link = OwnerLink(its[0], its[1])
    link.death_lines = its[2:]
    link.recorder = recorder = FlightRecorder(is_fork)
    measurement = _measurement_here()
    link.measured = None if measurement is None else measurement.settings
    ours.callback(recorder.abandon)
    kept_by_fork: list[Closable] = [*its, recorder.kept_by_fork, *kept]
    if listener is not None:
        link.listener = listener.lend()
        theirs.callback(link.listener.close)
        kept_by_fork.append(link.listener.kept_by_fork)
    theirs.enter_context(keep_in_child(*kept_by_fork))
    death = ends[2] if ends[2:] else None
    return Lines(ends[0], ends[1], death, recorder, link, measurement)


def _measurement_here() -> Measurement | None:
    """That of the coverage of an actor; None: that of its owner is not measured."""
    if "coverage" not in sys.modules:
        return None
    with import_lock:
        from .measuring import measurement_here  # for a faster start-up of what is not measured

    return measurement_here()
