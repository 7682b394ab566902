"""Handles over objects of this process: what they do as the others do, and what a mock refuses."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from remoteobj import Except, Handle, NotListeningError, Proxy, UnsendableError, remote
from remoteobj.testing import fake, mocked


class Camera:
    formats = ("jpeg", "png")

    def __init__(self, gain: int = 1) -> None:
        self.gain = gain
        self.shots: list[float] = []

    def grab(self, exposure: float = 1.0) -> float:
        self.shots.append(exposure)
        return exposure * self.gain

    def frames(self, n: int) -> Iterator[int]:
        yield from range(n)

    def lock(self) -> Any:
        return threading.Lock()

    def fail(self) -> None:
        raise LookupError("no picture")

    @property
    def count(self) -> int:
        return len(self.shots)

    @staticmethod
    def version(part: int) -> int:
        return part

    def __len__(self) -> int:
        return 7


@remote(name="worker")
class Worker:
    def __init__(self) -> None:
        self.turns = 0
        self.home = threading.current_thread().name

    @remote.work
    def run(self) -> None:
        while self.remote.listening_:
            self.turns += 1
            self.remote.poll(0.01)

    @remote.cleanup
    def close(self) -> None:
        raise OSError("stuck")


def test_a_fake_has_the_whole_face_of_a_handle_and_no_process() -> None:
    with fake(Camera, gain=2) as made:
        camera: Any = made
        assert isinstance(camera, Handle)
        assert camera.pid_ == os.getpid()
        assert camera.grab(3.0) == 6.0
        camera.gain = 5
        assert (camera.gain.__, camera.shots[0].__, len(camera), camera.count.__) == (5, 3.0, 7, 1)
        assert list(camera.frames(3)) == [0, 1, 2]
        assert camera.passto(lambda real: real.gain * 2) == 10
        assert camera.future_.grab(2.0).result() == 10.0
        camera.cast_.grab(4.0)
        assert camera.with_(timeout=10).shots.__ == [3.0, 2.0, 4.0]

        async def within() -> Any:
            return await camera.async_.grab(), [one async for one in camera.async_.frames(2)]

        assert asyncio.run(within()) == (5.0, [0, 1])
        with pytest.raises(LookupError, match="no picture"):
            camera.fail()
        assert camera.status_().state == "running"
        ended: list[Any] = []
        camera.on_exit_(ended.append)
        exited = camera.exited_
    assert exited.result(10).reason == "stopped"
    assert (camera.alive_, camera.exitcode_) == (False, 0)
    with pytest.raises(NotListeningError):
        camera.grab()


def test_what_could_not_be_sent_is_not_let_through() -> None:
    given: list[int] = []
    with fake(Camera) as camera:
        with pytest.raises(UnsendableError):
            camera.lock()
        with pytest.raises(UnsendableError):
            camera.grab(threading.Lock())  # type: ignore[arg-type]
        handle: Any = camera
        handle.passto(lambda real, items: items.append(1), given)
    assert given == [], "it got a copy"


def test_a_fake_with_a_work_loop_runs_it_and_has_its_options_and_errors() -> None:
    exc = Except()
    made: Any = fake(Worker)
    assert made.name_ == "worker"
    assert made.home.__ != threading.current_thread().name
    while made.turns.__ < 2:
        pass
    with pytest.raises(OSError, match="stuck"), made:
        pass
    assert not exc


def test_an_object_that_is_here_already_is_faked_by_what_gives_it() -> None:
    real = Camera(3)
    with fake(lambda: real) as camera:
        assert camera.grab(2.0) == 6.0
    assert real.shots == [2.0]


def test_a_fake_takes_the_place_of_spawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "spawn", lambda: fake(Camera, 4), raising=False)

    def program() -> Any:
        with Worker.spawn() as worker:
            return worker.grab(2.0)

    assert program() == 8.0


# ------------------------------------------------------------------ mocks


@pytest.fixture
def mock() -> Iterator[Any]:
    with mocked(Camera, gain=2) as made:
        yield made


def test_a_mock_does_what_it_is_told_and_remembers(mock: Any) -> None:
    assert mock.grab(0.5) is None
    mock.grab.return_value = "a picture"
    assert mock.grab(exposure=1.0) == "a picture"
    assert mock.future_.grab().result() == "a picture"
    mock.grab.side_effect = LookupError("no picture")
    with pytest.raises(LookupError, match="no picture"):
        mock.grab(2.0)
    mock.grab.assert_any_call(0.5)
    mock.grab.assert_called_with(2.0)
    assert mock.grab.call_count.__ == 4
    with pytest.raises(AssertionError, match="Called 4 times"):
        mock.grab.assert_called_once_with(0.5)
    assert mock.passto(lambda made: made.grab.call_args.args) == (2.0,)
    mock.frames.return_value = iter([1, 2])
    assert list(mock.frames(2)) == [1, 2]


def test_a_mock_has_the_names_and_signatures_of_the_class_and_no_others(mock: Any) -> None:
    wrong: list[Callable[[], Any]] = [
        lambda: mock.grab(1.0, 2.0),
        lambda: mock.grab(expose=1.0),
        lambda: mock.version(),
        lambda: mock.frames(),
    ]
    for call in wrong:
        with pytest.raises(TypeError):
            call()
    unknown: list[Callable[[], Any]] = [lambda: mock.garb(1.0), lambda: mock.zoom.__]
    for call in unknown:
        with pytest.raises(AttributeError, match="has no attribute"):
            call()
    assert mock.version(3) is None


def test_a_mock_has_values_where_the_class_or_the_test_says_them(mock: Any) -> None:
    assert (mock.gain.__, mock.formats.__, mock.count.__) == (2, ("jpeg", "png"), None)
    mock.gain = 3
    mock.count = 4
    assert (mock.gain.__, mock.count.__) == (3, 4)


def test_a_mock_of_a_decorated_class_is_one_of_the_object_alone() -> None:
    with mocked(Worker, turns=3) as made:
        worker: Any = made
        assert isinstance(worker, Proxy)
        assert worker.name_.startswith("Worker-")
        assert worker.turns.__ == 3
        assert worker.run() is None
        worker.run.assert_called_once_with()
