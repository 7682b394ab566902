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
        plan.starting(child)
        assert plan.started(child)
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


def start_in_vain(plan: RestartPlan[str], child: str) -> None:
    assert plan.next_start() == child
    plan.starting(child)
    assert plan.start_failed(child)


def test_one_that_can_not_be_started_again_holds_up_those_after_it() -> None:
    plan = plan_of("rest-for-one", "abcd")
    plan.failed("b")
    start_in_vain(plan, "b")
    assert plan.next_start() is None
    assert plan.failed("b") == []  # the others are stopped already
    assert started_by(plan) == "bcd"


def test_one_that_can_not_be_started_again_holds_up_nobody_who_has_nothing_to_do_with_it() -> None:
    plan = plan_of("one-for-one", "abc")
    plan.failed("a")
    start_in_vain(plan, "a")
    plan.failed("b")
    assert started_by(plan) == "b"
    plan.failed("a")
    assert started_by(plan) == "a"


def test_one_that_is_being_started_holds_up_those_after_it_but_under_one_for_one() -> None:
    plan = plan_of("one-for-all", "ab")
    plan.failed("b")
    plan.starting("a")
    assert plan.next_start() is None
    apart = plan_of("one-for-one", "ab")
    apart.failed("a")
    apart.starting("a")
    apart.failed("b")
    assert apart.next_start() == "b"


def test_a_start_that_is_overtaken_by_a_failure_of_another_begins_anew() -> None:
    plan = plan_of("one-for-all", "abc")
    plan.failed("b")
    plan.starting("a")
    plan.started("a")
    plan.starting("b")
    assert plan.failed("a") == ["b"]  # c has not been started since
    assert not plan.started("b")
    assert not plan.start_failed("b")
    assert started_by(plan) == "abc"


def test_one_that_fails_while_its_start_ends_has_something_to_tell() -> None:
    plan = plan_of("one-for-one", "ab")
    plan.failed("b")
    assert not plan.tells_something("b")
    plan.starting("b")
    assert plan.tells_something("b")
    assert not plan.tells_something("c")


def test_when_one_that_held_up_others_is_taken_out_they_are_started() -> None:
    plan = plan_of("rest-for-one", "abc")
    plan.failed("b")
    start_in_vain(plan, "b")
    plan.remove("b")
    assert started_by(plan) == "c"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_when_all_are_to_be_started_each_waits_for_those_before_it(strategy: Strategy) -> None:
    plan = plan_of(strategy, "abc")
    plan.failed("b")
    plan.starting("a" if strategy == "one-for-all" else "b")
    plan.all_due()
    for child in "abc":
        assert not plan.complete
        assert plan.next_start() == child
        plan.starting(child)
        assert plan.next_start() is None
        assert plan.started(child)
    assert plan.complete
    plan.failed("a")
    plan.starting("a")
    if strategy == "one-for-one":  # from then on they have nothing to do with each other again
        plan.failed("c")
        assert plan.next_start() == "c"


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
        self.starting: set[int] = set()
        self.unseen: list[int] = []
        """Failures that the plan has not been told of."""
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
        if child in self.running | self.starting or not self.plan.tells_something(child):
            return
        active = self.running | self.starting
        stopped = self.plan.failed(child)
        assert stopped == sorted(stopped, reverse=True)
        group = {
            "one-for-one": {child},
            "one-for-all": set(self.plan.children),
            "rest-for-one": {one for one in self.plan.children if one >= child},
        }[self.strategy]
        assert active & group <= set(stopped) < group
        self.running -= group
        self.starting -= group
        assert not self.plan.complete
        assert not self.plan.tells_something(child)

    @precondition(lambda self: self.plan.next_start() is not None)
    @rule()
    def begin_start(self) -> None:
        child = self.plan.next_start()
        assert child is not None
        assert child not in self.running | self.starting
        if self.strategy != "one-for-one":
            assert all(one > child for one in self.starting)
            assert all(
                one in self.running or one in self.unseen
                for one in self.plan.children
                if one < child
            )
        self.plan.starting(child)
        self.starting.add(child)

    @precondition(lambda self: self.starting)
    @rule(data=st.data(), works=st.booleans())
    def end_start(self, data: st.DataObject, works: bool) -> None:
        child = data.draw(st.sampled_from(sorted(self.starting)))
        self.starting.remove(child)
        if works:
            assert self.plan.started(child)
            self.running.add(child)
        else:
            assert self.plan.start_failed(child)
            self.unseen.append(child)

    @precondition(lambda self: self.plan.children)
    @rule(data=st.data())
    def take_out(self, data: st.DataObject) -> None:
        child = data.draw(st.sampled_from(self.plan.children))
        self.plan.remove(child)
        self.running.discard(child)
        self.starting.discard(child)

    @invariant()
    def the_children_are_in_the_order_of_their_first_starts(self) -> None:
        assert self.plan.children == sorted(self.plan.children)

    @invariant()
    def each_child_runs_or_will_be_started_or_has_a_failure_that_will_be_counted(self) -> None:
        for child in self.plan.children:
            will_be_started = not self.plan.tells_something(child)
            assert child in self.running | self.starting or will_be_started or child in self.unseen

    def teardown(self) -> None:
        """If nothing more fails, all run in the end."""
        while self.unseen or self.starting or self.plan.next_start() is not None:
            for child in sorted(self.starting):
                assert self.plan.started(child)
                self.starting.remove(child)
                self.running.add(child)
            if self.unseen:
                self.count_failure()
            if self.plan.next_start() is not None:
                self.begin_start()
        assert self.running == set(self.plan.children)
        assert self.plan.complete


Plans.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestPlans = Plans.TestCase
