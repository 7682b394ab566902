"""A second decoder of frames, as plain as can be, which says what is right.

It has all bytes at once and no state. The tests and `fuzz/` compare the real one with it.
"""

import struct
from typing import NamedTuple

from remoteobj._protocol.frames import HEADER, IN_PLACE, is_shared
from remoteobj._protocol.messages import Frame, Kind

KINDS = sorted(map(int, Kind))

Plain = tuple[int, int, bytes, list[bytes]]


def plain(frame: Frame) -> Plain:
    """A frame as what can be compared."""
    return frame.kind, frame.call_id, bytes(frame.payload), [bytes(one) for one in frame.buffers]


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
        kind, count, call_id, length = HEADER.unpack(rest[: HEADER.size])
        body = HEADER.size + 8 * count
        if kind not in KINDS or (count and body > limit):
            return Right(frames, True, at, 0)
        if len(rest) < body:
            return Right(frames, False, at, 8 * count)
        sizes = [length, *struct.unpack(f"<{count}Q", rest[HEADER.size : body])]
        # A small payload alone is never held against the limit: it is in hand.
        held = sum(sizes) > limit and (count > 0 or length > IN_PLACE)
        if held or any(map(is_shared, sizes[1:])):
            return Right(frames, True, at, 0)
        if len(rest) < body + sum(sizes):
            return Right(frames, False, at, sum(sizes))
        parts = []
        for size in sizes:
            parts.append(rest[body : body + size])
            body += size
        frames.append((kind, call_id, parts[0], parts[1:]))
        at += body
