"""The short cut of a lone caller: when it is taken, and what it gives when more comes than that."""

import gc
import weakref
from typing import Any

import pytest

from remoteobj._caller.connection import Connection
from remoteobj._caller.fast_call import FastCall
from remoteobj._caller.shared_reader import READY
from remoteobj._protocol.calls import PendingCall
from tests.caller.fake_channel import FakeChannel, Lost, Parts, lost, request
from tests.internals import Frame, Kind
from tests.tools import Call


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def fast(parts: Parts) -> FastCall:
    shared = parts.incoming, parts.reader, parts.writer
    return FastCall(parts.channel, parts.calls, parts.async_calls, *shared)


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
