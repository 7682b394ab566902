"""A framed two-way byte stream over a line."""

from __future__ import annotations

import contextlib
import select
import socket
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from ._chain import Host
from ._codec import OUT_OF_BAND
from ._frames import Decoder
from ._line import Line
from ._messages import Bytes, Frame
from ._sharing import Sharing
from ._sigpipe import is_deadly, spared
from ._sockets import bell_and_ringer
from ._waiter import Waiter

__all__ = [
    "Channel",
    "ChannelClosedError",
    "TRAITS",
    "LineChannel",
    "Traits",
]

CHUNK = 1 << 16
MAX_PARTS = 512  # under every system's IOV_MAX
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

    @property
    def watched(self) -> dict[int, int]:
        """The events that a wait waits for, by descriptor."""
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

    def wait_to_write(
        self, or_read: bool, deadline: float | None = None, host: Host | None = None
    ) -> bool:
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
        self.sharing: Sharing = Sharing(line)
        # By finalizers, which keep the line: in a cycle of garbage a `__del__` of ours might
        # come after that of its parts, which complain.
        weakref.finalize(self, line.close).atexit = False
        weakref.finalize(self, self.sharing.close).atexit = False
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

    @property
    def watched(self) -> dict[int, int]:
        return self._waiter.watched

    def let_give_way(self, gives_way: bool) -> None:
        self._waiter.gives_way = gives_way

    def write(self, parts: Sequence[Bytes]) -> Parts:
        if is_deadly():
            with spared():
                return self._write_parts(parts)
        return self._write_parts(parts)

    def _write_parts(self, parts: Sequence[Bytes]) -> Parts:
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

    def wait_to_write(
        self, or_read: bool, deadline: float | None = None, host: Host | None = None
    ) -> bool:
        reads, writes = self.fileno(), self.writes
        if writes < 0:
            return True  # to be told so by the write
        watched = {end: select.POLLIN * (end == self._death) for end in self._ends}
        if or_read or reads == writes:
            watched[reads] = select.POLLIN if or_read else 0
        watched[writes] = select.POLLOUT | (select.POLLIN * (or_read and reads == writes))
        if host is not None:
            host.take_in_beside(watched, deadline)
            return False
        poll = select.poll()
        for fd, events in watched.items():
            poll.register(fd, events)
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
