"""Ending an actor by force: SIGTERM, then SIGKILL."""

import signal

import pytest

from remoteobj import ActorDiedError, util
from remoteobj.testing import Gate
from tests.internals import TERM_SECONDS, lose_the_next_signal
from tests.lifecycle.actors import Patient, Plain
from tests.lifecycle.programs import Diary
from tests.tools import Call, ended

PROMPT = 2.5
"""Seconds for what takes none, and took five or more when it waited for the wrong side."""


def test_a_call_that_sigterm_interrupts_is_told_of_a_death_that_may_have_executed_it(
    diary: Diary, gate: Gate
) -> None:
    with Patient.spawn(diary) as actor:
        call = Call(actor.wait_at, gate)
        gate.wait_for_arrival()
        actor.terminate_()
        error = call.wait().error
        assert isinstance(error, ActorDiedError), error
        assert error.maybe_executed is True
        assert actor.join_(10)
    assert diary.lines == ["cleanup"]


def test_a_sigterm_that_comes_just_before_a_sleep_wakes_what_sleeps(
    diary: Diary, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Patient.spawn(diary) as actor:
        call = Call(actor.wait_at, gate)
        gate.wait_for_arrival()
        lose_the_next_signal(monkeypatch)
        actor.terminate_()
        assert actor.join_(10)
        assert actor.exitcode_ == -signal.SIGTERM
        assert isinstance(call.wait().error, ActorDiedError)
    assert diary.lines == ["cleanup"]


def test_so_does_one_that_is_for_a_function(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    process = util.process(gate.park).start()
    gate.wait_for_arrival()
    lose_the_next_signal(monkeypatch)
    process.terminate()
    process.join(10, raises=False)
    assert process.exitcode == -signal.SIGTERM


def test_an_actor_that_does_not_stop_in_time_gets_sigterm(diary: Diary, gate: Gate) -> None:
    actor = Patient.options(stop_timeout=0.1).spawn(diary)
    call = Call(actor.wait_at, gate)
    gate.wait_for_arrival()
    actor.stop_()
    assert actor.exitcode_ == -signal.SIGTERM
    (error,) = actor.exc_.group("cleanup")
    assert isinstance(error, ActorDiedError)
    assert error.signal is signal.SIGTERM
    assert "did not stop within 0.1 s" in str(error)
    assert isinstance(call.wait().error, RuntimeError)
    assert diary.lines == ["cleanup"]


def test_an_actor_that_ignores_sigterm_too_gets_sigkill(
    monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    TERM_SECONDS.set(monkeypatch, 0.1)
    with pytest.raises(ActorDiedError, match=r"did not stop within 0\.1 s .* SIGKILL"):
        with Patient.spawn() as actor:
            call = Call(actor.hang, gate)
            gate.wait_for_arrival()
            actor.stop_(timeout=0.1)
            assert actor.exitcode_ == -signal.SIGKILL
            assert isinstance(call.wait().error, ActorDiedError)


def test_terminate_ends_an_actor_whose_method_catches_everything(gate: Gate) -> None:
    with ended(Plain.spawn()) as actor:
        calling = Call(actor.stubborn, gate)
        gate.wait_for_arrival()
        actor.terminate_()
        assert actor.join_(PROMPT)
    calling.wait()


def test_terminate_ends_an_actor_that_is_pickling(gate: Gate) -> None:
    with ended(Plain.spawn()) as actor:
        calling = Call(actor.hard_to_pickle, gate)
        gate.wait_for_arrival()
        actor.terminate_()
        assert actor.join_(PROMPT)
        assert actor.exitcode_ == -signal.SIGTERM
    assert isinstance(calling.wait().error, ActorDiedError)
