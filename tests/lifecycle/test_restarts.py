"""An actor whose process has failed is started again at the same address, and its handles go on."""

import asyncio
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from remoteobj import (
    ActorDiedError,
    CallTimeoutError,
    DeadlockError,
    ExitReport,
    NotListeningError,
    Proxy,
    remote,
    util,
)
from remoteobj.testing import Gate
from tests.internals import WAITING_FOR_RESTART, hold_reactor, hold_restarts, is_the_last
from tests.lifecycle.actors import Patient
from tests.lifecycle.programs import Diary
from tests.tools import Call, Scripts, is_in, kill, left_in, until, until_gone

pytestmark = pytest.mark.usefixtures("told")


@remote(restart="on-failure", backoff=0.0)
class Counter:
    """Counts, and ends in many ways."""

    def __init__(self, value: int = 0, gate: Gate | None = None) -> None:
        self.value = value
        if gate is not None:
            gate.park()

    def add(self, n: int = 1) -> int:
        self.value += n
        return self.value

    def pid(self) -> int:
        return os.getpid()

    def end_by(self, number: int) -> None:
        os.kill(os.getpid(), number)

    def leave(self, code: int) -> None:
        os._exit(code)

    def refuse(self) -> None:
        raise KeyError("no")

    def ask(self, other: Any) -> int:
        return int(other.add())


@remote(restart="on-failure", backoff=0.0, engine="thread")
class Looping:
    """Has a loop that fails when it is told to."""

    def __init__(self) -> None:
        self.broken = False

    def break_down(self) -> None:
        self.broken = True

    def lives(self) -> bool:
        return not self.broken

    @remote.work
    def loop(self) -> None:
        while self.remote.listening_:
            self.remote.process_requests(0.05)
            if self.broken:
                raise OSError("the cable is out")


# --- going on ----------------------------------------------------------------------------------


def test_a_killed_actor_is_started_again_with_its_arguments_and_its_handle_goes_on(
    start_method: str,
) -> None:
    with Counter.options(start_method=start_method).spawn(5) as counter:
        first = counter.pid_
        assert counter.add() == 6
        kill(counter)
        assert counter.add() == 6
        assert counter.restarts_ == 1
        assert counter.pid_ == counter.pid() != first


def test_a_proxy_in_another_process_goes_on_too(start_method: str) -> None:
    with (
        Counter.options(start_method=start_method).spawn(10) as counter,
        Counter.options(start_method=start_method).spawn() as other,
    ):
        assert other.ask(counter) == 11
        kill(counter)
        assert other.ask(counter) == 11
        assert counter.restarts_ == 1


def test_what_was_pickled_before_the_restart_leads_to_the_new_process() -> None:
    with Counter.spawn(1) as counter:
        copy: Proxy = pickle.loads(pickle.dumps(counter))
        kill(counter)
        assert copy.add() == 2


def test_a_call_in_flight_ends_with_the_death_and_is_not_made_again() -> None:
    with Counter.spawn() as counter:
        with pytest.raises(ActorDiedError) as caught:
            counter.end_by(signal.SIGKILL)
        assert caught.value.maybe_executed
        assert counter.add() == 1


@pytest.mark.parametrize("view", ["future_", "async_", "cast_"])
def test_calls_through_every_view_wait_for_the_new_process(view: str) -> None:
    with Counter.options(backoff=0.05).spawn() as counter:
        kill(counter)
        if view == "future_":
            assert counter.future_.add(3).result(10) == 3
        elif view == "async_":

            async def awaited() -> Any:
                return await counter.async_.add(3)

            assert asyncio.run(awaited()) == 3
        else:
            counter.cast_.add(3)
            assert counter.add(0) == 3


def test_awaited_calls_do_not_hold_up_the_event_loop_while_they_wait_for_a_restart() -> None:
    async def main() -> int:
        call = asyncio.ensure_future(counter.async_.add())
        turns = 0
        while counter.restarts_ == 0:
            await asyncio.sleep(0.001)
            turns += 1
        assert await call == 1
        return turns

    with Counter.options(backoff=0.2).spawn() as counter:
        kill(counter)
        assert asyncio.run(main()) > 10


def test_of_many_calls_that_are_awaited_at_once_after_a_death_none_is_left_to_the_dead() -> None:
    """The first one is written at once, and finds that nobody reads; the others could be held back,
    so as to be written together."""

    async def main() -> None:
        for _ in range(25):
            kill(counter)
            calls = [counter.async_.add() for _ in range(20)]
            assert sorted(await asyncio.gather(*calls)) == list(range(1, 21))

    with Counter.options(max_restarts=25).spawn() as counter:
        asyncio.run(main())


def test_a_call_waits_no_longer_than_its_time_limit() -> None:
    with Counter.options(backoff=5.0).spawn() as counter:
        copy: Proxy = pickle.loads(pickle.dumps(counter))
        counter.add()
        copy.add()
        kill(counter)
        for proxy in (counter, copy):
            begun = time.monotonic()
            with pytest.raises(CallTimeoutError, match="not"):
                proxy.with_(timeout=0.1).add()
            assert time.monotonic() - begun < 3
        assert not counter.listening_


