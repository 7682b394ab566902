"""Frames over a stream: what callers and actors read, write and wait on.

A `StreamChannel` puts frames on any `transport.ByteStream`. Its reads and writes never block: they
do what goes at once, and the waits are calls of their own, so that whoever waits can wait for other
things too. `Channel` is the contract, as the two ends of a connection use it. The channel to an
inline actor, which runs only while its caller waits, keeps it by other waits (`_engines.inline`).
"""

from __future__ import annotations

import contextlib
import select
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from .._fast_typing import Protocol
from .._os.lazy_import import import_lock
from .._os.poller import SpinPoller
from .._os.sigpipe import SIG_DFL, sigpipe_blocked, sigpipe_handler
from .._os.wakeup import Wakeup
from .._protocol.chains import ServingThread
from .._protocol.config import DEFAULT_WIRE_OPTIONS, WireOptions
from .._protocol.frames import Decoder
from .._protocol.messages import Bytes, Frame
from .buffer_exchange import BufferExchange
from .transport import ByteStream

__all__ = [
    "Channel",
    "ChannelClosedError",
    "StreamChannel",
]

CHUNK = 1 << 16
"""Bytes that one read asks for."""
MAX_PARTS = 512
"""Parts of one write: fewer than any system's IOV_MAX."""
Parts = list[Any]


class ChannelClosedError(Exception):
    """Nothing more comes or goes: the other end has closed, or its process has ended."""


# --- the contract --------------------------------------------------------------------


class Channel(Protocol):
    """Frames, both ways. One thread at a time may write, and one may read."""

    runs_inline: bool
    """Whether the other end runs in this thread, and only during the waits of this end."""
    writable: bool
    """Whether arrays that arrive can be written to."""
    buffer_exchange: BufferExchange
    """The shared memory of this end; whoever writes to the channel sets its `tell`."""

    def fileno(self) -> int:
        """The descriptor that tells when there is something to read; -1 once closed."""
        ...

    @property
    def writes(self) -> int:
        """The descriptor that tells when there is room to write; -1 once closed."""
        ...

    # --- writing ---

    def encode(self, frame: Frame) -> list[Bytes]:
        """The parts to write for a frame; its big buffers go by shared memory, where they can."""
        ...

    def write(self, parts: Sequence[Bytes]) -> Parts:
        """Write what there is room for now; the parts that are left, none when all went out.

        Raises:
            ChannelClosedError: nobody is there to read it.
        """
        ...

    def wait_to_write(
        self, or_read: bool, deadline: float | None = None, host: ServingThread | None = None
    ) -> bool:
        """Wait for room to write; whether there is room.

        Args:
            or_read: end the wait when there is something to read, too. It is to be taken in before
                the next wait: the other end may be waiting for us to read before it reads on.
            deadline: by `time.monotonic()`.
            host: what runs requests in this thread, and waits in place of this channel.
        """
        ...

    # --- reading ---

    @property
    def wait(self) -> Callable[[float | None], object]:
        """Wait until there is something to `take`; false when the deadline passed first."""
        ...

    def take(self, waited: bool = True) -> list[Frame]:
        """The frames completed by what can be read without waiting; often one, or none.

        Args:
            waited: whether a wait has just ended. Who looks without one is not told of an end that
                is to be found in other ways than by reading.

        Raises:
            ChannelClosedError: nothing more will come.
            MalformedFrameError: what came is not frames.
        """
        ...

    def hear(self, frame: Frame) -> None:
        """Take in a frame that is about the channel itself (`Kind.RELEASE` and above).

        Raises:
            MalformedFrameError: the frame says what can't be.
        """
        ...

    # --- waiting ---

    @property
    def watched(self) -> dict[int, int]:
        """What `wait` waits for: the events of `select.poll`, by descriptor."""
        ...

    def make_wakeable(self) -> None:
        """From the next wait on, `wake` ends a wait."""
        ...

    def wake(self) -> None:
        """End the wait of another thread; the next wait, if no thread is at one."""
        ...

    def keep_cpu(self) -> None:
        """For some time, waits that poll do not give way: other threads use the channel too."""
        ...

    def shutdown(self) -> None:
        """End it for both ends, and wake the threads that wait at either. From any thread."""
        ...

    def close(self) -> None:
        """The same, and let go of its descriptors. Harmless when done twice."""
        ...


# --- over a stream -------------------------------------------------------------------


def _closed_by(exc: Exception) -> ChannelClosedError:
    """The error of a channel whose stream failed with this; what a signal handler raised in the
    midst of it is none, and is raised as it is."""
    with import_lock:
        from .._os.handler_errors import is_of_handler  # start-up: hardly any program needs it
    if is_of_handler(exc):
        raise exc
    return ChannelClosedError(str(exc))


