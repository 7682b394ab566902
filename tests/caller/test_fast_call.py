"""The short cut of a lone caller: when it is taken, and what it gives when more comes than that."""

import gc
import weakref
from typing import Any

import pytest

from remoteobj._caller import fast_call
from remoteobj._caller.async_calls import IN_FLIGHT
from remoteobj._caller.background_io import BackgroundIO
from remoteobj._caller.connection import Connection
from remoteobj._caller.fast_call import FastCall
from remoteobj._caller.shared_reader import READY
from remoteobj._protocol.calls import PendingCall
from remoteobj._protocol.frames import JOINED
from tests.caller.fake_channel import FakeChannel, Lost, Parts, lost, request
from tests.internals import Frame, Kind
from tests.tools import Call


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def fast(parts: Parts) -> FastCall:
    shared = parts.incoming, parts.reader, parts.writer
    background_io = BackgroundIO(parts.channel, parts.async_calls, *shared)
    background_io.expect_calls()
    return FastCall(parts.channel, parts.calls, parts.async_calls, *shared, background_io)


def test_the_answer_that_comes_alone_needs_no_entry_in_the_table(
    parts: Parts, fast: FastCall
) -> None:
    parts.channel.bring(Frame(Kind.VALUE, 1, b"value"))
    assert fast.call(b"call") == Frame(Kind.VALUE, 1, b"value")
    assert parts.channel.sent() == [(1, b"call")]
    assert len(parts.calls) == 0


def test_what_comes_before_the_answer_makes_it_a_call_like_any_other(
    parts: Parts, fast: FastCall
) -> None:
    late = parts.calls.open()
    parts.channel.bring(Frame(Kind.VALUE, late.call_id, b"late"))
    call = fast.call(b"call")
    assert isinstance(call, PendingCall)
    assert late.first is not None
    parts.channel.bring(Frame(Kind.VALUE, call.call_id, b"value"))
    parts.reader.poll()
    assert call.first is not None


def test_a_stream_is_a_call_like_any_other(parts: Parts, fast: FastCall) -> None:
    parts.channel.bring(Frame(Kind.STREAM, 1), Frame(Kind.ITEM, 1))
    call = fast.call(b"call")
    assert isinstance(call, PendingCall)
    assert call.items is not None


@pytest.mark.parametrize("why", ["writing", "reading", "corked", "ended", "within a read"])
def test_it_is_not_taken_where_it_would_be_in_the_way(
    parts: Parts, fast: FastCall, why: str
) -> None:
    answers: list[Any] = []
    if why == "writing":
        with parts.writer.lock:
            answers.append(Call(fast.call, b"call").result())
    elif why == "reading":
        with parts.reader.turn:
            answers.append(Call(fast.call, b"call").result())
    elif why == "corked":
        parts.writer.cork(request(9))
        answers.append(fast.call(b"call"))
    elif why == "ended":
        parts.incoming.close()
        answers.append(fast.call(b"call"))
    else:
        parts.channel.before_take = lambda: answers.append(fast.call(b"call"))
        parts.channel.bring(Frame(Kind.END, 5))
        parts.reader.poll()
    assert answers == [None]
    assert parts.channel.written == []
    assert Call(parts.reader.turn.hand_over).result()
    assert Call(parts.writer.lock.acquire, False).result()


def test_an_interruption_of_the_wait_abandons_the_call_and_frees_the_connection(
    parts: Parts, fast: FastCall
) -> None:
    def press(deadline: float | None) -> Any:
        raise KeyboardInterrupt

    wait, parts.channel.wait = parts.channel.wait, press
    with pytest.raises(KeyboardInterrupt):
        fast.call(b"first")
    assert parts.channel.sent() == [(1, b"first"), (1, b"")]  # the second closes it
    parts.channel.wait = wait
    parts.channel.bring(Frame(Kind.VALUE, 1, b"late"))
    parts.reader.poll()
    parts.channel.bring(Frame(Kind.VALUE, 2, b"right"))
    assert fast.call(b"second") == Frame(Kind.VALUE, 2, b"right")


