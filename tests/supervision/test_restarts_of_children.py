"""Which children a supervisor starts again, when, and in which order."""

import signal
from functools import partial
from typing import Any

import pytest

from remoteobj import ActorDiedError, Supervisor, current, remote
from tests.lifecycle.programs import Diary
from tests.supervision.children import Breakdown, Child
from tests.supervision.family import answers, lines, spawn_all
from tests.tools import kill, until

STRATEGIES = ["one-for-one", "one-for-all", "rest-for-one"]
WAYS = ["loop", "SIGKILL", "SIGSEGV", "os._exit", "clean"]
TYPES = ["never", "on-failure", "always"]

RESTARTED = {"one-for-one": "b", "one-for-all": "abc", "rest-for-one": "bc"}
"""Those of the children a, b and c that are started again after a failure of b."""


@pytest.mark.parametrize("restart", TYPES)
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_strategy_restarts_after_each_end_whom_the_type_says(
    diary: Diary, strategy: Any, how: str, restart: str
) -> None:
    failed = how != "clean"
    with Supervisor(strategy) as supervisor:
        a = supervisor.spawn(Child, "a", diary)
        b = supervisor.options(restart=restart).spawn(Child, "b", diary)
        c = supervisor.spawn(Child, "c", diary)
        b.cast_.finish(how)
        story = "+a+b+c" + ("-b" if how in ("loop", "clean") else "")
        if restart == "always" or (restart == "on-failure" and failed):
            again = RESTARTED[strategy]
            story += "".join(f"-{name}" for name in reversed(again) if name != "b")
            story += "".join(f"+{name}" for name in again)
            until(lambda: diary.lines == lines(story))
            assert [handle.call() for handle in (a, b, c)] == [1, 1, 1]
            assert [handle.restarts_ for handle in (a, b, c)] == [int(n in again) for n in "abc"]
            story += "-c-b-a"
        else:
            until(lambda: supervisor.children == [a, c])
            assert not b.alive_
            story += "-c-a"
        if failed and how == "loop":
            assert isinstance(b.exc_.get("work"), Breakdown)
    assert diary.lines == lines(story)


@pytest.mark.parametrize("strategy", ["one-for-all", "rest-for-one"])
def test_a_child_that_is_never_restarted_goes_with_the_others_and_does_not_come_back(
    diary: Diary, strategy: Any
) -> None:
    with Supervisor(strategy) as supervisor:
        a = supervisor.spawn(Child, "a", diary)
        b = supervisor.options(restart="never").spawn(Child, "b", diary)
        c = supervisor.spawn(Child, "c", diary)
        kill(a)
        until(lambda: diary.lines == lines("+a+b+c-c-b+a+c"))
        assert supervisor.children == [a, c]
        assert b.exited_.result(10).reason == "stopped"


def test_children_that_are_killed_at_once_are_all_restarted(diary: Diary) -> None:
    with Supervisor("one-for-one", max_restarts=3) as supervisor:
        handles = spawn_all(supervisor, diary)
        kill(*handles)
        assert [handle.call() for handle in handles] == [1, 1, 1]
        assert [handle.restarts_ for handle in handles] == [1, 1, 1]


def _restarted(children: list[Any], times: int) -> bool:
    return [child.restarts_ for child in children] == [times] * len(children)


def test_the_start_methods_and_engines_make_no_difference(diary: Diary) -> None:
    with Supervisor("one-for-all") as supervisor:
        children = [
            supervisor.options(start_method="spawn").spawn(Child, "a", diary),
            supervisor.options(start_method="forkserver").spawn(Child, "b", diary),
            supervisor.options(engine="thread").spawn(Child, "c", diary),
        ]
        for rounds, child in enumerate(children, 1):
            child.cast_.finish("loop")
            until(partial(_restarted, children, rounds))
            assert [one.call() for one in children] == [1, 1, 1]
            assert isinstance(child.exc_.get("work"), Breakdown)


# ------------------------------------------------------------------ handles


