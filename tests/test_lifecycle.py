"""An actor's life: how it begins, works, stops, dies, and what its owner is told of each."""

import ctypes
import gc
import inspect
import multiprocessing
import os
import pickle
import pydoc
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Never

import pytest

import remoteobj
from remoteobj import (
    ActorDiedError,
    Except,
    NotListeningError,
    RemoteError,
    SpawnTimeoutError,
    current,
    remote,
)
from remoteobj._engines.flight_recorder import FlightRecorder
from remoteobj._wire import unix
from tests.conftest import Launch
from tests.tools import Call, Door, Script, until, until_gone, until_sent

PROMPT = 1.0
"""Seconds within which the death of an actor must have reached every caller."""
ORPHAN = 2.0
"""Seconds that an actor may outlive its owner."""

NO_PROCESS = {
    "thread": "is not a process of its own",
    "inline": "is not a process of its own",
}
NO_THREAD = {"inline": "has no thread besides the caller's"}


# ------------------------------------------------------------------ tools


class Diary:
    """Lines that any process can add, and that outlive it."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "diary")

    def add(self, line: object) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(fd, f"{line}\n".encode())
        finally:
            os.close(fd)

    @property
    def lines(self) -> list[str]:
        path = Path(self.path)
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path)


PRELUDE = """\
import os, signal, sys, threading, time
import remoteobj
from remoteobj import remote

def note(line):
    with open(sys.argv[1], "a") as file:
        file.write(f"{line}\\n")

@remote
class Actor:
    def __init__(self, path):
        sys.argv[1:] = [path]
    def sleep(self, seconds):
        time.sleep(seconds)
    def fail(self):
        raise ValueError("from the actor")
    @remote.cleanup
    def close(self):
        note("cleanup")

def spawn(**options):
    actor = Actor.options(**options).spawn(sys.argv[1])
    print(actor.pid_, flush=True)
    return actor

"""


@pytest.fixture
def script(tmp_path: Path, diary: Diary) -> Iterator[Callable[..., Script]]:
    """Start a program that has the class `Actor`; what its cleanup notes is in the diary."""
    started: list[Script] = []

    def start(source: str, *args: object) -> Script:
        path = tmp_path / f"script{len(started)}.py"
        started.append(Script(path, source, diary.path, *args, prelude=PRELUDE))
        return started[-1]

    yield start
    for one in started:
        one.close()
    sweep()


def sweep() -> None:
    """Remove what processes left that were killed or just left: the next to start would do it."""
    unix.sweep()


# ------------------------------------------------------------------ classes


@remote
class Counter:
    """Counts."""

    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, n: int = 1) -> int:
        """Add, and say the sum."""
        self.value += n
        return self.value

    def pid(self) -> int:
        return os.getpid()


class BetterCounter(Counter):
    def double(self) -> int:
        self.value *= 2
        return self.value


class SpawnError(Exception):
    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{code}: {why}")
        self.code = code


@remote
class Stillborn:
    def __init__(self, what: str, path: str = "") -> None:
        if what == "raise":
            raise SpawnError(7, "no camera")
        if what == "sys.exit":
            sys.exit(3)
        if what == "os._exit":
            os._exit(4)
        if what == "interrupt":
            raise KeyboardInterrupt
        if what == "fifo":
            with open(path, "rb") as never_written:
                never_written.read()

    @remote.cleanup
    def close(self) -> None:
        raise AssertionError("there is nothing to clean up: it was never made")


@remote
class Patient:
    """Waits at doors; notes what becomes of it."""

    def __init__(self, diary: Diary | None = None) -> None:
        self.diary = diary
        self.done: list[object] = []

    def wait_at(self, door: Door) -> str:
        door.wait()
        self.done.append("waited")
        return "waited"

    def wait_for_stop(self, door: Door) -> str:
        door.arrive()
        while current().listening_:
            time.sleep(0.001)
        return "told to stop"

    def note(self, word: object) -> object:
        self.done.append(word)
        if self.diary is not None:
            self.diary.add(word)
        return word

    def die(self, how: str) -> None:
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "segfault":
            ctypes.string_at(0)
        else:
            os._exit(3)

    def hang(self, door: Door) -> None:
        """In a C call that a signal does not end: neither stop nor SIGTERM gets through."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        door.wait()

    @remote.cleanup
    def close(self) -> None:
        if self.diary is not None:
            self.diary.add("cleanup")


@remote
class Worker:
    """Has a loop of its own; `how` says what becomes of it."""

    def __init__(self, how: str, door: Door | None = None, diary: Diary | None = None) -> None:
        self.how = how
        self.door = door
        self.diary = diary
        self.main = 0
        self.requests: list[int] = []

    @remote.work
    def loop(self) -> None:
        self.main = threading.get_ident()
        if self.door is not None:
            self.door.wait()
        if self.how == "raise":
            raise SpawnError(5, "the work failed")
        if self.how == "sys.exit":
            sys.exit(6)
        while self.how == "process" and current().listening_:
            current().process_requests(timeout=None)
        while self.how == "idle" and current().listening_:
            time.sleep(0.001)

    def where(self) -> int:
        return threading.get_ident()

    @remote.cleanup
    def close(self) -> None:
        if self.diary is not None:
            self.diary.add("cleanup")


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


# ------------------------------------------------------------------ spawn


def test_spawn_returns_an_actor_that_is_made_and_answers(launch: Launch) -> None:
    with Counter.options(**launch).spawn(10) as counter:
        assert counter.value.get_() == 10
        assert counter.add(5) == 15
        assert counter.alive_
        assert counter.exitcode_ is None
    assert not counter.alive_
    assert counter.exitcode_ == 0


def test_spawn_waits_for_init(door: Door) -> None:
    spawning = Call(Waiting.spawn, door)
    door.await_arrival()
    assert spawning.running
    door.open()
    with spawning.wait().value as actor:
        assert actor.made.get_() is True


@remote
class Waiting:
    made = False

    def __init__(self, door: Door) -> None:
        door.wait()
        self.made = True


