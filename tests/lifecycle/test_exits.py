"""The end of an actor as an event: who is told of it, when, in which order, and why it ended."""

import asyncio
import contextlib
import gc
import os
import signal
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import wait
from typing import Any

import pytest

from remoteobj import ActorDiedError, ExitReport, NotListeningError, remote
from remoteobj.testing import Gate
from tests.conftest import NO_CODES, Launch
from tests.internals import (
    EXIT_CODE_SECONDS,
    do_when_an_end_is_asked_for,
    hold_reactor,
    import_lock,
    launched_instances,
    reactor_threads,
)
from tests.lifecycle.actors import NO_PROCESS, Counter, Patient, SpawnError, Stillborn, Worker
from tests.tools import Call, Script, process, until

NO_DEATH = {"thread": "can't die", "inline": "can't die"}


class Notes:
    """What callbacks were told."""

    def __init__(self) -> None:
        self.reports: list[ExitReport] = []
        self.threads: list[threading.Thread] = []
        self.came = threading.Event()

    def __call__(self, report: ExitReport) -> None:
        self.reports.append(report)
        self.threads.append(threading.current_thread())
        self.came.set()


# ------------------------------------------------------------------ why


def test_an_actor_that_was_stopped_says_so(launch: Launch) -> None:
    notes = Notes()
    with Counter.options(**launch, name="adder").spawn() as counter:
        pid = counter.pid_
        counter.on_exit_(notes)
        exited = counter.exited_
        assert not exited.done()
    report = exited.result(10)
    assert (report.reason, report.exitcode, report.signal) == ("stopped", 0, None)
    assert (report.name, report.pid, report.error) == ("adder", pid, None)
    assert notes.came.wait(10)
    assert notes.reports == [report]


def crash(patient: Any, how: str) -> None:
    with pytest.raises(ActorDiedError):
        patient.die(how)


ENDS: dict[str, tuple[Callable[[Any], object], str, int]] = {
    "stop_": (lambda actor: actor.stop_(), "stopped", 0),
    "terminate_": (lambda actor: actor.terminate_(), "stopped", -signal.SIGTERM),
    "kill_": (lambda actor: actor.kill_(), "killed", -signal.SIGKILL),
    "SIGTERM": (lambda actor: os.kill(actor.pid_, signal.SIGTERM), "died", -signal.SIGTERM),
    "SIGKILL": (lambda actor: os.kill(actor.pid_, signal.SIGKILL), "died", -signal.SIGKILL),
    "segfault": (lambda actor: crash(actor, "segfault"), "died", -signal.SIGSEGV),
    "os._exit": (lambda actor: crash(actor, "os._exit"), "died", 3),
}


@pytest.mark.engines(skip={**NO_DEATH, **NO_CODES})
@pytest.mark.parametrize("how", ENDS)
def test_an_actor_says_why_it_ended(launch: Launch, how: str) -> None:
    end, reason, code = ENDS[how]
    patient = Patient.options(**launch).spawn()
    exited = patient.exited_
    end(patient)
    report = exited.result(10)
    assert (report.reason, report.exitcode) == (reason, code)
    assert report.signal == (signal.Signals(-code) if code < 0 else None)
    assert (report.last_stack is not None) == (how == "segfault")
    patient.kill_()
    patient.stop_()


@pytest.mark.engines(skip={"inline": "has no work loop"})
def test_an_actor_whose_work_failed_says_with_what(launch: Launch) -> None:
    worker = Worker.options(**launch).spawn("raise")
    report = worker.exited_.result(10)
    assert (report.reason, report.exitcode) == ("failed", 1)
    assert isinstance(report.error, SpawnError)
    assert report.error.code == 5
    with pytest.raises(SpawnError), worker:
        pass


@pytest.mark.engines(skip={"inline": "has no work loop"})
def test_an_exit_code_of_the_works_own_is_no_failure_of_it(launch: Launch) -> None:
    worker = Worker.options(**launch).spawn("sys.exit")
    report = worker.exited_.result(10)
    assert (report.reason, report.exitcode, report.error) == ("died", 6, None)
    with pytest.raises(ActorDiedError, match="exited with code 6") as caught, worker:
        pass
    assert caught.value.report == report


