"""A mailbox and a handshake that are given whatever bytes, and descriptors, somebody chose.

The tests and `fuzz/` call the functions `check_...`, of which each takes one input, as bytes, and
raises if anything comes of it that must not; `..._seeds` are inputs from which to go on. Nothing is
unpickled: requests are answered by a stub.
"""

import contextlib
import gc
import logging
import os
import socket
import struct
import tempfile
import time
from collections.abc import Iterator
from typing import Any, Final
from unittest import mock

from remoteobj._actor.client_set import ClientSet
from remoteobj._actor.clients import Client, StreamProducer
from remoteobj._actor.execution import Running
from remoteobj._actor.mailbox import Mailbox
from remoteobj._actor.reentrancy import Reentrancy
from remoteobj._os import io_thread
from remoteobj._os.memfd import anonymous_file
from remoteobj._protocol.chains import BlockedCall, Hop, Link, Probe
from remoteobj._protocol.frames import encode
from remoteobj._protocol.identity import ActorId
from remoteobj._protocol.messages import (
    Flag,
    Frame,
    FrameParts,
    InterruptOrder,
    Kind,
    MalformedFrameError,
    StopOrder,
    credit_frame,
    read_credit,
)
from remoteobj._protocol.requests import Metadata, pack_metadata, read_metadata
from remoteobj._wire import auth, segments, unix
from remoteobj._wire.auth import ANSWER, GREETING, AuthenticationError, Challenge, Key, answer_to
from remoteobj._wire.channel import StreamChannel
from remoteobj._wire.duplex import DuplexStream, duplex_pair
from remoteobj._wire.peers import ends_of
from remoteobj._wire.segments import SegmentRef
from remoteobj._wire.transport import Address
from tests.reference import KINDS

KEY: Final = Key(b"k" * 32)
ME: Final = ActorId("/me", "Me")
PAGE: Final = 1 << 12
MOST: Final = 1 << 15
"""Bytes of one input that are written: what fits into a pipe, since nobody reads meanwhile."""


def pieces(data: bytes) -> Iterator[bytes]:
    """How many pieces, their sizes, and then the bytes that come in them."""
    count = data[0] % 8
    sizes = [1 + size for size in data[1 : 1 + count]]
    rest = data[1 + count :]
    for size in sizes:
        yield rest[:size]
        rest = rest[size:]
    yield rest


def in_pieces(*parts: bytes) -> bytes:
    """An input that `pieces` cuts just so."""
    *first, last = parts
    return bytes([len(first), *(len(one) - 1 for one in first)]) + b"".join(first) + last


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


# ------------------------------------------------------------------ what may be sent along


class Offers:
    """Descriptors of all kinds, which a message of an input may carry."""

    def __init__(self) -> None:
        sealed, unsealed = segments._new_memory(PAGE), anonymous_file("unsealed", sealable=True)
        os.ftruncate(unsealed, PAGE)
        reads, writes = os.pipe()
        directory = os.open(tempfile.gettempdir(), os.O_RDONLY)
        self._files = [sealed, unsealed, reads, writes, directory]
        self.kinds: list[list[int]] = [
            [],
            [reads, writes],
            [sealed],
            [unsealed],
            [writes, reads],
            [reads],
            [directory, writes],
            [reads, writes] * 20,
        ]

    def close(self) -> None:
        for fd in self._files:
            os.close(fd)

    def send(self, sock: socket.socket, message: bytes, kind: int) -> None:
        """Send a message with descriptors of this kind, if anybody is there and has room."""
        with contextlib.suppress(OSError):
            if fds := self.kinds[kind % len(self.kinds)]:
                socket.send_fds(sock, [message or b"\0"], fds)
            elif message:
                sock.send(message)


@contextlib.contextmanager
def nothing_left() -> Iterator[Offers]:
    """Nothing is told of, and no descriptor stays."""
    told: list[Any] = []
    before = open_descriptors()
    with (
        mock.patch.object(
            logging.getLogger("remoteobj"), "error", lambda *what, **_: told.append(what)
        ),
        mock.patch.object(io_thread, "reactor"),  # whose thread would be there afterwards
        contextlib.closing(Offers()) as offers,
    ):
        yield offers
    assert not told, told
    if open_descriptors() != before:
        gc.collect()  # what was thrown away in cycles; it takes as long as all the rest
        assert open_descriptors() == before


# ------------------------------------------------------------------ a mailbox


class StubExecutor:
    """Answers without running anything; a payload that begins with an s gives a stream."""

    current: Running | None = None
    done = 0

    def __init__(self) -> None:
        self.all_running: list[Running] = []

    def run(self, client: Client, request: Frame) -> FrameParts | None:
        kind, call_id, payload, *_ = request
        if kind == Kind.CAST:
            return None
        if bytes(payload[:1]) == b"s":
            client.streams[call_id] = StreamProducer(client, request, iter(range(3)))
            return Frame(Kind.STREAM, call_id)
        return Frame(Kind.VALUE, call_id, b"")

    def begin(self, client: Client, request: Frame) -> object:
        return None

    def step(self, stream: StreamProducer) -> Frame:
        stream.commands.clear()
        for _ in stream._iterator:
            return Frame(Kind.ITEM, stream.call_id)
        return Frame(Kind.END, stream.call_id)

    def end(self, outer: Any) -> None:
        """There are none within others."""

    def close(self, stream: StreamProducer) -> None:
        stream.close()

    def is_running(self, client: Client, call_id: int) -> bool:
        return False

    def give_up(self, client: Client, call_id: int) -> None:
        """Nothing runs."""