def test_what_init_raises_is_raised_by_spawn_and_kept_in_group_init(launch: Launch) -> None:
    exc = Except()
    with pytest.raises(SpawnError, match="7: no camera") as caught:
        Stillborn.options(exc=exc, **launch).spawn("raise")
    assert caught.value.code == 7
    assert "self" not in vars(caught.value)
    assert [type(error) for error in exc.group("init")] == [SpawnError]
    with pytest.raises(SpawnError):
        exc.raise_any("init")
    exc.close()


def test_init_that_calls_sys_exit_fails_the_spawn(launch: Launch) -> None:
    with pytest.raises(RemoteError, match="SystemExit: 3") as caught:
        Stillborn.options(**launch).spawn("sys.exit")
    assert isinstance(caught.value.__cause__, SystemExit)
    assert caught.value.__cause__.code == 3


def test_init_that_raises_keyboard_interrupt_fails_the_spawn(launch: Launch) -> None:
    with pytest.raises(RemoteError, match="KeyboardInterrupt"):
        Stillborn.options(**launch).spawn("interrupt")


@pytest.mark.engines(skip=NO_PROCESS)
def test_init_that_ends_the_process_is_a_death_with_its_code(launch: Launch) -> None:
    began = time.monotonic()
    with pytest.raises(ActorDiedError, match="exited with code 4") as caught:
        Stillborn.options(**launch).spawn("os._exit")
    assert caught.value.exitcode == 4
    assert time.monotonic() - began < 10


@pytest.mark.engines(skip=NO_PROCESS)
def test_init_that_hangs_is_killed_when_its_time_is_up(launch: Launch, tmp_path: Path) -> None:
    fifo = tmp_path / "never"
    os.mkfifo(fifo)
    with pytest.raises(SpawnTimeoutError, match=r"after 0\.1 s and was killed"):
        Stillborn.options(spawn_timeout=0.1, **launch).spawn("fifo", str(fifo))
    # Nobody waits at the pipe any more (and the leak check finds no process).
    with pytest.raises(OSError, match="No such device"):
        os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)


def test_init_of_a_thread_that_hangs_is_a_spawn_timeout_too(door: Door) -> None:
    """A thread can't be killed, but its owner need not wait for it, nor be told nonsense."""
    spawning = Call(Waiting.options(engine="thread", spawn_timeout=0.1).spawn, door)
    door.await_arrival()
    spawning.wait()
    door.open()
    assert isinstance(spawning.error, SpawnTimeoutError)


def test_ctrl_c_in_the_owner_while_spawn_waits_leaves_no_actor(
    script: Callable[..., Script], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "never")
    started = script(
        """
        import contextlib
        @remote
        class Slow:
            def __init__(self, path):
                print(os.getpid(), flush=True)
                open(path).read()
        try:
            Slow.spawn(sys.argv[2])
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        sys.stdin.read()
        """,
        tmp_path / "never",
    )
    actor = int(started.line())
    os.kill(started.process.pid, signal.SIGINT)
    assert started.line() == "interrupted"
    assert until_gone(actor, ORPHAN), "the owner has no handle to stop it by"


@remote
class Introspective:
    def __init__(self) -> None:
        self.seen = repr(type(self.remote)), self.remote.listening_
        self.same = current() is not None

    def pid_by_proxy(self) -> Any:
        return self.remote.passto(lambda obj: obj.seen)

    def pid_by_current(self) -> Any:
        return current().passto(lambda obj: obj.seen)


def test_the_object_has_its_proxy_before_init_runs(launch: Launch) -> None:
    with Introspective.options(**launch).spawn() as actor:
        kind, _ = actor.seen.get_()
        assert kind == "<class 'remoteobj._proxy.Proxy'>"
        assert actor.pid_by_proxy() == actor.pid_by_current() == actor.seen.get_()


@remote
class WithRemote:
    remote = "a control for the television"

    def get(self) -> str:
        return self.remote


@remote
class WithSlots:
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 3

    def through_current(self) -> Any:
        return hasattr(self, "remote"), current().value.get_()


def test_a_remote_of_the_class_s_own_is_left_alone(launch: Launch) -> None:
    with WithRemote.options(**launch).spawn() as actor:
        assert actor.get() == "a control for the television"


def test_a_class_with_slots_finds_its_proxy_by_current(launch: Launch) -> None:
    with WithSlots.options(**launch).spawn() as actor:
        assert actor.through_current() == (False, 3)


def test_current_is_an_error_outside_of_actors() -> None:
    with pytest.raises(RuntimeError, match="inside an actor"):
        current()
    with Counter.options(engine="thread").spawn() as counter:
        assert counter.passto(lambda c: current() is not None)
        with pytest.raises(RuntimeError, match="inside an actor"):
            current()


# ------------------------------------------------------------------ options, classes


def test_names_count_per_class_and_can_be_given() -> None:
    @remote
    class Numbered:
        def process_name(self) -> str:
            return multiprocessing.current_process().name

    with Numbered.spawn() as first, Numbered.spawn() as second:
        assert [first.name_, second.name_] == ["Numbered-1", "Numbered-2"]
        assert first.process_name() == "Numbered-1"
    with Numbered.options(name="camera").spawn() as camera:
        assert camera.name_ == camera.process_name() == "camera"
        assert camera.pid_ != os.getpid()


def test_an_unknown_option_is_a_type_error_that_names_it() -> None:
    with pytest.raises(TypeError, match="colour"):
        Counter.options(colour="red")
    with pytest.raises(TypeError, match="colour"):
        remote(colour="red")(type("Plain", (), {}))
    with pytest.raises(ValueError, match="no engine 'cloud'"):
        Counter.options(engine="cloud").spawn()
    with pytest.raises(ValueError, match="teleport"):
        Counter.options(start_method="teleport").spawn()


