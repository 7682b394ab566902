"""A connection alone, with the test at its other end: what crosses, and the last word."""

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from remoteobj import ActorDiedError, RemoteObjError
from remoteobj._caller.background_io import BackgroundIO
from remoteobj._caller.connection import Connection
from remoteobj._protocol.calls import PendingCall
from remoteobj._wire.channel import ChannelClosedError, StreamChannel
from remoteobj._wire.duplex import DuplexStream, duplex_pair
from tests.internals import Decoder, Flag, Frame, Kind, encode
from tests.tools import Call, until

Ends = tuple[DuplexStream, DuplexStream]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = duplex_pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def frame(call_id: int, size: int = 3) -> bytes:
    return answer(call_id, bytes(size))


def answer(call_id: int, payload: bytes) -> bytes:
    return b"".join(encode(Frame(Kind.VALUE, call_id, payload)))


@pytest.mark.parametrize("size", [3, 200_000])
def test_a_reply_between_the_last_look_and_the_death_is_taken(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    ours, theirs = ends
    channel: Any = StreamChannel(ours)
    original = channel._ended

    def dies() -> bool:
        """Between the look that found nothing and the one for its end."""
        monkeypatch.setattr(channel, "_ended", original)
        theirs.write(frame(5, size)[:60_000])
        theirs.shutdown()
        return bool(original())

    monkeypatch.setattr(channel, "_ended", dies)
    found = channel.take()
    if size == 3:
        assert [one.call_id for one in found] == [5]
    else:
        assert found == []  # half of it is no reply
    with pytest.raises(ChannelClosedError):
        channel.take()
    channel.close()


def test_a_look_before_any_wait_gives_what_is_there_and_leaves_the_end_to_the_next_one(
    ends: Ends,
) -> None:
    ours, theirs = ends
    reading, writing = os.pipe()
    os.close(writing)  # so that it says that the process has ended
    channel = StreamChannel(ours, reading)
    assert channel.take(waited=False) == []
    theirs.write(frame(5))
    assert [one.call_id for one in channel.take(waited=False)] == [5]
    theirs.write(frame(6, 200_000)[:60_000])
    assert channel.take(waited=False) == channel.take(waited=False) == []
    with pytest.raises(ChannelClosedError):
        channel.take()
    channel.close()
    os.close(reading)


def test_a_late_reply_that_comes_alone_answers_no_later_call(ends: Ends) -> None:
    ours, theirs = ends
    connection = Connection(StreamChannel(ours), lambda _: TimeoutError(), lambda _: TimeoutError)
    late = connection.call(b"first", ())
    assert not connection.wait(late, time.monotonic())
    connection.abandon(late)
    call = Call(connection.call_fast, b"second")
    decoder, asked = Decoder(), [Frame(Kind.CLOSE, 0)]
    while asked[-1].payload != b"second":
        asked += decoder.feed(theirs.read(4096) or b"")
    theirs.write(answer(late.call_id, b"late"))
    until(lambda: not select.select([ours], [], [], 0)[0])  # it has been read, alone
    theirs.write(answer(asked[-1].call_id, b"right"))
    got: Any = call.result()
    if isinstance(got, PendingCall):
        assert connection.wait(got, time.monotonic() + 10)
        got = got.first
    assert got.payload == b"right"
    connection.close()


def test_a_thread_that_waits_is_woken_when_another_one_closes(ends: Ends) -> None:
    channel = StreamChannel(ends[0])
    about_to, ended = threading.Event(), threading.Event()

    def wait() -> None:
        with contextlib.suppress(ChannelClosedError):
            while True:
                about_to.set()
                channel.wait(None)
                channel.take()
        ended.set()

    waiting = threading.Thread(target=wait, name="test-waits")
    waiting.start()
    assert about_to.wait(10)
    channel.close()
    assert ended.wait(10)
    waiting.join()


def test_a_big_reply_is_taken_in_while_a_big_call_is_sent(ends: Ends) -> None:
    """Both write more than the line holds; the other end reads only once it has written all."""
    ours, theirs = ends
    lost: Callable[[bool], BaseException] = lambda maybe: ActorDiedError()  # noqa: E731
    connection = Connection(StreamChannel(ours), lost, lambda payload: lost)
    first = connection.call(b"?", ())
    other = StreamChannel(theirs)
    taken: list[Frame] = []

    def answer() -> None:
        left = other.write([frame(first.call_id, 2_000_000)])
        while left:
            other.wait_to_write(or_read=False)
            left = other.write(left)
        while len(taken) < 2:
            other.wait(None)
            taken.extend(other.take())

    answering = threading.Thread(target=answer, name="test-answers")
    answering.start()
    second = connection.call(bytes(2_000_000), ())
    answering.join(20)
    assert connection.wait(first, time.monotonic() + 10)
    assert first.first is not None
    assert len(first.first.payload) == 2_000_000
    assert [one.call_id for one in taken] == [first.call_id, second.call_id]
    connection.close()
    other.close()


def test_what_another_thread_posts_while_a_lone_call_is_written_is_sent_after_it(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The post finds the writing taken, and leaves its frame to the one who writes."""
    ours, theirs = ends
    lost: Callable[[bool], BaseException] = lambda maybe: ActorDiedError()  # noqa: E731
    connection: Any = Connection(StreamChannel(ours), lost, lambda payload: lost)
    writer = connection._writer
    original = writer.write_some

    def write(*args: Any) -> None:
        original(*args)
        monkeypatch.setattr(writer, "write_some", original)
        posting = threading.Thread(
            target=connection.post, args=(Frame(Kind.CLOSE, 99),), name="test-posts"
        )
        posting.start()
        posting.join()

    monkeypatch.setattr(writer, "write_some", write)
    asking = threading.Thread(target=connection.call_fast, args=(b"?",), name="test-asks")
    asking.start()
    other = StreamChannel(theirs)
    taken: list[Frame] = []
    while len(taken) < 2:
        assert other.wait(time.monotonic() + 10), "the frame was left behind"
        taken += other.take()
    assert [one.kind for one in taken] == [Kind.CALL, Kind.CLOSE]
    assert not other.write([frame(taken[0].call_id)])
    asking.join()
    connection.close()
    other.close()


@pytest.mark.parametrize("kind", [8, 19, 29, 99, 255])
@pytest.mark.parametrize("flags", [0, Flag.ANSWER, 254])
@pytest.mark.parametrize("way", ["alone", "with a ticket"])
def test_a_kind_that_a_caller_does_not_know_ends_neither_its_call_nor_the_connection(
    ends: Ends, kind: int, flags: int, way: str
) -> None:
    ours, theirs = ends
    connection = Connection(StreamChannel(ours), lambda _: TimeoutError(), lambda _: TimeoutError)

    def make_call() -> Any:
        pending = connection.call_fast(b"call") if way == "alone" else connection.call(b"call", ())
        if not isinstance(pending, PendingCall):
            return pending
        assert connection.wait(pending, time.monotonic() + 10)
        return pending.first

    call = Call(make_call)
    decoder = Decoder()
    [asked] = read_frames(theirs, decoder, 1)
    write(theirs, Frame(kind, asked.call_id, b"of a later version", (), b"metadata", flags))
    until(lambda: not select.select([ours], [], [], 0)[0])  # it has been read, alone
    write(theirs, Frame(Kind.VALUE, asked.call_id, b"right"))
    assert call.result().payload == b"right"
    if flags & Flag.ANSWER:
        [refused] = read_frames(theirs, decoder, 1)
        assert (refused.kind, refused.call_id) == (Kind.REFUSED, asked.call_id)
        assert bytes(refused.payload) == f"this caller knows no message of kind {kind}".encode()
    assert connection.closed_because is None
    connection.close()


@pytest.mark.parametrize("hung_up", [False, True])
def test_a_frame_that_can_not_be_read_ends_the_connection_with_the_reason(
    ends: Ends, hung_up: bool
) -> None:
    """The other end did not die: it may be called again, by another connection."""
    ours, theirs = ends
    connection = Connection(StreamChannel(ours), lambda _: TimeoutError(), lambda _: TimeoutError)
    calls = [connection.call(b"call", ()) for _ in range(2)]
    if hung_up:
        write(theirs, Frame(Kind.HANGUP, 0, b"no memory"))
    else:
        theirs.write(b"\xff" * 64)
    why = "no memory" if hung_up else f"{2**32 - 1} buffers are too many"
    for call, whether in zip(calls, ("may have been", "was not"), strict=True):
        assert connection.wait(call, time.monotonic() + 10)
        assert call.failure is not None
        error = call.failure()
        assert type(error) is RemoteObjError
        assert str(error) == f"the connection ended: {why}; this call {whether} executed"
    assert connection.actor_lives_on
    connection.close()


def write(line: DuplexStream, frame: Frame) -> None:
    line.write(b"".join(map(bytes, encode(frame))))


def read_frames(line: DuplexStream, decoder: Decoder, count: int) -> list[Frame]:
    """The next frames that come."""
    frames: list[Frame] = []
    while len(frames) < count:
        assert select.select([line], [], [], 10)[0], "nothing came"
        frames += decoder.feed(line.read(4096) or b"")
    return frames


@pytest.mark.parametrize("send", ["call_async", "call_nowait"])
def test_a_call_that_ctrl_c_comes_upon_once_it_is_sent_is_given_up(
    ends: Ends, send: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _ = ends
    connection = Connection(StreamChannel(ours), lambda _: TimeoutError(), lambda _: TimeoutError)

    def press(self: object, call: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(BackgroundIO, "call_begun", press)
    told = {"on_ready": print} if send == "call_async" else {"then": print}
    with pytest.raises(KeyboardInterrupt):
        getattr(connection, send)(b"payload", (), **told)
    assert len(connection.given_up()) == 1
    connection.close()
