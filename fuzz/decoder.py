"""Coverage-guided fuzzing of the frame decoder: `make fuzz`, or `FUZZ=600 make fuzz`.

An input is the number of pieces, their sizes, and then the bytes that come in them.
"""

from collections.abc import Iterator

import atheris  # pyright: ignore[reportMissingImports, reportMissingModuleSource]

with atheris.instrument_imports(  # pyright: ignore[reportAttributeAccessIssue]
    include=["remoteobj._protocol.frames", "remoteobj._wire.segments"]
):
    from remoteobj._protocol.frames import Decoder, encode
from fuzz.runner import run
from remoteobj._protocol.messages import Frame, Kind, MalformedFrameError
from tests.hostile import pieces
from tests.reference import KINDS, Plain, plain, right

LIMIT = 1 << 17
"""Above what is received into a buffer of its own, and nothing to fear for the machine's memory."""


def decoded(stream: Iterator[bytes]) -> tuple[list[Plain], bool]:
    """The frames, and whether the rest was refused. Every other exception is a finding."""
    decoder = Decoder(limit=LIMIT)
    frames: list[Plain] = []
    try:
        for piece in stream:
            rest = memoryview(piece)
            while rest and decoder.filling:  # as the transport does: straight into its place
                space = decoder.space()
                count = min(len(space), len(rest))
                space[:count] = rest[:count]
                frames += map(plain, decoder.filled(count))
                rest = rest[count:]
            if rest:
                frames += map(plain, decoder.feed(bytes(rest)))
    except MalformedFrameError:
        return frames, True
    return frames, False


def check(data: bytes) -> None:
    if not data:
        return
    cut = list(pieces(data))
    frames, refused = decoded(iter(cut))
    expected = right(b"".join(cut), LIMIT)
    assert refused == expected.refused, (refused, expected)
    # Those before a bad frame, in the same piece, are lost with the connection.
    known = expected.frames[: len(frames)] if refused else expected.frames
    assert frames == known, (frames, expected)


def seeds() -> Iterator[bytes]:
    """Right frames of all shapes, from which to go on."""
    for cuts in (b"\0", b"\3\0\7\30"):
        for kind in (*KINDS, 99):
            yield cuts + b"".join(map(bytes, encode(Frame(kind, 1, b"payload"))))
        yield cuts + b"".join(map(bytes, encode(Frame(Kind.ITEM, 2, b"p", [b"", b"buffer"]))))
        yield cuts + b"".join(map(bytes, encode(Frame(Kind.CALL, 4, b"p", (), b"metadata", 255))))
        yield cuts + b"".join(map(bytes, encode(Frame(Kind.VALUE, 3, bytes(70_000)))))


if __name__ == "__main__":
    run("decoder", check, seeds(), 80_000)