def test_options_given_to_the_decorator_are_the_class_s_defaults() -> None:
    @remote(engine="thread", name="default")
    class Threaded:
        def pid(self) -> int:
            return os.getpid()

    class Heir(Threaded):
        pass

    with Threaded.spawn() as actor:
        assert actor.pid() == os.getpid()
        assert actor.name_ == "default"
    with Threaded.options(name="changed").spawn() as actor:
        assert actor.pid() == os.getpid()
        assert actor.name_ == "changed"
    with Heir.options(engine="process").options(name="twice").spawn() as actor:
        assert actor.pid() != os.getpid()
        assert actor.name_ == "twice"


def test_a_subclass_can_be_decorated_again_with_other_defaults() -> None:
    @remote(name="base", stop_timeout=3.0)
    class Base:
        def who(self) -> str:
            return type(self).__name__

    @remote(name="heir")
    class Heir(Base):
        pass

    with Base.spawn() as base, Heir.spawn() as heir:
        assert (base.name_, heir.name_) == ("base", "heir")
        assert (base.who(), heir.who()) == ("Base", "Heir")


def test_a_subclass_of_a_remote_class_is_remote(launch: Launch) -> None:
    with BetterCounter.options(**launch).spawn(4) as counter:
        assert counter.add(1) == 5
        assert counter.double() == 10


def test_the_class_stays_an_ordinary_class() -> None:
    counter = Counter(10)
    assert counter.add() == 11
    assert type(counter) is Counter
    assert isinstance(BetterCounter(), Counter)
    assert pickle.loads(pickle.dumps(Counter)) is Counter
    assert pickle.loads(pickle.dumps(counter)).value == 11
    assert list(inspect.signature(Counter).parameters) == ["start"]
    assert Counter.__doc__ == "Counts."
    assert "Add, and say the sum." in pydoc.render_doc(Counter)
    assert Counter.__name__ == "Counter"
    assert not hasattr(counter, "remote")


@pytest.mark.parametrize("name", ["spawn", "options"])
def test_a_class_with_a_name_of_ours_is_refused_when_it_is_decorated(name: str) -> None:
    cls = type("Taken", (), {name: lambda self: None})
    with pytest.raises(TypeError, match=f"Taken has a '{name}' of its own.*rename it"):
        remote(cls)
    with pytest.raises(TypeError, match=f"has a '{name}' of its own"):
        remote(type("Heir", (cls,), {}))
    with pytest.raises(TypeError, match=f"has a '{name}' of its own"):
        remote(type("Heir", (Counter,), {name: lambda self: None}))


def test_what_is_no_class_is_refused_by_the_decorator() -> None:
    decorator: Any = remote
    with pytest.raises(TypeError, match="is for classes"):
        decorator(len)
    with pytest.raises(TypeError, match="is for classes"):
        decorator(Counter())


# ------------------------------------------------------------------ the work loop


@pytest.mark.engines(skip=NO_THREAD)
def test_beside_a_work_loop_that_takes_none_requests_run_in_another_thread(
    launch: Launch,
) -> None:
    with Worker.options(**launch).spawn("idle") as worker:
        main = until(lambda: worker.main.get_())
        assert worker.where() != main


@pytest.mark.engines(skip=NO_THREAD)
def test_once_the_work_loop_processes_requests_they_run_in_its_thread_only(
    launch: Launch, door: Door
) -> None:
    with Worker.options(**launch).spawn("process", door) as worker:
        door.await_arrival()
        assert worker.where() != worker.main.get_()
        door.open()
        main = worker.main.get_()
        # The takeover happens between two requests; from the first in the main thread on, all are.
        until(lambda: worker.where() == main)
        assert {worker.where() for _ in range(50)} == {main}


def test_an_inline_actor_can_have_no_work_loop() -> None:
    with pytest.raises(ValueError, match="no thread to run it in"):
        Worker.options(engine="inline").spawn("idle")


@pytest.mark.engines(skip=NO_THREAD)
def test_an_actor_whose_work_is_done_goes_on_serving(launch: Launch) -> None:
    with Worker.options(**launch).spawn("return") as worker:
        main = until(lambda: worker.main.get_())
        until(lambda: worker.where() == main)
        assert worker.alive_
        assert worker.how.get_() == "return"
    assert not worker.exc_


@pytest.mark.engines(skip=NO_PROCESS)
def test_work_that_fails_ends_the_actor_and_is_raised_on_leaving(
    launch: Launch, door: Door, diary: Diary
) -> None:
    with pytest.raises(SpawnError, match="5: the work failed"):
        with Worker.options(**launch).spawn("raise", door, diary) as worker:
            door.await_arrival()
            assert worker.how.get_() == "raise"
            door.open()
            assert worker.join_(10)
            assert worker.exitcode_ == 1
            for _ in range(2):
                with pytest.raises(ActorDiedError) as caught:
                    worker.where()
                assert isinstance(caught.value.__cause__, SpawnError)
                assert caught.value.maybe_executed is False
            assert [error.code for error in worker.exc_.group("work")] == [5]
    assert diary.lines == ["cleanup"]


def test_a_call_that_waits_when_the_work_fails_has_an_outcome(door: Door, tmp_path: Path) -> None:
    """The call that is being executed is finished; the ones behind it are as well."""
    inner = Door(tmp_path, "inner")
    with pytest.raises(SpawnError):
        with Worker.spawn("raise", door) as worker:
            door.await_arrival()
            first = Call(worker.passto, _pass_and_say, inner, "first")
            inner.await_arrival()
            second = Call(worker.passto, _say, "second")
            door.open()
            until(lambda: worker.exc_.group("work"))
            inner.open()
            assert first.wait().value == "first"
            second.wait()
            assert second.value == "second" or isinstance(second.error, ActorDiedError)


def _pass_and_say(obj: object, door: Door, word: str) -> str:
    door.wait()
    return word


def _say(obj: object, word: str) -> str:
    return word


@pytest.mark.engines(skip=NO_THREAD)
def test_work_that_calls_sys_exit_ends_the_actor_with_that_code_and_cleans_up(
    launch: Launch, diary: Diary
) -> None:
    worker = Worker.options(**launch).spawn("sys.exit", None, diary)
    assert worker.join_(10)
    assert worker.exitcode_ == 6
    assert diary.lines == ["cleanup"]
    with pytest.raises((ActorDiedError, NotListeningError)):
        worker.where()
    worker.stop_()


