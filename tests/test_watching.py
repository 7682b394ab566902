"""Watching an actor from outside while it works: status, stacks, interruption, certificates."""

import asyncio
import contextlib
import errno
import faulthandler
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remoteobj import ActorDiedError, CallTimeoutError, NotListeningError, RemoteError, remote, util
from remoteobj._actor.status import sketch
from remoteobj._engines import out_of_memory
from remoteobj._engines.flight_recorder import OUTPUT, FlightRecorder
from tests.conftest import Launch
from tests.tools import Call, Door, until, until_sent

PROCESSES = {"thread": "is no process", "inline": "is no process"}


@remote
class Miller:
    def __init__(self) -> None:
        self.ground = 0

    def grind(self, door: Door, _: bytes = b"") -> str:
        door.wait()
        self.ground += 1
        return "flour"

    def by_way_of(self, other: Any, me: Any, door: Door) -> None:
        other.passto(lambda _: me.ground.get_())
        door.wait()

    def for_ever(self, door: Door) -> None:
        door.arrive()
        while True:
            self.ground += 1

    def stubborn(self, door: Door) -> str:
        try:
            door.arrive()
            time.sleep(60)
        except ValueError:
            return "caught it"
        return "slept"

    def hold(self, door: Door) -> None:
        """In C, with the interpreter held, and without an end."""
        door.arrive()
        sum(range(10**12))

    def sacks(self, door: Door) -> Iterator[int]:
        yield 1
        door.arrive()
        time.sleep(60)
        yield 2

    def crash(self) -> None:
        faulthandler._sigsegv()

    def complain(self, count: int) -> None:
        for i in range(count):
            print(f"complaint {i}", file=sys.stderr)
        os._exit(7)

    def nested(self, other: Any, door: Door) -> Any:
        return other.grind(door)


@pytest.fixture
def miller(launch: Launch) -> Iterator[Any]:
    with Miller.options(**launch).spawn() as handle:
        yield handle


# ------------------------------------------------------------------ status


def test_an_idle_actor_says_that_it_is_idle(miller: Any) -> None:
    assert miller.ground.get_() == 0
    status = miller.status_()
    assert (status.state, status.call, status.age, status.queued) == ("running", None, 0.0, ())
    assert status.done == 1
    assert status.memory > 1 << 20
    assert status.threads


@pytest.mark.engines(skip={"inline": "works only while its caller waits"})
def test_a_busy_actor_says_what_it_runs_and_since_when(miller: Any, door: Door) -> None:
    future = miller.future_.grind(door)
    door.await_arrival()
    first, second = miller.status_(), miller.status_()
    assert first.call == "?.grind(...)"
    assert 0 <= first.age < second.age
    door.open()
    assert future.result() == "flour"
    until(lambda: miller.status_().call is None)
    assert miller.status_().done == 1


def test_a_busy_actor_says_what_it_has_taken_in(tmp_path: Path) -> None:
    @remote
    class Taker:
        def work(self, door: Door) -> None:
            door.wait()
            self.remote.process_requests()

        def nap(self) -> None: ...

    outer, inner = Door(tmp_path, "outer"), Door(tmp_path, "inner")
    with Taker.spawn() as taker:
        futures = [
            taker.future_.work(outer),
            taker.future_.passto(lambda _, door: door.wait(), inner),
        ]
        futures += [taker.future_.nap(), taker.future_.nap()]
        outer.await_arrival()
        until_sent(taker, 4)
        outer.open()
        inner.await_arrival()
        status = taker.status_()
        assert status.call == "f(?)"
        assert status.queued == ("?.nap(...)", "?.nap(...)")
        inner.open()
        for future in futures:
            future.result()


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        (("grind", (1,)), "?.grind(...)"),
        ((("attr", "a"), ("attr", "b"), ("call", ("attr",), {})), "?.a.b(...)"),
        ((("attr", "a"), ("setitem", "k", 1)), "?.a[...] = ..."),
        ((("attr", "a"),), "?.a"),
        ((("len",),), "len(?)"),
        ((), "?"),
    ],
)
def test_a_request_is_named_without_unpickling_it(steps: Any, text: str) -> None:
    assert sketch(pickle.dumps(steps, 5)) == text
    assert sketch(pickle.dumps(steps, 5)[:-3]) in (text, "?", "?.a.b")


