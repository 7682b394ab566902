"""The entries of the file in which an actor's requests are recorded, as bytes and read again.

::

    mark of the format | HEAD | MADE | CUT, STATE | BEGIN, END, BEGIN ...
                         who    how    where its    each request before it begins,
                                made   story begins and what came of it

Each entry has its size and a checksum. One that is torn ends what is read, and is no error: whoever
wrote it was killed meanwhile.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from .._fast_typing import NamedTuple
from .._os.records import Part, record_of
from .._pickling.exceptions import unpack_error
from .._protocol.messages import Bytes, FrameParts, Kind
from ..errors import describe

__all__ = [
    "BEFORE_STATE",
    "BEGIN",
    "CLOSE",
    "CUT",
    "END",
    "FORMAT",
    "HEAD",
    "MADE",
    "NEXT",
    "STATE",
    "TOO_LARGE",
    "Begin",
    "End",
    "entries_of",
    "entry_of",
]

FORMAT: Final = b"remoteobj record\1"

HEAD, MADE, STATE, CUT, BEGIN, END = range(1, 7)
"""The kinds of entries: who it is, as JSON; how it is made, as pickles; the state of the last
checkpoint; how many requests were cut off; a request; what came of one."""

NEXT, CLOSE = 100, 101
"""Kinds of requests that are no messages: a step of a stream, and that its iterator is closed."""

TOO_LARGE, BEFORE_STATE = 1, 2
"""Flags of a request: its arguments were too large to be kept; it had begun, and was not over, when
the state was kept."""

OUTCOME: Final = 1 << 14
"""Bytes up to which the payload of an answer is kept."""
TOLD: Final = 256
"""Bytes that are kept of a larger one: they tell its type."""

_ENTRY: Final = struct.Struct("<4sBIQ")
_MARK: Final = b"\xabreq"
_TABLE: Final = struct.Struct("<Q")
_TABLES: Final = [struct.Struct(f"<{count + 1}Q").pack for count in range(5)]
_SMALL: Final = 1 << 14
_BEGIN: Final = struct.Struct("<QdBQB")
_END: Final = struct.Struct("<QBQI?")


class Begin(NamedTuple):
    """A request, or a step of a stream, that is about to begin."""

    number: int
    time: float
    kind: int
    """A `Kind` of messages; or `NEXT` or `CLOSE`."""
    stream: int = 0
    """The number of the call whose stream it is about; 0: it is a call of its own."""
    flags: int = 0
    caller: str = ""
    payload: Bytes = b""
    buffers: Sequence[Any] = ()

    def parts(self) -> list[Part]:
        """As it is written."""
        number, when, kind, stream, flags, caller, payload, buffers = self
        head = _BEGIN.pack(number, when, kind, stream, flags)
        return [head, caller.encode(errors="replace"), payload, *buffers]

    @classmethod
    def read(cls, parts: Sequence[Part]) -> Begin:
        """The same again."""
        head, caller, payload, *buffers = parts
        number, when, kind, stream, flags = _BEGIN.unpack(head)
        named = bytes(caller).decode()
        return cls(number, when, kind, stream, flags, named, bytes(payload), buffers)


class End(NamedTuple):
    """What came of a request."""

    number: int
    kind: int
    """The `Kind` of its answer; `NEXT`: it is over, and has none."""
    size: int = 0
    """Of the answer, in bytes."""
    checksum: int = 0
    """Of all of these."""
    whole: bool = True
    """Whether the payload was kept as a whole."""
    payload: Bytes = b""
    """Of an error: what it says, as text."""
    buffers: tuple[int, ...] = ()
    """The sizes of what stays outside of the payload, as large arrays do."""

    @classmethod
    def of(cls, number: int, reply: FrameParts | None) -> End:
        """That of an answer; None: there is none."""
        if reply is None:
            return cls(number, NEXT)
        kind, _, payload, buffers, _, _ = reply
        if kind == Kind.ERROR:
            text = describe(unpack_error(payload))[:OUTCOME]
            return cls(number, kind, payload=text.encode(errors="replace"))
        checksum = zlib.crc32(payload)
        sizes = []
        for one in buffers:
            checksum = zlib.crc32(one, checksum)
            sizes.append(memoryview(one).nbytes)
        whole = len(payload) <= OUTCOME
        size = len(payload) + sum(sizes)
        kept = payload if whole else payload[:TOLD]
        return cls(number, kind, size, checksum, whole, kept, tuple(sizes))

    def parts(self) -> list[Part]:
        """As it is written."""
        buffers = self.buffers
        sizes = struct.pack(f"<{len(buffers)}Q", *buffers) if buffers else b""
        return [_END.pack(*self[:5]), self.payload, sizes]

    @classmethod
    def read(cls, parts: Sequence[Part]) -> End:
        """The same again."""
        head, payload, sizes = parts
        buffers = struct.unpack(f"<{len(sizes) // 8}Q", sizes)
        number, kind, size, checksum, whole = _END.unpack(head)
        return cls(number, kind, size, checksum, whole, bytes(payload), buffers)


def entry_of(kind: int, parts: Sequence[Part]) -> tuple[list[Part], int]:
    """An entry, as pieces that are written one after the other; and its size."""
    if len(parts) < len(_TABLES):  # as nearly all are; by a third of the time
        sizes = list(map(len, parts))
        if (size := sum(sizes)) < _SMALL:
            record = b"".join((_TABLES[len(sizes)](len(sizes), *sizes), *parts))
            head = _ENTRY.pack(_MARK, kind, zlib.crc32(record, kind), len(record))
            return [head + record], len(record) + _ENTRY.size
    pieces, size = record_of(parts)
    checksum = kind
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    return [_ENTRY.pack(_MARK, kind, checksum, size), *pieces], size + _ENTRY.size


def entries_of(data: memoryview) -> Iterator[tuple[int, int, list[Part]]]:
    """The whole entries in some bytes: each with the place of its end, its kind and its parts.

    >>> pieces, size = entry_of(HEAD, [b"a", b"bc"])
    >>> [(end == size, kind, [bytes(one) for one in parts])
    ...  for end, kind, parts in entries_of(memoryview(b"".join(pieces) + b"torn"))]
    [(True, 1, [b'a', b'bc'])]
    """
    place = 0
    while place + _ENTRY.size <= len(data):
        mark, kind, checksum, size = _ENTRY.unpack_from(data, place)
        begin, place = place + _ENTRY.size, place + _ENTRY.size + size
        record = data[begin:place]
        if mark != _MARK or len(record) < size or zlib.crc32(record, kind) != checksum:
            return
        (count,) = _TABLE.unpack_from(record)
        sizes = struct.unpack_from(f"<{count}Q", record, _TABLE.size)
        parts: list[Part] = []
        at = _TABLE.size * (1 + count)
        for one in sizes:
            parts.append(record[at : at + one])
            at += one
        yield place, kind, parts