@pytest.mark.parametrize("moment", ["before_write", "before_take"])
def test_an_interruption_of_a_transfer_gives_the_call_its_outcome(
    parts: Parts, fast: FastCall, moment: str
) -> None:
    def press() -> None:
        raise KeyboardInterrupt

    other = parts.calls.open()
    setattr(parts.channel, moment, press)
    parts.channel.bring(Frame(Kind.VALUE, 2))
    with pytest.raises(KeyboardInterrupt):
        fast.call(b"call")
    assert parts.incoming.actor_lives_on
    assert other.failure is not None
    assert len(parts.calls) == 0 or moment == "before_write"
    assert Call(parts.reader.turn.hand_over).result()


def test_a_call_to_nobody_gets_the_outcome_that_is_still_there_to_read(
    parts: Parts, fast: FastCall
) -> None:
    parts.channel.hang_up()
    call = fast.call(b"call")
    assert isinstance(call, PendingCall)
    assert isinstance(call.failure and call.failure(), Lost)


# ------------------------------------------------------------------ the beginning alone


def test_a_call_that_nobody_waits_for_now_is_sent_and_has_its_outcome_told(
    parts: Parts, fast: FastCall
) -> None:
    told: list[Any] = []
    call = fast.begin(b"call", told.append)
    assert call is not None
    assert parts.channel.sent() == [(call.call_id, b"call")]
    assert (call.sent, parts.async_calls.in_flight) == (b"call", {call.call_id: call})
    assert told == []
    parts.channel.bring(Frame(Kind.VALUE, call.call_id, b"value"))
    assert fast.wait(call)
    assert (told, call.first) == ([call], Frame(Kind.VALUE, call.call_id, b"value"))
    assert (len(parts.calls), parts.async_calls.in_flight) == (0, {})