def test_what_is_no_pickle_is_named_all_the_same() -> None:
    assert sketch(b"\xff\xff nonsense") == "?"


@pytest.mark.engines(only=["process"], reason="forks")
def test_only_the_owner_can_ask() -> None:
    with Miller.spawn() as miller:
        pid = os.fork()
        if not pid:
            try:
                miller.status_()
            except NotListeningError:
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert miller.status_().state == "running"


@pytest.mark.engines(skip=PROCESSES)
def test_to_ask_a_dead_actor_is_an_error(launch: Launch) -> None:
    miller: Any = Miller.options(**launch).spawn()
    os.kill(miller.pid_, signal.SIGKILL)
    miller.join_()
    for ask in (miller.status_, miller.stack_, miller.interrupt_):
        with pytest.raises(ActorDiedError, match="SIGKILL"):
            ask()
    miller.kill_()
    miller.stop_()
    with pytest.raises(ActorDiedError):
        miller.status_()


def test_threads_may_ask_at_once(miller: Any) -> None:
    calls = [Call(lambda: [miller.status_().state for _ in range(50)]) for _ in range(4)]
    assert [call.result() for call in calls] == [["running"] * 50] * 4


# ------------------------------------------------------------------ stacks


@pytest.mark.engines(skip={"inline": "works only while its caller waits"})
def test_the_stack_shows_where_a_method_is_and_none_of_our_frames(miller: Any, door: Door) -> None:
    future = miller.future_.grind(door)
    door.await_arrival()
    stack = miller.stack_()
    assert ", in grind" in stack
    assert ", in wait" in stack
    assert "evaluate" not in stack.split("Thread ")[1] or miller.pid_ == os.getpid()
    door.open()
    future.result()


@pytest.mark.engines(skip=PROCESSES)
def test_the_stack_of_one_that_holds_the_interpreter_comes_by_a_signal(
    launch: Launch, door: Door
) -> None:
    miller: Any = Miller.options(**launch).spawn()
    miller.cast_.hold(door)
    door.await_arrival()

    def silent() -> bool:
        try:
            miller.status_(timeout=0.05)
        except CallTimeoutError as error:
            return "stack_() shows where" in str(error)
        return False

    until(silent)
    assert "in hold" in miller.stack_(timeout=0.05)
    miller.kill_()
    miller.stop_()


@pytest.mark.engines(skip=PROCESSES)
def test_one_that_is_stopped_has_no_stack(launch: Launch) -> None:
    with Miller.options(**launch).spawn() as miller:
        os.kill(miller.pid_, signal.SIGSTOP)
        until(lambda: "(stopped)" in Path(f"/proc/{miller.pid_}/status").read_text())
        with pytest.raises(CallTimeoutError, match="it is stopped"):
            miller.stack_(timeout=0.05)
        os.kill(miller.pid_, signal.SIGCONT)
        assert "Thread" in miller.stack_(timeout=5)


# ------------------------------------------------------------------ interruption


@pytest.mark.engines(skip=PROCESSES)
@pytest.mark.parametrize("method", ["grind", "for_ever"])
def test_an_interrupted_call_ends_with_that_exception_and_the_actor_goes_on(
    launch: Launch, door: Door, method: str
) -> None:
    with Miller.options(**launch).spawn() as miller:
        future = getattr(miller.future_, method)(door)
        after = miller.future_.ground.get_()
        door.await_arrival()
        assert miller.interrupt_(ValueError("enough"))
        with pytest.raises(ValueError, match="enough"):
            future.result(10)
        assert after.result(10) == miller.ground.get_()
        assert miller.interrupt_() is False


class Slow:
    """Takes its time to arrive."""

    def __init__(self, door: Door) -> None:
        self.door = door

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self.door.wait()


@pytest.mark.engines(skip=PROCESSES)
def test_a_call_whose_arguments_are_still_being_unpickled_does_not_run_yet(door: Door) -> None:
    with Miller.spawn() as miller:
        future = miller.future_.passto(lambda _, slow: type(slow).__name__, Slow(door))
        door.await_arrival()
        assert miller.status_().call is None
        assert miller.interrupt_() is False
        door.open()
        assert future.result(10) == "Slow"


