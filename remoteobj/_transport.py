"""A framed two-way byte stream over a socket, and how to wait for it.

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
from functools import partial
from typing import Any, Protocol

from ._frames import Decoder
from ._messages import Bytes, Frame, Kind
from ._sharing import ANNOUNCED, Sharing
from ._sockets import bell_and_ringer, private

__all__ = [
    "Channel",
    "ChannelClosedError",
    "SocketChannel",
    "Waiter",
]

CHUNK = 1 << 16
MAX_PARTS = 512  # under every system's IOV_MAX
SPIN_SECONDS = 50e-6
MISSES = 8
RETRY = 256

clock = time.perf_counter
Parts = list[Any]


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

    def __init__(self, spin: float = SPIN_SECONDS) -> None:
        self._poll = select.poll()
        self._spin = spin
        self._alone = _processors() < 2 or spin <= 0
        self._misses = MISSES if self._alone else 0

    def watch(self, fd: int, events: int = select.POLLIN) -> None:
        self._poll.register(fd, events)

    def ignore(self, fd: int) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._poll.unregister(fd)

    def ready(self) -> list[tuple[int, int]]:
        """What can be read or written now, as (descriptor, events)."""
        return self._poll.poll(0)

    def wait(self, deadline: float | None = None) -> list[tuple[int, int]]:
        """The same, waiting for the first of them until `deadline` (`time.monotonic()`)."""
        poll = self._poll.poll
        if deadline is not None and deadline <= time.monotonic():
            return poll(0)
        if self._misses < MISSES or self._retries():
            end = clock() + self._spin
            while True:
                if ready := poll(0):
                    self._misses = 0
                    return ready
                if clock() > end:
                    break
            self._misses += 1
        if deadline is None:
            return poll()
        return poll(max(0.0, deadline - time.monotonic()) * 1000)

    def _retries(self) -> bool:
        """Whether to poll after all, where it has not paid: now and then."""
        self._misses += 1
        return self._misses % RETRY == 0 and not self._alone


# --- the channel ---------------------------------------------------------------------


class Channel(Protocol):
    """Frames, both ways. One thread at a time may write, and one may read."""

    prompt: bool
    """Whether its other end works only while this end waits, and answers at once."""

    def fileno(self) -> int:
        """The descriptor; -1 once closed."""
        ...

    sharing: Sharing
    """Its shared memory, whose `tell` is set by who writes to it."""

    def encode(self, frame: Frame) -> list[Bytes]:
        """What to write for a frame: its big buffers in shared memory, where that is possible."""
        ...

    def hear(self, frame: Frame) -> None:
        """Take in a frame that is about the channel itself (`Kind.SHARE` and above).

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


class SocketChannel:
    """A `Channel` over a connected stream socket, itself never blocking but in the waits.

    `death` is a descriptor that becomes readable when the process at the other end has
    ended. EOF says the same, but not while some other process holds a copy of the socket.
    """

    prompt: bool = False

    def __init__(
        self, sock: socket.socket, death: int | None = None, waiter: Waiter | None = None
    ) -> None:
        sock.setblocking(False)
        self._sock = private(sock)
        self._send, self._recv = sock.send, sock.recv
        # By a finalizer, which keeps the socket: in a cycle of garbage a `__del__` of ours
        # might come after the socket's own, which complains.
        weakref.finalize(self, sock.close).atexit = False
        self.sharing: Sharing = Sharing()
        self._decoder = Decoder(self.sharing.lease)
        self._death = death
        self._bell: socket.socket | None = None
        self._ringer: socket.socket | None = None
        self._waiter = waiter or Waiter()
        self._waiter.watch(sock.fileno())
        self.wait: Callable[[float | None], object] = self._waiter.wait
        if death is not None:
            self._waiter.watch(death)

    def fileno(self) -> int:
        """The descriptor; -1 once closed."""
        return self._sock.fileno()

    def encode(self, frame: Frame) -> list[Bytes]:
        return self.sharing.encode(frame)

    def hear(self, frame: Frame) -> None:
        if frame.kind == Kind.SHARE and frame.call_id == ANNOUNCED:
            # From now on descriptors may come along, which `recv` would lose.
            self._recv = partial(self.sharing.receive, self._sock)
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

    def write(self, parts: Sequence[Bytes]) -> Parts:
        left: Parts = parts if isinstance(parts, list) else list(parts)
        try:
            while left:
                if self.sharing.passing:
                    sent = self.sharing.send(self._sock, left[:MAX_PARTS])
                elif len(left) == 1:
                    sent = self._send(left[0])
                    if sent == len(left[0]):
                        return []
                else:
                    sent = self._sock.sendmsg(left[:MAX_PARTS])
                left = _drop(left, sent)
        except BlockingIOError:
            pass
        except OSError as exc:
            raise ChannelClosedError(str(exc)) from exc
        return left

    def wait_to_write(self, or_read: bool, deadline: float | None = None) -> bool:
        poll = select.poll()
        poll.register(self.fileno(), select.POLLOUT | (select.POLLIN if or_read else 0))
        if self._death is not None:
            poll.register(self._death, select.POLLIN)
        seconds = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        ready = dict(poll.poll(seconds))
        return bool(ready.get(self.fileno(), 0) & select.POLLOUT)

    def take(self) -> list[Frame]:
        try:
            if self._decoder.filling:
                count = self.sharing.receive_into(self._sock, self._decoder.space())
                if count:
                    return self._decoder.filled(count)
            else:
                data = self._recv(CHUNK)
                if data:
                    return self._decoder.feed(data)
        except BlockingIOError:
            if self._bell is not None:
                with contextlib.suppress(BlockingIOError):
                    self._bell.recv(4096)
            if not self._died():
                return []
            # What it wrote has been read: a copy of its end of the socket, held by some
            # other process, is all that keeps EOF away.
            raise ChannelClosedError("the process ended") from None
        except OSError as exc:
            raise ChannelClosedError(str(exc)) from exc
        raise ChannelClosedError("end of stream")

    def _died(self) -> bool:
        return any(fd == self._death for fd, _ in self._waiter.ready())

    def finish(self) -> None:
        """Say that nothing more will be written; what was written still arrives."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that sleeps in poll
        self._sock.close()
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
