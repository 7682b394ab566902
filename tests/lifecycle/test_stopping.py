"""Stopping an actor: which calls it still answers, and who may stop it."""

import threading
import time

import pytest

from remoteobj import ActorDiedError, NotListeningError, current, remote
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.internals import at_next_take_of, sleeping_readers, until_sent
from tests.lifecycle.actors import NO_THREAD, Counter, Patient, Plain
from tests.lifecycle.programs import Diary
from tests.tools import Call, until, until_gone

PROMPT = 2.5
"""Seconds for what takes none, and took five or more when it waited for the wrong side."""


@pytest.mark.engines(skip=NO_THREAD)
def test_stop_finishes_the_requests_in_hand(launch: Launch, gate: Gate, diary: Diary) -> None:
    actor = Patient.options(**launch).spawn(diary)
    in_hand = Call(actor.wait_for_stop, gate)
    gate.wait_for_arrival()
    behind = [Call(actor.note, i) for i in range(4)]
    until_sent(actor, 5)
    stopping = Call(actor.stop_)
    assert in_hand.wait().value == "told to stop"
    assert sorted(call.wait().value for call in behind) == [0, 1, 2, 3]
    stopping.wait()
    assert stopping.error is None
    assert sorted(diary.lines) == ["0", "1", "2", "3", "cleanup"]
    assert diary.lines[-1] == "cleanup"


@pytest.mark.engines(skip=NO_THREAD)
def test_stop_refuses_the_requests_that_have_not_begun_when_asked_to(
    launch: Launch, gate: Gate, diary: Diary
) -> None:
    actor = Patient.options(fulfill_final=False, **launch).spawn(diary)
    in_hand = Call(actor.wait_for_stop, gate)
    gate.wait_for_arrival()
    behind = [Call(actor.note, i) for i in range(4)]
    until_sent(actor, 5)
    stopping = Call(actor.stop_)
    assert in_hand.wait().value == "told to stop", "what had begun is finished"
    for call in behind:
        assert isinstance(call.wait().error, NotListeningError)
    stopping.wait()
    assert diary.lines == ["cleanup"]


def test_a_stopped_actor_is_not_called(launch: Launch) -> None:
    actor = Counter.options(**launch).spawn()
    actor.stop_()
    for call in (actor.add, actor.value.get_, lambda: len(actor.queue)):
        with pytest.raises(NotListeningError):
            call()
    assert actor.get_(default="nobody") == "nobody"
    assert actor.listening_ is False


def test_stopping_again_is_harmless(launch: Launch, diary: Diary) -> None:
    with Patient.options(**launch).spawn(diary) as actor:
        actor.stop_()
        actor.stop_()
    actor.stop_()
    assert actor.exitcode_ == 0
    assert diary.lines == ["cleanup"]


@pytest.mark.engines(skip=NO_THREAD)
def test_two_threads_that_stop_both_return_when_it_has_ended(launch: Launch, diary: Diary) -> None:
    actor = Patient.options(**launch).spawn(diary)
    barrier = threading.Barrier(2)

    def stop() -> tuple[bool, list[str]]:
        barrier.wait()
        actor.stop_()
        return actor.alive_, diary.lines

    outcomes = [Call(stop), Call(stop)]
    assert [one.wait().value for one in outcomes] == [(False, ["cleanup"])] * 2


@remote
class Suicidal:
    def __init__(self, diary: Diary) -> None:
        self.diary = diary

    def stop_yourself(self) -> str:
        current().stop_listen_()
        return "my last answer"

    @remote.cleanup
    def close(self) -> None:
        self.diary.add("cleanup")


@pytest.mark.engines(skip=NO_THREAD)
def test_an_actor_that_stops_itself_answers_first_and_ends(launch: Launch, diary: Diary) -> None:
    with Suicidal.options(**launch).spawn(diary) as actor:
        assert actor.stop_yourself() == "my last answer"
        assert actor.join_(10)
        assert actor.exitcode_ == 0
        with pytest.raises(NotListeningError):
            actor.stop_yourself()
    assert diary.lines == ["cleanup"]


def test_a_thread_can_not_be_killed_and_says_so(launch: Launch) -> None:
    if launch["engine"] in {"process", "ray"}:
        pytest.skip("is a process")
    with Counter.options(**launch).spawn() as counter:
        with pytest.raises(RuntimeError, match="can't be"):
            counter.kill_()
        assert counter.add() == 1


def test_leaving_is_quick_though_a_stream_of_large_items_was_not_read_to_its_end(
    gate: Gate,
) -> None:
    with Plain.spawn() as actor:
        stream = iter(actor.large(gate))
        next(stream)
        gate.wait_for_arrival()  # it goes on, to write more than the socket holds
        began = time.monotonic()
    assert time.monotonic() - began < PROMPT
    stream.close()


def test_calls_that_other_threads_have_in_hand_at_a_stop_get_their_replies(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = Plain.options(start_method="fork").spawn()

    def be_late() -> None:
        """The thread that reads does not get to run before the actor has ended."""
        assert until_gone(actor.pid_, 20)
        until(lambda: sleeping_readers(actor) == 6)  # the other calls, and the stop

    at_next_take_of(actor, be_late, monkeypatch)
    waiting = Call(actor.wait_at, gate)
    gate.wait_for_arrival()
    others = [Call(actor.echo, number) for number in range(5)]
    until_sent(actor, 6)
    stopping = Call(actor.stop_)
    gate.open()
    stopping.result()
    assert waiting.result() == "waited"
    assert [other.result() for other in others] == [0, 1, 2, 3, 4]


def test_a_call_on_a_stuck_thread_ends_when_its_actor_is_stopped(gate: Gate) -> None:
    actor = Plain.options(engine="thread").spawn()
    stuck = Call(actor.wait_at, gate)
    gate.wait_for_arrival()
    actor.stop_(timeout=0.1)
    try:
        assert isinstance(stuck.wait().error, NotListeningError | ActorDiedError)
    finally:
        gate.open()
