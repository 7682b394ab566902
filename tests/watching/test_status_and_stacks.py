"""Asking an actor from outside what it is doing, and where in its code it is."""

import os
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest

from remoteobj import ActorDiedError, CallTimeoutError, NotListeningError, remote
from remoteobj.testing import Gate
from tests.conftest import NO_CODES, Launch
from tests.internals import calls_ahead, described, until_sent
from tests.tools import Call, until
from tests.watching.millers import NO_SIGNALS, PROCESSES, Miller


def test_an_idle_actor_says_that_it_is_idle(miller: Any) -> None:
    assert miller.ground.get_() == 0
    status = miller.status_()
    assert (status.state, status.call, status.age, status.queued) == ("running", None, 0.0, ())
    assert status.done == 1
    assert status.memory > 1 << 20
    assert status.threads


@pytest.mark.engines(skip={"inline": "works only while its caller waits"})
def test_a_busy_actor_says_what_it_runs_and_since_when(miller: Any, gate: Gate) -> None:
    future = miller.future_.grind(gate)
    gate.wait_for_arrival()
    first, second = miller.status_(), miller.status_()
    assert first.call == "?.grind(...)"
    assert 0 <= first.age < second.age
    gate.open()
    assert future.result() == "flour"
    until(lambda: miller.status_().call is None)
    assert miller.status_().done == 1


@pytest.mark.parametrize("waiting", [2, 150])
def test_a_busy_actor_names_a_hundred_of_what_it_has_taken_in_and_counts_all(waiting: int) -> None:
    @remote
    class Taker:
        def work(self, gate: Gate) -> None:
            gate.park()
            self.remote.process_requests()

        def nap(self) -> None: ...

    outer, inner = Gate(), Gate()
    with Taker.spawn() as taker:
        futures = [
            taker.future_.work(outer),
            taker.future_.passto(lambda _, gate: gate.park(), inner),
        ]
        futures += [taker.future_.nap() for _ in range(waiting)]
        outer.wait_for_arrival()
        until_sent(taker, 2 + waiting)
        outer.open()
        inner.wait_for_arrival()
        status = taker.status_()
        assert status.call == "f(?)"
        assert status.queued == ("?.nap(...)",) * min(waiting, 100)
        assert status.queue_length == waiting
        inner.open()
        for future in futures:
            future.result()


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        (("grind", (1,)), "?.grind(...)"),
        ([("attr", "a"), ("attr", "b"), ("call", ("attr",), {})], "?.a.b(...)"),
        ([("attr", "a"), ("setitem", "k", 1)], "?.a[...] = ..."),
        ([("attr", "a")], "?.a"),
        ([("len",)], "len(?)"),
        ([], "?"),
    ],
)
def test_a_request_is_named_without_unpickling_it(steps: Any, text: str) -> None:
    assert described(pickle.dumps(steps, 5)) == text
    assert described(pickle.dumps(steps, 5)[:-3]) in (text, "?", "?.a.b")


def test_what_is_no_pickle_is_named_all_the_same() -> None:
    assert described(b"\xff\xff nonsense") == "?"


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


@pytest.mark.engines(skip={**PROCESSES, **NO_CODES})
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


@pytest.mark.engines(skip={"inline": "works only while its caller waits"})
def test_the_stack_shows_where_a_method_is_and_none_of_our_frames(miller: Any, gate: Gate) -> None:
    future = miller.future_.grind(gate)
    gate.wait_for_arrival()
    stack = miller.stack_()
    assert ", in grind" in stack
    assert ", in park" in stack
    assert "evaluate" not in stack.split("Thread ")[1] or miller.pid_ == os.getpid()
    gate.open()
    future.result()


@pytest.mark.engines(skip={**PROCESSES, **NO_SIGNALS})
def test_the_stack_of_one_that_holds_the_interpreter_comes_by_a_signal(
    launch: Launch, gate: Gate
) -> None:
    miller: Any = Miller.options(**launch).spawn()
    miller.cast_.hold(gate)
    gate.wait_for_arrival()

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


@pytest.mark.engines(skip={**PROCESSES, **NO_SIGNALS})
def test_one_that_is_stopped_has_no_stack(launch: Launch) -> None:
    with Miller.options(**launch).spawn() as miller:
        os.kill(miller.pid_, signal.SIGSTOP)
        until(lambda: "(stopped)" in Path(f"/proc/{miller.pid_}/status").read_text())
        with pytest.raises(CallTimeoutError, match="it is stopped"):
            miller.stack_(timeout=0.05)
        os.kill(miller.pid_, signal.SIGCONT)
        assert "Thread" in miller.stack_(timeout=5)


def test_calls_that_wait_are_counted_by_their_connection(gate: Gate) -> None:
    with Miller.spawn() as miller:
        first = miller.future_.grind(gate)
        gate.wait_for_arrival()
        second = miller.future_.ground.get_()
        until_sent(miller, 2)
        assert calls_ahead(miller, second) == ["?.grind(...)"]
        gate.open()
        first.result()
        second.result()
