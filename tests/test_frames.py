"""Frames as bytes: whatever was said comes out again, however the bytes were cut."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from remoteobj._protocol import frames as frames_module
from remoteobj._protocol.frames import (
    HEADER,
    IN_PLACE,
    JOINED,
    LAZY,
    MAX_BUFFERS,
    MAX_METADATA,
    Decoder,
    encode,
    encode_small,
)
from remoteobj._protocol.messages import (
    Frame,
    InterruptOrder,
    Kind,
    MalformedFrameError,
    StopOrder,
    credit_frame,
    read_credit,
)
from tests.reference import plain

CHUNK = 1 << 16


def written(*frames: Frame) -> bytes:
    return b"".join(bytes(part) for frame in frames for part in encode(frame))


def decode(decoder: Decoder, pieces: Iterator[bytes]) -> list[Frame]:
    """Feed as the transport does: into the place of a large body where there is one."""
    frames: list[Frame] = []
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            if not decoder.filling:
                frames += decoder.feed(bytes(rest))
                break
            space = decoder.space()
            count = min(len(space), len(rest))
            space[:count] = rest[:count]
            frames += decoder.filled(count)
            rest = rest[count:]
    return frames


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    position = 0
    for size in itertools.cycle(sizes or [len(data) or 1]):
        if position >= len(data):
            return
        yield data[position : position + size]
        position += size


frames_ = st.builds(
    Frame,
    st.integers(0, 255),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=40),
    st.lists(st.binary(max_size=20), max_size=4),
    st.one_of(st.just(b""), st.binary(max_size=20)),
    st.one_of(st.just(0), st.integers(0, 255)),
)

SMALL = [
    Frame(Kind.CALL, 1, b"abc"),
    Frame(Kind.VALUE, 2, b""),
    Frame(Kind.ITEM, 3, b"p", [b"", b"buffer", b""]),
    Frame(Kind.ITEM, 4, b"", [b""]),
    Frame(Kind.CALL, 5, b"p", (), b"metadata"),
    Frame(Kind.CALL, 6, b"", [b"buffer"], b"metadata", 1),
    Frame(99, 7, b"of a later version", (), b"", 255),
    Frame(Kind.GOODBYE, 2**64 - 1, b"bye"),
]


def test_every_single_cut_of_a_conversation_gives_the_same_frames() -> None:
    data = written(*SMALL)
    expected = [plain(frame) for frame in SMALL]
    for at in range(len(data) + 1):
        got = decode(Decoder(), iter([data[:at], data[at:]]))
        assert [plain(frame) for frame in got] == expected, at


def test_a_conversation_byte_by_byte_gives_the_same_frames() -> None:
    data = written(*SMALL)
    got = decode(Decoder(), cut(data, [1]))
    assert [plain(frame) for frame in got] == [plain(frame) for frame in SMALL]


def test_a_frame_comes_out_with_its_last_byte_and_not_before() -> None:
    for frame in SMALL:
        data = written(frame)
        decoder = Decoder()
        assert decode(decoder, iter([data[:-1]])) == []
        assert [plain(one) for one in decode(decoder, iter([data[-1:]]))] == [plain(frame)]


@given(st.lists(frames_, max_size=6), st.lists(st.integers(1, 70), max_size=6))
@example([], [])
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    frames: list[Frame], sizes: list[int]
) -> None:
    decoder = Decoder()
    got = decode(decoder, cut(written(*frames), sizes))
    assert [plain(frame) for frame in got] == [plain(frame) for frame in frames]
    assert not decoder.filling


@given(st.integers(0, 255), st.integers(0, 2**64 - 1), st.binary(max_size=100))
def test_a_frame_that_is_but_a_small_payload_is_written_as_any_other(
    kind: int, call_id: int, payload: bytes
) -> None:
    frame = Frame(kind, call_id, payload)
    assert [encode_small(kind, call_id, payload)] == encode(frame)
    assert list(map(plain, Decoder().feed(encode_small(kind, call_id, payload)))) == [plain(frame)]


@given(st.lists(frames_, min_size=1, max_size=4), st.data())
def test_fed_and_filled_bytes_may_alternate(frames: list[Frame], data: st.DataObject) -> None:
    """A reader may feed bytes of a large body too: those that came with its head."""
    decoder = Decoder()
    got: list[Frame] = []
    raw = written(*frames)
    while raw:
        size = data.draw(st.integers(1, len(raw)))
        if data.draw(st.booleans()) and decoder.filling:
            space = decoder.space()
            size = min(size, len(space))
            space[:size] = raw[:size]
            got += decoder.filled(size)
        else:
            got += decoder.feed(raw[:size])
        raw = raw[size:]
    assert [plain(frame) for frame in got] == [plain(frame) for frame in frames]


@pytest.mark.parametrize("size", [JOINED, JOINED + 1, IN_PLACE, IN_PLACE + 1, 3 * IN_PLACE])
@pytest.mark.parametrize("piece", [997, 1 << 16, 1 << 20])
def test_payloads_about_the_thresholds_come_out_whole(size: int, piece: int) -> None:
    frames = [
        Frame(Kind.VALUE, 7, bytes(range(256)) * (size // 256) + b"x" * (size % 256)),
        Frame(Kind.CALL, 8, b"next"),
    ]
    got = decode(Decoder(), cut(written(*frames), [piece]))
    assert [plain(frame) for frame in got] == [plain(frame) for frame in frames]


def test_a_large_body_is_received_in_its_place() -> None:
    frame = Frame(Kind.VALUE, 1, b"p" * (IN_PLACE + 1), [b"b" * 10])
    data = written(frame)
    decoder = Decoder()
    head = HEADER.size + 8
    assert decoder.feed(data[:head]) == []
    assert decoder.filling
    space = decoder.space()
    assert len(space) == IN_PLACE + 1
    assert not space.readonly


def test_buffers_come_out_writable_so_that_arrays_are() -> None:
    [frame] = Decoder().feed(written(Frame(Kind.VALUE, 1, b"", [b"abc"])))
    assert not memoryview(frame.buffers[0]).readonly


def test_a_frame_may_have_more_buffers_than_sixteen_bits_count() -> None:
    frame = Frame(Kind.VALUE, 1, b"p", [b"x"] * 65_537)
    assert [plain(one) for one in Decoder().feed(written(frame))] == [plain(frame)]


@pytest.mark.parametrize("piece", [1, 997, 1 << 20])
def test_as_much_metadata_as_a_header_can_announce_comes_out_whole(piece: int) -> None:
    metadata = bytes(range(256)) * 256
    frames = [
        Frame(Kind.CALL, 7, b"small", (), metadata[:MAX_METADATA]),
        Frame(Kind.CALL, 8, bytes(IN_PLACE + 1), [b"buffer"], metadata[:MAX_METADATA]),
        Frame(Kind.CALL, 9, b"next"),
    ]
    got = decode(Decoder(), cut(written(*frames), [piece]))
    assert [plain(frame) for frame in got] == [plain(frame) for frame in frames]


def test_payloads_of_every_bytes_like_type_are_written() -> None:
    for payload in (b"abc", bytearray(b"abc"), memoryview(b"abc")):
        assert written(Frame(Kind.CALL, 1, payload)) == written(Frame(Kind.CALL, 1, b"abc"))


def test_a_frame_of_parts_of_every_size_comes_out_whole_through_its_places() -> None:
    sizes = [0, LAZY, 1, 0, LAZY - 1, 3 * LAZY, 0]
    frame = Frame(Kind.CALL, 1, b"", [bytes([at]) * size for at, size in enumerate(sizes)], b"meta")
    got = decode(Decoder(), cut(written(frame) * 2, [CHUNK]))
    assert [plain(one) for one in got] == [plain(frame)] * 2


# --- what is no frame ----------------------------------------------------------------------


def head(kind: int, count: int, length: int) -> bytes:
    return HEADER.pack(kind, 0, 0, count, 1, length)


KERNEL_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(not KERNEL_SETTING.exists(), reason="this system has no huge pages")
def test_a_big_part_may_have_huge_pages() -> None:
    decoder = Decoder()
    assert decoder.feed(b"".join(encode(Frame(Kind.CALL, 1, b"", [bytes(8 << 20)])))[:-1]) == []
    place = np.frombuffer(decoder.filling, np.uint8).__array_interface__["data"][0]
    begin = end = 0
    flags: list[str] = []
    for line in Path("/proc/self/smaps").read_text(encoding="ascii").splitlines():
        first, *rest = line.split()
        if "-" in first:
            begin, end = (int(one, 16) for one in first.split("-"))
        elif first == "VmFlags:" and begin <= place < end:
            flags = rest
    assert "hg" in flags


def test_a_big_part_comes_whole_where_the_kernel_has_no_huge_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frames_module, "_HUGE_PAGES", -1)
    part = bytes(range(256)) * (LAZY // 128)
    (frame,) = Decoder().feed(b"".join(encode(Frame(Kind.CALL, 1, b"", [part]))))
    assert bytes(frame.buffers[0]) == part


@pytest.mark.parametrize("kind", range(256))
def test_every_kind_is_a_frame_whether_it_is_known_or_not(kind: int) -> None:
    """What is done about one that is not known is for the receiver to say."""
    frame = Frame(kind, 1, b"payload", (), b"", 255)
    assert [plain(one) for one in Decoder().feed(written(frame))] == [plain(frame)]


@pytest.mark.parametrize("length", [1 << 41, 1 << 62, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("count", [0, 2])
def test_a_length_past_the_limit_is_refused_before_memory_is_taken(length: int, count: int) -> None:
    with pytest.raises(MalformedFrameError, match="are more than"):
        Decoder().feed(head(Kind.VALUE, count, length) + bytes(8 * count))


def test_buffers_count_towards_the_limit() -> None:
    decoder = Decoder(limit=100)
    with pytest.raises(MalformedFrameError, match="101 bytes are more than 100"):
        decoder.feed(written(Frame(Kind.VALUE, 1, b"p", [b"x" * 50, b"y" * 50])))


def test_a_frame_of_just_the_limit_is_taken() -> None:
    frame = Frame(Kind.VALUE, 1, b"p" * 50, [b"x" * 50])
    assert [plain(one) for one in Decoder(limit=100).feed(written(frame))] == [plain(frame)]


@pytest.mark.parametrize(
    "text", [b"\xff" * HEADER.size, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"]
)
def test_garbage_and_text_are_refused_by_their_first_bytes(text: bytes) -> None:
    with pytest.raises(MalformedFrameError, match="buffers are too many"):
        Decoder().feed(text[: HEADER.size])


def test_as_many_buffers_as_may_be_are_waited_for() -> None:
    assert Decoder().feed(head(Kind.VALUE, MAX_BUFFERS, 0)) == []
    with pytest.raises(MalformedFrameError, match=f"{MAX_BUFFERS + 1} buffers are too many"):
        Decoder().feed(head(Kind.VALUE, MAX_BUFFERS + 1, 0))


def test_a_frame_for_which_there_is_no_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(size: int) -> bytearray:
        raise MemoryError

    monkeypatch.setattr("remoteobj._protocol.frames._room", no_room)
    with pytest.raises(MalformedFrameError, match=f"no memory for a frame of {IN_PLACE + 1} bytes"):
        Decoder().feed(head(Kind.VALUE, 0, IN_PLACE + 1))


def test_a_bad_head_is_refused_wherever_it_comes() -> None:
    bad = head(Kind.VALUE, 0, 1 << 62)
    for before in ([], SMALL):
        for size in (1, 7, 1000):
            with pytest.raises(MalformedFrameError):
                decode(Decoder(), cut(written(*before) + bad, [size]))


@given(st.binary(max_size=200), st.lists(st.integers(1, 50), max_size=4))
def test_any_bytes_at_all_give_frames_or_are_refused(data: bytes, sizes: list[int]) -> None:
    decoder = Decoder(limit=1000)
    try:
        frames = decode(decoder, cut(data, sizes))
    except MalformedFrameError:
        return
    assert data.startswith(written(*frames))


# --- small messages ------------------------------------------------------------------------


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
def test_credit_comes_out_as_it_was_granted(call_id: int, items: int) -> None:
    frame = credit_frame(call_id, items)
    assert (frame.kind, frame.call_id, read_credit(frame)) == (Kind.CREDIT, call_id, items)


@pytest.mark.parametrize("payload", [b"", b"x", b"12345", bytes(1000)])
def test_what_grants_no_credit_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedFrameError, match=f"{len(payload)} bytes are no credit"):
        read_credit(Frame(Kind.CREDIT, 1, payload))


@pytest.mark.parametrize("payload", [b"", b"x", bytes(2), bytes(4), bytes(1000)])
def test_what_is_no_order_to_stop_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedFrameError, match="no order to stop"):
        StopOrder.read(payload)


@pytest.mark.parametrize("payload", [b"", bytes(7)])
def test_what_is_no_order_to_interrupt_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedFrameError, match="no order to interrupt"):
        InterruptOrder.read(payload)


@pytest.mark.parametrize("fulfil", [True, False])
@pytest.mark.parametrize("after_work", [True, False])
@pytest.mark.parametrize("given_up", [(), (1, 2**63)])
def test_a_stop_order_is_read_as_it_was_given(
    fulfil: bool, after_work: bool, given_up: tuple[int, ...]
) -> None:
    order = StopOrder(fulfil, after_work, not fulfil, given_up)
    [frame] = Decoder().feed(written(order.frame()))
    assert StopOrder.read(frame.payload) == order


def test_the_header_is_of_the_size_that_its_reader_expects() -> None:
    assert len(encode(Frame(Kind.CALL, 1))[0]) == HEADER.size == 24


def test_the_decoder_hands_out_read_only_buffers_if_told_to() -> None:
    data = b"".join(encode(Frame(Kind.VALUE, 1, b"p", [b"buffer"])))
    (got,) = Decoder(writable=False).feed(data)
    assert got.buffers[0].readonly
    (got,) = Decoder().feed(data)
    assert isinstance(got.buffers[0], bytearray)
