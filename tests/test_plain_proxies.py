"""A plain proxy in a process of the user's own: who listens, where requests run, how it ends."""

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from remoteobj import ActorDiedError, NotListeningError, Proxy, SpawnTimeoutError
from remoteobj.testing import Gate
from tests.internals import Flag, Kind, address_of, new_clients_of, until_sent
from tests.strangers import RawClient, frame
from tests.tools import Call, process, until

PROMPT = 1.0


# ------------------------------------------------------------------ objects


class Camera:
    """Has its proxy as an attribute, as in the first version's examples."""

    def __init__(self, **options: Any) -> None:
        self.remote = Proxy(self, **options)
        self.on = False
        self.stopped = False
        self.main = 0
        self.polls = 0
        self.frames: list[Any] = []

    def where(self) -> int:
        return threading.get_ident()

    def pid(self) -> int:
        return os.getpid()

    def take(self, frame: object) -> int:
        self.frames.append(frame)
        return len(self.frames)

    def me(self) -> "Camera":
        return self

    def seen_from_inside(self) -> bool:
        return bool(self.remote.listening_)

    def take_through_proxy(self, frame: object) -> Any:
        return self.remote.take(frame)

    def stop_listening(self) -> str:
        self.remote.stop_listen_()
        return "the last answer"

    def process_within(self) -> Any:
        return self.remote.process_requests()

    def wait_at(self, gate: Gate) -> str:
        gate.park()
        return "waited"


def run_with(camera: Camera) -> None:
    camera.main = threading.get_ident()
    with camera.remote:
        while not camera.stopped:
            camera.remote.process_requests(timeout=None)


def run_polling(camera: Camera) -> None:
    camera.main = threading.get_ident()
    with camera.remote:
        while not camera.stopped:
            camera.polls += camera.remote.poll(timeout=None)


def run_listen(camera: Camera, bg: bool | None) -> None:
    camera.main = threading.get_ident()
    with camera.remote.listen_(bg=bg):
        while not camera.stopped and camera.remote.listening_:
            if bg is False:
                camera.remote.process_requests(timeout=None)
            time.sleep(0.001)


def run_takeover(camera: Camera, gate: Gate) -> None:
    camera.main = threading.get_ident()
    with camera.remote.listen_():
        gate.park()
        while not camera.stopped:
            camera.remote.process_requests(timeout=None)


def run_background_and_process(camera: Camera, gate: Gate) -> None:
    camera.main = threading.get_ident()
    with camera.remote.listen_(bg=True):
        for _ in range(20):
            camera.remote.process_requests()
        gate.park()


def run_parked(camera: Camera, gate: Gate) -> None:
    """Listens, takes nothing in, and closes."""
    with camera.remote.listen_(bg=False):
        gate.park()


def run_inside_out(camera: Camera, gate: Gate) -> None:
    """Listens, processes nothing until it is let; then everything that is there at once."""
    with camera.remote.listen_(bg=False):
        gate.park()
        count = 0
        while count < 5:
            count += camera.remote.process_requests(timeout=None)
        assert camera.remote.process_requests() == 0
        assert camera.remote.poll() is False
        camera.take(("count", count))
        gate.arrive()
        camera.remote.process_requests(timeout=None)


def run_twice(camera: Camera, gate: Gate) -> None:
    for _ in range(2):
        camera.stopped = False
        run_with(camera)
        gate.park()


def run_until_told(camera: Camera) -> None:
    """Ends when somebody stops the listening from within a request."""
    with camera.remote.listen_(bg=False):
        while camera.remote.listening_:
            camera.remote.process_requests(timeout=None)


def run_background_until_told(camera: Camera, gate: Gate) -> None:
    with camera.remote.listen_(bg=True):
        while camera.remote.listening_:
            time.sleep(0.001)
    gate.park()


def fail(camera: Camera) -> None:
    os._exit(3)


def stop(camera: Camera) -> None:
    """Ends its loop. A proxy of the parent's makes no attribute of its copy."""
    camera.remote.stopped = True


# ------------------------------------------------------------------ with proxy:


