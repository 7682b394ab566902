"""What others than the owner ask of an actor, and order: in time, or with a reason why not."""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

import remoteobj
from remoteobj import ActorDiedError, CallTimeoutError, NotListeningError, actors
from remoteobj.testing import Gate
from tests.conftest import NO_FORKS
from tests.internals import (
    Flag,
    Frame,
    Kind,
    Observer,
    Watch,
    encode,
    find,
    observer_stream,
    questions_of,
)
from tests.tools import until

options: Any = remoteobj.options
spawn: Any = remoteobj.spawn
WITHIN = 1.0
"""Seconds within which an observer knows something."""
SLACK = 1.0
"""And what a machine that is at other things may add."""


class Worker:
    """What the actors here are."""

    cleaned = False

    def park(self, gate: Gate) -> str:
        gate.park()
        return "passed"

    def sleep(self) -> str:
        """For a minute, unless it is interrupted."""
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            return "interrupted"
        return "slept"

    def hold(self, seconds: float) -> None:
        """Hold the interpreter, in code in C that uses no processor."""
        ctypes.PyDLL(None).poll(None, 0, int(seconds * 1000))

    def spin(self, size: int) -> int:
        """Hold the interpreter, in code in C that computes."""
        return len(bin(7**size))

    def ping(self) -> str:
        return "pong"

    def observe(self, name: str, what: str) -> Any:
        """What another process than the owner of the actor of this name gets."""
        with Observer(find(name)) as observer:
            return getattr(observer, what)()

    def own_threads(self) -> None:
        """Own two actors of one name, in threads."""
        thread = options(engine="thread", name="twin")
        self.threads = thread.spawn(dict), thread.spawn(dict)

    @remoteobj.remote.cleanup
    def clean(self) -> None:
        type(self).cleaned = True


def observed(handle: Any) -> Observer:
    return Observer(find(handle.name_))


@pytest.fixture
def worker() -> Iterator[Any]:
    with spawn(Worker) as made:
        yield made


# ------------------------------------------------------------------ who is meant


def test_an_actor_is_found_by_its_name_or_by_the_number_of_its_process(worker: Any) -> None:
    with options(name="7").spawn(Worker) as seven, options(engine="thread", name="t").spawn(Worker):
        assert find(worker.name_).pid == worker.pid_
        assert find(worker.pid_).name == worker.name_
        assert find(str(worker.pid_)).name == worker.name_
        assert find("7").pid == seven.pid_
        assert find(os.getpid()).name == "t"
        with pytest.raises(NotListeningError, match="no actor is called 'Worke'; did you mean"):
            find("Worke")
        with pytest.raises(NotListeningError, match="no actor is called '1'"):
            find(1)


def test_a_name_of_several_is_an_error_that_says_which() -> None:
    thread = options(engine="thread", name="same")
    with thread.spawn(Worker), options(name="same").spawn(Worker) as other:
        said = (
            f"'same' is not one actor but 2: 'same' of process {os.getpid()}, id .*, "
            f"'same' in process {other.pid_}; type a pid or an id$"
        )
        with pytest.raises(NotListeningError, match=said):
            find("same")
        with thread.options(public=True).spawn(Worker):
            assert find("same").public, "that which has the name before all others"


def test_a_process_means_its_own_actor_before_the_threads_that_this_owns(worker: Any) -> None:
    assert worker.own_threads() is None
    assert find(worker.pid_).name == worker.name_
    with pytest.raises(NotListeningError, match="'twin' is not one actor but 2") as error:
        find("twin")
    for one in [one for one in actors() if one.name == "twin"]:
        assert one.id in str(error.value)
        assert find(one.id).id == one.id


# ------------------------------------------------------------------ answers


@pytest.mark.engines(skip={"inline": "nobody can reach it", **NO_FORKS})
def test_one_that_is_busy_answers_whoever_asks(launch: dict[str, Any]) -> None:
    with (
        options(name="busy", **launch).spawn(Worker) as busy,
        spawn(Worker) as other,
        Gate() as gate,
    ):
        call = busy.future_.park(gate)
        gate.wait_for_arrival()
        status = other.observe("busy", "status")
        assert (status.state, status.call, status.done) == ("running", "?.park(...)", 0)
        assert status.age > 0
        assert "gate.park()" in other.observe("busy", "stack")
        assert not call.done()
        gate.open()
        assert call.result(20) == "passed"
        assert busy.ping() == "pong"


def test_whoever_looks_in_interrupts_what_runs(worker: Any) -> None:
    with observed(worker) as observer:
        assert observer.interrupt() is False, "it runs nothing"
        call = worker.future_.sleep()
        assert until(lambda: observer.status().call)
        assert observer.interrupt() is True
        assert call.result(20) == "interrupted"


