"""A record: a row of bytes-like parts, as one piece of a file that is read back as the parts.

::

    record = number of parts, the size of each | part | part | ...
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence
from typing import Final, TypeAlias

__all__ = ["Part", "TornRecordError", "read_record", "record_of", "write_at"]

Part: TypeAlias = "bytes | bytearray | memoryview"
"""Each item of it is one byte."""

_COUNT: Final = struct.Struct("<Q")
_JOIN_BELOW: Final = 1 << 16
"""Bytes up to which one write of all is cheaper than to spare the copy."""


class TornRecordError(Exception):
    """There is no whole record."""


def record_of(parts: Sequence[Part]) -> tuple[list[Part], int]:
    """The record of these parts, as pieces that are written one after the other; and its size.

    >>> record_of([b"ab", b""])[1]
    26
    """
    sizes = list(map(len, parts))
    table = struct.pack(f"<{len(sizes) + 1}Q", len(sizes), *sizes)
    size = len(table) + sum(sizes)
    pieces: list[Part] = [table, *parts]
    return ([b"".join(pieces)] if size < _JOIN_BELOW else pieces), size


def read_record(fd: int, offset: int, size: int) -> list[bytearray]:
    """The parts of the record of this size at this place. Each is writable memory of its own.

    Raises:
        TornRecordError: there is none.
    """
    end = offset + size
    head = _read_at(fd, offset, min(_COUNT.size, size))
    if len(head) < _COUNT.size:
        raise TornRecordError
    (count,) = _COUNT.unpack(head)
    begin = offset + _COUNT.size * (1 + count)
    if begin > end:
        raise TornRecordError
    table = _read_at(fd, offset + _COUNT.size, begin - offset - _COUNT.size)
    sizes = struct.unpack(f"<{count}Q", table)
    if begin + sum(sizes) != end:
        raise TornRecordError
    parts = []
    for one in sizes:
        parts.append(_read_at(fd, begin, one))
        begin += one
    return parts


def write_at(fd: int, pieces: Sequence[Part], offset: int) -> None:
    """Write all of the pieces, one after the other, from a place on.

    Raises:
        OSError: there is no room for them; some may be written.
    """
    for piece in pieces:
        written = os.pwrite(fd, piece, offset)
        if written != len(piece):  # a system call takes no more than 2 GiB; or there was no room
            rest = memoryview(piece).cast("B")
            while written < len(rest):
                more = os.pwrite(fd, rest[written:], offset + written)
                if not more:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                written += more
        offset += written


def _read_at(fd: int, offset: int, size: int) -> bytearray:
    data = bytearray(size)
    with memoryview(data) as room, open(fd, "rb", buffering=0, closefd=False) as file:
        file.seek(offset)
        read = 0
        while read < size:
            more = file.readinto(room[read:])
            if not more:
                raise TornRecordError
            read += more
    return data