@pytest.mark.engines(skip=PROCESSES)
def test_by_default_it_is_a_keyboard_interrupt_which_the_caller_gets_wrapped(door: Door) -> None:
    with Miller.spawn() as miller:
        future = miller.future_.for_ever(door)
        door.await_arrival()
        assert miller.interrupt_()
        with pytest.raises(RemoteError) as caught:
            future.result(10)
        assert isinstance(caught.value.__cause__, KeyboardInterrupt)


@pytest.mark.engines(skip=PROCESSES)
def test_a_method_may_catch_what_interrupts_it(door: Door) -> None:
    with Miller.spawn() as miller:
        future = miller.future_.stubborn(door)
        door.await_arrival()
        assert miller.interrupt_(ValueError)
        assert future.result(10) == "caught it"


@pytest.mark.engines(skip=PROCESSES)
def test_a_stream_is_interrupted_between_its_items(door: Door) -> None:
    with Miller.spawn() as miller:
        stream = iter(miller.sacks(door))
        assert next(stream) == 1
        door.await_arrival()
        assert miller.status_().call == "?.sacks(...)"
        assert miller.interrupt_(KeyError("stop"))
        with pytest.raises(KeyError, match="stop"):
            next(stream)
        assert miller.ground.get_() == 0


@pytest.mark.engines(skip=PROCESSES)
def test_a_call_within_a_call_is_interrupted_where_it_waits(door: Door) -> None:
    with Miller.spawn() as outer, Miller.spawn() as inner:
        future = outer.future_.nested(inner, door)
        door.await_arrival()
        assert outer.interrupt_(ValueError("outer"))
        with pytest.raises(ValueError, match="outer"):
            future.result(10)
        door.open()
        assert outer.ground.get_() == 0
        assert until(lambda: inner.ground.get_()) == 1, "the inner call went on, its reply dropped"
        assert outer.passto(lambda m, other: other.ground.get_(), inner) == 1


def test_a_request_in_the_background_is_not_interrupted_and_neither_is_the_loop(
    door: Door,
) -> None:
    @remote
    class Busy:
        @remote.work
        def loop(self) -> None:
            while self.remote.listening_:
                time.sleep(0.01)

        def wait(self, door: Door) -> str:
            door.wait()
            return "done"

    with Busy.spawn() as busy:
        future = busy.future_.wait(door)
        door.await_arrival()
        assert busy.interrupt_(ValueError("no")) is False
        door.open()
        assert future.result(10) == "done"


@pytest.mark.parametrize("engine", ["thread", "inline"])
def test_where_the_main_thread_is_the_owners_nothing_is_interrupted(engine: str) -> None:
    with Miller.options(engine=engine).spawn() as miller:
        assert miller.interrupt_() is False


def test_interrupting_over_and_over_loses_no_reply() -> None:
    """Wherever the signal comes, between calls too, each call has its outcome."""
    with Miller.spawn() as miller:
        over = threading.Event()

        def interrupt() -> None:
            while not over.is_set():
                miller.interrupt_(ValueError("again"))

        interrupting = threading.Thread(target=interrupt, name="test-interrupts")
        interrupting.start()
        outcomes = {"value": 0, "error": 0}
        for _ in range(400):
            try:
                assert miller.passto(lambda m: sum(range(2000))) == 1999000
                outcomes["value"] += 1
            except ValueError:
                outcomes["error"] += 1
        over.set()
        interrupting.join()
        assert sum(outcomes.values()) == 400
        assert miller.ground.get_() == 0


@remote
class Looper:
    def __init__(self, door: Door) -> None:
        self.doors = [door]
        self.seen: list[str] = []

    @remote.work
    def loop(self) -> None:
        while self.remote.listening_:
            try:
                while self.doors:
                    self.doors.pop().arrive()  # from here on whatever is thrown is caught
                while self.remote.listening_:
                    self.remote.process_requests(timeout=0.05)
            except ValueError as error:
                self.seen.append(str(error))


def test_a_work_loop_is_interrupted_too_and_may_go_on(door: Door) -> None:
    with Looper.spawn(door) as looper:
        door.await_arrival()
        assert looper.interrupt_(ValueError("loop"))
        assert until(lambda: looper.seen.get_()) == ["loop"]