@pytest.mark.parametrize("run", [run_with, run_polling])
def test_requests_run_in_the_loop_of_a_process_that_the_user_started(
    start_method: str, run: Callable[[Camera], None]
) -> None:
    camera = Camera()
    with process(start_method, run, camera) as child:
        camera.remote.wait_until_listening(child)
        assert camera.remote.pid() == child.pid
        assert camera.remote.where() == camera.remote.main.get_()
        assert [camera.remote.take(i) for i in range(3)] == [1, 2, 3]
        assert camera.remote.frames[1].get_() == 1
        assert camera.frames == [], "the copy over here is another one"
        stop(camera)
    assert camera.remote.listening_ is False


def test_without_a_listener_there_is_an_error_or_a_default() -> None:
    camera = Camera()
    assert camera.remote.listening_ is False
    with pytest.raises(NotListeningError, match="nobody listens"):
        camera.remote.take(1)
    with pytest.raises(RuntimeError):
        camera.remote.on.get_()
    assert camera.remote.on.get_(default="dark") == "dark"
    assert camera.remote.on.get_(default=lambda: "called") == "called"
    assert camera.remote.on.get_(default_local=True) is False
    assert camera.remote.take(1, _default=None) is None
    assert camera.frames == []


def test_a_proxy_that_does_not_listen_here_processes_nothing_here() -> None:
    camera = Camera()
    for process_some in (camera.remote.process_requests, camera.remote.poll):
        with pytest.raises(NotListeningError):
            process_some()
    camera.remote.stop_listen_()  # harmless


# ------------------------------------------------------------------ listen_


@pytest.mark.parametrize(("bg", "in_main"), [(None, False), (True, False), (False, True)])
def test_the_mode_says_which_thread_runs_requests(
    start_method: str, bg: bool | None, in_main: bool
) -> None:
    camera = Camera()
    with process(start_method, run_listen, camera, bg) as child:
        camera.remote.wait_until_listening(child)
        where = {camera.remote.where() for _ in range(10)}
        assert len(where) == 1
        assert (where == {camera.remote.main.get_()}) is in_main
        assert camera.remote.seen_from_inside() is True
        assert camera.remote.listening_ is True
        stop(camera)
    assert camera.remote.listening_ is False


def test_the_owner_takes_over_by_processing_requests_itself(gate: Gate) -> None:
    camera = Camera()
    with process("fork", run_takeover, camera, gate) as child:
        gate.wait_for_arrival()
        main = camera.remote.main.get_()
        assert camera.remote.where() != main
        gate.open()
        while camera.remote.where() != main:
            pass  # the takeover comes between two requests
        assert {camera.remote.where() for _ in range(50)} == {main}
        stop(camera)
        child.join(10)
        assert child.exitcode == 0


def test_bg_true_never_gives_the_thread_up(gate: Gate) -> None:
    camera = Camera()
    with process("fork", run_background_and_process, camera, gate):
        gate.wait_for_arrival()
        main = camera.remote.main.get_()
        assert main not in {camera.remote.where() for _ in range(10)}
        gate.open()


def test_who_listens_already_can_not_listen_again() -> None:
    camera = Camera()
    with camera.remote:
        with pytest.raises(RuntimeError, match="listening already"):
            camera.remote.listen_()
    with camera.remote:
        assert camera.remote.pid() == os.getpid()


def test_of_two_processes_one_listens_and_the_other_is_told(gate: Gate) -> None:
    camera = Camera()
    with process("fork", run_parked, camera, gate):
        gate.wait_for_arrival()
        with pytest.raises(RuntimeError, match="listening already, in another process"):
            camera.remote.listen_()
        assert camera.remote.listening_ is True, "the first one still does"
        gate.open()


def test_only_a_process_that_has_the_object_can_listen() -> None:
    camera = Camera()
    sent: Proxy = pickle.loads(pickle.dumps(camera.remote))
    with pytest.raises(RuntimeError, match="lives in another process"):
        sent.listen_()


