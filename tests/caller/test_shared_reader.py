"""How threads share the reading: one reads for all, and none is forgotten, whatever happens."""

import threading
import time
from typing import Any

import pytest

from remoteobj._caller.shared_reader import OVER, READY, ReadingTurn
from remoteobj._os.wakeup import OneShotEvent
from remoteobj._protocol.calls import PendingCall, ReenteredError
from tests.caller.fake_channel import Lost, Parts
from tests.internals import Frame, Kind
from tests.tools import Call, until


@pytest.fixture
def parts() -> Parts:
    return Parts()


def waiting(parts: Parts, call: PendingCall, done: Any = READY) -> Call:
    return Call(parts.reader.wait, call, done)


def answer(call: PendingCall) -> Frame:
    return Frame(Kind.VALUE, call.call_id, b"value")


def leader_and_follower(parts: Parts) -> tuple[PendingCall, Call, PendingCall, Call]:
    """One thread that reads, and one that sleeps since it does."""
    mine, others = parts.calls.open(), parts.calls.open()
    leader = waiting(parts, mine)
    until(lambda: len(parts.channel.readers) == 1)
    follower = waiting(parts, others)
    until(lambda: len(parts.reader.turn.sleepers) == 1)
    return mine, leader, others, follower


# ------------------------------------------------------------------ leader and followers


def test_the_reader_hands_a_follower_its_reply_and_reads_on(parts: Parts) -> None:
    mine, leader, others, follower = leader_and_follower(parts)
    parts.channel.bring(answer(others))
    assert follower.result()
    assert leader.running
    parts.channel.bring(answer(mine))
    assert leader.result()
    assert len(set(parts.channel.readers)) == 1


def test_a_thread_that_waits_for_the_reader_has_it_keep_its_processor(parts: Parts) -> None:
    mine, leader, others, follower = leader_and_follower(parts)
    assert parts.channel.kept_cpu == 1
    parts.channel.bring(answer(mine), answer(others))
    assert leader.result()
    assert follower.result()


def test_the_reader_that_has_its_reply_lets_a_follower_read(parts: Parts) -> None:
    mine, leader, others, follower = leader_and_follower(parts)
    parts.channel.bring(answer(mine))
    assert leader.result()
    until(lambda: len(set(parts.channel.readers)) == 2)
    parts.channel.bring(answer(others))
    assert follower.result()
    assert parts.reader.turn.sleepers == {}


def test_a_thread_that_is_woken_to_read_and_need_not_lets_another_read(parts: Parts) -> None:
    """Its reply was read together with that of the thread which wakes it."""
    mine, last, theirs = parts.calls.open(), parts.calls.open(), parts.calls.open()
    leader = waiting(parts, mine)
    until(lambda: len(parts.channel.readers) == 1)
    woken = OneShotEvent()  # 1. this thread sleeps, before the other that does
    parts.reader.turn.sleepers[woken] = None
    follower = waiting(parts, theirs)
    until(lambda: len(parts.reader.turn.sleepers) == 2)
    parts.channel.bring(answer(mine), answer(last))
    assert leader.result()
    assert woken.wait(10)  # 2. it alone is woken, and finds its reply
    del parts.reader.turn.sleepers[woken]
    assert len(set(parts.channel.readers)) == 1
    assert parts.reader.wait(last, READY)  # 3. and must wake the other
    until(lambda: len(set(parts.channel.readers)) == 2)
    parts.channel.bring(answer(theirs))
    assert follower.result()


def test_a_reader_whose_time_is_up_lets_a_follower_read(parts: Parts) -> None:
    mine, others = parts.calls.open(), parts.calls.open()
    leader = Call(parts.reader.wait, mine, READY, time.monotonic() + 0.05)
    until(lambda: len(parts.channel.readers) == 1)
    follower = waiting(parts, others)
    assert leader.result() is False
    until(lambda: len(set(parts.channel.readers)) == 2)
    parts.channel.bring(answer(others))
    assert follower.result()


