"""A call that is out of time says what the actor was doing instead, and may interrupt it."""

import asyncio
import os
import signal
from typing import Any

import pytest

from remoteobj import CallTimeoutError
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.internals import (
    ANSWER_SECONDS,
    EXPLAIN_SECONDS,
    questions_asked,
    time_given_to_faulthandler,
)
from tests.tools import Call
from tests.watching.millers import NO_INTERRUPTS, NO_SIGNALS, PROCESSES, Miller


@pytest.fixture
def time_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, the actor's answer comes in time."""
    ANSWER_SECONDS.set(monkeypatch, 10.0)


@pytest.mark.usefixtures("time_to_answer")
@pytest.mark.engines(skip={"inline": "works only while its caller waits"})
def test_a_time_limit_says_what_the_actor_does_instead(miller: Any, gate: Gate) -> None:
    future = miller.future_.grind(gate)
    ahead = miller.future_.ground.get_()
    gate.wait_for_arrival()
    with pytest.raises(CallTimeoutError, match=r"running \?\.grind\(\.\.\.\) for") as caught:
        miller.with_(timeout=0.05).passto(len)
    assert caught.value.remote_stack is not None
    assert ", in grind" in caught.value.remote_stack
    assert caught.value.queued_ahead == ("?.ground",)
    gate.open()
    assert future.result() == "flour"
    assert ahead.result() == 1


@pytest.mark.usefixtures("time_to_answer")
@pytest.mark.engines(skip={"inline": "works only while its caller waits"})
def test_futures_and_awaits_explain_their_time_limits_too(miller: Any, gate: Gate) -> None:
    parked = miller.future_.grind(gate)
    gate.wait_for_arrival()
    limited = miller.with_(timeout=0.05)
    assert "?.grind" in str(limited.future_.passto(len).exception(10))

    async def main() -> str:
        try:
            await limited.async_.passto(len)
        except CallTimeoutError as error:
            return str(error)
        return ""

    assert "?.grind" in asyncio.run(main())
    gate.open()
    parked.result()


@pytest.mark.engines(skip={**PROCESSES, **NO_INTERRUPTS})
def test_a_call_that_is_out_of_time_is_interrupted_if_that_was_said(
    launch: Launch, gate: Gate
) -> None:
    with Miller.options(**launch).spawn() as miller:
        call = Call(lambda: miller.with_(timeout=0.2, interrupt=True).for_ever(gate))
        gate.wait_for_arrival()
        with pytest.raises(CallTimeoutError):
            call.result()
        assert miller.with_(timeout=10).ground.get_() > 0


@pytest.mark.engines(skip=PROCESSES)
def test_only_the_call_that_is_out_of_time_is_interrupted(gate: Gate) -> None:
    with Miller.spawn() as miller:
        other = miller.future_.grind(gate)
        gate.wait_for_arrival()
        with pytest.raises(CallTimeoutError):
            miller.with_(timeout=0.05, interrupt=True).ground.get_()
        gate.open()
        assert other.result(10) == "flour"


@pytest.mark.usefixtures("time_to_answer")
@pytest.mark.engines(skip={"inline": "works only while its caller waits"})
def test_to_explain_a_time_limit_takes_one_question(
    miller: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    parked = miller.future_.grind(gate)
    gate.wait_for_arrival()
    asked = questions_asked(monkeypatch)
    with pytest.raises(CallTimeoutError, match=r"running \?\.grind"):
        miller.with_(timeout=0.05, interrupt=True).ground.get_()
    assert asked == [ANSWER_SECONDS.value]
    gate.open()
    parked.result()


@pytest.mark.engines(skip={**PROCESSES, **NO_SIGNALS})
def test_one_that_does_not_answer_is_asked_by_a_signal_within_the_same_time(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ANSWER_SECONDS.value < EXPLAIN_SECONDS
    with Miller.options(**launch).spawn() as miller:
        asked = questions_asked(monkeypatch)
        given = time_given_to_faulthandler(monkeypatch)
        os.kill(miller.pid_, signal.SIGSTOP)
        with pytest.raises(CallTimeoutError, match="did not answer") as caught:
            miller.with_(timeout=0.05).ground.get_()
        os.kill(miller.pid_, signal.SIGCONT)
        assert caught.value.remote_stack is None
    assert len(asked) == len(given) == 1
    assert asked[0] is not None
    assert asked[0] + given[0] <= EXPLAIN_SECONDS
