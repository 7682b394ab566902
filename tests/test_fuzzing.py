"""Hostile bytes: whatever comes, the decoder gives right frames or refuses, and takes no memory."""

import contextlib
import random
import resource
import select
import struct
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from remoteobj import remote
from tests import hostile
from tests.internals import (
    ANSWER,
    GREETING,
    HEADER,
    IN_PLACE,
    LAZY,
    MAX_BUFFERS,
    MAX_FRAME,
    Address,
    Decoder,
    Frame,
    Key,
    Kind,
    MalformedFrameError,
    Stranger,
    address_of,
    answer_to,
    connect_with_key,
    socket_of,
)
from tests.reference import KINDS, Plain, plain, right
from tests.strangers import connected, header, is_closed, marked_call, receive
from tests.test_frames import cut, decode, frames_, written

LIMIT = 4096
"""Bytes in a frame, for these decoders: a body within it may be announced and never come."""
CONSTANT = 16_384
"""Bytes that a decoder may take whatever comes: frames of a few bytes, an exception, a slack."""
FACTOR = 24
"""Bytes taken for each that came: an empty buffer is 8 bytes in a frame, and an object here."""


class Outcome(NamedTuple):
    frames: list[Plain]
    refused: bool
    peak: int


def outcome(pieces: Iterator[bytes], limit: int = LIMIT) -> Outcome:
    """What a decoder gives for the pieces; any other exception than its own goes on."""
    frames: list[Plain] = []
    refused = False
    tracemalloc.start()  # and not once for all: it slows down the making of examples threefold
    try:
        decoder = Decoder(limit=limit)
        for piece in pieces:
            frames += map(plain, decode(decoder, iter([piece])))
    except MalformedFrameError:
        refused = True
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return Outcome(frames, refused, peak)


def check(data: bytes, sizes: list[int], limit: int = LIMIT) -> Outcome:
    expected = right(data, limit)
    pieces = list(cut(data, sizes))
    got = outcome(iter(pieces), limit)
    assert got.refused == expected.refused
    if got.refused:
        # Those before the bad one in the same piece are lost with the connection.
        assert got.frames == expected.frames[: len(got.frames)]
    else:
        assert got.frames == expected.frames
    assert got.peak <= CONSTANT + FACTOR * len(data) + expected.announced
    return got


# ------------------------------------------------------------------ bytes


def examples(count: int) -> Callable[[Any], Any]:
    """So many, the same each time; `make fuzz` searches on, led by what it has not yet reached."""
    return settings(max_examples=count)


# Wide in what decides, and small elsewhere, so that most of it gets past the first byte.
lengths_ = st.one_of(
    st.integers(0, 40),
    st.sampled_from([IN_PLACE, IN_PLACE + 1, LIMIT, LIMIT + 1, 2**32, MAX_FRAME + 1, 2**63]),
    st.integers(0, 2**64 - 1),
)
counts_ = st.one_of(st.just(0), st.integers(0, 4), st.integers(0, 2**32 - 1))
headers_ = st.builds(
    lambda table, *fields: header(*fields) + table,
    st.lists(lengths_, max_size=4).map(lambda sizes: struct.pack(f"<{len(sizes)}Q", *sizes)),
    st.one_of(st.sampled_from(KINDS), st.integers(0, 255)),
    counts_,
    st.integers(0, 2**64 - 1),
    lengths_,
    st.integers(0, 255),
    st.one_of(st.just(0), st.integers(0, 40), st.integers(0, 2**16 - 1)),
)
hostile_ = st.lists(
    st.one_of(headers_, st.binary(max_size=60), frames_.map(lambda frame: written(frame))),
    max_size=5,
).map(b"".join)
sizes_ = st.lists(st.integers(1, 70), max_size=4)


@given(st.binary(max_size=300), sizes_)
@examples(600)
def test_arbitrary_bytes_in_arbitrary_cuts(data: bytes, sizes: list[int]) -> None:
    check(data, sizes)


@given(hostile_, sizes_)
@examples(600)
@example(header(Kind.CALL, 2, 1, 0) + struct.pack("<2Q", 2**63 - 1, 2**63 - 1), [])
@example(header(Kind.CALL, 1, 1, 0) + struct.pack("<Q", 2**63), [])
@example(header(Kind.CALL, 2**32 - 1, 1, 0), [])
@example(header(Kind.CALL, 0, 1, 0, metadata=2**16 - 1), [])
def test_frames_headers_and_garbage_mixed(data: bytes, sizes: list[int]) -> None:
    check(data, sizes)