def test_a_follower_whose_time_is_up_leaves(parts: Parts) -> None:
    mine, others = parts.calls.open(), parts.calls.open()
    leader = waiting(parts, mine)
    until(lambda: len(parts.channel.readers) == 1)
    assert parts.reader.wait(others, READY, time.monotonic() + 0.01) is False
    assert parts.reader.turn.sleepers == {}
    parts.channel.bring(answer(mine))
    assert leader.result()


def test_a_reader_that_is_interrupted_while_it_waits_lets_a_follower_read(parts: Parts) -> None:
    wait, pressed = parts.channel.wait, threading.Event()

    def press(deadline: float | None) -> Any:
        parts.channel.readers.append(threading.get_ident())
        parts.channel.wait = wait
        assert pressed.wait(20)
        raise KeyboardInterrupt

    parts.channel.wait = press
    _, leader, others, follower = leader_and_follower(parts)
    pressed.set()
    with pytest.raises(KeyboardInterrupt):
        leader.result()
    until(lambda: len(set(parts.channel.readers)) == 2)
    parts.channel.bring(answer(others))
    assert follower.result()
    assert parts.incoming.closed_because is None


def test_a_wait_for_the_end_of_a_stream_takes_its_items_in(parts: Parts) -> None:
    call: Any = parts.calls.open()
    ending = waiting(parts, call, OVER)
    for kind in (Kind.STREAM, Kind.ITEM, Kind.ITEM):
        parts.channel.bring(Frame(kind, call.call_id))
    until(lambda: call.items is not None and len(call.items) == 2)
    assert ending.running
    parts.channel.bring(Frame(Kind.END, call.call_id))
    assert ending.result()


# ------------------------------------------------------------------ the turn to read


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_exception_around_the_taking_of_the_turn_leaves_it_to_others(when: str) -> None:
    turn = ReadingTurn()
    turn.lock = Interrupted(turn.lock, when)
    with pytest.raises(KeyboardInterrupt), turn:
        pass
    assert Call(turn.hand_over).result()


class Interrupted:
    """A lock whose first taking is interrupted by a signal handler."""

    def __init__(self, lock: Any, when: str) -> None:
        self._lock, self._when = lock, when
        self._is_owned, self.release = lock._is_owned, lock.release

    def acquire(self, blocking: bool) -> bool:
        when, self._when = self._when, ""
        if when == "before":
            raise KeyboardInterrupt
        got = bool(self._lock.acquire(blocking))
        if when == "after":
            raise KeyboardInterrupt
        return got


@pytest.mark.parametrize("act", ["wait", "poll"])
def test_code_on_top_of_a_read_does_not_wait_for_what_is_below_it(parts: Parts, act: str) -> None:
    """A signal handler, or a finalizer: it is told so, in place of a deadlock."""
    call, refused = parts.calls.open(), list[Any]()

    def handle() -> None:
        if act == "poll":
            refused.append(parts.reader.poll())
            return
        with pytest.raises(ReenteredError):
            parts.reader.wait(parts.calls.open(), READY)
        refused.append(False)

    parts.channel.before_take = handle
    parts.channel.bring(answer(call))
    assert parts.reader.wait(call, READY)
    assert refused == [False]


# ------------------------------------------------------------------ every call has an outcome


def end_by(parts: Parts, how: str) -> None:
    if how == "goodbye":
        parts.channel.bring(Frame(Kind.GOODBYE, 0))
    elif how == "end of stream":
        parts.channel.hang_up()
    else:
        parts.incoming.close()
        parts.channel.bring(Frame(Kind.GOODBYE, 0))  # wakes the one who reads


