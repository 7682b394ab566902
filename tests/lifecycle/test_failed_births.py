"""Actors that are not born: what their callers are told, and what the log."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

import remoteobj
from remoteobj import (
    ActorDiedError,
    CallTimeoutError,
    Except,
    NotListeningError,
    SpawnTimeoutError,
)
from remoteobj.testing import Gate
from tests.conftest import NO_CODES, Launch
from tests.lifecycle.cameras import ONE_PROCESS, ONE_THREAD, Camera, NoFilmError, start
from tests.tools import Call, until

# ------------------------------------------------------------------ births that fail


@pytest.mark.engines(skip=ONE_THREAD)
def test_every_call_raises_what_init_raised(
    launch: Launch, gate: Gate, told: Callable[[], list[str]]
) -> None:
    camera = start(launch, gate, "raise")
    early = camera.future_.take(0)
    waiting = Call(camera.take, 1)
    gate.open()
    assert isinstance(waiting.wait().error, NoFilmError)
    with pytest.raises(NoFilmError):
        early.result()
    for look in (LOOKS["call"], LOOKS["future"], LOOKS["ready_"]):
        with pytest.raises(NoFilmError, match="no film"):
            look(camera)
    assert not camera.alive_
    assert [type(error) for error in camera.exc_.group("init")] == [NoFilmError]
    del camera
    assert told() == []


@pytest.mark.engines(skip={**ONE_PROCESS, **NO_CODES})
def test_every_call_raises_the_death_of_a_process_that_ends_within_init(
    launch: Launch, gate: Gate
) -> None:
    camera = start(launch, gate, "die")
    early = camera.future_.take(0)
    waiting = Call(camera.take, 1)
    gate.open()
    assert isinstance(waiting.wait().error, ActorDiedError)
    for act in (early.result, lambda: camera.take(1), camera.ready_):
        with pytest.raises(ActorDiedError, match="SIGKILL"):
            act()


@pytest.mark.engines(skip=ONE_THREAD)
def test_ready_raises_that_the_start_took_too_long(launch: Launch, gate: Gate) -> None:
    camera = start(launch, gate, spawn_timeout=0.2)
    with pytest.raises(SpawnTimeoutError, match=r"not ready after 0\.2 s"):
        camera.ready_()
    with pytest.raises(SpawnTimeoutError):
        camera.take(1)
    gate.open()
    until(lambda: not camera.alive_)


@pytest.mark.engines(skip=ONE_PROCESS)
def test_a_stop_waits_for_a_birth_no_longer_than_the_start_may_take(
    launch: Launch, gate: Gate
) -> None:
    camera = start(launch, gate, spawn_timeout=0.2, stop_timeout=60.0)
    camera.stop_()
    assert not camera.alive_
    with pytest.raises(SpawnTimeoutError, match=r"not ready after 0\.2 s"):
        camera.exc_.raise_any("init")


@pytest.mark.engines(skip=ONE_THREAD)
@pytest.mark.parametrize("wait_by", ["call", "future", "await"])
def test_a_call_raises_that_the_start_took_too_long(
    launch: Launch, gate: Gate, wait_by: str
) -> None:
    camera = start(launch, gate, spawn_timeout=0.2)

    async def awaited() -> None:
        await camera.async_.take(1)

    ways: dict[str, Callable[[], object]] = {
        "call": lambda: camera.take(1),
        "future": lambda: camera.future_.take(1).result(),
        "await": lambda: asyncio.run(awaited()),
    }
    with pytest.raises(SpawnTimeoutError, match=r"not ready after 0\.2 s"):
        ways[wait_by]()
    with pytest.raises(SpawnTimeoutError):
        camera.ready_()
    gate.open()
    until(lambda: not camera.alive_)


def test_the_time_of_a_start_counts_from_its_beginning(gate: Gate) -> None:
    camera = start({}, gate, spawn_timeout=0.1)
    assert camera.join_(10), "nobody waits, and it is ended all the same"
    with pytest.raises(SpawnTimeoutError):
        camera.ready_()


def test_ready_with_a_limit_of_its_own_lets_the_start_go_on(gate: Gate) -> None:
    camera = start({}, gate)
    gate.wait_for_arrival()

    def stack() -> str:
        with pytest.raises(CallTimeoutError, match=r"was not ready within 0\.05 s") as caught:
            camera.ready_(timeout=0.05)
        return caught.value.remote_stack or ""

    until(lambda: "park" in stack())  # a busy machine may leave it no time to say so
    gate.open()
    camera.ready_()
    assert camera.take(1) == [1]
    camera.stop_()


def test_what_cannot_be_pickled_is_raised_by_spawn_itself(start_method: str) -> None:
    if start_method == "fork":
        pytest.skip("pickles nothing")
    with pytest.raises(remoteobj.UnsendableError):
        start({"start_method": start_method}, threading.Lock())


def test_a_request_of_others_is_refused_when_init_fails(gate: Gate) -> None:
    """Another actor that has its proxy calls it while it is being made."""
    camera = start({}, gate, "raise")
    gate.wait_for_arrival()
    with Camera.spawn() as other:
        asked = other.future_.ask(camera)
        until(lambda: other.status_().call)
        gate.open()
        with pytest.raises((NotListeningError, ActorDiedError)):
            asked.result(10)
    with pytest.raises(NoFilmError):
        camera.ready_()


# ------------------------------------------------------------------ failures that nobody sees


@pytest.mark.parametrize("then", ["raise", "die"])
def test_a_birth_that_failed_unseen_is_told(
    then: str, gate: Gate, told: Callable[[], list[str]]
) -> None:
    camera = start({}, gate, then)
    gate.open()
    camera.join_(10)
    camera.stop_()
    assert told() == [], "somebody may still look"
    del camera
    until(lambda: len(told()) == 1)
    assert ("no film" if then == "raise" else "SIGKILL") in told()[0]


def test_a_start_that_took_too_long_unseen_is_told(
    gate: Gate, told: Callable[[], list[str]]
) -> None:
    camera = start({}, gate, spawn_timeout=0.05)
    camera.join_(10)
    camera.stop_()
    del camera
    until(lambda: len(told()) == 1)
    assert "not ready after 0.05 s" in told()[0]


LOOKS: dict[str, Callable[[Any], object]] = {
    "ready_": lambda camera: camera.ready_(),
    "call": lambda camera: camera.take(1),
    "future": lambda camera: camera.future_.take(1).result(),
    "exc_": lambda camera: camera.exc_.raise_any("init"),
    "with": lambda camera: camera.__enter__(),
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_birth_that_failed_and_was_seen_is_not_told(
    look: str, gate: Gate, told: Callable[[], list[str]]
) -> None:
    camera = start({}, gate, "raise")
    gate.open()
    camera.join_(10)
    with pytest.raises(NoFilmError):
        LOOKS[look](camera)
    camera.stop_()
    del camera
    assert told() == []


def test_what_spawn_raises_is_not_told(launch: Launch, told: Callable[[], list[str]]) -> None:
    exc = Except()
    with pytest.raises(NoFilmError):
        Camera.options(exc=exc, **launch).spawn(None, "raise")
    del exc
    assert told() == []
