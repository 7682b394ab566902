"""Frames as bytes, without I/O: what to write for a frame, and frames from what was read.

```
| kind u8 | flags u8 | metadata length u16 | buffers u32 | call id u64 | payload length u64 |
| a length u64 for each buffer | metadata | payload | buffer | buffer ...
  (or where it is in shared memory)
```

Large parts are received straight into their place: `Decoder.space()` is where the next
bytes belong, so that nothing big is copied on its way.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Sequence

from .messages import Bytes, Frame, FrameParts

__all__ = [
    "MAX_BUFFERS",
    "MAX_FRAME",
    "MAX_METADATA",
    "SHARED_BIT",
    "Decoder",
    "MalformedFrameError",
    "encode",
    "is_shared",
]

HEADER = struct.Struct("<BBHIQQ")
MAX_FRAME = 1 << 40
"""Bytes in a frame, at most. Past it the header is taken for garbage, before memory is."""
JOINED = 1 << 15
"""Payloads up to this many bytes are joined to their header: one part is cheaper to write."""
LAZY = 1 << 20
"""Parts of a body from this many bytes on get their memory as they are filled."""
MAX_BUFFERS = 1 << 24
"""Buffers in a frame, at most. Their lengths come before the rest, so that a header which is
garbage, text say, must not be believed that billions of them follow."""
MAX_METADATA = (1 << 16) - 1
"""Bytes of metadata in a frame, at most."""
IN_PLACE = 1 << 16
"""Bodies from this many bytes on are received into a buffer of their own."""

_SIZE = HEADER.size
_pack, _unpack, _new = HEADER.pack, HEADER.unpack_from, tuple.__new__  # found sooner, every time


SHARED_BIT = 1 << 63
"""Set in a number of a frame's table that stands for shared memory, and not for a length."""


def is_shared(entry: int) -> bool:
    """Whether a number in a frame's table stands for shared memory, and not for a length."""
    return entry >= SHARED_BIT


class MalformedFrameError(Exception):
    """These bytes are no frame: the connection can't be trusted further."""


def encode(frame: FrameParts, table: Sequence[int] | None = None) -> list[Bytes]:
    """The parts to write, in order, for a frame.

    `table` says of all buffers how long they are, or in which shared memory (`_wire.segments`), if
    some are there, and the frame has only the others.
    """
    kind, call_id, payload, buffers, metadata, flags = frame
    if buffers or table is not None:
        table = [len(one) for one in buffers] if table is None else table
        head = _pack(kind, flags, len(metadata), len(table), call_id, len(payload))
        head += struct.pack(f"<{len(table)}Q", *table)
    else:
        head = _pack(kind, flags, len(metadata), 0, call_id, len(payload))
    if metadata:
        head += metadata
    if len(payload) <= JOINED:
        return [head + payload, *buffers]
    return [head, payload, *buffers]