@contextlib.contextmanager
def served() -> Iterator[tuple[Mailbox, BlockedCall, DuplexStream, StreamChannel]]:
    """A mailbox, a call on which it may be blocked, and two clients: a bad one and a good one."""
    executor, reentrancy = StubExecutor(), Reentrancy(ME)
    mailbox = Mailbox(ClientSet(lambda client: None), executor, reentrancy)
    lines = duplex_pair(), duplex_pair()
    for _, theirs in lines:
        mailbox.clients.attach(theirs)
    bad, good = lines[0][0], StreamChannel(lines[1][0])
    mailbox.process(0.0)
    try:
        yield mailbox, BlockedCall(7, lambda probe: None), bad, good
    finally:
        bad.close()
        good.close()
        for client in mailbox.clients:
            client.channel.close()
        mailbox.close()


def check_mailbox(data: bytes) -> None:
    """An input is pieces, of which each begins with a byte that says how it is sent.

    Its lowest bit: whether the mailbox is blocked on a call when it takes the piece in. The others:
    0, as bytes of frames; else as a message beside them, with descriptors of that kind.
    """
    if not data:
        return
    with nothing_left() as offers:
        _converse(data, offers)


def _converse(data: bytes, offers: Offers) -> None:
    with served() as (mailbox, call, bad, good):
        for piece in pieces(data[:MOST]):
            if piece:
                _send(bad, piece[0] >> 1, piece[1:], offers)
                _take_in(mailbox, call if piece[0] & 1 else None)
        assert not good.write(encode(Frame(Kind.CALL, 1, b"a good one's")))
        deadline = time.monotonic() + 10
        frames: list[Frame] = []
        while not frames and time.monotonic() < deadline:
            mailbox.process(0.0)
            frames = good.take()
        assert [(one.kind, one.call_id) for one in frames] == [(Kind.VALUE, 1)], frames


def _send(bad: DuplexStream, kind: int, piece: bytes, offers: Offers) -> None:
    if kind:
        offers.send(bad._socket, piece, kind)
        return
    with contextlib.suppress(OSError):
        bad.write(piece)


def _take_in(mailbox: Mailbox, call: BlockedCall | None) -> None:
    if call is None:
        mailbox.process(0.0)
        return
    with mailbox.serving.blocked(call):
        mailbox.take_in(mailbox.clients.read(mailbox.clients.ready()))
        mailbox.run_needed()
        mailbox.pass_probes_on()


def mailbox_seeds() -> Iterator[bytes]:
    """Right conversations."""

    def written(*frames: Frame, table: list[int] | None = None) -> bytes:
        return b"".join(bytes(part) for one in frames for part in encode(one, table))

    chain = pack_metadata(Metadata((Link(ActorId("/a", "A"), 1), Link(ME, 7))))
    probe = Probe((Hop(Link(ME, 7), "here"), Hop(Link(ActorId("/a", "A"), 1), "there"))).pack()
    for kind in (*KINDS, 99):
        for flags in (0, Flag.ANSWER):
            yield in_pieces(b"\0" + written(Frame(kind, 1, b"payload", (), b"", flags)))
    needed = Frame(Kind.CALL, 1, b"x", (), chain)
    yield in_pieces(b"\1" + written(needed, Frame(Kind.CALL, 2, b"y"), Frame(Kind.CLOSE, 2)))
    yield in_pieces(b"\0" + written(needed), b"\1" + written(Frame(Kind.PROBE, 1, probe)))
    yield in_pieces(b"\1" + written(Frame(Kind.CALL, 1, b"x"), Frame(Kind.PROBE, 1, probe)))
    stream = Frame(Kind.CALL, 1, b"stream", (), chain)
    for command in (credit_frame(1, 2), Frame(Kind.SEND, 1, b"s"), Frame(Kind.RAISE, 1, b"r")):
        yield in_pieces(b"\0" + written(stream), b"\0" + written(command))
        yield in_pieces(b"\1" + written(stream), b"\1" + written(command, Frame(Kind.CLOSE, 1)))
    yield in_pieces(b"\0" + written(Frame(Kind.CALL, 1, b"p", [b"", b"buffer"])))
    for kind in (2, 3):  # sealed memory, and memory that is not
        new, again = (SegmentRef(5, PAGE, new).pack() for new in (True, False))
        frames = [written(Frame(Kind.CALL, 1, b"p"), table=[entry]) for entry in (new, again)]
        offer = bytes([kind << 1]) + struct.pack("<Q", 5)
        yield in_pieces(offer, b"\0" + frames[0], b"\0" + frames[1])
        yield in_pieces(offer, b"\0" + frames[0], b"\0" + written(Frame(Kind.FORGET, 5)))
    order = InterruptOrder(b"an error").payload()
    yield in_pieces(b"\0" + written(Frame(Kind.INTERRUPT, 1, order), StopOrder().frame()))


