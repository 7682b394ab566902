"""Ends that come in an odd moment: nobody waits for ever, and nothing that ran is lost."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import pytest

from remoteobj import ActorDiedError, NotListeningError, RemoteError, current, remote, util
from remoteobj._engines.without_main import _fork_server
from remoteobj._wire import unix
from remoteobj._wire.channel import StreamChannel
from tests.tools import (
    Call,
    Door,
    Script,
    is_read,
    process,
    processes,
    run,
    until,
    until_gone,
    until_sent,
)

PROMPT = 2.5
"""Seconds for what takes none, and took five or more when it waited for the wrong side."""
ORPHAN = 3.0
"""Seconds within which nothing may be left of a program that was killed."""
BACKLOG = 4
CALLERS = 40

# ------------------------------------------------------------------ tools

PRELUDE = """\
import contextlib, os, signal, sys, threading, time
from remoteobj import DeadlockError, remote, util

"""


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., Script]]:
    """Start a program of its own; what it leaves when it is killed is removed."""
    started: list[Script] = []

    def start(source: str, **environment: str) -> Script:
        path = tmp_path / f"script{len(started)}.py"
        started.append(Script(path, source, prelude=PRELUDE, **environment))
        return started[-1]

    yield start
    for one in started:
        one.close()
    unix.sweep()


@contextlib.contextmanager
def ended(actor: Any) -> Iterator[Any]:
    """Whatever becomes of this actor in a test, it does not outlive it."""
    try:
        yield actor
    finally:
        actor.kill_()
        actor.stop_()


# ------------------------------------------------------------------ classes


@remote
class Plain:
    """Does what is asked, in the main thread of its process."""

    def ping(self) -> str:
        return "pong"

    def wait_at(self, door: Door) -> str:
        door.wait()
        return "waited"

    def echo(self, value: int) -> int:
        return value

    def one_and_more(self, door: Door) -> Iterator[int]:
        yield 1
        door.wait()
        yield 2

    def large(self, door: Door) -> Iterator[bytes]:
        yield b"x" * 1_000_000
        door.arrive()
        while True:
            yield b"x" * 1_000_000

    def count(self) -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    def stubborn(self, door: Door) -> None:
        while current().listening_:
            with contextlib.suppress(BaseException):
                door.arrive()
                time.sleep(20)

    def hard_to_pickle(self, door: Door) -> "HardToPickle":
        return HardToPickle(door)

    def fork(self) -> int:
        return os.fork()


class HardToPickle:
    def __init__(self, door: Door) -> None:
        self.door = door

    def __reduce__(self) -> Any:
        self.door.arrive()
        time.sleep(20)
        return (HardToPickle, (None,))


@remote
class SlowToClose:
    def __init__(self, door: Door, path: Path) -> None:
        self.door = door
        self.path = path

    @remote.cleanup
    def close(self) -> None:
        self.door.wait()
        self.path.touch()


class Unpicklable:
    def __reduce__(self) -> Any:
        raise KeyboardInterrupt


class UnpicklableError(Exception):
    def __reduce__(self) -> Any:
        raise KeyboardInterrupt


class Strict(type):
    def __getattr__(cls, name: str) -> Any:
        if name == "__next__":
            raise RuntimeError("this is no iterator")
        raise AttributeError(name)


class OfStrict(metaclass=Strict):
    """Its class does not like to be asked whether it can be iterated."""


@remote
class Busy:
    """Has a loop of its own, so that another thread runs what is asked."""

    def __init__(self) -> None:
        self.child: Any = None

    @remote.work
    def loop(self) -> None:
        while current().listening_:
            time.sleep(0.001)

    def ping(self) -> str:
        return "pong"

    def result_that_fails(self) -> Unpicklable:
        return Unpicklable()

    def error_that_fails(self) -> None:
        raise UnpicklableError

    def of_strict(self) -> OfStrict:
        return OfStrict()

    def fail_at_the_end(self, kind: type[BaseException]) -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            raise kind("at the end")

    def terminate_a_program(self) -> int:
        with subprocess.Popen(["sleep", "20"]) as program:
            program.terminate()
            try:
                return program.wait(5)
            finally:
                program.kill()

    def terminate_an_actor(self) -> int | None:
        with ended(Plain.spawn()) as child:
            child.terminate_()
            child.join_(5)
            code: int | None = child.exitcode_
            return code


class Raising:
    """A descriptor that can't be asked at the class."""

    def __get__(self, obj: object, owner: type) -> int:
        if obj is None:
            raise RuntimeError("only for objects")
        return 5


