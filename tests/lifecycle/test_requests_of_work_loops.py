"""Where requests run beside a work loop, from the first one on, and what ends one of them."""

import contextlib
import threading
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from remoteobj import ActorDiedError, current, remote
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.lifecycle.actors import NO_PROCESS, NO_THREAD
from tests.lifecycle.programs import Diary
from tests.tools import Call, Scripts, ended, until_gone

PROMPT = 2.5
"""Seconds within which a request that is dropped holds nobody up."""


def where(_: object) -> str:
    return threading.current_thread().name


class Base:
    def __init__(self, gate: Gate | None = None) -> None:
        self.gate = gate

    def park(self) -> None:
        """Give requests the time to run beside the loop, if they do."""
        if self.gate is not None:
            self.gate.park()

    def main(self) -> str:
        return threading.main_thread().name


@remote
class Processing(Base):
    @remote.work
    def loop(self) -> None:
        self.park()
        while current().listening_:
            current().process_requests(timeout=None)


@remote
class Polling(Base):
    @remote.work()
    def loop(self) -> None:
        def step() -> None:
            current().poll(timeout=None)

        self.park()
        while current().listening_:
            step()


def logged(method: Callable[[Any], None]) -> Callable[[Any], None]:
    @wraps(method)
    def wrapper(self: Any) -> None:
        method(self)

    return wrapper


@remote
class Decorated(Base):
    @remote.work
    @logged
    def loop(self) -> None:
        self.park()
        while current().listening_:
            current().process_requests(timeout=None)


@remote
class Said(Base):
    @remote.work(requests="loop")
    def loop(self) -> None:
        self.park()
        self.serve()

    def serve(self) -> None:
        while current().listening_:
            current().process_requests(timeout=None)


@remote
class Beside(Base):
    """Its loop takes no requests."""

    @remote.work
    def loop(self) -> None:
        while current().listening_:
            time.sleep(0.001)


@remote
class SaidBeside(Base):
    """Its loop names what it does not call."""

    @remote.work(requests="thread")
    def loop(self) -> None:
        while current().listening_:
            time.sleep(0.001)
        if current().listening_:
            current().process_requests()


@pytest.mark.engines(skip=NO_THREAD)
@pytest.mark.parametrize("cls", [Processing, Polling, Decorated, Said])
def test_a_loop_that_takes_requests_runs_all_of_them_from_the_first_one_on(
    launch: Launch, gate: Gate, cls: Any
) -> None:
    with cls.options(**launch).spawn(gate) as actor:
        gate.wait_for_arrival()
        first = actor.future_.passto(where)
        assert actor.status_().done == 0
        gate.open()
        name = first.result(10)
        assert name == (actor.main() if launch["engine"] == "process" else actor.name_)
        assert {actor.passto(where) for _ in range(20)} == {name}


@pytest.mark.engines(skip=NO_THREAD)
@pytest.mark.parametrize("cls", [Beside, SaidBeside])
def test_a_loop_that_takes_none_has_them_run_beside_it(launch: Launch, cls: Any) -> None:
    with cls.options(**launch).spawn() as actor:
        assert actor.passto(where).startswith("remoteobj-mailbox-")


def test_requests_run_in_the_loop_or_in_a_thread_and_nowhere_else() -> None:
    with pytest.raises(ValueError, match="loop, thread, not 'process'"):
        remote.work(requests="process")  # type: ignore[call-overload]


# ------------------------------------------------------------------ what ends one beside the loop


@remote
class Camera:
    """Takes pictures in its loop; what is asked of it runs beside that."""

    def __init__(self, diary: Diary) -> None:
        self.diary = diary

    @remote.work
    def loop(self) -> None:
        while current().listening_:
            time.sleep(0.001)

    def compute(self, gate: Gate) -> None:
        """In Python, for ever."""
        try:
            gate.arrive()
            while True:
                pass
        finally:
            self.diary.add("finally")

    def sleep(self, gate: Gate) -> None:
        """In the kernel, where no exception gets through."""
        gate.arrive()
        time.sleep(60)

    def go_on(self, gate: Gate) -> None:
        """In Python, whatever comes."""
        gate.arrive()
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(0.001)

    def ping(self) -> str:
        return "pong"

    @remote.cleanup
    def close(self) -> None:
        self.diary.add("cleanup")


BUSY = ["compute", "sleep", "go_on"]


@pytest.mark.engines(skip=NO_PROCESS)
@pytest.mark.parametrize("method", BUSY)
def test_sigterm_drops_a_request_beside_the_loop_and_cleans_up(
    launch: Launch, diary: Diary, gate: Gate, method: str
) -> None:
    with ended(Camera.options(**launch).spawn(diary)) as camera:
        running = Call(getattr(camera, method), gate)
        gate.wait_for_arrival()
        behind = camera.future_.ping()
        camera.terminate_()
        assert camera.join_(PROMPT)
        assert camera.exitcode_ == -15
        error = running.wait().error
        assert isinstance(error, ActorDiedError)
        assert error.maybe_executed is True
        assert getattr(behind.exception(10), "maybe_executed", False) is False
    assert diary.lines == (["finally", "cleanup"] if method == "compute" else ["cleanup"])


@pytest.mark.parametrize("method", BUSY)
def test_a_stop_that_takes_too_long_drops_it_and_cleans_up(
    diary: Diary, gate: Gate, method: str
) -> None:
    camera = Camera.options(stop_timeout=0.3).spawn(diary)
    running = Call(getattr(camera, method), gate)
    gate.wait_for_arrival()
    with pytest.raises(ActorDiedError, match=r"within 0\.3 s and was ended by SIGTERM"):
        with camera:
            pass
    assert camera.exitcode_ == -15
    assert isinstance(running.wait().error, ActorDiedError)
    assert diary.lines[-1] == "cleanup"


@pytest.mark.parametrize("method", BUSY)
def test_an_actor_whose_owner_is_killed_drops_it_and_cleans_up(
    script: Scripts, diary: Diary, gate: Gate, method: str, tmp_path: Path
) -> None:
    owner = script(
        """
        from remoteobj.testing import Gate
        from tests.lifecycle.programs import Diary
        from tests.lifecycle.test_requests_of_work_loops import Camera
        from pathlib import Path
        camera = Camera.spawn(Diary(Path(sys.argv[2])))
        print(camera.pid_, flush=True)
        getattr(camera, sys.argv[3])(Gate(sys.argv[4]))
        """,
        tmp_path,
        method,
        gate.directory,
    )
    actor = int(owner.line())
    gate.wait_for_arrival()
    owner.process.kill()
    assert until_gone(actor, PROMPT)
    assert diary.lines[-1] == "cleanup"


def test_an_orderly_stop_finishes_a_request_beside_the_loop(diary: Diary, gate: Gate) -> None:
    @remote
    class Parking(Camera):
        def wait(self, gate: Gate) -> str:
            gate.park()
            return "waited"

    with Parking.spawn(diary) as camera:
        running = Call(camera.wait, gate)
        gate.wait_for_arrival()
        stopping = Call(camera.stop_)
        gate.open()
        assert running.result() == "waited"
        stopping.result()
        assert camera.exitcode_ == 0
