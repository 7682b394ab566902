"""Which errors of an actor are raised at the end of its `with` block and kept in `exc_`."""

import os
import signal
from typing import Any, Never

import pytest

from remoteobj import ActorDiedError, Except, RemoteError, remote
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.lifecycle.actors import Counter, Patient, SpawnError, Stillborn
from tests.lifecycle.programs import Diary
from tests.tools import Call


@remote
class Untidy:
    def __init__(self, diary: Diary | None = None) -> None:
        self.diary = diary

    def ping(self) -> str:
        return "pong"

    @remote.cleanup
    def close(self) -> None:
        if self.diary is not None:
            self.diary.add("cleanup")
        raise OSError("the lens is stuck")


def test_an_error_of_cleanup_is_raised_on_leaving(launch: Launch) -> None:
    actor = Untidy.options(**launch).spawn()
    with pytest.raises(OSError, match="the lens is stuck"):
        with actor:
            assert actor.ping() == "pong"
    assert [str(error) for error in actor.exc_.group("cleanup")] == ["the lens is stuck"]


def test_a_lifecycle_error_on_leaving_is_chained_to_the_error_of_the_body(
    launch: Launch,
) -> None:
    with pytest.raises(OSError, match="the lens is stuck") as caught:
        with Untidy.options(**launch).spawn():
            raise KeyError("body")
    assert isinstance(caught.value.__context__, KeyError)


def test_the_last_lifecycle_error_is_the_one_that_is_raised(diary: Diary) -> None:
    @remote
    class Doomed:
        @remote.work
        def loop(self) -> Never:
            raise ValueError("work")

        @remote.cleanup
        def close(self) -> Never:
            raise OSError("cleanup")

    actor = Doomed.spawn()
    with pytest.raises(OSError, match="cleanup"):
        with actor:
            assert actor.join_(10)
    with pytest.raises(ValueError, match="work"):
        actor.exc_.raise_any("work")


def test_an_except_of_the_user_s_own_gets_the_errors() -> None:
    exc = Except()
    with pytest.raises(OSError, match="the lens is stuck"):
        with Untidy.options(exc=exc).spawn() as actor:
            assert actor.exc_ is exc
    assert [str(error) for error in exc.group("cleanup")] == ["the lens is stuck"]
    exc.close()


def test_errors_of_an_earlier_actor_are_not_raised_by_a_later_one_with_the_same_except() -> None:
    exc = Except()
    with pytest.raises(SpawnError):
        Stillborn.options(exc=exc).spawn("raise")
    with Counter.options(exc=exc).spawn() as counter:
        assert counter.add() == 1
    exc.close()


def test_a_stop_by_force_is_recorded_by_an_except_that_is_for_other_types(
    diary: Diary, gate: Gate
) -> None:
    exc = Except(KeyError)
    actor = Patient.options(stop_timeout=0.1, exc=exc).spawn(diary)
    call = Call(actor.wait_at, gate)
    gate.wait_for_arrival()
    actor.stop_()
    assert [type(error) for error in exc.group("cleanup")] == [ActorDiedError]
    assert call.wait().error is not None
    exc.close()


def test_leaving_raises_the_death_that_nobody_was_told_of() -> None:
    with pytest.raises(ActorDiedError, match="SIGKILL"):
        with Counter.spawn() as counter:
            os.kill(counter.pid_, signal.SIGKILL)
            assert counter.join_(10)


def test_the_errors_of_an_actor_that_has_ended_can_be_forgotten(launch: Launch) -> None:
    def fail(_: Any) -> None:
        raise ValueError("of a cast")

    actor = Counter.options(**launch).spawn()
    actor.cast_.passto(fail)
    actor.stop_()
    assert len(actor.exc_) == 1
    actor.exc_.clear("work")
    assert len(actor.exc_) == 0
    with actor:
        pass


@remote
class FailsInCleanup:
    def __init__(self, how: str) -> None:
        self.how = how

    @remote.cleanup
    def close(self) -> None:
        if self.how == "os._exit":
            os._exit(7)
        raise KeyboardInterrupt(self.how)


@remote
class FailsInWork:
    @remote.work
    def loop(self) -> None:
        raise KeyboardInterrupt("in the loop")


def test_an_interrupt_in_the_cleanup_is_raised_on_leaving() -> None:
    actor = FailsInCleanup.spawn("in the cleanup")
    with pytest.raises((KeyboardInterrupt, RemoteError)) as caught:
        with actor:
            pass
    assert "in the cleanup" in str(caught.value)
    assert len(actor.exc_.group("cleanup")) == 1


def test_a_death_in_the_cleanup_is_raised_on_leaving() -> None:
    with pytest.raises(ActorDiedError) as caught:
        with FailsInCleanup.spawn("os._exit"):
            pass
    assert caught.value.exitcode == 7


def test_an_interrupt_in_the_work_is_raised_on_leaving() -> None:
    actor = FailsInWork.spawn()
    with pytest.raises((KeyboardInterrupt, RemoteError)) as caught:
        with actor:
            actor.join_(10)
    assert "in the loop" in str(caught.value)
    assert len(actor.exc_.group("work")) == 1