def test_whoever_looks_in_stops_it_in_order(worker: Any) -> None:
    with Gate() as gate, observed(worker) as observer:
        first = worker.future_.park(gate)
        gate.wait_for_arrival()
        second = worker.future_.ping()
        with pytest.raises(CallTimeoutError, match=r"told to stop, and has not ended within 0\.05"):
            observer.stop(timeout=0.05)
        assert observer.status().state == "draining"
        gate.open()
        observer.stop()
        assert (first.result(20), second.result(20)) == ("passed", "pong")
    assert worker.join_(20)
    assert worker.exitcode_ == 0
    assert worker.exited_.result(20).reason == "stopped"
    with pytest.raises(ActorDiedError):
        observer.status()
    with pytest.raises(NotListeningError, match="no actor is called"):
        find(worker.name_)


def test_whoever_looks_in_kills_it() -> None:
    with pytest.raises(ActorDiedError, match="SIGKILL"), spawn(Worker) as worker:
        with observed(worker) as observer:
            observer.kill()
            with pytest.raises(ActorDiedError):
                observer.kill()
        assert worker.join_(20)
        assert worker.exitcode_ == -signal.SIGKILL


def test_a_thread_is_asked_and_told_to_stop_but_not_killed() -> None:
    with options(engine="thread", name="t").spawn(Worker) as thread:
        with observed(thread) as observer:
            assert observer.status().state == "running"
            with pytest.raises(NotListeningError, match=f"a thread of process {os.getpid()}"):
                observer.kill()
            observer.stop()
            assert until(lambda: not thread.alive_)
            with pytest.raises(ActorDiedError):
                observer.status()


@pytest.mark.parametrize("engine", ["process", "thread"])
def test_whoever_stops_one_that_is_always_restarted_is_told_so(engine: str) -> None:
    lasting = options(engine=engine, restart="always", backoff=0.0)
    with lasting.spawn(Worker) as worker, observed(worker) as observer:
        assert observer.stop() is True
        assert until(lambda: worker.restarts_ == 1)
        assert worker.ping() == "pong"
        assert observer.status().state == "running"
    with options(engine=engine, restart="on-failure").spawn(Worker) as worker:
        assert observed(worker).stop() is False, "to be told to stop is no failure"


def test_whoever_kills_one_that_is_restarted_is_told_so() -> None:
    long = {"restart": "on-failure", "backoff": 60.0}
    with options(**long).spawn(Worker) as worker, observed(worker) as observer:
        assert observer.kill() is True, "although its owner takes its time"
        assert find(worker.name_).state == "restarting"
        worker.stop_()
    once = options(max_restarts=0, **long)
    with pytest.raises(ActorDiedError, match="stays dead"), once.spawn(Worker) as worker:
        assert observed(worker).kill() is False
    with remoteobj.Supervisor() as supervisor:
        child: Any = supervisor.spawn(Worker)
        assert observed(child).kill() is True
        assert child.ping() == "pong"


def test_one_between_two_processes_says_that_it_is_restarting() -> None:
    long = options(restart="always", backoff=60.0)
    with long.spawn(Worker) as worker, observed(worker) as observer:
        os.kill(worker.pid_, signal.SIGKILL)
        until(lambda: find(worker.name_).state == "restarting")
        for ask in (
            observer.status,
            observer.stack,
            observer.interrupt,
            observer.stop,
            observer.kill,
        ):
            with pytest.raises(NotListeningError, match="is restarting: it has no process at"):
                ask()
        worker.stop_()


def test_whoever_looks_in_gets_a_proxy(worker: Any) -> None:
    assert observed(worker).proxy() == worker
    assert observed(worker).proxy().ping() == "pong"


def test_of_one_whose_key_nobody_may_have_only_the_process_is_known() -> None:
    with options(name="closed", picklable=False).spawn(Worker) as closed, Watch() as watch:
        observer = observed(closed)
        for ask in (observer.status, observer.stack, observer.interrupt, observer.stop):
            with pytest.raises(NotListeningError, match=r"only its owner can ask .*False"):
                ask()
        with pytest.raises(NotListeningError, match="picklable=False"):
            observer.proxy()
        (glance,) = watch.look()
        assert (glance.state, glance.call, glance.silent) == ("running", None, 0.0)
        assert glance.memory > 0
        closed.kill_()
        closed.join_()
        closed.stop_()


# ------------------------------------------------------------------ no answer, and why


def refused(ask: Any, why: str) -> None:
    """It says within a second that there is no answer, and why."""
    begun = time.monotonic()
    with pytest.raises(CallTimeoutError, match=why):
        ask()
    assert time.monotonic() - begun < WITHIN + SLACK


def test_one_that_a_signal_has_stopped_says_so_at_once(worker: Any) -> None:
    with observed(worker) as known, observed(worker) as new:
        assert known.status().state == "running"
        os.kill(worker.pid_, signal.SIGSTOP)
        until(lambda: find(worker.name_).state == "suspended")
        for observer in (known, new):
            for ask in (observer.status, observer.stack, observer.interrupt, observer.stop):
                refused(ask, f"stopped, by SIGSTOP say; `kill -CONT {worker.pid_}`")
        os.kill(worker.pid_, signal.SIGCONT)
        assert known.status().state == new.status().state == "running"


def _until_silent(observer: Observer) -> None:
    """Ask until there is no answer, since the call may not have begun yet."""
    while True:
        observer.status(0.3)