def test_counts_and_timeouts_of_processing_are_exact(gate: Gate) -> None:
    camera = Camera()
    with process("fork", run_inside_out, camera, gate):
        gate.wait_for_arrival()
        calls = [Call(camera.remote.take, i) for i in range(5)]
        until_sent(camera.remote, 5)
        gate.open()
        assert sorted(call.wait().value for call in calls) == [1, 2, 3, 4, 5]
        gate.wait_for_arrival()  # else this would be one of those that are counted
        frames = camera.remote.frames.get_()
        assert frames[-1] == ("count", 5)


def test_poll_runs_one_and_waits_no_longer_than_it_may() -> None:
    camera = Camera()
    other: Any = Camera()
    with camera.remote:
        began = time.monotonic()
        assert camera.remote.poll() is False
        assert camera.remote.process_requests() == 0
        assert time.monotonic() - began < PROMPT
        began = time.monotonic()
        assert camera.remote.poll(timeout=0.05) is False
        assert camera.remote.process_requests(timeout=0.05) == 0
        assert time.monotonic() - began >= 0.1
    del other


def test_a_wait_for_requests_goes_on_when_what_comes_is_none() -> None:
    """A client connects, grants credit for a stream that has ended, and says what is not known."""
    camera = Camera()

    def talk() -> None:
        client = RawClient(address_of(camera.remote))
        client.send(frame(Kind.CREDIT, 7, b"\1\0\0\0"))
        client.send(frame(99, 8, b"", Flag.ANSWER))
        [refused] = client.read(1)  # so that all of this was taken in by a wait of its own
        assert refused.kind == Kind.REFUSED
        client.call("take", "frame")
        client.read(1)
        client.close()

    with camera.remote:
        talking = Call(talk)
        assert camera.remote.process_requests(timeout=30.0) == 1
        assert camera.frames == ["frame"]
        talking.wait()
    assert talking.error is None


@pytest.fixture
def crowd() -> Iterator[tuple[Camera, list[RawClient]]]:
    """A camera that listens, and three clients, whom it has served once."""
    camera = Camera()
    with camera.remote:
        clients = [RawClient(address_of(camera.remote)) for _ in range(3)]
        for client in clients:
            client.call("take", "first")
        while len(camera.frames) < 3:
            camera.remote.process_requests(timeout=30.0)
        for client in clients:
            client.read(1)
        camera.frames.clear()
        yield camera, clients
        for client in clients:
            client.close()


def test_all_that_several_clients_have_sent_is_run_by_one_look(
    crowd: tuple[Camera, list[RawClient]],
) -> None:
    camera, clients = crowd
    for number, client in enumerate(clients):
        client.call("take", number)
    assert camera.remote.process_requests(timeout=30.0) == 3
    assert sorted(camera.frames) == [0, 1, 2]


def test_a_look_runs_what_has_come_although_a_client_is_new_as_well(
    crowd: tuple[Camera, list[RawClient]],
) -> None:
    camera, clients = crowd
    clients.append(RawClient(address_of(camera.remote)))
    until(lambda: new_clients_of(camera.remote))
    clients[0].call("take", "frame")
    assert camera.remote.process_requests() == 1
    assert camera.frames == ["frame"]


def test_what_a_client_had_sent_is_run_in_its_turn_although_it_has_left(
    crowd: tuple[Camera, list[RawClient]],
) -> None:
    camera, clients = crowd
    for number, client in enumerate(clients):
        client.call("take", number)
    assert camera.remote.poll(timeout=30.0)
    for client in clients:
        client.close()
    for number in range(2, 4):
        assert camera.remote.poll(timeout=30.0)
        assert len(camera.frames) == number
    assert camera.remote.poll() is False
    assert sorted(camera.frames) == [0, 1, 2]


def test_a_wait_for_requests_that_is_told_to_stop_ends() -> None:
    camera = Camera()
    with camera.remote:
        client = RawClient(address_of(camera.remote))
        client.send(frame(99, 8, b"", Flag.ANSWER))

        def stop() -> None:
            client.read(1)
            camera.remote.stop_listen_()

        stopping = Call(stop)
        assert camera.remote.process_requests(timeout=30.0) == 0
        stopping.wait()
        client.close()


# ------------------------------------------------------------------ in one process


