"""The contract of a transport, kept by that of the package and by one of the tests' own."""

import contextlib
import os
import pickle
import select
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from remoteobj._protocol.identity import ActorId
from remoteobj._wire import registry
from remoteobj._wire.auth import ANSWER, GREETING, AuthenticationError, Challenge, Key, answer_to
from remoteobj._wire.channel import ChannelClosedError, StreamChannel
from remoteobj._wire.transport import Address, ByteStream, Handshake, Listener, Transport
from tests.internals import connect
from tests.tcp_transport import TCP
from tests.tools import Call

Ends = tuple[ByteStream, ByteStream]
"""The caller's end of a stream, and the listener's."""

# ------------------------------------------------------------------ the contract


@pytest.fixture(params=["unix", "tcp"])
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    yield registry.TRANSPORTS[request.param]
    TCP.remove_all()


@pytest.fixture
def address(transport: Transport) -> Iterator[Address]:
    address = transport.new_address()
    yield address
    transport.remove(address)


@pytest.fixture
def listener(transport: Transport, address: Address) -> Iterator[Listener]:
    with contextlib.closing(transport.listen(address)) as listener:
        yield listener


@pytest.fixture
def ends(transport: Transport, address: Address, listener: Listener) -> Iterator[Ends]:
    calling = Call(transport.connect, address)
    theirs = let_in(listener)
    with contextlib.closing(theirs), contextlib.closing(calling.result()) as ours:
        yield ours, theirs


def wait(end: Any) -> None:
    assert select.select([end], [], [], 10)[0], "nothing happened"


def accept(listener: Listener) -> Handshake:
    wait(listener)
    return listener.accept()


def let_in(listener: Listener) -> ByteStream:
    """The stream of the next caller."""
    handshake = accept(listener)
    while True:
        wait(handshake)
        if (stream := handshake.go_on()) is not None:
            return stream


def receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        assert more, "the listener hung up"
        data += more
    return data


def test_bytes_go_both_ways_in_order_and_then_comes_the_end(ends: Ends) -> None:
    for one, other in (ends, ends[::-1]):
        assert other.read(10) is None
        assert one.write(b"abc") == 3
        assert one.writev([b"de", b"f"]) == 3
        wait(other)
        assert other.read(2) == b"ab"
        place = bytearray(10)
        assert other.read_into(memoryview(place)) == 4
        assert place[:4] == b"cdef"
    ends[0].write(b"last")
    ends[0].end_writing()
    wait(ends[1])
    assert ends[1].read(10) == b"last"
    wait(ends[1])
    assert ends[1].read(10) == b""


def test_nothing_can_be_written_once_the_other_end_is_gone(ends: Ends) -> None:
    assert ends[1].write(b"last") == 4
    ends[1].close()
    wait(ends[0])
    assert ends[0].read(10) == b"last"
    with pytest.raises(OSError, match=r"."):
        ends[0].write(b"too late")
    with pytest.raises(OSError, match=r"."):
        ends[0].writev([b"too", b"late"])


def test_no_write_waits_for_room(ends: Ends) -> None:
    chunk = bytes(1 << 20)
    written = 0
    while (count := ends[0].write(chunk)) is not None:
        written += count
    assert ends[0].writev([chunk, chunk]) is None
    assert not select.select([], [ends[0].writes], [], 0)[1]
    while written:
        wait(ends[1])
        written -= len(ends[1].read(1 << 20) or b"")
    assert select.select([], [ends[0].writes], [], 10)[1]


@pytest.mark.parametrize("which", ["ours", "theirs"])
def test_a_thread_that_waits_at_an_end_learns_that_another_shuts_it_down(
    ends: Ends, which: str
) -> None:
    channel = StreamChannel(ends[0])

    def take_all() -> None:
        with contextlib.suppress(ChannelClosedError):
            while True:
                channel.wait(None)
                channel.take()

    waiting = Call(take_all)
    ends[0 if which == "ours" else 1].shutdown()
    waiting.result()


def test_a_closed_end_has_no_descriptors_and_closes_again(ends: Ends) -> None:
    for _ in range(2):
        ends[0].close()
        assert ends[0].fileno() == ends[0].writes == -1
    with pytest.raises((OSError, ValueError)):
        ends[0].read(1)
    with pytest.raises((OSError, ValueError)):
        ends[0].write(b"x")


def test_a_descriptor_is_sent_where_the_stream_says_so_and_nowhere_else(
    ends: Ends, transport: Transport
) -> None:
    assert ends[0].passes_descriptors == ends[1].passes_descriptors == (transport.name == "unix")
    reading, writing = os.pipe()
    try:
        sent = ends[0].send_fd(7, writing)
        assert sent == ends[0].passes_descriptors
        copy = ends[1].receive_fd(7)
        assert (copy >= 0) == sent
        if sent:
            os.write(copy, b"hello")
            os.close(copy)
            assert os.read(reading, 10) == b"hello"
    finally:
        os.close(reading)
        os.close(writing)


