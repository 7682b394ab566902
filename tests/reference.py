"""A second decoder of frames, as plain as can be, which says what is right.

It has all bytes at once and no state. The tests and `fuzz/` compare the real one with it.
"""

import struct
from typing import NamedTuple

from remoteobj._protocol.frames import HEADER, IN_PLACE, MAX_BUFFERS, is_shared
from remoteobj._protocol.messages import Frame, Kind

KINDS: list[int] = sorted(value for name, value in vars(Kind).items() if name.isupper())


class Plain(NamedTuple):
    """A frame as what can be compared."""

    kind: int
    flags: int
    call_id: int
    metadata: bytes
    payload: bytes
    buffers: list[bytes]


def plain(frame: Frame) -> Plain:
    return Plain(
        frame.kind,
        frame.flags,
        frame.call_id,
        frame.metadata,
        bytes(frame.payload),
        [bytes(one) for one in frame.buffers],
    )


class Right(NamedTuple):
    """What some bytes mean."""

    frames: list[Plain]
    refused: bool
    used: int
    """The bytes of whole frames."""
    announced: int
    """Bytes of the frame at the end that has not come whole, its header excepted."""


def right(data: bytes, limit: int) -> Right:
    frames: list[Plain] = []
    at = 0
    while True:
        rest = data[at:]
        if len(rest) < HEADER.size:
            return Right(frames, False, at, 0)
        kind, flags, more, count, call_id, length = HEADER.unpack(rest[: HEADER.size])
        body = HEADER.size + 8 * count
        if count and (count > MAX_BUFFERS or body > limit):
            return Right(frames, True, at, 0)
        if len(rest) < body:
            return Right(frames, False, at, 8 * count)
        sizes = [more, length, *struct.unpack(f"<{count}Q", rest[HEADER.size : body])]
        # A small payload alone is never held against the limit: it is in hand.
        held = sum(sizes) > limit and (count > 0 or length > IN_PLACE)
        if held or any(map(is_shared, sizes[2:])):
            return Right(frames, True, at, 0)
        if len(rest) < body + sum(sizes):
            return Right(frames, False, at, sum(sizes))
        parts = []
        for size in sizes:
            parts.append(rest[body : body + size])
            body += size
        frames.append(Plain(kind, flags, call_id, parts[0], parts[1], parts[2:]))
        at += body