# --- which ends are failures -------------------------------------------------------------------

FAILURES: dict[str, Callable[[Any], object]] = {
    "SIGKILL": lambda counter: counter.end_by(signal.SIGKILL),
    "SIGSEGV": lambda counter: counter.end_by(signal.SIGSEGV),
    "SIGTERM of somebody": lambda counter: counter.end_by(signal.SIGTERM),
    "os._exit(3)": lambda counter: counter.leave(3),
}
ORDERLY: dict[str, Callable[[Any], object]] = {"os._exit(0)": lambda counter: counter.leave(0)}


@pytest.mark.parametrize("end", FAILURES.values(), ids=FAILURES)
def test_a_failure_is_followed_by_a_restart(end: Callable[[Any], object]) -> None:
    with Counter.spawn() as counter:
        with pytest.raises(ActorDiedError):
            end(counter)
        until(lambda: counter.restarts_ == 1)
        assert counter.add() == 1


def test_a_work_loop_that_raises_is_one() -> None:
    with Looping.spawn() as looping:
        looping.cast_.break_down()
        until(lambda: looping.restarts_ == 1)
        assert looping.lives()
        # What failed before the restart is in the record, and not raised on leaving.
        assert [type(error) for error in looping.exc_["work"]] == [OSError]


def test_the_exception_of_a_call_is_none() -> None:
    with Counter.spawn() as counter:
        with pytest.raises(KeyError):
            counter.refuse()
        assert counter.add() == 1
        assert counter.restarts_ == 0


def test_an_end_with_the_exit_code_0_is_none_but_always_means_that_too() -> None:
    with Counter.spawn() as counter:
        with pytest.raises(ActorDiedError):
            counter.leave(0)
        assert counter.join_(10)
        with pytest.raises((ActorDiedError, NotListeningError)):
            counter.add()
    with Counter.options(restart="always").spawn() as counter:
        with pytest.raises(ActorDiedError):
            counter.leave(0)
        assert counter.add() == 1


@pytest.mark.parametrize("end", ["stop_", "kill_", "terminate_"])
def test_what_its_owner_ends_stays_ended_also_with_always(end: str) -> None:
    counter = Counter.options(restart="always").spawn()
    exited = counter.exited_
    getattr(counter, end)()
    assert counter.join_(10)
    assert exited.result(10).reason in ("stopped", "killed")
    assert counter.restarts_ == 0
    with pytest.raises((ActorDiedError, NotListeningError)):
        counter.add()
    counter.stop_()


def test_an_init_that_fails_at_spawn_is_raised_there_and_not_tried_again(diary: Diary) -> None:
    def fail() -> None:
        diary.add("init")
        raise ValueError("never")

    with pytest.raises(ValueError, match="never"):
        Counter.options(initializer=fail).spawn()
    assert diary.lines == ["init"]


def test_an_init_that_fails_in_a_restart_counts_as_a_further_failure(tmp_path: Any) -> None:
    marks = tmp_path / "marks"

    def fail_twice() -> None:
        with open(marks, "a") as file:
            file.write("x")
        if len(marks.read_text()) in (2, 3):
            raise OSError("not yet")

    with Counter.options(initializer=fail_twice).spawn() as counter:
        kill(counter)
        until(lambda: counter.restarts_ == 3)
        assert counter.add() == 1


def test_a_restart_that_is_not_born_in_time_counts_as_a_failure(tmp_path: Any) -> None:
    marks = tmp_path / "marks"

    def hang_once() -> None:
        with open(marks, "a") as file:
            file.write("x")
        if len(marks.read_text()) == 2:
            threading.Event().wait()

    reports: list[ExitReport] = []
    with Counter.options(initializer=hang_once, spawn_timeout=0.5).spawn() as counter:
        counter.on_exit_(reports.append)
        kill(counter)
        until(lambda: counter.restarts_ == 2)
        assert counter.add() == 1
    assert counter.exited_.result(10).reason == "stopped"
    assert [report.reason for report in reports] == ["died", "failed", "stopped"]
    assert "not ready" in str(reports[1].error)


# --- the limit ---------------------------------------------------------------------------------


def test_beyond_the_limit_it_stays_dead_and_the_error_has_the_reports() -> None:
    with (
        pytest.raises(ActorDiedError, match="stays dead"),
        Counter.options(max_restarts=1).spawn() as counter,
    ):
        copy: Proxy = pickle.loads(pickle.dumps(counter))
        kill(counter)
        assert counter.add() == 1
        kill(counter)
        with pytest.raises(ActorDiedError, match="stays dead") as caught:
            counter.add()
        assert [report.signal for report in caught.value.reports] == [signal.SIGKILL] * 2
        assert not caught.value.maybe_executed
        with pytest.raises((NotListeningError, ActorDiedError)):
            copy.add()
        assert counter.exited_.result(10).signal is signal.SIGKILL
        assert not counter.alive_


def test_deaths_are_told_one_by_one_and_the_end_once() -> None:
    reasons: list[str] = []
    with Counter.spawn() as counter:
        counter.on_exit_(lambda report: reasons.append(report.reason))
        exited = counter.exited_
        kill(counter)
        assert counter.add() == 1
        assert not exited.done()
    assert exited.result(10).reason == "stopped"
    assert reasons == ["died", "stopped"]


