"""An actor with a work loop: which thread runs requests, and what an end of the loop leads to."""

import pytest

from remoteobj import ActorDiedError, NotListeningError
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.lifecycle.actors import NO_PROCESS, NO_THREAD, SpawnError, Worker
from tests.lifecycle.programs import Diary
from tests.tools import Call, until


@pytest.mark.engines(skip=NO_THREAD)
def test_beside_a_work_loop_that_takes_none_requests_run_in_another_thread(
    launch: Launch,
) -> None:
    with Worker.options(**launch).spawn("idle") as worker:
        main = until(lambda: worker.main.get_())
        assert worker.where() != main


@pytest.mark.engines(skip=NO_THREAD)
def test_once_the_work_loop_processes_requests_they_run_in_its_thread_only(
    launch: Launch, gate: Gate
) -> None:
    with Worker.options(**launch).spawn("process", gate) as worker:
        gate.wait_for_arrival()
        assert worker.where() != worker.main.get_()
        gate.open()
        main = worker.main.get_()
        # The takeover happens between two requests; from the first in the main thread on, all are.
        until(lambda: worker.where() == main)
        assert {worker.where() for _ in range(50)} == {main}


def test_an_inline_actor_can_have_no_work_loop() -> None:
    with pytest.raises(ValueError, match="no thread to run it in"):
        Worker.options(engine="inline").spawn("idle")


@pytest.mark.engines(skip=NO_THREAD)
def test_an_actor_whose_work_is_done_goes_on_serving(launch: Launch) -> None:
    with Worker.options(**launch).spawn("return") as worker:
        main = until(lambda: worker.main.get_())
        until(lambda: worker.where() == main)
        assert worker.alive_
        assert worker.how.get_() == "return"
    assert not worker.exc_


@pytest.mark.engines(skip=NO_PROCESS)
def test_work_that_fails_ends_the_actor_and_is_raised_on_leaving(
    launch: Launch, gate: Gate, diary: Diary
) -> None:
    with pytest.raises(SpawnError, match="5: the work failed"):
        with Worker.options(**launch).spawn("raise", gate, diary) as worker:
            gate.wait_for_arrival()
            assert worker.how.get_() == "raise"
            gate.open()
            assert worker.join_(10)
            assert worker.exitcode_ == 1
            for _ in range(2):
                with pytest.raises(ActorDiedError) as caught:
                    worker.where()
                assert isinstance(caught.value.__cause__, SpawnError)
                assert caught.value.maybe_executed is False
            assert [error.code for error in worker.exc_.group("work")] == [5]
    assert diary.lines == ["cleanup"]


def test_a_call_that_waits_when_the_work_fails_has_an_outcome(gate: Gate) -> None:
    """The call that is being executed is finished; the ones behind it are as well."""
    inner = Gate()
    with pytest.raises(SpawnError):
        with Worker.spawn("raise", gate) as worker:
            gate.wait_for_arrival()
            first = Call(worker.passto, _pass_and_say, inner, "first")
            inner.wait_for_arrival()
            second = Call(worker.passto, _say, "second")
            gate.open()
            until(lambda: worker.exc_.group("work"))
            inner.open()
            assert first.wait().value == "first"
            second.wait()
            assert second.value == "second" or isinstance(second.error, ActorDiedError)


def _pass_and_say(obj: object, gate: Gate, word: str) -> str:
    gate.park()
    return word


def _say(obj: object, word: str) -> str:
    return word


@pytest.mark.engines(skip=NO_THREAD)
def test_work_that_calls_sys_exit_ends_the_actor_with_that_code_and_cleans_up(
    launch: Launch, diary: Diary
) -> None:
    worker = Worker.options(**launch).spawn("sys.exit", None, diary)
    assert worker.join_(10)
    assert worker.exitcode_ == 6
    assert diary.lines == ["cleanup"]
    with pytest.raises((ActorDiedError, NotListeningError)):
        worker.where()
    worker.stop_()