def test_a_forked_child_keeps_no_end_open(ends: Ends, listener: Listener) -> None:
    child = os.fork()
    if not child:
        signal.pause()
    try:
        ends[1].close()
        wait(ends[0])
        assert ends[0].read(1) == b""
        assert listener.fileno() >= 0
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


# ------------------------------------------------------------------ who may connect


def test_a_caller_with_another_key_is_refused(
    transport: Transport, address: Address, listener: Listener
) -> None:
    calling = Call(transport.connect, address._replace(key=Key.new()))
    handshake = accept(listener)
    wait(handshake)
    with pytest.raises(AuthenticationError):
        handshake.go_on()
    handshake.close()
    with pytest.raises(OSError, match=r"."):
        calling.result()


def test_a_listener_with_another_key_is_not_believed(
    transport: Transport, address: Address, listener: Listener
) -> None:
    calling = Call(transport.connect, address)
    wait(listener)
    # What takes the place of the listener knows no key, and so can reply only something else.
    sock = accept_raw(listener)
    sock.sendall(Challenge(Key.new()).greeting)
    receive(sock, ANSWER)
    sock.sendall(bytes(32))
    with pytest.raises(AuthenticationError, match="does not have the key"):
        calling.result()
    sock.close()


def accept_raw(listener: Listener) -> socket.socket:
    with socket.socket(fileno=os.dup(listener.fileno())) as copy:
        sock, _ = copy.accept()
    sock.settimeout(10)
    return sock


def test_a_proof_that_comes_in_pieces_is_waited_for_without_blocking(
    address: Address, listener: Listener
) -> None:
    with connect(address) as sock:
        handshake = accept(listener)
        with pytest.raises(BlockingIOError):
            handshake.go_on()
        answer, expected = answer_to(receive(sock, GREETING), address.key)
        for byte in answer[:-1]:
            sock.sendall(bytes([byte]))
            wait(handshake)
            assert handshake.go_on() is None
        sock.sendall(answer[-1:])
        wait(handshake)
        stream = handshake.go_on()
        assert stream is not None
        assert receive(sock, len(expected)) == expected
        stream.close()


def test_a_caller_that_leaves_in_the_midst_of_its_proof_is_given_up(
    address: Address, listener: Listener
) -> None:
    with connect(address) as sock:
        handshake = accept(listener)
        sock.sendall(b"x")
        wait(handshake)
        assert handshake.go_on() is None
    wait(handshake)
    with pytest.raises((OSError, AuthenticationError)):
        handshake.go_on()
    handshake.close()


# ------------------------------------------------------------------ addresses


def test_nobody_is_found_before_a_listener_is_there_nor_after_it(
    transport: Transport, address: Address
) -> None:
    for _ in range(2):
        with pytest.raises(OSError, match=r"."):
            transport.connect(address)
        transport.listen(address).close()


def test_a_second_listener_is_refused(
    transport: Transport, address: Address, listener: Listener
) -> None:
    with pytest.raises(FileExistsError):
        transport.listen(address)


def test_whoever_waits_learns_that_somebody_listens(transport: Transport, address: Address) -> None:
    event = transport.listen_event(address)
    if event is None:
        assert transport.name == "tcp"
        return
    with contextlib.closing(event), contextlib.closing(transport.listen(address)):
        wait(event)
        event.drain()
        assert not select.select([event], [], [], 0)[0]


def test_what_is_left_of_an_address_is_cleared_away_twice_without_harm(
    transport: Transport, address: Address
) -> None:
    with contextlib.closing(transport.listen(address, fresh=True)):
        for _ in range(2):
            transport.remove(address)


def test_addresses_differ_travel_and_hide_their_key(transport: Transport) -> None:
    one, other = transport.new_address(), transport.new_address()
    assert one.location != other.location
    assert one.key != other.key
    arrived = pickle.loads(pickle.dumps(one))
    assert arrived == one
    assert registry.transport_of(arrived) is transport
    assert transport.name in repr(one)


def test_an_address_of_an_unknown_transport_says_which_there_are() -> None:
    with pytest.raises(ValueError, match=r"no transport 'pigeon': this process has unix"):
        registry.transport_of(Address("pigeon", "loft 3", Key.new()))


def test_identities_differ_though_names_do_not() -> None:
    one, other = ActorId.new("one"), ActorId.new("one")
    assert one != other
    assert pickle.loads(pickle.dumps(one)) == one


def test_a_listener_that_two_threads_close_closes_no_descriptor_of_others(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = transport.new_address()
    listener = transport.listen(address)
    closed: list[int] = []
    close = os.close

    def close_twice(fd: int) -> None:
        """The second one comes while the first is at it."""
        closed.append(fd)
        close(fd)
        if len(closed) == 1:
            listener.close()

    monkeypatch.setattr(os, "close", close_twice)
    listener.close()
    listener.close()
    monkeypatch.undo()
    assert len(closed) == len(set(closed))
    transport.remove(address)
