"""Futures of several actors at once: who reads what comes, and that nothing depends on that.

The I/O thread leaves the outcomes to those who ask for them, and looks from time to time whether
they do. Where that must not help, it looks at none here.
"""

import asyncio
import concurrent.futures as cf
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from remoteobj import ActorDiedError, NotListeningError, each, remote
from remoteobj.testing import Gate
from tests.forks import code_of, in_child
from tests.internals import (
    calls_in_flight,
    endless_nap,
    is_read,
    locks_of_future,
    making_locks_of_futures,
    reactor_naps,
    reactor_threads,
    wakes_reactor,
)
from tests.tools import Call, until


@remote
class Env:
    def __init__(self) -> None:
        self.steps = 0

    def step(self, n: int) -> int:
        self.steps += n
        return self.steps

    def wait_at(self, gate: Gate) -> str:
        gate.park()
        return "waited"

    def count(self, n: int) -> Iterator[int]:
        yield from range(n)


@pytest.fixture
def envs() -> Iterator[list[Any]]:
    with ExitStack() as stack:
        spawner = Env.options(start_method="fork")
        yield [stack.enter_context(spawner.spawn()) for _ in range(4)]


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as gate:
        yield gate


def futures_of(envs: list[Any]) -> list[Any]:
    return [env.future_.step(1) for env in envs]


@pytest.fixture
def no_looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with endless_nap(monkeypatch):
        yield


# ------------------------------------------------------------------ who reads


def test_rounds_whose_results_are_asked_for_do_not_wake_the_io_thread(
    envs: list[Any], no_looks: None
) -> None:
    for n in range(1, 30):
        assert [future.result(20) for future in futures_of(envs)] == [n] * 4
        assert not any(map(wakes_reactor, envs))


def test_a_callback_is_told_although_the_io_thread_naps(envs: list[Any], no_looks: None) -> None:
    told: list[Any] = []
    event = threading.Event()

    def tell(future: Any) -> None:
        told.append(future.result())
        event.set()

    first = envs[0].future_.step(1)
    until(reactor_naps)
    first.add_done_callback(tell)
    assert event.wait(20)
    assert told == [1]

    async def awaited() -> Any:
        return await asyncio.wrap_future(envs[1].future_.step(1))

    assert asyncio.run(awaited()) == 1


def test_what_nobody_asks_for_is_settled_all_the_same(envs: list[Any]) -> None:
    futures = futures_of(envs)
    until(lambda: all(future.done() for future in futures))
    assert cf.wait(futures_of(envs), timeout=20).not_done == set()
    assert [future.result() for future in cf.as_completed(futures_of(envs), timeout=20)] == [3] * 4


def test_after_an_outcome_that_nobody_asked_for_the_next_wakes_the_io_thread_at_once(
    envs: list[Any], gate: Gate
) -> None:
    env = envs[0]
    until(env.future_.step(1).done)
    until(lambda: not calls_in_flight(env) and not wakes_reactor(env))
    parked = env.future_.wait_at(gate)
    until(lambda: wakes_reactor(env))  # it registers the connection by itself
    gate.open()
    until(parked.done)
    for _ in range(4):  # until callers are seen to wait again
        waiting = Call(env.future_.wait_at(gate).result)
        gate.wait_for_arrival()
        until(lambda: is_read(env))
        gate.open()
        assert waiting.result() == "waited"
        until(lambda: not wakes_reactor(env))
    gate.wait_for_arrival()

    def is_left_to_its_caller() -> bool:
        assert env.future_.step(1).result(20) == 2
        return not wakes_reactor(env)

    # One may take so long, where others use the processors, that the I/O thread sees to it.
    assert any(is_left_to_its_caller() for _ in range(10))


def test_calls_that_last_cost_no_wake_ups_and_no_calls_no_thread(
    envs: list[Any], gate: Gate
) -> None:
    parked = [env.future_.wait_at(gate) for env in envs]
    until(lambda: all(map(wakes_reactor, envs)) and not reactor_naps())
    for _ in envs:
        gate.open()
    assert [future.result(20) for future in parked] == ["waited"] * 4
    until(lambda: not reactor_threads())
    assert not reactor_naps()