# ------------------------------------------------------------------ time limits that explain


@pytest.mark.engines(skip={"inline": "works only while its caller waits"})
def test_a_time_limit_says_what_the_actor_does_instead(miller: Any, door: Door) -> None:
    future = miller.future_.grind(door)
    ahead = miller.future_.ground.get_()
    door.await_arrival()
    with pytest.raises(CallTimeoutError, match=r"running \?\.grind\(\.\.\.\) for") as caught:
        miller.with_(timeout=0.05).passto(len)
    assert caught.value.remote_stack is not None
    assert ", in grind" in caught.value.remote_stack
    assert caught.value.queued_ahead == ("?.ground",)
    door.open()
    assert future.result() == "flour"
    assert ahead.result() == 1


@pytest.mark.engines(skip={"inline": "works only while its caller waits"})
def test_futures_and_awaits_explain_their_time_limits_too(miller: Any, door: Door) -> None:
    parked = miller.future_.grind(door)
    door.await_arrival()
    limited = miller.with_(timeout=0.05)
    assert "?.grind" in str(limited.future_.passto(len).exception(10))

    async def main() -> str:
        try:
            await limited.async_.passto(len)
        except CallTimeoutError as error:
            return str(error)
        return ""

    assert "?.grind" in asyncio.run(main())
    door.open()
    parked.result()


@pytest.mark.engines(skip=PROCESSES)
def test_a_call_that_is_out_of_time_is_interrupted_if_that_was_said(
    launch: Launch, door: Door
) -> None:
    with Miller.options(**launch).spawn() as miller:
        call = Call(lambda: miller.with_(timeout=0.2, interrupt=True).for_ever(door))
        door.await_arrival()
        with pytest.raises(CallTimeoutError):
            call.result()
        assert miller.with_(timeout=10).ground.get_() > 0


@pytest.mark.engines(skip=PROCESSES)
def test_only_the_call_that_is_out_of_time_is_interrupted(door: Door) -> None:
    with Miller.spawn() as miller:
        other = miller.future_.grind(door)
        door.await_arrival()
        with pytest.raises(CallTimeoutError):
            miller.with_(timeout=0.05, interrupt=True).ground.get_()
        door.open()
        assert other.result(10) == "flour"


# ------------------------------------------------------------------ certificates


@pytest.mark.engines(skip=PROCESSES)
def test_a_crash_in_c_comes_with_its_stacks_and_the_memory_that_was_used(launch: Launch) -> None:
    miller: Any = Miller.options(**launch).spawn()
    with pytest.raises(ActorDiedError, match="SIGSEGV") as caught:
        miller.crash()
    assert caught.value.last_stack is not None
    assert "Segmentation fault" in caught.value.last_stack
    assert "in crash" in caught.value.last_stack
    if launch["start_method"] != "forkserver":  # there it is the child of another process
        assert caught.value.peak_memory is not None
        assert caught.value.peak_memory > 1 << 20
    assert caught.value.out_of_memory is False
    miller.kill_()
    miller.stop_()


@pytest.mark.engines(skip=PROCESSES)
@pytest.mark.parametrize("count", [3, 5000])
def test_the_last_words_on_stderr_are_kept(launch: Launch, count: int) -> None:
    miller: Any = Miller.options(**launch).spawn()
    with pytest.raises(ActorDiedError, match="exited with code 7") as caught:
        miller.complain(count)
    output = caught.value.last_output
    assert output is not None
    assert output.splitlines()[-1] == f"complaint {count - 1}"
    assert len(output) <= OUTPUT
    miller.kill_()
    miller.stop_()


@pytest.mark.engines(skip=PROCESSES)
@pytest.mark.parametrize("large", [b"", bytes(1 << 20)])
def test_what_it_was_running_is_told_also_where_another_had_called(
    launch: Launch, door: Door, large: bytes
) -> None:
    def call(miller: Any) -> None:
        with contextlib.suppress(ActorDiedError):
            miller.grind(door, large)

    miller: Any = Miller.options(**launch).spawn()
    with util.process(call, miller):
        door.await_arrival()
        os.kill(miller.pid_, signal.SIGKILL)
    assert miller.join_(10)
    with pytest.raises(ActorDiedError, match=r"SIGKILL, while it ran \?\.grind\(") as caught:
        miller.crash()
    assert caught.value.running == "?.grind(...)"
    assert not caught.value.maybe_executed
    miller.kill_()
    miller.stop_()