@pytest.mark.parametrize(
    ("held", "why"),
    [
        ("hold", "it uses no processor; code that holds the interpreter waits"),
        ("spin", "code that holds the interpreter keeps it busy"),
    ],
)
def test_one_that_holds_its_interpreter_says_so_and_shows_its_stack(held: str, why: str) -> None:
    with spawn(Worker) as worker, observed(worker) as known, observed(worker) as new:
        assert known.status().state == "running"
        getattr(worker.cast_, held)(60.0 if held == "hold" else 200_000_000)
        for observer in (known, new):
            refused(partial(_until_silent, observer), why)
        stack = known.stack(0.6)
        assert f"in {held}\n" in stack
        worker.kill_()
        worker.join_()


# ------------------------------------------------------------------ what harms nobody


@pytest.mark.parametrize("sent", ["garbage", "an unknown kind", "an order that is none"])
def test_an_observer_that_says_what_can_t_be_ends_only_itself(worker: Any, sent: str) -> None:
    frame: Any = {
        "garbage": [b"\xff" * 100],
        "an unknown kind": encode(Frame(77, 1, flags=Flag.ANSWER)),
        "an order that is none": encode(Frame(Kind.INTERRUPT, 1, b"x", flags=Flag.ANSWER)),
    }[sent]
    stream = observer_stream(worker)
    with observed(worker) as other:
        stream.write(b"".join(bytes(part) for part in frame))
        answer = until(lambda: stream.read(1000))
        assert answer
        if sent == "an unknown kind":
            assert b"it knows no order of kind 77" in answer
        assert worker.ping() == "pong"
        assert other.status().state == "running"
    stream.close()


def test_an_observer_that_does_not_read_holds_nobody_up(worker: Any) -> None:
    stream = observer_stream(worker)
    question = b"".join(bytes(part) for part in encode(Frame(Kind.STACK, 1, flags=Flag.ANSWER)))
    with observed(worker) as other:
        with pytest.raises(OSError):
            while True:
                stream.write(question)
                assert other.status().state == "running"
        assert worker.ping() == "pong"
    stream.close()


# ------------------------------------------------------------------ many at once


def test_a_watch_sees_what_each_is_at() -> None:
    with (
        spawn(Worker) as busy,
        options(engine="thread").spawn(Worker) as idle,
        Watch() as watch,
        Gate() as gate,
    ):
        assert [one.call for one in watch.look()] == [None, None]
        call = busy.future_.park(gate)
        gate.wait_for_arrival()
        queued = [busy.future_.ping() for _ in range(3)]
        idle.ping()
        until(lambda: [one.queued for one in watch.look()] == [1, 0])
        at_work, resting = watch.look()
        assert at_work.info.pid == busy.pid_
        assert (at_work.state, at_work.call, at_work.done) == ("running", "?.park(...)", 0)
        assert resting.done == 1
        assert 0 < at_work.age < watch.look()[0].age
        assert at_work.memory > 1 << 20
        assert at_work.cpu_seconds >= 0.0
        assert (at_work.silent, resting.silent) == (0.0, 0.0)
        gate.open()
        assert call.result(20) == "passed"
        assert [one.result(20) for one in queued] == ["pong"] * 3
        until(lambda: watch.look()[0].done == 4)
        busy.stop_()
        assert [one.info.name for one in watch.look()] == [idle.name_]
    assert actors() == []


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="of Linux")
def test_a_watch_does_not_ask_those_that_rest(worker: Any) -> None:
    with spawn(Worker) as sleeping, Watch() as watch:
        sleeping.cast_.sleep()

        def asks() -> int:
            before = questions_of(watch)
            watch.look()
            return questions_of(watch) - before

        until(lambda: watch.look()[1].call)
        until(lambda: asks() == 0)
        sleeping.interrupt_()
        worker.ping()
        assert asks() == 2
        until(lambda: [one.call for one in watch.look()] == [None, None])


def test_a_watch_waits_for_none_that_is_silent(worker: Any) -> None:
    with spawn(Worker) as suspended, spawn(Worker) as held, Watch() as watch:
        watch.look()
        os.kill(suspended.pid_, signal.SIGSTOP)
        held.cast_.hold(60)
        time.sleep(0.05)
        until(lambda: len([one for one in watch.look(0.05) if one.silent]) == 2)
        begun = time.monotonic()
        with Watch() as late:
            found = {one.info.name: one for one in late.look(0.1)}
        assert time.monotonic() - begun < 0.2 + 0.25 + SLACK
        assert found[worker.name_].silent == 0.0
        assert found[suspended.name_].state == "suspended"
        assert found[suspended.name_].silent >= 0.0
        assert found[held.name_].silent > 0
        os.kill(suspended.pid_, signal.SIGCONT)
        until(lambda: not {one.info.name: one for one in watch.look()}[suspended.name_].silent)
        held.kill_()
        held.join_()


def test_threads_may_look_each_by_a_watch_of_its_own(worker: Any) -> None:
    seen = []

    def look() -> None:
        with Watch() as watch:
            seen.append(watch.look()[0].info.pid)

    threads = [threading.Thread(target=look, name="look") for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert seen == [worker.pid_] * 4