# ------------------------------------------------------------------ in the midst of a round


def test_the_death_of_an_actor_in_the_midst_of_a_round_is_told_by_its_future_alone(
    envs: list[Any], gate: Gate, no_looks: None
) -> None:
    parked = envs[2].future_.wait_at(gate)
    gate.wait_for_arrival()
    futures = futures_of(envs)
    envs[2].kill_()
    found = [future.exception(20) for future in futures]
    assert [type(error) for error in found if error] == [ActorDiedError]
    assert isinstance(found[2], ActorDiedError)
    assert not found[2].maybe_executed
    assert parked.exception(20).maybe_executed


def test_a_death_that_nobody_waits_for_is_told_although_the_io_thread_naps(
    envs: list[Any], gate: Gate
) -> None:
    told = threading.Event()
    parked = envs[0].future_.wait_at(gate)
    parked.add_done_callback(lambda _: told.set())
    unasked = envs[1].future_.wait_at(gate)
    gate.wait_for_arrival()
    gate.wait_for_arrival()
    for env in envs[:2]:
        env.kill_()
    assert told.wait(20)
    until(unasked.done)
    for future in (parked, unasked):
        assert isinstance(future.exception(), ActorDiedError)


def test_several_threads_may_wait_for_the_futures_of_one_round(
    envs: list[Any], gate: Gate, no_looks: None
) -> None:
    parked = [env.future_.wait_at(gate) for env in envs]
    behind = futures_of(envs)
    readers = [Call(future.result, 20) for future in [*parked, *reversed(behind), *behind]]
    for _ in envs:
        gate.open()
    assert [reader.result() for reader in readers] == ["waited"] * 4 + [1] * 8


def test_of_several_threads_that_wait_for_a_stream_each_gets_it(envs: list[Any]) -> None:
    for _ in range(30):
        future = envs[0].future_.count(3)
        readers = [Call(future.result, 20) for _ in range(3)]
        streams = [reader.result() for reader in readers]
        assert streams == [future.result(0)] * 3
        assert list(streams[0]) == [0, 1, 2]


def test_a_callback_may_ask_for_a_stream(envs: list[Any]) -> None:
    told: cf.Future[Any] = cf.Future()
    future = envs[0].future_.count(3)
    future.add_done_callback(lambda one: told.set_result(one.result(20)))
    assert told.result(20) is future.result(20)
    assert list(future.result(20)) == [0, 1, 2]


def test_the_future_of_a_round_gives_a_stream_of_each(envs: list[Any]) -> None:
    for _ in range(10):
        streams = each(envs).future_.count(3).result(20)
        assert [list(stream) for stream in streams] == [[0, 1, 2]] * 4


def test_a_fork_leaves_the_open_futures_of_a_round_to_the_parent(
    envs: list[Any], gate: Gate, no_looks: None
) -> None:
    parked = [env.future_.wait_at(gate) for env in envs]

    def none_is_the_childs() -> bool:
        errors = [future.exception(20) for future in parked]
        for _ in envs:
            gate.open()
        own = [future.result(20) for future in futures_of(envs)]
        return own == [1] * 4 and all(isinstance(error, NotListeningError) for error in errors)

    assert code_of(in_child(none_is_the_childs)) == 0
    assert [future.result(20) for future in parked] == ["waited"] * 4
    assert [future.result(20) for future in futures_of(envs)] == [2] * 4


@pytest.mark.parametrize("asked", [False, True], ids=["new", "looked at"])
def test_a_read_waits_for_no_thread_that_holds_the_locks_of_futures(
    envs: list[Any], gate: Gate, asked: bool
) -> None:
    """That thread may be running a finalizer, which calls the actor that is read from."""
    env = envs[0]
    parked = env.future_.wait_at(gate)
    gate.wait_for_arrival()
    future = env.future_.step(1)
    if asked:
        cf.wait([future], 0)
    with locks_of_future(future) if asked else making_locks_of_futures():
        calling = Call(lambda: env.step(1))
        gate.open()
        assert calling.result() == 2
    assert (parked.result(), future.result()) == ("waited", 1)