@pytest.mark.engines(skip=PROCESSES)
def test_one_that_dies_idle_was_running_nothing(launch: Launch) -> None:
    miller: Any = Miller.options(**launch).spawn()
    miller.ground.get_()
    os.kill(miller.pid_, signal.SIGKILL)
    with pytest.raises(ActorDiedError) as caught:
        miller.crash()
    assert caught.value.running is None
    miller.kill_()
    miller.stop_()


@pytest.mark.engines(skip=PROCESSES)
def test_of_calls_within_calls_it_was_running_the_outer_one_once_the_inner_is_over(
    launch: Launch, door: Door
) -> None:
    miller: Any = Miller.options(**launch).spawn()
    with Miller.options(**launch).spawn() as other:
        call = Call(miller.by_way_of, other, miller, door)
        door.await_arrival()
        os.kill(miller.pid_, signal.SIGKILL)
        call.wait()
    assert isinstance(call.error, ActorDiedError)
    assert call.error.running == "?.by_way_of(...)"
    miller.kill_()
    miller.stop_()


@pytest.mark.engines(skip=PROCESSES)
def test_of_a_stream_it_was_running_the_method(launch: Launch, door: Door) -> None:
    miller: Any = Miller.options(**launch).spawn()
    call = Call(list, miller.sacks(door))
    door.await_arrival()
    os.kill(miller.pid_, signal.SIGKILL)
    call.wait()
    assert isinstance(call.error, ActorDiedError)
    assert call.error.running == "?.sacks(...)"
    miller.kill_()
    miller.stop_()


@pytest.mark.parametrize(
    ("ours", "events", "count"),
    [
        ("0::/a/b\n", "low 0\noom 3\noom_kill 2\noom_group_kill 1\n", 2),
        ("12:cpu:/x\n0::/a/b\n", "oom_kill 7\n", 7),
        ("12:cpu:/x\n", "oom_kill 7\n", None),
        ("0::/a/b\n", "low 0\n", None),
        ("0::/elsewhere\n", "oom_kill 7\n", None),
    ],
)
def test_the_kernel_tells_how_many_were_killed_for_memory_where_it_has_such_groups(
    ours: str, events: str, count: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "groups" / "a" / "b").mkdir(parents=True)
    (tmp_path / "groups" / "a" / "b" / "memory.events").write_text(events)
    (tmp_path / "ours").write_text(ours)
    monkeypatch.setattr(out_of_memory, "OURS", str(tmp_path / "ours"))
    monkeypatch.setattr(out_of_memory, "GROUPS", str(tmp_path / "groups"))
    assert out_of_memory._count() == count


def test_a_print_by_a_signal_handler_within_a_print_hangs_nobody() -> None:
    def write(miller: Any) -> int:
        handled: list[int] = []

        def tick(*_: object) -> None:
            handled.append(sys.stderr.write("tick"))

        signal.signal(signal.SIGALRM, tick)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        try:
            while len(handled) < 200:
                with contextlib.suppress(RuntimeError):  # by the buffer below: it was re-entered
                    sys.stderr.write("work")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return len(handled)

    with Miller.spawn() as miller:
        assert miller.with_(timeout=15).passto(write) >= 200


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_words_of_a_child_are_not_the_actors_and_its_lock_is_not_the_childs() -> None:
    def fork_in_a_note(miller: Any) -> int:
        stream: Any = sys.stderr
        with stream._box._lock:  # as another thread of it may
            child = os.fork()
            if not child:
                sys.stderr.write("the child's words")
                os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def have_another(miller: Any) -> None:
        with Miller.options(start_method="fork").spawn() as inner:
            inner.passto(lambda _: print("inner words", file=sys.stderr))

    miller: Any = Miller.options(start_method="fork").spawn()
    assert miller.with_(timeout=10).passto(fork_in_a_note) == 0
    miller.passto(have_another)
    with pytest.raises(ActorDiedError) as caught:
        miller.complain(1)
    assert caught.value.last_output == "complaint 0\n"
    miller.kill_()