class StreamChannel:
    """A `Channel` over one end of a stream, which belongs to the channel from then on.

    Args:
        stream: made by whatever transport.
        death: a descriptor that becomes readable when the process at the other end has ended. The
            end of the stream says so as well, but not while yet another process holds a copy of
            that end.
        wire_options: how the channel waits and receives.
        poller: what waits, in place of a `SpinPoller` made by those options.
    """

    runs_inline: bool = False

    def __init__(
        self,
        stream: ByteStream,
        death: int | None = None,
        wire_options: WireOptions = DEFAULT_WIRE_OPTIONS,
        poller: SpinPoller | None = None,
    ) -> None:
        self._stream = stream
        self._read, self._write = stream.read, stream.write  # looked up once, not at each call
        self.buffer_exchange: BufferExchange = BufferExchange(stream)
        # Finalizers of their own, since in a cycle of garbage a `__del__` of this channel might run
        # after the stream's sockets have been collected, which then warn that they are open.
        weakref.finalize(self, stream.close).atexit = False
        weakref.finalize(self, self.buffer_exchange.close).atexit = False
        self._decoder = Decoder(self.buffer_exchange.lease, writable=wire_options.writable)
        self.writable: bool = wire_options.writable
        self._death = death
        self._wakeup: Wakeup | None = None
        self._poller = poller or SpinPoller(wire_options.spin, looks_up=True)
        self._poller.register(stream.fileno(), hot=True)
        self.wait: Callable[[float | None], object] = self._poller.wait
        self._ends: set[int] = set()
        """The descriptors that report nothing but the end of the stream."""
        if stream.hangup >= 0:
            self._ends.add(stream.hangup)
            self._poller.register(stream.hangup, 0)
        if death is not None:
            self._ends.add(death)
            self._poller.register(death)

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def peer_pid(self) -> int | None:
        """The process that has made the other end; None: the transport does not tell."""
        pid: int | None = getattr(self._stream, "peer_pid", None)
        return pid

    @property
    def writes(self) -> int:
        return self._stream.writes

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

    def keep_cpu(self) -> None:
        self._poller.keep_cpu()

    def write(self, parts: Sequence[Bytes]) -> Parts:
        if sigpipe_handler() == SIG_DFL:
            with sigpipe_blocked():
                return self._write_parts(parts)
        if len(parts) != 1:
            return self._write_parts(parts)
        # One part, as mostly, is written right here: a function call less.
        try:
            sent = self._write(parts[0])
        except (OSError, ValueError) as exc:  # ValueError: another thread has closed it
            raise _closed_by(exc) from exc
        if sent == len(parts[0]):
            return []
        return self._write_parts(_drop(list(parts), sent or 0))

    def _write_parts(self, parts: Sequence[Bytes]) -> Parts:
        left: Parts = parts if isinstance(parts, list) else list(parts)
        try:
            while left:
                if len(left) == 1:
                    sent = self._write(left[0])
                    if sent == len(left[0]):
                        return []
                else:
                    sent = self._stream.writev(left[:MAX_PARTS])
                if sent is None:
                    break
                left = _drop(left, sent)
        except (OSError, ValueError) as exc:  # ValueError: another thread has closed it
            raise _closed_by(exc) from exc
        return left

    def wait_to_write(
        self, or_read: bool, deadline: float | None = None, host: ServingThread | None = None
    ) -> bool:
        reads, writes = self.fileno(), self.writes
        if writes < 0:
            return True  # closed: the write says so
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

    def take(self, waited: bool = True) -> list[Frame]:
        decoder = self._decoder
        if decoder.filling:
            return self._fill(decoder, waited)
        try:
            data = self._read(CHUNK)
        except (OSError, ValueError) as exc:  # ValueError: another thread has closed it
            raise _closed_by(exc) from exc
        if data:
            return decoder.feed(data)
        if data is None and not (waited and self._ended()):
            return []
        return self._last(data)

    def _fill(self, decoder: Decoder, waited: bool) -> list[Frame]:
        """`take` while a large body is being received into its place."""
        try:
            count = self._stream.read_into(decoder.space())
        except (OSError, ValueError) as exc:
            raise _closed_by(exc) from exc
        if count:
            return decoder.filled(count)
        if count is None and not (waited and self._ended()):
            return []
        return self._last(None if count is None else b"")

    def _last(self, data: bytes | None) -> list[Frame]:
        """`take` once the end is known: what was written before it may still be there to read.

        `data` is what a read has just given, None for nothing.
        """
        with contextlib.suppress(OSError, ValueError):
            data = self._read(CHUNK) if data is None else data
        if data:
            return self._decoder.feed(data)
        # Where nothing is there, but no EOF either, another process holds a copy of that end.
        raise ChannelClosedError("the process ended" if data is None else "end of stream")

    def _ended(self) -> bool:
        """Whether a descriptor reports the end, where there is nothing to read."""
        if self._wakeup is not None:
            self._wakeup.clear()
        return any(fd in self._ends for fd, _ in self._poller.ready())

    def end_writing(self) -> None:
        """Say that nothing more will be written; what was written still arrives."""
        self._stream.end_writing()

    def shutdown(self) -> None:
        self._stream.shutdown()

    def close(self) -> None:
        self.shutdown()
        self._stream.close()
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