# ------------------------------------------------------------------ cleanup


def test_cleanup_runs_when_the_actor_is_stopped(launch: Launch, diary: Diary) -> None:
    with Patient.options(**launch).spawn(diary) as actor:
        actor.note("at work")
        assert diary.lines == ["at work"]
    assert diary.lines == ["at work", "cleanup"]


@pytest.mark.engines(skip=NO_PROCESS)
def test_cleanup_runs_when_the_actor_is_terminated(launch: Launch, diary: Diary) -> None:
    with Patient.options(**launch).spawn(diary) as actor:
        actor.terminate_()
        assert actor.join_(10)
        assert actor.exitcode_ == -signal.SIGTERM
    assert diary.lines == ["cleanup"]


def test_a_call_that_sigterm_interrupts_is_told_of_a_death_that_may_have_executed_it(
    diary: Diary, door: Door
) -> None:
    with Patient.spawn(diary) as actor:
        call = Call(actor.wait_at, door)
        door.await_arrival()
        actor.terminate_()
        error = call.wait().error
        assert isinstance(error, ActorDiedError), error
        assert error.maybe_executed is True
        assert actor.join_(10)
    assert diary.lines == ["cleanup"]


def test_cleanup_does_not_run_when_the_actor_is_killed(diary: Diary) -> None:
    with Patient.spawn(diary) as actor:
        actor.kill_()
        assert actor.join_(10)
        assert actor.exitcode_ == -signal.SIGKILL
    assert diary.lines == []


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


def test_what_interrupts_the_body_cleans_up_and_goes_on(diary: Diary) -> None:
    for error in (SystemExit(3), KeyboardInterrupt(), GeneratorExit()):
        with pytest.raises(type(error)) as caught:
            with Patient.spawn(diary):
                raise error
        assert caught.value is error
    assert diary.lines == ["cleanup"] * 3


# ------------------------------------------------------------------ stopping


@pytest.mark.engines(skip=NO_THREAD)
def test_stop_finishes_the_requests_in_hand(launch: Launch, door: Door, diary: Diary) -> None:
    actor = Patient.options(**launch).spawn(diary)
    in_hand = Call(actor.wait_for_stop, door)
    door.await_arrival()
    behind = [Call(actor.note, i) for i in range(4)]
    until_sent(actor, 5)
    stopping = Call(actor.stop_)
    assert in_hand.wait().value == "told to stop"
    assert sorted(call.wait().value for call in behind) == [0, 1, 2, 3]
    stopping.wait()
    assert stopping.error is None
    assert sorted(diary.lines) == ["0", "1", "2", "3", "cleanup"]
    assert diary.lines[-1] == "cleanup"


@pytest.mark.engines(skip=NO_THREAD)
def test_stop_refuses_the_requests_that_have_not_begun_when_asked_to(
    launch: Launch, door: Door, diary: Diary
) -> None:
    actor = Patient.options(fulfill_final=False, **launch).spawn(diary)
    in_hand = Call(actor.wait_for_stop, door)
    door.await_arrival()
    behind = [Call(actor.note, i) for i in range(4)]
    until_sent(actor, 5)
    stopping = Call(actor.stop_)
    assert in_hand.wait().value == "told to stop", "what had begun is finished"
    for call in behind:
        assert isinstance(call.wait().error, NotListeningError)
    stopping.wait()
    assert diary.lines == ["cleanup"]


def test_a_stopped_actor_is_not_called(launch: Launch) -> None:
    actor = Counter.options(**launch).spawn()
    actor.stop_()
    for call in (actor.add, actor.value.get_, lambda: len(actor.queue)):
        with pytest.raises(NotListeningError):
            call()
    assert actor.get_(default="nobody") == "nobody"
    assert actor.listening_ is False


def test_stopping_again_is_harmless(launch: Launch, diary: Diary) -> None:
    with Patient.options(**launch).spawn(diary) as actor:
        actor.stop_()
        actor.stop_()
    actor.stop_()
    assert actor.exitcode_ == 0
    assert diary.lines == ["cleanup"]


@pytest.mark.engines(skip=NO_THREAD)
def test_two_threads_that_stop_both_return_when_it_has_ended(launch: Launch, diary: Diary) -> None:
    actor = Patient.options(**launch).spawn(diary)
    barrier = threading.Barrier(2)

    def stop() -> tuple[bool, list[str]]:
        barrier.wait()
        actor.stop_()
        return actor.alive_, diary.lines

    outcomes = [Call(stop), Call(stop)]
    assert [one.wait().value for one in outcomes] == [(False, ["cleanup"])] * 2


@remote
class Suicidal:
    def __init__(self, diary: Diary) -> None:
        self.diary = diary

    def stop_yourself(self) -> str:
        current().stop_listen_()
        return "my last answer"

    @remote.cleanup
    def close(self) -> None:
        self.diary.add("cleanup")


@pytest.mark.engines(skip=NO_THREAD)
def test_an_actor_that_stops_itself_answers_first_and_ends(launch: Launch, diary: Diary) -> None:
    with Suicidal.options(**launch).spawn(diary) as actor:
        assert actor.stop_yourself() == "my last answer"
        assert actor.join_(10)
        assert actor.exitcode_ == 0
        with pytest.raises(NotListeningError):
            actor.stop_yourself()
    assert diary.lines == ["cleanup"]


def test_an_actor_that_does_not_stop_in_time_gets_sigterm(diary: Diary, door: Door) -> None:
    actor = Patient.options(stop_timeout=0.1).spawn(diary)
    call = Call(actor.wait_at, door)
    door.await_arrival()
    actor.stop_()
    assert actor.exitcode_ == -signal.SIGTERM
    (error,) = actor.exc_.group("cleanup")
    assert isinstance(error, ActorDiedError)
    assert error.signal is signal.SIGTERM
    assert "did not stop within 0.1 s" in str(error)
    assert isinstance(call.wait().error, RuntimeError)
    assert diary.lines == ["cleanup"]