def test_handles_that_children_have_of_each_other_stay_valid(diary: Diary) -> None:
    with Supervisor(max_restarts=4) as supervisor:
        a = supervisor.spawn(Child, "a", diary)
        b = supervisor.spawn(Child, "b", diary, a)
        assert b.call_other() == 1
        kill(a)
        assert b.call_other() == 1
        kill(b)
        assert b.call_other() == 2
        kill(a, b)
        assert b.call_other() == 1


class Greeter(Child):
    """Calls another one while it is being made."""

    def __init__(self, name: str, diary: Diary, other: Any) -> None:
        super().__init__(name, diary, other)
        self.call_other()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_child_that_calls_another_while_it_starts_waits_until_that_is_back(
    diary: Diary, strategy: Any
) -> None:
    with Supervisor(strategy) as supervisor:
        a = supervisor.spawn(Child, "a", diary)
        b = supervisor.spawn(Greeter, "b", diary, a)
        kill(b, a)
        until(lambda: answers(b))
        assert b.call_other() >= 2


def test_a_call_that_waits_for_the_one_that_failed_does_not_hold_up_the_restart(
    diary: Diary,
) -> None:
    with Supervisor("rest-for-one", stop_timeout=1) as supervisor:
        a = supervisor.spawn(Child, "a", diary)
        b = supervisor.spawn(Child, "b", diary, a)
        asked = b.future_.call_other_when(signal.SIGKILL, a.pid_)
        with pytest.raises(ActorDiedError):
            asked.result(10)
        until(lambda: diary.lines == lines("+a+b-b+a+b"))
        assert b.call_other() == 1
        assert not b.exc_.get("cleanup")


def test_on_exit_tells_each_death_and_exited_the_last(diary: Diary) -> None:
    reports: list[Any] = []
    with Supervisor() as supervisor:
        (child,) = spawn_all(supervisor, diary, "a")
        child.on_exit_(reports.append)
        exited = child.exited_
        kill(child)
        assert child.call() == 1
        assert not exited.done()
    assert exited.result(10).reason == "stopped"
    until(lambda: len(reports) == 2)
    assert [report.reason for report in reports] == ["died", "stopped"]


@remote(checkpoint_every=0.0)
class Saved:
    """Has a state that outlives its process."""

    def __init__(self) -> None:
        self.value = 0

    def add(self) -> int:
        self.value += 1
        return self.value

    @remote.checkpoint
    def save(self) -> int:
        return self.value

    @remote.restore
    def load(self, value: int) -> None:
        self.value = value


def test_children_keep_their_state_whether_they_failed_or_were_stopped_with_others() -> None:
    with Supervisor("one-for-all") as supervisor:
        failing, other = supervisor.spawn(Saved), supervisor.spawn(Saved)
        assert [failing.add(), other.add()] == [1, 1]
        kill(failing)
        until(lambda: [failing.restarts_, other.restarts_] == [1, 1])
        assert [failing.add(), other.add()] == [2, 2]


# ------------------------------------------------------------------ taking out


@pytest.mark.parametrize(
    ("strategy", "order"),
    [("one-for-one", "stop_"), ("one-for-all", "kill_"), ("rest-for-one", "terminate_")],
)
def test_a_child_that_is_ended_by_its_handle_is_none_any_more(
    diary: Diary, strategy: Any, order: str
) -> None:
    with Supervisor(strategy) as supervisor:
        a, b, c = spawn_all(supervisor, diary)
        getattr(b, order)()
        assert b.exited_.result(10).reason in ("stopped", "killed")
        until(lambda: supervisor.children == [a, c])
        b.stop_()
        kill(a)
        assert [a.call(), c.call()] == [1, 1]
        again = "" if strategy == "one-for-one" else "-c+a+c"
        story = [line for line in diary.lines if "b" not in line]
        assert story == lines("+a+c" + (again or "+a"))


def test_current_is_the_child_s_own_proxy_after_a_restart_too(diary: Diary) -> None:
    with Supervisor() as supervisor:
        (child,) = spawn_all(supervisor, diary, "a")
        kill(child)
        assert child.passto(lambda _: current()) == child