def _room(size: int) -> bytearray | memoryview:
    """Memory for so many bytes. Of much of it, the system gives each page when it is filled: who
    only announces a big body takes nothing."""
    if size < LAZY:
        return bytearray(size)
    try:
        return memoryview(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    except (OSError, ValueError, OverflowError) as exc:
        raise MemoryError(str(exc)) from exc


class Decoder:
    """Bytes in, frames out, however the bytes were cut.

    Invariant: `_rest` holds less than one frame, unless a large body is being filled
    (`filling` is not empty), and then `_rest` is empty.
    """

    def __init__(
        self,
        lease: Callable[[int], memoryview] | None = None,
        limit: int = MAX_FRAME,
        writable: bool = True,
    ) -> None:
        self._lease = lease
        self._limit = limit
        self._writable = writable
        self._rest = b""
        self._body: list[bytearray | memoryview] = []
        self._head = (0, 0, 0)
        """Kind, flags and call id of the large frame whose body is being filled."""
        self.filling: list[bytearray | memoryview] = []
        """The parts of a large body that is on its way: its bytes belong into `space()`."""
        self._at = (0, 0)  # which part is being filled, and how far it is

    def space(self) -> memoryview:
        """Where the next bytes of a large body belong."""
        index, offset = self._at
        return memoryview(self.filling[index])[offset:]

    def filled(self, count: int) -> list[Frame]:
        """`count` bytes were put into `space()`; the frame, once that completes it."""
        index, offset = self._at
        self._at = (index, offset + count)
        return self._finish()

    def feed(self, data: bytes) -> list[Frame]:
        """Take in bytes; the frames that they complete.

        Raises:
            MalformedFrameError: these bytes can't be frames, or there is no memory for one.
        """
        size = len(data)
        if size >= _SIZE and not self._rest and not self.filling:
            # Most often it is just one small frame: half the time of the general case.
            kind, flags, more, count, call_id, length = _unpack(data)
            if size == _SIZE + length and not (count or more):
                return [_new(Frame, (kind, call_id, data[_SIZE:], (), b"", flags))]
        frames: list[Frame] = []
        if self._rest:
            data = self._rest + data
            self._rest = b""
        position = 0
        while position < len(data):
            if self.filling:
                used = self._fill(data, position, frames)
            else:
                used = self._next(data, position, frames)
                if not used:
                    break
            position += used
        self._rest = data[position:] if position else data
        return frames

    def _next(self, data: bytes, start: int, frames: list[Frame]) -> int:
        """Take small frames, or the head of a large one; bytes used, 0 if more must come."""
        position, size = start, len(data)
        while position + _SIZE <= size:
            kind, flags, more, count, call_id, length = _unpack(data, position)
            if count or length > IN_PLACE:
                break
            begin = position + _SIZE + more
            end = begin + length
            if end > size:
                break
            metadata = data[position + _SIZE : begin] if more else b""
            frames.append(_new(Frame, (kind, call_id, data[begin:end], (), metadata, flags)))
            position = end
        else:
            return position - start
        if position > start or not (count or length > IN_PLACE):
            return position - start
        return self._begin(data, start, frames)

    def _begin(self, data: bytes, start: int, frames: list[Frame]) -> int:
        """Take the head of a large frame."""
        kind, flags, more, count, call_id, length = _unpack(data, start)
        body = start + _SIZE
        end: int = body + 8 * count
        if count > MAX_BUFFERS or end - start > self._limit:
            raise MalformedFrameError(f"{count} buffers are too many")
        if end > len(data):
            return 0
        self._head = (kind, flags, call_id)
        self._at = (0, 0)
        self._allocate([more, length, *struct.unpack_from(f"<{count}Q", data, body)])
        frames += self._finish()
        return end - start

    def _allocate(self, sizes: list[int]) -> None:
        """Make room for a body: the metadata, the payload, then the buffers."""
        total = sum(size for size in sizes[2:] if not is_shared(size)) + sizes[0] + sizes[1]
        if total > self._limit:
            raise MalformedFrameError(f"{total} bytes are more than {self._limit}")
        try:
            # Neither of the first two can be shared memory, whatever their number says.
            self._body = [_room(sizes[0]), _room(sizes[1])]
            self.filling = [*self._body]
            for size in sizes[2:]:
                self._body.append(self._shared(size) if is_shared(size) else _room(size))
                if not is_shared(size):
                    self.filling.append(self._body[-1])
        except MemoryError as exc:
            raise MalformedFrameError(f"no memory for a frame of {total} bytes") from exc

    def _shared(self, entry: int) -> memoryview:
        if self._lease is None:
            raise MalformedFrameError("memory can't be shared here")
        return self._lease(entry)

    def _fill(self, data: bytes, start: int, frames: list[Frame]) -> int:
        """Copy into the large body what belongs there; the bytes used."""
        space = self.space()
        count = min(len(space), len(data) - start)
        space[:count] = memoryview(data)[start : start + count]
        frames += self.filled(count)
        return count

    def _finish(self) -> list[Frame]:
        """Move on over parts that are full; the frame when all are."""
        index, offset = self._at
        while index < len(self.filling) and offset == len(self.filling[index]):
            index, offset = index + 1, 0
        self._at = (index, offset)
        if index < len(self.filling):
            return []
        metadata, payload, *buffers = self._body
        self.filling, self._body = [], []
        if not self._writable:
            buffers = [memoryview(one).toreadonly() for one in buffers]
        kind, flags, call_id = self._head
        return [Frame(kind, call_id, payload, buffers, bytes(metadata), flags)]