def test_a_stderr_whose_write_gives_nothing_stays_as_good_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Quiet:
        def write(self, text: str) -> None:
            pass

        def flush(self) -> None:
            pass

    monkeypatch.setattr(sys, "stderr", Quiet())
    with Miller.options(start_method="fork").spawn() as miller:
        assert miller.passto(lambda _: print("hello", file=sys.stderr)) is None


def test_a_function_that_dies_has_its_certificate_too() -> None:
    def end() -> None:
        print("no more", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ActorDiedError, match="SIGKILL") as caught, util.process(end):
        pass
    assert caught.value.last_output == "no more\n"


def test_the_black_box_keeps_the_end_of_what_is_noted() -> None:
    box = FlightRecorder()
    assert box.output() == box.stacks() == ""
    box.note(b"ab")
    box.note(b"c" * OUTPUT)
    assert box.output() == "c" * OUTPUT
    box.note(b"the end")
    assert box.output().endswith("cthe end")
    assert len(box.output()) == OUTPUT
    box.note(b"x" * (3 * OUTPUT) + b"!")
    assert box.output().endswith("x!")
    box.close()
    box.close()


def test_a_kill_for_want_of_memory_is_known_by_the_count_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts: list[int | None] = [4]
    monkeypatch.setattr(out_of_memory, "_count", lambda: counts[-1])
    monkeypatch.setattr(out_of_memory, "_seen", [])
    out_of_memory.watch()
    assert not out_of_memory.killed_for_memory()
    counts.append(5)
    miller: Any = Miller.spawn()
    with pytest.raises(ActorDiedError, match="since memory ran out") as caught:
        miller.passto(lambda m: os.kill(os.getpid(), signal.SIGKILL))
    assert caught.value.out_of_memory
    assert not out_of_memory.killed_for_memory(), "it was that one"
    counts.append(None)
    assert not out_of_memory.killed_for_memory()
    miller.kill_()
    miller.stop_()


@pytest.mark.parametrize("part", ["line", "socket_line", "BlackBox", "share_classes"])
def test_a_start_that_fails_half_way_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def fail(*_: object) -> Any:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(f"remoteobj._engines.process.{part}", fail)
    with pytest.raises(OSError, match="too many") as caught:
        Miller.options(start_method="fork").spawn()
    assert "ulimit -n" in caught.value.__notes__[0], "it says what to do"


def test_calls_that_wait_are_counted_by_their_connection(door: Door) -> None:
    with Miller.spawn() as miller:
        first = miller.future_.grind(door)
        door.await_arrival()
        second = miller.future_.ground.get_()
        until_sent(miller, 2)
        connection = miller._ref.endpoint._connection
        assert [sketch(one) for one in connection.ahead_of(second._ticket)] == ["?.grind(...)"]
        door.open()
        first.result()
        second.result()


def test_a_work_loop_that_is_interrupted_over_and_over_keeps_its_mailbox_in_order() -> None:
    """Wherever in the taking in and running of requests it comes."""

    @remote
    class Stubborn:
        def __init__(self) -> None:
            self.caught = 0

        @remote.work
        def loop(self) -> None:
            while self.remote.listening_:
                with contextlib.suppress(ValueError):  # it may come while one is being caught
                    self.go_on()

        def go_on(self) -> None:
            while self.remote.listening_:
                try:
                    while self.remote.listening_:
                        self.remote.process_requests(timeout=0.01)
                except ValueError:
                    self.caught += 1

        def echo(self, value: int) -> int:
            return value

    with Stubborn.spawn() as stubborn:
        over = threading.Event()

        def interrupt() -> None:
            while not over.is_set():
                stubborn.interrupt_(ValueError("again"))

        interrupting = threading.Thread(target=interrupt, name="test-interrupts")
        interrupting.start()
        answered = 0
        for i in range(300):
            try:
                assert stubborn.with_(timeout=10).echo(i) == i
                answered += 1
            except ValueError:
                pass
        over.set()
        interrupting.join()
        assert stubborn.echo(1) == 1
        assert stubborn.caught.get_() > 0
        assert stubborn.passto(lambda s: s.remote._ref.home.mailbox._depth) == 1