def test_one_that_could_not_be_made_says_with_what(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    EXIT_CODE_SECONDS.set(monkeypatch, 20.0)  # it is not killed, however busy the machine is
    instances = launched_instances(monkeypatch)
    with pytest.raises(SpawnError):
        Stillborn.options(**launch).spawn("raise")
    notes = Notes()
    instances[0].on_exit(notes)
    assert [report.reason for report in notes.reports] == ["failed"]
    assert isinstance(notes.reports[0].error, SpawnError)


@remote
class Verbose:
    @remote.work
    def run(self) -> None:
        raise ValueError("long" * (1 << 20))


@pytest.mark.engines(skip={**NO_PROCESS, "ray": "has room for any"})
def test_an_error_that_is_too_large_to_be_kept_is_left_out(launch: Launch) -> None:
    verbose = Verbose.options(**launch).spawn()
    exited = verbose.exited_
    verbose.stop_()
    report = exited.result(10)
    assert (report.reason, report.error) == ("failed", None)


def test_where_somebody_else_collects_the_exit_code_its_own_word_says_why(
    script: Callable[..., Script],
) -> None:
    ended = script(
        """
        import multiprocessing
        multiprocessing.set_start_method("fork")  # those of a fork server are its children
        def reap(*_):
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        signal.signal(signal.SIGCHLD, reap)
        @remote
        class Failing:
            @remote.work
            def run(self):
                raise ValueError("no")
        stopped = spawn()
        stopped.stop_()
        killed = spawn()
        killed.kill_()
        killed.join_()
        failing = Failing.spawn()
        failing.join_()
        for actor in (stopped, killed, failing):
            print(actor.exited_.result().exitcode, actor.exited_.result().reason)
        """
    ).finish()
    assert ended.out.splitlines()[-3:] == ["None stopped", "None killed", "None failed"]


# ------------------------------------------------------------------ who is told, and when


def test_callbacks_are_told_in_the_order_in_which_they_were_added(launch: Launch) -> None:
    order: list[int] = []
    told = threading.Event()
    with Counter.options(**launch).spawn() as counter:
        for number in range(10):
            counter.on_exit_(lambda _, number=number: order.append(number))
        counter.on_exit_(lambda _: told.set())
    assert told.wait(10)
    assert order == list(range(10))


def test_one_that_is_added_after_the_end_is_told_at_once(launch: Launch) -> None:
    with Counter.options(**launch).spawn() as counter:
        pass
    notes = Notes()
    counter.on_exit_(notes)
    assert [report.reason for report in notes.reports] == ["stopped"]
    assert notes.threads == [threading.current_thread()]


def test_what_a_callback_raises_is_reported_and_hinders_no_other(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_type))
    notes = Notes()
    with Counter.options(**launch).spawn() as counter:
        counter.on_exit_(lambda _: 1 / 0)
        counter.on_exit_(notes)
    assert notes.came.wait(10)
    assert reported == [ZeroDivisionError]


def test_a_callback_may_do_with_the_handle_what_it_likes(launch: Launch) -> None:
    seen: list[Any] = []
    told = threading.Event()

    def look(_: ExitReport) -> None:
        counter.stop_()
        counter.on_exit_(lambda report: seen.append(report.reason))
        seen.append((counter.alive_, counter.exitcode_, counter.join_()))
        told.set()

    counter = Counter.options(**launch).spawn()
    counter.on_exit_(look)
    counter.stop_()
    assert told.wait(10)
    assert seen == ["stopped", (False, 0, True)]


@pytest.mark.engines(skip=NO_DEATH)
def test_a_death_that_nobody_waits_for_is_told(launch: Launch) -> None:
    notes = Notes()
    patient = Patient.options(**launch).spawn()
    patient.on_exit_(notes)
    os.kill(patient.pid_, signal.SIGKILL)
    assert notes.came.wait(10)
    assert notes.threads[0] is not threading.current_thread()
    assert not patient.alive_
    patient.kill_()
    patient.stop_()


