"""Shared memory for big buffers: written once, mapped by the other side, and used again.

::

    sender    Pool.put ── copies ──> segment (leased) ── entry, first time with descriptor ──> frame
    receiver  frame ──> Shelf.lease ──> a view of the same memory ── its last user is gone ──┐
    sender    Pool.release: the segment is free for the next buffer <── RELEASE frame ──────┘

Making a segment costs three times as much as sending its content through the socket, since the
kernel has to find and clear its pages. Using it again costs one copy. So segments are kept while
they are in use now and then, up to a bound, and belong to one connection.

A segment has no name anywhere: it is gone with the last process that has it.

The receiver maps a segment only if it is sealed against being made smaller, since to read what has
been cut off would kill its process. From any other, such as a file where the system has no memory
files, it reads a copy.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import pickle
import stat
import threading
import weakref
from collections.abc import Callable
from io import FileIO
from typing import Any

from .._fast_typing import NamedTuple
from .._os.lazy_import import import_lock
from .._os.memfd import anonymous_file
from .._protocol.frames import SHARED_BIT

__all__ = ["SHARED", "SegmentRef", "SegmentPool", "SegmentError", "ReceivedSegments"]

SHARED = 1 << 20
"""Buffers from this many bytes on are shared."""
SEGMENTS = 64
"""Segments of one connection at most: each holds a descriptor."""
RECEIVED = 2 * SEGMENTS
"""Segments that are received from one connection at most. A sender tells that it has given some up
after the frame that brings others in their place."""
FREE_BYTES = 1 << 29
"""Bytes of free memory that one connection keeps at most."""
MOST_BYTES = 1 << 30
"""Bytes that one connection has in all segments together, if it has more than one."""

_NEW = 1 << 62
_ID_BITS, _LENGTH_BITS = 22, 40


class SegmentError(Exception):
    """The other side speaks of a segment that can't be."""


class SegmentRef(NamedTuple):
    """What stands in a frame's table in place of a buffer's length, as a u64.

    >>> SegmentRef.unpack(SegmentRef(3, 1000, True).pack())
    SegmentRef(segment=3, length=1000, new=True)
    """

    segment: int
    length: int
    new: bool
    """Whether its descriptor comes along."""

    def pack(self) -> int:
        return SHARED_BIT | self.new * _NEW | self.segment << _LENGTH_BITS | self.length

    @classmethod
    def unpack(cls, packed: int) -> SegmentRef:
        segment = packed >> _LENGTH_BITS & (1 << _ID_BITS) - 1
        return cls(segment, packed & (1 << _LENGTH_BITS) - 1, bool(packed & _NEW))


# --- memory --------------------------------------------------------------------------------


def _new_memory(size: int) -> int:
    """The descriptor of a file of this size that has no name, and keeps its size."""
    fd = anonymous_file("segment", sealable=True)
    try:
        os.ftruncate(fd, size)
    except BaseException:
        os.close(fd)
        raise
    # A file on a disk can't be sealed: its receiver copies.
    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return fd


