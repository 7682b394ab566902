"""A framed two-way byte stream over a line, and how to wait for it.

Waiting is: look a few times without blocking, then sleep in the kernel. The first half
saves the two wake-ups that make up most of a round trip; it is given up where it does not
pay, so that a process with nothing to do uses no processor at all.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from ._codec import OUT_OF_BAND
from ._frames import Decoder
from ._line import Line
from ._messages import Bytes, Frame
from ._sharing import Sharing
from ._sockets import bell_and_ringer

__all__ = [
    "Channel",
    "ChannelClosedError",
    "TRAITS",
    "LineChannel",
    "Traits",
    "Waiter",
]

CHUNK = 1 << 16
MAX_PARTS = 512  # under every system's IOV_MAX
SPIN_SECONDS = 50e-6
ALONE_SECONDS, USED_SECONDS, CROWD_SECONDS = 12e-6, 3e-6, 1e-3
TRUST, TRIAL, RETRY = 16, 4, 64

clock = time.perf_counter
_give_way: Callable[[], object] = getattr(os, "sched_yield", lambda: None)
Parts = list[Any]


class Traits(NamedTuple):
    """How the ends of all connections to one object do."""

    spin: float | None = None
    """Seconds to poll before sleeping, 0 for never; None: some tens of µs."""
    writable: bool = True
    """Whether arrays that arrive can be written to."""

    @property
    def floor(self) -> int:
        """Bytes from which on buffers stay outside of a pickle: within, the sender decides."""
        return OUT_OF_BAND if self.writable else 0


TRAITS: Final = Traits()


class ChannelClosedError(Exception):
    """The other end is gone: it closed, or its process ended."""


# --- waiting -------------------------------------------------------------------------


def _processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class Waiter:
    """Waits for descriptors: polls for some tens of µs, then sleeps.

    Learns whether polling pays: after some waits in which it did not, it only tries now
    and then. Never polls on a machine with one processor, where the other side could not
    run meanwhile.
    """

    def __init__(self, spin: float | None = None) -> None:
        self._poll = select.poll()
        self._urgent = self._poll
        self._spin = SPIN_SECONDS if spin is None else spin
        self._alone = _processors() < 2 or self._spin <= 0
        self._trust = 0 if self._alone else TRUST
        self._skipped = 0
        self.gives_way = True
        """Whether it lets other processes have the processor when it polls for long. That pays
        where many of them call, and not where many threads of one process do."""
        self._crowded = False

    def watch(self, fd: int, events: int = select.POLLIN, urgent: bool = False) -> None:
        """Wait for these events too. Once one is urgent, only such are polled for before the
        sleep, of which each look at another costs a tenth more time."""
        self._poll.register(fd, events)
        if urgent and self._spin < CROWD_SECONDS:
            self._urgent = select.poll() if self._urgent is self._poll else self._urgent
            self._urgent.register(fd, events)

    def ignore(self, fd: int) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._poll.unregister(fd)

    def ready(self) -> list[tuple[int, int]]:
        """What can be read or written now, as (descriptor, events)."""
        return self._poll.poll(0)

    def wait(self, deadline: float | None = None) -> list[tuple[int, int]]:
        """The same, waiting for the first of them until `deadline` (`time.monotonic()`)."""
        if deadline is not None and deadline <= time.monotonic():
            return self._poll.poll(0)
        if self._trust > 0 or self._tries_again():
            poll = self._urgent.poll
            start = now = clock()
            end = start + (0.0 if self._crowded else ALONE_SECONDS)
            while now < end:
                if ready := poll(0):
                    if self._trust < TRUST:
                        self._trust += 1
                    return ready
                now = clock()
            left = self._spin if deadline is None else min(self._spin, deadline - time.monotonic())
            if ready := self._spin_on(start, left):
                return ready
        if deadline is None:
            return self._poll.poll()
        return self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000)

    def _spin_on(self, start: float, seconds: float) -> list[tuple[int, int]]:
        """It takes longer: go on polling, but let others have the processor who want it."""
        poll, now, end = self._urgent.poll, start, start + seconds
        last = end + CROWD_SECONDS
        while now < end < last:
            if self.gives_way:
                _give_way()
            if ready := poll(0):
                self._trust = min(TRUST, self._trust + 1)
                self._crowded = clock() - start > ALONE_SECONDS
                return ready
            before, now = now, clock()
            if now - before > USED_SECONDS:
                # What others used of it was not wasted by us.
                end += now - before
        self._trust -= 4
        self._crowded = False
        return []

    def _tries_again(self) -> bool:
        """Whether to poll after all, where it has not paid: now and then."""
        self._skipped += 1
        if self._alone or self._skipped % RETRY:
            return False
        self._trust = TRIAL
        return True


# --- the channel ---------------------------------------------------------------------


class Channel(Protocol):
    """Frames, both ways. One thread at a time may write, and one may read."""

    prompt: bool
    """Whether its other end works only while this end waits, and answers at once."""
    floor: int
    """Bytes from which on buffers that are sent stay outside of the pickle."""

    def fileno(self) -> int:
        """The descriptor to read from; -1 once closed."""
        ...

    @property
    def writes(self) -> int:
        """The descriptor to write to; -1 once closed."""
        ...

    sharing: Sharing
    """Its shared memory, whose `tell` is set by who writes to it."""

    def encode(self, frame: Frame) -> list[Bytes]:
        """What to write for a frame: its big buffers in shared memory, where that is possible."""
        ...

    def hear(self, frame: Frame) -> None:
        """Take in a frame that is about the channel itself (`Kind.RELEASE` and above).

        Raises:
            MalformedFrameError: it says what can't be.
        """
        ...

    def make_wakeable(self) -> None:
        """From the next wait on, `wake` ends it."""
        ...

    def wake(self) -> None:
        """End the wait of another thread, if it is at one; else the next."""
        ...

    def let_give_way(self, gives_way: bool) -> None:
        """Whether a wait may let other processes have the processor."""
        ...

    def write(self, parts: Sequence[Bytes]) -> Parts:
        """Write what fits now; the parts that are left, none when all went out.

        Raises:
            ChannelClosedError: nobody is there to read it.
        """
        ...

    def wait_to_write(self, or_read: bool) -> bool:
        """Wait until more can be written; False: first take in what can be read, if `or_read`."""
        ...

    @property
    def wait(self) -> Callable[[float | None], object]:
        """Wait until there is something to take; false when the deadline passed first."""
        ...

    def take(self) -> list[Frame]:
        """The frames completed by what can be read without waiting; often one, or none.

        Raises:
            ChannelClosedError: nothing more will come.
            MalformedFrameError: what came is not frames.
        """
        ...

    def close(self) -> None:
        """Let go of it. Harmless when done twice."""


class LineChannel:
    """A `Channel` over one end of a line, itself never blocking but in the waits.

    `death` is a descriptor that becomes readable when the process at the other end has
    ended. EOF says the same, but not while some other process holds a copy of that end.
    """

    prompt: bool = False

    def __init__(
        self,
        line: Line,
        death: int | None = None,
        traits: Traits = TRAITS,
        waiter: Waiter | None = None,
    ) -> None:
        self._line = line
        self._read, self._write = line.read, line.write
        # By a finalizer, which keeps the line: in a cycle of garbage a `__del__` of ours might
        # come after that of its parts, which complain.
        weakref.finalize(self, line.close).atexit = False
        self.sharing: Sharing = Sharing(line)
        self._decoder = Decoder(self.sharing.lease, writable=traits.writable)
        self.floor = traits.floor
        self._death = death
        self._bell: socket.socket | None = None
        self._ringer: socket.socket | None = None
        self._waiter = waiter or Waiter(traits.spin)
        self._waiter.watch(line.fileno(), urgent=True)
        self.wait: Callable[[float | None], object] = self._waiter.wait
        self._ends = {death} if death is not None else set()
        if line.piped:
            # For no event but its end: when another thread of ours shuts it, say.
            self._ends.add(line.side.fileno())
            self._waiter.watch(line.side.fileno(), 0)
        if death is not None:
            self._waiter.watch(death)

    def fileno(self) -> int:
        """The descriptor to read from; -1 once closed."""
        return self._line.fileno()

    @property
    def writes(self) -> int:
        """The descriptor to write to; -1 once closed."""
        return self._line.writes

    def encode(self, frame: Frame) -> list[Bytes]:
        return self.sharing.encode(frame)

    def hear(self, frame: Frame) -> None:
        self.sharing.hear(frame)

    def make_wakeable(self) -> None:
        if self._bell is None:
            self._bell, self._ringer = bell_and_ringer()
            weakref.finalize(self, self._bell.close).atexit = False
            weakref.finalize(self, self._ringer.close).atexit = False
            self._waiter.watch(self._bell.fileno())

    def wake(self) -> None:
        if self._ringer is not None:
            with contextlib.suppress(OSError):
                self._ringer.send(b"!")

    def let_give_way(self, gives_way: bool) -> None:
        self._waiter.gives_way = gives_way

    def write(self, parts: Sequence[Bytes]) -> Parts:
        left: Parts = parts if isinstance(parts, list) else list(parts)
        try:
            while left:
                if len(left) == 1:
                    sent = self._write(left[0])
                    if sent == len(left[0]):
                        return []
                else:
                    sent = self._line.write_all(left[:MAX_PARTS])
                if sent is None:
                    break
                left = _drop(left, sent)
        except (OSError, ValueError) as exc:  # ValueError: another thread has closed it
            raise ChannelClosedError(str(exc)) from exc
        return left

    def wait_to_write(self, or_read: bool, deadline: float | None = None) -> bool:
        poll = select.poll()
        reads, writes = self.fileno(), self.writes
        if writes < 0:
            return True  # to be told so by the write
        if or_read or reads == writes:
            poll.register(reads, select.POLLIN if or_read else 0)
        poll.register(writes, select.POLLOUT | (select.POLLIN * (or_read and reads == writes)))
        for end in self._ends:
            poll.register(end, select.POLLIN * (end == self._death))
        seconds = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        ready = dict(poll.poll(seconds))
        return bool(ready.get(writes, 0) & (select.POLLOUT | select.POLLERR))

    def take(self) -> list[Frame]:
        decoder = self._decoder
        if decoder.filling:
            return self._fill(decoder)
        try:
            data = self._read(CHUNK)
        except (OSError, ValueError) as exc:  # ValueError: another thread has closed it
            raise ChannelClosedError(str(exc)) from exc
        if data:
            return decoder.feed(data)
        if data is None and not self._ended():
            return []
        return self._last(data)

    def _fill(self, decoder: Decoder) -> list[Frame]:
        """`take`, while a large body is being received into its place."""
        try:
            count = self._line.read_into(decoder.space())
        except (OSError, ValueError) as exc:
            raise ChannelClosedError(str(exc)) from exc
        if count:
            return decoder.filled(count)
        if count is None and not self._ended():
            return []
        return self._last(None if count is None else b"")

    def _last(self, data: bytes | None) -> list[Frame]:
        """The end is near: what it wrote before may have come after the last look."""
        with contextlib.suppress(OSError, ValueError):
            data = self._read(CHUNK) if data is None else data
        if data:
            return self._decoder.feed(data)
        # If nothing is there, but no EOF either, some other process holds a copy of that end.
        raise ChannelClosedError("the process ended" if data is None else "end of stream")

    def _ended(self) -> bool:
        if self._bell is not None:
            with contextlib.suppress(BlockingIOError):
                self._bell.recv(4096)
        return any(fd in self._ends for fd, _ in self._waiter.ready())

    def finish(self) -> None:
        """Say that nothing more will be written; what was written still arrives."""
        self._line.finish()

    def close(self) -> None:
        self._line.shut()
        self._line.close()
        self.sharing.close()
        for one in (self._bell, self._ringer):
            if one is not None:
                one.close()


def _drop(parts: Parts, count: int) -> Parts:
    """The parts without their first `count` bytes."""
    for index, part in enumerate(parts):
        if count < len(part):
            rest = memoryview(part)[count:] if count else part
            return [rest, *parts[index + 1 :]]
        count -= len(part)
    return []
