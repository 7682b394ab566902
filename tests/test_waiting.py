"""How the ends of a line wait for each other: polling, sleeping, and the last word of the dead."""

import asyncio
import contextlib
import os
import select
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remoteobj import Proxy, current, remote, util
from remoteobj._caller.connection import Connection
from remoteobj._os import poller
from remoteobj._os.poller import MAX_CREDIT, RETRY_EVERY, SpinPoller
from remoteobj._pickling import out_of_band
from remoteobj._pickling.codec import dumps, loads
from remoteobj._pickling.out_of_band import extract_large
from remoteobj._protocol.calls import PendingCall
from remoteobj._protocol.frames import Decoder, encode
from remoteobj._protocol.messages import Frame, Kind
from remoteobj._wire.channel import ChannelClosedError, StreamChannel
from remoteobj._wire.duplex import DuplexStream, line
from remoteobj.errors import ActorDiedError
from tests.conftest import Launch
from tests.marks import needs_descriptors
from tests.tools import Call, until

Ends = tuple[DuplexStream, DuplexStream]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = line()
    yield ours, theirs
    ours.close()
    theirs.close()


# ------------------------------------------------------------------ polling, then sleeping


class Looks:
    """Stands where a waiter polls: what the next looks find, and how many there were."""

    def __init__(self) -> None:
        self.found: list[list[tuple[int, int]]] = []
        self.looks = 0
        self.sleeps = 0

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        if timeout == 0:
            self.looks += 1
            return self.found.pop(0) if self.found else []
        self.sleeps += 1
        return [(0, 1)]


@pytest.fixture
def looks() -> Looks:
    return Looks()


def waiter(looks: Looks, spin: float | None = None) -> Any:
    made: Any = SpinPoller(spin)
    made._poll = made._hot = looks
    return made


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "_processors", lambda: 2)


def test_what_comes_at_once_is_found_without_sleeping(looks: Looks) -> None:
    looks.found = [[], [], [(7, 1)]]
    assert waiter(looks, spin=1.0).wait() == [(7, 1)]
    assert (looks.looks, looks.sleeps) == (3, 0)


def test_what_does_not_come_soon_is_slept_for(looks: Looks) -> None:
    assert waiter(looks).wait() == [(0, 1)]
    assert looks.looks > 0
    assert looks.sleeps == 1


def test_polling_that_does_not_pay_is_given_up_and_tried_again_now_and_then(looks: Looks) -> None:
    one = waiter(looks)
    while one._credit > 0:
        one.wait()
    looks.looks = 0
    for _ in range(RETRY_EVERY - 1):
        one.wait()
    assert looks.looks == 0
    one.wait()
    assert looks.looks > 0


def test_polling_that_pays_again_is_trusted_again(looks: Looks) -> None:
    one = waiter(looks)
    while one._credit > 0:
        one.wait()
    one._skipped = RETRY_EVERY - 1
    for _ in range(MAX_CREDIT):
        looks.found = [[(7, 1)]]
        assert one.wait() == [(7, 1)]
    assert one._credit == MAX_CREDIT


@pytest.mark.parametrize("spin", [0, 0.0])
def test_polling_can_be_switched_off(looks: Looks, spin: float) -> None:
    one = waiter(looks, spin)
    for _ in range(2 * RETRY_EVERY):
        one.wait()
    assert looks.looks == 0


def test_one_processor_alone_is_never_polled_on(
    looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "_processors", lambda: 1)
    one = waiter(looks)
    for _ in range(2 * RETRY_EVERY):
        one.wait()
    assert looks.looks == 0


