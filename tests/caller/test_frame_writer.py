"""How frames leave: whole, in order, together where that is allowed, whatever does not fit."""

from typing import Any

import pytest

from remoteobj._caller.frame_writer import CORKED, UNSENT
from remoteobj._wire.channel import ChannelClosedError
from tests.caller.fake_channel import Lost, Parts, request
from tests.internals import Frame, Kind
from tests.tools import Call

LARGE = bytes(UNSENT + 1)


@pytest.fixture
def parts() -> Parts:
    return Parts()


# ------------------------------------------------------------------ corking


def test_corked_frames_leave_with_the_next_write_and_before_it(parts: Parts) -> None:
    for call_id in (1, 2, 3):
        parts.writer.cork(request(call_id))
    assert parts.channel.written == []
    parts.writer.write(request(4))
    assert [call_id for call_id, _ in parts.channel.sent()] == [1, 2, 3, 4]
    assert len(parts.channel.written) == 1


def test_corked_frames_leave_together_when_they_are_flushed(parts: Parts) -> None:
    for call_id in (1, 2, 3):
        parts.writer.cork(request(call_id))
    parts.writer.flush_some()
    assert [call_id for call_id, _ in parts.channel.sent()] == [1, 2, 3]
    assert len(parts.channel.written) == 1
    parts.writer.flush()
    assert len(parts.channel.written) == 1


def test_only_so_many_small_frames_are_corked(parts: Parts) -> None:
    for call_id in range(1, CORKED + 2):
        parts.writer.cork(request(call_id))
    assert len(parts.channel.sent()) == CORKED + 1
    parts.writer.cork(request(99, LARGE))
    assert parts.channel.sent()[-1] == (99, LARGE)


# ------------------------------------------------------------------ what does not fit


def test_what_does_not_fit_is_written_first_by_the_next_writer(parts: Parts) -> None:
    parts.channel.room = 5
    parts.writer.write_nowait(request(1, b"one"))
    parts.writer.cork(request(2, b"two"))
    assert parts.channel.sent() == []
    assert parts.writer.unsent == len(request(1, b"one")[0]) - 5
    parts.channel.make_room()
    parts.writer.write(request(3, b"three"))
    assert parts.channel.sent() == [(1, b"one"), (2, b"two"), (3, b"three")]
    assert parts.writer.unsent == 0


def test_a_write_waits_for_room_until_all_is_out(parts: Parts) -> None:
    waits: list[int] = []

    def make_a_little_room() -> None:
        waits.append(1)
        parts.channel.room = 10

    parts.channel.room = 0
    parts.channel.waiting_to_write = make_a_little_room
    parts.writer.write(request(1, bytes(100)))
    assert parts.channel.sent() == [(1, bytes(100))]
    assert len(waits) == 13  # for 124 bytes


def test_a_write_ahead_waits_only_if_much_is_left(parts: Parts) -> None:
    parts.channel.room = 0
    parts.writer.write_ahead(request(1, bytes(1000)))
    assert parts.channel.sent() == []
    parts.writer.write_ahead(request(2, LARGE))
    assert parts.channel.sent() == [(1, bytes(1000)), (2, LARGE)]


def test_a_write_that_may_not_wait_leaves_even_much_to_the_next(parts: Parts) -> None:
    parts.channel.room = 0
    parts.channel.waiting_to_write = lambda: pytest.fail("it waited")
    parts.writer.write_nowait(request(1, LARGE))
    parts.writer.flush_some()
    assert parts.writer.unsent > UNSENT


def test_what_is_left_does_not_change_with_the_buffer_of_the_caller(parts: Parts) -> None:
    mine = bytearray(b"before")
    parts.channel.room = 0
    parts.channel.write = lambda parts: list(parts)  # so that the buffer itself is left
    parts.writer.write_ahead([b"", mine])
    mine[:] = b"after!"
    assert b"".join(parts.writer.queue[0]) == b"before"


def test_an_end_that_works_only_while_this_one_waits_is_waited_for(parts: Parts) -> None:
    parts.channel.runs_inline = True
    parts.channel.room = 0
    parts.writer.write_nowait(request(1, LARGE))
    assert parts.channel.sent() == [(1, LARGE)]


# ------------------------------------------------------------------ posting


