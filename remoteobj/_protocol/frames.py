"""Frames as bytes, without I/O: what to write for a frame, and frames from what was read.

```
| kind u8 | flags u8 | metadata length u16 | buffers u32 | call id u64 | payload length u64 |
| a length u64 for each buffer | metadata | payload | buffer | buffer ...
  (or where it is in shared memory)
```

Large parts are received straight into their place: `Decoder.space()` is where the next
bytes belong, so that nothing big is copied on its way. What a header announces takes no memory
until it comes: one part at a time has its place, and a big one is given its pages as they fill.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from .messages import Bytes, Frame, FrameParts, MalformedFrameError

__all__ = [
    "MAX_BUFFERS",
    "MAX_FRAME",
    "MAX_METADATA",
    "SHARED_BIT",
    "Decoder",
    "encode",
    "encode_small",
    "is_shared",
]

HEADER = struct.Struct("<BBHIQQ")
MAX_FRAME = 1 << 40
"""Bytes in a frame, at most. Past it the header is taken for garbage, before memory is."""
JOINED = 1 << 15
"""Payloads up to this many bytes are joined to their header: one part is cheaper to write."""
LAZY = 1 << 20
"""Parts of a body from this many bytes on get their memory as they are filled."""
_HUGE_PAGES: Final[int | None] = getattr(mmap, "MADV_HUGEPAGE", None)
"""Advice to Linux: to give a big part small pages, one by one, takes longer than to fill them."""
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


def encode_small(kind: int, call_id: int, payload: bytes) -> bytes:
    """A frame that is but a payload of `JOINED` bytes at most, as most are: one part to write."""
    return _pack(kind, 0, 0, 0, call_id, len(payload)) + payload


def encode(frame: FrameParts, table: Sequence[int] | None = None) -> list[Bytes]:
    """The parts to write, in order, for a frame.

    `table` says of all buffers how long they are, or in which shared memory (`_wire.segments`), if
    some are there, and the frame has only the others.
    """
    kind, call_id, payload, buffers, metadata, flags = frame
    if not (buffers or metadata) and table is None and len(payload) <= JOINED:
        # As most are: a quarter less of the time.
        return [_pack(kind, flags, 0, 0, call_id, len(payload)) + payload]
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
    only announces a big part takes nothing."""
    if size < LAZY:
        return bytearray(size)
    try:
        memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, ValueError, OverflowError) as exc:
        raise MemoryError(str(exc)) from exc
    if _HUGE_PAGES is not None:
        with contextlib.suppress(OSError):  # this kernel has none
            memory.madvise(_HUGE_PAGES)
    return memoryview(memory)


class Decoder:
    """Bytes in, frames out, however the bytes were cut.

    Invariants: `_rest` holds less than one small frame, and is empty while a part of a large frame
    is being filled. Beside the parts that have come whole, only that one has memory.
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
        self.filling: bytes | bytearray | memoryview = b""
        """The part of a large frame that is on its way: its bytes belong into `space()`. Empty
        where there is none."""
        self._at = 0  # how far it is filled
        self._header = (0, 0, 0, 0, 0, 0)
        """That of the large frame."""
        self._body: list[bytes | bytearray | memoryview] = []
        """The parts that have come, the one that is being filled at the end."""
        self._sizes: deque[int] | None = None
        """The sizes of the parts that follow; None while the table is filled that says so."""
        self._total = 0
        self._leased: deque[memoryview] = deque()
        """Those of the parts that follow which are in shared memory."""

    def space(self) -> memoryview:
        """Where the next bytes of a large frame belong."""
        return memoryview(self.filling)[self._at :]

    def filled(self, count: int) -> list[Frame]:
        """`count` bytes were put into `space()`; the frame, once that completes it.

        Raises:
            MalformedFrameError: as `feed`.
        """
        self._at += count
        return self._advance()

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
        self._header = header = _unpack(data, start)
        count = header[3]
        if count > MAX_BUFFERS or _SIZE + 8 * count > self._limit:
            raise MalformedFrameError(f"{count} buffers are too many")
        self._total = 8 * count
        if count:
            self._sizes = None
            self._make_room(8 * count)
        else:
            self._plan(())
            frames += self._advance()
        return _SIZE

    def _plan(self, table: Sequence[int]) -> None:
        """Know what follows: the metadata, the payload, then the buffers."""
        more, length = self._header[2], self._header[5]
        self._total = sum(size for size in table if not is_shared(size)) + more + length
        if self._total > self._limit:
            raise MalformedFrameError(f"{self._total} bytes are more than {self._limit}")
        self._leased = deque(self._shared(entry) for entry in table if is_shared(entry))
        self._sizes = deque((more, length, *table))

    def _shared(self, entry: int) -> memoryview:
        if self._lease is None:
            raise MalformedFrameError("memory can't be shared here")
        return self._lease(entry)

    def _make_room(self, size: int) -> None:
        try:
            self.filling, self._at = _room(size), 0
        except MemoryError as exc:
            raise MalformedFrameError(f"no memory for a frame of {self._total} bytes") from exc

    def _fill(self, data: bytes, start: int, frames: list[Frame]) -> int:
        """Copy into the large frame what belongs there; the bytes used."""
        space = self.space()
        count = min(len(space), len(data) - start)
        space[:count] = memoryview(data)[start : start + count]
        frames += self.filled(count)
        return count

    def _advance(self) -> list[Frame]:
        """Go on to the next part if this one is full; the frame once all are."""
        while self._at == len(self.filling):
            if self._sizes is None:
                self._plan(struct.unpack(f"<{self._header[3]}Q", self.filling))
            if not self._sizes:
                return [self._complete()]
            size = self._sizes.popleft()
            if is_shared(size):
                self.filling = self._leased.popleft()
                self._at = len(self.filling)
            else:
                self._make_room(size)
            self._body.append(self.filling)
        return []

    def _complete(self) -> Frame:
        metadata, payload, *buffers = self._body
        self.filling, self._at, self._body = b"", 0, []
        if not self._writable:
            buffers = [memoryview(one).toreadonly() for one in buffers]
        kind, flags, _, _, call_id, _ = self._header
        return Frame(kind, call_id, payload, buffers, bytes(metadata), flags)
