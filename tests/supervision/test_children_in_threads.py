"""Children in threads, which can be told to stop, and can't be ended when they do not."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from remoteobj import RestartLimitError, Supervisor, remote
from remoteobj.testing import Gate
from tests.lifecycle.programs import Diary
from tests.supervision.children import Child
from tests.supervision.family import settled, spawn_all
from tests.tools import Call, until


@remote
class Blocking(Child):
    """Can be kept in a call until a gate is opened."""

    def block(self, gate: Gate) -> None:
        gate.park()


@pytest.fixture
def gate() -> Iterator[Gate]:
    """It is open at the end, else the threads that wait there would be left."""
    with Gate() as one:
        yield one
        one.open()


def blocked(supervisor: Supervisor, diary: Diary, gate: Gate) -> list[Any]:
    """Two children: b does not stop before the gate is open, and a has failed."""
    (a,) = spawn_all(supervisor, diary, "a")
    b: Any = supervisor.spawn(Blocking, "b", diary)
    b.cast_.block(gate)
    gate.wait_for_arrival()
    a.cast_.finish("loop")
    return [a, b]


def is_waited_for(child: Any) -> bool:
    """Whether a thread waits for it to end."""
    name = f"remoteobj-start-{child.name_}"
    return any(thread.name == name for thread in threading.enumerate())


def test_one_that_does_not_stop_in_time_is_restarted_once_it_has_ended(
    diary: Diary, gate: Gate
) -> None:
    with Supervisor("one-for-all", engine="thread", stop_timeout=0.05) as supervisor:
        a, b = blocked(supervisor, diary, gate)
        until(lambda: is_waited_for(b))
        assert (a.restarts_, b.restarts_) == (1, 0)
        gate.open()
        until(lambda: b.restarts_ == 1 and settled())
        assert [a.call(), b.call()] == [1, 1]
        assert "did not stop within 0.05 s and goes on" in str(b.exc_.get("cleanup"))
        assert a.restarts_ == 1
        a.exc_.clear()
        b.exc_.clear()


def test_if_one_runs_on_for_longer_than_a_start_may_take_its_supervisor_has_failed(
    diary: Diary, gate: Gate
) -> None:
    options: dict[str, Any] = {"stop_timeout": 0.05, "spawn_timeout": 0.3}
    supervisor = Supervisor("rest-for-one", engine="thread", **options)
    a, b = blocked(supervisor, diary, gate)
    with pytest.raises(RestartLimitError, match=r"still runs 0\.3 s after") as raised, supervisor:
        assert supervisor.wait(20)
        gate.open()
    assert [report.name for report in raised.value.reports] == [a.name_, b.name_]
    assert b.restarts_ == 0
    a.exc_.clear()
    b.exc_.clear()


def test_a_failure_of_another_one_meanwhile_is_seen_to_at_once(diary: Diary, gate: Gate) -> None:
    with Supervisor("one-for-all", engine="thread", stop_timeout=0.05) as supervisor:
        a, b = blocked(supervisor, diary, gate)
        until(lambda: is_waited_for(b) and a.restarts_ == 1)
        a.cast_.finish("loop")
        until(lambda: is_waited_for(b) and a.restarts_ == 2)
        gate.open()
        until(lambda: b.restarts_ == 1 and settled())
        assert [a.call(), b.call()] == [1, 1]
        a.exc_.clear()
        b.exc_.clear()


def test_who_stops_the_supervisor_does_not_wait_for_it(diary: Diary, gate: Gate) -> None:
    supervisor = Supervisor("one-for-all", engine="thread", stop_timeout=0.05)
    a, b = blocked(supervisor, diary, gate)
    until(lambda: is_waited_for(b))
    Call(supervisor.stop).result()
    assert settled()
    assert (b.restarts_, b.alive_) == (0, True)
    gate.open()
    assert b.join_(10)
    a.exc_.clear()
    b.exc_.clear()