def test_a_stop_by_force_is_recorded_by_an_except_that_is_for_other_types(
    diary: Diary, door: Door
) -> None:
    exc = Except(KeyError)
    actor = Patient.options(stop_timeout=0.1, exc=exc).spawn(diary)
    call = Call(actor.wait_at, door)
    door.await_arrival()
    actor.stop_()
    assert [type(error) for error in exc.group("cleanup")] == [ActorDiedError]
    assert call.wait().error is not None
    exc.close()


def test_an_actor_that_ignores_sigterm_too_gets_sigkill(
    monkeypatch: pytest.MonkeyPatch, door: Door
) -> None:
    monkeypatch.setattr("remoteobj._ownership.TERM_SECONDS", 0.1)
    with pytest.raises(ActorDiedError, match=r"did not stop within 0\.1 s .* SIGKILL"):
        with Patient.spawn() as actor:
            call = Call(actor.hang, door)
            door.await_arrival()
            actor.stop_(timeout=0.1)
            assert actor.exitcode_ == -signal.SIGKILL
            assert isinstance(call.wait().error, ActorDiedError)


def test_join_says_whether_the_actor_has_ended() -> None:
    with Counter.spawn() as counter:
        assert counter.join_(0.0) is False
        counter.terminate_()
        assert counter.join_() is True
        assert counter.join_(0.0) is True


def test_a_thread_can_not_be_killed_and_says_so(launch: Launch) -> None:
    if launch["engine"] == "process":
        pytest.skip("is a process")
    with Counter.options(**launch).spawn() as counter:
        with pytest.raises(RuntimeError, match="can't be"):
            counter.kill_()
        assert counter.add() == 1


def test_what_a_handle_prints_is_local() -> None:
    with Counter.options(name="c").spawn() as counter:
        assert repr(counter) == f"<Remote 'c' (pid {counter.pid_}) : (?)>"
        assert str(counter.a[0]) == "<Remote c : (?.a[0])>"
    assert "'c'" in repr(counter)


# ------------------------------------------------------------------ death


DEATHS = {
    "kill": (-signal.SIGKILL, signal.SIGKILL),
    "segfault": (-signal.SIGSEGV, signal.SIGSEGV),
    "exit": (3, None),
}


@pytest.mark.engines(skip=NO_PROCESS)
@pytest.mark.parametrize("how", DEATHS)
def test_a_death_in_mid_call_reaches_the_caller_at_once(launch: Launch, how: str) -> None:
    exitcode, number = DEATHS[how]
    actor = Patient.options(**launch).spawn()
    began = time.monotonic()
    with pytest.raises(ActorDiedError) as caught:
        actor.die(how)
    assert time.monotonic() - began < PROMPT
    assert (caught.value.exitcode, caught.value.signal) == (exitcode, number)
    assert caught.value.maybe_executed is True
    assert not actor.alive_
    assert actor.exitcode_ == exitcode
    with pytest.raises(ActorDiedError) as caught:
        actor.note("too late")
    assert (caught.value.exitcode, caught.value.maybe_executed) == (exitcode, False)
    actor.stop_()


def test_an_actor_that_died_while_idle_fails_the_next_call(launch: Launch) -> None:
    if launch["engine"] != "process":
        pytest.skip("is not a process of its own")
    actor = Counter.options(**launch).spawn()
    os.kill(actor.pid_, signal.SIGKILL)
    assert actor.join_(10)
    began = time.monotonic()
    with pytest.raises(ActorDiedError, match="SIGKILL; the call was not executed"):
        actor.add()
    assert time.monotonic() - began < PROMPT
    assert actor.listening_ is False
    actor.stop_()


def test_leaving_raises_the_death_that_nobody_was_told_of() -> None:
    with pytest.raises(ActorDiedError, match="SIGKILL"):
        with Counter.spawn() as counter:
            os.kill(counter.pid_, signal.SIGKILL)
            assert counter.join_(10)


def test_of_the_calls_in_flight_at_a_death_exactly_the_one_that_ran_may_have_been_executed(
    door: Door, diary: Diary
) -> None:
    actor = Patient.spawn(diary)
    running = Call(actor.wait_at, door)
    door.await_arrival()
    waiting = [Call(actor.note, i) for i in range(6)]
    until_sent(actor, 7)
    killed_at = time.monotonic()
    os.kill(actor.pid_, signal.SIGKILL)
    errors = [call.wait().error for call in (running, *waiting)]
    assert all(isinstance(error, ActorDiedError) for error in errors)
    assert [getattr(error, "maybe_executed", None) for error in errors] == [True] + [False] * 6
    assert max(call.ended_at for call in (running, *waiting)) - killed_at < PROMPT
    assert diary.lines == []
    actor.stop_()


def test_a_copy_of_a_descriptor_in_a_grandchild_does_not_hide_the_death() -> None:
    @remote
    class Parent:
        def fork(self) -> int:
            pid = os.fork()
            if not pid:
                signal.pause()
            return pid

    actor = Parent.spawn()
    grandchild = actor.fork()
    os.kill(actor.pid_, signal.SIGKILL)
    began = time.monotonic()
    try:
        with pytest.raises(ActorDiedError):
            actor.fork()
        assert time.monotonic() - began < PROMPT
    finally:
        os.kill(grandchild, signal.SIGKILL)
        actor.stop_()


# ------------------------------------------------------------------ nobody holds it any more


def test_a_handle_that_is_garbage_collected_stops_its_actor(launch: Launch, diary: Diary) -> None:
    actor: Any = Patient.options(**launch).spawn(diary)
    instance = actor._actor.instance
    part = actor.done
    del actor
    gc.collect()
    assert part.get_() == [], "a part of it is held, so it is"
    del part
    gc.collect()
    for thread in threading.enumerate():
        if thread.name.startswith("remoteobj-stop-"):
            thread.join(10)
    assert instance.join(10)
    assert diary.lines == ["cleanup"]


