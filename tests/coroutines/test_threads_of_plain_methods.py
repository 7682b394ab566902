"""Plain methods in several threads, where `max_concurrency` asks for it."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from remoteobj import ActorDiedError, current, remote
from remoteobj.testing import Gate
from tests.conftest import LAUNCHES
from tests.coroutines.actors import Friend
from tests.tools import until

WAYS = ("fork", "spawn")


@remote
class Hall:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.begun: list[Any] = []
        self.doors: dict[str, threading.Event] = {}
        self.closed = 0

    def _door(self, name: str) -> threading.Event:
        with self.lock:
            return self.doors.setdefault(name, threading.Event())

    def pass_door(self, name: str) -> str:
        self.begun.append(name)
        self._door(name).wait()
        return threading.current_thread().name

    def open(self, name: str) -> None:
        self._door(name).set()

    def count(self, n: int) -> Iterator[int]:
        try:
            yield from range(n)
        finally:
            self.closed += 1

    def fail(self) -> None:
        raise KeyError("lost")

    def who_am_i(self) -> bool:
        return bool(self.remote == current())

    def ask(self, friend: Any) -> Any:
        return friend.call_back(self.remote, "answer")

    def answer(self, words: str) -> str:
        return words


@pytest.fixture(scope="module", params=WAYS)
def hall(request: pytest.FixtureRequest) -> Iterator[Any]:
    with Hall.options(max_concurrency=3, **LAUNCHES[request.param]).spawn() as made:
        made.future_.who_am_i().result(5)  # what a connection needs for futures stays with it
        yield made


def test_they_run_in_so_many_threads(hall: Any) -> None:
    hall.begun = []
    futures = [hall.future_.pass_door(name) for name in "ab"]
    until(lambda: sorted(hall.begun.get_()) == ["a", "b"])
    hall.open("b")
    second = futures[1].result(5)
    assert not futures[0].done()
    hall.open("a")
    assert futures[0].result(5) != second


def test_no_more_run_than_may(hall: Any, gate: Gate) -> None:
    waiting = [hall.future_.pass_door(name) for name in ("full", "full")]
    parked = hall.future_.passto(_park, gate)
    gate.wait_for_arrival()
    late = hall.future_.who_am_i()
    until(lambda: len(hall.status_().queued) == 1)
    assert not late.done()
    gate.open()
    assert late.result(5)
    assert parked.result(5) is None
    hall.open("full")
    assert len({one.result(5) for one in waiting}) == 2


def _park(_: Any, gate: Gate) -> None:
    gate.park()


def test_streams_flow_side_by_side_and_are_closed(hall: Any) -> None:
    hall.closed = 0
    streams = [hall.count(100) for _ in range(4)]
    assert [sum(row) for row in zip(*streams, strict=True)] == [4 * i for i in range(100)]
    early = hall.count(100)
    assert next(early) == 0
    early.close()
    until(lambda: hall.closed.get_() == 5)


def test_errors_and_the_actors_own_proxy_are_as_ever(hall: Any) -> None:
    with pytest.raises(KeyError, match="lost"):
        hall.fail()
    assert all(one.result(5) for one in [hall.future_.who_am_i() for _ in range(6)])


def test_what_the_waiting_threads_need_is_begun_in_one_more(hall: Any) -> None:
    with Friend.spawn() as friend:
        futures = [hall.future_.ask(friend) for _ in range(9)]
        assert [one.result(10) for one in futures] == ["called back"] * 9


@pytest.mark.parametrize("engine", ["process", "thread"])
def test_a_stop_waits_for_all_threads(engine: str) -> None:
    hall = Hall.options(max_concurrency=2, engine=engine).spawn()
    assert all(one.result(5) for one in [hall.future_.who_am_i() for _ in range(6)])
    waiting = hall.future_.pass_door("last")
    until(lambda: hall.begun.get_() == ["last"])
    opener = hall.future_.open("last")
    hall.stop_()
    assert "worker" in waiting.result(0)
    assert opener.result(0) is None


def test_a_stop_interrupts_what_nobody_waits_for() -> None:
    with Hall.options(max_concurrency=2).spawn() as hall:
        future = hall.future_.passto(_spin)
        until(lambda: hall.begun.get_() == ["spinning"])
        future.cancel()


def _spin(hall: Any) -> None:
    hall.begun.append("spinning")
    while True:
        threading.Event().wait(0.001)


def test_what_does_not_end_is_ended_by_the_time_limit_of_the_stop() -> None:
    hall = Hall.options(max_concurrency=2).spawn()
    future = hall.future_.passto(_spin)
    until(lambda: hall.begun.get_() == ["spinning"])
    with pytest.raises(ActorDiedError, match="did not stop within"), hall:
        hall.stop_(timeout=0.1)
    with pytest.raises(ActorDiedError) as caught:
        future.result(0)
    assert caught.value.maybe_executed
