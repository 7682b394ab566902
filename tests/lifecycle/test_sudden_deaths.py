"""An actor that dies suddenly: how soon each caller is told, and what."""

import os
import signal
import time

import pytest

from remoteobj import ActorDiedError, remote
from remoteobj.testing import Gate
from tests.conftest import NO_CODES, Launch
from tests.internals import until_sent
from tests.lifecycle.actors import NO_PROCESS, Counter, Patient
from tests.lifecycle.programs import Diary
from tests.tools import Call

PROMPT = 1.0
"""Seconds within which the death of an actor must have reached every caller."""

DEATHS = {
    "kill": (-signal.SIGKILL, signal.SIGKILL),
    "segfault": (-signal.SIGSEGV, signal.SIGSEGV),
    "exit": (3, None),
}


@pytest.mark.engines(skip={**NO_PROCESS, **NO_CODES})
@pytest.mark.parametrize("how", DEATHS)
def test_a_death_in_mid_call_reaches_the_caller_at_once(launch: Launch, how: str) -> None:
    exitcode, number = DEATHS[how]
    actor = Patient.options(**launch).spawn()
    began = time.monotonic()
    with pytest.raises(ActorDiedError) as caught:
        actor.die(how)
    assert time.monotonic() - began < PROMPT
    assert (caught.value.exitcode, caught.value.signal) == (exitcode, number)
    assert caught.value.maybe_executed is True
    assert not actor.alive_
    assert actor.exitcode_ == exitcode
    with pytest.raises(ActorDiedError) as caught:
        actor.note("too late")
    assert (caught.value.exitcode, caught.value.maybe_executed) == (exitcode, False)
    actor.stop_()


def test_an_actor_that_died_while_idle_fails_the_next_call(launch: Launch) -> None:
    if launch["engine"] != "process":
        pytest.skip("is not a process of its own")
    actor = Counter.options(**launch).spawn()
    os.kill(actor.pid_, signal.SIGKILL)
    assert actor.join_(10)
    began = time.monotonic()
    with pytest.raises(ActorDiedError, match="SIGKILL; the call was not executed"):
        actor.add()
    assert time.monotonic() - began < PROMPT
    assert actor.listening_ is False
    actor.stop_()


def test_of_the_calls_in_flight_at_a_death_exactly_the_one_that_ran_may_have_been_executed(
    gate: Gate, diary: Diary
) -> None:
    actor = Patient.spawn(diary)
    running = Call(actor.wait_at, gate)
    gate.wait_for_arrival()
    waiting = [Call(actor.note, i) for i in range(6)]
    until_sent(actor, 7)
    killed_at = time.monotonic()
    os.kill(actor.pid_, signal.SIGKILL)
    errors = [call.wait().error for call in (running, *waiting)]
    assert all(isinstance(error, ActorDiedError) for error in errors)
    assert [getattr(error, "maybe_executed", None) for error in errors] == [True] + [False] * 6
    assert max(call.ended_at for call in (running, *waiting)) - killed_at < PROMPT
    assert diary.lines == []
    actor.stop_()


def test_a_copy_of_a_descriptor_in_a_grandchild_does_not_hide_the_death() -> None:
    @remote
    class Parent:
        def fork(self) -> int:
            pid = os.fork()
            if not pid:
                signal.pause()
            return pid

    actor = Parent.spawn()
    grandchild = actor.fork()
    os.kill(actor.pid_, signal.SIGKILL)
    began = time.monotonic()
    try:
        with pytest.raises(ActorDiedError):
            actor.fork()
        assert time.monotonic() - began < PROMPT
    finally:
        os.kill(grandchild, signal.SIGKILL)
        actor.stop_()