@pytest.mark.engines(skip={"thread": "can't die", "inline": "can't die"})
def test_a_handle_whose_error_was_raised_is_collected_all_the_same(
    launch: Launch, door: Door, diary: Diary
) -> None:
    def look() -> tuple[weakref.ref[Any], Any]:
        worker: Any = Worker.options(**launch).spawn("raise", door, diary)
        door.await_arrival()
        door.open()
        assert worker.join_(10)
        with pytest.raises(SpawnError):
            worker.exc_.raise_any("work")
        return weakref.ref(worker), worker._actor.instance

    handle, instance = look()
    gc.collect()
    assert handle() is None
    assert instance.join(10)
    assert diary.lines == ["cleanup"]


ENDINGS = {
    "end": "",
    "error": "raise ValueError('unhandled')",
    "exit": "sys.exit(5)",
    "thread": """
t = threading.Thread(target=sys.exit, args=(9,)); t.start(); t.join()
""",
}
CODES = {"end": 0, "error": 1, "exit": 5, "thread": 0}


@pytest.mark.parametrize("how", ENDINGS)
def test_the_end_of_the_program_ends_its_actors_in_order(
    script: Callable[..., Script], diary: Diary, how: str
) -> None:
    started = script(
        "actors = [spawn(start_method=m) for m in ('fork', 'forkserver')]\n"
        "actors.append(spawn(engine='thread'))\n" + ENDINGS[how]
    )
    pids = [int(started.line()) for _ in range(3)]
    code, out, err = started.finish()
    assert (code, out) == (CODES[how], "")
    assert ("ValueError: unhandled" in err) is (how == "error")
    if how != "error":
        assert err == ""
    assert all(until_gone(pid, 0.0) for pid in pids[:2])
    assert diary.lines == ["cleanup"] * 3


def test_the_end_of_the_program_does_not_wait_for_a_call_of_a_daemonic_thread_for_ever(
    script: Callable[..., Script], diary: Diary
) -> None:
    started = script(
        """
        actor = spawn(stop_timeout=0.2)
        threading.Thread(target=actor.sleep, args=(60,), daemon=True).start()
        while not len(actor._actor.endpoint.first._calls):
            time.sleep(0.001)
        """
    )
    pid = int(started.line())
    assert started.finish()[0] == 0
    assert until_gone(pid, 0.0)
    assert diary.lines == ["cleanup"]


def test_an_actor_that_is_no_daemon_ends_its_work_first(
    script: Callable[..., Script], diary: Diary
) -> None:
    source = """
        @remote
        class Job:
            begun = False
            def __init__(self, path):
                sys.argv[1:] = [path]
            @remote.work
            def loop(self):
                self.begun = True
                until = time.monotonic() + 0.5
                while self.remote.listening_ and time.monotonic() < until:
                    time.sleep(0.01)
                note("done" if self.remote.listening_ else "cut off")
            @remote.cleanup
            def close(self):
                note("cleanup")
        job = Job.options(daemon=sys.argv[2] == "daemon", stop_timeout=float(sys.argv[3]))
        job = job.spawn(sys.argv[1])
        while not job.begun.get_():
            pass
        print("ready", flush=True)
    """
    lines = []
    for kind, patience in (("daemon", 10), ("other", 10), ("other", 0.1)):
        started = script(source, kind, patience)
        assert started.line() == "ready"
        assert started.finish()[0] == 0
        lines.append(diary.lines)
        os.unlink(diary.path)
    assert lines[0] == ["cut off", "cleanup"]
    assert lines[1] == ["done", "cleanup"]
    assert lines[2] == ["done", "cleanup"], "how long work takes is not how long a stop may take"


def test_an_actor_that_is_no_daemon_does_its_work_even_if_the_end_comes_before_it(
    script: Callable[..., Script], diary: Diary
) -> None:
    """1. the object is made; 2. the owner ends and says so; 3. only then the work loop begins."""
    started = script(
        """
        from remoteobj._actor.program import _ActorServer

        heard = threading.Event()
        obey, begin = _ActorServer.obey, _ActorServer.run_in_background

        def obey_and_tell(self, order):
            obey(self, order)
            heard.set()

        def begin_late(self):
            heard.wait(10)
            begin(self)

        _ActorServer.obey, _ActorServer.run_in_background = obey_and_tell, begin_late

        @remote
        class Job:
            def __init__(self, path):
                sys.argv[1:] = [path]
            @remote.work
            def loop(self):
                note("done" if self.remote.listening_ else "cut off")
            @remote.cleanup
            def close(self):
                note("cleanup")

        job = Job.options(daemon=False, start_method="fork").spawn(sys.argv[1])
        """
    )
    assert started.finish() == (0, "", "")
    assert diary.lines == ["done", "cleanup"]


BUSY = {
    "idle": "",
    "sleeping": "actor.sleep(60)",
    "computing": "actor.passto(lambda a: [None for _ in iter(int, 1)])",
}


@pytest.mark.parametrize("busy", BUSY)
def test_an_actor_does_not_outlive_an_owner_that_is_killed(
    script: Callable[..., Script], diary: Diary, busy: str
) -> None:
    call = BUSY[busy]
    started = script(
        f"""
        actor = spawn()
        if {call!r}:
            threading.Thread(target=lambda: {call or None}, daemon=True).start()
            while not len(actor._actor.endpoint.first._calls):
                time.sleep(0.001)
            time.sleep(0.05)
        print("ready", flush=True)
        sys.stdin.read() or signal.pause()
        """
    )
    pid = int(started.line())
    assert started.line() == "ready"
    os.kill(started.process.pid, signal.SIGKILL)
    gone = until_gone(pid, ORPHAN)
    if not gone:
        os.kill(pid, signal.SIGKILL)
    assert gone
    if busy in ("idle", "sleeping"):
        assert diary.lines == ["cleanup"]


