"""A handle before its actor is born, which is what `wait=False` gives."""

import asyncio
import contextlib
import gc
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import remoteobj
from remoteobj import (
    ActorDiedError,
    CallTimeoutError,
    NotListeningError,
    remote,
)
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.lifecycle.cameras import ONE_PROCESS, ONE_THREAD, Camera, NoFilmError, start
from tests.tools import Call, Scripts, until_gone


@remote
class Poll:
    """Has a name itself that is a proxy's own otherwise."""

    def __init__(self, gate: Gate) -> None:
        gate.park()

    def poll(self) -> str:
        return "its own"


# ------------------------------------------------------------------ calls before the birth


@pytest.mark.engines(skip=ONE_THREAD)
def test_spawn_gives_the_handle_before_init_has_run_and_calls_wait_for_it(
    launch: Launch, gate: Gate
) -> None:
    with start(launch, None) as warm:  # which has begun what later starts share
        warm.take(0)
    camera = start(launch, gate)
    gate.wait_for_arrival()
    call = Call(camera.take, 1)
    assert call.running
    gate.open()
    assert call.wait().value == [1]
    camera.stop_()


@pytest.mark.engines(skip=ONE_THREAD)
def test_calls_run_in_the_order_they_were_made_in_before_the_birth_and_after_it(
    launch: Launch, gate: Gate
) -> None:
    camera = start(launch, gate)
    gate.wait_for_arrival()
    first = camera.future_.take(1)
    camera.cast_.take(2)
    third = camera.future_.take(3)
    assert not first.done()
    gate.open()
    assert camera.take(4) == [1, 2, 3, 4]
    assert (first.result(), third.result()) == ([1], [1, 2, 3])
    camera.stop_()


@pytest.mark.engines(skip=ONE_THREAD)
def test_an_await_before_the_birth_waits_for_it(launch: Launch, gate: Gate) -> None:
    async def main() -> None:
        camera = start(launch, gate)
        waiting = asyncio.ensure_future(camera.async_.take(1))
        await asyncio.sleep(0)
        gate.open()
        assert await waiting == [1]
        async with camera:
            assert await camera.async_.take(2) == [1, 2]

    asyncio.run(main())


def test_the_time_limit_of_a_call_holds_before_the_birth(gate: Gate) -> None:
    camera = start({}, gate)
    gate.wait_for_arrival()
    with pytest.raises(CallTimeoutError):
        camera.with_(timeout=0.05).take(1)
    with pytest.raises(CallTimeoutError):
        camera.with_(timeout=0.05).future_.take(2).result()
    gate.open()
    assert camera.take(3) == [3], "those that were given up before they began never begin"
    camera.stop_()


def test_a_call_that_is_late_does_not_kill_a_process_that_takes_no_signals_yet(
    start_method: str,
) -> None:
    """A signal that asks for stacks would end a process that has not prepared for it."""
    camera = start({"start_method": start_method})
    with contextlib.suppress(CallTimeoutError):  # if it is as slow as usual
        camera.with_(timeout=0.0).take(1)
    assert 2 in camera.take(2)
    camera.stop_()


@pytest.mark.engines(skip=ONE_THREAD)
def test_a_name_that_is_a_proxys_own_is_the_objects_if_that_has_it(
    launch: Launch, gate: Gate
) -> None:
    poll = Poll.options(wait=False, **launch).spawn(gate)
    asked = Call(lambda: poll.poll())
    assert asked.running
    gate.open()
    assert asked.wait().value == "its own"
    poll.stop_()


@pytest.mark.engines(skip=ONE_THREAD)
def test_status_says_that_it_is_starting(launch: Launch, gate: Gate) -> None:
    camera = start(launch, gate)
    gate.wait_for_arrival()
    assert camera.status_().state == "starting"
    gate.open()
    camera.ready_()
    assert camera.status_().state == "running"
    camera.stop_()


# ------------------------------------------------------------------ side by side

MANY = 16