@remote
class Described:
    lazy = Raising()

    def get(self) -> int:
        return self.lazy


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


# ------------------------------------------------------------------ stop


def test_a_signal_to_end_that_comes_during_the_cleanup_does_not_cut_it_off(
    door: Door, tmp_path: Path
) -> None:
    with ended(SlowToClose.spawn(door, tmp_path / "closed")) as actor:
        stopping = Call(actor.stop_)
        door.await_arrival()
        os.kill(actor.pid_, signal.SIGTERM)
        opening = Call(door.open)
        stopping.wait()
        if not (tmp_path / "closed").exists():
            os.close(os.open(door.opened, os.O_RDONLY | os.O_NONBLOCK))  # nobody else is there
        opening.wait()
    assert (tmp_path / "closed").exists()


def test_leaving_is_quick_though_a_stream_of_large_items_was_not_read_to_its_end(
    door: Door,
) -> None:
    with Plain.spawn() as actor:
        stream = iter(actor.large(door))
        next(stream)
        door.await_arrival()  # it goes on, to write more than the socket holds
        began = time.monotonic()
    assert time.monotonic() - began < PROMPT
    stream.close()


def test_calls_that_other_threads_have_in_hand_at_a_stop_get_their_replies(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = Plain.options(start_method="fork").spawn()
    channel = actor._ref.endpoint.first._channel
    take = StreamChannel.take

    def take_late(self: StreamChannel) -> Any:
        if self is channel:  # a thread that does not get to run before the actor has ended
            until_gone(actor.pid_, 20)
            time.sleep(0.2)
        return take(self)

    monkeypatch.setattr(StreamChannel, "take", take_late)
    waiting = Call(actor.wait_at, door)
    door.await_arrival()
    others = [Call(actor.echo, number) for number in range(5)]
    until_sent(actor, 6)
    stopping = Call(actor.stop_)
    door.open()
    stopping.result()
    assert waiting.result() == "waited"
    assert [other.result() for other in others] == [0, 1, 2, 3, 4]


def test_a_call_on_a_stuck_thread_ends_when_its_actor_is_stopped(door: Door) -> None:
    actor = Plain.options(engine="thread").spawn()
    stuck = Call(actor.wait_at, door)
    door.await_arrival()
    actor.stop_(timeout=0.1)
    try:
        assert isinstance(stuck.wait().error, NotListeningError | ActorDiedError)
    finally:
        door.open()


# ------------------------------------------------------------------ terminate


def test_terminate_ends_an_actor_whose_method_catches_everything(door: Door) -> None:
    with ended(Plain.spawn()) as actor:
        calling = Call(actor.stubborn, door)
        door.await_arrival()
        actor.terminate_()
        assert actor.join_(PROMPT)
    calling.wait()


def test_terminate_ends_an_actor_that_is_pickling(door: Door) -> None:
    with ended(Plain.spawn()) as actor:
        calling = Call(actor.hard_to_pickle, door)
        door.await_arrival()
        actor.terminate_()
        assert actor.join_(PROMPT)
        assert actor.exitcode_ == -signal.SIGTERM
    assert isinstance(calling.wait().error, ActorDiedError)


def test_what_the_method_of_a_busy_actor_starts_can_be_terminated() -> None:
    with Busy.spawn() as actor:
        assert actor.terminate_a_program() == -signal.SIGTERM
        assert actor.terminate_an_actor() == -signal.SIGTERM


# ------------------------------------------------------------------ the end of a program


def test_a_program_may_end_while_its_functions_run(script: Callable[..., Script]) -> None:
    ending = script("""
        def nap():
            yield "begun"
            time.sleep(60)
        naps = [util.process(nap, start_method_=how).start() for how in ("fork", "forkserver")]
        print([next(nap.result) for nap in naps])
    """)
    assert ending.finish() == (0, "['begun', 'begun']\n", "")


def test_a_function_that_catches_everything_does_not_keep_its_program_from_ending(
    script: Callable[..., Script],
) -> None:
    ending = script("""
        begun, begin = os.pipe()
        def stubborn():
            while True:
                with contextlib.suppress(BaseException):
                    os.write(begin, b"!")
                    time.sleep(60)
        stubborn = util.process(stubborn, start_method_="fork").start()
        os.read(begun, 1)
    """)
    assert ending.finish() == (0, "", "")


def test_a_function_that_waits_for_its_threads_does_not_outlive_a_program_that_is_killed(
    script: Callable[..., Script],
) -> None:
    owner = script("""
        def outlive():
            while threading.main_thread().is_alive():
                time.sleep(0.001)
            print(os.getpid(), flush=True)
            time.sleep(20)
        def leave_a_thread():
            threading.Thread(target=outlive).start()
        left = util.process(leave_a_thread, start_method_="fork").start()
        time.sleep(60)
    """)
    left = int(owner.line())
    owner.process.kill()
    assert until_gone(left, ORPHAN)


# ------------------------------------------------------------------ threads and signals


def test_five_threads_may_join_one_function(door: Door) -> None:
    waiting = util.process(door.wait).start()
    joining = [Call(waiting.join) for _ in range(5)]
    connection = waiting._connection
    assert connection is not None
    door.await_arrival()
    until(lambda: len(connection._asleep) == 4)
    door.open()
    for one in joining:
        one.result()
    assert waiting.exitcode == 0


def test_closing_a_stream_ends_the_wait_of_another_thread_for_its_next_item(door: Door) -> None:
    with Plain.spawn() as actor:
        stream = iter(actor.one_and_more(door))
        assert next(stream) == 1
        rest = Call(list, stream)
        until(partial(is_read, actor._ref.endpoint.first))
        door.await_arrival()
        stream.close()
        door.open()
        assert rest.result() == []
        assert actor.ping() == "pong"


def test_a_signal_handler_that_calls_during_a_call_ends(script: Callable[..., Script]) -> None:
    calling = script("""
        @remote
        class Actor:
            def slow(self, pid):
                time.sleep(0.1)
                os.kill(pid, signal.SIGALRM)
                time.sleep(0.1)
                return "slow"
            def ping(self):
                return "pong"
        def handle(*_):
            try:
                print(actor.ping())
            except DeadlockError:
                print("pong")
        actor = Actor.spawn()
        signal.signal(signal.SIGALRM, handle)
        print(actor.slow(os.getpid()))
        print(actor.ping())
        actor.stop_()
    """)
    assert calling.finish() == (0, "pong\nslow\npong\n", "")


def test_a_signal_handler_that_comes_just_after_a_lock_was_taken_ends(
    script: Callable[..., Script],
) -> None:
    calling = script("""
        class SignallingLock:
            def __init__(self):
                self.lock = threading.RLock()
                self._is_owned, self.release = self.lock._is_owned, self.lock.release
                self.first = True
            def acquire(self, *args, **options):
                got = self.lock.acquire(*args, **options)
                if got and self.first:
                    self.first = False
                    signal.raise_signal(signal.SIGALRM)
                return got
        @remote
        class Actor:
            def ping(self):
                return "pong"
        actor = Actor.spawn()
        signal.signal(signal.SIGALRM, lambda *_: print("handler:", actor.ping()))
        actor._anchor.endpoint.first._reading = SignallingLock()
        print(actor.ping())
        actor.stop_()
    """)
    assert calling.finish() == (0, "handler: pong\npong\n", "")


def test_a_signal_handler_that_stops_during_a_stop_ends(script: Callable[..., Script]) -> None:
    stopping = script("""
        @remote
        class Actor:
            def __init__(self, pid):
                self.pid = pid
            @remote.cleanup
            def close(self):
                os.kill(self.pid, signal.SIGALRM)
                time.sleep(0.1)
        def handle(*_):
            actor.stop_()
            print("handled")
        signal.signal(signal.SIGALRM, handle)
        actor = Actor.spawn(os.getpid())
        actor.stop_()
        print(actor.alive_, actor.exitcode_)
    """)
    assert stopping.finish() == (0, "handled\nFalse 0\n", "")


# ------------------------------------------------------------------ forks


def test_what_a_method_forks_is_gone_after_the_method() -> None:
    with Plain.spawn() as actor:
        assert until_gone(actor.fork(), ORPHAN)
        assert actor.ping() == "pong"


def test_a_forked_child_may_ask_for_a_life_that_a_thread_of_its_parent_is_asking_for() -> None:
    with Plain.spawn() as actor:
        instance = actor._actor.instance
        asked, told = threading.Event(), threading.Event()

        def hold() -> None:
            with process_of(instance)._reaping:
                asked.set()
                told.wait(20)

        holding = Call(hold)
        asked.wait(20)
        try:
            with process("fork", ask, actor) as child:
                child.join(10)
                assert child.exitcode == 0
        finally:
            told.set()
            holding.wait()
    assert run("fork", ask_of_one_that_ended, actor) == 0


def test_a_forked_child_may_join_an_actor_that_its_parent_has_stopped() -> None:
    actor = Plain.spawn()
    actor.stop_()
    assert run("fork", join_one_that_ended, actor) == 0


def process_of(instance: Any) -> Any:
    """The `ActorProcess` in what the engine launched."""
    return next(one for one in vars(instance).values() if hasattr(one, "_reaping"))


def ask(actor: Any) -> None:
    assert actor.alive_
    assert actor.exitcode_ is None
    assert not actor.join_(0.01)


def ask_of_one_that_ended(actor: Any) -> None:
    assert not actor.alive_
    assert actor.exitcode_ == 0


def join_one_that_ended(actor: Any) -> None:
    assert actor.join_(5)


def test_a_stream_of_the_parent_ends_in_a_forked_child_though_a_thread_was_reading(
    door: Door,
) -> None:
    with Plain.spawn() as actor:
        stream = actor.count()
        assert next(stream) == 0
        reading = Call(actor.wait_at, door)
        door.await_arrival()
        until(partial(is_read, actor._ref.endpoint.first))
        with process("fork", read_to_the_end, stream) as child:
            child.join(10)
            code = child.exitcode
        door.open()
        reading.result()
        stream.close()
    assert code == 0


def read_to_the_end(stream: Iterator[int]) -> None:
    with contextlib.suppress(NotListeningError):
        for _ in stream:
            pass


def test_of_two_that_ask_a_fork_server_for_an_exit_code_both_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It can be read once: the second would find the end of the pipe, and take it for 255."""
    with Plain.options(start_method="forkserver").spawn() as actor:
        popen: Any = process_of(actor._actor.instance)._popen
        original = forkserver.read_signed
        asked = threading.Event()

        def read_signed(fd: int) -> int:
            code = int(original(fd))
            asked.set()
            time.sleep(0.1)  # the other one comes before this is known
            return code

        monkeypatch.setattr(forkserver, "read_signed", read_signed)
        actor._actor.tell_to_stop()
        first = Call(popen.poll, 0)
        asked.wait(20)
        assert popen.poll(0) == first.result() == 0


def test_an_actor_outlives_the_fork_server_that_started_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_fork_server, "server", None)  # the other tests keep theirs
    actor = Plain.options(start_method="forkserver").spawn()
    server: Any = _fork_server.server
    try:
        os.kill(server._forkserver_pid, signal.SIGKILL)
        os.waitpid(server._forkserver_pid, 0)
        wait([process_of(actor._actor.instance).sentinel], 10)  # the news is here
        assert actor.ping() == "pong"
        assert actor.alive_
        pid = actor.pid_
        actor.stop_()
        assert until_gone(pid, ORPHAN)
    finally:
        actor.stop_()
        os.close(server._forkserver_alive_fd)
        _fork_server._remove_socket()


def test_many_processes_that_call_at_once_are_all_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unix, "BACKLOG", BACKLOG)
    with Plain.options(start_method="fork").spawn() as actor:
        ready, say_ready = os.pipe()
        go, hold = os.pipe()

        def call() -> None:
            os.close(hold)
            os.write(say_ready, b"!")
            os.read(go, 1)
            assert actor.echo(os.getpid()) == os.getpid()

        try:
            with processes("fork", call, *[()] * CALLERS) as callers:
                said = 0
                while said < CALLERS:
                    said += len(os.read(ready, CALLERS))
                os.kill(actor.pid_, signal.SIGSTOP)  # so that they queue up
                os.close(hold)
                time.sleep(0.2)
                os.kill(actor.pid_, signal.SIGCONT)
                deadline = time.monotonic() + 15
                for caller in callers:
                    caller.join(max(0.0, deadline - time.monotonic()))
                assert [caller.exitcode for caller in callers] == [0] * CALLERS
        finally:
            for fd in (ready, say_ready, go):
                os.close(fd)


# ------------------------------------------------------------------ beginnings


def test_an_actor_starts_without_a_stderr(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(
        "import sys\n"
        "from remoteobj import remote\n"
        "@remote\n"
        "class Actor:\n"
        "    def ping(self):\n"
        "        return 'pong'\n"
        "print(sys.stderr)\n"
        "for how in ('fork', 'forkserver', 'spawn'):\n"
        "    with Actor.options(start_method=how).spawn() as actor:\n"
        "        print(actor.ping())\n"
    )
    command = ["sh", "-c", 'exec "$0" "$1" 2>&-', sys.executable, str(path)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout) == (0, "None\npong\npong\npong\n")


def test_a_descriptor_that_can_not_be_asked_at_the_class_is_left_alone() -> None:
    with Described.spawn() as actor:
        assert actor.get() == 5


def test_the_first_actors_of_threads_that_start_at_once_share_one_directory(
    script: Callable[..., Script],
) -> None:
    runtime = tempfile.mkdtemp(prefix="s")
    try:
        starting = script(
            """
            from remoteobj import _address
            def linger(sweep=_address.sweep):
                time.sleep(0.05)
                return sweep()
            _address.sweep = linger
            @remote
            class Actor:
                def ping(self):
                    return "pong"
            actors, barrier = [], threading.Barrier(12)
            def start():
                barrier.wait()
                actors.append(Actor.options(start_method="fork").spawn())
            threads = [threading.Thread(target=start) for _ in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            root = f"{os.environ['XDG_RUNTIME_DIR']}/remoteobj-{os.getuid()}"
            print([actor.ping() for actor in actors].count("pong"), len(os.listdir(root)))
            """,
            XDG_RUNTIME_DIR=runtime,
        )
        assert starting.finish() == (0, "12 1\n", "")
    finally:
        shutil.rmtree(runtime)


# ------------------------------------------------------------------ errors


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


@pytest.mark.parametrize("method", ["result_that_fails", "error_that_fails"])
def test_a_result_or_an_error_whose_pickling_is_interrupted_costs_that_call_alone(
    method: str,
) -> None:
    with ended(Busy.spawn()) as actor:
        with pytest.raises(RemoteError):
            Call(getattr(actor, method)).result()
        assert Call(actor.ping).result() == "pong"


def test_a_result_whose_class_raises_when_it_is_asked_for_an_attribute_is_given_back() -> None:
    with ended(Busy.spawn()) as actor:
        assert type(Call(actor.of_strict).result()) is OfStrict
        assert Call(actor.ping).result() == "pong"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, ValueError])
def test_a_generator_that_fails_after_its_consumer_left_stops_nobody(
    kind: type[BaseException],
) -> None:
    with ended(Busy.spawn()) as actor:
        stream = actor.fail_at_the_end(kind)
        assert next(stream) == 0
        stream.close()
        assert Call(actor.ping).result() == "pong"
        assert len(actor.exc_.group("work")) == 1


# ------------------------------------------------------------------ what an actor has started


@remote
class Starter:
    def start(self) -> int:
        self.child = subprocess.Popen(["sleep", "60"])
        return self.child.pid


@pytest.mark.parametrize("way", ["kill_", "SIGKILL"])
def test_a_killed_actor_takes_with_it_what_it_had_started(start_method: str, way: str) -> None:
    starter: Any = Starter.options(start_method=start_method).spawn()
    child = starter.start()
    if way == "kill_":
        starter.kill_()
    else:
        os.kill(starter.pid_, signal.SIGKILL)
    assert starter.join_(5)
    assert starter.exitcode_ == -signal.SIGKILL
    assert until_gone(child, 2)
    starter.kill_()
    starter.stop_()


def test_an_actor_that_ends_by_itself_leaves_alone_what_it_had_started() -> None:
    with Starter.spawn() as starter:
        child = starter.start()
    assert not until_gone(child, 0.05)
    os.kill(child, signal.SIGKILL)
    assert until_gone(child, 5)


def test_when_the_owner_is_killed_what_its_actors_had_started_goes_too(tmp_path: Path) -> None:
    script = Script(
        tmp_path / "script.py",
        """
        import subprocess, sys, time
        from remoteobj import remote

        @remote
        class Starter:
            def start(self):
                self.child = subprocess.Popen(["sleep", "60"])
                return self.child.pid

        starter = Starter.spawn()
        print(starter.pid_, starter.start(), flush=True)
        time.sleep(60)
        """,
    )
    pids = [int(pid) for pid in script.line().split()]
    script.process.kill()
    assert all(until_gone(pid, 2) for pid in pids)
    script.close()