def test_an_actor_that_is_being_made_does_not_outlive_an_owner_that_is_killed(
    script: Callable[..., Script],
) -> None:
    started = script(
        """
        import contextlib
        @remote
        class Slow:
            def __init__(self):
                print(os.getpid(), flush=True)
                time.sleep(60)
        Slow.spawn()
        """
    )
    pid = int(started.line())
    os.kill(started.process.pid, signal.SIGKILL)
    assert until_gone(pid, ORPHAN)


def test_an_actor_of_an_actor_does_not_outlive_the_owner_of_both(
    script: Callable[..., Script],
) -> None:
    started = script(
        """
        actor = spawn()
        actor.passto(lambda a: setattr(a, "child", spawn()))
        signal.pause()
        """
    )
    pids = [int(started.line()) for _ in range(2)]
    os.kill(started.process.pid, signal.SIGKILL)
    assert [until_gone(pid, ORPHAN) for pid in pids] == [True, True]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_ctrl_c_is_for_the_owner_to_decide(
    script: Callable[..., Script], diary: Diary, method: str
) -> None:
    started = script(
        """
        actor = spawn(start_method=sys.argv[2])
        try:
            print("ready", flush=True)
            signal.pause()
        except KeyboardInterrupt:
            answer = actor.passto(lambda a: "still there")
        print(answer, flush=True)
        signal.pause()
        """,
        method,
    )
    pid = int(started.line())
    assert started.line() == "ready"
    os.killpg(started.process.pid, signal.SIGINT)
    assert started.line() == "still there"
    os.killpg(started.process.pid, signal.SIGINT)
    code, _, err = started.finish()
    assert code == -signal.SIGINT
    assert err.count("Traceback") == 1, err
    assert until_gone(pid, 0.0)
    assert diary.lines == ["cleanup"]


def test_ctrl_c_in_a_call_does_not_disturb_the_actor(
    script: Callable[..., Script], diary: Diary, door: Door
) -> None:
    started = script(
        """
        with spawn() as actor:
            try:
                actor.passto(
                    lambda a, reached, opened: (open(reached, "wb").close(), open(opened).read()),
                    *sys.argv[2:],
                )
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            print(actor.passto(lambda a: "the next answer"), flush=True)
        """,
        door.reached,
        door.opened,
    )
    started.line()
    door.await_arrival()
    os.killpg(started.process.pid, signal.SIGINT)
    assert started.line() == "interrupted"
    door.open()
    assert started.line() == "the next answer"
    assert started.finish() == (0, "", "")
    assert diary.lines == ["cleanup"]


@pytest.mark.parametrize("held", ["with", "handles"])
def test_a_second_ctrl_c_kills_what_is_still_being_stopped(
    script: Callable[..., Script], held: str
) -> None:
    started = script(
        """
        import contextlib
        @remote
        class Slow:
            @remote.cleanup
            def close(self):
                os.write(1, b"cleaning\\n")
                signal.pause()
        with contextlib.ExitStack() as stack:
            actors = [Slow.spawn() for _ in range(2)]
            if sys.argv[2] == "with":
                for actor in actors:
                    stack.enter_context(actor)
            print(*[actor.pid_ for actor in actors], flush=True)
            signal.pause()
        """,
        held,
    )
    pids = list(map(int, started.line().split()))
    os.killpg(started.process.pid, signal.SIGINT)
    assert started.line() == "cleaning"
    os.killpg(started.process.pid, signal.SIGINT)
    code, _, err = started.finish()
    assert code == -signal.SIGINT
    assert err.count("KeyboardInterrupt") == 2
    assert [until_gone(pid, 0.0) for pid in pids] == [True, True]


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


def test_a_ctrl_c_that_is_raised_anew_is_no_second_one(
    script: Callable[..., Script], diary: Diary
) -> None:
    started = script("""
        with spawn() as actor:
            print("ready", flush=True)
            try:
                signal.pause()
            except KeyboardInterrupt:
                raise KeyboardInterrupt("and out")
    """)
    started.line()
    started.line()
    os.killpg(started.process.pid, signal.SIGINT)
    assert started.finish().code == -signal.SIGINT
    assert diary.lines == ["cleanup"]


def test_a_second_ctrl_c_kills_a_function_that_is_being_ended(
    script: Callable[..., Script],
) -> None:
    started = script("""
        from remoteobj import util
        def stubborn():
            while True:
                try:
                    os.write(1, f"{os.getpid()}\\n".encode())
                    signal.pause()
                except BaseException:
                    pass
        with util.process(stubborn):
            signal.pause()
    """)
    pid = int(started.line())
    os.killpg(started.process.pid, signal.SIGINT)
    assert int(started.line()) == pid, "it has taken the SIGTERM, and goes on"
    os.killpg(started.process.pid, signal.SIGINT)
    assert started.finish().code == -signal.SIGINT
    assert until_gone(pid, 0.0)


@pytest.mark.parametrize("how", ["handler", "ignored"])
def test_where_somebody_else_reaps_all_children_ends_are_seen_all_the_same(
    script: Callable[..., Script], how: str
) -> None:
    started = script(
        """
        import contextlib, time
        from remoteobj import ActorDiedError, util
        def reap(*_):
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        signal.signal(signal.SIGCHLD, reap if sys.argv[2] == "handler" else signal.SIG_IGN)
        begun = time.monotonic()
        with spawn() as actor:
            assert actor.alive_
        assert not actor.alive_ and actor.exitcode_ is None
        dead = spawn()
        try:
            dead.passto(lambda _: os._exit(3))
        except ActorDiedError as error:
            print(error.exitcode, error.maybe_executed)
        assert not dead.alive_
        dead.stop_()
        assert not len(dead.exc_)
        killed = spawn()
        killed.kill_()
        assert killed.join_(5) and not killed.alive_
        killed.stop_()
        with util.process(lambda: 5) as p:
            pass
        assert p.result == 5 and not p.is_alive()
        print(time.monotonic() - begun < 5)
        """,
        how,
    )
    code, out, err = started.finish()
    assert (code, err) == (0, "")
    assert "None True" in out.splitlines()
    assert out.splitlines()[-1] == "True"


