"""A framed two-way byte stream over a line."""

from __future__ import annotations

import contextlib
import select
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .._os.poller import SpinPoller
from .._os.sigpipe import sigpipe_blocked, sigpipe_is_default
from .._os.wakeup import Wakeup
from .._protocol.chains import ServingThread
from .._protocol.config import DEFAULT_WIRE_OPTIONS, WireOptions
from .._protocol.frames import Decoder
from .._protocol.messages import Bytes, Frame
from .buffer_exchange import BufferExchange
from .duplex import DuplexStream

__all__ = [
    "Channel",
    "ChannelClosedError",
    "StreamChannel",
]

CHUNK = 1 << 16
MAX_PARTS = 512  # under every system's IOV_MAX
Parts = list[Any]


class ChannelClosedError(Exception):
    """The other end is gone: it closed, or its process ended."""


# --- the channel ---------------------------------------------------------------------


class Channel(Protocol):
    """Frames, both ways. One thread at a time may write, and one may read."""

    runs_inline: bool
    """Whether its other end works only while this end waits, and answers at once."""
    writable: bool
    """Whether arrays that arrive can be written to."""

    def fileno(self) -> int:
        """The descriptor to read from; -1 once closed."""
        ...

    @property
    def writes(self) -> int:
        """The descriptor to write to; -1 once closed."""
        ...

    buffer_exchange: BufferExchange
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

    def set_yields_cpu(self, yields_cpu: bool) -> None:
        """Whether a wait may let other processes have the processor."""
        ...

    def write(self, parts: Sequence[Bytes]) -> Parts:
        """Write what fits now; the parts that are left, none when all went out.

        Raises:
            ChannelClosedError: nobody is there to read it.
        """
        ...

    def wait_to_write(
        self, or_read: bool, deadline: float | None = None, host: ServingThread | None = None
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


class StreamChannel:
    """A `Channel` over one end of a line, itself never blocking but in the waits.

    `death` is a descriptor that becomes readable when the process at the other end has
    ended. EOF says the same, but not while some other process holds a copy of that end.
    """

    runs_inline: bool = False

    def __init__(
        self,
        duplex: DuplexStream,
        death: int | None = None,
        wire_options: WireOptions = DEFAULT_WIRE_OPTIONS,
        waiter: SpinPoller | None = None,
    ) -> None:
        self._duplex = duplex
        self._read, self._write = duplex.read, duplex.write
        self.buffer_exchange: BufferExchange = BufferExchange(duplex)
        # By finalizers, which keep the line: in a cycle of garbage a `__del__` of ours might
        # come after that of its parts, which complain.
        weakref.finalize(self, duplex.close).atexit = False
        weakref.finalize(self, self.buffer_exchange.close).atexit = False
        self._decoder = Decoder(self.buffer_exchange.lease, writable=wire_options.writable)
        self.writable = wire_options.writable
        self._death = death
        self._wakeup: Wakeup | None = None
        self._poller = waiter or SpinPoller(wire_options.spin)
        self._poller.register(duplex.fileno(), hot=True)
        self.wait: Callable[[float | None], object] = self._poller.wait
        self._ends = {death} if death is not None else set()
        if duplex.piped:
            # For no event but its end: when another thread of ours shuts it, say.
            self._ends.add(duplex.sock.fileno())
            self._poller.register(duplex.sock.fileno(), 0)
        if death is not None:
            self._poller.register(death)

    def fileno(self) -> int:
        """The descriptor to read from; -1 once closed."""
        return self._duplex.fileno()

    @property
    def writes(self) -> int:
        """The descriptor to write to; -1 once closed."""
        return self._duplex.writes

    def encode(self, frame: Frame) -> list[Bytes]:
        return self.buffer_exchange.encode(frame)

    def hear(self, frame: Frame) -> None:
        self.buffer_exchange.hear(frame)

    def make_wakeable(self) -> None:
        if self._wakeup is None:
            self._wakeup = Wakeup()
            weakref.finalize(self, self._wakeup.close).atexit = False
            self._poller.register(self._wakeup.fileno())

    def wake(self) -> None:
        if self._wakeup is not None:
            self._wakeup.set()

    @property
    def watched(self) -> dict[int, int]:
        return self._poller.watched

    def set_yields_cpu(self, yields_cpu: bool) -> None:
        self._poller.yields_cpu = yields_cpu

    def write(self, parts: Sequence[Bytes]) -> Parts:
        if sigpipe_is_default():
            with sigpipe_blocked():
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
                    sent = self._duplex.writev(left[:MAX_PARTS])
                if sent is None:
                    break
                left = _drop(left, sent)
        except (OSError, ValueError) as exc:  # ValueError: another thread has closed it
            raise ChannelClosedError(str(exc)) from exc
        return left

    def wait_to_write(
        self, or_read: bool, deadline: float | None = None, host: ServingThread | None = None
    ) -> bool:
        reads, writes = self.fileno(), self.writes
        if writes < 0:
            return True  # to be told so by the write
        watched = {end: select.POLLIN * (end == self._death) for end in self._ends}
        if or_read or reads == writes:
            watched[reads] = select.POLLIN if or_read else 0
        watched[writes] = select.POLLOUT | (select.POLLIN * (or_read and reads == writes))
        if host is not None:
            host.wait_reading(watched, deadline)
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
            count = self._duplex.read_into(decoder.space())
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
        if self._wakeup is not None:
            self._wakeup.clear()
        return any(fd in self._ends for fd, _ in self._poller.ready())

    def end_writing(self) -> None:
        """Say that nothing more will be written; what was written still arrives."""
        self._duplex.end_writing()

    def close(self) -> None:
        self._duplex.shutdown()
        self._duplex.close()
        self.buffer_exchange.close()
        if self._wakeup is not None:
            self._wakeup.close()


def _drop(parts: Parts, count: int) -> Parts:
    """The parts without their first `count` bytes."""
    for index, part in enumerate(parts):
        if count < len(part):
            rest = memoryview(part)[count:] if count else part
            return [rest, *parts[index + 1 :]]
        count -= len(part)
    return []
