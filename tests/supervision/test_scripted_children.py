"""What a supervisor does with its children, with children that are a script of the test."""

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from remoteobj import ExitReport, RestartLimitError, Supervisor
from remoteobj import _supervision as supervision_module
from remoteobj._restart_strategy import Restart, Strategy
from remoteobj._supervised_actor import SupervisedActor
from remoteobj._supervision import Supervision
from tests.lifecycle.programs import Diary
from tests.supervision.children import Child
from tests.supervision.family import settled
from tests.tools import Call, until

CRASH = ExitReport("child", exitcode=-11)


class Scripted:
    """A child without a process."""

    restart: Restart = "on-failure"

    def __init__(self, name: str, story: list[str]) -> None:
        self.name = name
        self.story = story
        self.life = 0
        self.over = False
        self.down = False
        self.may_start = threading.Event()
        self.may_start.set()
        self.error_of_start: Exception | None = None
        self.error_of_retirement: Exception | None = None

    def is_down(self, life: int) -> bool:
        return self.down and self.life == life

    def start(self) -> ExitReport | None:
        self.story.append(f"start {self.name}")
        assert self.may_start.wait(20)
        if self.error_of_start is not None:
            raise self.error_of_start
        if not self.over:
            self.life, self.down = self.life + 1, False
        return None

    def retire(self) -> None:
        self.story.append(f"retire {self.name}")
        self.down = True
        if self.error_of_retirement is not None:
            raise self.error_of_retirement

    def stop(self, why: RestartLimitError | None) -> None:
        self.story.append(f"stop {self.name}")
        self.over = self.down = True

    def kill(self) -> None:
        self.stop(None)


@pytest.fixture
def story() -> list[str]:
    return []


@pytest.fixture
def made() -> Iterator[list[Supervision]]:
    supervisions: list[Supervision] = []
    yield supervisions
    for one in supervisions:
        one.stop(None)


def family(made: list[Supervision], story: list[str], strategy: Strategy) -> list[Any]:
    """A supervision, and its children a and b."""
    supervision = Supervision("top", strategy, 3, 60.0)
    made.append(supervision)
    children = [Scripted(name, story) for name in "ab"]
    assert all(supervision.add(child) for child in children)
    return [supervision, *children]


def fail(supervision: Supervision, child: Scripted) -> None:
    child.down = True
    supervision.child_failed(child, child.life, CRASH)


def test_a_failure_that_is_told_twice_or_too_late_counts_once(
    made: list[Supervision], story: list[str]
) -> None:
    supervision, a, _ = family(made, story, "one-for-one")
    fail(supervision, a)
    until(lambda: a.life == 1 and settled())
    supervision.child_failed(a, 0, CRASH)  # of the life before
    supervision.child_failed(a, 1, CRASH)  # of this one, which goes on
    until(settled)
    assert story == ["start a"]
    assert supervision.error is None


def test_who_stops_it_waits_for_what_is_being_started(
    made: list[Supervision], story: list[str]
) -> None:
    supervision, a, _ = family(made, story, "one-for-one")
    a.may_start.clear()
    fail(supervision, a)
    until(lambda: story == ["start a"])
    stop = Call(supervision.stop, None)
    until(lambda: story == ["start a", "stop b", "stop a"])
    assert stop.running
    a.may_start.set()
    stop.result()
    assert settled()


def test_a_failure_that_overtakes_a_start_waits_for_that_and_begins_anew(
    made: list[Supervision], story: list[str]
) -> None:
    supervision, a, b = family(made, story, "rest-for-one")
    b.may_start.clear()
    fail(supervision, b)
    until(lambda: story == ["start b"])
    fail(supervision, a)
    until(lambda: story.count("retire b") > 1)  # it may come to begin a life only now
    assert "start a" not in story
    b.may_start.set()
    until(lambda: story[-2:] == ["start a", "start b"] and settled())
    assert not a.down
    assert not b.down