@pytest.mark.parametrize(
    "why",
    [
        *("writing", "within a write", "within a read", "corked", "ended", "full", "large"),
        *("observed", "within a request", "first", "inline"),
    ],
)
def test_it_is_not_begun_where_it_would_be_in_the_way(
    parts: Parts, fast: FastCall, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    def begin(payload: bytes = b"call") -> Any:
        return fast.begin(payload, bool)

    answers: list[Any] = []
    if why == "writing":
        with parts.writer.lock:
            trying = Call(begin)
            parts.writer.cork(request(9))
        answers.append(trying.result())
        parts.writer.queue.clear()
    elif why == "within a write":
        with parts.writer.lock:
            answers.append(begin())
    elif why == "within a read":
        with parts.reader.turn:
            answers.append(begin())
    elif why == "corked":
        parts.writer.cork(request(9))
        answers.append(begin())
    elif why == "ended":
        parts.incoming.close()
        answers.append(begin())
    elif why == "full":
        parts.async_calls.in_flight.update(dict.fromkeys(range(-IN_FLIGHT, 0)))  # type: ignore[arg-type]
        answers.append(begin())
    elif why == "large":
        answers.append(begin(bytes(JOINED + 1)))
    else:
        in_the_way: Any = {
            "observed": (fast_call, "observers", [None]),
            "within a request": (fast_call, "serving_threads", {0: None}),
            "first": (fast._background_io, "expects_calls", False),
            "inline": (parts.channel, "runs_inline", True),
        }[why]
        monkeypatch.setattr(*in_the_way)
        answers.append(begin())
    assert answers == [None]
    assert parts.channel.written == []
    assert len(parts.calls) == 0
    assert Call(parts.writer.lock.acquire, False).result()


def test_one_to_nobody_is_left_to_who_sees_to_that(parts: Parts, fast: FastCall) -> None:
    parts.channel.hang_up()
    assert fast.begin(b"call", bool) is None
    assert (len(parts.calls), parts.async_calls.in_flight) == (0, {})
    assert parts.incoming.closed_because is None, "what was said at the end is not read yet"


def test_an_interruption_while_it_is_sent_ends_the_connection_and_abandons_it(
    parts: Parts, fast: FastCall
) -> None:
    def press() -> None:
        raise KeyboardInterrupt

    other = parts.calls.open()
    parts.channel.before_write = press
    with pytest.raises(KeyboardInterrupt):
        fast.begin(b"call", bool)
    assert other.failure is not None
    assert parts.async_calls.in_flight == {}
    assert parts.incoming.closed_because is not None
    assert Call(parts.writer.lock.acquire, False).result()


def test_an_interruption_before_it_is_sent_abandons_it(
    parts: Parts, fast: FastCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(*_: object) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fast_call, "encode_small", press)
        with pytest.raises(KeyboardInterrupt):
            fast.begin(b"call", bool)
    assert parts.async_calls.in_flight == {}
    assert parts.calls.given_up() == [1]
    assert Call(parts.writer.lock.acquire, False).result()


def test_an_interruption_once_it_is_sent_closes_it(
    parts: Parts, fast: FastCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(call: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fast._background_io, "call_begun", press)
    with pytest.raises(KeyboardInterrupt):
        fast.begin(b"call", bool)
    assert parts.channel.sent() == [(1, b"call"), (1, b"")]  # the second closes it
    assert parts.async_calls.in_flight == {}


def test_what_another_thread_had_to_say_meanwhile_is_sent_after_it(
    parts: Parts, fast: FastCall
) -> None:
    parts.channel.before_write = lambda: Call(parts.writer.post_close, 9).result()
    call = fast.begin(b"call", bool)
    assert call is not None
    assert parts.channel.sent() == [(call.call_id, b"call"), (9, b"")]


def test_the_end_of_it_that_does_not_fit_is_left_to_the_io_thread(
    parts: Parts, fast: FastCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    attended: list[Any] = []
    monkeypatch.setattr(fast._background_io, "attend", lambda: attended.append(1))
    parts.channel.room = 10
    call = fast.begin(b"call", bool)
    assert call is not None
    assert attended == [1]
    parts.channel.make_room()
    parts.writer.flush()
    assert parts.channel.sent() == [(call.call_id, b"call")]


# ------------------------------------------------------------------ the wait alone


def test_the_answer_to_a_call_that_was_sent_by_itself_is_waited_for(
    parts: Parts, fast: FastCall
) -> None:
    call = parts.calls.open()
    answer = Frame(Kind.VALUE, call.call_id, b"value")
    # Once it has been looked for in vain.
    parts.channel.before_take = lambda: setattr(
        parts.channel, "before_take", lambda: parts.channel.bring(answer)
    )
    parts.channel.wait = lambda deadline: parts.channel.readers.append(0) or True
    assert fast.wait(call)
    assert call.first == answer
    assert len(parts.calls) == 0
    assert fast.wait(call)  # which is here, so that nothing more has to come
    assert len(parts.channel.readers) == 1


def test_an_answer_that_has_come_already_is_taken_without_a_wait(
    parts: Parts, fast: FastCall
) -> None:
    call = parts.calls.open()
    told: list[Any] = []
    parts.async_calls.watch(call, told.append)
    parts.channel.bring(Frame(Kind.VALUE, call.call_id, b"value"))
    assert fast.wait(call)
    assert call.first == Frame(Kind.VALUE, call.call_id, b"value")
    assert (told, call.over, call.ready) == ([call], True, True)
    assert call.on_ready is None, "it is told once"
    assert (len(parts.calls), parts.async_calls.in_flight) == (0, {})
    assert parts.channel.readers == []


def test_a_call_that_is_observed_has_its_answer_told(parts: Parts, fast: FastCall) -> None:
    told: list[Frame] = []

    class Observed(PendingCall):
        def deliver(self, frame: Frame) -> bool:
            told.append(frame)
            return super().deliver(frame)

    call = parts.calls.open()
    call.__class__ = Observed
    answer = Frame(Kind.VALUE, call.call_id, b"value")
    parts.channel.bring(answer)
    assert fast.wait(call)
    assert told == [answer]
    assert call.first == answer


def test_a_call_is_answered_or_fails_where_its_answer_is_taken_when_ctrl_c_comes(
    parts: Parts, fast: FastCall
) -> None:
    class Interrupted(dict[int, Any]):
        def pop(self, *args: Any) -> Any:
            super().pop(*args)
            raise KeyboardInterrupt

    call = parts.calls.open()
    told: list[Any] = []
    parts.async_calls.watch(call, told.append)
    parts.calls._open = Interrupted(parts.calls._open)
    parts.channel.bring(Frame(Kind.VALUE, call.call_id, b"value"))
    with pytest.raises(KeyboardInterrupt):
        fast.wait(call)
    assert call.answered
    assert told == [call]


def test_what_fails_to_be_read_before_the_wait_ends_the_connection(
    parts: Parts, fast: FastCall
) -> None:
    call = parts.calls.open()
    parts.channel.hang_up()
    assert fast.wait(call)
    assert call.failure is not None
    assert isinstance(call.failure(), Lost)
    assert parts.channel.readers == []


def test_what_comes_before_it_is_delivered_and_ends_the_wait(parts: Parts, fast: FastCall) -> None:
    before, call = parts.calls.open(), parts.calls.open()
    parts.channel.bring(Frame(Kind.VALUE, before.call_id, b"before"))
    assert not fast.wait(call)
    assert before.first is not None
    parts.channel.bring(Frame(Kind.ERROR, call.call_id, b"error"))
    assert fast.wait(call)


@pytest.mark.parametrize("why", ["reading", "writing", "corked", "ended"])
def test_what_is_not_for_it_alone_is_left_to_others(parts: Parts, fast: FastCall, why: str) -> None:
    call = parts.calls.open()
    parts.channel.bring(Frame(Kind.VALUE, call.call_id))
    if why == "reading":
        with parts.reader.turn:
            assert not Call(fast.wait, call).result()
            assert not fast.wait(call)  # this thread is within a read
    elif why == "writing":
        with parts.writer.lock:
            assert not fast.wait(call)
    elif why == "corked":
        parts.writer.cork(request(9))
        assert not fast.wait(call)
    else:
        parts.calls.withdraw(call)  # so that the end does not reach it
        parts.incoming.close()
        assert not fast.wait(call)
    assert parts.channel.readers == []
    assert Call(parts.reader.turn.hand_over).result()


def test_an_answer_that_another_thread_takes_just_before_its_turn_is_not_waited_for(
    parts: Parts, fast: FastCall
) -> None:
    call = parts.calls.open()
    lock = parts.reader.turn.lock

    class TakenBefore:
        """The turn, which another thread has had in the last moment."""

        def acquire(self, blocking: bool) -> bool:
            parts.incoming.deliver(Frame(Kind.VALUE, call.call_id))
            return bool(lock.acquire(blocking))

        def __getattr__(self, name: str) -> Any:
            return getattr(lock, name)

    parts.reader.turn.lock = TakenBefore()
    assert fast.wait(call)
    assert parts.channel.readers == []


def test_an_interruption_of_that_wait_leaves_the_connection_as_it_was(
    parts: Parts, fast: FastCall
) -> None:
    def press(deadline: float | None) -> Any:
        raise KeyboardInterrupt

    call = parts.calls.open()
    wait, parts.channel.wait = parts.channel.wait, press
    with pytest.raises(KeyboardInterrupt):
        fast.wait(call)
    assert Call(parts.reader.turn.hand_over).result()
    assert parts.calls.given_up() == [call.call_id]
    parts.channel.wait = wait
    parts.channel.bring(Frame(Kind.VALUE, call.call_id, b"value"))
    assert not fast.wait(call)  # who comes back to it is seen to by the general path
    assert parts.reader.wait(call, READY)


def test_an_end_that_comes_in_place_of_the_answer_is_its_failure(
    parts: Parts, fast: FastCall
) -> None:
    call = parts.calls.open()
    parts.channel.hang_up()
    assert fast.wait(call)
    assert isinstance(call.failure and call.failure(), Lost)


# ------------------------------------------------------------------ the end


def test_a_connection_that_is_dropped_is_gone_at_once() -> None:
    """No part refers back to it: its socket need not wait for the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        channel: Any = FakeChannel()
        connection = Connection(channel, lost, lambda payload: lost)
        channel.bring(Frame(Kind.VALUE, 1), Frame(Kind.GOODBYE, 0))
        connection.call_fast(b"call")
        gone, channel_gone = weakref.ref(connection), weakref.ref(channel)
        del connection, channel
        assert gone() is None
        assert channel_gone() is None
    finally:
        gc.enable()