# ------------------------------------------------------------------ what reads one message


def check_parsers(data: bytes) -> None:
    """Every parser gives something, or raises the one error."""
    for parse in (StopOrder.read, InterruptOrder.read, _credit):
        with contextlib.suppress(MalformedFrameError):
            parse(data)
    probe = Probe.unpack(data)
    assert probe is None or Probe.unpack(probe.pack()) == probe
    metadata = read_metadata(data)
    packed = pack_metadata(metadata)
    assert read_metadata(packed) == metadata or len(metadata.chain) > 1  # it may be cut short


def _credit(data: bytes) -> int:
    return read_credit(Frame(Kind.CREDIT, 1, data))


# ------------------------------------------------------------------ a handshake


@contextlib.contextmanager
def no_randomness() -> Iterator[None]:
    """So that an input can hold a right answer."""
    with mock.patch.object(auth, "os", mock.Mock(urandom=bytes)):
        yield


def check_handshake(data: bytes) -> None:
    """The first byte says whose side the input meets; the rest comes in pieces.

    For a listener each piece begins with a byte that says which descriptors it carries.
    """
    if len(data) < 2:
        return
    with no_randomness(), nothing_left() as offers:
        if data[0] % 2:
            _check_caller(data[1:])
        else:
            _check_listener(list(pieces(data[1:MOST])), offers)


def _check_listener(cut: list[bytes], offers: Offers) -> None:
    ours, theirs = socket.socketpair()
    sent = b""
    kinds: list[int] = []
    with contextlib.closing(ours):
        handshake: Any = unix.UnixHandshake(theirs, KEY)
        stream = None
        try:
            for piece in cut:
                if piece and stream is None:
                    # An empty message would carry nothing, and a byte stands in for it.
                    sent, kinds = sent + (piece[1:] or b"\0"), [*kinds, piece[0] % 8]
                    offers.send(ours, piece[1:] or b"\0", piece[0])
                    stream = _go_on(handshake)
        except (OSError, AuthenticationError):
            handshake.close()
            return
        (stream or handshake).close()
        right, _ = answer_to(Challenge(KEY).greeting, KEY)
        let_in = sent[:ANSWER] == right and not any(kinds[:-1]) and kinds[-1] in (0, 1)
        assert (stream is not None) == let_in, (sent, kinds)


def _go_on(handshake: Any) -> DuplexStream | None:
    """All that can be done with what has come."""
    while True:
        try:
            if (stream := handshake.go_on()) is not None:
                return stream  # type: ignore[no-any-return]
        except BlockingIOError:
            return None


def _check_caller(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    with contextlib.closing(ours), mock.patch.object(unix, "dial", return_value=theirs):
        ours.send(data[:MOST] or b"\0")
        ours.shutdown(socket.SHUT_WR)
        challenge = Challenge(KEY)
        answer, _ = answer_to(challenge.greeting, KEY, ends_of(theirs))
        right = challenge.greeting + challenge.check(answer)
        try:
            stream = unix.UnixTransport().connect(Address("unix", "/nowhere", KEY))
        except (OSError, AuthenticationError):
            assert data[: len(right)] != right
            return
        stream.close()
        assert data[: len(right)] == right


def handshake_seeds() -> Iterator[bytes]:
    """Right ones, and what is nearly so."""
    with no_randomness():
        challenge = Challenge(KEY)
        answer, proof = answer_to(challenge.greeting, KEY)
    assert (len(challenge.greeting), len(answer)) == (GREETING, ANSWER)
    for kind in range(8):
        yield b"\0" + in_pieces(bytes([kind]) + answer)
        yield b"\0" + in_pieces(b"\0" + answer[:10], bytes([kind]) + answer[10:])
        yield b"\0" + in_pieces(bytes([kind]) + answer[:10], b"\1" + answer[10:])
    yield b"\0" + in_pieces(b"\1" + answer + b"the first frame")
    yield b"\1" + challenge.greeting + proof
    yield b"\1" + challenge.greeting + proof + b"the first frame"
    yield b"\1" + challenge.greeting + bytes(32)
    yield b"\1" + challenge.greeting[:20]


def parser_seeds() -> Iterator[bytes]:
    yield bytes(credit_frame(1, 7).payload)
    yield bytes(StopOrder().frame().payload)
    yield InterruptOrder(b"an error", 3).payload()
    link = Link(ActorId("/a", 'A"'), 1)
    yield pack_metadata(Metadata((link, link)))
    yield Probe((Hop(link, "here\n"), Hop(link, "there"))).pack()