class Clock:
    """What a supervision takes for `time`."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("within", [5.0, 500.0])
@pytest.mark.parametrize("below", [False, True])
def test_restarts_count_within_the_time_that_the_supervisor_was_given(
    story: list[str], monkeypatch: pytest.MonkeyPatch, below: bool, within: float
) -> None:
    clock, child = Clock(), Scripted("a", story)
    monkeypatch.setattr(supervision_module, "time", clock)
    with Supervisor() as top:
        make = top.options(restart="never").supervisor if below else Supervisor
        supervisor = make(max_restarts=1, within=within)
        assert supervisor._supervision.add(child)
        for _ in range(2):
            fail(supervisor._supervision, child)
            until(lambda: not child.down)
            clock.now += within + 0.5
        fail(supervisor._supervision, child)
        until(lambda: child.life == 3)
        clock.now += within
        fail(supervisor._supervision, child)
        assert supervisor.wait(20)
        assert f"once within {within:g} s, and they have failed 2 times" in str(supervisor.error)


def test_a_start_that_raises_has_failed_and_counts(
    made: list[Supervision], story: list[str]
) -> None:
    supervision, a, _ = family(made, story, "one-for-one")
    a.error_of_start = OSError("no process can be started")
    fail(supervision, a)
    assert supervision.wait(20)
    assert story == ["start a", "start a", "start a", "stop b", "stop a"]
    with pytest.raises(RestartLimitError) as raised:
        supervision.check()
    errors = [report.error for report in raised.value.reports]
    assert errors == [None, *[a.error_of_start] * 3]


@pytest.mark.parametrize("levels", [1, 3])
def test_a_child_that_can_not_be_ended_is_not_waited_for_again_and_again(
    made: list[Supervision], story: list[str], monkeypatch: pytest.MonkeyPatch, levels: int
) -> None:
    top = last = Supervision("top", "one-for-all", 9, 60.0)
    made.append(top)
    for _ in range(levels - 1):
        below = Supervision("below", "one-for-all", 9, 60.0, above=last)
        assert last.add(below)
        last = below
    a, b = (Scripted(name, story) for name in "ab")
    assert last.add(a)
    assert last.add(b)
    report = ExitReport("b", reason="failed", error=RuntimeError("it still runs"))

    def run_on() -> ExitReport:
        story.append("wait for b")
        b.down = False
        return report

    monkeypatch.setattr(b, "start", run_on)
    fail(last, a)
    assert top.wait(20)
    assert story.count("wait for b") == levels  # each of them begins anew once
    with pytest.raises(RestartLimitError, match=r"could not see to its .* it still runs") as raised:
        top.check()
    assert raised.value.__cause__ is report.error
    assert raised.value.reports[-1] is report


def test_children_are_not_left_to_themselves_when_it_can_not_do_its_task(
    made: list[Supervision], story: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    supervision, a, b = family(made, story, "one-for-all")
    b.error_of_retirement = OSError("no descriptor is free")
    fail(supervision, a)
    assert supervision.wait(20)
    assert story == ["retire b", "stop b", "stop a"]
    with pytest.raises(RestartLimitError, match="could not see to its children") as raised:
        supervision.check()
    assert raised.value.__cause__ is b.error_of_retirement
    assert [args.exc_value for args in told] == [b.error_of_retirement]


def test_a_child_that_dies_before_its_supervisor_knows_it_is_restarted_too(
    diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, pids = threading.Event(), list[int]()
    ended, owns, add = SupervisedActor.ended, SupervisedActor.owns, Supervision.add

    def tell(child: SupervisedActor, *args: Any) -> None:
        ended(child, *args)
        told.set()

    def note(child: SupervisedActor, actor: Any) -> None:
        owns(child, actor)
        pids.append(actor.instance.pid)

    def die_first(supervision: Supervision, child: SupervisedActor) -> bool:
        if not told.is_set():
            os.kill(pids.pop(), signal.SIGKILL)
            assert told.wait(20)
        return add(supervision, child)

    monkeypatch.setattr(SupervisedActor, "ended", tell)
    monkeypatch.setattr(SupervisedActor, "owns", note)
    monkeypatch.setattr(Supervision, "add", die_first)
    with Supervisor() as supervisor:
        child = supervisor.spawn(Child, "a", diary)
        until(lambda: child.restarts_ == 1)
        assert child.call() == 1


def test_the_one_above_restarts_one_that_can_not_be_started_within_its_limit(
    made: list[Supervision], story: list[str]
) -> None:
    top = Supervision("top", "one-for-one", 1, 60.0)
    made.append(top)
    below = Supervision("below", "one-for-one", 0, 60.0, above=top)
    assert top.add(below)
    a = Scripted("a", story)
    assert below.add(a)
    fail(below, a)
    until(lambda: a.life == 1 and settled())
    assert below.life == 1
    fail(below, a)
    assert top.wait(20)
    assert story == ["retire a", "start a", "retire a", "stop a"]
    assert below.over


def test_who_asks_for_the_children_while_another_is_started_does_not_lose_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = vars(Supervision)["children"]

    def start_another(supervision: Supervision) -> list[Any]:
        """It is started after those that there are have been listed."""
        found: list[Any] = own.fget(supervision)
        monkeypatch.setattr(Supervision, "children", own)
        below.append(top.supervisor())
        return found

    below: list[Supervisor] = []
    with Supervisor() as top:
        monkeypatch.setattr(Supervision, "children", property(start_another))
        assert top.children == []
        assert top.children == below != []


def test_who_asks_for_the_children_while_one_is_added_does_not_lose_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add = Supervision.add

    def ask_first(supervision: Supervision, child: Any) -> bool:
        assert top.children == []
        return add(supervision, child)

    with Supervisor() as top:
        monkeypatch.setattr(Supervision, "add", ask_first)
        below = top.supervisor()
        assert top.children == [below]


def test_failures_escalate_over_three_levels_each_of_which_begins_anew_when_restarted(
    made: list[Supervision], story: list[str]
) -> None:
    top = Supervision("top", "one-for-one", 1, 60.0)
    made.append(top)
    middle = Supervision("middle", "one-for-all", 1, 60.0, above=top)
    bottom = Supervision("bottom", "one-for-one", 0, 60.0, above=middle)
    beside, a = Scripted("beside", story), Scripted("a", story)
    assert top.add(middle)
    assert middle.add(beside)
    assert middle.add(bottom)
    assert bottom.add(a)
    by_middle = ["retire a", "retire beside", "start beside", "start a"]
    by_top = ["retire a", "retire a", "retire beside", "start beside", "start a"]
    for life, restart in enumerate([by_middle, by_top, by_middle], 1):
        story.clear()
        fail(bottom, a)
        until(settled)
        assert story == restart
        assert [a.life, beside.life] == [life, life]
    assert [one.life for one in (top, middle, bottom)] == [0, 1, 3]
    fail(bottom, a)
    assert top.wait(20)
    assert middle.over
    assert bottom.over
    assert story[-2:] == ["stop a", "stop beside"]
    with pytest.raises(RestartLimitError) as raised:
        top.check()
    of_middle = [report.error for report in raised.value.reports]
    assert [report.name for report in raised.value.reports] == ["middle", "middle"]
    for error in of_middle:
        assert isinstance(error, RestartLimitError)
        assert [report.name for report in error.reports] == ["bottom", "bottom"]
        (of_bottom,) = {type(report.error) for report in error.reports}
        assert of_bottom is RestartLimitError
