"""Which children are stopped and started when one fails, without children."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from remoteobj import ExitReport
from remoteobj._restart_strategy import (
    Restart,
    RestartPlan,
    Strategy,
    check_strategy,
    is_restarted_after,
)

STRATEGIES: list[Strategy] = ["one-for-one", "one-for-all", "rest-for-one"]


def plan_of(strategy: Strategy, children: str) -> RestartPlan[str]:
    plan = RestartPlan[str](strategy)
    for child in children:
        plan.add(child)
    return plan


def started_by(plan: RestartPlan[str]) -> str:
    """Start all that is to be started."""
    started = ""
    while (child := plan.next_start()) is not None:
        plan.started(child)
        started += child
    return started


@pytest.mark.parametrize(
    ("strategy", "stopped", "started"),
    [("one-for-one", "", "b"), ("one-for-all", "dca", "abcd"), ("rest-for-one", "dc", "bcd")],
)
def test_the_others_are_stopped_last_first_and_all_started_first_first(
    strategy: Strategy, stopped: str, started: str
) -> None:
    plan = plan_of(strategy, "abcd")
    assert "".join(plan.failed("b")) == stopped
    assert started_by(plan) == started
    assert "".join(plan.children) == "abcd"


def test_one_that_can_not_be_started_again_holds_up_those_after_it() -> None:
    plan = plan_of("rest-for-one", "abcd")
    plan.failed("b")
    plan.start_failed("b")
    assert plan.next_start() is None
    assert plan.failed("b") == []  # the others are stopped already
    assert started_by(plan) == "bcd"


def test_one_that_can_not_be_started_again_holds_up_nobody_who_has_nothing_to_do_with_it() -> None:
    plan = plan_of("one-for-one", "abc")
    plan.failed("a")
    plan.start_failed("a")
    plan.failed("b")
    plan.failed("a")
    assert started_by(plan) == "ba"


def test_when_one_that_held_up_others_is_taken_out_they_are_started() -> None:
    plan = plan_of("one-for-all", "abc")
    plan.failed("c")
    plan.started("a")
    plan.start_failed("b")
    plan.remove("b")
    assert started_by(plan) == "c"


@pytest.mark.parametrize(
    ("restart", "clean", "failure"),
    [("never", False, False), ("on-failure", False, True), ("always", True, True)],
)
def test_a_child_is_restarted_as_its_type_says(
    restart: Restart, clean: bool, failure: bool
) -> None:
    assert is_restarted_after(restart, ExitReport(reason="stopped")) is clean
    for report in (ExitReport(reason="failed"), ExitReport(reason="died")):
        assert is_restarted_after(restart, report) is failure


def test_a_strategy_of_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no strategy 'one_for_all'; there are one-for-one, "):
        check_strategy("one_for_all")


class Plans(RuleBasedStateMachine):
    """Children die, can't be started and are taken out, in any order."""

    @initialize(strategy=st.sampled_from(STRATEGIES), number=st.integers(1, 5))
    def begin(self, strategy: Strategy, number: int) -> None:
        self.strategy = strategy
        self.plan = RestartPlan[int](strategy)
        self.running: set[int] = set()
        self.unseen: list[int] = []
        """Failures that the plan has not been told of."""
        self.held_up_by: set[int] = set()
        self.names = iter(range(1000))
        for _ in range(number):
            self.spawn()

    @rule()
    def spawn(self) -> None:
        self.plan.add(name := next(self.names))
        self.running.add(name)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        child = data.draw(st.sampled_from(sorted(self.running)))
        self.running.remove(child)
        self.unseen.append(child)

    @precondition(lambda self: self.unseen)
    @rule()
    def count_failure(self) -> None:
        child = self.unseen.pop(0)
        if child in self.running or child not in self.plan.children or self.plan.is_due(child):
            return
        self.held_up_by.discard(child)
        stopped = self.plan.failed(child)
        assert stopped == sorted(stopped, reverse=True)
        if self.strategy == "one-for-one":
            assert not stopped
        if self.strategy == "rest-for-one":
            assert all(one > child for one in stopped)
        self.running -= set(stopped)
        assert self.plan.is_due(child)

    @precondition(lambda self: self.plan.next_start() is not None)
    @rule(works=st.booleans())
    def start(self, works: bool) -> None:
        child = self.plan.next_start()
        assert child is not None
        assert child not in self.running
        if self.strategy == "one-for-all":  # those that run are older, or newer than the failure
            assert child not in self.held_up_by
        if works:
            self.plan.started(child)
            self.running.add(child)
        else:
            self.plan.start_failed(child)
            self.held_up_by.add(child)
            self.unseen.append(child)

    @precondition(lambda self: self.plan.children)
    @rule(data=st.data())
    def take_out(self, data: st.DataObject) -> None:
        child = data.draw(st.sampled_from(self.plan.children))
        self.plan.remove(child)
        self.running.discard(child)
        self.held_up_by.discard(child)

    @invariant()
    def the_children_are_in_the_order_of_their_first_starts(self) -> None:
        assert self.plan.children == sorted(self.plan.children)

    @invariant()
    def each_child_runs_or_is_due_or_has_a_failure_that_will_be_counted(self) -> None:
        for child in self.plan.children:
            assert child in self.running or self.plan.is_due(child) or child in self.unseen

    @invariant()
    def no_child_that_depends_on_one_that_can_not_start_is_started(self) -> None:
        following = self.plan.next_start()
        if following is not None and self.strategy != "one-for-one":
            assert all(one > following for one in self.held_up_by)

    def teardown(self) -> None:
        """If nothing more fails, all run in the end."""
        while self.unseen:
            self.count_failure()
        while (child := self.plan.next_start()) is not None:
            self.plan.started(child)
            self.running.add(child)
        assert self.running == set(self.plan.children)


Plans.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestPlans = Plans.TestCase