# ------------------------------------------------------------------ who spawns, who holds


def test_a_thread_may_spawn() -> None:
    actor = Call(Counter.spawn, 5).wait().value
    with actor:
        assert actor.add() == 6


def test_a_signal_handler_may_spawn_within_a_spawn(monkeypatch: pytest.MonkeyPatch) -> None:
    handled: list[Any] = []
    original = FlightRecorder.__init__

    def init(self: FlightRecorder, *args: Any) -> None:
        original(self, *args)
        if not handled:
            handled.append(None)
            os.kill(os.getpid(), signal.SIGUSR1)  # when all that leads to the outer one is there

    monkeypatch.setattr(FlightRecorder, "__init__", init)
    before = signal.signal(signal.SIGUSR1, lambda *_: handled.append(Counter.spawn(1)))
    try:
        with Counter.options(start_method="fork").spawn(2) as outer, handled[1] as inner:
            assert (outer.add(), inner.add()) == (3, 2)
    finally:
        signal.signal(signal.SIGUSR1, before)
        handled.clear()


def test_threads_may_spawn_at_once() -> None:
    barrier = threading.Barrier(4)

    def life(i: int) -> int:
        barrier.wait()
        with Counter.spawn(i) as counter:
            return int(counter.add(10))

    lives = [Call(life, i) for i in range(4)]
    assert [one.wait().value for one in lives] == [10, 11, 12, 13]


@remote
class Nest:
    def __init__(self, launch: Launch) -> None:
        self.inner = Counter.options(**launch).spawn(100)

    def add(self) -> Any:
        return self.inner.add(), self.inner.pid_

    def lend(self) -> Any:
        return self.inner


@pytest.mark.engines(skip=NO_THREAD)
def test_an_actor_may_spawn_an_actor_which_ends_with_it(launch: Launch) -> None:
    with Nest.options(**launch).spawn(launch) as nest:
        value, pid = nest.add()
        assert value == 101
        assert launch["engine"] == "thread" or pid not in (nest.pid_, os.getpid())
        assert nest.lend().add() == 102, "the handle of an actor may be a result"
    assert launch["engine"] == "thread" or until_gone(pid, ORPHAN)


def in_child(func: Callable[[], bool]) -> int:
    """The exit code of a forked child: 0 if the function says yes there."""
    pid = os.fork()
    if not pid:
        code = 2
        try:
            code = 0 if func() else 1
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    sweep()
    return code


def test_a_forked_child_may_spawn() -> None:
    def life() -> bool:
        with Counter.spawn(1) as counter:
            return bool(counter.add() == 2)

    with Counter.spawn() as other:  # so that something of ours is inherited
        assert in_child(life) == 0
        assert other.add() == 1


def test_an_actor_of_a_forked_child_that_just_exits_ends_too(tmp_path: Path) -> None:
    path = tmp_path / "pid"

    def leave() -> bool:
        path.write_text(str(Counter.spawn().pid_))
        return True

    assert in_child(leave) == 0
    assert until_gone(int(path.read_text()), ORPHAN)
    sweep()


def test_a_handle_works_on_both_sides_of_a_fork(launch: Launch) -> None:
    if launch["engine"] == "inline":
        pytest.skip("lives in the caller's thread, and the fork copies it")
    with Counter.options(**launch).spawn() as counter:
        assert counter.add() == 1
        assert in_child(lambda: [counter.add() for _ in range(3)] == [2, 3, 4]) == 0
        assert counter.add() == 5

        def leave_with() -> bool:
            with counter:
                return bool(counter.add() == 6)

        assert in_child(leave_with) == 0
        assert counter.add() == 7, "only its owner stops an actor"


def test_a_forked_child_learns_of_the_death_of_its_parent_s_actor() -> None:
    actor = Patient.spawn()
    os.kill(actor.pid_, signal.SIGKILL)
    actor.join_(10)

    def call() -> bool:
        try:
            actor.note(1)
        except (ActorDiedError, NotListeningError):
            return True
        return False

    assert in_child(call) == 0
    actor.stop_()


def _add_thrice(counter: Any, results: Any) -> None:
    results.send([counter.add() for _ in range(3)])


def test_a_handle_may_be_given_to_a_process(start_method: str) -> None:
    context: Any = multiprocessing.get_context(start_method)
    with Counter.spawn() as counter:
        assert counter.add() == 1
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_add_thrice, args=(counter, theirs))
        process.start()
        theirs.close()
        assert ours.recv() == [2, 3, 4]
        process.join(10)
        process.close()
        ours.close()
        assert counter.add() == 5


def _spawn_inside(results: Any) -> None:
    with Counter.spawn(7) as counter:
        results.send(counter.add())


def test_a_daemonic_process_may_spawn(start_method: str) -> None:
    context: Any = multiprocessing.get_context(start_method)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_spawn_inside, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    assert ours.recv() == 8
    process.join(10)
    assert process.exitcode == 0
    process.close()
    ours.close()


@remote
class Borrower:
    def use(self, counter: Any) -> Any:
        return counter.add()

    def keep(self, counter: Any) -> None:
        self.counter = counter

    def use_kept(self) -> Any:
        return self.counter.add()


def test_a_handle_may_be_an_argument_of_a_call(launch: Launch) -> None:
    with Counter.spawn() as counter, Borrower.options(**launch).spawn() as borrower:
        assert borrower.use(counter) == 1
        borrower.keep(counter)
        assert borrower.use_kept() == 2
        assert counter.add() == 3
        counter.stop_()
        with pytest.raises((NotListeningError, ActorDiedError)):
            borrower.use_kept()


def test_a_handle_that_came_from_elsewhere_does_not_own_the_actor() -> None:
    with Counter.spawn() as counter, Borrower.spawn() as borrower:
        echoed = borrower.passto(_echo, counter)
        assert type(echoed) is remoteobj.Proxy
        assert echoed.add() == 1
        del echoed
        gc.collect()
        assert counter.add() == 2


def _echo(obj: object, value: Any) -> Any:
    return value