@pytest.mark.engines(skip=NO_DEATH)
def test_an_end_is_told_though_its_descriptors_are_let_go_of_meanwhile(launch: Launch) -> None:
    notes = Notes()
    patient = Patient.options(**launch).spawn()
    patient.on_exit_(notes)
    with hold_reactor():
        patient.stop_()
        for end in [os.pipe() for _ in range(8)]:  # they get the numbers that are free now
            os.close(end[0])
            os.close(end[1])
        assert not notes.reports
    assert notes.came.wait(10)
    assert notes.reports[0].reason == "stopped"


def test_however_many_are_watched_there_is_one_thread_for_it() -> None:
    before = set(threading.enumerate())
    counters = [Counter.options(logging=False).spawn() for _ in range(20)]
    assert set(threading.enumerate()) == before
    exits = [counter.exited_ for counter in counters]
    assert len(set(threading.enumerate()) - before) <= 1
    counters[0].kill_()
    assert exits[0].result(10).reason == "killed"
    for counter in counters:
        counter.stop_()
    assert not wait(exits, 10).not_done
    until(lambda: not reactor_threads())


def test_an_end_can_be_awaited() -> None:
    async def main() -> ExitReport:
        counter = Counter.spawn()
        exited = asyncio.wrap_future(counter.exited_)
        counter.kill_()
        report: ExitReport = await exited
        counter.stop_()
        return report

    assert asyncio.run(main()).reason == "killed"


def test_the_future_of_an_end_is_one_and_can_not_be_cancelled() -> None:
    with Counter.spawn() as counter:
        exited = counter.exited_
        assert counter.exited_ is exited
        assert not exited.cancel()
    assert exited.result(10).reason == "stopped"


def test_a_forked_child_can_not_be_told() -> None:
    def look(counter: Any, other: Any) -> None:
        with pytest.raises(NotListeningError, match="only the owner of Counter"):
            assert counter.exited_
        with pytest.raises(NotListeningError, match="only the owner of Counter"):
            counter.on_exit_(print)
        assert other.exited_.result().reason == "killed", "that was known before the fork"

    other = Counter.spawn()
    other.kill_()
    assert other.exited_.result(10).reason == "killed"
    with Counter.spawn() as counter:
        assert not counter.exited_.done()
        with process("fork", look, counter, other) as child:
            child.join(10)
            assert child.exitcode == 0
    other.stop_()


# ------------------------------------------------------------------ what is kept


@pytest.mark.engines(skip={"inline": "has no work loop"})
def test_a_handle_whose_report_s_error_was_raised_is_collected_all_the_same(
    launch: Launch, gate: Gate
) -> None:
    def look() -> weakref.ref[Any]:
        worker: Any = Worker.options(**launch).spawn("raise", gate)
        assert not worker.exited_.done()
        gate.wait_for_arrival()
        gate.open()
        with contextlib.suppress(SpawnError):
            error = worker.exited_.result(10).error
            assert error is not None
            raise error
        return weakref.ref(worker)

    gone = look()
    gc.collect()
    assert gone() is None
    for thread in threading.enumerate():
        if thread.name.startswith("remoteobj-stop-"):
            thread.join(10)


class Thing:
    """An argument that one can see go."""


@remote
class Taker:
    def __init__(self, thing: Thing) -> None:
        pass


def test_the_arguments_of_an_actor_are_let_go_of_once_it_is_made(launch: Launch) -> None:
    thing = Thing()
    gone = weakref.ref(thing)
    with Taker.options(**launch).spawn(thing) as taker:
        del thing
        gc.collect()
        assert gone() is None
        assert taker.alive_


def test_who_asks_for_an_end_holds_up_no_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that is to tell the end may be about to import what describes it."""

    def imports() -> None:
        with import_lock:
            pass

    do_when_an_end_is_asked_for(monkeypatch, lambda: Call(imports).result())
    with Counter.spawn() as counter:
        exited = counter.exited_
        assert counter.exited_ is exited
    assert exited.result(10).reason == "stopped"