def _rounded(size: int) -> int:
    """The size of the segment for a buffer: in steps of an eighth, so that others fit too."""
    step = 1 << max(size.bit_length() - 4, 12)
    return -(-size // step) * step


class _Segment:
    """A piece of memory that this process fills."""

    def __init__(self, number: int, size: int) -> None:
        self.number = number
        self.size = size
        self.fd = _new_memory(size)
        """Until it has been passed on."""
        self.leased = False
        try:
            self.memory = mmap.mmap(self.fd, size)
        except BaseException:
            os.close(self.fd)
            raise
        if hasattr(mmap, "MADV_DONTFORK"):
            self.memory.madvise(mmap.MADV_DONTFORK)  # a child has no use for it

    def close(self) -> None:
        self.memory.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class SegmentPool:
    """The segments in which one connection sends. `dropped` is told which of them are gone."""

    def __init__(self, dropped: Callable[[int], object]) -> None:
        self._dropped = dropped
        self._lock = threading.Lock()
        self._segments: dict[int, _Segment] = {}
        self._next = 0

    def put(self, buffer: memoryview) -> tuple[SegmentRef, int] | None:
        """Copy a buffer into a segment: its entry, and the descriptor that must go along or -1.

        None: there are too many segments; the buffer has to go another way.
        """
        with self._lock:
            segment = self._fitting(buffer.nbytes)
            if segment is None:
                return None
            segment.leased = True
        segment.memory[: buffer.nbytes] = buffer
        fd, segment.fd = segment.fd, -1
        return SegmentRef(segment.number, buffer.nbytes, fd >= 0), fd

    def _fitting(self, size: int) -> _Segment | None:
        free = [one for one in self._segments.values() if not one.leased and one.size >= size]
        best = min(free, key=lambda one: one.size, default=None)
        # One far too big would keep its memory from the buffers that need it.
        if best is not None and best.size <= 2 * size:
            return best
        if len(self._segments) >= SEGMENTS or self._next >= 1 << _ID_BITS:
            return best
        if self._segments and self._bytes() + size > MOST_BYTES:
            return best
        try:
            segment = _Segment(self._next, _rounded(size))
        except OSError:  # no descriptors, or no memory, of this kind
            return best
        self._segments[self._next] = segment
        self._next += 1
        return segment

    def _bytes(self, leased: bool = True) -> int:
        return sum(one.size for one in self._segments.values() if leased or not one.leased)

    def release(self, number: int, discard: bool) -> None:
        """The other side has no use for this segment any more.

        Raises:
            SegmentError: it had none.
        """
        with self._lock:
            segment = self._segments.get(number)
            if segment is None or not segment.leased:
                raise SegmentError(f"segment {number} is not in use")
            segment.leased = False
            if discard or self._bytes(leased=False) > FREE_BYTES:
                self._drop(segment)

    def withdraw(self, number: int) -> None:
        """This segment, which is new, could not be passed on."""
        with self._lock:
            segment = self._segments.pop(number, None)
        if segment is not None:  # else all of them were given back, by another thread
            segment.close()

    def _drop(self, segment: _Segment) -> None:
        del self._segments[segment.number]
        segment.close()
        self._dropped(segment.number)

    @property
    def empty(self) -> bool:
        """Whether there is nothing that could be given back, now or later."""
        return not self._segments

    def trim(self) -> None:
        """Give back all memory that is free."""
        with self._lock:
            for segment in list(self._segments.values()):
                if not segment.leased:
                    self._drop(segment)

    def close(self) -> None:
        """Give back all. What the other side still uses stays, with the other side."""
        with self._lock:
            while self._segments:
                self._segments.popitem()[1].close()


# --- the receiver --------------------------------------------------------------------------

# All leases of this process. A fork gives the child a share in their memory, which the sender
# must then not use again: they are released with "discard".
_leases: set[_Lease] = set()


class _Lease:
    """The time in which somebody here uses a segment. Leads to no memory."""

    def __init__(self, number: int, released: Callable[[int, bool], object]) -> None:
        self.number = number
        self._released: Callable[[int, bool], object] | None = released
        self._copied = False
        _leases.add(self)

    def end(self) -> None:
        """Its last user is gone. Called by a finalizer: anywhere, at any moment."""
        _leases.discard(self)
        if self._released is not None:
            self._released(self.number, self._copied)

    def copy(self) -> None:
        self._copied = True

    def forget(self) -> None:
        self._released = None


def _before_fork() -> None:
    for lease in list(_leases):
        lease.copy()


def _in_child() -> None:
    for lease in list(_leases):
        lease.forget()
    _leases.clear()


os.register_at_fork(before=_before_fork, after_in_child=_in_child)


class _Shared:
    """A segment that keeps its size: its own memory, for every lease."""

    def __init__(self, fd: int, size: int) -> None:
        self.size = size
        self._memory = mmap.mmap(fd, size)

    def memory(self, length: int) -> mmap.mmap:
        return self._memory


class _Readable:
    """A segment that may be made smaller at any time: a copy of it for each lease."""

    def __init__(self, fd: int, size: int) -> None:
        self.size = size
        self._file = FileIO(os.dup(fd), "rb")
        weakref.finalize(self, self._file.close).atexit = False

    def memory(self, length: int) -> mmap.mmap:
        """
        Raises:
            OSError, ValueError: it has not so many bytes any more, or can't be read.
        """
        copy = mmap.mmap(-1, length)
        self._file.seek(0)
        with memoryview(copy) as room:
            at = 0
            while at < length:
                with room[at:] as rest:
                    count = self._file.readinto(rest)
                if not count:
                    raise ValueError(f"it ends after {at} bytes")
                at += count
        return copy


def _received(fd: int) -> _Shared | _Readable:
    """A segment by its descriptor, which stays the caller's.

    Raises:
        OSError, ValueError: it is none.
    """
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no memory")
    return (_Shared if _keeps_its_size(fd) else _Readable)(fd, status.st_size)


def _keeps_its_size(fd: int) -> bool:
    try:
        return bool(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK)
    except (AttributeError, OSError):  # no such thing on this system, or not for this file
        return False


class ReceivedSegments:
    """The segments that one connection has received."""

    def __init__(self, released: Callable[[int, bool], object]) -> None:
        self._released = released
        self._segments: dict[int, _Shared | _Readable] = {}
        self._leased: dict[int, _Lease] = {}

    def lease(self, entry: SegmentRef, fd: int) -> memoryview:
        """The memory of an entry, writable, whose descriptor (or -1) came along.

        When the last view of it, of whatever kind, is gone, `released` is called, once.

        Raises:
            SegmentError: there is no such segment, or it is smaller, or in use.
        """
        if entry.new:
            self._take(entry.segment, fd)
        segment = self._segments.get(entry.segment)
        if segment is None or not 0 < entry.length <= segment.size:
            raise SegmentError(f"there is no segment {entry.segment} of {entry.length} bytes")
        if entry.segment in self._leased:
            raise SegmentError(f"segment {entry.segment} is in use")
        try:
            memory = segment.memory(entry.length)
        except (OSError, ValueError) as exc:
            raise SegmentError(f"segment {entry.segment} can't be read: {exc}") from exc
        return self._view(entry, memory)

    def _take(self, number: int, fd: int) -> None:
        if fd < 0:
            raise SegmentError(f"segment {number} came without a descriptor")
        try:
            if number in self._segments:
                raise SegmentError(f"segment {number} came a second time")
            if len(self._segments) >= RECEIVED:
                raise SegmentError(f"segment {number} is one too many")
            self._segments[number] = _received(fd)
        except (OSError, ValueError) as exc:
            raise SegmentError(f"segment {number} can't be mapped: {exc}") from exc
        finally:
            os.close(fd)

    def _view(self, entry: SegmentRef, memory: mmap.mmap) -> memoryview:
        with import_lock:
            # ctypes at start-up would take a tenth of our import, and few need it.
            import ctypes

        # The exporter itself must be what is watched: views of views hold on to that alone. The
        # map could be watched too, but has to stay; so each lease has an exporter of its own.
        exporter: Any = (ctypes.c_char * entry.length).from_buffer(memory)
        lease = self._leased[entry.segment] = _Lease(entry.segment, self._end)
        weakref.finalize(exporter, lease.end).atexit = False
        return pickle.PickleBuffer(exporter).raw()

    def _end(self, number: int, discard: bool) -> None:
        self._leased.pop(number, None)
        if discard:
            self._segments.pop(number, None)
        self._released(number, discard)

    @property
    def empty(self) -> bool:
        """Whether there are none."""
        return not self._segments

    def forget(self, number: int) -> None:
        """The sender has given this segment up."""
        if number not in self._leased:
            self._segments.pop(number, None)

    def close(self) -> None:
        """Let go of them; those in use stay as long as their users, of whom nobody is told:
        what they would be told by leads to the connection, and from there perhaps to them."""
        self._segments.clear()
        for lease in list(self._leased.values()):
            lease.forget()
        self._leased.clear()