def test_what_is_posted_during_a_write_is_left_to_the_one_who_writes(parts: Parts) -> None:
    post = lambda: Call(parts.writer.post, Frame(Kind.CLOSE, 7)).wait()  # noqa: E731
    parts.channel.before_write = post
    with parts.writer.lock:
        parts.writer.write(request(1))
        assert parts.writer.posted
    parts.writer.flush()
    assert [call_id for call_id, _ in parts.channel.sent()] == [1, 7]
    assert not parts.writer.posted
    assert not parts.writer.queue


def test_a_finalizer_within_a_write_posts_without_a_deadlock(parts: Parts) -> None:
    parts.channel.room = 10
    parts.channel.before_write = lambda: parts.writer.post_close(7)
    with parts.writer.lock:
        parts.writer.write(request(1, b"whole"))
    parts.writer.flush()
    assert parts.channel.sent() == [(1, b"whole"), (7, b"")]


def test_a_frame_that_was_taken_before_it_was_marked_leaves_no_mark_behind(parts: Parts) -> None:
    parts.writer.posted = True  # as by a thread whose frame another one has just written
    parts.writer.flush_some()
    assert not parts.writer.posted


# ------------------------------------------------------------------ the end


def test_nothing_is_written_to_a_connection_that_has_ended(parts: Parts) -> None:
    parts.writer.cork(request(1))
    parts.incoming.close()
    parts.writer.post_close(1)
    parts.writer.flush()
    parts.writer.flush_some()
    assert parts.channel.written == []
    assert list(parts.writer.queue) == [request(1)]


def test_a_wait_for_room_ends_when_the_connection_does(parts: Parts) -> None:
    parts.channel.room = 0
    parts.channel.waiting_to_write = parts.incoming.close
    with pytest.raises(ChannelClosedError):
        parts.writer.write(request(1))


def test_an_interruption_of_a_write_ends_the_connection_for_every_call(parts: Parts) -> None:
    def press() -> None:
        raise KeyboardInterrupt

    other = parts.calls.open()
    parts.channel.before_write = press
    with pytest.raises(KeyboardInterrupt):
        parts.writer.write(request(2))
    assert parts.incoming.actor_lives_on
    assert other.failure is not None
    assert "interrupted" in str(other.failure())


def test_an_interruption_of_a_wait_for_room_leaves_the_rest_to_the_next(parts: Parts) -> None:
    def press() -> None:
        raise KeyboardInterrupt

    parts.channel.room = 5
    parts.channel.waiting_to_write = press
    with pytest.raises(KeyboardInterrupt):
        parts.writer.write(request(1, b"one"))
    assert parts.incoming.closed_because is None
    parts.channel.make_room()
    parts.writer.write(request(2, b"two"))
    assert parts.channel.sent() == [(1, b"one"), (2, b"two")]


def test_a_writer_that_waits_for_room_takes_in_what_comes(parts: Parts) -> None:
    """Else two ends that both write would wait for each other to read."""
    call: Any = parts.calls.open()

    def answer() -> bool:
        parts.channel.bring(Frame(Kind.VALUE, call.call_id, b"yes"))
        parts.channel.make_room()
        return False

    parts.channel.room = 0
    parts.channel.wait_to_write = lambda *_: answer()
    parts.writer.write(request(2))
    assert call.first.payload == b"yes"


def test_a_call_that_can_not_be_sent_fails_with_the_last_word_of_the_other_side(
    parts: Parts,
) -> None:
    before = parts.calls.open()
    parts.channel.bring(Frame(Kind.VALUE, before.call_id, b"late"), Frame(Kind.GOODBYE, 0))
    parts.channel.hang_up()
    call = parts.calls.open()
    with pytest.raises(ChannelClosedError):
        parts.writer.write(request(call.call_id))
    parts.reader.fail_unsent(call)
    assert before.first is not None
    assert isinstance(call.failure and call.failure(), Lost)


def test_frames_of_many_threads_stay_whole(parts: Parts) -> None:
    def send(who: int) -> None:
        for n in range(100):
            with parts.writer.lock:
                parts.channel.room = 7 if n % 3 else None
                parts.writer.write_nowait(request(who, bytes([who]) * n))
            parts.writer.post_close(who)
            if parts.writer.posted:
                parts.writer.flush_some()

    threads = [Call(send, who) for who in range(1, 5)]
    for thread in threads:
        thread.result()
    parts.channel.make_room()
    parts.writer.flush()
    sent = parts.channel.sent()
    for who in range(1, 5):
        mine = [payload for call_id, payload in sent if call_id == who]
        calls = [payload for payload in mine if payload]
        assert calls == [bytes([who]) * n for n in range(1, 100)]
        assert len(mine) == 200