@pytest.mark.parametrize("how", ["goodbye", "end of stream", "close"])
def test_every_call_gets_an_outcome_at_the_end_of_the_connection(parts: Parts, how: str) -> None:
    mine, leader, others, follower = leader_and_follower(parts)
    ready: list[PendingCall] = []
    unheard = parts.calls.open()
    parts.async_calls.watch(unheard, ready.append)
    end_by(parts, how)
    assert leader.result()
    assert follower.result()
    for call in (mine, others, unheard):
        assert call.failure is not None
        assert isinstance(call.failure(), Lost)
    assert ready == [unheard]
    assert parts.async_calls.in_flight == {}


def test_a_call_that_is_opened_while_the_connection_ends_gets_an_outcome(parts: Parts) -> None:
    parts.incoming.close()
    late = parts.calls.open()
    assert parts.reader.wait(late, READY)
    assert late.failure is not None


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_exception_in_the_midst_of_a_read_ends_the_connection_for_every_call(
    parts: Parts, error: type[BaseException]
) -> None:
    def fail() -> None:
        raise error

    mine, other = parts.calls.open(), parts.calls.open()
    parts.channel.before_take = fail
    parts.channel.bring(answer(mine))
    with pytest.raises(error):
        parts.reader.wait(mine, READY)
    assert parts.incoming.actor_lives_on
    assert other.failure is not None
    assert "interrupted" in str(other.failure())


# ------------------------------------------------------------------ frames by kind


def test_a_kind_that_is_not_known_is_ignored(parts: Parts) -> None:
    call = parts.calls.open()
    for kind in (0, 9, 18, 29, 99, 255):
        parts.channel.bring(Frame(kind, call.call_id, b"?"))
    parts.channel.bring(answer(call))
    assert parts.reader.wait(call, READY)
    assert call.first == answer(call)
    assert parts.channel.written == []
    assert parts.incoming.closed_because is None


def test_a_kind_that_is_not_known_is_refused_where_its_sender_waits(parts: Parts) -> None:
    parts.channel.bring(Frame(99, 5, b"?", (), b"", 1))
    parts.reader.poll()
    [(call_id, why)] = parts.channel.sent()
    assert (call_id, why) == (5, b"this caller knows no message of kind 99")
    assert parts.incoming.closed_because is None


@pytest.mark.parametrize("kind", [Kind.RELEASE, Kind.FORGET])
def test_what_is_said_of_shared_memory_is_the_channels(parts: Parts, kind: int) -> None:
    parts.channel.bring(Frame(kind, 3))
    parts.reader.poll()
    assert parts.channel.heard == [Frame(kind, 3)]


def test_a_call_may_be_watched_again_by_the_one_who_is_told_of_it(parts: Parts) -> None:
    """As a coroutine does that goes over a stream."""
    call = parts.calls.open()
    told: list[int] = []

    def again(watched: PendingCall) -> None:
        told.append(1)
        parts.async_calls.watch(watched, again)

    parts.async_calls.watch(call, again)
    parts.channel.bring(Frame(Kind.STREAM, call.call_id), Frame(Kind.ITEM, call.call_id))
    parts.reader.poll()
    assert told == [1, 1]
    assert list(parts.async_calls.in_flight) == [call.call_id]


# ------------------------------------------------------------------ letting go of it


def test_the_channel_is_closed_while_no_other_thread_reads_or_writes(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed_while: list[tuple[bool, bool]] = []
    writing = threading.RLock()

    def close() -> None:
        def is_free(lock: Any) -> bool:
            taken: bool = lock.acquire(blocking=False)
            if taken:
                lock.release()
            return taken

        closed_while.append((Call(is_free, writing).result(), Call(is_free, turn).result()))

    turn = parts.reader.turn.lock
    monkeypatch.setattr(parts.channel, "close", close)
    with writing:
        closing = Call(parts.reader.close_channel, writing)
        until(lambda: closing.is_in(type(parts.reader).close_channel))
        assert closed_while == []
    closing.result()
    assert closed_while == [(False, False)]