@given(st.lists(frames_, min_size=1, max_size=3), sizes_, st.data())
@examples(400)
def test_flipped_bits(frames: list[Frame], sizes: list[int], data: st.DataObject) -> None:
    raw = bytearray(written(*frames))
    for at in data.draw(st.lists(st.integers(0, 8 * len(raw) - 1), min_size=1, max_size=3)):
        raw[at // 8] ^= 1 << at % 8
    check(bytes(raw), sizes)


@given(st.lists(frames_, min_size=1, max_size=2), sizes_)
@examples(100)
def test_every_truncation_gives_the_whole_frames_before_it_and_nothing_else(
    frames: list[Frame], sizes: list[int]
) -> None:
    raw = written(*frames)
    ends = [len(written(*frames[:count])) for count in range(len(frames) + 1)]
    for end in range(len(raw)):
        got = outcome(cut(raw[:end], sizes))
        whole = len([one for one in ends[1:] if one <= end])
        assert not got.refused
        assert got.frames == [plain(frame) for frame in frames[:whole]], end


@pytest.mark.parametrize(
    "frame",
    [
        Frame(Kind.VALUE, 9, b"p" * 3, [b"", b"b" * 5]),
        Frame(Kind.CALL, 9, b"p" * 3, (), b"metadata", 1),
        Frame(1, 2),
    ],
)
def test_every_single_flipped_bit(frame: Frame) -> None:
    raw = written(frame)
    for at in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[at // 8] ^= 1 << at % 8
        check(bytes(flipped) + raw, [7])
        check(bytes(flipped), [len(raw)])


@given(st.integers(0, 3), st.lists(lengths_, min_size=4, max_size=4), st.sampled_from(KINDS))
@examples(400)
def test_a_length_bomb_takes_no_memory(count: int, sizes: list[int], kind: int) -> None:
    """The limit is the real one; only lengths past it come in, so nothing may be taken."""
    data = header(kind, count, 1, sizes[0]) + struct.pack(f"<{count}Q", *sizes[1 : count + 1])
    announced = sum(size for size in sizes[1 : count + 1] if size < 2**63) + sizes[0]
    if announced <= MAX_FRAME:
        return  # it is no bomb: a frame of that size is allowed
    got = outcome(iter([data]), MAX_FRAME)
    assert got.refused
    assert got.peak < CONSTANT


def test_a_table_that_never_comes_takes_no_memory() -> None:
    """A header may announce 128 MiB of lengths. They are kept as they come, not before."""
    raw = header(Kind.CALL, MAX_BUFFERS, 1, 0)
    got = outcome(iter([raw, bytes(1000), bytes(1000)]), MAX_FRAME)
    assert (got.frames, got.refused) == ([], False)
    assert got.peak < CONSTANT


@pytest.mark.parametrize("size", [1, 1000, LAZY - 1, LAZY, MAX_FRAME // 2000 - 1])
def test_of_many_announced_parts_only_the_next_one_takes_memory(size: int) -> None:
    """A header of 16 KB announces two thousand parts, of which none comes."""
    raw = header(Kind.CALL, 2000, 1, 0) + struct.pack("<2000Q", *[size] * 2000)
    before = resident()
    got = outcome(iter([raw]), MAX_FRAME)
    assert (got.frames, got.refused) == ([], False)
    assert got.peak < LAZY + 10 * len(raw)
    assert resident() - before < 20_000


def resident() -> int:
    """Kilobytes that this process ever had at once; what a map takes is in no trace."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_what_memory_is_taken_for_an_announced_body_is_its_size() -> None:
    raw = header(Kind.CALL, 0, 1, 1_000_000)
    got = outcome(iter([raw]), 1_000_000)
    assert 1_000_000 <= got.peak < 1_000_000 + CONSTANT


# ------------------------------------------------------------------ conversations


CHECKS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "mailbox": (hostile.check_mailbox, list(hostile.mailbox_seeds())),
    "handshake": (hostile.check_handshake, list(hostile.handshake_seeds())),
    "parsers": (hostile.check_parsers, list(hostile.parser_seeds())),
}
each_check = pytest.mark.parametrize("name", CHECKS)


@each_check
def test_right_conversations_and_those_that_are_nearly_so_end_well(name: str) -> None:
    check, seeds = CHECKS[name]
    for seed in seeds:
        check(seed)


@each_check
@given(st.data())
@examples(150)
def test_whatever_is_done_to_a_conversation_it_ends_nothing_else(
    name: str, data: st.DataObject
) -> None:
    """For the others; and nothing is left of it, nor told of, but to who has it."""
    check, seeds = CHECKS[name]
    raw = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(raw)))
        end = data.draw(st.integers(at, min(len(raw), at + 8)))
        raw[at:end] = data.draw(st.one_of(st.binary(max_size=8), st.just(bytes(raw[at:end]) * 2)))
    check(bytes(raw))


@each_check
@given(st.binary(max_size=200))
@examples(80)
def test_whatever_is_said_ends_nothing_else(name: str, data: bytes) -> None:
    CHECKS[name][0](data)


# ------------------------------------------------------------------ a live socket


@remote
class Guarded:
    """Knows what was unpickled in its process."""

    def __init__(self) -> None:
        self.found: list[str] = []

        def note(event: str, args: tuple[Any, ...]) -> None:
            if event == "pickle.find_class":
                self.found.append(f"{args[0]}.{args[1]}")

        sys.addaudithook(note)  # for good, but this process is this actor's alone

    def ping(self, number: int) -> int:
        return number


def random_bytes(address: Address, call: bytes, rng: random.Random) -> None:
    with connected(address) as sock:
        sock.sendall(rng.randbytes(ANSWER) + call)
        assert is_closed(sock)


def wrong_key(address: Address, call: bytes, rng: random.Random) -> None:
    with connected(address) as sock:
        answer, _ = answer_to(receive(sock, GREETING), Key(rng.randbytes(32)))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(answer + call)
        assert is_closed(sock)


def no_answer(address: Address, call: bytes, rng: random.Random) -> None:
    with connected(address) as sock:
        sock.sendall(call * 3)
        assert is_closed(sock)


def garbage_after_the_handshake(address: Address, call: bytes, rng: random.Random) -> None:
    for _ in range(20):
        with contextlib.closing(connect_with_key(address)) as line:
            with contextlib.suppress(OSError):
                line.write(b"\xff" + rng.randbytes(rng.randrange(HEADER.size, 500)))
            assert is_closed(socket_of(line))


def silent(address: Address, _: bytes, rng: random.Random) -> None:
    with connected(address) as sock:
        assert len(receive(sock, GREETING)) == GREETING
        # As long as the others take, and the actor's own deadline for it does not end it.
        with contextlib.suppress(TimeoutError):
            sock.settimeout(0.5 + rng.random())
            assert sock.recv(1) == b""


HOSTILE = [random_bytes, wrong_key, no_answer, silent, garbage_after_the_handshake]


def test_ten_hostile_clients_at_once_hinder_no_good_one_and_have_nothing_unpickled(
    tmp_path: Any,
) -> None:
    call = marked_call(tmp_path / "unpickled")
    with Guarded.options(start_method="fork").spawn() as guarded:
        address = address_of(guarded)
        failures: list[BaseException] = []
        begin = threading.Barrier(len(HOSTILE) * 2 + 1)

        def attack(how: Callable[..., None], seed: int) -> None:
            try:
                begin.wait(10)
                how(address, call, random.Random(seed))
            except BaseException as exc:
                failures.append(exc)

        threads = [
            threading.Thread(target=attack, args=(how, seed), name=f"hostile-{seed}")
            for seed, how in enumerate(HOSTILE * 2)
        ]
        for thread in threads:
            thread.start()
        begin.wait(10)
        served, slowest = 0, 0.0
        while any(thread.is_alive() for thread in threads):
            began = time.monotonic()
            newcomer = Stranger(address)  # to come in is what they hinder, if anything
            assert newcomer.call("ping", served) == served
            newcomer.close()
            assert guarded.ping(served) == served
            slowest = max(slowest, time.monotonic() - began)
            served += 1
        for thread in threads:
            thread.join()
        assert failures == []
        assert served > 20
        assert slowest < 2.0
        assert [name for name in guarded.found.get_() if "mkdir" in name] == []
        assert not (tmp_path / "unpickled").exists()
        # And it would have been seen: the same call of one who has the key is unpickled.
        with contextlib.closing(connect_with_key(address)) as line:
            line.write(call)
            assert select.select([line], [], [], 10)[0]  # the reply, whatever it is
        assert [name for name in guarded.found.get_() if "mkdir" in name] != []
        assert (tmp_path / "unpickled").exists()