def test_all_starts_run_side_by_side(start_method: str) -> None:
    with Gate() as gate:
        cameras = [start({"start_method": start_method}, gate) for _ in range(MANY)]
        for _ in range(MANY):
            gate.wait_for_arrival(30.0)
        for _ in range(MANY):
            gate.open()
        futures = [camera.future_.take(n) for n, camera in enumerate(cameras)]
        assert [future.result() for future in futures] == [[n] for n in range(MANY)]
        for camera in cameras:
            camera.stop_()


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """New interpreters wait at their start until somebody opens this file to write."""
    with remoteobj.options(start_method="spawn").spawn(list):
        pass  # the processes that serve all starts run from now on
    os.mkfifo(tmp_path / "held")
    (tmp_path / "sitecustomize.py").write_text(f"open({str(tmp_path / 'held')!r}).close()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path / "held"


def test_a_program_that_is_larger_than_a_pipe_holds_up_no_start(held: Path) -> None:
    """The new interpreter reads nothing before the test has seen that `spawn` has returned."""
    size = 1 << 20
    spawner = remoteobj.options(start_method="spawn", wait=False)
    data = spawner.spawn(bytearray, bytes(size))
    held.open("w").close()
    assert len(data) == size
    data.stop_()


def test_large_programs_arrive_whole(start_method: str) -> None:
    spawner = remoteobj.options(start_method=start_method, wait=False)
    large = [bytes([n]) * (1 << n) for n in (13, 14, 15, 18)]
    actors = [spawner.spawn(bytearray, one) for one in large]
    assert [bytes(actor.passto(bytes)) for actor in actors] == large
    for actor in actors:
        actor.stop_()


# ------------------------------------------------------------------ the end before the birth


@pytest.mark.engines(skip=ONE_THREAD)
def test_a_stop_before_the_birth_lets_what_was_asked_be_done(launch: Launch, gate: Gate) -> None:
    camera = start(launch, gate)
    gate.wait_for_arrival()
    early = camera.future_.take(1)
    stopping = Call(camera.stop_)
    assert stopping.running
    gate.open()
    assert stopping.wait().error is None
    assert early.result() == [1]
    assert not camera.alive_


@pytest.mark.engines(skip=ONE_PROCESS)
def test_a_kill_before_the_birth_ends_all_that_wait(launch: Launch, gate: Gate) -> None:
    camera = start(launch, gate)
    gate.wait_for_arrival()
    waiting = Call(camera.ready_)
    early = camera.future_.take(1)
    camera.kill_()
    assert isinstance(waiting.wait().error, ActorDiedError)
    with pytest.raises(ActorDiedError):
        early.result()
    camera.stop_()


@pytest.mark.engines(skip=ONE_THREAD)
def test_an_actor_whose_handle_is_dropped_before_the_birth_ends(launch: Launch, gate: Gate) -> None:
    camera = start(launch, gate)
    gate.wait_for_arrival()
    ended = camera.exited_
    del camera
    gc.collect()
    gate.open()
    assert ended.result(10).reason == "stopped"


def test_a_stop_that_takes_too_long_ends_an_init_by_force(gate: Gate) -> None:
    camera = start({}, gate, stop_timeout=0.1)
    gate.wait_for_arrival()
    camera.stop_()
    assert not camera.alive_
    assert "did not stop within 0.1 s" in str(camera.exc_.last("cleanup"))


def test_with_waits_for_the_birth_before_its_block(launch: Launch) -> None:
    with start(launch) as camera:
        assert camera.status_().state == "running"
    assert not camera.alive_


@pytest.mark.engines(skip=ONE_THREAD)
def test_with_raises_what_init_raised_before_its_block(launch: Launch, gate: Gate) -> None:
    camera = start(launch, gate, "raise")
    gate.open()
    with pytest.raises(NoFilmError), camera:
        raise AssertionError("the block must not run")
    assert not camera.alive_


def test_ctrl_c_while_ready_waits_leaves_the_actor_as_it_is(script: Scripts, gate: Gate) -> None:
    started = script(
        """
        from remoteobj.testing import Gate
        from tests.lifecycle.cameras import say_once_main_sleeps
        @remote
        class Slow:
            def __init__(self, directory):
                Gate(directory).park()
            def answer(self):
                return "the answer"
        slow = Slow.options(wait=False).spawn(sys.argv[2])
        try:
            say_once_main_sleeps("waiting")
            slow.ready_()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        slow.ready_()
        print(slow.answer(), flush=True)
        """,
        gate.directory,
    )
    assert started.line() == "waiting"
    gate.wait_for_arrival()
    os.killpg(started.process.pid, signal.SIGINT)
    assert started.line() == "interrupted"
    gate.open()
    assert started.line() == "the answer"
    assert started.finish() == (0, "", "")


def test_ctrl_c_while_with_waits_for_the_birth_leaves_no_actor(script: Scripts, gate: Gate) -> None:
    started = script(
        """
        from remoteobj.testing import Gate
        from tests.lifecycle.cameras import say_once_main_sleeps
        @remote
        class Slow:
            def __init__(self, directory):
                Gate(directory).park()
        slow = Slow.options(wait=False).spawn(sys.argv[2])
        try:
            say_once_main_sleeps(slow.pid_)
            with slow:
                print("ready", flush=True)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        sys.stdin.read()
        """,
        gate.directory,
    )
    actor = int(started.line())
    gate.wait_for_arrival()
    os.killpg(started.process.pid, signal.SIGINT)
    assert started.line() == "interrupted"
    assert until_gone(actor, 2.0)


# ------------------------------------------------------------------ other processes


def call_it(camera: Any) -> None:
    camera.take(5)


def test_a_handle_that_leaves_before_the_birth_can_be_called_from_there(
    start_method: str, gate: Gate
) -> None:
    """Inherited by a fork, or pickled: the actor may not have begun to listen at that moment."""
    context: Any = multiprocessing.get_context(start_method)
    camera = start({"start_method": start_method}, gate)
    process = context.Process(target=call_it, args=(camera,))
    process.start()
    gate.wait_for_arrival()
    gate.open()
    process.join(20)
    assert process.exitcode == 0
    assert camera.take(6) == [5, 6]
    camera.stop_()


def test_an_actor_that_is_given_an_unborn_one_calls_it(start_method: str, gate: Gate) -> None:
    camera = start({"start_method": start_method}, gate)
    with Camera.options(start_method=start_method).spawn() as other:
        asked = other.future_.ask(camera)
        gate.open()
        assert asked.result(20) == [7]
    camera.stop_()


def test_a_handle_is_handed_on_once_the_actor_can_be_called(held: Path) -> None:
    with Camera.options(start_method="fork").spawn() as other:
        camera = start({"start_method": "spawn"})
        asked = Call(other.ask, camera)
        assert asked.running
        held.open("w").close()
        assert asked.wait().value == [7]
        camera.stop_()


def test_a_forked_copy_of_the_handle_finds_an_actor_that_is_about_to_listen(
    held: Path, gate: Gate
) -> None:
    camera = start({"start_method": "spawn"})

    def call() -> None:
        gate.arrive()
        camera.take(5)

    process = multiprocessing.get_context("fork").Process(target=call)
    process.start()
    gate.wait_for_arrival()
    held.open("w").close()
    process.join(20)
    assert process.exitcode == 0
    assert camera.take(6) == [5, 6]
    camera.stop_()


def test_a_forked_copy_of_the_owner_can_not_wait_for_the_birth(gate: Gate) -> None:
    camera = start({}, gate)
    gate.wait_for_arrival()

    def ask() -> None:
        try:
            camera.ready_()
        except NotListeningError:
            os._exit(7)

    process = multiprocessing.get_context("fork").Process(target=ask)
    process.start()
    process.join(10)
    assert process.exitcode == 7
    gate.open()
    camera.stop_()