def test_who_polls_for_long_gives_way_and_is_not_charged_for_what_others_used(
    looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, given_way = [0.0], []

    def give_way() -> None:
        given_way.append(now[0])
        now[0] += 20e-6  # another process runs for so long

    def clock() -> float:
        now[0] += 1e-6
        return now[0]

    monkeypatch.setattr(poller, "clock", clock)
    monkeypatch.setattr(poller, "_yield_cpu", give_way)
    looks.found = [[]] * 25 + [[(7, 1)]]
    one = waiter(looks)  # 50 µs by default, of which others use none
    assert one.wait() == [(7, 1)]
    assert len(given_way) > 5
    assert one._contended


def test_polling_ends_though_others_always_use_the_processor(
    looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def give_way() -> None:
        now[0] += 20e-6

    def clock() -> float:
        now[0] += 1e-6
        return now[0]

    monkeypatch.setattr(poller, "clock", clock)
    monkeypatch.setattr(poller, "_yield_cpu", give_way)
    waiter(looks).wait()
    assert looks.sleeps == 1
    assert now[0] < 3e-3


def test_a_machine_that_is_full_ends_the_polling(
    looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def give_way() -> None:
        now[0] += 3e-3  # somebody computes

    def clock() -> float:
        now[0] += 1e-6
        return now[0]

    monkeypatch.setattr(poller, "clock", clock)
    monkeypatch.setattr(poller, "_yield_cpu", give_way)
    one = waiter(looks)
    one.wait()
    assert looks.sleeps == 1
    assert now[0] < 4e-3


def test_the_option_reaches_both_sides_and_strangers(launch: Launch) -> None:
    with Keeper.options(**launch, spin=0).spawn() as keeper:
        assert keeper.spins() is False
        assert keeper._ref.endpoint._connection._channel.poller._alone
        with util.process(lambda stranger: stranger._ref.wire_options, keeper.echo) as p:
            pass
        assert p.result == (0, True)


def test_a_proxy_hands_the_option_on() -> None:
    proxy: Any = Proxy([1], spin=0, writable=False)
    again = proxy.__reduce__()
    assert again[0](*again[1])._ref.wire_options == (0, False)


# ------------------------------------------------------------------ the last word


def frame(call_id: int, size: int = 3) -> bytes:
    return b"".join(encode((Kind.VALUE, call_id, bytes(size), ())))


@needs_descriptors  # a socket keeps the reply together with the end, and has no such moment
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
        theirs.shut()
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


def test_a_late_reply_that_comes_alone_answers_no_later_call(ends: Ends) -> None:
    ours, theirs = ends
    connection = Connection(StreamChannel(ours), lambda _: TimeoutError(), lambda _: TimeoutError)
    late = connection.call(b"first", ())
    assert not connection.wait(late, time.monotonic())
    connection.abandon(late)
    call = Call(connection.ask, b"second")
    decoder, asked = Decoder(), [Frame(Kind.CLOSE, 0)]
    while asked[-1].payload != b"second":
        asked += decoder.feed(theirs.read(4096) or b"")
    theirs.write(b"".join(map(bytes, encode((Kind.VALUE, late.call_id, b"late", ())))))
    until(lambda: not select.select([ours], [], [], 0)[0])  # it has been read, alone
    theirs.write(b"".join(map(bytes, encode((Kind.VALUE, asked[-1].call_id, b"right", ())))))
    answer: Any = call.result()
    if isinstance(answer, PendingCall):
        assert connection.wait(answer, time.monotonic() + 10)
        answer = answer.first
    assert answer.payload == b"right"
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
    original = connection._write

    def write(*args: Any) -> None:
        original(*args)
        monkeypatch.setattr(connection, "_write", original)
        posting = threading.Thread(
            target=connection.post, args=(Frame(Kind.CLOSE, 99),), name="test-posts"
        )
        posting.start()
        posting.join()

    monkeypatch.setattr(connection, "_write", write)
    asking = threading.Thread(target=connection.ask, args=(b"?",), name="test-asks")
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


def test_frames_of_one_turn_of_a_loop_leave_together(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Keeper.options(**launch).spawn() as keeper:
        keeper.spins()
        channel = keeper._ref.endpoint._connection._channel
        sizes: list[int] = []
        original = StreamChannel.write

        def write(self: StreamChannel, parts: Any) -> Any:
            if self is channel and parts:
                sizes.append(len(parts))
            return original(self, parts)

        monkeypatch.setattr(StreamChannel, "write", write)

        async def main() -> list[int]:
            return list(await asyncio.gather(*(keeper.async_.echo(i) for i in range(40))))

        assert asyncio.run(main()) == list(range(40))
        monkeypatch.undo()
    if launch["engine"] != "inline":
        assert len(sizes) < 10


# ------------------------------------------------------------------ writable or not


@remote
class Keeper:
    def spins(self) -> bool:
        here: Any = current()
        return not here._ref.home.mailbox.poller._alone

    def echo(self, value: Any) -> Any:
        return value

    def writable(self, value: Any) -> bool:
        return bool(value.flags.writeable)

    def stream(self, sizes: list[int]) -> Iterator[Any]:
        for size in sizes:
            yield np.zeros(size, np.uint8)


SIZES = [10, 50_000, 3 << 20]


@pytest.mark.parametrize("writable", [True, False])
def test_arrays_of_all_sizes_arrive_as_the_option_says(launch: Launch, writable: bool) -> None:
    with Keeper.options(**launch, writable=writable).spawn() as keeper:
        for size in SIZES:
            sent = np.arange(size, dtype=np.uint8)
            assert keeper.writable(sent) is writable
            assert keeper.future_.writable(sent).result() is writable
            result = keeper.echo(sent)
            assert np.array_equal(result, sent)
            assert result.flags.writeable is writable
        assert [one.flags.writeable for one in keeper.stream(SIZES)] == [writable] * 3


def test_a_stranger_gets_read_only_arrays_too() -> None:
    with Keeper.options(writable=False).spawn() as keeper:

        def ask(stranger: Any) -> bool:
            return bool(stranger.echo(np.ones(100)).flags.writeable)

        with util.process(ask, keeper) as p:
            pass
        assert p.result is False


# ------------------------------------------------------------------ bytes and their like


BIG = out_of_band.BIG


@pytest.mark.parametrize("size", [0, 5, BIG - 1, BIG, 3 * BIG + 1])
@pytest.mark.parametrize("make", [bytes, bytearray, lambda n: array("B", bytes(n)), memoryview])
def test_bytes_of_all_kinds_and_sizes_arrive_as_what_they_are(
    launch: Launch, make: Callable[[Any], Any], size: int
) -> None:
    value = make(os.urandom(size) if make is memoryview else size)
    with Keeper.options(**launch).spawn() as keeper:
        for sent in (value, [value], {"a": (value, 1)}):
            got = keeper.echo(sent)
            assert type(got) is type(sent)
            assert got == sent


def test_big_bytes_stay_outside_of_the_pickle() -> None:
    for value in (bytes(BIG), bytearray(BIG), array("d", bytes(BIG)), memoryview(bytes(BIG))):
        call: Any = (("attr", "f"), ("call", (value,), {}))
        holders: list[Any] = [value, [1, value], {"a": value}, call]
        for holder in holders:
            payload, buffers = dumps(holder)
            assert len(payload) < 1000
            assert [len(one) for one in buffers] == [BIG]
            assert loads(payload, buffers) == holder


@pytest.mark.parametrize(
    ("form", "shape"), [("B", (6,)), ("d", (4,)), ("B", (2, 3)), ("i", (2, 1, 2))]
)
def test_a_view_keeps_its_form_and_shape(form: str, shape: tuple[int, ...]) -> None:
    count = int(np.prod(shape)) * array(form).itemsize
    view: Any = memoryview(os.urandom(count))
    got = loads(*dumps(view.cast(form, shape) if form != "B" or len(shape) > 1 else view))
    assert (got.format, got.shape) == (form, shape)
    assert got.tobytes() == view.tobytes()


def test_a_view_with_gaps_arrives_without_them() -> None:
    view = memoryview(bytes(range(100)))[::3]
    assert loads(*dumps(view)).tolist() == view.tolist()


nested = st.recursive(
    st.binary(max_size=40) | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(nested, st.integers(1, 30))
def test_what_is_lifted_is_equal_and_nothing_is_touched_without_need(value: Any, big: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(out_of_band, "BIG", big)
        payload, buffers = dumps(value)
        assert loads(payload, buffers) == value
        patch.setattr(out_of_band, "BIG", 1000)
        assert extract_large(value) is value


def test_the_decoder_hands_out_read_only_buffers_if_told_to() -> None:
    data = b"".join(encode((Kind.VALUE, 1, b"p", [b"buffer"])))
    (got,) = Decoder(writable=False).feed(data)
    assert got.buffers[0].readonly
    (got,) = Decoder().feed(data)
    assert isinstance(got.buffers[0], bytearray)