def test_where_the_object_is_at_home_it_is_called_directly() -> None:
    """Nothing is sent: the very object comes back, and nobody has to process requests."""
    camera = Camera()
    thing = object()
    with camera.remote.listen_(bg=False):
        calls = [Call(camera.remote.passto, _identity, thing) for _ in range(3)]
        assert all(call.wait().value is thing for call in calls)
        assert Call(camera.remote.where).wait().value != threading.get_ident()
        assert camera.remote.passto(lambda c: c is camera)
        assert camera.remote.me() is camera.remote
        lock = threading.Lock()
        camera.remote.lock = lock
        assert camera.remote.lock.get_() is lock


def _identity(obj: object, value: object) -> object:
    return value


# ------------------------------------------------------------------ its end


def test_requests_that_arrived_before_the_end_are_fulfilled(start_method: str, gate: Gate) -> None:
    camera = Camera()
    with process(start_method, run_parked, camera, gate):
        gate.wait_for_arrival()
        calls = [Call(camera.remote.take, i) for i in range(4)]
        until_sent(camera.remote, 4)
        gate.open()
        assert sorted(call.wait().value for call in calls) == [1, 2, 3, 4]
    with pytest.raises(NotListeningError):
        camera.remote.take(9)


def test_requests_that_arrived_before_the_end_are_refused_if_so_wished(
    start_method: str, gate: Gate
) -> None:
    camera = Camera(fulfill_final=False)
    with process(start_method, run_parked, camera, gate):
        gate.wait_for_arrival()
        calls = [Call(camera.remote.take, i) for i in range(3)]
        calls.append(Call(camera.remote.frames.get_, "a default"))
        until_sent(camera.remote, 4)
        gate.open()
        for call in calls[:3]:
            assert isinstance(call.wait().error, NotListeningError)
        assert calls[3].wait().value == "a default"


def test_what_is_queued_behind_a_request_that_stops_is_fulfilled(gate: Gate) -> None:
    camera = Camera()
    with process("fork", run_until_told, camera):
        camera.remote.wait_until_listening()
        held = Call(camera.remote.wait_at, gate)
        gate.wait_for_arrival()
        stopping = Call(camera.remote.stop_listening)
        until_sent(camera.remote, 2)
        behind = [Call(camera.remote.take, i) for i in range(3)]
        until_sent(camera.remote, 5)
        gate.open()
        assert held.wait().value == "waited"
        assert stopping.wait().value == "the last answer"
        assert sorted(call.wait().value for call in behind) == [1, 2, 3]
    assert camera.remote.listening_ is False


def test_a_request_may_stop_a_listener_in_the_background(gate: Gate) -> None:
    camera = Camera()
    with process("fork", run_background_until_told, camera, gate) as child:
        camera.remote.wait_until_listening(child)
        assert camera.remote.stop_listening() == "the last answer"
        gate.wait_for_arrival()
        assert camera.remote.listening_ is False
        with pytest.raises(NotListeningError):
            camera.remote.take(1)
        gate.open()
        child.join(10)
        assert child.exitcode == 0


def test_stop_listen_ends_it_from_the_outside_too() -> None:
    camera = Camera()
    camera.remote.listen_()
    assert camera.remote.listening_ is True
    camera.remote.stop_listen_()
    camera.remote.stop_listen_()
    assert camera.remote.listening_ is False


def test_a_request_may_use_its_object_through_the_proxy(start_method: str) -> None:
    camera = Camera()
    with process(start_method, run_with, camera) as child:
        camera.remote.wait_until_listening(child)
        assert camera.remote.take_through_proxy("inner") == 1
        assert camera.remote.process_within() == 0
        assert camera.remote.me().frames.get_() == ["inner"]
        stop(camera)


def test_the_same_proxy_listens_again_and_its_clients_come_back(gate: Gate) -> None:
    camera = Camera()
    with process("fork", run_twice, camera, gate) as child:
        for count in (1, 2):
            camera.remote.wait_until_listening(child)
            assert camera.remote.take(count) == count
            stop(camera)
            gate.wait_for_arrival()
            assert camera.remote.listening_ is False
            with pytest.raises(NotListeningError):
                camera.remote.take(0)
            gate.open()