def test_a_call_in_the_thread_that_tells_of_deaths_does_not_wait_for_the_restart() -> None:
    errors: list[BaseException] = []

    def call_it(report: ExitReport) -> None:
        if report.reason == "died":
            for call in (counter.add, counter.future_.add, counter.cast_.add, counter.join_):
                with pytest.raises(DeadlockError, match="in a thread of your own") as caught:
                    call()
                errors.append(caught.value)
            assert not counter.listening_

    with Counter.spawn() as counter:
        counter.on_exit_(call_it)
        with hold_reactor():
            kill(counter)
            call = Call(counter.add)
            until(lambda: call.is_in(WAITING_FOR_RESTART))
        assert call.result() == 1
        assert counter.restarts_ == 1
        assert len(errors) == 4


def test_a_signal_handler_calls_an_actor_whose_restart_the_main_thread_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main, go_on, told = threading.get_ident(), threading.Event(), list[int]()

    def call_it(*_: object) -> None:
        go_on.set()
        told.append(counter.with_(timeout=10).add())

    def send_signal() -> None:
        until(lambda: is_in(main, WAITING_FOR_RESTART))
        signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, call_it)
    try:
        with Counter.options(start_method="fork").spawn() as counter:
            hold_restarts(monkeypatch, go_on)
            kill(counter)
            sending = Call(send_signal)
            told.append(counter.with_(timeout=15).add())
            sending.result()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert told == [1, 2]


# --- stopping in the midst of it ---------------------------------------------------------------


def test_a_stop_between_two_processes_ends_it_at_once() -> None:
    counter = Counter.options(backoff=60.0).spawn()
    kill(counter)
    begun = time.monotonic()
    call = Call(counter.add)
    until(lambda: call.is_in(WAITING_FOR_RESTART))
    counter.stop_()
    with pytest.raises(ActorDiedError):
        call.result()
    assert time.monotonic() - begun < 5
    assert counter.restarts_ == 0


def test_a_stop_while_the_next_init_runs_waits_for_it_and_ends_it_in_order(
    gate: Gate, diary: Diary
) -> None:
    def park_at_the_second_time() -> None:
        diary.add("init")
        if len(diary.lines) == 2:
            gate.park()

    counter = Counter.options(initializer=park_at_the_second_time).spawn()
    kill(counter)
    gate.wait_for_arrival()
    stopping = threading.Thread(target=counter.stop_)
    stopping.start()
    gate.open()
    stopping.join(10)
    assert not stopping.is_alive()
    assert (counter.restarts_, counter.exitcode_) == (1, 0)


def test_a_handle_that_is_dropped_between_two_processes_ends_it() -> None:
    counter = Counter.options(backoff=60.0).spawn()
    exited = counter.exited_
    kill(counter)
    del counter
    assert exited.result(10).signal is signal.SIGKILL


def test_an_owner_that_is_killed_in_the_midst_of_a_restart_leaves_nothing(
    script: Scripts, runtime: Path
) -> None:
    program = script(
        """
        from tests.lifecycle.test_restarts import Counter
        import os, signal
        counter = Counter.options(restart="always", max_restarts=1000).spawn()
        print(counter.pid_, flush=True)
        os.kill(counter.pid_, signal.SIGKILL)
        while counter.restarts_ == 0:
            pass
        print(counter.pid_, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        XDG_RUNTIME_DIR=str(runtime),
    )
    pids = [int(program.line()), int(program.line())]
    assert program.finish().code == -signal.SIGKILL
    for pid in pids:
        assert until_gone(pid, 5.0)
    until(lambda: left_in(runtime) == [])


# --- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"restart": "sometimes"}, ValueError, "never, on-failure, always"),
        ({"max_restarts": -1}, ValueError, "below 0"),
        ({"restart_window": 0}, ValueError, "above 0"),
        ({"backoff": -0.1}, ValueError, "backoff"),
        ({"backoff": "soon"}, TypeError, "number"),
        ({"restart": "always", "engine": "inline"}, ValueError, "inline"),
    ],
)
def test_options_that_can_not_be_right_are_refused_at_once(
    options: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Counter.options(**options)


def note(patient: Any) -> None:
    patient.note("at work")


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_is_just_being_restarted_and_serves_already_has_its_cleanup_unless_it_is_killed(
    diary: Diary, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    go_on = threading.Event()
    hold_restarts(monkeypatch, go_on)
    options = Patient.options(restart="on-failure", backoff=0.0, start_method="fork")
    handle: Any = options.spawn(diary)
    try:
        kill(handle)
        with util.process(note, handle, start_method_="forkserver"):
            pass
        ending = Call(handle.stop_ if end == "stop" else handle.kill_)
        until(lambda: is_the_last(handle))
        go_on.set()
        ending.wait()
        assert handle.join_(10)
    finally:
        go_on.set()
        handle.stop_()
    assert diary.lines == ["at work"] + ["cleanup"] * (end == "stop")