def test_another_process_may_listen_next(start_method: str) -> None:
    camera = Camera()
    pids = []
    for _ in range(2):
        with process(start_method, run_with, camera) as child:
            camera.remote.wait_until_listening(child)
            pids.append(camera.remote.pid())
            assert pids[-1] == child.pid
            stop(camera)
    assert pids[0] != pids[1]


def test_a_killed_process_does_not_listen_and_another_can_take_its_place(gate: Gate) -> None:
    """Its socket file stays behind, and must neither say yes nor be in the way."""
    camera = Camera()
    with process("fork", run_parked, camera, gate) as child:
        gate.wait_for_arrival()
        assert camera.remote.listening_ is True
        call = Call(camera.remote.take, 1)
        until_sent(camera.remote, 1)
        began = time.monotonic()
        os.kill(child.pid, signal.SIGKILL)
        assert isinstance(call.wait().error, ActorDiedError)
        assert time.monotonic() - began < PROMPT
        child.join(10)
        assert camera.remote.listening_ is False
        with pytest.raises(NotListeningError):
            camera.remote.take(1)
    assert os.path.exists(address_of(camera.remote).location)
    with process("fork", run_with, camera) as child:
        assert camera.remote.wait_until_listening(child)
        assert camera.remote.take(1) == 1
        stop(camera)


def test_the_death_of_a_listener_in_mid_call_says_that_it_may_have_run(gate: Gate) -> None:
    camera = Camera()
    with process("fork", run_with, camera) as child:
        camera.remote.wait_until_listening(child)
        running = Call(camera.remote.wait_at, gate)
        gate.wait_for_arrival()
        behind = Call(camera.remote.take, 1)
        until_sent(camera.remote, 2)
        os.kill(child.pid, signal.SIGKILL)
        assert isinstance(running.wait().error, ActorDiedError)
        assert isinstance(behind.wait().error, ActorDiedError)
        assert getattr(running.error, "maybe_executed", None) is True
        assert getattr(behind.error, "maybe_executed", None) is False
    with camera.remote:
        pass  # takes the dead listener's file away


# ------------------------------------------------------------------ waiting for it


def test_waiting_for_a_process_that_dies_first_is_an_error_that_names_it(
    start_method: str,
) -> None:
    camera = Camera()
    with process(start_method, fail, camera) as child:
        with pytest.raises(ActorDiedError, match="exited with code 3") as caught:
            camera.remote.wait_until_listening(child)
        assert child.name in str(caught.value)
        assert caught.value.exitcode == 3
        assert camera.remote.wait_until_listening(child, fail=False) is False


def test_waiting_ends_when_the_time_is_up() -> None:
    camera = Camera()
    began = time.monotonic()
    with pytest.raises(SpawnTimeoutError, match=r"within 0\.05 s"):
        camera.remote.wait_until_listening(timeout=0.05)
    assert camera.remote.wait_until_listening(fail=False, timeout=0.05) is False
    assert 0.1 <= time.monotonic() - began < 5


def test_who_waits_is_woken_when_somebody_begins_to_listen() -> None:
    """Without a timeout and without looking again: a lost wake-up would hang here."""
    for _ in range(20):
        camera = Camera()
        waiting = Call(camera.remote.wait_until_listening)
        with camera.remote:
            assert waiting.wait().value is True


def test_many_may_wait_for_one_listener() -> None:
    camera = Camera()
    waiting = [Call(camera.remote.wait_until_listening) for _ in range(8)]
    with camera.remote:
        assert [one.wait().value for one in waiting] == [True] * 8


def test_waiting_for_a_thread_that_ends_first_is_an_error_too() -> None:
    camera = Camera()
    thread = threading.Thread(target=lambda: None, name="camera-thread")
    thread.start()
    with pytest.raises(ActorDiedError, match="camera-thread"):
        camera.remote.wait_until_listening(thread)
    assert camera.remote.wait_until_listening(thread, fail=False) is False
    thread.join()


def test_waiting_for_what_listens_already_returns_at_once() -> None:
    camera = Camera()
    with camera.remote:
        assert camera.remote.wait_until_listening(timeout=0) is True
